//! The events of a webhook's sequence, in order, for filling a gap or for who cannot be called.

use chathook_domain::event::body_for;
use chathook_domain::ids::{AppId, EventId, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::ports::history::{EventsFrom, NumberedEvent, NumberedEvents};
use chathook_engine::ports::store::READ_BYTES_MAX;
use chathook_engine::ports::stored::Stored;
use rusqlite::{Connection, OptionalExtension as _};

use super::{fault, past};

/// A number and the row of its event, in order after `?2`.
const IN_ORDER: &str = "SELECT sequence, event FROM waiting WHERE stream = ?1 AND sequence > ?2
    UNION ALL SELECT sequence, event FROM ended WHERE stream = ?1 AND sequence > ?2
    ORDER BY sequence LIMIT ?3";

/// The payload for one webhook as attempts carry it; `None` where the event is no longer kept.
pub(super) fn body(db: &Connection, event: i64, webhook: &WebhookId) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT body FROM event WHERE row = ?1")?
        .query_row([event], |row| Ok(body_for(row.get_ref(0)?.as_str()?, webhook)))
        .optional()
}

/// Stops before a number whose event is no longer kept; refused where that is the first one asked for.
pub(super) fn numbered_events(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    from: EventsFrom,
    limit: i64,
) -> Stored<NumberedEvents> {
    let spot = past::spot(db, app, webhook)?;
    let (last, settled) = numbers(db, spot.stream).map_err(fault)?;
    let after = match from {
        EventsFrom::After(after) => after,
        EventsFrom::Oldest => oldest_kept(db, spot.stream, 0).map_err(fault)?.map_or(last, |first| first - 1),
    };
    let (events, has_more) = read(db, spot.stream, webhook, after, limit).map_err(fault)?;
    if events.is_empty() && after < last {
        let oldest = oldest_kept(db, spot.stream, after).map_err(fault)?.unwrap_or(last + 1);
        return Err(gone(after, oldest).into());
    }
    Ok(NumberedEvents { events, has_more, last, settled })
}

fn gone(after: i64, oldest: i64) -> Refusal {
    let sentence = format!(
        "The event number {} is no longer kept. The oldest after it has the number {oldest}.",
        after.saturating_add(1)
    );
    Refusal::new(Code::EventsGone, sentence).with_fact("oldest", oldest)
}

fn numbers(db: &Connection, stream: i64) -> rusqlite::Result<(i64, i64)> {
    db.prepare_cached("SELECT last, settled FROM stream WHERE row = ?1")?
        .query_row([stream], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn read(
    db: &Connection,
    stream: i64,
    webhook: &WebhookId,
    after: i64,
    limit: i64,
) -> rusqlite::Result<(Vec<NumberedEvent>, bool)> {
    let mut query = db.prepare_cached(IN_ORDER)?;
    // One more than is asked for tells that more follow.
    let mut rows = query.query((stream, after, limit.saturating_add(1)))?;
    let most = usize::try_from(limit).unwrap_or(0);
    let (mut events, mut bytes, mut expected) = (Vec::new(), 0, after.saturating_add(1));
    while let Some(row) = rows.next()? {
        let sequence: i64 = row.get(0)?;
        if events.len() >= most || bytes > READ_BYTES_MAX {
            return Ok((events, true));
        }
        let event = if sequence == expected { event(db, sequence, row.get(1)?, webhook)? } else { None };
        let Some(event) = event else { return Ok((events, true)) };
        bytes += event.body.len();
        expected = sequence + 1;
        events.push(event);
    }
    Ok((events, false))
}

fn event(
    db: &Connection,
    sequence: i64,
    event: i64,
    webhook: &WebhookId,
) -> rusqlite::Result<Option<NumberedEvent>> {
    db.prepare_cached(r#"SELECT id, "trigger", created_at, body FROM event WHERE row = ?1"#)?
        .query_row([event], |row| {
            Ok(NumberedEvent {
                sequence,
                id: EventId::trusted(row.get_ref(0)?.as_str()?),
                trigger: past::trigger(row, 1)?,
                created_at: Time::from_ms(row.get(2)?),
                body: body_for(row.get_ref(3)?.as_str()?, webhook),
            })
        })
        .optional()
}

/// The first number after `after` whose event is kept.
fn oldest_kept(db: &Connection, stream: i64, after: i64) -> rusqlite::Result<Option<i64>> {
    let mut query = db.prepare_cached(IN_ORDER)?;
    let mut rows = query.query((stream, after, i64::MAX))?;
    let mut is_kept = db.prepare_cached("SELECT 1 FROM event WHERE row = ?1")?;
    while let Some(row) = rows.next()? {
        if is_kept.exists([row.get::<_, i64>(1)?])? {
            return row.get(0).map(Some);
        }
    }
    Ok(None)
}
