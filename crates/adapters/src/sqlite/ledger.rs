//! What the one writer keeps in memory: the last numbers given, and who listens to what.
//!
//! Nobody else writes these columns, so each is read once, changed here, and written once per
//! transaction. A job that is refused takes back what it changed; a transaction that fails forgets all.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chathook_domain::ids::AppId;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::trigger::Trigger;
use chathook_engine::ports::store::Stored;
use rusqlite::{Connection, OptionalExtension as _};

use super::{Options, fault};

/// A stream's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamNumbers {
    /// The last number given.
    pub last: i64,
    /// Every number up to this one is answered, ended or cancelled.
    pub settled: i64,
    /// Deliveries that wait, and the bytes of their bodies.
    pub waiting_count: i64,
    pub waiting_bytes: i64,
}

/// A webhook that is owed an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listener {
    pub row: i64,
    pub stream: i64,
}

/// Who is owed an event of one trigger, and who is not.
#[derive(Debug, Default)]
pub(super) struct Audience {
    /// In the order in which they were created.
    pub listeners: Vec<Listener>,
    /// The rest with their reasons, as the event keeps them.
    pub passed_over: String,
}

pub(super) struct Ledger {
    /// The last number given in an app.
    apps: HashMap<AppId, i64>,
    streams: HashMap<i64, StreamNumbers>,
    /// Kept until a webhook or one of its triggers changes.
    audiences: HashMap<AppId, Vec<(Trigger, Arc<Audience>)>>,
    /// Set by the database's hook on every change of such a row.
    webhooks_changed: Arc<AtomicBool>,
    /// The running job has looked at audiences, or changed them.
    job_read_audiences: bool,
    /// What the running job has changed, as it was before.
    before: Vec<Before>,
    unwritten_apps: HashSet<AppId>,
    unwritten_streams: HashSet<i64>,
    /// The most that may wait for one webhook.
    backlog_bytes_max: i64,
}

enum Before {
    App(AppId, Option<i64>),
    Stream(i64, Option<StreamNumbers>),
}

impl Ledger {
    /// A ledger of what this connection, and no other, writes.
    pub(super) fn of(db: &mut Connection, options: Options) -> rusqlite::Result<Self> {
        let webhooks_changed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&webhooks_changed);
        db.update_hook(Some(move |_action, _database: &str, table: &str, _row| {
            if table == "webhook" || table == "webhook_trigger" {
                flag.store(true, Ordering::Relaxed);
            }
        }))?;
        Ok(Self {
            apps: HashMap::new(),
            streams: HashMap::new(),
            audiences: HashMap::new(),
            webhooks_changed,
            job_read_audiences: false,
            before: Vec::new(),
            unwritten_apps: HashSet::new(),
            unwritten_streams: HashSet::new(),
            backlog_bytes_max: options.backlog_bytes_max,
        })
    }

    /// Takes the next number: growing, and never given twice.
    pub(super) fn next_number(&mut self, db: &Connection, app: &AppId) -> Stored<i64> {
        let number = self.last_number(db, app)? + 1;
        let before = self.apps.insert(app.clone(), number);
        self.before.push(Before::App(app.clone(), before));
        if !self.unwritten_apps.contains(app) {
            self.unwritten_apps.insert(app.clone());
        }
        Ok(number)
    }

    /// The cursor of the last line of the app's record; 0 before the first.
    pub(super) fn last_number(&mut self, db: &Connection, app: &AppId) -> Stored<i64> {
        if let Some(number) = self.apps.get(app) {
            return Ok(*number);
        }
        let found = db
            .prepare_cached(
                "SELECT coalesce(c.last, 0) FROM app a LEFT JOIN counter c ON c.app = a.id WHERE a.id = ?1",
            )
            .and_then(|mut query| query.query_row([app.as_str()], |row| row.get(0)).optional());
        let Some(number) = found.map_err(fault)? else {
            return Err(Refusal::new(Code::AppNotFound, format!("There is no app '{app}'.")).into());
        };
        self.apps.insert(app.clone(), number);
        Ok(number)
    }

    /// `None` where the stream is gone with its app.
    pub(super) fn stream(&mut self, db: &Connection, row: i64) -> rusqlite::Result<Option<StreamNumbers>> {
        if let Some(numbers) = self.streams.get(&row) {
            return Ok(Some(*numbers));
        }
        let found = db
            .prepare_cached("SELECT last, settled, waiting_count, waiting_bytes FROM stream WHERE row = ?1")?
            .query_row([row], |row| {
                Ok(StreamNumbers {
                    last: row.get(0)?,
                    settled: row.get(1)?,
                    waiting_count: row.get(2)?,
                    waiting_bytes: row.get(3)?,
                })
            })
            .optional()?;
        self.streams.extend(found.map(|numbers| (row, numbers)));
        Ok(found)
    }

    pub(super) fn set_stream(&mut self, row: i64, numbers: StreamNumbers) {
        let before = self.streams.insert(row, numbers);
        self.before.push(Before::Stream(row, before));
        self.unwritten_streams.insert(row);
    }

    /// Whether one more body of this size would be more than may wait.
    pub(super) fn would_overflow(&mut self, db: &Connection, stream: i64, bytes: i64) -> Stored<bool> {
        let waiting = self.stream(db, stream).map_err(fault)?.map_or(0, |numbers| numbers.waiting_bytes);
        Ok(waiting.saturating_add(bytes) > self.backlog_bytes_max)
    }

    /// Gives the next number of a stream to a delivery that waits with so many bytes.
    pub(super) fn give(&mut self, db: &Connection, stream: i64, bytes: i64) -> rusqlite::Result<i64> {
        let mut numbers = self.stream(db, stream)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        numbers.last += 1;
        numbers.waiting_count += 1;
        numbers.waiting_bytes += bytes;
        self.set_stream(stream, numbers);
        Ok(numbers.last)
    }

    /// Forgets an app that is about to be deleted, with its streams.
    pub(super) fn forget_app(&mut self, db: &Connection, app: &AppId) -> rusqlite::Result<()> {
        let mut query = db.prepare_cached("SELECT row FROM stream WHERE app = ?1")?;
        for row in query.query_map([app.as_str()], |row| row.get(0))? {
            let row = row?;
            self.before.push(Before::Stream(row, self.streams.remove(&row)));
        }
        self.before.push(Before::App(app.clone(), self.apps.remove(app)));
        Ok(())
    }

    /// Who is owed an event of this trigger.
    pub(super) fn audience(
        &mut self,
        db: &Connection,
        app: &AppId,
        trigger: Trigger,
    ) -> rusqlite::Result<Arc<Audience>> {
        if self.webhooks_changed.swap(false, Ordering::Relaxed) {
            self.audiences.clear();
            self.job_read_audiences = true;
        }
        let known = self.audiences.get(app).and_then(|known| known.iter().find(|(of, _)| *of == trigger));
        if let Some((_, audience)) = known {
            return Ok(Arc::clone(audience));
        }
        self.job_read_audiences = true;
        let audience = Arc::new(read_audience(db, app, trigger)?);
        self.audiences.entry(app.clone()).or_default().push((trigger, Arc::clone(&audience)));
        Ok(audience)
    }

    /// What the job changed stays.
    pub(super) fn job_kept(&mut self) {
        self.before.clear();
        self.job_read_audiences = false;
    }

    /// What the job changed is taken back, as the database takes back what it wrote.
    pub(super) fn job_refused(&mut self) {
        while let Some(before) = self.before.pop() {
            match before {
                Before::App(app, Some(number)) => drop(self.apps.insert(app, number)),
                Before::App(app, None) => drop(self.apps.remove(&app)),
                Before::Stream(row, Some(numbers)) => drop(self.streams.insert(row, numbers)),
                Before::Stream(row, None) => drop(self.streams.remove(&row)),
            }
        }
        // It may have read webhooks as it had changed them.
        if self.job_read_audiences {
            self.audiences.clear();
        }
        self.job_read_audiences = false;
    }

    /// Writes the numbers that changed since the last time, at the end of a transaction.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if !self.unwritten_apps.is_empty() {
            let mut update = db.prepare_cached(
                "INSERT INTO counter (app, last) VALUES (?1, ?2)
                 ON CONFLICT (app) DO UPDATE SET last = excluded.last",
            )?;
            for app in self.unwritten_apps.drain() {
                // One that is not here is deleted, or was read by a job that was refused.
                if let Some(number) = self.apps.get(&app) {
                    update.execute((app.as_str(), number))?;
                }
            }
        }
        if !self.unwritten_streams.is_empty() {
            let mut update = db.prepare_cached(
                "UPDATE stream SET last = ?2, settled = ?3, waiting_count = ?4, waiting_bytes = ?5 WHERE row = ?1",
            )?;
            for row in self.unwritten_streams.drain() {
                if let Some(of) = self.streams.get(&row) {
                    update.execute((row, of.last, of.settled, of.waiting_count, of.waiting_bytes))?;
                }
            }
        }
        Ok(())
    }

    /// The transaction failed: the database is as it was before it, and is read anew.
    pub(super) fn forget_all(&mut self) {
        self.apps.clear();
        self.streams.clear();
        self.audiences.clear();
        self.before.clear();
        self.unwritten_apps.clear();
        self.unwritten_streams.clear();
        self.job_read_audiences = false;
    }
}

fn read_audience(db: &Connection, app: &AppId, trigger: Trigger) -> rusqlite::Result<Audience> {
    let mut query = db.prepare_cached(
        r#"SELECT row, stream, id, enabled, switched_off IS NOT NULL,
                  EXISTS (SELECT 1 FROM webhook_trigger t WHERE t.webhook_row = row AND t."trigger" = ?2)
           FROM webhook WHERE app = ?1 ORDER BY row"#,
    )?;
    let mut rows = query.query((app.as_str(), trigger.id()))?;
    let mut audience = Audience::default();
    while let Some(row) = rows.next()? {
        let (is_enabled, is_switched_off, listens) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let Some(reason) = reason(listens, is_enabled, is_switched_off) else {
            audience.listeners.push(Listener { row: row.get(0)?, stream: row.get(1)? });
            continue;
        };
        let blank = if audience.passed_over.is_empty() { "" } else { " " };
        let id = row.get_ref(2)?.as_str()?;
        write!(audience.passed_over, "{blank}{id}:{reason}").expect("a String takes all");
    }
    Ok(audience)
}

/// Why a webhook is owed nothing, where it is not.
fn reason(listens: bool, is_enabled: bool, is_switched_off: bool) -> Option<&'static str> {
    match (listens, is_enabled, is_switched_off) {
        (false, _, _) => Some("no_trigger"),
        (true, false, _) => Some("disabled"),
        (true, true, true) => Some("switched_off"),
        (true, true, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use chathook_domain::delivery::Owed;
    use chathook_engine::ports::store::{Offers, StoreError, Told};

    use super::super::{Sqlite, Writing};
    use super::*;
    use crate::vault::Vault;

    struct Nobody;

    impl Offers for Nobody {
        fn offer(&self, _: Vec<Owed>) {}
        fn changed(&self, _: i64) {}
    }

    const WEBHOOK: &str = "INSERT INTO webhook (app, id, name, url, use_basic_auth, enabled, retry_on_failure, \
        on_failure, timeout_ms, signing_secret, created_at, updated_at) \
        VALUES ('app', 'hook', '', '', 0, 1, 1, '', 0, x'', 0, 0)";

    fn app() -> AppId {
        AppId::trusted("app")
    }

    async fn store(dir: &tempfile::TempDir) -> Sqlite {
        let vault = Arc::new(Vault::from_key([7; 32]));
        let store = Sqlite::open(dir.path(), vault, Arc::new(Nobody), Options::default());
        let store = store.expect("the store opens");
        let app = "INSERT INTO app (id, name, region, settings, created_at) VALUES ('app', '', '', '{}', 0)";
        store.write(move |w| w.db.execute(app, []).map_err(fault)).await.expect("the app is made");
        store
    }

    async fn next_message(store: &Sqlite) -> i64 {
        let next = store.write(|w| w.ledger.next_number(w.db, &app())).await;
        next.expect("a number is given")
    }

    async fn webhooks_known(store: &Sqlite) -> usize {
        let read = |audience: Arc<Audience>| audience.passed_over.split_whitespace().count();
        let known = store
            .write(move |w| w.ledger.audience(w.db, &app(), Trigger::AfterMessage).map(read).map_err(fault));
        known.await.expect("the audience is read")
    }

    #[tokio::test]
    async fn what_a_refused_job_saw_of_its_own_changes_is_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = store(&dir).await;
        assert_eq!(webhooks_known(&store).await, 0);
        let refused = store.write::<(), _>(|w| {
            w.db.execute(WEBHOOK, []).map_err(fault)?;
            let audience = w.ledger.audience(w.db, &app(), Trigger::AfterMessage).map_err(fault)?;
            assert_eq!(audience.passed_over, "hook:no_trigger");
            Err(Refusal::new(Code::BadRequest, "no").into())
        });
        assert!(matches!(refused.await, Err(StoreError::Refused(_))));
        assert_eq!(webhooks_known(&store).await, 0);
        store.write(|w| w.db.execute(WEBHOOK, []).map_err(fault)).await.expect("made");
        assert_eq!(webhooks_known(&store).await, 1);
    }

    #[tokio::test]
    async fn numbers_of_a_transaction_that_failed_are_given_again() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = store(&dir).await;
        assert_eq!(next_message(&store).await, 1);
        let failed = store.write(|w| {
            w.ledger.next_number(w.db, &app())?;
            // Only the commit finds that there is no such app.
            w.db.execute_batch(
                "PRAGMA defer_foreign_keys = ON;
                 INSERT INTO presence (app, uid, since) VALUES ('nowhere', 'alice', 0)",
            )
            .map_err(fault)
        });
        assert!(matches!(failed.await, Err(StoreError::Fault(_))));
        assert_eq!(next_message(&store).await, 2);
    }

    #[tokio::test]
    async fn a_job_that_fails_when_it_should_no_longer_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = store(&dir).await;
        let job = |w: &mut Writing<'_>| {
            w.db.execute("UPDATE probe SET n = 41", []).map_err(fault)?;
            Err(Refusal::new(Code::BadRequest, "too late").into())
        };
        let failed = store.write_checked::<(), _>(job, Told::nobody());
        assert!(matches!(failed.await, Err(StoreError::Unavailable(_))));
        let n = store
            .write(|w| w.db.query_row("SELECT n FROM probe", [], |row| row.get::<_, i64>(0)).map_err(fault));
        assert_eq!(n.await.expect("the store reads"), 0);
    }
}
