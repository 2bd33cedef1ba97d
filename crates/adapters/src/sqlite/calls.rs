//! The log of `before_message` calls: written beside the sends, read by webhook and by message.

use chathook_domain::ids::{AppId, EventId, Key, MessageId, Time, Uid, WebhookId};
use chathook_engine::ports::history::{AskedCall, CallFilter, CallPage};
use chathook_engine::ports::store::Asked;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::past::{LOOKED_AT_MAX, micros};

/// Calls of one message that are shown: an app has at most 25 webhooks at a time.
const OF_EVENT_MAX: i64 = 100;
/// How far before a call its message may have come in (the longest budget, and clocks that were set), and how many
/// of the conversation's messages are looked at from there on.
const BEFORE_MS: i64 = 60_000;
const MESSAGES_LOOKED_AT_MAX: i64 = 10_000;

/// The columns that [`call_from`] reads.
macro_rules! columns {
    () => {
        "row, webhook, event, conversation, sender, verdict, silence, effect, took_us, at"
    };
}

/// Nothing where the app was deleted meanwhile: lines of other apps stand beside this one.
pub(super) fn insert(db: &Connection, asked: &Asked) -> rusqlite::Result<()> {
    let effect = asked.effect.as_ref().map(serde_json::to_string).transpose();
    let effect = effect.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    db.prepare_cached(
        "INSERT INTO asked (app, webhook, conversation, sender, verdict, silence, took_us, at, event, effect)
         SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM app WHERE id = ?1",
    )?
    .execute((
        asked.app.as_str(),
        asked.webhook.as_str(),
        asked.conversation.as_str(),
        asked.sender.as_str(),
        asked.verdict,
        asked.silence.as_deref(),
        i64::try_from(asked.took_us).unwrap_or(i64::MAX),
        asked.at.ms,
        asked.event.as_str(),
        effect,
    ))?;
    Ok(())
}

/// Newest first, below a row. Looks at so many and no more, whatever it finds.
pub(super) fn list(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    filter: &CallFilter,
    below: i64,
) -> rusqlite::Result<CallPage> {
    let mut query = db.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM asked WHERE app = ?1 AND webhook = ?2 AND row < ?3 ORDER BY row DESC LIMIT ?4"
    ))?;
    let mut rows = query.query((app.as_str(), webhook.as_str(), below, LOOKED_AT_MAX))?;
    let mut page = CallPage { calls: Vec::new(), next: None };
    let (mut looked_at, mut last) = (0, below);
    while let Some(row) = rows.next()? {
        let call = call_from(row)?;
        if page.calls.len() == filter.limit {
            page.next = Some(last);
            return Ok(page);
        }
        looked_at += 1;
        last = call.row;
        let is_fit = match &filter.verdict {
            Some(verdict) => call.silence.is_none() && *verdict == call.verdict,
            None => !filter.is_silent || call.silence.is_some(),
        };
        if is_fit {
            page.calls.push(call);
        }
    }
    page.next = (looked_at == LOOKED_AT_MAX).then_some(last);
    Ok(page)
}

/// In the order in which the webhooks had their turns.
pub(super) fn of_event(db: &Connection, app: &AppId, event: &EventId) -> rusqlite::Result<Vec<AskedCall>> {
    db.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM asked WHERE app = ?1 AND event = ?2 ORDER BY row LIMIT ?3"
    ))?
    .query_map((app.as_str(), event.as_str(), OF_EVENT_MAX), call_from)?
    .collect()
}

/// The message of a call's event, looked for around the time of the call: events have no index by their id, and
/// the messages of a conversation stand in the order of time, but for what hooks made them wait.
pub(super) fn message_of(db: &Connection, app: &AppId, row: i64) -> rusqlite::Result<Option<MessageId>> {
    let call = db
        .prepare_cached("SELECT event, conversation, at FROM asked WHERE row = ?1 AND app = ?2")?
        .query_row((row, app.as_str()), |row| {
            Ok((row.get::<_, Option<String>>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    let Some((Some(event), conversation, at)) = call else { return Ok(None) };
    let first = first_since(db, app, &conversation, at - BEFORE_MS)?;
    let found = db
        .prepare_cached(
            "SELECT m.id FROM (SELECT id, event, sent_at FROM message
                               WHERE app = ?1 AND conversation = ?2 AND id >= ?3 ORDER BY id LIMIT ?4) m
             JOIN event e ON e.row = m.event WHERE e.id = ?5 AND e.app = ?1",
        )?
        .query_row((app.as_str(), &conversation, first, MESSAGES_LOOKED_AT_MAX, event), |row| row.get(0))
        .optional()?;
    Ok(found.map(MessageId))
}

/// The number from which on a conversation's messages are not older than this, found by halving.
fn first_since(db: &Connection, app: &AppId, conversation: &str, since_ms: i64) -> rusqlite::Result<i64> {
    let mut next = db.prepare_cached(
        "SELECT id, sent_at FROM message WHERE app = ?1 AND conversation = ?2 AND id >= ?3 ORDER BY id LIMIT 1",
    )?;
    let (mut low, mut high) = (0_i64, i64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = next
            .query_row((app.as_str(), conversation, middle), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        match found {
            Some((id, sent_at)) if sent_at < since_ms => low = id + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

fn call_from(row: &Row<'_>) -> rusqlite::Result<AskedCall> {
    Ok(AskedCall {
        row: row.get(0)?,
        webhook: WebhookId::trusted(row.get_ref(1)?.as_str()?),
        event: row.get_ref(2)?.as_str_or_null()?.map(EventId::trusted),
        conversation: Key::trusted(row.get_ref(3)?.as_str()?),
        sender: Uid::trusted(row.get_ref(4)?.as_str()?),
        verdict: row.get(5)?,
        silence: row.get(6)?,
        // What an older or newer version wrote otherwise is left out rather than refused.
        effect: row.get_ref(7)?.as_str_or_null()?.and_then(|text| serde_json::from_str(text).ok()),
        took_us: micros(row, 8)?.unwrap_or(0),
        at: Time::from_ms(row.get(9)?),
    })
}
