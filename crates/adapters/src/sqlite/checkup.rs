//! A look into the store that writes nothing to it, beside a server that may be running.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chathook_domain::checkup::{Check, KeyFit, Schema, StoreSeen, Waiting};
use chathook_domain::ids::Time;
use chathook_engine::ports::clock::Clock as _;
use rusqlite::{Connection, ErrorCode};

use super::{DATABASE, READ_STEPS, migrations, open_reading};
use crate::system::RealClock;
use crate::vault::{self, Vault};

/// Waiting deliveries that are counted.
const COUNTED_MAX: u64 = 100_000;

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub seen: StoreSeen,
    /// Whether the given key, or none, opens the store; `None` where the store cannot be read.
    pub key: Option<KeyFit>,
}

/// Where a server with this data directory keeps its database.
#[must_use]
pub fn database_in(data_dir: &Path) -> PathBuf {
    data_dir.join(DATABASE)
}

/// Looks at the database of `data_dir`; `None` where there is none. Its pages are checked for `time_max`.
pub fn look(data_dir: &Path, vault: Option<&Vault>, time_max: Duration) -> Option<Look> {
    let path = database_in(data_dir);
    let bytes = std::fs::metadata(&path).ok()?.len();
    let log_bytes = std::fs::metadata(data_dir.join(format!("{DATABASE}-wal"))).map_or(0, |log| log.len());
    let look = match open_reading(&path) {
        Ok(mut db) => look_at(&mut db, vault, Depth::Quick(time_max)),
        Err(error) => closed(&error),
    };
    Some(Look { seen: StoreSeen { bytes, log_bytes, ..look.seen }, ..look })
}

/// How closely pages are looked at.
#[derive(Clone, Copy)]
pub(super) enum Depth {
    /// Each page by itself, while the time lasts.
    Quick(Duration),
    /// All, and that indexes and tables agree.
    Whole,
}

/// Looks at an open database; the sizes of its files are the caller's to add.
pub(super) fn look_at(db: &mut Connection, vault: Option<&Vault>, depth: Depth) -> Look {
    match try_look(db, vault, depth) {
        Ok(look) => look,
        Err(error) => closed(&error),
    }
}

fn try_look(db: &mut Connection, vault: Option<&Vault>, depth: Depth) -> rusqlite::Result<Look> {
    let check = check(db, depth)?;
    if let Check::Broken(why) = check {
        // What else would be read may lie on the broken page, and say less of it.
        return Ok(nothing_but(Check::Broken(why)));
    }
    let schema = migrations::seen(db)?;
    // What is not of this version may have other tables.
    let (waiting, newest) = match schema {
        Schema::Current => (waiting(db)?, newest(db)?),
        Schema::Older(_) | Schema::Newer(_) | Schema::Changed(_) | Schema::Foreign => {
            (Waiting::default(), None)
        }
    };
    let key = match schema {
        Schema::Foreign => None,
        Schema::Current | Schema::Older(_) | Schema::Newer(_) | Schema::Changed(_) => {
            Some(vault::fit(db, vault)?)
        }
    };
    Ok(Look { seen: StoreSeen { bytes: 0, log_bytes: 0, schema, check, waiting, newest }, key })
}

/// What nothing more is known of.
fn closed(error: &rusqlite::Error) -> Look {
    let why = error.to_string();
    let check = match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked,
        ) => Check::Unreadable(why),
        Some(_) | None => Check::Broken(why),
    };
    nothing_but(check)
}

fn nothing_but(check: Check) -> Look {
    let seen = StoreSeen {
        bytes: 0,
        log_bytes: 0,
        // Not known; the check goes before it.
        schema: Schema::Current,
        check,
        waiting: Waiting::default(),
        newest: None,
    };
    Look { seen, key: None }
}

fn check(db: &mut Connection, depth: Depth) -> rusqlite::Result<Check> {
    let sql = match depth {
        Depth::Quick(time_max) => {
            let clock = RealClock::new();
            let end_ms = i64::try_from(time_max.as_millis()).unwrap_or(i64::MAX);
            db.progress_handler(READ_STEPS, Some(move || clock.ticks() >= end_ms))?;
            "PRAGMA quick_check(1)"
        }
        Depth::Whole => "PRAGMA integrity_check(1)",
    };
    let said = db.query_row(sql, [], |row| row.get::<_, String>(0));
    db.progress_handler(0, None::<fn() -> bool>)?;
    match said {
        Ok(said) if said == "ok" => Ok(Check::Whole),
        Ok(said) => Ok(Check::Broken(said)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(Check::Unfinished)
        }
        Err(error) => Err(error),
    }
}

fn waiting(db: &Connection) -> rusqlite::Result<Waiting> {
    let counted = "SELECT count(*) FROM (SELECT 1 FROM waiting LIMIT ?1)";
    let count: i64 = db.query_row(counted, [(COUNTED_MAX + 1).cast_signed()], |row| row.get(0))?;
    // The first of each webhook is its oldest: one step into the table for each.
    let oldest = "SELECT min((SELECT w.created_at FROM waiting w WHERE w.stream = s.row
                              ORDER BY w.sequence LIMIT 1)) FROM stream s";
    let oldest: Option<i64> = db.query_row(oldest, [], |row| row.get(0))?;
    let count = count.unsigned_abs();
    let is_cut = count > COUNTED_MAX;
    Ok(Waiting { count: count.min(COUNTED_MAX), is_cut, oldest: oldest.map(Time::from_ms) })
}

/// The time of the newest event or start.
fn newest(db: &Connection) -> rusqlite::Result<Option<Time>> {
    let sql = "SELECT max(at) FROM (
                   SELECT (SELECT created_at FROM event ORDER BY row DESC LIMIT 1) AS at
                   UNION ALL SELECT (SELECT began_at FROM start ORDER BY row DESC LIMIT 1))";
    let newest: Option<i64> = db.query_row(sql, [], |row| row.get(0))?;
    Ok(newest.map(Time::from_ms))
}
