//! What was deleted goes piece by piece: an app, a group or a webhook may have more rows than one
//! transaction should touch. From the first piece on nobody finds it.

use std::fmt::Write as _;

use chathook_domain::delivery::Status;
use chathook_domain::ids::{AppId, Guid, Time, Uid, WebhookId};
use chathook_domain::message::Receiver;
use chathook_engine::ports::upkeep::Doomed;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Writing, endings};

/// Tables of a stream, which name no app.
const OF_STREAM: [&str; 3] = ["attempt", "ended", "waiting"];
/// Tables that are emptied otherwise, or last.
const NOT_BY_APP: [&str; 4] = ["app", "doomed", "event", "stream"];

/// No app's id is empty.
const NOBODYS_APP: &str = "";

/// Something doomed, as it is found.
pub(super) struct Found {
    doomed: Doomed,
    at: Time,
    /// It was asked for by name.
    pub is_of_one: bool,
}

/// How much of it is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    Part,
    All,
}

/// Dooms something and removes its first rows, with a few all of them.
pub(super) fn begin(w: &mut Writing<'_>, doomed: Doomed, at: Time, rows_max: usize) -> rusqlite::Result<()> {
    let (kind, app, id) = name(&doomed);
    w.db.execute(
        "INSERT OR IGNORE INTO doomed (kind, app, id, at) VALUES (?1, ?2, ?3, ?4)",
        params![kind, app, id, at.ms],
    )?;
    go_on(w, &Found { doomed, at, is_of_one: true }, rows_max)?;
    Ok(())
}

/// Removes all that is left of something whose name is to be used again.
pub(super) fn finish(w: &mut Writing<'_>, doomed: &Doomed) -> rusqlite::Result<()> {
    match find(w.db, Some(doomed))? {
        Some(found) => go_on(w, &found, usize::MAX).map(drop),
        None => Ok(()),
    }
}

/// What is doomed of this name; without a name the first of all.
pub(super) fn find(db: &Connection, doomed: Option<&Doomed>) -> rusqlite::Result<Option<Found>> {
    let Some(doomed) = doomed else {
        return db
            .prepare_cached("SELECT kind, app, id, at FROM doomed ORDER BY row LIMIT 1")?
            .query_row([], |row| {
                let app = AppId::trusted(row.get_ref(1)?.as_str()?);
                let id = row.get_ref(2)?.as_str()?;
                let doomed = match row.get_ref(0)?.as_str()? {
                    "group" => Doomed::Group(app, Guid::trusted(id)),
                    "webhook" => Doomed::Webhook(app, WebhookId::trusted(id)),
                    _ => Doomed::App(app),
                };
                Ok(Found { doomed, at: Time::from_ms(row.get(3)?), is_of_one: false })
            })
            .optional();
    };
    let (kind, app, id) = name(doomed);
    db.prepare_cached("SELECT at FROM doomed WHERE kind = ?1 AND app = ?2 AND id = ?3")?
        .query_row([kind, app, id], |row| {
            Ok(Found { doomed: doomed.clone(), at: Time::from_ms(row.get(0)?), is_of_one: true })
        })
        .optional()
}

/// Removes some rows, or the last.
pub(super) fn go_on(w: &mut Writing<'_>, found: &Found, rows_max: usize) -> rusqlite::Result<Removed> {
    let db = w.db;
    let mut left = rows_max;
    match &found.doomed {
        Doomed::App(app) => empty_app(w, app, &mut left)?,
        Doomed::Group(app, guid) => empty_group(db, app, guid, &mut left)?,
        Doomed::Webhook(app, id) => cancel(w, app, id, found.at, &mut left)?,
    }
    if left == 0 {
        return Ok(Removed::Part);
    }
    let (kind, app, id) = name(&found.doomed);
    match &found.doomed {
        Doomed::App(_) => {
            hand_on_the_newest_event(db, app)?;
            db.execute("DELETE FROM doomed WHERE app = ?1", [app])?;
            db.execute("DELETE FROM app WHERE id = ?1", [app])?;
        }
        Doomed::Group(..) | Doomed::Webhook(..) => {
            db.execute("DELETE FROM doomed WHERE kind = ?1 AND app = ?2 AND id = ?3", [kind, app, id])?;
        }
    }
    Ok(Removed::All)
}

fn name(doomed: &Doomed) -> (&'static str, &str, &str) {
    match doomed {
        Doomed::App(app) => ("app", app.as_str(), ""),
        Doomed::Group(app, guid) => ("group", app.as_str(), guid.as_str()),
        Doomed::Webhook(app, id) => ("webhook", app.as_str(), id.as_str()),
    }
}

/// What waits is cancelled, and what was counted goes; the stream stays, with its numbers, for a webhook made again under this id.
fn cancel(
    w: &mut Writing<'_>,
    app: &AppId,
    id: &WebhookId,
    at: Time,
    left: &mut usize,
) -> rusqlite::Result<()> {
    let stream =
        w.db.prepare_cached("SELECT row FROM stream WHERE app = ?1 AND webhook = ?2")?
            .query_row([app.as_str(), id.as_str()], |row| row.get(0))
            .optional()?;
    if let Some(stream) = stream {
        *left -= endings::end_some(w, stream, Status::Cancelled, at, *left)?;
    }
    for (table, keys) in [("tally", "app, webhook, step, at"), ("turn", "row")] {
        let names = [app.as_str(), id.as_str()];
        delete_some(w.db, table, keys, "app = ?1 AND webhook = ?2", &names, left)?;
    }
    Ok(())
}

/// The members and the history of a group: one made again under this guid starts empty.
fn empty_group(db: &Connection, app: &AppId, guid: &Guid, left: &mut usize) -> rusqlite::Result<()> {
    // Whoever sees it, a group's conversation has one id.
    let conversation = Receiver::Group(guid.clone()).conversation_of(&Uid::system());
    let names = [app.as_str(), guid.as_str()];
    delete_some(db, "member", "app, guid, uid", "app = ?1 AND guid = ?2", &names, left)?;
    for (table, keys) in
        [("message", "row"), ("record", "app, conversation, n"), ("mark", "app, conversation, uid")]
    {
        let condition = "app = ?1 AND conversation = ?2";
        let names = [app.as_str(), conversation.as_str()];
        delete_some(db, table, keys, condition, &names, left)?;
    }
    Ok(())
}

fn empty_app(w: &mut Writing<'_>, app: &AppId, left: &mut usize) -> rusqlite::Result<()> {
    let db = w.db;
    w.ledger.forget_app(db, app)?;
    let streams: Vec<i64> = db
        .prepare_cached("SELECT row FROM stream WHERE app = ?1")?
        .query_map([app.as_str()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for stream in streams {
        for table in OF_STREAM {
            let keys = if table == "attempt" { "stream, sequence, attempt" } else { "stream, sequence" };
            delete_some(db, table, keys, "stream = ?1", &[stream], left)?;
        }
        if *left > 0 {
            *left -= db.execute("DELETE FROM stream WHERE row = ?1", [stream])?;
        }
    }
    for (table, keys) in tables_with_an_app(db)? {
        delete_some(db, &table, &keys, "app = ?1", &[app.as_str()], left)?;
    }
    let condition = "app = ?1 AND row < (SELECT max(row) FROM event)";
    delete_some(db, "event", "row", condition, &[app.as_str()], left)
}

/// The number of the newest event of all would be given again if it went, and messages of other apps may
/// still name an event that had it. So it stays, empty, as that of an app that nobody finds.
fn hand_on_the_newest_event(db: &Connection, app: &str) -> rusqlite::Result<()> {
    db.execute(
        "INSERT OR IGNORE INTO app (id, name, region, settings, created_at, deleted_at)
         VALUES (?1, '', '', '{}', 0, 0)",
        [NOBODYS_APP],
    )?;
    db.execute(
        "UPDATE event SET app = ?2, key = '', body = '', owed = '', passed_over = '' WHERE app = ?1",
        [app, NOBODYS_APP],
    )?;
    let earlier = "DELETE FROM event WHERE app = ?1 AND row < (SELECT max(row) FROM event)";
    db.execute(earlier, [NOBODYS_APP]).map(drop)
}

/// Tables whose rows name their app, with their primary keys.
fn tables_with_an_app(db: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut query = db.prepare_cached(
        "SELECT t.name, (SELECT group_concat(k.name, ', ') FROM pragma_table_info(t.name) k WHERE k.pk > 0)
         FROM sqlite_schema t JOIN pragma_table_info(t.name) c ON c.name = 'app' WHERE t.type = 'table'",
    )?;
    let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(String, String)> = found.collect::<rusqlite::Result<_>>()?;
    Ok(found.into_iter().filter(|(table, _)| !NOT_BY_APP.contains(&table.as_str())).collect())
}

fn delete_some<T: rusqlite::ToSql>(
    db: &Connection,
    table: &str,
    keys: &str,
    condition: &str,
    names: &[T],
    left: &mut usize,
) -> rusqlite::Result<()> {
    if *left == 0 {
        return Ok(());
    }
    let mut sql = format!("DELETE FROM \"{table}\" WHERE ({keys}) IN (SELECT {keys} FROM \"{table}\"");
    write!(sql, " WHERE {condition} LIMIT {})", i64::try_from(*left).unwrap_or(i64::MAX))
        .expect("a String takes all");
    *left -= db.prepare_cached(&sql)?.execute(rusqlite::params_from_iter(names))?;
    Ok(())
}
