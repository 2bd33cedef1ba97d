//! Puts a backup in the place of a database. What cannot be undone comes last, and is a rename.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use chathook_domain::checkup::{Check, KeyFit, StoreSeen, schema};
use chathook_domain::finding::Grade;
use rusqlite::{Connection, OpenFlags};

use super::checkup::{Depth, Look, look_at};
use super::{DATABASE, LOCK, OpenError, locked};
use crate::data_dir;
use crate::vault::Vault;

/// What belongs to a database beside its file. A log of another database would be taken for its own.
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];
const UNFINISHED: &str = "chathook.db.unfinished";
/// Directories of databases that were moved aside.
const MOVED: &str = "replaced-";

/// What becomes of a database that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Keeps,
    /// It goes to a directory of its own beside the new one, and nothing of it is lost.
    MovesAside,
}

/// A backup that is in place.
#[derive(Debug, Clone)]
pub struct Restored {
    pub seen: StoreSeen,
    /// Whether the key at hand opens it; without one it does not.
    pub key: KeyFit,
    pub moved_to: Option<PathBuf>,
}

/// Why nothing was changed, but for the last.
#[derive(Debug)]
pub enum RestoreError {
    /// Another server uses the directory, or its lock cannot be had.
    Directory(OpenError),
    /// The file is not there, or no file.
    NoFile(PathBuf),
    /// The file has a log: it is a copy of a database that was in use.
    HasLog(PathBuf),
    Exists(PathBuf),
    /// The file is no whole database of a version that is known.
    Unfit(String),
    /// The master key at hand is not the backup's.
    Key,
    File(PathBuf, std::io::Error),
}

impl std::fmt::Display for RestoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(error) => write!(f, "{error}"),
            Self::NoFile(path) => write!(f, "There is no file {}: name a backup.", path.display()),
            Self::HasLog(path) => write!(
                f,
                "{} stands beside the file, so that a part of the database may be in it: name a file that \
                 'chathook backup' made.",
                path.display()
            ),
            Self::Exists(path) => write!(
                f,
                "{} is there already: name another --data-dir, or say --force to have it moved aside.",
                path.display()
            ),
            Self::Unfit(why) => write!(f, "The file is not fit to be restored: {why}."),
            Self::Key => f.write_str(
                "The master key at hand is not the one this backup was made with: put the right master.key into \
                 the data directory, or set CHATHOOK_MASTER_KEY to the right one.",
            ),
            Self::File(path, error) => write!(f, "{}: {error}.", path.display()),
        }
    }
}

/// The sentence holds the cause: a source would have it said twice.
impl std::error::Error for RestoreError {}

/// Checks `from` and makes a copy of it the database of `data_dir`, on disk when this returns.
pub fn restore(
    from: &Path,
    data_dir: &Path,
    existing: Existing,
    vault: Option<&Vault>,
) -> Result<Restored, RestoreError> {
    if !from.is_file() {
        return Err(RestoreError::NoFile(from.to_owned()));
    }
    if let Some(log) = side_files(from).find(|path| path.metadata().is_ok_and(|log| log.len() > 0)) {
        return Err(RestoreError::HasLog(log));
    }
    data_dir::make(data_dir).map_err(|error| RestoreError::File(data_dir.to_owned(), error))?;
    let _lock = locked(&data_dir.join(LOCK)).map_err(RestoreError::Directory)?;
    let database = data_dir.join(DATABASE);
    let in_the_way: Vec<PathBuf> = std::iter::once(database.clone())
        .chain(side_files(&database))
        .filter(|path| path.symlink_metadata().is_ok())
        .collect();
    match (existing, in_the_way.first()) {
        (Existing::Keeps, Some(path)) => return Err(RestoreError::Exists(path.clone())),
        (Existing::Keeps, None) | (Existing::MovesAside, _) => {}
    }
    let unfinished = data_dir.join(UNFINISHED);
    let placed = checked_copy(from, &unfinished, vault).and_then(|look| {
        let moved_to = move_aside(&in_the_way, data_dir)?;
        fs::rename(&unfinished, &database).map_err(|error| RestoreError::File(database.clone(), error))?;
        Ok((look, moved_to))
    });
    let (look, moved_to) = placed.inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    sync_dir(data_dir)?;
    Ok(Restored { seen: look.seen, key: look.key.unwrap_or(KeyFit::Wrong), moved_to })
}

/// Bytes that a restore into this directory has copied, as long as it is not through.
#[must_use]
pub fn copied_bytes(data_dir: &Path) -> u64 {
    fs::metadata(data_dir.join(UNFINISHED)).map_or(0, |file| file.len())
}

/// The copy is what is checked: it is the one that will be used.
fn checked_copy(from: &Path, unfinished: &Path, vault: Option<&Vault>) -> Result<Look, RestoreError> {
    let failed = |error| RestoreError::File(unfinished.to_owned(), error);
    let mut source = File::open(from).map_err(|error| RestoreError::File(from.to_owned(), error))?;
    match fs::remove_file(unfinished) {
        // An interrupted restore left it.
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished);
    let mut copy = copy.map_err(failed)?;
    let bytes = std::io::copy(&mut source, &mut copy).map_err(failed)?;
    copy.sync_all().map_err(failed)?;
    let opened = open_immutable(unfinished).map_err(|error| RestoreError::Unfit(error.to_string()));
    let mut look = look_at(&mut opened?, vault, Depth::Whole);
    look.seen.bytes = bytes;
    match &look.seen.check {
        Check::Whole | Check::Unfinished => {}
        Check::Unreadable(why) | Check::Broken(why) => return Err(RestoreError::Unfit(why.clone())),
    }
    let schema = schema(&look.seen.schema);
    if schema.grade == Grade::Failure {
        return Err(RestoreError::Unfit(schema.seen));
    }
    match (look.key, vault) {
        (Some(KeyFit::Wrong), Some(_)) => Err(RestoreError::Key),
        (Some(KeyFit::Wrong), None) | (Some(KeyFit::Right | KeyFit::NothingSealed) | None, _) => Ok(look),
    }
}

/// Nothing else uses the copy, so that it needs no files beside it.
fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let path = path.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(path.to_owned()))?;
    // What a URI gives a meaning to.
    let name = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)
}

/// Moves a database and what belongs to it, under their names, to a directory that was not there before.
fn move_aside(files: &[PathBuf], data_dir: &Path) -> Result<Option<PathBuf>, RestoreError> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    let mut number = 1_u32;
    let aside = loop {
        let aside = data_dir.join(format!("{MOVED}{number}"));
        match builder.create(&aside) {
            Ok(()) => break aside,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(RestoreError::File(aside, error)),
        }
    };
    for file in files {
        let to = aside.join(file.file_name().unwrap_or_default());
        fs::rename(file, to).map_err(|error| RestoreError::File(file.clone(), error))?;
    }
    sync_dir(&aside)?;
    Ok(Some(aside))
}

fn side_files(database: &Path) -> impl Iterator<Item = PathBuf> {
    let name = database.file_name().unwrap_or_default().to_owned();
    SIDE_FILES.into_iter().map(move |end| {
        let mut name = name.clone();
        name.push(end);
        database.with_file_name(name)
    })
}

fn sync_dir(dir: &Path) -> Result<(), RestoreError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| RestoreError::File(dir.to_owned(), error))
}
