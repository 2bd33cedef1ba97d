//! Replay jobs: where each stands, and the deliveries that they make of events.

use std::sync::Arc;

use chathook_domain::delivery::{Owed, Status};
use chathook_domain::history::owed_pairs;
use chathook_domain::ids::{AppId, EventId, Key, LaneKey, LaneKind, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::replay::{Candidate, Job, JobStatus, Wanted};
use chathook_engine::ports::history::Step;
use chathook_engine::ports::store::READ_BYTES_MAX;
use chathook_engine::ports::stored::Stored;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::Value;

use super::past::{self, CLOCK_SLACK_MS, Spot};
use super::{Writing, fault, messages};

/// Events that one step looks at, and deliveries that it makes at most.
const STEP_LOOKED_AT_MAX: i64 = 2_000;
const STEP_MADE_MAX: usize = 200;
/// A job rests while so many replayed deliveries of its webhook wait.
const WAITING_MAX: i64 = 2_000;
/// Rows looked at to count those that have left their lanes.
const ASIDE_LOOKED_AT_MAX: i64 = 20_000;

const COLUMNS: &str = "row, wanted, status, seen, made, created_at, ended_at";

/// A job's place in the record of events.
pub(super) struct Place {
    row: i64,
    app: AppId,
    webhook: WebhookId,
    wanted: Wanted,
    done_up_to: i64,
    last: i64,
}

/// What the next step of a job is to do, as a read found it.
pub(super) enum Plan {
    Ended,
    Held,
    /// Its webhook is gone.
    Cancel,
    Make {
        place: Place,
        events: Vec<i64>,
        seen: i64,
        done_up_to: i64,
    },
}

pub(super) fn check_is_on(spot: Spot, webhook: &WebhookId) -> Result<(), Refusal> {
    if spot.is_on {
        return Ok(());
    }
    let sentence = format!("The webhook '{webhook}' is disabled or switched off, so it is owed nothing new.");
    Err(Refusal::new(Code::WebhookOff, sentence))
}

pub(super) fn begin(
    w: &Writing<'_>,
    app: &AppId,
    webhook: &WebhookId,
    wanted: &Wanted,
    at: Time,
) -> Stored<Job> {
    check_is_on(past::spot(w.db, app, webhook)?, webhook)?;
    let insert = || {
        let (done_up_to, last) = rows_of(w.db, wanted)?;
        let row = insert(w.db, app, webhook, wanted, JobStatus::Running, (done_up_to, last), at)?;
        find(w.db, app, webhook, row)
    };
    let job = insert().map_err(fault)?;
    Ok(job.expect("it was just made"))
}

/// A job of one event that is done with the transaction that makes it. Answers with its row.
pub(super) fn insert_done(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    wanted: &Wanted,
    at: Time,
) -> rusqlite::Result<i64> {
    let row = insert(db, app, webhook, wanted, JobStatus::Done, (0, 0), at)?;
    db.prepare_cached("UPDATE replay SET seen = 1, made = 1, ended_at = created_at WHERE row = ?1")?
        .execute([row])?;
    Ok(row)
}

pub(super) fn find(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    row: i64,
) -> rusqlite::Result<Option<Job>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM replay WHERE row = ?3 AND app = ?1 AND webhook = ?2"))?
        .query_row((app.as_str(), webhook.as_str(), row), job_from)
        .optional()
}

pub(super) fn list(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    below: i64,
    limit: i64,
) -> rusqlite::Result<Vec<Job>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM replay WHERE app = ?1 AND webhook = ?2 AND row < ?3 ORDER BY row DESC LIMIT ?4"
    ))?
    .query_map((app.as_str(), webhook.as_str(), below, limit), job_from)?
    .collect()
}

pub(super) fn cancel(db: &Connection, row: i64, at: Time) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE replay SET status = ?2, ended_at = ?3 WHERE row = ?1 AND status = ?4")?
        .execute((row, JobStatus::Cancelled.as_str(), at.ms, JobStatus::Running.as_str()))?;
    Ok(())
}

/// With its webhook, a job ends.
pub(super) fn cancel_all_of(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    at: Time,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE replay SET status = ?3, ended_at = ?4 WHERE app = ?1 AND webhook = ?2 AND status = ?5",
    )?
    .execute((
        app.as_str(),
        webhook.as_str(),
        JobStatus::Cancelled.as_str(),
        at.ms,
        JobStatus::Running.as_str(),
    ))?;
    Ok(())
}

pub(super) fn running(db: &Connection) -> rusqlite::Result<Vec<i64>> {
    db.prepare_cached("SELECT row FROM replay WHERE status = ?1 ORDER BY row")?
        .query_map([JobStatus::Running.as_str()], |row| row.get(0))?
        .collect()
}

/// Looks for what the next step makes, off the writer's thread.
pub(super) fn plan(db: &Connection, row: i64) -> rusqlite::Result<Plan> {
    let Some(place) = place(db, row)? else { return Ok(Plan::Ended) };
    let Some(spot) = past::find_spot(db, &place.app, &place.webhook)? else { return Ok(Plan::Cancel) };
    if !spot.is_on || waiting(db, spot.stream)? > WAITING_MAX {
        return Ok(Plan::Held);
    }
    let mut query = db.prepare_cached(
        r#"SELECT row, app = ?1, "trigger", created_at, owed, octet_length(body) FROM event
           WHERE row > ?2 AND row <= ?3 ORDER BY row LIMIT ?4"#,
    )?;
    let span = (place.app.as_str(), place.done_up_to, place.last, STEP_LOOKED_AT_MAX);
    let mut rows = query.query(span)?;
    let (mut events, mut seen, mut bytes, mut looked_at) = (Vec::new(), 0, 0, 0);
    let mut done_up_to = place.done_up_to;
    let mut is_full = false;
    while !is_full && let Some(row) = rows.next()? {
        looked_at += 1;
        done_up_to = row.get(0)?;
        let created_at = Time::from_ms(row.get(3)?);
        if !row.get::<_, bool>(1)? || !place.wanted.spans(created_at) {
            continue;
        }
        seen += 1;
        let last = last_status(db, spot.stream, row.get_ref(4)?.as_str()?)?;
        if place.wanted.takes(Candidate { trigger: past::trigger(row, 2)?, created_at, last }) {
            bytes += usize::try_from(row.get::<_, i64>(5)?).unwrap_or(0);
            events.push(done_up_to);
            is_full = events.len() == STEP_MADE_MAX || bytes > READ_BYTES_MAX;
        }
    }
    drop(rows);
    drop(query);
    if !is_full && looked_at < STEP_LOOKED_AT_MAX {
        done_up_to = place.last;
    }
    Ok(Plan::Make { place, events, seen, done_up_to })
}

/// Carries a plan out, unless the job or its webhook has changed since it was made.
pub(super) fn carry_out(w: &mut Writing<'_>, row: i64, plan: Plan, at: Time) -> rusqlite::Result<Step> {
    let (planned, events, seen, done_up_to) = match plan {
        Plan::Ended => return Ok(Step::Ended),
        Plan::Held => return Ok(Step::Held),
        Plan::Cancel => return cancel(w.db, row, at).map(|()| Step::Ended),
        Plan::Make { place, events, seen, done_up_to } => (place, events, seen, done_up_to),
    };
    let Some(place) = place(w.db, row)? else { return Ok(Step::Ended) };
    let spot = past::find_spot(w.db, &place.app, &place.webhook)?.filter(|spot| spot.is_on);
    let Some(spot) = spot.filter(|_| place.done_up_to == planned.done_up_to) else { return Ok(Step::Held) };
    let mut made = 0;
    for event in events {
        made += i64::from(owe_again(w, spot, event, row, at)?.is_some());
    }
    let is_over = done_up_to >= place.last;
    let status = if is_over { JobStatus::Done } else { JobStatus::Running };
    w.db.prepare_cached(
        "UPDATE replay SET done_up_to = ?2, seen = seen + ?3, made = made + ?4, status = ?5, ended_at = ?6
         WHERE row = ?1",
    )?
    .execute((place.row, done_up_to, seen, made, status.as_str(), is_over.then_some(at.ms)))?;
    Ok(if is_over { Step::Ended } else { Step::Made })
}

/// Makes a delivery of an event under a new number, in a lane of replays. Answers with the number, or
/// with `None` where the event is no longer kept.
pub(super) fn owe_again(
    w: &mut Writing<'_>,
    spot: Spot,
    event: i64,
    job: i64,
    at: Time,
) -> rusqlite::Result<Option<i64>> {
    let found =
        w.db.prepare_cached("SELECT id, key, body FROM event WHERE row = ?1")?
            .query_row([event], |row| {
                let id = EventId::trusted(row.get_ref(0)?.as_str()?);
                let lane = LaneKey::replay(&Key::trusted(row.get_ref(1)?.as_str()?));
                Ok((id, lane, Arc::<str>::from(row.get_ref(2)?.as_str()?)))
            })
            .optional()?;
    let Some((event_id, lane, body)) = found else { return Ok(None) };
    let bytes = i64::try_from(body.len()).expect("a body fits in memory");
    let sequence = w.ledger.give(w.db, spot.stream, bytes)?;
    w.db.prepare_cached(
        "INSERT INTO waiting (stream, sequence, lane, event, bytes, replay, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((spot.stream, sequence, lane.as_str(), event, bytes, job, at.ms))?;
    w.db.prepare_cached("UPDATE event SET owed = ltrim(owed || ' ' || ?2) WHERE row = ?1")?
        .execute((event, format!("{}:{sequence}", spot.stream)))?;
    w.owed.push(Owed {
        webhook_row: spot.row,
        stream: spot.stream,
        sequence,
        lane,
        event_id,
        body,
        attempts: 0,
        steps: 0,
        due: None,
        first_failed_at: None,
        is_aside: false,
        replay: Some(job),
    });
    Ok(Some(sequence))
}

fn insert(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    wanted: &Wanted,
    status: JobStatus,
    (done_up_to, last): (i64, i64),
    at: Time,
) -> rusqlite::Result<i64> {
    db.prepare_cached(
        "INSERT INTO replay (app, webhook, wanted, status, done_up_to, last, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .insert((
        app.as_str(),
        webhook.as_str(),
        wanted.to_json().to_string(),
        status.as_str(),
        done_up_to,
        last,
        at.ms,
    ))
}

/// The rows of events before which nothing, and after which nothing, can be in the span.
fn rows_of(db: &Connection, wanted: &Wanted) -> rusqlite::Result<(i64, i64)> {
    let newest: i64 = db.query_row("SELECT coalesce(max(row), 0) FROM event", [], |row| row.get(0))?;
    match wanted {
        Wanted::Span { since, until, .. } => {
            let first = first_row_since(db, since.plus_ms(-CLOCK_SLACK_MS), newest)?;
            let last = match until {
                Some(until) => first_row_since(db, until.plus_ms(CLOCK_SLACK_MS), newest)?.min(newest),
                None => newest,
            };
            Ok((first - 1, last))
        }
        Wanted::One { .. } => Ok((newest, newest)),
    }
}

/// The first row of events that is not older, found by halving: rows follow time.
fn first_row_since(db: &Connection, at: Time, newest: i64) -> rusqlite::Result<i64> {
    let mut query =
        db.prepare_cached("SELECT row, created_at FROM event WHERE row >= ?1 ORDER BY row LIMIT 1")?;
    let (mut low, mut high) = (1, newest + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let next: Option<(i64, i64)> =
            query.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match next {
            Some((row, created_at)) if created_at < at.ms => low = row + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// Replayed deliveries that wait: in their lanes, and aside.
fn waiting(db: &Connection, stream: i64) -> rusqlite::Result<i64> {
    let (first, end) = LaneKind::Replay.bounds();
    let in_lanes: i64 = db
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM waiting
             WHERE stream = ?1 AND lane >= ?2 AND lane < ?3 AND is_aside = 0 LIMIT ?4)",
        )?
        .query_row((stream, first.as_str(), end.as_str(), WAITING_MAX + 1), |row| row.get(0))?;
    let aside: i64 = db
        .prepare_cached(
            "SELECT count(replay) FROM (SELECT replay FROM waiting WHERE stream = ?1 AND is_aside = 1 LIMIT ?2)",
        )?
        .query_row((stream, ASIDE_LOOKED_AT_MAX), |row| row.get(0))?;
    Ok(in_lanes + aside)
}

/// How the last delivery of an event in this stream stands.
fn last_status(db: &Connection, stream: i64, owed: &str) -> rusqlite::Result<Option<Status>> {
    let last = owed_pairs(owed).filter(|(of, _)| *of == stream).map(|(_, sequence)| sequence).max();
    let Some(last) = last else { return Ok(None) };
    Ok(past::find(db, stream, last)?.map(|row| row.status))
}

/// Where a job stands that still runs.
fn place(db: &Connection, row: i64) -> rusqlite::Result<Option<Place>> {
    db.prepare_cached(
        "SELECT app, webhook, wanted, done_up_to, last FROM replay WHERE row = ?1 AND status = ?2",
    )?
    .query_row((row, JobStatus::Running.as_str()), |columns| {
        Ok(Place {
            row,
            app: AppId::trusted(columns.get_ref(0)?.as_str()?),
            webhook: WebhookId::trusted(columns.get_ref(1)?.as_str()?),
            wanted: wanted_from(columns, 2)?,
            done_up_to: columns.get(3)?,
            last: columns.get(4)?,
        })
    })
    .optional()
}

fn job_from(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        row: row.get(0)?,
        wanted: wanted_from(row, 1)?,
        status: JobStatus::parse(row.get_ref(2)?.as_str()?)
            .ok_or_else(|| rusqlite::Error::InvalidColumnType(2, "status".to_owned(), Type::Text))?,
        seen: row.get(3)?,
        made: row.get(4)?,
        created_at: Time::from_ms(row.get(5)?),
        ended_at: row.get::<_, Option<i64>>(6)?.map(Time::from_ms),
    })
}

fn wanted_from(row: &Row<'_>, column: usize) -> rusqlite::Result<Wanted> {
    let stored: Value = messages::json(row, column)?;
    Wanted::from_json(&stored)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(column, "wanted".to_owned(), Type::Text))
}
