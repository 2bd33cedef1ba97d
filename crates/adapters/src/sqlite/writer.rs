//! The one thread that writes: it gathers whatever waits into one transaction, a savepoint each, so
//! that concurrent jobs share one fdatasync; and the thread beside it that makes the checkpoints.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chathook_domain::delivery::Owed;
use chathook_engine::ports::store::{Offers, StoreError, Stored, Told};
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};

use super::cache::Caches;
use super::ledger::Ledger;
use super::{Options, Writing, fault};
use crate::vault::Vault;

/// Jobs of one transaction.
const BATCH_MAX: usize = 256;
/// Jobs that may wait; then callers wait for a place.
const QUEUE_MAX: usize = 4_096;
/// Pages of WAL with which a checkpoint is due. Pages that change often are in it many times and are
/// written to the database once, so fewer checkpoints are less work (16 MiB).
const CHECKPOINT_PAGES: u64 = 4_000;
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

/// The two connections that write, and what is known of the one that does the jobs.
pub(super) struct Database {
    db: Connection,
    checkpoints: Connection,
    ledger: Ledger,
    /// Pages in the WAL after the last commit.
    wal_pages: Arc<AtomicU64>,
}

impl Database {
    pub(super) fn of(
        mut db: Connection,
        checkpoints: Connection,
        options: Options,
    ) -> rusqlite::Result<Self> {
        let ledger = Ledger::of(&mut db, options)?;
        let wal_pages = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&wal_pages);
        db.wal_hook(Some(move |_wal: &mut Wal, pages: i32| {
            counted.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { db, checkpoints, ledger, wal_pages })
    }
}

impl Writer {
    pub(super) fn start(
        Database { db, checkpoints, ledger, wal_pages }: Database,
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
        let health_of_work = Arc::clone(&health);
        let work = Work {
            db,
            ledger,
            vault,
            caches,
            offers,
            health: health_of_work,
            due,
            wal_pages,
            pages_called: 0,
        };
        let writing =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || work.run(queue))?;
        // Joined in this order: the checkpoint thread ends when the writer has.
        Ok(Self { jobs: Some(jobs), threads: vec![writing, beside], health })
    }

    pub(super) async fn write<T, J>(&self, job: J, refuses: Refuses, told: Told<T>) -> Stored<Written<T>>
    where
        T: Send + 'static,
        J: FnOnce(&mut Writing<'_>) -> Stored<T> + Send + 'static,
    {
        let closing = || StoreError::Unavailable("the store is closing".to_owned());
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Asked { job: Some(job), refuses, told, result: None, reply });
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

/// What a job answered, and how long its transaction's commit took: the wait for the disk.
pub(super) struct Written<T> {
    pub value: T,
    pub synced_us: u64,
}

/// What became of a job's transaction.
#[derive(Clone, Copy)]
enum End<'a> {
    Synced { took_us: u64 },
    Failed(&'a StoreError),
}

/// A job whose type of answer is its own affair.
trait Job: Send {
    /// True when what it wrote is to stay.
    fn run(&mut self, writing: &mut Writing<'_>) -> bool;
    fn refuses(&self) -> Refuses;
    /// Tells of it after the commit, then the caller, after the commit or instead of it.
    fn end(self: Box<Self>, end: End<'_>);
}

/// When a job may still refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refuses {
    /// Only before it writes, so that there is nothing to take back. One that fails later all the same
    /// fails those that share its transaction.
    BeforeWriting,
    /// Also after it has written, in which case that is taken back: each page that it changes is copied.
    Anytime,
}

struct Asked<T, J> {
    job: Option<J>,
    refuses: Refuses,
    told: Told<T>,
    result: Option<Stored<T>>,
    reply: oneshot::Sender<Stored<Written<T>>>,
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

    fn refuses(&self) -> Refuses {
        self.refuses
    }

    fn end(self: Box<Self>, end: End<'_>) {
        let Self { told, result, reply, .. } = *self;
        let result = match (end, result) {
            // The one whose fault it is hears of its fault, the others that they may try again.
            (End::Failed(_), Some(Err(StoreError::Fault(own)))) => Err(StoreError::Fault(own)),
            (End::Failed(failure), _) => Err(copied(failure)),
            (End::Synced { took_us }, Some(result)) => result.map(|value| {
                tell(told, &value);
                Written { value, synced_us: took_us }
            }),
            (End::Synced { .. }, None) => Err(StoreError::Fault("a write was left out".to_owned())),
        };
        // A caller that went away does not hear; what was written stays written.
        drop(reply.send(result));
    }
}

/// What sockets miss here, they find again by their cursors.
fn tell<T>(told: Told<T>, committed: &T) {
    if std::panic::catch_unwind(AssertUnwindSafe(|| told.tell(committed))).is_err() {
        tracing::error!("telling of a commit panicked");
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

    fn refuses(&self) -> Refuses {
        Refuses::BeforeWriting
    }

    fn end(self: Box<Self>, _end: End<'_>) {
        self.health.is_probing.store(false, Ordering::Release);
    }
}

/// What is told of a commit.
#[derive(Default)]
struct News {
    owed: Vec<Owed>,
    changed: Vec<i64>,
    synced_us: u64,
}

struct Work {
    db: Connection,
    ledger: Ledger,
    vault: Arc<Vault>,
    caches: Arc<Caches>,
    offers: Arc<dyn Offers>,
    health: Arc<Health>,
    due: std_mpsc::SyncSender<()>,
    wal_pages: Arc<AtomicU64>,
    /// How many there were when a checkpoint was last called for.
    pages_called: u64,
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
                let took_us = news.synced_us;
                self.tell(news);
                batch.into_iter().for_each(|job| job.end(End::Synced { took_us }));
                self.call_for_checkpoint();
            }
            Err(failure) => {
                self.undo();
                self.health.last_write_failed.store(true, Ordering::Release);
                tracing::error!(error = ?failure, jobs = batch.len(), "a transaction was not committed");
                batch.into_iter().for_each(|job| job.end(End::Failed(&failure)));
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
    #[allow(
        clippy::disallowed_methods,
        reason = "measures real work of this thread, which no clock of a test moves"
    )]
    fn commit(&mut self, batch: &mut [Box<dyn Job>]) -> Stored<News> {
        self.run_sql("BEGIN IMMEDIATE").map_err(fault)?;
        let mut news = News::default();
        for job in batch.iter_mut() {
            self.run_one(job.as_mut(), &mut news)?;
        }
        self.ledger.write(&self.db).map_err(fault)?;
        let began = Instant::now();
        self.run_sql("COMMIT").map_err(|error| {
            abort_if_sync_failed(&error);
            fault(error)
        })?;
        news.synced_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(news)
    }

    /// What a refused job owed is forgotten with what it wrote.
    fn run_one(&mut self, job: &mut dyn Job, news: &mut News) -> Stored<()> {
        let refuses = job.refuses();
        if refuses == Refuses::Anytime {
            self.run_sql("SAVEPOINT job").map_err(fault)?;
        }
        let before = (news.owed.len(), news.changed.len(), self.db.total_changes());
        let mut writing = Writing {
            db: &self.db,
            vault: &self.vault,
            caches: &self.caches,
            ledger: &mut self.ledger,
            owed: std::mem::take(&mut news.owed),
            changed: std::mem::take(&mut news.changed),
        };
        let is_kept = job.run(&mut writing);
        (news.owed, news.changed) = (writing.owed, writing.changed);
        // A full disk may end the whole transaction, and with it what earlier jobs wrote.
        if self.db.is_autocommit() {
            return Err(StoreError::Unavailable("the database ended the transaction".to_owned()));
        }
        if is_kept {
            self.ledger.job_kept();
        } else {
            self.ledger.job_refused();
            news.owed.truncate(before.0);
            news.changed.truncate(before.1);
        }
        match (refuses, is_kept) {
            (Refuses::BeforeWriting, false) if self.db.total_changes() != before.2 => {
                Err(StoreError::Unavailable("a write failed when it had begun".to_owned()))
            }
            (Refuses::BeforeWriting, _) => Ok(()),
            (Refuses::Anytime, true) => self.run_sql("RELEASE job").map_err(fault),
            (Refuses::Anytime, false) => {
                self.run_sql("ROLLBACK TO job").and_then(|()| self.run_sql("RELEASE job")).map_err(fault)
            }
        }
    }

    /// The statements around the jobs, parsed once.
    fn run_sql(&self, sql: &'static str) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Back to the last commit.
    fn undo(&mut self) {
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
            std::process::abort();
        }
        self.ledger.forget_all();
    }

    fn call_for_checkpoint(&mut self) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        if pages < self.pages_called {
            // The WAL has started afresh.
            self.pages_called = 0;
        }
        if pages - self.pages_called >= CHECKPOINT_PAGES {
            self.pages_called = pages;
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
    let mut patience = Patience::default();
    while is_due.recv().is_ok() {
        match checkpoint(db, "PASSIVE") {
            Ok(passive) if patience.is_over(passive.pages) => match checkpoint(db, "RESTART") {
                Ok(restart) if restart.is_held_up => patience.grow(passive.pages),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the write-ahead log could not be started afresh"),
            },
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a checkpoint failed"),
        }
    }
}

/// With how long a WAL one does without making the writer wait. A reader that stays, such as a backup,
/// would be waited for in vain again and again.
#[derive(Default)]
struct Patience {
    pages_more: i64,
}

impl Patience {
    fn is_over(&mut self, pages: i64) -> bool {
        if pages <= WAL_PAGES_MAX {
            self.pages_more = 0;
        }
        pages > WAL_PAGES_MAX + self.pages_more
    }

    fn grow(&mut self, pages: i64) {
        self.pages_more = pages;
    }
}

struct Checkpoint {
    /// In the WAL.
    pages: i64,
    /// Somebody else was waited for in vain.
    is_held_up: bool,
}

fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<Checkpoint> {
    let done = db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(Checkpoint { is_held_up: row.get(0)?, pages: row.get(1)? })
    });
    done.inspect_err(abort_if_sync_failed)
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
    use super::super::{Options, Sqlite};
    use super::{Arc, Offers, Owed, StoreError, Vault};

    #[test]
    fn a_reader_that_stays_makes_the_writer_wait_once_in_so_many_pages() {
        let mut patience = super::Patience::default();
        let mut waits = Vec::new();
        for pages in (0..100_000).step_by(1_000) {
            if patience.is_over(pages) {
                waits.push(pages);
                patience.grow(pages);
            }
        }
        assert_eq!(waits, [17_000, 34_000, 51_000, 68_000, 85_000]);
        assert!(!patience.is_over(1_000) && patience.is_over(17_000), "afresh, it is as before");
    }

    struct Nobody;

    impl Offers for Nobody {
        fn offer(&self, _owed: Vec<Owed>) {}
        fn changed(&self, _webhook_row: i64) {}
    }

    #[tokio::test]
    async fn a_write_that_panics_is_undone_and_the_next_goes_on() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let vault = Arc::new(Vault::from_key([7; 32]));
        let store =
            Sqlite::open(dir.path(), vault, Arc::new(Nobody), Options::default()).expect("the store opens");
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
