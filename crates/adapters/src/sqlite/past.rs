//! What the record of one webhook rests on: its stream, its deliveries whether they wait or have
//! ended, and their attempts.

use chathook_domain::delivery::Status;
use chathook_domain::history::DeliveryId;
use chathook_domain::ids::{AppId, EventId, Key, LaneKey, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::trigger::Trigger;
use chathook_domain::waiting::{Ahead, Held, Waiting};
use chathook_engine::ports::endpoints::Phases;
use chathook_engine::ports::history::{Attempt, Delivery};
use chathook_engine::ports::stored::Stored;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::fault;

/// Deliveries that one read looks at, whatever it finds.
pub(super) const LOOKED_AT_MAX: i64 = 5_000;
/// How far the wall clock may have been set back: where a read ends by time, it goes on this much longer.
pub(super) const CLOCK_SLACK_MS: i64 = 60 * 60 * 1_000;

/// The columns that [`PastRow::from`] reads, of `waiting`.
macro_rules! waiting_columns {
    () => {
        "sequence, lane, event, 'waiting' AS status, attempts, due, is_aside, replay, created_at, NULL AS ended_at"
    };
}

/// The same of `ended`.
macro_rules! ended_columns {
    () => {
        "sequence, lane, event, status, attempts, 0 AS due, 0 AS is_aside, replay, created_at, ended_at"
    };
}

/// Where a webhook's numbers are, and whether it is owed anything now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub row: i64,
    pub stream: i64,
    pub is_on: bool,
}

/// Refused where the app has no such webhook.
pub(super) fn spot(db: &Connection, app: &AppId, id: &WebhookId) -> Stored<Spot> {
    find_spot(db, app, id).map_err(fault)?.ok_or_else(|| {
        Refusal::new(Code::WebhookNotFound, format!("There is no webhook with the id '{id}'.")).into()
    })
}

pub(super) fn find_spot(db: &Connection, app: &AppId, id: &WebhookId) -> rusqlite::Result<Option<Spot>> {
    db.prepare_cached(
        "SELECT row, stream, enabled AND switched_off IS NULL FROM webhook WHERE app = ?1 AND id = ?2",
    )?
    .query_row((app.as_str(), id.as_str()), |row| {
        Ok(Spot { row: row.get(0)?, stream: row.get(1)?, is_on: row.get(2)? })
    })
    .optional()
}

/// A delivery as it is stored, whether it waits or has ended.
#[derive(Debug, Clone)]
pub(super) struct PastRow {
    pub sequence: i64,
    pub lane: LaneKey,
    pub event: i64,
    pub status: Status,
    attempts: u32,
    due: i64,
    is_aside: bool,
    replay: Option<i64>,
    pub created_at: Time,
    pub ended_at: Option<Time>,
}

impl PastRow {
    pub fn from(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sequence: row.get(0)?,
            lane: LaneKey::trusted(row.get_ref(1)?.as_str()?),
            event: row.get(2)?,
            status: status(row, 3)?,
            attempts: row.get(4)?,
            due: row.get(5)?,
            is_aside: row.get(6)?,
            replay: row.get(7)?,
            created_at: Time::from_ms(row.get(8)?),
            ended_at: row.get::<_, Option<i64>>(9)?.map(Time::from_ms),
        })
    }
}

/// A stream's deliveries below a number, newest first: two runs in the order of their keys, merged.
pub(super) const NEWEST_FIRST: &str = concat!(
    "SELECT ",
    waiting_columns!(),
    " FROM waiting WHERE stream = ?1 AND sequence < ?2 UNION ALL SELECT ",
    ended_columns!(),
    " FROM ended WHERE stream = ?1 AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3"
);

pub(super) fn find(db: &Connection, stream: i64, sequence: i64) -> rusqlite::Result<Option<PastRow>> {
    db.prepare_cached(concat!(
        "SELECT ",
        waiting_columns!(),
        " FROM waiting WHERE stream = ?1 AND sequence = ?2 UNION ALL SELECT ",
        ended_columns!(),
        " FROM ended WHERE stream = ?1 AND sequence = ?2"
    ))?
    .query_row((stream, sequence), PastRow::from)
    .optional()
}

/// What a listing tells of an event.
pub(super) struct EventName {
    pub id: EventId,
    pub trigger: Trigger,
}

/// `None` where it is no longer kept.
pub(super) fn event_name(db: &Connection, event: i64) -> rusqlite::Result<Option<EventName>> {
    db.prepare_cached(r#"SELECT id, "trigger" FROM event WHERE row = ?1"#)?
        .query_row([event], |row| {
            Ok(EventName { id: EventId::trusted(row.get_ref(0)?.as_str()?), trigger: trigger(row, 1)? })
        })
        .optional()
}

/// The delivery as it is shown. Where its webhook is gone, `spot` says that nothing is on.
pub(super) fn shown(
    db: &Connection,
    spot: Spot,
    row: PastRow,
    event: Option<EventName>,
) -> rusqlite::Result<Delivery> {
    let last = last_attempt(db, spot.stream, row.sequence)?;
    let waiting = waiting(db, spot, &row)?;
    Ok(Delivery {
        id: DeliveryId::Numbered(row.sequence),
        trigger: event.as_ref().map(|event| event.trigger),
        event: event.map(|event| event.id),
        key: Some(Key::trusted(row.lane.key())),
        status: row.status,
        // One that was cancelled while an attempt was under way has an attempt more than it knew of.
        attempts: last.as_ref().map_or(0, |(number, _)| *number).max(row.attempts),
        last_outcome: last.map(|(_, outcome)| outcome),
        created_at: row.created_at,
        ended_at: row.ended_at,
        replay: row.replay,
        waiting,
    })
}

pub(super) fn attempts(db: &Connection, stream: i64, sequence: i64) -> rusqlite::Result<Vec<Attempt>> {
    db.prepare_cached(
        "SELECT attempt, outcome, detail, address, resolve_us, connect_us, tls_us, first_byte_us, total_us, kept,
                started_at
         FROM attempt WHERE stream = ?1 AND sequence = ?2 ORDER BY attempt",
    )?
    .query_map((stream, sequence), |row| {
        Ok(Attempt {
            attempt: row.get(0)?,
            outcome: row.get(1)?,
            detail: row.get(2)?,
            address: row.get(3)?,
            phases: Phases {
                resolve_us: micros(row, 4)?,
                connect_us: micros(row, 5)?,
                tls_us: micros(row, 6)?,
                first_byte_us: micros(row, 7)?,
                total_us: micros(row, 8)?.unwrap_or(0),
            },
            kept: row.get(9)?,
            started_at: Time::from_ms(row.get(10)?),
        })
    })?
    .collect()
}

/// Reads a column that holds a status.
pub(super) fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<Status> {
    Status::parse(row.get_ref(column)?.as_str()?)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(column, "status".to_owned(), Type::Text))
}

/// Reads a column that holds a trigger's id.
pub(super) fn trigger(row: &Row<'_>, column: usize) -> rusqlite::Result<Trigger> {
    Trigger::parse(row.get_ref(column)?.as_str()?)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(column, "trigger".to_owned(), Type::Text))
}

/// Reads a column that holds microseconds.
pub(super) fn micros(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|us| us.max(0).cast_unsigned()))
}

fn last_attempt(db: &Connection, stream: i64, sequence: i64) -> rusqlite::Result<Option<(u32, String)>> {
    db.prepare_cached(
        "SELECT attempt, outcome FROM attempt WHERE stream = ?1 AND sequence = ?2 ORDER BY attempt DESC LIMIT 1",
    )?
    .query_row((stream, sequence), |row| Ok((row.get(0)?, row.get(1)?)))
    .optional()
}

fn waiting(db: &Connection, spot: Spot, row: &PastRow) -> rusqlite::Result<Option<Waiting>> {
    match row.status {
        Status::Waiting => Ok(Some(Waiting {
            webhook_row: spot.row,
            lane: row.lane.clone(),
            due: (row.due > 0).then(|| Time::from_ms(row.due)),
            held: held(db, spot, row)?,
            seen: None,
        })),
        Status::Delivered | Status::Failed | Status::Cancelled | Status::Expired => Ok(None),
    }
}

fn held(db: &Connection, spot: Spot, row: &PastRow) -> rusqlite::Result<Option<Held>> {
    if !spot.is_on {
        return Ok(Some(Held::Off));
    }
    if row.is_aside {
        return Ok(Some(Held::Aside));
    }
    let first = db
        .prepare_cached(
            "SELECT sequence, attempts FROM waiting WHERE stream = ?1 AND lane = ?2 AND is_aside = 0
             ORDER BY sequence LIMIT 1",
        )?
        .query_row((spot.stream, row.lane.as_str()), |row| {
            Ok(Ahead { sequence: row.get(0)?, attempts: row.get(1)? })
        })
        .optional()?;
    Ok(first.filter(|ahead| ahead.sequence < row.sequence).map(Held::Behind))
}
