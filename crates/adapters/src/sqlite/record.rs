//! The app's record of messages, actions and receipts, from which sockets catch up by cursor.

use chathook_domain::ids::{AppId, Key, Uid};
use chathook_engine::ports::store::{READ_BYTES_MAX, Recorded, RecordedPart, Stored};
use rusqlite::Connection;
use serde_json::Value;

use super::ledger::Counter;
use super::{Writing, fault};

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
    w: &mut Writing<'_>,
    app: &AppId,
    conversation: &Key,
    method: &str,
    params: &Value,
) -> Stored<i64> {
    let n = w.ledger.next_number(w.db, app, Counter::Record)?;
    w.db.prepare_cached(
        "INSERT INTO record (app, n, conversation, method, params) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut insert| {
        insert.execute((app.as_str(), n, conversation.as_str(), method, params.to_string()))
    })
    .map_err(fault)?;
    Ok(n)
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
