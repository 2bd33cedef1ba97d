//! Events, and the deliveries that are made of them in the same transaction.

use std::fmt::Write as _;
use std::sync::Arc;

use chathook_domain::app::App;
use chathook_domain::delivery::Owed;
use chathook_domain::event::Event;
use chathook_domain::ids::{AppId, LaneKey};
use chathook_domain::trigger::Trigger;
use chathook_engine::ports::store::Stored;
use rusqlite::Connection;

use super::{Writing, fault};

/// A webhook that is owed an event.
struct Listener {
    row: i64,
    stream: i64,
}

/// Who is owed an event of one trigger, and who is not.
struct Audience {
    /// In the order in which they were created.
    listeners: Vec<Listener>,
    /// The rest with their reasons, as the event keeps them.
    passed_over: String,
}

/// Stores an event, listened to or not, with a waiting delivery for each webhook that listens. Answers
/// with its row.
pub(crate) fn record_event(w: &mut Writing<'_>, app: &App, event: Event) -> Stored<i64> {
    let audience = audience(w.db, &app.id, event.trigger).map_err(fault)?;
    let bytes = i64::try_from(event.body.len()).expect("a body fits in memory");
    let mut owed = String::new();
    let mut sequences = Vec::with_capacity(audience.listeners.len());
    for listener in &audience.listeners {
        let sequence = next_sequence(w.db, listener.stream, bytes).map_err(fault)?;
        let blank = if owed.is_empty() { "" } else { " " };
        write!(owed, "{blank}{}:{sequence}", listener.stream).expect("a String takes all");
        sequences.push(sequence);
    }
    let event_row = insert(w.db, &app.id, &event, &owed, &audience.passed_over).map_err(fault)?;
    let lane = LaneKey::live(&event.key);
    let body: Arc<str> = Arc::from(event.body.as_str());
    for (listener, sequence) in audience.listeners.iter().zip(sequences) {
        w.db.prepare_cached(
            "INSERT INTO waiting (stream, sequence, lane, event, bytes, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut insert| {
            let at = event.created_at.ms;
            insert.execute((listener.stream, sequence, lane.as_str(), event_row, bytes, at))
        })
        .map_err(fault)?;
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

fn audience(db: &Connection, app: &AppId, trigger: Trigger) -> rusqlite::Result<Audience> {
    let mut query = db.prepare_cached(
        r#"SELECT row, stream, id, enabled, switched_off IS NOT NULL,
                  EXISTS (SELECT 1 FROM webhook_trigger t WHERE t.webhook_row = row AND t."trigger" = ?2)
           FROM webhook WHERE app = ?1 ORDER BY row"#,
    )?;
    let mut rows = query.query((app.as_str(), trigger.id()))?;
    let mut audience = Audience { listeners: Vec::new(), passed_over: String::new() };
    while let Some(row) = rows.next()? {
        let (is_enabled, is_switched_off, listens) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let Some(reason) = reason(listens, is_enabled, is_switched_off) else {
            audience.listeners.push(Listener { row: row.get(0)?, stream: row.get(1)? });
            continue;
        };
        let blank = if audience.passed_over.is_empty() { "" } else { " " };
        let id = row.get_ref(2)?.as_str()?;
        write!(audience.passed_over, "{blank}{id}:{reason}").expect("a String takes all");
    }
    Ok(audience)
}

/// Why a webhook is owed nothing, where it is not.
fn reason(listens: bool, is_enabled: bool, is_switched_off: bool) -> Option<&'static str> {
    match (listens, is_enabled, is_switched_off) {
        (false, _, _) => Some("no_trigger"),
        (true, false, _) => Some("disabled"),
        (true, true, true) => Some("switched_off"),
        (true, true, false) => None,
    }
}

/// Takes the stream's next number for a body that waits.
pub(super) fn next_sequence(db: &Connection, stream: i64, bytes: i64) -> rusqlite::Result<i64> {
    db.prepare_cached(
        "UPDATE stream SET last = last + 1, waiting_bytes = waiting_bytes + ?2 WHERE row = ?1 RETURNING last",
    )?
    .query_row((stream, bytes), |row| row.get(0))
}
