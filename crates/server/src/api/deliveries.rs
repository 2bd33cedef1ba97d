//! Deliveries of a webhook: looked up, tried now, given up (design 9).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::delivery::Status;
use chathook_domain::history::{DeliveryId, Place};
use chathook_domain::ids::{AppId, Key, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::replay::SECONDS_MAX;
use chathook_domain::trigger::Trigger;
use chathook_domain::waiting::{Held, Waiting};
use chathook_engine::ports::endpoints::Phases;
use chathook_engine::ports::history::{Attempt, Delivery, DeliveryDetail, DeliveryFilter};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Ids, Params, webhook_ids};
use super::lists::{Answer, Data, ListQuery, Listed, data, limit, strange_cursor, with_cursor};
use super::shapes::{hooks, refuses};

/// Which deliveries are asked for; the span is that of their creation, `until` itself not included.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    #[param(inline)]
    pub status: Option<DeliveryStatus>,
    #[param(inline)]
    pub trigger: Option<hooks::Trigger>,
    /// The ordering key: a conversation, a group's conversation and a uid, or `user/` and a uid.
    pub key: Option<String>,
    /// Seconds since 1970.
    #[param(minimum = 0, maximum = 253_402_300_799_i64)]
    pub since: Option<i64>,
    #[param(minimum = 0, maximum = 253_402_300_799_i64)]
    pub until: Option<i64>,
}

/// Where a delivery stands. All but `waiting` is its end.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum DeliveryStatus {
    Waiting,
    Delivered,
    Failed,
    Cancelled,
    Expired,
}

/// What is known of a delivery, its attempts aside.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryFrame {
    /// Its number in the webhook's sequence as text, or `test-` and the number of a test.
    #[schema(example = "1")]
    id: String,
    /// Of all but tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<i64>,
    /// Of a test.
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<bool>,
    /// The header `webhook-id`; `null` where the event is no longer kept.
    #[schema(required)]
    event_id: Option<String>,
    #[schema(required)]
    trigger: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[schema(value_type = DeliveryStatus)]
    status: &'static str,
    /// A status as text, or a named failure; `null` before the first attempt.
    #[schema(required)]
    last_outcome: Option<String>,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
    /// The first moment at which it may go, where it waits for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<i64>,
    /// Of one that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<WaitsForShown>,
    /// The replay that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<String>,
    /// Why it waits, where the store knows: `webhook_off`, `aside` or `behind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_because: Option<&'static str>,
    /// The delivery that stands before it in its lane, and keeps failing.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<String>,
}

/// What stands between a delivery that waits and its next attempt.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WaitsFor)]
pub struct WaitsForShown {
    #[schema(value_type = WaitsForKind)]
    kind: &'static str,
    /// For people; `until` is told beside it.
    text: String,
    /// The circuit's next probe, the end of the pause, or the time of its schedule; left out where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    /// The delivery that stands first in its lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<String>,
}

/// The answer to an attempt under way, its webhook to be on, its endpoint's circuit, the pause that the endpoint asked
/// for, one before it in its lane, the time of its schedule, or a place among the attempts in flight.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum WaitsForKind {
    Answer,
    Webhook,
    Circuit,
    Pause,
    Lane,
    Time,
    Place,
}

/// A delivery as lists show it.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryShown {
    #[serde(flatten)]
    frame: DeliveryFrame,
    /// How many were made.
    attempts: u32,
}

/// A delivery with all that is known of it.
#[derive(Serialize, ToSchema)]
pub struct DeliveryWithAttempts {
    #[serde(flatten)]
    frame: DeliveryFrame,
    attempts: Vec<AttemptShown>,
    /// Exactly as each attempt carried it; `null` where the event is no longer kept.
    #[schema(required)]
    body: Option<String>,
    /// Where an attempt was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    retried: Option<RetriedShown>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
#[schema(as = Retried)]
pub struct RetriedShown {
    #[schema(value_type = RetriedKind)]
    kind: &'static str,
    /// For people.
    #[schema(example = "It is tried now.")]
    text: String,
}

/// `waits_on`: something stands before it that no order moves; `waitsFor` says what.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RetriedKind {
    TriedNow,
    UnderWay,
    OwedAnew,
    WaitsOn,
}

/// One request that was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt)]
pub struct AttemptShown {
    /// Counted from 1.
    attempt: u32,
    /// A status as text, or a named failure.
    #[schema(example = "200")]
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Where the connection went.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The beginning of the answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    phases: PhasesShown,
    started_at: i64,
    started_at_ms: i64,
}

/// How long each phase took, in microseconds; one that was not reached, or not needed, is left out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Phases)]
pub struct PhasesShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    resolve_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_us: Option<u64>,
    total_us: u64,
}

/// Lists the deliveries of a webhook
///
/// Tests by hand stand among them by time.
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/deliveries", tag = "history",
    params(ListQuery, DeliveriesQuery),
    responses(
        (status = 200, description = "A part of the deliveries, the newest first",
         body = Listed<DeliveryShown>)
    ),
    extensions(("x-refusals" = json!(refuses(&[Code::TriggerNotFound])))),
)]
pub async fn list_deliveries(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let limit = limit(&params)?;
    let place = match params.text("cursor") {
        None => Place::START,
        Some(text) => Place::parse(text).ok_or_else(strange_cursor)?,
    };
    let page = api.engine.deliveries(&app, &webhook, filter(&params, limit)?, place).await?;
    let items = page.items.iter().map(DeliveryShown::of).collect();
    Ok(with_cursor(items, limit, page.next.map(Place::to_text)))
}

/// Shows a delivery with its attempts and its body
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/deliveries/{deliveryId}", tag = "history",
    responses((status = 200, description = "The delivery", body = Data<DeliveryWithAttempts>)),
    extensions(("x-refusals" = json!(refuses(&[Code::DeliveryNotFound])))),
)]
pub async fn get_delivery(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    Ok(data(DeliveryWithAttempts::of(&api.engine.delivery(&app, &webhook, id).await?)))
}

/// Tries a delivery now
///
/// An attempt is made at once where nothing of its lane goes before it, also while the circuit is open: then it is the
/// one probe. Where another stands before it, or the endpoint asked for a pause, it waits on, and `retried` says so. What
/// ended unsent is owed anew, as a new delivery.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks/{webhookId}/deliveries/{deliveryId}/retry", tag = "history",
    responses((status = 200, description = "The delivery, or the new one", body = Data<DeliveryWithAttempts>)),
    extensions(("x-refusals" = json!(refuses(&[
        Code::DeliveryNotFound, Code::DeliveryEnded, Code::WebhookOff, Code::EventsGone,
    ])))),
)]
pub async fn retry_delivery(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    let done = api.engine.retry_delivery(&app, &webhook, id).await?;
    let retried = RetriedShown { kind: done.did.as_str(), text: done.sentence() };
    Ok(data(DeliveryWithAttempts { retried: Some(retried), ..DeliveryWithAttempts::of(&done.detail) }))
}

/// Gives a delivery up
///
/// An attempt under way is made to its end, and nothing follows from it.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks/{webhookId}/deliveries/{deliveryId}/cancel", tag = "history",
    responses((status = 200, description = "The delivery as it ended", body = Data<DeliveryWithAttempts>)),
    extensions(("x-refusals" = json!(refuses(&[Code::DeliveryNotFound, Code::DeliveryEnded])))),
)]
pub async fn cancel_delivery(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    Ok(data(DeliveryWithAttempts::of(&api.engine.cancel_delivery(&app, &webhook, id).await?)))
}

impl DeliveryFrame {
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        let (sequence, test) = match delivery.id {
            DeliveryId::Numbered(sequence) => (Some(sequence), None),
            DeliveryId::Test(_) => (None, Some(true)),
        };
        let waiting = delivery.waiting.as_ref();
        let (held_because, behind) = waiting.and_then(|waiting| waiting.held).map_or((None, None), held);
        Self {
            id: delivery.id.to_string(),
            sequence,
            test,
            event_id: delivery.event.as_ref().map(ToString::to_string),
            trigger: delivery.trigger.map(Trigger::id),
            key: delivery.key.as_ref().map(ToString::to_string),
            status: delivery.status.as_str(),
            last_outcome: delivery.last_outcome.clone(),
            created_at: delivery.created_at.seconds(),
            ended_at: delivery.ended_at.map(Time::seconds),
            next_attempt_at: waiting.and_then(Waiting::next_attempt_at).map(Time::seconds),
            waits_for: waiting.map(WaitsForShown::of),
            replay: delivery.replay.map(|job| job.to_string()),
            held_because,
            behind,
        }
    }
}

/// Why it is held, where the store knows, and behind whom.
fn held(held: Held) -> (Option<&'static str>, Option<String>) {
    match held {
        Held::Off => (Some("webhook_off"), None),
        Held::Aside => (Some("aside"), None),
        Held::Behind(ahead) if ahead.attempts > 0 => (Some("behind"), Some(ahead.sequence.to_string())),
        Held::Behind(_) => (None, None),
    }
}

impl WaitsForShown {
    fn of(waiting: &Waiting) -> Self {
        Self {
            kind: waiting.what().as_str(),
            text: waiting.sentence(),
            until: waiting.until().map(Time::seconds),
            behind: waiting.ahead().map(|ahead| ahead.sequence.to_string()),
        }
    }
}

impl DeliveryShown {
    fn of(delivery: &Delivery) -> Self {
        Self { frame: DeliveryFrame::of(delivery), attempts: delivery.attempts }
    }
}

impl DeliveryWithAttempts {
    fn of(detail: &DeliveryDetail) -> Self {
        Self {
            frame: DeliveryFrame::of(&detail.delivery),
            attempts: detail.attempts.iter().map(AttemptShown::of).collect(),
            body: detail.body.clone(),
            retried: None,
        }
    }
}

impl AttemptShown {
    #[must_use]
    pub fn of(attempt: &Attempt) -> Self {
        Self {
            attempt: attempt.attempt,
            outcome: attempt.outcome.clone(),
            detail: attempt.detail.clone(),
            address: attempt.address.clone(),
            body: attempt.kept.clone(),
            phases: PhasesShown::of(&attempt.phases),
            started_at: attempt.started_at.seconds(),
            started_at_ms: attempt.started_at.ms,
        }
    }
}

impl PhasesShown {
    fn of(phases: &Phases) -> Self {
        Self {
            resolve_us: phases.resolve_us,
            connect_us: phases.connect_us,
            tls_us: phases.tls_us,
            first_byte_us: phases.first_byte_us,
            total_us: phases.total_us,
        }
    }
}

pub fn filter(params: &Params, limit: i64) -> Result<DeliveryFilter, Refusal> {
    let status = params.text("status").map(|text| {
        let complaint = "must be 'waiting', 'delivered', 'failed', 'cancelled' or 'expired'";
        Status::parse(text).ok_or_else(|| Refusal::field(Code::BadRequest, "status", complaint))
    });
    let seconds = |name: &str| -> Result<Option<Time>, Refusal> {
        Ok(params.number(name, 0, SECONDS_MAX)?.map(|seconds| Time::from_ms(seconds * 1_000)))
    };
    Ok(DeliveryFilter {
        status: status.transpose()?,
        trigger: params.text("trigger").map(trigger).transpose()?,
        key: params.text("key").map(Key::trusted),
        since: seconds("since")?,
        until: seconds("until")?,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        look_max: None,
    })
}

/// A trigger by its id.
pub fn trigger(id: &str) -> Result<Trigger, Refusal> {
    let complaint = || format!("names no trigger: '{id}'");
    Trigger::parse(id).ok_or_else(|| Refusal::field(Code::TriggerNotFound, "trigger", &complaint()))
}

pub fn parse_ids(
    (app, webhook, id): &(String, String, String),
) -> Result<(AppId, WebhookId, DeliveryId), Refusal> {
    let (app, webhook) = webhook_ids(app, webhook)?;
    let id = DeliveryId::parse(id).ok_or_else(|| {
        Refusal::new(
            Code::DeliveryNotFound,
            "There is no delivery with this id; ids are whole numbers, or 'test-' and a whole number.",
        )
    })?;
    Ok((app, webhook, id))
}
