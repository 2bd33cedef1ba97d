//! A consistent copy of the database of a server that runs, or does not. It holds no master key.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{DATABASE, open_reading};

/// Why there is no backup.
#[derive(Debug)]
pub enum BackupError {
    /// The data directory has no database.
    NoDatabase(PathBuf),
    /// A backup never takes the place of another file.
    Exists(PathBuf),
    File(PathBuf, std::io::Error),
    Database(rusqlite::Error),
}

impl std::fmt::Display for BackupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoDatabase(path) => {
                write!(f, "There is no database {}: name the server's data directory.", path.display())
            }
            Self::Exists(path) => write!(f, "{} exists already: name another file.", path.display()),
            Self::File(path, error) => write!(f, "Cannot write {}: {error}.", path.display()),
            Self::Database(error) => write!(f, "Cannot copy the database: {error}."),
        }
    }
}

/// The sentence holds the cause: a source would have it said twice.
impl std::error::Error for BackupError {}

/// Copies the database of `data_dir` to a new file, as it is at one moment after the call began.
/// Until it is whole and on disk it has another name.
pub fn back_up(data_dir: &Path, to: &Path) -> Result<(), BackupError> {
    let from = data_dir.join(DATABASE);
    if !from.is_file() {
        return Err(BackupError::NoDatabase(from));
    }
    refuse_to_overwrite(to)?;
    let unfinished = unfinished_of(to);
    let copied = copy(&from, &unfinished).and_then(|()| {
        refuse_to_overwrite(to)?;
        fs::rename(&unfinished, to).map_err(|error| BackupError::File(to.to_owned(), error))
    });
    if let Err(error) = copied {
        // What was there before the call is somebody else's.
        if !matches!(&error, BackupError::File(path, error)
            if *path == unfinished && error.kind() == ErrorKind::AlreadyExists)
        {
            let _ = fs::remove_file(&unfinished);
        }
        return Err(error);
    }
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| BackupError::File(dir.to_owned(), error))
}

/// Bytes of a backup to this file that is not whole yet.
#[must_use]
pub fn written_bytes(to: &Path) -> u64 {
    fs::metadata(unfinished_of(to)).map_or(0, |file| file.len())
}

fn unfinished_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    to.with_file_name(name)
}

fn copy(from: &Path, unfinished: &Path) -> Result<(), BackupError> {
    let failed = |error| BackupError::File(unfinished.to_owned(), error);
    // Messages and sealed secrets are for the server's user alone. SQLite takes a file that is empty.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished);
    let file = file.map_err(failed)?;
    let path = unfinished.to_str().ok_or_else(|| {
        failed(std::io::Error::new(ErrorKind::InvalidInput, "its name must be valid Unicode"))
    })?;
    let db: Connection = open_reading(from).map_err(BackupError::Database)?;
    db.execute("VACUUM INTO ?1", [path]).map_err(BackupError::Database)?;
    file.sync_all().map_err(failed)
}

fn refuse_to_overwrite(to: &Path) -> Result<(), BackupError> {
    match to.symlink_metadata() {
        Ok(_) => Err(BackupError::Exists(to.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::File(to.to_owned(), error)),
    }
}
