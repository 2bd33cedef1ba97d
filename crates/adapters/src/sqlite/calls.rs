//! The log of `before_message` calls: written beside the sends, read by webhook and by message.

use chathook_domain::ids::{AppId, EventId, Key, Time, Uid, WebhookId};
use chathook_engine::ports::history::{AskedCall, CallFilter, CallPage};
use chathook_engine::ports::store::Asked;
use rusqlite::{Connection, Row};

use super::past::{LOOKED_AT_MAX, micros};

/// Calls of one message that are shown: an app has at most 25 webhooks at a time.
const OF_EVENT_MAX: i64 = 100;

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
        let is_fit = filter.verdict.as_ref().is_none_or(|verdict| *verdict == call.verdict)
            && (!filter.is_silent || call.silence.is_some());
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
