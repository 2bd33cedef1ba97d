//! Deliveries that end without an attempt: cancelled with their webhook, or expired because it was off
//! for too long.

use chathook_domain::delivery::Status;
use chathook_domain::ids::Time;
use rusqlite::{Connection, OptionalExtension as _};

use super::{Writing, settlements};

/// Ends the first of what waits in a stream; answers with how many those were.
pub(super) fn end_some(
    w: &mut Writing<'_>,
    stream: i64,
    status: Status,
    at: Time,
    rows_max: usize,
) -> rusqlite::Result<usize> {
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    // The last of them bounds all statements.
    let (last, count, bytes): (Option<i64>, i64, i64) =
        w.db.prepare_cached(
            "SELECT max(sequence), count(*), coalesce(sum(bytes), 0) FROM
                 (SELECT sequence, bytes FROM waiting WHERE stream = ?1 ORDER BY sequence LIMIT ?2)",
        )?
        .query_row((stream, limit), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some(last) = last else { return Ok(0) };
    let ended =
        w.db.prepare_cached(
            "INSERT INTO ended (stream, sequence, lane, event, status, attempts, replay, created_at, ended_at)
             SELECT stream, sequence, lane, event, ?3, attempts, replay, created_at, ?4
             FROM waiting WHERE stream = ?1 AND sequence <= ?2",
        )?
        .execute((stream, last, status.as_str(), at.ms))?;
    w.db.prepare_cached("DELETE FROM waiting WHERE stream = ?1 AND sequence <= ?2")?
        .execute((stream, last))?;
    if let Some(mut numbers) = w.ledger.stream(w.db, stream)? {
        numbers.waiting_count -= count;
        numbers.waiting_bytes -= bytes;
        w.ledger.set_stream(stream, numbers);
    }
    settlements::advance(w.db, w.ledger, stream)?;
    Ok(ended)
}

/// A webhook that has been off since before this moment, and at which something waits.
pub(super) fn find_held(db: &Connection, off_before: Time) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached(
        "SELECT row FROM webhook WHERE off_since <= ?1
         AND EXISTS (SELECT 1 FROM waiting WHERE waiting.stream = webhook.stream) LIMIT 1",
    )?
    .query_row([off_before.ms], |row| row.get(0))
    .optional()
}

/// Nothing where it is on again.
pub(super) fn expire_some(
    w: &mut Writing<'_>,
    webhook_row: i64,
    off_before: Time,
    at: Time,
    rows_max: usize,
) -> rusqlite::Result<()> {
    let stream =
        w.db.prepare_cached("SELECT stream FROM webhook WHERE row = ?1 AND off_since <= ?2")?
            .query_row((webhook_row, off_before.ms), |row| row.get(0))
            .optional()?;
    if let Some(stream) = stream {
        end_some(w, stream, Status::Expired, at, rows_max)?;
        w.changed.push(webhook_row);
    }
    Ok(())
}
