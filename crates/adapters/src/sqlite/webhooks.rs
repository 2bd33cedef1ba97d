//! Webhooks, their triggers, and the stream of numbers that outlives them.

use async_trait::async_trait;
use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::signature::{Overlap, Previous, Secrets, SigningSecret};
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::{
    Config, Credentials, EndpointUrl, OnFailure, Patience, WEBHOOKS_PER_APP_MAX, Webhook, WebhookDraft,
};
use chathook_engine::ports::store::{StoreError, Stored, SwitchedOff, Target, WebhookStore};
use chathook_engine::ports::upkeep::Doomed;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::cache::{Cache, Cached, Caches};
use super::changes::{Noun, Place};
use super::upkeep::ROWS_MAX;
use super::{Sqlite, Writing, fault, removals, replays};
use crate::vault::Vault;

const SELECT: &str = "SELECT row, app, id, name, url, use_basic_auth, username, password, enabled, \
    retry_on_failure, on_failure, timeout_ms, patience_s, signing_secret, previous_secret, previous_secret_until, \
    switched_off, created_at, updated_at FROM webhook";

/// A webhook with what dispatch keeps of it.
pub(crate) fn target(db: &Connection, vault: &Vault, row: i64) -> Stored<Option<Target>> {
    let found = db
        .prepare_cached(&format!("{SELECT} WHERE row = ?1"))
        .and_then(|mut query| query.query_row([row], columns).optional())
        .map_err(fault)?;
    let Some(found) = found else { return Ok(None) };
    let (app, webhook) = found.into_webhook(db, vault)?;
    let (stream, settled, failing_since): (i64, i64, Option<i64>) = db
        .prepare_cached(
            "SELECT s.row, s.settled, w.failing_since FROM webhook w JOIN stream s ON s.row = w.stream
             WHERE w.row = ?1",
        )
        .and_then(|mut query| query.query_row([row], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))))
        .map_err(fault)?;
    Ok(Some(Target { app, webhook, stream, settled, failing_since: failing_since.map(Time::from_ms) }))
}

/// All webhooks of an app, in the order in which they were created.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Webhooks(Vec<Webhook>);

impl Cached for Webhooks {
    type Name = AppId;

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.webhooks
    }

    fn places(app: &AppId, _: Option<&Self>) -> Vec<Place> {
        vec![Place::of(Noun::Webhooks, &[app.as_str().as_bytes()])]
    }

    fn read(db: &Connection, vault: &Vault, app: &AppId) -> Stored<Option<Self>> {
        of_app(db, vault, app).map(|webhooks| Some(Self(webhooks)))
    }
}

fn of_app(db: &Connection, vault: &Vault, app: &AppId) -> Stored<Vec<Webhook>> {
    let rows: Vec<WebhookColumns> = db
        .prepare_cached(&format!("{SELECT} WHERE app = ?1 ORDER BY row"))
        .and_then(|mut query| query.query_map([app.as_str()], columns)?.collect())
        .map_err(fault)?;
    rows.into_iter().map(|columns| columns.into_webhook(db, vault).map(|(_, webhook)| webhook)).collect()
}

fn find(db: &Connection, vault: &Vault, app: &AppId, id: &WebhookId) -> Stored<Option<Webhook>> {
    db.prepare_cached(&format!("{SELECT} WHERE app = ?1 AND id = ?2"))
        .and_then(|mut query| query.query_row([app.as_str(), id.as_str()], columns).optional())
        .map_err(fault)?
        .map(|columns| columns.into_webhook(db, vault).map(|(_, webhook)| webhook))
        .transpose()
}

fn present(w: &Writing<'_>, app: &AppId, id: &WebhookId) -> Stored<Webhook> {
    find(w.db, w.vault, app, id)?
        .ok_or_else(|| Refusal::new(Code::WebhookNotFound, format!("There is no webhook '{id}'.")).into())
}

struct WebhookColumns {
    row: i64,
    app: String,
    id: String,
    name: String,
    url: String,
    use_basic_auth: bool,
    username: Option<String>,
    password: Option<Vec<u8>>,
    enabled: bool,
    retry_on_failure: bool,
    on_failure: String,
    timeout_ms: i64,
    patience_s: i64,
    signing_secret: Vec<u8>,
    previous_secret: Option<Vec<u8>>,
    previous_secret_until: Option<i64>,
    switched_off: Option<String>,
    created_at: i64,
    updated_at: i64,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<WebhookColumns> {
    Ok(WebhookColumns {
        row: row.get(0)?,
        app: row.get(1)?,
        id: row.get(2)?,
        name: row.get(3)?,
        url: row.get(4)?,
        use_basic_auth: row.get(5)?,
        username: row.get(6)?,
        password: row.get(7)?,
        enabled: row.get(8)?,
        retry_on_failure: row.get(9)?,
        on_failure: row.get(10)?,
        timeout_ms: row.get(11)?,
        patience_s: row.get(12)?,
        signing_secret: row.get(13)?,
        previous_secret: row.get(14)?,
        previous_secret_until: row.get(15)?,
        switched_off: row.get(16)?,
        created_at: row.get(17)?,
        updated_at: row.get(18)?,
    })
}

impl WebhookColumns {
    fn into_webhook(self, db: &Connection, vault: &Vault) -> Stored<(AppId, Webhook)> {
        let (app, id) = (AppId::trusted(&self.app), WebhookId::trusted(&self.id));
        let credentials = match (self.username, self.password) {
            (Some(username), Some(sealed)) => {
                let password =
                    vault.open_text(&password_record(&app, &id), &sealed).map_err(StoreError::Fault)?;
                Some(Credentials { username, password })
            }
            (None, _) | (_, None) => None,
        };
        let config = Config {
            name: self.name,
            url: EndpointUrl::parse("webhookURL", &self.url).map_err(|refusal| {
                StoreError::Fault(format!("webhook row {}: {}", self.row, refusal.message))
            })?,
            use_basic_auth: self.use_basic_auth,
            credentials,
            enabled: self.enabled,
            retry_on_failure: self.retry_on_failure,
            on_failure: OnFailure::parse(&self.on_failure)
                .ok_or_else(|| StoreError::Fault(format!("webhook row {}: unknown onFailure", self.row)))?,
            timeout_ms: self.timeout_ms,
            patience: Patience::of_stored(self.patience_s)
                .ok_or_else(|| StoreError::Fault(format!("webhook row {}: unknown patience", self.row)))?,
        };
        let open = |record: &str, sealed: &[u8]| {
            vault.open(record, sealed).map(SigningSecret::new).map_err(StoreError::Fault)
        };
        let previous = match (&self.previous_secret, self.previous_secret_until) {
            (Some(sealed), Some(until)) => {
                let secret = open(&previous_secret_record(&app, &id), sealed)?;
                Some(Previous { secret, until: Time::from_ms(until) })
            }
            (None, _) | (_, None) => None,
        };
        let secrets = Secrets { present: open(&secret_record(&app, &id), &self.signing_secret)?, previous };
        let webhook = Webhook {
            row: self.row,
            id,
            config,
            triggers: triggers_of(db, self.row)?,
            secrets,
            switched_off: self.switched_off,
            created_at: Time::from_ms(self.created_at),
            updated_at: Time::from_ms(self.updated_at),
        };
        Ok((app, webhook))
    }
}

fn password_record(app: &AppId, id: &WebhookId) -> String {
    format!("webhook/{app}/{id}/password")
}

fn secret_record(app: &AppId, id: &WebhookId) -> String {
    format!("webhook/{app}/{id}/signing_secret")
}

fn previous_secret_record(app: &AppId, id: &WebhookId) -> String {
    format!("webhook/{app}/{id}/previous_secret")
}

fn triggers_of(db: &Connection, row: i64) -> Stored<Vec<Trigger>> {
    let ids: Vec<String> = db
        .prepare_cached("SELECT trigger FROM webhook_trigger WHERE webhook_row = ?1")
        .and_then(|mut query| query.query_map([row], |row| row.get(0))?.collect())
        .map_err(fault)?;
    Ok(Trigger::ALL.into_iter().filter(|trigger| ids.iter().any(|id| id == trigger.id())).collect())
}

fn create(
    w: &mut Writing<'_>,
    app: &AppId,
    draft: &WebhookDraft,
    secret: &[u8],
    at: Time,
) -> Stored<Webhook> {
    let WebhookDraft { id, config } = draft;
    if find(w.db, w.vault, app, id)?.is_some() {
        return Err(Refusal::field(Code::WebhookAlreadyExists, "id", "is taken by another webhook").into());
    }
    let count: i64 =
        w.db.query_row("SELECT count(*) FROM webhook WHERE app = ?1", [app.as_str()], |row| row.get(0))
            .map_err(fault)?;
    if usize::try_from(count).is_ok_and(|count| count >= WEBHOOKS_PER_APP_MAX) {
        let sentence = format!("An app has at most {WEBHOOKS_PER_APP_MAX} webhooks.");
        return Err(Refusal::new(Code::WebhookLimit, sentence).into());
    }
    // Numbers of the one before that still wait must not go out in its stead.
    removals::finish(w, &Doomed::Webhook(app.clone(), id.clone())).map_err(fault)?;
    let stream = stream_of(w.db, app, id).map_err(fault)?;
    w.db.execute(
        "INSERT INTO webhook (app, id, name, url, use_basic_auth, username, password, enabled, retry_on_failure, \
         on_failure, timeout_ms, signing_secret, created_at, updated_at, \
         stream, off_since, patience_s) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14, ?15, ?16)",
        params![
            app.as_str(),
            id.as_str(),
            config.name,
            config.url.as_str(),
            config.use_basic_auth,
            config.credentials.as_ref().map(|c| c.username.as_str()),
            sealed_password(w.vault, app, id, config),
            config.enabled,
            config.retry_on_failure,
            config.on_failure.as_str(),
            config.timeout_ms,
            w.vault.seal(&secret_record(app, id), secret),
            at.ms,
            stream,
            (!config.enabled).then_some(at.ms),
            config.patience.stored()
        ],
    )
    .map_err(fault)?;
    present(w, app, id)
}

/// The row of the webhook's numbers: those of an earlier one under this id, where there was one.
fn stream_of(db: &Connection, app: &AppId, id: &WebhookId) -> rusqlite::Result<i64> {
    db.execute("INSERT OR IGNORE INTO stream (app, webhook) VALUES (?1, ?2)", [app.as_str(), id.as_str()])?;
    db.query_row(
        "SELECT row FROM stream WHERE app = ?1 AND webhook = ?2",
        [app.as_str(), id.as_str()],
        |row| row.get(0),
    )
}

fn sealed_password(vault: &Vault, app: &AppId, id: &WebhookId, config: &Config) -> Option<Vec<u8>> {
    let credentials = config.credentials.as_ref()?;
    Some(vault.seal(&password_record(app, id), credentials.password.as_bytes()))
}

fn set_config(
    w: &Writing<'_>,
    app: &AppId,
    id: &WebhookId,
    config: &Config,
    switched_off: SwitchedOff,
    at: Time,
) -> Stored<Webhook> {
    let row = present(w, app, id)?.row;
    w.db.execute(
        "UPDATE webhook SET name = ?2, url = ?3, use_basic_auth = ?4, username = ?5, password = ?6, enabled = ?7, \
         retry_on_failure = ?8, on_failure = ?9, timeout_ms = ?10, updated_at = ?11, \
         switched_off = CASE WHEN ?12 THEN NULL ELSE switched_off END, \
         off_since = CASE WHEN ?7 AND (?12 OR switched_off IS NULL) THEN NULL ELSE coalesce(off_since, ?11) END, \
         patience_s = ?13 WHERE row = ?1",
        params![
            row,
            config.name,
            config.url.as_str(),
            config.use_basic_auth,
            config.credentials.as_ref().map(|c| c.username.as_str()),
            sealed_password(w.vault, app, id, config),
            config.enabled,
            config.retry_on_failure,
            config.on_failure.as_str(),
            config.timeout_ms,
            at.ms,
            switched_off == SwitchedOff::Clear,
            config.patience.stored()
        ],
    )
    .map_err(fault)?;
    present(w, app, id)
}

fn rotate_secret(
    w: &Writing<'_>,
    app: &AppId,
    id: &WebhookId,
    fresh: Vec<u8>,
    overlap: Overlap,
    at: Time,
) -> Stored<Webhook> {
    let webhook = present(w, app, id)?;
    let Secrets { present: fresh, previous } =
        webhook.secrets.rotated(SigningSecret::new(fresh), overlap, at);
    let previous_record = previous_secret_record(app, id);
    w.db.execute(
        "UPDATE webhook SET signing_secret = ?2, previous_secret = ?3, previous_secret_until = ?4, updated_at = ?5 \
         WHERE row = ?1",
        params![
            webhook.row,
            w.vault.seal(&secret_record(app, id), fresh.bytes()),
            previous.as_ref().map(|previous| w.vault.seal(&previous_record, previous.secret.bytes())),
            previous.as_ref().map(|previous| previous.until.ms),
            at.ms
        ],
    )
    .map_err(fault)?;
    present(w, app, id)
}

/// Nothing goes out any more; where much waits, it is cancelled piece by piece.
fn delete(w: &mut Writing<'_>, app: &AppId, id: &WebhookId, at: Time) -> Stored<bool> {
    let Some(webhook) = find(w.db, w.vault, app, id)? else { return Ok(false) };
    replays::cancel_all_of(w.db, app, id, at).map_err(fault)?;
    delete_row(w.db, webhook.row).map_err(fault)?;
    let doomed = Doomed::Webhook(app.clone(), id.clone());
    removals::begin(w, doomed, at, ROWS_MAX).map_err(fault)?;
    Ok(true)
}

/// All webhooks of an app that goes; answers with their rows.
pub(super) fn delete_all(db: &Connection, app: &AppId) -> rusqlite::Result<Vec<i64>> {
    let rows: Vec<i64> = db
        .prepare_cached("SELECT row FROM webhook WHERE app = ?1")?
        .query_map([app.as_str()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    rows.iter().try_for_each(|row| delete_row(db, *row))?;
    Ok(rows)
}

fn delete_row(db: &Connection, row: i64) -> rusqlite::Result<()> {
    db.execute("DELETE FROM webhook_trigger WHERE webhook_row = ?1", [row])?;
    db.execute("DELETE FROM webhook WHERE row = ?1", [row]).map(drop)
}

fn change_triggers(
    w: &Writing<'_>,
    app: &AppId,
    id: &WebhookId,
    triggers: &[Trigger],
    sql: &'static str,
) -> Stored<Webhook> {
    let row = present(w, app, id)?.row;
    for trigger in triggers {
        w.db.execute(sql, params![row, trigger.id()]).map_err(fault)?;
    }
    present(w, app, id)
}

#[async_trait]
impl WebhookStore for Sqlite {
    async fn create_webhook(
        &self,
        app: &AppId,
        draft: WebhookDraft,
        secret: Vec<u8>,
        at: Time,
    ) -> Stored<Webhook> {
        let app = app.clone();
        self.write(move |w| create(w, &app, &draft, &secret, at)).await
    }

    async fn webhooks(&self, app: &AppId) -> Stored<Vec<Webhook>> {
        let webhooks = self.look_up::<Webhooks>(app.clone()).await?;
        Ok(webhooks.map_or_else(Vec::new, |found| found.0.clone()))
    }

    async fn webhook(&self, app: &AppId, id: &WebhookId) -> Stored<Option<Webhook>> {
        let (app, id) = (app.clone(), id.clone());
        self.read(move |db, vault| find(db, vault, &app, &id)).await
    }

    async fn set_config(
        &self,
        app: &AppId,
        id: &WebhookId,
        config: Config,
        switched_off: SwitchedOff,
        at: Time,
    ) -> Stored<Webhook> {
        let (app, id) = (app.clone(), id.clone());
        self.write(move |w| set_config(w, &app, &id, &config, switched_off, at)).await
    }

    async fn rotate_secret(
        &self,
        app: &AppId,
        id: &WebhookId,
        fresh: Vec<u8>,
        overlap: Overlap,
        at: Time,
    ) -> Stored<Webhook> {
        let (app, id) = (app.clone(), id.clone());
        self.write(move |w| rotate_secret(w, &app, &id, fresh, overlap, at)).await
    }

    async fn delete_webhook(&self, app: &AppId, id: &WebhookId, at: Time) -> Stored<bool> {
        let (app, id) = (app.clone(), id.clone());
        self.write(move |w| delete(w, &app, &id, at)).await
    }

    async fn add_triggers(&self, app: &AppId, id: &WebhookId, triggers: Vec<Trigger>) -> Stored<Webhook> {
        const ADD: &str = "INSERT OR IGNORE INTO webhook_trigger (webhook_row, trigger) VALUES (?1, ?2)";
        let (app, id) = (app.clone(), id.clone());
        self.write(move |w| change_triggers(w, &app, &id, &triggers, ADD)).await
    }

    async fn remove_triggers(&self, app: &AppId, id: &WebhookId, triggers: Vec<Trigger>) -> Stored<Webhook> {
        const REMOVE: &str = "DELETE FROM webhook_trigger WHERE webhook_row = ?1 AND trigger = ?2";
        let (app, id) = (app.clone(), id.clone());
        self.write(move |w| change_triggers(w, &app, &id, &triggers, REMOVE)).await
    }
}
