//! The events of a webhook's sequence in order, for filling a gap or for who cannot be called (design 9).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chathook_engine::ports::history::{EventsFrom, NumberedEvent};
use serde_json::{Value, json};

use super::Api;
use super::extract::{Ids, Params, webhook_ids};
use super::lists::{Answer, limit};

pub async fn list_events(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let limit = limit(&params)?;
    let after = params.number("after", 0, i64::MAX)?;
    let from = after.map_or(EventsFrom::Oldest, EventsFrom::After);
    let found = api.engine.numbered_events(&app, &webhook, from, limit).await?;
    let items: Vec<Value> = found.events.iter().map(to_json).collect();
    let mut meta = json!({
        "limit": limit, "count": items.len(), "hasMore": found.has_more, "last": found.last,
        "settled": found.settled,
    });
    if let Some(last) = found.events.last() {
        meta["next"] = json!({"after": last.sequence});
    }
    Ok(Json(json!({"data": items, "meta": meta})))
}

fn to_json(event: &NumberedEvent) -> Value {
    // What we stored ourselves is JSON; were it not, its text would still be shown.
    let body = serde_json::from_str(&event.body).unwrap_or_else(|_| json!(event.body));
    json!({
        "sequence": event.sequence, "id": event.id.as_str(), "trigger": event.trigger.id(),
        "createdAt": event.created_at.seconds(), "body": body,
    })
}
