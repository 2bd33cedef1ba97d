//! Raw figures of one webhook in a span of time that ends now, newest first and bounded.

use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_engine::ports::history::Figures;
use chathook_engine::ports::stored::Stored;
use rusqlite::{Connection, OptionalExtension as _};

use super::fault;
use super::past::{self, CLOCK_SLACK_MS, micros};

/// Rows of each kind that are looked at.
const LOOKED_AT_MAX: i64 = 10_000;

pub(super) fn figures(db: &Connection, app: &AppId, webhook: &WebhookId, since: Time) -> Stored<Figures> {
    let spot = past::spot(db, app, webhook)?;
    let read = || {
        let mut figures = Figures::default();
        count_ended(db, spot.stream, since, &mut figures)?;
        count_attempts(db, spot.stream, since, &mut figures)?;
        count_waiting(db, spot.stream, &mut figures)?;
        count_asked(db, app, webhook, since, &mut figures)?;
        figures.failing_since = db
            .prepare_cached("SELECT failing_since FROM webhook WHERE row = ?1")?
            .query_row([spot.row], |row| row.get::<_, Option<i64>>(0))?
            .map(Time::from_ms);
        Ok(figures)
    };
    read().map_err(fault)
}

fn count_ended(db: &Connection, stream: i64, since: Time, figures: &mut Figures) -> rusqlite::Result<()> {
    let mut query = db.prepare_cached(
        "SELECT status, created_at, ended_at FROM ended WHERE stream = ?1 ORDER BY sequence DESC LIMIT ?2",
    )?;
    let mut rows = query.query((stream, LOOKED_AT_MAX))?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        looked_at += 1;
        if row.get::<_, i64>(2)? >= since.ms {
            *figures.ended.entry(past::status(row, 0)?).or_default() += 1;
        }
        figures.is_cut |= looked_at == LOOKED_AT_MAX && row.get::<_, i64>(1)? >= since.ms;
    }
    Ok(())
}

/// Attempts stand in the order of their deliveries: those of an old delivery that is tried again lie
/// among the old ones, so the look does not end with the first that is older than the span.
fn count_attempts(db: &Connection, stream: i64, since: Time, figures: &mut Figures) -> rusqlite::Result<()> {
    let mut query = db.prepare_cached(
        "SELECT outcome, total_us, started_at FROM attempt WHERE stream = ?1
         ORDER BY sequence DESC, attempt DESC LIMIT ?2",
    )?;
    let mut rows = query.query((stream, LOOKED_AT_MAX))?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let is_in_span = row.get::<_, i64>(2)? >= since.ms;
        if is_in_span {
            *figures.attempts.entry(row.get(0)?).or_default() += 1;
            figures.attempts_us.push(micros(row, 1)?.unwrap_or(0));
        }
        figures.is_cut |= looked_at == LOOKED_AT_MAX && is_in_span;
    }
    Ok(())
}

fn count_waiting(db: &Connection, stream: i64, figures: &mut Figures) -> rusqlite::Result<()> {
    (figures.waiting, figures.waiting_bytes) = db
        .prepare_cached("SELECT waiting_count, waiting_bytes FROM stream WHERE row = ?1")?
        .query_row([stream], |row| Ok((row.get(0)?, row.get(1)?)))?;
    figures.oldest_waiting_at = db
        .prepare_cached("SELECT created_at FROM waiting WHERE stream = ?1 ORDER BY sequence LIMIT 1")?
        .query_row([stream], |row| row.get(0))
        .optional()?
        .map(Time::from_ms);
    Ok(())
}

fn count_asked(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    since: Time,
    figures: &mut Figures,
) -> rusqlite::Result<()> {
    let mut query = db.prepare_cached(
        "SELECT at, verdict, silence, took_us FROM asked WHERE app = ?1 AND webhook = ?2
         ORDER BY row DESC LIMIT ?3",
    )?;
    let mut rows = query.query((app.as_str(), webhook.as_str(), LOOKED_AT_MAX))?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        let at: i64 = row.get(0)?;
        // Calls are logged when they end, and a wall clock may have been set back meanwhile.
        if at < since.plus_ms(-CLOCK_SLACK_MS).ms {
            break;
        }
        looked_at += 1;
        if at < since.ms {
            continue;
        }
        figures.is_cut |= looked_at == LOOKED_AT_MAX;
        match row.get::<_, Option<String>>(2)? {
            None => *figures.verdicts.entry(row.get(1)?).or_default() += 1,
            Some(silence) => *figures.silences.entry(silence).or_default() += 1,
        }
        figures.asked_us.push(micros(row, 3)?.unwrap_or(0));
    }
    Ok(())
}
