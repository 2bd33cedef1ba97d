//! Deliveries of a webhook: looked up, tried now, given up (design 9).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::delivery::Status;
use chathook_domain::history::{DeliveryId, Held, Place};
use chathook_domain::ids::{AppId, Key, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::replay::SECONDS_MAX;
use chathook_domain::trigger::Trigger;
use chathook_engine::ports::endpoints::Phases;
use chathook_engine::ports::history::{Attempt, Delivery, DeliveryDetail, DeliveryFilter};
use serde_json::{Value, json};

use super::Api;
use super::extract::{Ids, Params, webhook_ids};
use super::lists::{Answer, data, limit, strange_cursor, with_cursor};

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
    let items = page.items.iter().map(to_json).collect();
    Ok(with_cursor(items, limit, page.next.map(Place::to_text)))
}

pub async fn get_delivery(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    Ok(data(detail_json(&api.engine.delivery(&app, &webhook, id).await?)))
}

pub async fn retry_delivery(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    Ok(data(detail_json(&api.engine.retry_delivery(&app, &webhook, id).await?)))
}

pub async fn cancel_delivery(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    Ok(data(detail_json(&api.engine.cancel_delivery(&app, &webhook, id).await?)))
}

/// A delivery as lists show it.
pub fn to_json(delivery: &Delivery) -> Value {
    let mut object = json!({"id": delivery.id.to_string()});
    match delivery.id {
        DeliveryId::Numbered(sequence) => object["sequence"] = json!(sequence),
        DeliveryId::Test(_) => object["test"] = json!(true),
    }
    object["eventId"] = json!(delivery.event.as_ref().map(|id| id.as_str()));
    object["trigger"] = json!(delivery.trigger.map(Trigger::id));
    if let Some(key) = &delivery.key {
        object["key"] = json!(key.as_str());
    }
    object["status"] = json!(delivery.status.as_str());
    object["attempts"] = json!(delivery.attempts);
    object["lastOutcome"] = json!(delivery.last_outcome);
    object["createdAt"] = json!(delivery.created_at.seconds());
    for (name, at) in [("endedAt", delivery.ended_at), ("nextAttemptAt", delivery.next_attempt_at)] {
        if let Some(at) = at {
            object[name] = json!(at.seconds());
        }
    }
    if let Some(job) = delivery.replay {
        object["replay"] = json!(job.to_string());
    }
    if let Some(held) = delivery.held {
        object["heldBecause"] = json!(held.as_str());
        match held {
            Held::Behind(sequence) => object["behind"] = json!(sequence.to_string()),
            Held::Off | Held::Aside => {}
        }
    }
    object
}

/// One request that was made. A phase that was not reached, or not needed, is left out.
pub fn attempt_json(attempt: &Attempt) -> Value {
    let mut object = json!({"attempt": attempt.attempt, "outcome": attempt.outcome});
    let texts = [("detail", &attempt.detail), ("address", &attempt.address), ("body", &attempt.kept)];
    for (name, text) in texts {
        if let Some(text) = text {
            object[name] = json!(text);
        }
    }
    object["phases"] = phases_json(&attempt.phases);
    object["startedAt"] = json!(attempt.started_at.seconds());
    object["startedAtMs"] = json!(attempt.started_at.ms);
    object
}

fn phases_json(phases: &Phases) -> Value {
    let mut object = json!({});
    let parts = [
        ("resolveUs", phases.resolve_us),
        ("connectUs", phases.connect_us),
        ("tlsUs", phases.tls_us),
        ("firstByteUs", phases.first_byte_us),
        ("totalUs", Some(phases.total_us)),
    ];
    for (name, us) in parts {
        if let Some(us) = us {
            object[name] = json!(us);
        }
    }
    object
}

fn detail_json(detail: &DeliveryDetail) -> Value {
    let mut object = to_json(&detail.delivery);
    object["body"] = json!(detail.body);
    // The number of attempts gives way to the attempts themselves.
    object["attempts"] = detail.attempts.iter().map(attempt_json).collect();
    object
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
