//! The one thread that writes: it gathers whatever waits into one transaction, a savepoint each, so
//! that concurrent jobs share one fdatasync; and the thread beside it that makes the checkpoints.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use chathook_domain::delivery::Owed;
use chathook_engine::ports::store::{Offers, StoreError, Stored};
use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};

use super::cache::Caches;
use super::{Writing, fault};
use crate::vault::Vault;

/// Jobs of one transaction.
const BATCH_MAX: usize = 256;
/// Jobs that may wait; then callers wait for a place.
const QUEUE_MAX: usize = 4_096;
/// Changed rows after which a checkpoint is due: about as many pages.
const CHECKPOINT_CHANGES: u64 = 1_000;
/// Pages of WAL above which the checkpoint makes the writer wait, so that the WAL starts afresh.
const WAL_PAGES_MAX: i64 = 16_000;

pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    threads: Vec<JoinHandle<()>>,
    health: Arc<Health>,
}

#[derive(Default)]
struct Health {
    last_write_failed: AtomicBool,
    is_probing: AtomicBool,
}

impl Writer {
    pub(super) fn start(
        db: Connection,
        checkpoints: Connection,
        vault: Arc<Vault>,
        caches: Arc<Caches>,
        offers: Arc<dyn Offers>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (due, is_due) = std_mpsc::sync_channel(1);
        let health = Arc::new(Health::default());
        let beside = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || make_checkpoints(&checkpoints, &is_due))?;
        let work = Work { db, vault, caches, offers, health: Arc::clone(&health), due, changes_seen: 0 };
        let writing =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || work.run(queue))?;
        // Joined in this order: the checkpoint thread ends when the writer has.
        Ok(Self { jobs: Some(jobs), threads: vec![writing, beside], health })
    }

    pub(super) async fn write<T, J>(&self, job: J) -> Stored<T>
    where
        T: Send + 'static,
        J: FnOnce(&mut Writing<'_>) -> Stored<T> + Send + 'static,
    {
        let closing = || StoreError::Unavailable("the store is closing".to_owned());
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Asked { job: Some(job), result: None, reply });
        self.jobs.as_ref().ok_or_else(closing)?.send(job).await.map_err(|_| closing())?;
        answer.await.map_err(|_| closing())?
    }

    /// How the last write went; meanwhile another is tried, for who asks again.
    pub(super) fn is_writable(&self) -> bool {
        if let Some(jobs) = &self.jobs
            && !self.health.is_probing.swap(true, Ordering::AcqRel)
            && jobs.try_send(Box::new(Probe { health: Arc::clone(&self.health) })).is_err()
        {
            self.health.is_probing.store(false, Ordering::Release);
        }
        !self.health.last_write_failed.load(Ordering::Acquire)
    }

    /// Does what is queued, then ends the threads.
    pub(super) fn stop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store died");
            }
        }
    }
}

/// A job whose type of answer is its own affair.
trait Job: Send {
    /// Runs inside a savepoint; true when what it wrote is to stay.
    fn run(&mut self, writing: &mut Writing<'_>) -> bool;
    /// Tells the caller, after the commit or instead of it.
    fn end(self: Box<Self>, failure: Option<&StoreError>);
}

struct Asked<T, J> {
    job: Option<J>,
    result: Option<Stored<T>>,
    reply: oneshot::Sender<Stored<T>>,
}

impl<T, J> Job for Asked<T, J>
where
    T: Send,
    J: FnOnce(&mut Writing<'_>) -> Stored<T> + Send,
{
    fn run(&mut self, writing: &mut Writing<'_>) -> bool {
        let job = self.job.take().expect("a job runs once");
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| job(writing)));
        let result = result.unwrap_or_else(|_| Err(StoreError::Fault("a write panicked".to_owned())));
        let is_ok = result.is_ok();
        self.result = Some(result);
        is_ok
    }

    fn end(self: Box<Self>, failure: Option<&StoreError>) {
        let result = match (failure, self.result) {
            (Some(failure), _) => Err(copied(failure)),
            (None, Some(result)) => result,
            (None, None) => Err(StoreError::Fault("a write was left out".to_owned())),
        };
        // A caller that went away does not hear; what was written stays written.
        drop(self.reply.send(result));
    }
}

/// A write that changes nothing anyone reads, to see whether writing works.
struct Probe {
    health: Arc<Health>,
}

impl Job for Probe {
    fn run(&mut self, writing: &mut Writing<'_>) -> bool {
        let result = writing.db.execute("UPDATE probe SET n = n + 1", []);
        if let Err(error) = &result {
            tracing::error!(%error, "the store cannot be written");
            self.health.last_write_failed.store(true, Ordering::Release);
        }
        result.is_ok()
    }

    fn end(self: Box<Self>, _failure: Option<&StoreError>) {
        self.health.is_probing.store(false, Ordering::Release);
    }
}

/// What is told of a commit.
#[derive(Default)]
struct News {
    owed: Vec<Owed>,
    changed: Vec<i64>,
}

struct Work {
    db: Connection,
    vault: Arc<Vault>,
    caches: Arc<Caches>,
    offers: Arc<dyn Offers>,
    health: Arc<Health>,
    due: std_mpsc::SyncSender<()>,
    changes_seen: u64,
}

impl Work {
    fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            self.do_batch(batch);
        }
    }

    fn do_batch(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let committed = self.commit(&mut batch);
        // Before anybody is answered. What was rolled back counts as changed, too, which costs a read.
        self.caches.changes.publish();
        match committed {
            Ok(news) => {
                self.health.last_write_failed.store(false, Ordering::Release);
                self.tell(news);
                batch.into_iter().for_each(|job| job.end(None));
                self.call_for_checkpoint();
            }
            Err(failure) => {
                self.health.last_write_failed.store(true, Ordering::Release);
                tracing::error!(error = ?failure, jobs = batch.len(), "a transaction was not committed");
                batch.into_iter().for_each(|job| job.end(Some(&failure)));
            }
        }
    }

    fn tell(&self, news: News) {
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| {
            if !news.owed.is_empty() {
                self.offers.offer(news.owed);
            }
            news.changed.into_iter().for_each(|row| self.offers.changed(row));
        }));
        if told.is_err() {
            tracing::error!("offering deliveries panicked; they are found again after a start");
        }
    }

    /// All of the batch or nothing, refused jobs aside. Answers with what the jobs owe, in their order.
    fn commit(&self, batch: &mut [Box<dyn Job>]) -> Stored<News> {
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(fault)?;
        let mut all = News::default();
        for job in batch.iter_mut() {
            match self.run_one(job.as_mut()) {
                Ok(news) => {
                    all.owed.extend(news.owed);
                    all.changed.extend(news.changed);
                }
                Err(error) => return Err(self.undo(error)),
            }
            // A full disk may end the whole transaction, and with it what earlier jobs wrote.
            if self.db.is_autocommit() {
                return Err(StoreError::Unavailable("the database ended the transaction".to_owned()));
            }
        }
        self.db.execute_batch("COMMIT").map_err(|error| {
            abort_if_sync_failed(&error);
            self.undo(error)
        })?;
        Ok(all)
    }

    /// One job in its savepoint. What a refused job owed is forgotten with what it wrote.
    fn run_one(&self, job: &mut dyn Job) -> rusqlite::Result<News> {
        self.db.execute_batch("SAVEPOINT job")?;
        let mut writing = Writing {
            db: &self.db,
            vault: &self.vault,
            caches: &self.caches,
            owed: Vec::new(),
            changed: Vec::new(),
        };
        let is_kept = job.run(&mut writing);
        let news = News { owed: writing.owed, changed: writing.changed };
        if self.db.is_autocommit() {
            return Ok(News::default());
        }
        if is_kept {
            self.db.execute_batch("RELEASE job")?;
            Ok(news)
        } else {
            self.db.execute_batch("ROLLBACK TO job; RELEASE job")?;
            Ok(News::default())
        }
    }

    fn undo(&self, error: rusqlite::Error) -> StoreError {
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
            std::process::abort();
        }
        fault(error)
    }

    fn call_for_checkpoint(&mut self) {
        let changes = self.db.total_changes();
        if changes.wrapping_sub(self.changes_seen) >= CHECKPOINT_CHANGES {
            self.changes_seen = changes;
            // When one is called for already, that one will do.
            let _ = self.due.try_send(());
        }
    }
}

fn make_checkpoints(db: &Connection, is_due: &std_mpsc::Receiver<()>) {
    // The RESTART below holds the writer up while it waits for readers.
    if let Err(error) = db.busy_timeout(Duration::from_millis(100)) {
        tracing::error!(%error, "the checkpoint connection has no time limit");
    }
    while is_due.recv().is_ok() {
        match checkpoint(db, "PASSIVE") {
            Ok(pages) if pages > WAL_PAGES_MAX => {
                if let Err(error) = checkpoint(db, "RESTART") {
                    tracing::warn!(%error, "the write-ahead log could not be started afresh");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a checkpoint failed"),
        }
    }
}

/// Answers with the pages in the WAL.
fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<i64> {
    let pages = db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1));
    pages.inspect_err(abort_if_sync_failed)
}

/// After a failed fsync nobody knows what is on disk: the kernel may have dropped the pages.
fn abort_if_sync_failed(error: &rusqlite::Error) {
    let code = error.sqlite_error().map(|e| e.extended_code);
    if matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)) {
        tracing::error!(%error, "the disk did not take what was written; its state is unknown, so the process ends");
        std::process::abort();
    }
}

fn copied(failure: &StoreError) -> StoreError {
    match failure {
        StoreError::Unavailable(text) => StoreError::Unavailable(text.clone()),
        StoreError::Refused(refusal) => StoreError::Refused(refusal.clone()),
        StoreError::Fault(text) => StoreError::Fault(text.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sqlite;
    use super::{Arc, Offers, Owed, StoreError, Vault};

    struct Nobody;

    impl Offers for Nobody {
        fn offer(&self, _owed: Vec<Owed>) {}
        fn changed(&self, _webhook_row: i64) {}
    }

    #[tokio::test]
    async fn a_write_that_panics_is_undone_and_the_next_goes_on() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let vault = Arc::new(Vault::from_key([7; 32]));
        let store = Sqlite::open(dir.path(), vault, Arc::new(Nobody)).expect("the store opens");
        let panicked = store
            .write::<(), _>(|w| {
                w.db.execute("UPDATE probe SET n = 41", []).expect("the row changes");
                panic!("a mistake of ours");
            })
            .await;
        assert!(matches!(panicked, Err(StoreError::Fault(_))));
        let n = store
            .write(|w| {
                w.db.query_row("SELECT n FROM probe", [], |row| row.get::<_, i64>(0)).map_err(super::fault)
            })
            .await;
        assert_eq!(n.expect("the writer lives"), 0);
    }
}
