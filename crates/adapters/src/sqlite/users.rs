//! Users and their auth tokens.

use std::sync::Arc;

use async_trait::async_trait;
use chathook_domain::app::App;
use chathook_domain::ids::{AppId, Time, Uid};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::{AuthToken, Profile, User};
use chathook_engine::ports::store::{
    AppStore as _, Page, PageRequest, StoreError, Stored, TokenOwner, UserStore,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::cache::{Cache, Cached, Caches, UserName};
use super::changes::{Noun, Place};
use super::{Sqlite, Writing, connections, fault};
use crate::vault::Vault;

/// Tokens a user keeps (spec 3.4).
const TOKENS_MAX: i64 = 100;

pub(crate) const COLUMNS: &str = "user.uid, user.name, user.avatar, user.link, user.role, user.status_message, \
    user.metadata, user.tags, user.created_at, user.updated_at, user.last_active_at, user.deactivated_at";
/// How many those are: a query's further columns start here.
pub(crate) const COLUMN_COUNT: usize = 12;

/// The user, deactivated or not; the system user is always there.
pub(crate) fn find(db: &Connection, app: &AppId, uid: &Uid) -> Stored<Option<User>> {
    if uid.is_system() {
        return Ok(Some(User::system()));
    }
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM user WHERE app = ?1 AND uid = ?2"))
        .and_then(|mut query| query.query_row([app.as_str(), uid.as_str()], columns).optional())
        .map_err(fault)?
        .map(|columns| columns.into_user(db, app))
        .transpose()
}

impl Cached for User {
    type Name = UserName;

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.users
    }

    fn places((app, uid): &UserName, _: Option<&Self>) -> Vec<Place> {
        vec![Place::of(Noun::User, &[app.as_str().as_bytes(), uid.as_str().as_bytes()])]
    }

    fn read(db: &Connection, _: &Vault, (app, uid): &UserName) -> Stored<Option<Self>> {
        find(db, app, uid)
    }
}

/// Whose token it is, deactivated or not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OwnedToken {
    app: AppId,
    uid: Uid,
}

impl Cached for OwnedToken {
    /// The token's hash.
    type Name = Vec<u8>;

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.auth_tokens
    }

    fn places(hash: &Vec<u8>, _: Option<&Self>) -> Vec<Place> {
        vec![Place::of(Noun::AuthToken, &[hash])]
    }

    fn read(db: &Connection, _: &Vault, hash: &Vec<u8>) -> Stored<Option<Self>> {
        let from = |row: &Row<'_>| {
            let app = AppId::trusted(row.get_ref(0)?.as_str()?);
            Ok(Self { app, uid: Uid::trusted(row.get_ref(1)?.as_str()?) })
        };
        db.prepare_cached("SELECT app, uid FROM auth_token WHERE hash = ?1")
            .and_then(|mut query| query.query_row([hash], from).optional())
            .map_err(fault)
    }
}

pub(crate) fn not_found(uid: &Uid) -> Refusal {
    Refusal::new(Code::UidNotFound, format!("There is no user '{uid}'."))
}

pub(crate) struct UserColumns {
    uid: String,
    profile: Profile,
    metadata: Option<String>,
    tags: String,
    created_at: i64,
    updated_at: Option<i64>,
    last_active_at: Option<i64>,
    deactivated_at: Option<i64>,
}

pub(crate) fn columns(row: &Row<'_>) -> rusqlite::Result<UserColumns> {
    let profile = Profile {
        name: row.get(1)?,
        avatar: row.get(2)?,
        link: row.get(3)?,
        role: row.get(4)?,
        status_message: row.get(5)?,
        metadata: None,
        tags: Vec::new(),
    };
    Ok(UserColumns {
        uid: row.get(0)?,
        profile,
        metadata: row.get(6)?,
        tags: row.get(7)?,
        created_at: row.get(8)?,
        updated_at: row.get(9)?,
        last_active_at: row.get(10)?,
        deactivated_at: row.get(11)?,
    })
}

impl UserColumns {
    pub(crate) fn into_user(self, db: &Connection, app: &AppId) -> Stored<User> {
        let uid = Uid::trusted(&self.uid);
        let metadata = metadata_of(self.metadata.as_deref())?;
        Ok(User {
            is_online: connections::is_online(db, app, &uid)?,
            uid,
            profile: Profile { metadata, tags: tags_of(&self.tags)?, ..self.profile },
            created_at: Time::from_ms(self.created_at),
            updated_at: self.updated_at.map(Time::from_ms),
            last_active_at: self.last_active_at.map(Time::from_ms),
            deactivated_at: self.deactivated_at.map(Time::from_ms),
        })
    }
}

/// Reads a column of metadata.
pub(crate) fn metadata_of(text: Option<&str>) -> Stored<Option<Map<String, Value>>> {
    text.map(serde_json::from_str)
        .transpose()
        .map_err(|error| StoreError::Fault(format!("a column of metadata: {error}")))
}

/// Reads a column of tags.
pub(crate) fn tags_of(text: &str) -> Stored<Vec<String>> {
    serde_json::from_str(text).map_err(|error| StoreError::Fault(format!("a column of tags: {error}")))
}

/// The pattern of a prefix search; letter case is ignored, wildcards stand for themselves.
pub(crate) fn prefix(search: &str) -> String {
    let escaped = search.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("{escaped}%")
}

/// Where a page starts.
pub(crate) fn offset(page: PageRequest) -> i64 {
    (page.page.max(1) - 1).saturating_mul(page.per_page)
}

pub(super) fn create(w: &Writing<'_>, app: &AppId, user: &User, token: Option<&AuthToken>) -> Stored<()> {
    if find(w.db, app, &user.uid)?.is_some() {
        let sentence = format!("The uid '{}' is taken.", user.uid);
        return Err(Refusal::new(Code::UidAlreadyExists, sentence).into());
    }
    let profile = &user.profile;
    w.db.execute(
        "INSERT INTO user (app, uid, name, avatar, link, role, status_message, metadata, tags, created_at, \
         updated_at, last_active_at, deactivated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            app.as_str(),
            user.uid.as_str(),
            profile.name,
            profile.avatar,
            profile.link,
            profile.role,
            profile.status_message,
            profile.metadata.as_ref().map(|metadata| json!(metadata).to_string()),
            json!(profile.tags).to_string(),
            user.created_at.ms,
            user.updated_at.map(|at| at.ms),
            user.last_active_at.map(|at| at.ms),
            user.deactivated_at.map(|at| at.ms)
        ],
    )
    .map_err(fault)?;
    token.map_or(Ok(()), |token| add_token(w, app, token))
}

fn list(db: &Connection, app: &AppId, search: Option<&str>, page: PageRequest) -> Stored<Page<User>> {
    const WHERE: &str = "app = ?1 AND deactivated_at IS NULL \
        AND (?2 IS NULL OR uid LIKE ?2 ESCAPE '\\' OR name LIKE ?2 ESCAPE '\\')";
    let pattern = search.map(prefix);
    let total = db
        .prepare_cached(&format!("SELECT count(*) FROM user WHERE {WHERE}"))
        .and_then(|mut query| query.query_row(params![app.as_str(), pattern], |row| row.get(0)))
        .map_err(fault)?;
    let sql = format!(
        "SELECT {COLUMNS} FROM user WHERE {WHERE} ORDER BY name COLLATE NOCASE, uid LIMIT ?3 OFFSET ?4"
    );
    let rows: Vec<UserColumns> = db
        .prepare_cached(&sql)
        .and_then(|mut query| {
            query.query_map(params![app.as_str(), pattern, page.per_page, offset(page)], columns)?.collect()
        })
        .map_err(fault)?;
    let items = rows.into_iter().map(|row| row.into_user(db, app)).collect::<Stored<_>>()?;
    Ok(Page { items, total })
}

fn set_profile(db: &Connection, app: &AppId, uid: &Uid, profile: &Profile, at: Time) -> Stored<User> {
    db.execute(
        "UPDATE user SET name = ?3, avatar = ?4, link = ?5, role = ?6, status_message = ?7, metadata = ?8, \
         tags = ?9, updated_at = ?10 WHERE app = ?1 AND uid = ?2",
        params![
            app.as_str(),
            uid.as_str(),
            profile.name,
            profile.avatar,
            profile.link,
            profile.role,
            profile.status_message,
            profile.metadata.as_ref().map(|metadata| json!(metadata).to_string()),
            json!(profile.tags).to_string(),
            at.ms
        ],
    )
    .map_err(fault)
    .and_then(|changed| found(changed, uid))?;
    find(db, app, uid)?.ok_or_else(|| not_found(uid).into())
}

fn found(changed: usize, uid: &Uid) -> Stored<()> {
    if changed == 0 { Err(not_found(uid).into()) } else { Ok(()) }
}

fn token_record(app: &AppId, uid: &Uid) -> String {
    format!("auth_token/{app}/{uid}")
}

fn add_token(w: &Writing<'_>, app: &AppId, token: &AuthToken) -> Stored<()> {
    let uid = &token.uid;
    if uid.is_system() || find(w.db, app, uid)?.is_none() {
        return Err(not_found(uid).into());
    }
    w.db.execute(
        "INSERT INTO auth_token (hash, app, uid, sealed, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            w.vault.hash("auth_token", &token.token),
            app.as_str(),
            uid.as_str(),
            w.vault.seal(&token_record(app, uid), token.token.as_bytes()),
            token.created_at.ms
        ],
    )
    .and_then(|_| {
        w.db.execute(
            "DELETE FROM auth_token WHERE rowid IN (SELECT rowid FROM auth_token WHERE app = ?1 AND uid = ?2 \
             ORDER BY created_at DESC, rowid DESC LIMIT -1 OFFSET ?3)",
            params![app.as_str(), uid.as_str(), TOKENS_MAX],
        )
    })
    .map(|_| ())
    .map_err(fault)
}

fn tokens_of(db: &Connection, vault: &Vault, app: &AppId, uid: &Uid) -> Stored<Vec<AuthToken>> {
    let rows: Vec<(Vec<u8>, i64)> = db
        .prepare_cached(
            "SELECT sealed, created_at FROM auth_token WHERE app = ?1 AND uid = ?2 ORDER BY created_at, rowid",
        )
        .and_then(|mut query| {
            query.query_map([app.as_str(), uid.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .map_err(fault)?;
    let record = token_record(app, uid);
    rows.into_iter()
        .map(|(sealed, created_at)| {
            let token = vault.open_text(&record, &sealed).map_err(StoreError::Fault)?;
            Ok(AuthToken { uid: uid.clone(), token, created_at: Time::from_ms(created_at) })
        })
        .collect()
}

fn delete(db: &Connection, app: &AppId, uid: &Uid) -> Stored<()> {
    for table in ["auth_token", "member"] {
        db.execute(&format!("DELETE FROM {table} WHERE app = ?1 AND uid = ?2"), [app.as_str(), uid.as_str()])
            .map_err(fault)?;
    }
    db.execute("DELETE FROM user WHERE app = ?1 AND uid = ?2", [app.as_str(), uid.as_str()])
        .map_err(fault)
        .and_then(|changed| found(changed, uid))
}

#[async_trait]
impl UserStore for Sqlite {
    async fn create_user(&self, app: &AppId, user: User, token: Option<AuthToken>) -> Stored<()> {
        let app = app.clone();
        self.write(move |w| create(w, &app, &user, token.as_ref())).await
    }

    async fn user(&self, app: &AppId, uid: &Uid) -> Stored<Option<User>> {
        Ok(self.look_up::<User>((app.clone(), uid.clone())).await?.map(Arc::unwrap_or_clone))
    }

    async fn users(&self, app: &AppId, search: Option<&str>, page: PageRequest) -> Stored<Page<User>> {
        let (app, search) = (app.clone(), search.map(str::to_owned));
        self.read(move |db, _| list(db, &app, search.as_deref(), page)).await
    }

    async fn set_profile(&self, app: &AppId, uid: &Uid, profile: Profile, at: Time) -> Stored<User> {
        let (app, uid) = (app.clone(), uid.clone());
        self.write(move |w| set_profile(w.db, &app, &uid, &profile, at)).await
    }

    async fn deactivate_user(&self, app: &AppId, uid: &Uid, at: Time) -> Stored<()> {
        let (app, uid) = (app.clone(), uid.clone());
        self.write(move |w| {
            w.db.execute(
                "UPDATE user SET deactivated_at = coalesce(deactivated_at, ?3) WHERE app = ?1 AND uid = ?2",
                params![app.as_str(), uid.as_str(), at.ms],
            )
            .map_err(fault)
            .and_then(|changed| found(changed, &uid))
        })
        .await
    }

    async fn reactivate_user(&self, app: &AppId, uid: &Uid) -> Stored<()> {
        let (app, uid) = (app.clone(), uid.clone());
        self.write(move |w| {
            w.db.execute(
                "UPDATE user SET deactivated_at = NULL WHERE app = ?1 AND uid = ?2",
                [app.as_str(), uid.as_str()],
            )
            .map_err(fault)
            .and_then(|changed| found(changed, &uid))
        })
        .await
    }

    async fn delete_user(&self, app: &AppId, uid: &Uid) -> Stored<()> {
        let (app, uid) = (app.clone(), uid.clone());
        self.write(move |w| delete(w.db, &app, &uid)).await
    }

    async fn add_token(&self, app: &AppId, token: AuthToken) -> Stored<()> {
        let app = app.clone();
        self.write(move |w| add_token(w, &app, &token)).await
    }

    async fn tokens(&self, app: &AppId, uid: &Uid) -> Stored<Vec<AuthToken>> {
        let (app, uid) = (app.clone(), uid.clone());
        self.read(move |db, vault| tokens_of(db, vault, &app, &uid)).await
    }

    async fn token_owner(&self, app: &AppId, token: &str) -> Stored<Option<TokenOwner>> {
        let found = self.owner(token).await?;
        Ok(found.filter(|(of, _)| of == app).map(|(_, owner)| owner))
    }

    async fn app_of_token(&self, token: &str) -> Stored<Option<(Arc<App>, TokenOwner)>> {
        let Some((app, owner)) = self.owner(token).await? else { return Ok(None) };
        Ok(self.app(&app).await?.map(|app| (app, owner)))
    }
}

impl Sqlite {
    /// Whom a token speaks for. A deactivated user's tokens speak for nobody.
    async fn owner(&self, token: &str) -> Stored<Option<(AppId, TokenOwner)>> {
        let token_hash = self.vault.hash("auth_token", token);
        let Some(owned) = self.look_up::<OwnedToken>(token_hash.clone()).await? else { return Ok(None) };
        let OwnedToken { app, uid } = &*owned;
        let user = self.look_up::<User>((app.clone(), uid.clone())).await?;
        let is_active = user.is_some_and(|user| user.deactivated_at.is_none());
        Ok(is_active.then(|| (app.clone(), TokenOwner { uid: uid.clone(), token_hash })))
    }
}
