//! The embedded store: one SQLite file, one writer thread, a few readers beside it (design 10).
//!
//! One file per noun; this one opens the database and hands out work to the writer and the readers.

mod apps;
pub mod backup;
#[cfg(test)]
mod bounds;
mod cache;
mod calls;
mod changes;
pub mod checkup;
mod connections;
mod deliveries;
mod endings;
mod events;
mod figures;
mod groups;
mod history;
mod interventions;
mod ledger;
mod listing;
mod members;
mod message_history;
mod messages;
mod migrations;
mod notices;
mod past;
mod past_events;
mod people;
mod receipts;
mod record;
mod removals;
mod replays;
pub mod restore;
mod retention;
mod settlements;
mod standings;
mod tallies;
mod test_deliveries;
mod turns;
mod upkeep;
mod users;
mod webhooks;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chathook_domain::delivery::Owed;
use chathook_engine::ports::store::{Offers, Store, StoreError, Stored, Told};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::Semaphore;

use self::cache::Caches;
use self::changes::Changes;
use self::ledger::Ledger;
use self::writer::{Database, Refuses, Writer, Written};
use crate::data_dir;
use crate::vault::{self, Vault};

const DATABASE: &str = "chathook.db";
const LOCK: &str = "chathook.lock";
/// Reads that go on at once; the rest wait their turn.
const READERS_MAX: usize = 8;
/// Those of them that dispatch may have: after a start it reads what waits of every webhook.
const DISPATCH_READERS_MAX: usize = 4;
const STATEMENTS_KEPT: usize = 256;
/// Pages that the writer keeps: those that deliveries come to and go from stay among them, and an idle server
/// stays small.
const WRITER_CACHE_KIB: i64 = 8 << 10;
/// How long a connection waits for another that holds a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one read may take (design 10).
const READ_TIME_MAX: Duration = Duration::from_secs(1);
/// Who looks whether the lock is taken lets go at once: waited for at most so often, so long.
const LOOKS_MAX: u32 = 100;
const LOOK_STEP: Duration = Duration::from_millis(5);
/// SQLite's steps between two looks at the time.
const READ_STEPS: i32 = 1_000;

/// Everything durable, in one directory that only one server may use at a time.
pub struct Sqlite {
    writer: Writer,
    readers: Arc<Readers>,
    caches: Arc<Caches>,
    vault: Arc<Vault>,
    options: Options,
    /// Held as long as the store is open.
    _lock: File,
}

/// Why the store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another server uses this directory.
    InUse(PathBuf),
    /// A directory or file could not be made or opened.
    File(PathBuf, std::io::Error),
    /// The database was made by a newer version, or a migration is not the one that was applied.
    Schema(String),
    /// The master key is not the store's.
    Key(String),
    Database(rusqlite::Error),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(path) => {
                write!(f, "Another chathook uses this data directory: it holds {}.", path.display())
            }
            Self::File(path, error) => write!(f, "Cannot open {}: {error}.", path.display()),
            Self::Schema(sentence) | Self::Key(sentence) => f.write_str(sentence),
            Self::Database(error) => write!(f, "Cannot open the database: {error}."),
        }
    }
}

/// The sentence holds the cause: a source would have it said twice.
impl std::error::Error for OpenError {}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// What the operator may set.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes of bodies that may wait for one webhook; with more it is switched off.
    pub backlog_bytes_max: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self { backlog_bytes_max: 10 << 30 }
    }
}

/// What a job of the writer works on.
pub(crate) struct Writing<'a> {
    pub db: &'a Connection,
    pub vault: &'a Vault,
    caches: &'a Caches,
    ledger: &'a mut Ledger,
    /// Offered after the commit, in this order.
    pub owed: Vec<Owed>,
    /// Rows of webhooks that the job switched off, told of after the commit.
    pub changed: Vec<i64>,
}

impl Sqlite {
    /// Opens the store in `dir`, making it where it is not there.
    pub fn open(
        dir: &Path,
        vault: Arc<Vault>,
        offers: Arc<dyn Offers>,
        options: Options,
    ) -> Result<Self, OpenError> {
        data_dir::make(dir).map_err(|error| OpenError::File(dir.to_owned(), error))?;
        let lock = locked(&dir.join(LOCK))?;
        let path = dir.join(DATABASE);
        // SQLite would make it for everybody to read; its log takes the mode of the database.
        data_dir::file(&path).map_err(|error| OpenError::File(path.clone(), error))?;
        let mut db = open_writing(&path)?;
        migrations::run(&mut db)?;
        keep_in_memory(&db)?;
        vault::check(&db, &vault).map_err(OpenError::Key)?;
        let caches = Arc::new(Caches::new(Changes::of(&db)?));
        let checkpoints = open_writing(&path)?;
        let database = Database::of(db, checkpoints, options)?;
        let writer = Writer::start(database, Arc::clone(&vault), Arc::clone(&caches), offers)
            .map_err(|error| OpenError::File(path.clone(), error))?;
        let readers = Arc::new(Readers::new(path));
        Ok(Self { writer, readers, caches, vault, options, _lock: lock })
    }

    /// Runs a job in a transaction that it shares with whatever else waits. Answers when it is on disk.
    pub(crate) async fn write<T, J>(&self, job: J) -> Stored<T>
    where
        T: Send + 'static,
        J: FnOnce(&mut Writing<'_>) -> Stored<T> + Send + 'static,
    {
        self.write_told(job, Told::nobody()).await
    }

    /// As [`Self::write`], and tells of what was committed.
    async fn write_told<T, J>(&self, job: J, told: Told<T>) -> Stored<T>
    where
        T: Send + 'static,
        J: FnOnce(&mut Writing<'_>) -> Stored<T> + Send + 'static,
    {
        self.writer.write(job, Refuses::Anytime, told).await.map(|written| written.value)
    }

    /// As [`Self::write_told`], for jobs that are many: this one refuses only before it writes, and costs less.
    /// Tells how long the commit took as well.
    async fn write_checked<T, J>(&self, job: J, told: Told<T>) -> Stored<Written<T>>
    where
        T: Send + 'static,
        J: FnOnce(&mut Writing<'_>) -> Stored<T> + Send + 'static,
    {
        self.writer.write(job, Refuses::BeforeWriting, told).await
    }

    /// As [`Self::read`], for dispatch, which leaves turns to those whose answer a person waits for.
    async fn read_for_dispatch<T, J>(&self, job: J) -> Stored<T>
    where
        T: Send + 'static,
        J: FnOnce(&Connection, &Vault) -> Stored<T> + Send + 'static,
    {
        // It is never closed: a store that closes refuses the read itself.
        let _turn = self.readers.dispatch_turns.acquire().await;
        self.read(job).await
    }

    /// Runs a job that only reads, on a thread where it may block.
    pub(crate) async fn read<T, J>(&self, job: J) -> Stored<T>
    where
        T: Send + 'static,
        J: FnOnce(&Connection, &Vault) -> Stored<T> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let vault = Arc::clone(&self.vault);
        let turn = Arc::clone(&readers.turns).acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Unavailable("the store is closing".to_owned()))?;
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut db = readers.take().map_err(fault)?;
            bound_in_time(&mut db).map_err(fault)?;
            let result = in_snapshot(&db, |db| job(db, &vault));
            readers.put_back(db);
            result
        });
        reading.await.unwrap_or_else(|error| Err(StoreError::Fault(format!("a read died: {error}"))))
    }
}

impl Store for Sqlite {
    fn is_writable(&self) -> bool {
        self.writer.is_writable()
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The writer's connection closes last and takes the WAL into the database.
        self.readers.close();
        self.writer.stop();
    }
}

/// Maps what the world did (full, busy, unreadable) apart from what we did wrong.
pub(crate) fn fault(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::OperationInterrupted,
        ) => StoreError::Unavailable(error.to_string()),
        Some(_) | None => StoreError::Fault(error.to_string()),
    }
}

/// Connections that only read, kept open between reads.
struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    dispatch_turns: Semaphore,
    idle: std::sync::Mutex<Vec<Connection>>,
}

impl Readers {
    fn new(path: PathBuf) -> Self {
        let dispatch_turns = Semaphore::new(DISPATCH_READERS_MAX);
        let turns = Arc::new(Semaphore::new(READERS_MAX));
        Self { path, turns, dispatch_turns, idle: std::sync::Mutex::default() }
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        match idle {
            Some(db) => Ok(db),
            None => open_reading(&self.path),
        }
    }

    fn put_back(&self, db: Connection) {
        if !self.turns.is_closed() {
            self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(db);
        }
    }

    fn close(&self) {
        self.turns.close();
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }
}

/// Interrupts the read that begins now when its time is over.
#[allow(
    clippy::disallowed_methods,
    reason = "bounds real work of this thread, which no clock of a test moves"
)]
fn bound_in_time(db: &mut Connection) -> rusqlite::Result<()> {
    let end = Instant::now() + READ_TIME_MAX;
    db.progress_handler(READ_STEPS, Some(move || Instant::now() >= end))
}

/// All statements of one read see the same state.
fn in_snapshot<T>(db: &Connection, job: impl FnOnce(&Connection) -> Stored<T>) -> Stored<T> {
    let snapshot = db.unchecked_transaction().map_err(fault)?;
    let result = job(&snapshot);
    snapshot.finish().map_err(fault)?;
    result
}

fn locked(path: &Path) -> Result<File, OpenError> {
    locked_after(path, || std::thread::sleep(LOOK_STEP))
}

/// Takes the lock. Who only looks whether it is taken holds it for an instant as well, which `wait` waits for.
fn locked_after(path: &Path, mut wait: impl FnMut()) -> Result<File, OpenError> {
    let failed = |error| OpenError::File(path.to_owned(), error);
    let file = data_dir::file(path).map_err(failed)?;
    for _ in 0..LOOKS_MAX {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // One that shares it only looks; a server does not share.
        match file.try_lock_shared() {
            Ok(()) => file.unlock().map_err(failed)?,
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        wait();
    }
    Err(OpenError::InUse(path.to_owned()))
}

/// Whether a server uses the directory now. Makes nothing, and lets go at once.
pub fn is_in_use(dir: &Path) -> Result<bool, OpenError> {
    let path = dir.join(LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(OpenError::File(path, error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(OpenError::File(path, error)),
    }
}

fn open_writing(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    set_up(&db)?;
    // Only before the first table does auto_vacuum take hold; afterwards it changes nothing.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(journal.mode = mode, "the file system does not allow a write-ahead log");
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    // Checkpoints are made off the writer's thread.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    keep_in_memory(&db)?;
    Ok(db)
}

/// What a transaction changes stays in memory until it commits, and what a savepoint may take back too.
fn keep_in_memory(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    db.pragma_update(None, "cache_spill", false)?;
    db.pragma_update(None, "temp_store", "MEMORY")
}

fn open_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    set_up(&db)?;
    Ok(db)
}

/// What holds for every connection.
fn set_up(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Else a prepared statement is parsed anew for each value that might change its plan, as any
    // value of `LIMIT ?` might.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl Offers for Nowhere {
        fn offer(&self, _: Vec<Owed>) {}
        fn changed(&self, _: i64) {}
    }

    #[tokio::test]
    async fn dispatch_leaves_turns_to_others_however_much_it_reads() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let vault = Arc::new(Vault::from_key([7; 32]));
        let store = Sqlite::open(dir.path(), vault, Arc::new(Nowhere), Options::default());
        let store = Arc::new(store.expect("the store opens"));
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(std::sync::Mutex::new(ended));
        let mut reads = tokio::task::JoinSet::new();
        for _ in 0..READERS_MAX {
            let (store, began, ended) = (Arc::clone(&store), began.clone(), Arc::clone(&ended));
            reads.spawn(async move {
                let job = move |_: &Connection, _: &Vault| {
                    began.send(()).expect("the test listens");
                    // It ends when the test drops the other side.
                    let _ = ended.lock().expect("no one panicked").recv();
                    Ok(())
                };
                store.read_for_dispatch(job).await
            });
        }
        for _ in 0..DISPATCH_READERS_MAX {
            begun.recv().await.expect("a read begins");
        }
        store.read(|_, _| Ok(())).await.expect("there is a turn for it");
        assert!(begun.try_recv().is_err(), "no more of them began");
        drop(end);
        while let Some(read) = reads.join_next().await {
            read.expect("no panic").expect("it reads");
        }
    }

    #[tokio::test]
    async fn a_read_without_end_is_interrupted_and_the_next_one_works() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Sqlite::open(
            dir.path(),
            Arc::new(Vault::from_key([7; 32])),
            Arc::new(Nowhere),
            Options::default(),
        );
        let store = store.expect("the store opens");
        let endless =
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n";
        let count = |sql: &'static str| {
            store.read(move |db, _| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(fault))
        };
        let endless = tokio::time::timeout(Duration::from_secs(10), count(endless)).await;
        assert!(matches!(endless, Ok(Err(StoreError::Unavailable(_)))), "not {endless:?}");
        assert!(matches!(count("SELECT 1").await, Ok(1)));
    }

    #[test]
    fn one_that_only_looks_at_the_lock_keeps_no_server_from_starting() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(LOCK);
        let mut looking = Some(File::create(&path).expect("made"));
        looking.as_ref().expect("held").lock_shared().expect("shared");
        let held = locked_after(&path, || drop(looking.take())).expect("it has let go");
        assert!(matches!(is_in_use(dir.path()), Ok(true)));
        let again = locked_after(&path, || panic!("a server is not waited for"));
        assert!(matches!(again, Err(OpenError::InUse(_))));
        drop(held);
        assert!(matches!(is_in_use(dir.path()), Ok(false)));
    }
}
