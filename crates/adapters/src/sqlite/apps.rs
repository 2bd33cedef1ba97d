//! Tenants and their API keys.

use std::sync::Arc;

use async_trait::async_trait;
use chathook_domain::app::{ApiKey, App, KeyScope, Settings};
use chathook_domain::ids::{AppId, Time};
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::ports::store::{AppStore, Samples, StoreError, Stored};
use chathook_engine::ports::upkeep::Doomed;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::Value;

use super::cache::{Cache, Cached, Caches};
use super::changes::{Noun, Place};
use super::upkeep::ROWS_MAX;
use super::{Sqlite, Writing, fault, groups, removals, users, webhooks};
use crate::vault::Vault;

const COLUMNS: &str = "app.id, app.name, app.region, app.settings, app.created_at";

impl Cached for App {
    type Name = AppId;

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.apps
    }

    fn places(id: &AppId, _: Option<&Self>) -> Vec<Place> {
        vec![Place::of(Noun::App, &[id.as_str().as_bytes()])]
    }

    fn read(db: &Connection, _: &Vault, id: &AppId) -> Stored<Option<Self>> {
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM app WHERE id = ?1 AND deleted_at IS NULL"))
            .and_then(|mut query| query.query_row([id.as_str()], columns).optional())
            .map_err(fault)?
            .map(Self::try_from)
            .transpose()
    }
}

/// Whose key it is, and what it may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyOwner {
    app: AppId,
    scope: KeyScope,
}

impl Cached for KeyOwner {
    /// The key's hash.
    type Name = Vec<u8>;

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.api_keys
    }

    fn places(hash: &Vec<u8>, _: Option<&Self>) -> Vec<Place> {
        vec![Place::of(Noun::ApiKey, &[hash])]
    }

    fn read(db: &Connection, _: &Vault, hash: &Vec<u8>) -> Stored<Option<Self>> {
        let found: Option<(String, String)> = db
            .prepare_cached("SELECT app, scope FROM api_key WHERE hash = ?1")
            .and_then(|mut query| query.query_row([hash], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .map_err(fault)?;
        found.map(|(app, text)| Ok(Self { app: AppId::trusted(&app), scope: scope(&text)? })).transpose()
    }
}

/// The app, which the caller believes to be there, as it is now.
pub(crate) fn present(w: &Writing<'_>, id: &AppId) -> Stored<Arc<App>> {
    w.look_up::<App>(id)?
        .ok_or_else(|| Refusal::new(Code::AppNotFound, format!("There is no app '{id}'.")).into())
}

pub(crate) struct AppColumns {
    id: String,
    name: String,
    region: String,
    settings: String,
    created_at: i64,
}

pub(crate) fn columns(row: &Row<'_>) -> rusqlite::Result<AppColumns> {
    Ok(AppColumns {
        id: row.get(0)?,
        name: row.get(1)?,
        region: row.get(2)?,
        settings: row.get(3)?,
        created_at: row.get(4)?,
    })
}

impl TryFrom<AppColumns> for App {
    type Error = StoreError;

    fn try_from(columns: AppColumns) -> Result<Self, StoreError> {
        let unfit = |why: String| StoreError::Fault(format!("the settings of app '{}': {why}", columns.id));
        let stored: Value =
            serde_json::from_str(&columns.settings).map_err(|error| unfit(error.to_string()))?;
        let settings = Settings::from_json(&stored).map_err(|refusal| unfit(refusal.message))?;
        Ok(Self {
            id: AppId::trusted(&columns.id),
            name: columns.name,
            region: columns.region,
            settings,
            created_at: Time::from_ms(columns.created_at),
        })
    }
}

fn key_record(app: &AppId) -> String {
    format!("api_key/{app}")
}

fn scope(text: &str) -> Stored<KeyScope> {
    KeyScope::parse(text).ok_or_else(|| StoreError::Fault(format!("'{text}' is no scope of a key")))
}

fn keys_of(db: &Connection, vault: &Vault, app: &AppId) -> Stored<Vec<ApiKey>> {
    let rows: Vec<(Vec<u8>, String, String, i64)> = db
        .prepare_cached(
            "SELECT sealed, name, scope, created_at FROM api_key WHERE app = ?1 ORDER BY created_at, rowid",
        )
        .and_then(|mut query| {
            query
                .query_map([app.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect()
        })
        .map_err(fault)?;
    rows.into_iter()
        .map(|(sealed, name, scope_text, created_at)| {
            Ok(ApiKey {
                key: vault.open_text(&key_record(app), &sealed).map_err(StoreError::Fault)?,
                name,
                scope: scope(&scope_text)?,
                created_at: Time::from_ms(created_at),
            })
        })
        .collect()
}

fn create(w: &mut Writing<'_>, app: &App, keys: &[ApiKey], samples: Option<&Samples>) -> Stored<()> {
    removals::finish(w, &Doomed::App(app.id.clone())).map_err(fault)?;
    w.db.execute(
        "INSERT INTO app (id, name, region, settings, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![app.id.as_str(), app.name, app.region, app.settings.to_json().to_string(), app.created_at.ms],
    )
    .map_err(fault)?;
    for key in keys {
        w.db.execute(
            "INSERT INTO api_key (hash, app, sealed, name, scope, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                w.vault.hash("api_key", &key.key),
                app.id.as_str(),
                w.vault.seal(&key_record(&app.id), key.key.as_bytes()),
                key.name,
                key.scope.as_str(),
                key.created_at.ms
            ],
        )
        .map_err(fault)?;
    }
    if let Some(samples) = samples {
        for user in &samples.users {
            users::create(w, &app.id, user, None)?;
        }
        groups::create(w, &app.id, &samples.group, &samples.members)?;
    }
    Ok(())
}

/// From now on nobody finds it; what has many rows goes piece by piece.
fn delete(w: &mut Writing<'_>, id: &AppId, at: Time) -> Stored<bool> {
    let marked = "UPDATE app SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
    if w.db.execute(marked, params![id.as_str(), at.ms]).map_err(fault)? == 0 {
        return Ok(false);
    }
    w.db.execute("DELETE FROM api_key WHERE app = ?1", [id.as_str()]).map_err(fault)?;
    for row in webhooks::delete_all(w.db, id).map_err(fault)? {
        w.changed.push(row);
    }
    removals::begin(w, Doomed::App(id.clone()), at, ROWS_MAX).map_err(fault)?;
    Ok(true)
}

#[async_trait]
impl AppStore for Sqlite {
    async fn create_app(&self, app: App, keys: Vec<ApiKey>, samples: Option<Samples>) -> Stored<()> {
        self.write(move |w| create(w, &app, &keys, samples.as_ref())).await
    }

    async fn apps(&self) -> Stored<Vec<App>> {
        self.read(|db, _| {
            let rows: Vec<AppColumns> = db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM app WHERE deleted_at IS NULL ORDER BY created_at, id"
                ))
                .and_then(|mut query| query.query_map([], columns)?.collect())
                .map_err(fault)?;
            rows.into_iter().map(App::try_from).collect()
        })
        .await
    }

    async fn app(&self, id: &AppId) -> Stored<Option<Arc<App>>> {
        self.look_up::<App>(id.clone()).await
    }

    async fn api_keys(&self, app: &AppId) -> Stored<Vec<ApiKey>> {
        let app = app.clone();
        self.read(move |db, vault| keys_of(db, vault, &app)).await
    }

    async fn app_of_key(&self, key: &str) -> Stored<Option<(Arc<App>, KeyScope)>> {
        let Some(owner) = self.look_up::<KeyOwner>(self.vault.hash("api_key", key)).await? else {
            return Ok(None);
        };
        Ok(self.app(&owner.app).await?.map(|app| (app, owner.scope)))
    }

    async fn delete_app(&self, id: &AppId, at: Time) -> Stored<bool> {
        let id = id.clone();
        self.write(move |w| delete(w, &id, at)).await
    }

    async fn set_settings(&self, app: &AppId, settings: Settings) -> Stored<()> {
        let app = app.clone();
        self.write(move |w| {
            present(w, &app)?;
            w.db.execute(
                "UPDATE app SET settings = ?2 WHERE id = ?1",
                params![app.as_str(), settings.to_json().to_string()],
            )
            .map(|_| ())
            .map_err(fault)
        })
        .await
    }
}
