//! What happened to one message: who was asked, the event, what each webhook was owed and why another
//! was owed nothing, and how far it was acknowledged.

use std::collections::HashMap;

use chathook_domain::history::{owed_pairs, passed_over_pairs};
use chathook_domain::ids::{AppId, EventId, MessageId, Time, Uid, WebhookId};
use chathook_domain::message::{Message, Receiver};
use chathook_engine::ports::history::{CausedEvent, MarkOf, MessageHistory, OwedTo};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use super::past::{self, Spot};
use super::{calls, messages};

/// Deliveries that are shown, replays included; the newest, where there are more.
const DELIVERIES_MAX: usize = 200;
/// Acknowledgements that are shown.
const MARKS_MAX: i64 = 1_000;
/// The event of a message as it is stored.
struct EventRow {
    caused: CausedEvent,
    owed: String,
    passed_over: String,
}

pub(super) fn message_history(
    db: &Connection,
    app: &AppId,
    id: MessageId,
) -> rusqlite::Result<Option<MessageHistory>> {
    let Some(message) = messages::find(db, app, id)? else { return Ok(None) };
    let row: Option<i64> = db
        .prepare_cached("SELECT event FROM message WHERE app = ?1 AND id = ?2")?
        .query_row((app.as_str(), id.0), |row| row.get(0))?;
    let event = match row {
        Some(row) => event(db, app, row)?,
        None => None,
    };
    let asked = match &event {
        Some(event) => calls::of_event(db, app, &event.caused.id)?,
        None => Vec::new(),
    };
    let owed = match &event {
        Some(event) => owed(db, app, event)?,
        None => Vec::new(),
    };
    let marks = marks(db, app, &message)?;
    let event_is_gone = row.is_some() && event.is_none();
    let event = event.map(|event| event.caused);
    Ok(Some(MessageHistory { message, asked, event, event_is_gone, owed, marks }))
}

fn event(db: &Connection, app: &AppId, row: i64) -> rusqlite::Result<Option<EventRow>> {
    db.prepare_cached(
        r#"SELECT id, "trigger", created_at, body, owed, passed_over FROM event WHERE row = ?1 AND app = ?2"#,
    )?
    .query_row((row, app.as_str()), |row| {
        let body: Value = messages::json(row, 3)?;
        Ok(EventRow {
            caused: CausedEvent {
                id: EventId::trusted(row.get_ref(0)?.as_str()?),
                trigger: past::trigger(row, 1)?,
                created_at: Time::from_ms(row.get(2)?),
                platform: body["origin"]["platform"].as_str().map(str::to_owned),
            },
            owed: row.get(4)?,
            passed_over: row.get(5)?,
        })
    })
    .optional()
}

/// First the webhooks that were owed it, then those that were not, each once.
fn owed(db: &Connection, app: &AppId, event: &EventRow) -> rusqlite::Result<Vec<OwedTo>> {
    let mut all: Vec<OwedTo> = Vec::new();
    let pairs: Vec<_> = owed_pairs(&event.owed).collect();
    let mut known = HashMap::new();
    for (stream, sequence) in pairs.iter().skip(pairs.len().saturating_sub(DELIVERIES_MAX)) {
        let (webhook, spot) = match known.get(stream) {
            Some(found) => found,
            None => known.entry(*stream).or_insert(webhook_of(db, app, *stream)?),
        };
        let Some(row) = past::find(db, *stream, *sequence)? else { continue };
        let name = past::event_name(db, row.event)?;
        let attempts = past::attempts(db, *stream, *sequence)?;
        let delivery = (past::shown(db, *spot, row, name)?, attempts);
        match all.iter_mut().find(|owed| owed.webhook == *webhook) {
            Some(owed) => owed.deliveries.push(delivery),
            None => {
                let webhook = webhook.clone();
                all.push(OwedTo { webhook, deliveries: vec![delivery], owed_nothing: None });
            }
        }
    }
    for (id, reason) in passed_over_pairs(&event.passed_over) {
        note(&mut all, WebhookId::trusted(id), reason);
    }
    for (id, created_at) in webhooks(db, app)? {
        let is_known = all.iter().any(|owed| owed.webhook == id);
        if !is_known {
            // Events that an earlier version recorded name nobody whom they passed over.
            let reason = if created_at > event.caused.created_at { "created_later" } else { "unknown" };
            note(&mut all, id, reason);
        }
    }
    Ok(all)
}

/// Why a webhook was owed nothing at first: a replay may have owed it since.
fn note(all: &mut Vec<OwedTo>, webhook: WebhookId, reason: &str) {
    let reason = Some(reason.to_owned());
    match all.iter_mut().find(|owed| owed.webhook == webhook) {
        Some(owed) => owed.owed_nothing = reason,
        None => all.push(OwedTo { webhook, deliveries: Vec::new(), owed_nothing: reason }),
    }
}

/// The webhook of a stream; one that was deleted is not on.
fn webhook_of(db: &Connection, app: &AppId, stream: i64) -> rusqlite::Result<(WebhookId, Spot)> {
    let id = db
        .prepare_cached("SELECT webhook FROM stream WHERE row = ?1 AND app = ?2")?
        .query_row((stream, app.as_str()), |row| Ok(WebhookId::trusted(row.get_ref(0)?.as_str()?)))?;
    let spot = past::find_spot(db, app, &id)?;
    Ok((id, spot.unwrap_or(Spot { row: 0, stream, is_on: false })))
}

fn webhooks(db: &Connection, app: &AppId) -> rusqlite::Result<Vec<(WebhookId, Time)>> {
    db.prepare_cached("SELECT id, created_at FROM webhook WHERE app = ?1 ORDER BY row")?
        .query_map([app.as_str()], |row| {
            Ok((WebhookId::trusted(row.get_ref(0)?.as_str()?), Time::from_ms(row.get(1)?)))
        })?
        .collect()
}

/// Who has acknowledged the conversation up to this message or beyond, its sender aside. In a 1:1
/// conversation the message itself carries the times at which it was acknowledged.
fn marks(db: &Connection, app: &AppId, message: &Message) -> rusqlite::Result<Vec<MarkOf>> {
    let of_message = match &message.receiver {
        Receiver::User(_) => Some((message.delivered_at, message.read_at)),
        Receiver::Group(_) => None,
    };
    let mut query = db.prepare_cached(
        "SELECT uid, CASE WHEN delivered_up_to >= ?3 THEN delivered_at END,
                CASE WHEN read_up_to >= ?3 THEN read_at END
         FROM mark WHERE app = ?1 AND conversation = ?2 AND uid <> ?4
               AND (delivered_up_to >= ?3 OR read_up_to >= ?3) LIMIT ?5",
    )?;
    let place =
        (app.as_str(), message.conversation.as_str(), message.id.0, message.sender.as_str(), MARKS_MAX);
    query
        .query_map(place, |row| {
            let of_mark = (
                row.get::<_, Option<i64>>(1)?.map(Time::from_ms),
                row.get::<_, Option<i64>>(2)?.map(Time::from_ms),
            );
            let (delivered_at, read_at) = of_message.unwrap_or(of_mark);
            Ok(MarkOf { uid: Uid::trusted(row.get_ref(0)?.as_str()?), delivered_at, read_at })
        })?
        .collect()
}
