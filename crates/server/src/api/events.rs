//! The events of a webhook's sequence in order, for filling a gap or for who cannot be called (design 9).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chathook_domain::refusal::Code;
use chathook_engine::ports::history::{EventsFrom, NumberedEvent};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Ids, Params, webhook_ids};
use super::lists::{Answer, limit};
use super::shapes::{hooks, refuses};

/// Which events are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Those after this number; without it from the oldest kept.
    #[param(minimum = 0)]
    pub after: Option<i64>,
    /// 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<i64>,
}

/// Events in the order of their numbers.
#[derive(Serialize, ToSchema)]
pub struct Events {
    data: Vec<EventShown>,
    meta: EventsMeta,
}

/// An event under its number in the webhook's sequence.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct EventShown {
    sequence: i64,
    /// The header `webhook-id` of its deliveries.
    id: String,
    #[schema(value_type = hooks::Trigger)]
    trigger: &'static str,
    created_at: i64,
    /// The documented payload, as `/asyncapi.json` describes it.
    #[schema(value_type = Object)]
    body: Value,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventsMeta {
    limit: i64,
    count: usize,
    has_more: bool,
    /// The last number given.
    last: i64,
    /// The number up to which all is answered, ended or cancelled.
    settled: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextEvents>,
}

/// What the query repeats to ask for what follows.
#[derive(Serialize, ToSchema)]
pub struct NextEvents {
    after: i64,
}

/// Lists the events of a webhook's sequence in order
///
/// For filling a gap, or for who cannot be called. Where the next one is no longer kept the answer is 410
/// with the oldest number in `details.oldest`.
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/events", tag = "history",
    params(EventsQuery),
    responses(
        (status = 200, description = "A part of the events, in the order of their numbers", body = Events)
    ),
    extensions(("x-refusals" = json!(refuses(&[Code::EventsGone])))),
)]
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
    let items: Vec<EventShown> = found.events.iter().map(EventShown::of).collect();
    let meta = EventsMeta {
        limit,
        count: items.len(),
        has_more: found.has_more,
        last: found.last,
        settled: found.settled,
        next: found.events.last().map(|last| NextEvents { after: last.sequence }),
    };
    Ok(Json(json!(Events { data: items, meta })))
}

impl EventShown {
    fn of(event: &NumberedEvent) -> Self {
        Self {
            sequence: event.sequence,
            id: event.id.to_string(),
            trigger: event.trigger.id(),
            created_at: event.created_at.seconds(),
            // What we stored ourselves is JSON; were it not, its text would still be shown.
            body: serde_json::from_str(&event.body).unwrap_or_else(|_| json!(event.body)),
        }
    }
}
