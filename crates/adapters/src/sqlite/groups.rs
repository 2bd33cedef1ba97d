//! Groups and their members. Each change of membership leaves an action message in the conversation.

use std::sync::Arc;

use async_trait::async_trait;
use chathook_domain::app::App;
use chathook_domain::group::{About, Group, GroupKind, Member, Scope};
use chathook_domain::ids::{AppId, Guid, MessageId, Time, Uid};
use chathook_domain::message::{Category, Message, Receiver};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::User;
use chathook_engine::ports::store::{
    Addition, Committed, GroupStore, Page, PageRequest, StoreError, Stored, Told,
};
use chathook_engine::ports::upkeep::Doomed;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::cache::{Cache, Cached, Caches, GroupName};
use super::changes::{Noun, Place};
use super::upkeep::ROWS_MAX;
use super::{Sqlite, Writing, apps, fault, members, messages, removals, users};
use crate::vault::Vault;

const COLUMNS: &str = "guid, name, kind, password, icon, description, metadata, tags, owner, created_at, \
    updated_at, (SELECT count(*) FROM member m WHERE m.app = grp.app AND m.guid = grp.guid)";

/// The group with the number of its members.
pub(crate) fn find(db: &Connection, vault: &Vault, app: &AppId, guid: &Guid) -> Stored<Option<Group>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM grp WHERE app = ?1 AND guid = ?2"))
        .and_then(|mut query| query.query_row([app.as_str(), guid.as_str()], columns).optional())
        .map_err(fault)?
        .map(|columns| columns.into_group(vault, app))
        .transpose()
}

impl Cached for Group {
    type Name = GroupName;

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.groups
    }

    fn places((app, guid): &GroupName, _: Option<&Self>) -> Vec<Place> {
        vec![Place::of(Noun::Group, &[app.as_str().as_bytes(), guid.as_str().as_bytes()])]
    }

    fn read(db: &Connection, vault: &Vault, (app, guid): &GroupName) -> Stored<Option<Self>> {
        find(db, vault, app, guid)
    }
}

struct GroupColumns {
    guid: String,
    name: String,
    kind: String,
    password: Option<Vec<u8>>,
    icon: Option<String>,
    description: Option<String>,
    metadata: Option<String>,
    tags: String,
    owner: String,
    created_at: i64,
    updated_at: Option<i64>,
    members_count: i64,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<GroupColumns> {
    Ok(GroupColumns {
        guid: row.get(0)?,
        name: row.get(1)?,
        kind: row.get(2)?,
        password: row.get(3)?,
        icon: row.get(4)?,
        description: row.get(5)?,
        metadata: row.get(6)?,
        tags: row.get(7)?,
        owner: row.get(8)?,
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
        members_count: row.get(11)?,
    })
}

impl GroupColumns {
    fn into_group(self, vault: &Vault, app: &AppId) -> Stored<Group> {
        let guid = Guid::trusted(&self.guid);
        let open = |sealed: &Vec<u8>| vault.open_text(&password_record(app, &guid), sealed);
        let about = About {
            name: self.name,
            kind: GroupKind::parse(&self.kind)
                .ok_or_else(|| StoreError::Fault(format!("'{}' is no kind of group", self.kind)))?,
            password: self.password.as_ref().map(open).transpose().map_err(StoreError::Fault)?,
            icon: self.icon,
            description: self.description,
            metadata: users::metadata_of(self.metadata.as_deref())?,
            tags: users::tags_of(&self.tags)?,
        };
        Ok(Group {
            guid,
            about,
            owner: Uid::trusted(&self.owner),
            members_count: self.members_count,
            created_at: Time::from_ms(self.created_at),
            updated_at: self.updated_at.map(Time::from_ms),
        })
    }
}

fn password_record(app: &AppId, guid: &Guid) -> String {
    format!("grp/{app}/{guid}")
}

fn not_found(guid: &Guid) -> Refusal {
    Refusal::new(Code::GuidNotFound, format!("There is no group '{guid}'."))
}

fn present(w: &Writing<'_>, app: &AppId, guid: &Guid) -> Stored<Group> {
    find(w.db, w.vault, app, guid)?.ok_or_else(|| not_found(guid).into())
}

pub(super) fn create(w: &mut Writing<'_>, app: &AppId, group: &Group, members: &[Member]) -> Stored<Group> {
    if find(w.db, w.vault, app, &group.guid)?.is_some() {
        let sentence = format!("The guid '{}' is taken.", group.guid);
        return Err(Refusal::new(Code::GuidAlreadyExists, sentence).into());
    }
    // One made again under this guid starts empty.
    removals::finish(w, &Doomed::Group(app.clone(), group.guid.clone())).map_err(fault)?;
    w.db.execute(
        "INSERT INTO grp (app, guid, name, kind, owner, created_at, updated_at) VALUES (?1, ?2, '', '', '', ?3, ?4)",
        params![app.as_str(), group.guid.as_str(), group.created_at.ms, group.updated_at.map(|at| at.ms)],
    )
    .map_err(fault)?;
    write_about(w, app, &group.guid, &group.about, &group.owner)?;
    if !group.owner.is_system() {
        if !may_join(w.db, app, &group.owner)? {
            return Err(users::not_found(&group.owner).into());
        }
        let owner = Member { uid: group.owner.clone(), scope: Scope::Admin, joined_at: group.created_at };
        members::write_member(w.db, app, &group.guid, &owner)?;
    }
    for candidate in members.iter().filter(|candidate| candidate.uid != group.owner) {
        if may_join(w.db, app, &candidate.uid)? {
            members::write_member(w.db, app, &group.guid, candidate)?;
        }
    }
    present(w, app, &group.guid)
}

fn may_join(db: &Connection, app: &AppId, uid: &Uid) -> Stored<bool> {
    let user = users::find(db, app, uid)?;
    Ok(user.is_some_and(|user| !user.uid.is_system() && user.deactivated_at.is_none()))
}

fn write_about(w: &Writing<'_>, app: &AppId, guid: &Guid, about: &About, owner: &Uid) -> Stored<()> {
    let seal = |password: &String| w.vault.seal(&password_record(app, guid), password.as_bytes());
    w.db.execute(
        "UPDATE grp SET name = ?3, kind = ?4, password = ?5, icon = ?6, description = ?7, metadata = ?8, tags = ?9, \
         owner = ?10 WHERE app = ?1 AND guid = ?2",
        params![
            app.as_str(),
            guid.as_str(),
            about.name,
            about.kind.as_str(),
            about.password.as_ref().map(seal),
            about.icon,
            about.description,
            about.metadata.as_ref().map(|metadata| json!(metadata).to_string()),
            json!(about.tags).to_string(),
            owner.as_str()
        ],
    )
    .map(|_| ())
    .map_err(fault)
}

fn list(
    db: &Connection,
    vault: &Vault,
    app: &AppId,
    seen_by: Option<&Uid>,
    search: Option<&str>,
    page: PageRequest,
) -> Stored<Page<Group>> {
    const WHERE: &str = "app = ?1 AND (?2 IS NULL OR guid LIKE ?2 ESCAPE '\\' OR name LIKE ?2 ESCAPE '\\')
        AND (?3 IS NULL OR kind <> 'private' OR EXISTS (
            SELECT 1 FROM member m WHERE m.app = grp.app AND m.guid = grp.guid AND m.uid = ?3))";
    let seen_by = seen_by.map(Uid::as_str);
    let pattern = search.map(users::prefix);
    let total = db
        .prepare_cached(&format!("SELECT count(*) FROM grp WHERE {WHERE}"))
        .and_then(|mut query| query.query_row(params![app.as_str(), pattern, seen_by], |row| row.get(0)))
        .map_err(fault)?;
    let sql = format!(
        "SELECT {COLUMNS} FROM grp WHERE {WHERE} ORDER BY name COLLATE NOCASE, guid LIMIT ?4 OFFSET ?5"
    );
    let rows: Vec<GroupColumns> = db
        .prepare_cached(&sql)
        .and_then(|mut query| {
            query
                .query_map(
                    params![app.as_str(), pattern, seen_by, page.per_page, users::offset(page)],
                    columns,
                )?
                .collect()
        })
        .map_err(fault)?;
    let items = rows.into_iter().map(|row| row.into_group(vault, app)).collect::<Stored<_>>()?;
    Ok(Page { items, total })
}

fn set_about(
    w: &Writing<'_>,
    app: &AppId,
    guid: &Guid,
    about: &About,
    owner: Option<Uid>,
    at: Time,
) -> Stored<Group> {
    let group = present(w, app, guid)?;
    let owner = match owner {
        Some(uid) if uid != group.owner => {
            let present =
                members::member(w.db, app, guid, &uid)?.ok_or_else(|| members::not_a_member(guid, &uid))?;
            members::write_member(w.db, app, guid, &Member { scope: Scope::Admin, ..present })?;
            uid
        }
        Some(_) | None => group.owner,
    };
    write_about(w, app, guid, about, &owner)?;
    w.db.execute(
        "UPDATE grp SET updated_at = ?3 WHERE app = ?1 AND guid = ?2",
        params![app.as_str(), guid.as_str(), at.ms],
    )
    .map_err(fault)?;
    present(w, app, guid)
}

fn add(
    w: &mut Writing<'_>,
    app: &App,
    guid: &Guid,
    members: Vec<Member>,
    by: &User,
) -> Stored<Vec<Addition>> {
    present(w, &app.id, guid)?;
    let mut additions = Vec::with_capacity(members.len());
    for candidate in members {
        let result = add_one(w, app, guid, &candidate, by)?;
        additions.push((candidate.uid, candidate.scope, result));
    }
    Ok(additions)
}

/// A candidate who cannot be added is refused alone; the others are added.
fn add_one(
    w: &mut Writing<'_>,
    app: &App,
    guid: &Guid,
    candidate: &Member,
    by: &User,
) -> Stored<Result<Committed, Refusal>> {
    let uid = &candidate.uid;
    let user = users::find(w.db, &app.id, uid)?;
    let Some(user) = user.filter(|user| !uid.is_system() && user.deactivated_at.is_none()) else {
        return Ok(Err(users::not_found(uid)));
    };
    if members::is_member(w.db, &app.id, guid, uid)? {
        let sentence = format!("The user '{uid}' has joined the group '{guid}' already.");
        return Ok(Err(Refusal::new(Code::AlreadyJoined, sentence)));
    }
    members::write_member(w.db, &app.id, guid, candidate)?;
    let group = present(w, &app.id, guid)?;
    let action = if by.uid == *uid { "joined" } else { "added" };
    let told = action_message(action, by, &user, &group, candidate.joined_at);
    messages::commit_action(w, app, told).map(Ok)
}

fn remove(w: &mut Writing<'_>, app: &App, guid: &Guid, uid: &Uid, by: &User, at: Time) -> Stored<Committed> {
    let mut group = present(w, &app.id, guid)?;
    members::member(w.db, &app.id, guid, uid)?.ok_or_else(|| members::not_a_member(guid, uid))?;
    let user = users::find(w.db, &app.id, uid)?.ok_or_else(|| users::not_found(uid))?;
    group.members_count -= 1;
    let action = if by.uid == *uid { "left" } else { "kicked" };
    let told = action_message(action, by, &user, &group, at);
    // While they are still a member, so that they are told as well.
    let committed = messages::commit_action(w, app, told)?;
    w.db.execute(
        "DELETE FROM member WHERE app = ?1 AND guid = ?2 AND uid = ?3",
        [app.id.as_str(), guid.as_str(), uid.as_str()],
    )
    .map_err(fault)?;
    Ok(committed)
}

/// Spec 4.3, "Action message". The number is given by the commit.
fn action_message(action: &str, by: &User, on: &User, group: &Group, at: Time) -> Message {
    let receiver = Receiver::Group(group.guid.clone());
    let entities = json!({"by": by.to_entity(), "on": on.to_entity(), "for": group.to_entity()});
    let data =
        Map::from_iter([("action".to_owned(), Value::from(action)), ("entities".to_owned(), entities)]);
    Message {
        id: MessageId(0),
        conversation: receiver.conversation_of(&by.uid),
        sender: by.uid.clone(),
        receiver,
        category: Category::Action,
        kind: "groupMember".to_owned(),
        data,
        muid: None,
        tags: Vec::new(),
        sent_at: at,
        updated_at: at,
        edited: None,
        deleted: None,
        delivered_at: None,
        read_at: None,
    }
}

/// With its members and its history, which go piece by piece where they are many. Nobody is a member of
/// a group that is not there.
fn delete(w: &mut Writing<'_>, app: &AppId, guid: &Guid, at: Time) -> Stored<bool> {
    let (db, names) = (w.db, [app.as_str(), guid.as_str()]);
    db.execute("DELETE FROM conversation WHERE app = ?1 AND guid = ?2", names).map_err(fault)?;
    let deleted = db.execute("DELETE FROM grp WHERE app = ?1 AND guid = ?2", names).map_err(fault)? > 0;
    if deleted {
        let doomed = Doomed::Group(app.clone(), guid.clone());
        removals::begin(w, doomed, at, ROWS_MAX).map_err(fault)?;
    }
    Ok(deleted)
}

#[async_trait]
impl GroupStore for Sqlite {
    async fn create_group(&self, app: &AppId, group: Group, members: Vec<Member>) -> Stored<Group> {
        let app = app.clone();
        self.write(move |w| create(w, &app, &group, &members)).await
    }

    async fn group(&self, app: &AppId, guid: &Guid) -> Stored<Option<Group>> {
        Ok(self.look_up::<Group>((app.clone(), guid.clone())).await?.map(Arc::unwrap_or_clone))
    }

    async fn groups(
        &self,
        app: &AppId,
        seen_by: Option<&Uid>,
        search: Option<&str>,
        page: PageRequest,
    ) -> Stored<Page<Group>> {
        let (app, seen_by, search) = (app.clone(), seen_by.cloned(), search.map(str::to_owned));
        self.read(move |db, vault| list(db, vault, &app, seen_by.as_ref(), search.as_deref(), page)).await
    }

    async fn set_about(
        &self,
        app: &AppId,
        guid: &Guid,
        about: About,
        owner: Option<Uid>,
        at: Time,
    ) -> Stored<Group> {
        let (app, guid) = (app.clone(), guid.clone());
        self.write(move |w| set_about(w, &app, &guid, &about, owner, at)).await
    }

    async fn delete_group(&self, app: &AppId, guid: &Guid, at: Time) -> Stored<bool> {
        let (app, guid) = (app.clone(), guid.clone());
        self.write(move |w| delete(w, &app, &guid, at)).await
    }

    async fn member(&self, app: &AppId, guid: &Guid, uid: &Uid) -> Stored<Option<Member>> {
        let name = (app.clone(), guid.clone(), uid.clone());
        Ok(self.look_up::<Member>(name).await?.map(Arc::unwrap_or_clone))
    }

    async fn members(&self, app: &AppId, guid: &Guid, page: PageRequest) -> Stored<Page<(User, Member)>> {
        let (app, guid) = (app.clone(), guid.clone());
        self.read(move |db, _| members::list_members(db, &app, &guid, page)).await
    }

    async fn add_members(
        &self,
        app: &AppId,
        guid: &Guid,
        members: Vec<Member>,
        by: User,
        told: Told<Vec<Addition>>,
    ) -> Stored<Vec<Addition>> {
        let (app, guid) = (app.clone(), guid.clone());
        self.write_told(move |w| add(w, &*apps::present(w, &app)?, &guid, members, &by), told).await
    }

    async fn remove_member(
        &self,
        app: &AppId,
        guid: &Guid,
        uid: &Uid,
        by: User,
        at: Time,
        told: Told<Committed>,
    ) -> Stored<Committed> {
        let (app, guid, uid) = (app.clone(), guid.clone(), uid.clone());
        self.write_told(move |w| remove(w, &*apps::present(w, &app)?, &guid, &uid, &by, at), told).await
    }
}
