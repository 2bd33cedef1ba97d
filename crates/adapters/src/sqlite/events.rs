//! Events, and the deliveries that are made of them in the same transaction.

use std::fmt::Write as _;
use std::sync::Arc;

use chathook_domain::app::App;
use chathook_domain::delivery::Owed;
use chathook_domain::event::Event;
use chathook_domain::ids::{AppId, LaneKey};
use chathook_engine::ports::store::{Stored, SwitchOff};
use rusqlite::Connection;

use super::ledger::Audience;
use super::{Writing, fault, notices};

/// Stores an event, listened to or not, with a waiting delivery for each webhook that listens.
/// Answers with its row.
pub(crate) fn record_event(w: &mut Writing<'_>, app: &App, event: Event) -> Stored<i64> {
    let bytes = i64::try_from(event.body.len()).expect("a body fits in memory");
    let audience = audience(w, &app.id, &event, bytes)?;
    let mut owed = String::with_capacity(audience.listeners.len() * 16);
    let mut sequences = Vec::with_capacity(audience.listeners.len());
    for listener in &audience.listeners {
        let sequence = w.ledger.give(w.db, listener.stream, bytes).map_err(fault)?;
        let blank = if owed.is_empty() { "" } else { " " };
        write!(owed, "{blank}{}:{sequence}", listener.stream).expect("a String takes all");
        sequences.push(sequence);
    }
    let event_row = insert(w.db, &app.id, &event, &owed, &audience.passed_over).map_err(fault)?;
    let lane = LaneKey::live(&event.key);
    let body: Arc<str> = Arc::from(event.body);
    let mut insert =
        w.db.prepare_cached(
            "INSERT INTO waiting (stream, sequence, lane, event, bytes, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map_err(fault)?;
    for (listener, sequence) in audience.listeners.iter().zip(sequences) {
        let at = event.created_at.ms;
        insert.execute((listener.stream, sequence, lane.as_str(), event_row, bytes, at)).map_err(fault)?;
        w.owed.push(Owed {
            webhook_row: listener.row,
            stream: listener.stream,
            sequence,
            lane: lane.clone(),
            event_id: event.id.clone(),
            body: Arc::clone(&body),
            attempts: 0,
            steps: 0,
            due: None,
            first_failed_at: None,
            is_aside: false,
            replay: None,
        });
    }
    Ok(event_row)
}

/// Who is owed the event. Webhooks for which it would be one too many are switched off before it.
fn audience(w: &mut Writing<'_>, app: &AppId, event: &Event, bytes: i64) -> Stored<Arc<Audience>> {
    let audience = w.ledger.audience(w.db, app, event.trigger).map_err(fault)?;
    let mut is_changed = false;
    for listener in &audience.listeners {
        if w.ledger.would_overflow(w.db, listener.stream, bytes)? {
            notices::switch_off(w, listener.row, SwitchOff::Backlog, event.created_at)?;
            is_changed = true;
        }
    }
    if is_changed { w.ledger.audience(w.db, app, event.trigger).map_err(fault) } else { Ok(audience) }
}

fn insert(
    db: &Connection,
    app: &AppId,
    event: &Event,
    owed: &str,
    passed_over: &str,
) -> rusqlite::Result<i64> {
    db.prepare_cached(
        r#"INSERT INTO event (app, id, "trigger", key, body, created_at, owed, passed_over)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"#,
    )?
    .insert((
        app.as_str(),
        event.id.as_str(),
        event.trigger.id(),
        event.key.as_str(),
        event.body.as_str(),
        event.created_at.ms,
        owed,
        passed_over,
    ))
}
