//! Connections: rows that each belong to one start, whose every beginning has exactly one end (design 2.6).

use async_trait::async_trait;
use chathook_domain::app::App;
use chathook_domain::connection::{ChangeKind, Connection, ConnectionChange, Platform};
use chathook_domain::event::{Event, Origin};
use chathook_domain::ids::{AppId, DeviceId, EventId, Key, SessionId, StartId, Time, Uid};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::trigger::Trigger;
use chathook_engine::ports::store::{ConnectionStore, Ending, Opened, Opening, Stored, Told};
use rusqlite::{Connection as Database, OptionalExtension as _, Params, Row};

use super::{Sqlite, Writing, apps, events, fault, users};

macro_rules! columns {
    () => {
        "session, uid, device, platform, connected_at, start"
    };
}

#[async_trait]
impl ConnectionStore for Sqlite {
    async fn begin_start(&self, start: &StartId, at: Time) -> Stored<()> {
        let start = start.clone();
        self.write(move |w| {
            let insert = "INSERT INTO start (id, began_at) VALUES (?1, ?2)";
            w.db.execute(insert, (start.as_str(), at.ms)).map(drop).map_err(fault)
        })
        .await
    }

    async fn open_connection(&self, app: &App, opening: Opening, told: Told<Opened>) -> Stored<Opened> {
        let app = app.clone();
        self.write_told(move |w| open(w, &app, &opening), told).await
    }

    async fn end_connections(
        &self,
        app: &App,
        ending: Ending,
        at: Time,
        origin: Origin,
        told: Told<Vec<ConnectionChange>>,
    ) -> Stored<Vec<ConnectionChange>> {
        let app = app.clone();
        self.write_told(move |w| end(w, &app, &ending, at, origin), told).await
    }

    async fn end_connections_of_dead_starts(
        &self,
        start: &StartId,
        at: Time,
        limit: i64,
        told: Told<Vec<(AppId, ConnectionChange)>>,
    ) -> Stored<Vec<(AppId, ConnectionChange)>> {
        let start = start.clone();
        self.write_told(move |w| end_of_dead_starts(w, &start, at, limit), told).await
    }

    async fn online_among(&self, app: &AppId, uids: &[Uid]) -> Stored<Vec<Uid>> {
        let (app, uids) = (app.clone(), uids.to_vec());
        self.read(move |db, _| {
            let mut online = Vec::new();
            for uid in uids {
                if is_online(db, &app, &uid)? {
                    online.push(uid);
                }
            }
            Ok(online)
        })
        .await
    }
}

/// At least one connection of theirs counts as open.
pub(crate) fn is_online(db: &Database, app: &AppId, uid: &Uid) -> Stored<bool> {
    db.prepare_cached("SELECT 1 FROM connection WHERE app = ?1 AND uid = ?2 LIMIT 1")
        .and_then(|mut query| query.exists((app.as_str(), uid.as_str())))
        .map_err(fault)
}

/// Ends what is named, each connection once, and the tokens where they end too.
pub(crate) fn end(
    w: &mut Writing<'_>,
    app: &App,
    ending: &Ending,
    at: Time,
    origin: Origin,
) -> Stored<Vec<ConnectionChange>> {
    let id = app.id.as_str();
    let found = match ending {
        Ending::Session(session) => {
            let sql = concat!("SELECT ", columns!(), " FROM connection WHERE app = ?1 AND session = ?2");
            select(w.db, sql, (id, session.as_str()))
        }
        Ending::Token { token_hash } => {
            w.db.prepare_cached("DELETE FROM auth_token WHERE app = ?1 AND hash = ?2")
                .and_then(|mut delete| delete.execute((id, token_hash)))
                .map_err(fault)?;
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM connection WHERE app = ?1 AND token_hash = ?2 ORDER BY connected_at, session"
            );
            select(w.db, sql, (id, token_hash))
        }
        Ending::User { uid } => {
            w.db.prepare_cached("DELETE FROM auth_token WHERE app = ?1 AND uid = ?2")
                .and_then(|mut delete| delete.execute((id, uid.as_str())))
                .map_err(fault)?;
            of_user(w.db, &app.id, uid)
        }
    };
    let mut ended = Vec::new();
    for connection in found.map_err(fault)? {
        ended.push(end_one(w, app, connection, fresh_event_id(), at, origin)?);
    }
    Ok(ended)
}

fn open(w: &mut Writing<'_>, app: &App, opening: &Opening) -> Stored<Opened> {
    let connection = &opening.connection;
    check_may_open(w.db, &app.id, opening)?;
    let replaced = same_device(w.db, &app.id, opening).map_err(fault)?;
    insert(w.db, &app.id, opening).map_err(fault)?;
    note_activity(w.db, &app.id, &connection.uid, opening.at).map_err(fault)?;
    let change = ConnectionChange {
        kind: ChangeKind::Connected,
        connection: connection.clone(),
        connections: of_user(w.db, &app.id, &connection.uid).map_err(fault)?,
        at: opening.at,
    };
    tell(w, app, &change, opening.event_ids[0].clone(), Origin::Socket)?;
    let mut ended = Vec::new();
    for (nth, older) in replaced.into_iter().enumerate() {
        let event_id = if nth == 0 { opening.event_ids[1].clone() } else { fresh_event_id() };
        ended.push(end_one(w, app, older, event_id, opening.at, Origin::Socket)?);
    }
    let cursor = w.ledger.last_number(w.db, &app.id)?;
    Ok(Opened { change, replaced: ended, cursor })
}

fn end_of_dead_starts(
    w: &mut Writing<'_>,
    start: &StartId,
    at: Time,
    limit: i64,
) -> Stored<Vec<(AppId, ConnectionChange)>> {
    let found =
        w.db.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            ", app FROM connection WHERE start <> ?1 ORDER BY start, app, connected_at, session LIMIT ?2"
        ))
        .and_then(|mut query| {
            let rows = query.query_map((start.as_str(), limit), |row| {
                Ok((AppId::trusted(row.get_ref(6)?.as_str()?), connection_from(row)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })
        .map_err(fault)?;
    let mut ended = Vec::new();
    for (app_id, connection) in found {
        let app = apps::present(w, &app_id)?;
        let change = end_one(w, &app, connection, fresh_event_id(), at, Origin::Socket)?;
        ended.push((app_id, change));
    }
    Ok(ended)
}

/// The token may have ended, or the user been deactivated, since the log-in was checked.
fn check_may_open(db: &Database, app: &AppId, opening: &Opening) -> Stored<()> {
    let uid = &opening.connection.uid;
    let is_known = db
        .prepare_cached("SELECT 1 FROM auth_token WHERE app = ?1 AND uid = ?2 AND hash = ?3")
        .and_then(|mut query| query.exists((app.as_str(), uid.as_str(), &opening.token_hash)));
    let is_active = users::find(db, app, uid)?.is_some_and(|user| user.deactivated_at.is_none());
    if is_known.map_err(fault)? && is_active {
        return Ok(());
    }
    Err(Refusal::new(Code::AuthTokenNotFound, "The auth token is not valid, or no longer.").into())
}

fn end_one(
    w: &mut Writing<'_>,
    app: &App,
    connection: Connection,
    event_id: EventId,
    at: Time,
    origin: Origin,
) -> Stored<ConnectionChange> {
    w.db.prepare_cached("DELETE FROM connection WHERE app = ?1 AND session = ?2")
        .and_then(|mut delete| delete.execute((app.id.as_str(), connection.session_id.as_str())))
        .map_err(fault)?;
    let connections = of_user(w.db, &app.id, &connection.uid).map_err(fault)?;
    note_activity(w.db, &app.id, &connection.uid, at).map_err(fault)?;
    let change = ConnectionChange { kind: ChangeKind::Disconnected, connection, connections, at };
    tell(w, app, &change, event_id, origin)?;
    Ok(change)
}

/// The spec does not say when `lastActiveAt` moves: here it does when a connection opens and when one ends.
fn note_activity(db: &Database, app: &AppId, uid: &Uid, at: Time) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE user SET last_active_at = ?1 WHERE app = ?2 AND uid = ?3")?
        .execute((at.ms, app.as_str(), uid.as_str()))
        .map(drop)
}

fn tell(
    w: &mut Writing<'_>,
    app: &App,
    change: &ConnectionChange,
    id: EventId,
    origin: Origin,
) -> Stored<()> {
    let uid = &change.connection.uid;
    let since = status_since(w.db, &app.id, change).map_err(fault)?;
    let key = Key::trusted(&format!("user/{uid}"));
    let data = change.to_data(since);
    let trigger = Trigger::UserConnectionStatusChange;
    events::record_event(w, app, Event::new(id, trigger, key, &data, origin, app, change.at)).map(drop)
}

/// When the user's aggregate last changed, which may be now.
fn status_since(db: &Database, app: &AppId, change: &ConnectionChange) -> rusqlite::Result<Time> {
    let uid = change.connection.uid.as_str();
    if change.changes_status() {
        db.prepare_cached(
            "INSERT INTO presence (app, uid, since) VALUES (?1, ?2, ?3)
             ON CONFLICT (app, uid) DO UPDATE SET since = excluded.since",
        )?
        .execute((app.as_str(), uid, change.at.ms))?;
        return Ok(change.at);
    }
    let since = db
        .prepare_cached("SELECT since FROM presence WHERE app = ?1 AND uid = ?2")?
        .query_row((app.as_str(), uid), |row| row.get(0))
        .optional()?;
    Ok(since.map_or(change.at, Time::from_ms))
}

fn insert(db: &Database, app: &AppId, opening: &Opening) -> rusqlite::Result<()> {
    let connection = &opening.connection;
    db.prepare_cached(concat!(
        "INSERT INTO connection (",
        columns!(),
        ", app, token_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    ))?
    .execute((
        connection.session_id.as_str(),
        connection.uid.as_str(),
        connection.device_id.as_str(),
        connection.platform.as_str(),
        connection.connected_at.ms,
        connection.start.as_str(),
        app.as_str(),
        &opening.token_hash,
    ))?;
    Ok(())
}

pub(super) fn of_user(db: &Database, app: &AppId, uid: &Uid) -> rusqlite::Result<Vec<Connection>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM connection WHERE app = ?1 AND uid = ?2 ORDER BY connected_at, session"
    );
    select(db, sql, (app.as_str(), uid.as_str()))
}

/// Those that a new connection of the same device and token takes the place of.
fn same_device(db: &Database, app: &AppId, opening: &Opening) -> rusqlite::Result<Vec<Connection>> {
    let connection = &opening.connection;
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM connection WHERE app = ?1 AND uid = ?2 AND device = ?3 AND token_hash = ?4",
        " ORDER BY connected_at, session"
    );
    select(
        db,
        sql,
        (app.as_str(), connection.uid.as_str(), connection.device_id.as_str(), &opening.token_hash),
    )
}

fn select(db: &Database, sql: &str, params: impl Params) -> rusqlite::Result<Vec<Connection>> {
    db.prepare_cached(sql)?.query_map(params, connection_from)?.collect()
}

fn connection_from(row: &Row<'_>) -> rusqlite::Result<Connection> {
    let platform = match row.get_ref(3)?.as_str()? {
        "ios" => Platform::Ios,
        "android" => Platform::Android,
        _ => Platform::Web,
    };
    Ok(Connection {
        session_id: SessionId::trusted(row.get_ref(0)?.as_str()?),
        uid: Uid::trusted(row.get_ref(1)?.as_str()?),
        device_id: DeviceId::trusted(row.get_ref(2)?.as_str()?),
        platform,
        connected_at: Time::from_ms(row.get(4)?),
        start: StartId::trusted(row.get_ref(5)?.as_str()?),
    })
}

fn fresh_event_id() -> EventId {
    EventId::trusted(&format!("evt_{}", uuid::Uuid::now_v7().simple()))
}
