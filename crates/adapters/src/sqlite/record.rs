//! The app's record of messages, actions and receipts, from which sockets catch up by cursor.

use chathook_domain::ids::{AppId, Key, Uid};
use chathook_engine::ports::store::{READ_BYTES_MAX, Recorded, RecordedPart, Stored};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use super::fault;

/// The conversations of a user `?2` in an app `?1`.
macro_rules! conversations_of_user {
    () => {
        "(SELECT id FROM conversation WHERE app = ?1 AND user_a = ?2
          UNION SELECT id FROM conversation WHERE app = ?1 AND user_b = ?2
          UNION SELECT c.id FROM member m JOIN conversation c ON c.app = m.app AND c.guid = m.guid
                WHERE m.app = ?1 AND m.uid = ?2)"
    };
}
pub(super) use conversations_of_user;

/// Adds a line; answers with its cursor.
pub(super) fn append(
    db: &Connection,
    app: &AppId,
    conversation: &Key,
    method: &str,
    params: &Value,
) -> Stored<i64> {
    let n = next_number(db, app, Counter::Record)?;
    db.prepare_cached(
        "INSERT INTO record (app, n, conversation, method, params) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut insert| {
        insert.execute((app.as_str(), n, conversation.as_str(), method, params.to_string()))
    })
    .map_err(fault)?;
    Ok(n)
}

/// The cursor of the last line; 0 before the first.
pub(super) fn last_cursor(db: &Connection, app: &AppId) -> Stored<i64> {
    let last = db
        .prepare_cached("SELECT record FROM counter WHERE app = ?1")
        .and_then(|mut query| query.query_row([app.as_str()], |row| row.get(0)).optional());
    Ok(last.map_err(fault)?.unwrap_or(0))
}

pub(super) fn after(
    db: &Connection,
    app: &AppId,
    uid: &Uid,
    cursor: i64,
    limit: i64,
) -> Stored<RecordedPart> {
    let sql = concat!(
        "SELECT n, method, params FROM record WHERE app = ?1 AND conversation IN ",
        conversations_of_user!(),
        " AND n > ?3 ORDER BY n LIMIT ?4"
    );
    let read = || {
        if is_forgotten(db, app, cursor)? {
            return Ok(RecordedPart { lines: Vec::new(), is_cut: true });
        }
        let mut query = db.prepare_cached(sql)?;
        let mut rows = query.query((app.as_str(), uid.as_str(), cursor, limit))?;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            bytes += row.get_ref(2)?.as_str()?.len();
            if bytes > READ_BYTES_MAX && !lines.is_empty() {
                return Ok(RecordedPart { lines, is_cut: true });
            }
            let params = super::messages::json(row, 2)?;
            lines.push(Recorded { cursor: row.get(0)?, method: row.get(1)?, params });
        }
        Ok(RecordedPart { lines, is_cut: false })
    };
    read().map_err(fault)
}

/// Whether lines after this cursor have gone because they were old.
fn is_forgotten(db: &Connection, app: &AppId, cursor: i64) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM counter WHERE app = ?1 AND forgotten > ?2")?
        .exists((app.as_str(), cursor))
}

/// What an app counts.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    Message,
    Record,
}

/// Takes the next number: growing, and never given twice.
pub(super) fn next_number(db: &Connection, app: &AppId, counter: Counter) -> Stored<i64> {
    let sql = match counter {
        Counter::Message => {
            "INSERT INTO counter (app, message) VALUES (?1, 1)
             ON CONFLICT (app) DO UPDATE SET message = message + 1 RETURNING message"
        }
        Counter::Record => {
            "INSERT INTO counter (app, record) VALUES (?1, 1)
             ON CONFLICT (app) DO UPDATE SET record = record + 1 RETURNING record"
        }
    };
    db.prepare_cached(sql)
        .and_then(|mut query| query.query_row([app.as_str()], |row| row.get(0)))
        .map_err(fault)
}
