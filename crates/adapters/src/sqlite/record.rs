//! The app's record of messages, actions and receipts, from which sockets catch up by cursor. All are
//! counted in one row of numbers, and a cursor is such a number. A message is shown as it is when it
//! is read: what has become of it since is told by a later line.

use chathook_domain::ids::{AppId, Key, MessageId, Uid};
use chathook_domain::message::{Category, Message};
use chathook_engine::ports::store::{READ_BYTES_MAX, Recorded, RecordedPart, Stored};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use super::{Writing, fault, messages};

/// The conversations of a user `?2` in an app `?1`.
macro_rules! conversations_of_user {
    () => {
        "(SELECT id FROM conversation INDEXED BY conversation_user_a WHERE app = ?1 AND user_a = ?2
          UNION SELECT id FROM conversation INDEXED BY conversation_user_b WHERE app = ?1 AND user_b = ?2
          UNION SELECT c.id FROM member m INDEXED BY member_of_user
                CROSS JOIN conversation c INDEXED BY conversation_guid ON c.app = ?1 AND c.guid = m.guid
                WHERE m.app = ?1 AND m.uid = ?2)"
    };
}
pub(super) use conversations_of_user;

/// Adds a receipt; answers with its cursor.
pub(super) fn append(w: &mut Writing<'_>, app: &AppId, conversation: &Key, receipt: &Value) -> Stored<i64> {
    let n = w.ledger.next_number(w.db, app)?;
    w.db.prepare_cached("INSERT INTO record (app, conversation, n, receipt) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut insert| insert.execute((app.as_str(), conversation.as_str(), n, receipt.to_string())))
        .map_err(fault)?;
    Ok(n)
}

/// Numbers of the app that the first look spans. Later ones span more: each costs a little for every
/// conversation of the user, and something for all that they hold in its span.
const FIRST_SPAN: i64 = 20_000;

/// What the conversations of a user hold in a span of numbers. The index is named: left to itself, SQLite
/// walks all messages of the app.
const IN_SPAN: &str = concat!(
    "SELECT id AS n, NULL FROM message INDEXED BY message_conversation
     WHERE app = ?1 AND id > ?3 AND id <= ?4 AND conversation IN ",
    conversations_of_user!(),
    " UNION ALL SELECT n, receipt FROM record WHERE app = ?1 AND n > ?3 AND n <= ?4 AND conversation IN ",
    conversations_of_user!(),
    " ORDER BY n LIMIT ?5"
);

pub(super) fn after(
    db: &Connection,
    app: &AppId,
    uid: &Uid,
    cursor: i64,
    limit: i64,
) -> rusqlite::Result<RecordedPart> {
    let mut part = RecordedPart { lines: Vec::new(), is_cut: false };
    if cursor < counter(db, app, "SELECT first FROM counter WHERE app = ?1")? {
        part.is_cut = true;
        return Ok(part);
    }
    let last = counter(db, app, "SELECT last FROM counter WHERE app = ?1")?;
    let mut query = db.prepare_cached(IN_SPAN)?;
    let (mut from, mut span, mut left, mut bytes) = (cursor, FIRST_SPAN, limit, 0);
    while from < last && left > 0 {
        let to = from.saturating_add(span).min(last);
        let mut rows = query.query((app.as_str(), uid.as_str(), from, to, left))?;
        while let Some(row) = rows.next()? {
            left -= 1;
            let n = row.get(0)?;
            let line = match row.get_ref(1)?.as_str_or_null()? {
                Some(receipt) => Some(("receipt", messages::parsed(1, receipt)?, receipt.len())),
                None => message_line(db, app, MessageId(n))?,
            };
            let Some((method, params, size)) = line else { continue };
            bytes += size;
            if bytes > READ_BYTES_MAX && !part.lines.is_empty() {
                part.is_cut = true;
                return Ok(part);
            }
            part.lines.push(Recorded { cursor: n, method: method.to_owned(), params });
        }
        (from, span) = (to, span.saturating_mul(4));
    }
    Ok(part)
}

/// An app's counter, which is not there before the first number.
fn counter(db: &Connection, app: &AppId, sql: &str) -> rusqlite::Result<i64> {
    let found = db.prepare_cached(sql)?.query_row([app.as_str()], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

type Line = (&'static str, Value, usize);

/// The notification of a message with its size, if it is still to be told of.
fn message_line(db: &Connection, app: &AppId, id: MessageId) -> rusqlite::Result<Option<Line>> {
    let Some((message, size)) = messages::find_with_size(db, app, id)? else { return Ok(None) };
    let method = match message.category {
        Category::Message | Category::Custom => "message",
        Category::Action if message.kind == "groupMember" => "memberChanged",
        Category::Action if message.data.get("action").is_some_and(|action| action == "edited") => {
            // It holds the text of then, which is not to be told again.
            if is_deleted(db, app, &message)? {
                return Ok(None);
            }
            "messageEdited"
        }
        Category::Action => "messageDeleted",
    };
    Ok(Some((method, message.to_json(), size)))
}

/// Whether the message that an action was on has been deleted since.
fn is_deleted(db: &Connection, app: &AppId, action: &Message) -> rusqlite::Result<bool> {
    let on = action.data.get("entities").and_then(|all| all.pointer("/on/entity/id")).and_then(Value::as_str);
    let Some(id) = on.and_then(MessageId::parse) else { return Ok(false) };
    Ok(messages::find(db, app, id)?.is_none_or(|message| message.deleted.is_some()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chathook_domain::delivery::Owed;
    use chathook_engine::ports::store::{MessageStore as _, Offers};

    use super::*;
    use crate::sqlite::{Options, Sqlite};
    use crate::vault::Vault;

    struct Nowhere;

    impl Offers for Nowhere {
        fn offer(&self, _: Vec<Owed>) {}
        fn changed(&self, _: i64) {}
    }

    #[tokio::test]
    async fn who_comes_with_a_cursor_of_the_old_count_is_told_to_fetch() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Sqlite::open(
            dir.path(),
            Arc::new(Vault::from_key([7; 32])),
            Arc::new(Nowhere),
            Options::default(),
        );
        let store = store.expect("the store opens");
        let (app, uid) = (AppId::trusted("app1"), Uid::trusted("alice"));
        let made =
            "INSERT INTO app (id, name, region, settings, created_at) VALUES ('app1', '', 'us', '{}', 0);
                    INSERT INTO counter (app, last, first) VALUES ('app1', 5, 5)";
        store.write(|w| w.db.execute_batch(made).map_err(fault)).await.expect("written");
        let after =
            async |cursor| store.recorded_after(&app, &uid, cursor, 10).await.expect("the store reads");
        assert!(after(4).await.is_cut);
        assert!(!after(5).await.is_cut);
    }
}
