//! Attempts and what follows from them: what waits ends, or waits for another attempt.

use std::collections::BTreeMap;

use chathook_domain::delivery::{Settlement, Status, failure_detail, outcome_name};
use chathook_domain::ids::{StartId, Time};
use chathook_domain::outcome::Outcome;
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::ports::store::{Settled, Stored};
use rusqlite::{Connection, OptionalExtension as _};

use super::{Writing, fault};

/// Bytes of an answer's body that an attempt keeps (design 6).
const KEPT_BYTES_MAX: usize = 4_096;

/// Writes a batch; answers with the settled number of each webhook row in it.
pub(super) fn settle(w: &Writing<'_>, start: &StartId, settled: &[Settled]) -> Stored<Vec<(i64, i64)>> {
    let start = newest_start(w.db, start)?;
    let mut streams = BTreeMap::new();
    for one in settled {
        settle_one(w.db, one, start).map_err(fault)?;
        streams.insert(one.webhook_row, one.stream);
    }
    let numbers = streams.into_iter().map(|(row, stream)| Ok((row, advance(w.db, stream)?)));
    numbers.collect::<rusqlite::Result<_>>().map_err(fault)
}

/// The row of this start, which has to be the newest: an older one no longer speaks for what is in flight.
fn newest_start(db: &Connection, start: &StartId) -> Stored<i64> {
    let newest = db
        .prepare_cached("SELECT row FROM start WHERE id = ?1 AND row = (SELECT max(row) FROM start)")
        .and_then(|mut query| query.query_row([start.as_str()], |row| row.get(0)).optional());
    newest.map_err(fault)?.ok_or_else(|| {
        let sentence = format!("The start '{start}' is not the newest, so it settles nothing.");
        Refusal::new(Code::StartSuperseded, sentence).into()
    })
}

fn settle_one(db: &Connection, settled: &Settled, start: i64) -> rusqlite::Result<()> {
    let is_known = match settled.settlement {
        Settlement::Delivered => end(db, settled, Status::Delivered)?,
        Settlement::Failed => end(db, settled, Status::Failed)?,
        Settlement::Waits { due, steps, first_failed_at, is_aside } => {
            db.prepare_cached(
                "UPDATE waiting SET attempts = ?3, due = ?4, steps = ?5, first_failed_at = ?6, is_aside = ?7
                 WHERE stream = ?1 AND sequence = ?2",
            )?
            .execute((
                settled.stream,
                settled.sequence,
                settled.attempt,
                due.ms,
                steps,
                first_failed_at.ms,
                is_aside,
            ))? > 0
        }
    };
    // A delivery that was cancelled meanwhile keeps the attempt; one that is gone has none.
    if is_known || has_ended(db, settled)? {
        insert_attempt(db, settled, start)?;
    }
    Ok(())
}

/// Whether it still waited.
fn end(db: &Connection, settled: &Settled, status: Status) -> rusqlite::Result<bool> {
    let waited = db
        .prepare_cached(
            "DELETE FROM waiting WHERE stream = ?1 AND sequence = ?2
             RETURNING lane, event, bytes, replay, created_at",
        )?
        .query_row((settled.stream, settled.sequence), |row| {
            let lane: String = row.get(0)?;
            let (event, bytes, replay, created_at) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            Ok((lane, event, bytes, replay, created_at))
        })
        .optional()?;
    let Some((lane, event, bytes, replay, created_at)): Option<(String, i64, i64, Option<i64>, i64)> = waited
    else {
        return Ok(false);
    };
    db.prepare_cached(
        "INSERT INTO ended (stream, sequence, lane, event, status, attempts, replay, created_at, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute((
        settled.stream,
        settled.sequence,
        lane,
        event,
        status.as_str(),
        settled.attempt,
        replay,
        created_at,
        ended_at(settled).ms,
    ))?;
    db.prepare_cached("UPDATE stream SET waiting_bytes = waiting_bytes - ?2 WHERE row = ?1")?
        .execute((settled.stream, bytes))?;
    Ok(true)
}

fn ended_at(settled: &Settled) -> Time {
    settled.started_at.plus_ms(i64::try_from(settled.phases.total_us / 1_000).unwrap_or(0))
}

fn has_ended(db: &Connection, settled: &Settled) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM ended WHERE stream = ?1 AND sequence = ?2")?
        .exists((settled.stream, settled.sequence))
}

fn insert_attempt(db: &Connection, settled: &Settled, start: i64) -> rusqlite::Result<()> {
    let kept = match &settled.outcome {
        Outcome::Answered(answer) => {
            let length = answer.body.len().min(KEPT_BYTES_MAX);
            Some(String::from_utf8_lossy(&answer.body[..length]))
        }
        Outcome::Failed(_) => None,
    };
    let phases = &settled.phases;
    // One that is there was written by a batch that is written again.
    db.prepare_cached(
        "INSERT OR IGNORE INTO attempt (stream, sequence, attempt, outcome, detail, address, resolve_us,
                                        connect_us, tls_us, first_byte_us, total_us, kept, started_at, start)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(rusqlite::params![
        settled.stream,
        settled.sequence,
        settled.attempt,
        outcome_name(&settled.outcome),
        failure_detail(&settled.outcome),
        settled.address,
        micros(phases.resolve_us),
        micros(phases.connect_us),
        micros(phases.tls_us),
        micros(phases.first_byte_us),
        micros(Some(phases.total_us)),
        kept,
        settled.started_at.ms,
        start,
    ])?;
    Ok(())
}

fn micros(us: Option<u64>) -> Option<i64> {
    us.map(|us| i64::try_from(us).unwrap_or(i64::MAX))
}

/// Each number has a delivery, so all below the first that waits are settled.
pub(super) fn advance(db: &Connection, stream: i64) -> rusqlite::Result<i64> {
    let settled = db
        .prepare_cached(
            "UPDATE stream SET settled =
                 coalesce((SELECT min(sequence) - 1 FROM waiting WHERE waiting.stream = ?1), last)
             WHERE row = ?1 RETURNING settled",
        )?
        .query_row([stream], |row| row.get(0))
        .optional()?;
    // A stream that is gone went with its app.
    Ok(settled.unwrap_or(0))
}
