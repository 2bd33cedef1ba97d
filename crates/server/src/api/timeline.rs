//! Everything that happened to one message, in the order of time, and what each webhook got of it or
//! why it got nothing (design 9).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::ids::Time;
use chathook_engine::ports::history::{Attempt, Delivery, MessageHistory, OwedTo};
use serde_json::{Value, json};

use super::Api;
use super::deliveries::{attempt_json, to_json as delivery_json};
use super::extract::{Ids, app_id, message_id};
use super::lists::{Answer, data};

pub async fn get_timeline(State(api): State<Arc<Api>>, Ids((app, id)): Ids<(String, String)>) -> Answer {
    let app = app_id(&app)?;
    api.engine.app(&app).await?;
    let history = api.engine.message_history(&app, message_id(&id)?).await?;
    Ok(data(to_json(&history)))
}

/// One thing that happened.
type Entry = (Time, Value);

fn to_json(history: &MessageHistory) -> Value {
    let message = &history.message;
    let mut entries: Vec<Entry> = Vec::new();
    for call in &history.asked {
        let what = json!({
            "what": "before_message", "webhook": call.webhook.as_str(), "verdict": call.verdict,
            "silence": call.silence, "effect": call.effect, "tookUs": call.took_us,
        });
        entries.push((call.at, what));
    }
    let platform = history.event.as_ref().and_then(|event| event.platform.clone());
    let accepted = json!({"what": "accepted", "by": message.sender.as_str(), "platform": platform});
    entries.push((message.sent_at, accepted));
    if let Some(event) = &history.event {
        let what = json!({"what": "event", "event": event.id.as_str(), "trigger": event.trigger.id()});
        entries.push((event.created_at, what));
    }
    for owed in &history.owed {
        for (delivery, attempts) in &owed.deliveries {
            entries.extend(delivery_entries(owed, delivery, attempts));
        }
    }
    for (what, change) in [("edited", &message.edited), ("deleted", &message.deleted)] {
        if let Some((at, by)) = change {
            entries.push((*at, json!({"what": what, "by": by.as_str()})));
        }
    }
    for mark in &history.marks {
        for (what, at) in [("receipt_delivered", mark.delivered_at), ("receipt_read", mark.read_at)] {
            if let Some(at) = at {
                entries.push((at, json!({"what": what, "by": mark.uid.as_str()})));
            }
        }
    }
    // Stable: what happened in the same millisecond stays in the order of its causes.
    entries.sort_by_key(|(at, _)| *at);
    json!({
        "message": frame(history),
        "eventIsGone": history.event_is_gone,
        "entries": entries.into_iter().map(entry_json).collect::<Vec<_>>(),
        "webhooks": history.owed.iter().map(owed_json).collect::<Vec<_>>(),
    })
}

/// The message without its content, which the deliveries' bodies show where they are asked for.
fn frame(history: &MessageHistory) -> Value {
    let message = &history.message;
    json!({
        "id": message.id.to_string(), "conversationId": message.conversation.as_str(),
        "sender": message.sender.as_str(), "receiverType": message.receiver.kind(),
        "receiver": message.receiver.id(), "category": message.category.as_str(), "type": message.kind,
        "sentAt": message.sent_at.seconds(),
    })
}

fn delivery_entries(owed: &OwedTo, delivery: &Delivery, attempts: &[Attempt]) -> Vec<Entry> {
    let named = |what: &str| json!({"what": what, "webhook": owed.webhook.as_str(), "delivery": delivery.id.to_string()});
    let mut entries = vec![(delivery.created_at, named("owed"))];
    for attempt in attempts {
        let mut entry = named("attempt");
        entry["attempt"] = json!(attempt.attempt);
        entry["outcome"] = json!(attempt.outcome);
        if let Some(detail) = &attempt.detail {
            entry["detail"] = json!(detail);
        }
        entries.push((attempt.started_at, entry));
    }
    if let Some(at) = delivery.ended_at {
        let mut entry = named("ended");
        entry["status"] = json!(delivery.status.as_str());
        entries.push((at, entry));
    }
    entries
}

fn entry_json((at, mut entry): Entry) -> Value {
    entry["at"] = json!(at.seconds());
    entry["atMs"] = json!(at.ms);
    entry
}

fn owed_json(owed: &OwedTo) -> Value {
    let deliveries = owed.deliveries.iter().map(|(delivery, attempts)| {
        let mut object = delivery_json(delivery);
        object["attempts"] = attempts.iter().map(attempt_json).collect();
        object
    });
    let mut object = json!({"webhook": owed.webhook.as_str(), "deliveries": deliveries.collect::<Vec<_>>()});
    if let Some(reason) = &owed.owed_nothing {
        object["owedNothingBecause"] = json!(reason);
    }
    object
}
