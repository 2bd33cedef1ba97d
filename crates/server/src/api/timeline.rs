//! Everything that happened to one message, in the order of time, and what each webhook got of it or
//! why it got nothing (design 9).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::ids::Time;
use chathook_domain::message::Message;
use chathook_domain::refusal::Code;
use chathook_engine::ports::history::{Attempt, Delivery, MessageHistory, OwedTo};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Ref;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use super::Api;
use super::calls::EffectShown;
use super::deliveries::{AttemptShown, DeliveryFrame};
use super::extract::{Ids, app_id, message_id};
use super::lists::{Answer, Data, data};
use super::shapes::messages::{Category, ReceiverType};
use super::shapes::{NULL, refuses};

/// Everything that happened to one message.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    message: MessageFrame,
    /// It caused an event, which is no longer kept.
    event_is_gone: bool,
    #[schema(value_type = Vec<EntryShown>)]
    entries: Vec<Value>,
    webhooks: Vec<OwedShown>,
}

/// The message without its content, which the deliveries' bodies show where they are asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageFrame {
    id: String,
    conversation_id: String,
    sender: String,
    #[schema(value_type = ReceiverType)]
    receiver_type: &'static str,
    receiver: String,
    #[schema(value_type = Category)]
    category: &'static str,
    #[serde(rename = "type")]
    kind: String,
    sent_at: i64,
}

/// One thing that happened. Which fields are there goes by `what`.
#[derive(ToSchema)]
#[schema(as = TimelineEntry, rename_all = "camelCase")]
pub struct EntryShown {
    pub what: What,
    /// Of `before_message`, `owed`, `attempt` and `ended`.
    pub webhook: Option<String>,
    /// Of `before_message`.
    pub verdict: Option<String>,
    /// Of `before_message`: why there was no usable answer.
    #[schema(extensions(("x-null" = json!(true))))]
    pub silence: Option<String>,
    /// Of `before_message`: what the answer did to the message.
    #[schema(schema_with = effect_or_null, required = false)]
    pub effect: Option<EffectShown>,
    pub took_us: Option<i64>,
    /// Who did it.
    pub by: Option<String>,
    /// Of `accepted`: where the message came from.
    #[schema(extensions(("x-null" = json!(true))))]
    pub platform: Option<String>,
    /// Of `event`: its id.
    pub event: Option<String>,
    pub trigger: Option<String>,
    pub delivery: Option<String>,
    pub attempt: Option<i64>,
    pub outcome: Option<String>,
    pub detail: Option<String>,
    /// Of `ended`: how.
    pub status: Option<String>,
    pub at: i64,
    pub at_ms: i64,
}

/// A reference has no place for the mark that `null` stays.
fn effect_or_null() -> Schema {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    let mark = ExtensionsBuilder::new().add(NULL, true).build();
    let choice = OneOfBuilder::new().item(null).item(Ref::from_schema_name("Effect"));
    choice.extensions(Some(mark)).build().into()
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum What {
    BeforeMessage,
    Accepted,
    Event,
    Owed,
    Attempt,
    Ended,
    Edited,
    Deleted,
    ReceiptDelivered,
    ReceiptRead,
}

/// What a webhook was owed of the message.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OwedTo)]
pub struct OwedShown {
    webhook: String,
    deliveries: Vec<DeliveryOfMessage>,
    /// Why it was owed nothing: `no_trigger`, `disabled`, `switched_off`, `created_later` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    owed_nothing_because: Option<String>,
}

/// A delivery with its attempts.
#[derive(Serialize, ToSchema)]
pub struct DeliveryOfMessage {
    #[serde(flatten)]
    frame: DeliveryFrame,
    attempts: Vec<AttemptShown>,
}

/// Shows everything that happened to one message
///
/// In the order of time, and what each webhook got of it or why it got nothing.
#[utoipa::path(
    get, path = "/apps/{appId}/messages/{messageId}/timeline", tag = "history",
    responses((status = 200, description = "The timeline", body = Data<Timeline>)),
    extensions(("x-refusals" = json!(refuses(&[Code::MessageNotFound])))),
)]
pub async fn get_timeline(State(api): State<Arc<Api>>, Ids((app, id)): Ids<(String, String)>) -> Answer {
    let app = app_id(&app)?;
    api.engine.app(&app).await?;
    let history = api.engine.message_history(&app, message_id(&id)?).await?;
    Ok(data(timeline(&history)))
}

/// One thing that happened.
type Entry = (Time, Value);

fn timeline(history: &MessageHistory) -> Timeline {
    let message = &history.message;
    let accepted_at = history.accepted_at();
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
    entries.push((accepted_at, accepted));
    if let Some(event) = &history.event {
        let what = json!({"what": "event", "event": event.id.as_str(), "trigger": event.trigger.id()});
        entries.push((event.created_at.max(accepted_at), what));
    }
    for owed in &history.owed {
        for (delivery, attempts) in &owed.deliveries {
            entries.extend(delivery_entries(owed, delivery, attempts, accepted_at));
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
    Timeline {
        message: frame(message),
        event_is_gone: history.event_is_gone,
        entries: entries.into_iter().map(entry_json).collect(),
        webhooks: history.owed.iter().map(owed_shown).collect(),
    }
}

fn frame(message: &Message) -> MessageFrame {
    MessageFrame {
        id: message.id.to_string(),
        conversation_id: message.conversation.to_string(),
        sender: message.sender.to_string(),
        receiver_type: message.receiver.kind(),
        receiver: message.receiver.id().to_owned(),
        category: message.category.as_str(),
        kind: message.kind.clone(),
        sent_at: message.sent_at.seconds(),
    }
}

fn delivery_entries(
    owed: &OwedTo,
    delivery: &Delivery,
    attempts: &[Attempt],
    accepted_at: Time,
) -> Vec<Entry> {
    let named = |what: &str| json!({"what": what, "webhook": owed.webhook.as_str(), "delivery": delivery.id.to_string()});
    let mut entries = vec![(delivery.created_at.max(accepted_at), named("owed"))];
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

fn owed_shown(owed: &OwedTo) -> OwedShown {
    let deliveries = owed.deliveries.iter().map(|(delivery, attempts)| DeliveryOfMessage {
        frame: DeliveryFrame::of(delivery),
        attempts: attempts.iter().map(AttemptShown::of).collect(),
    });
    OwedShown {
        webhook: owed.webhook.to_string(),
        deliveries: deliveries.collect(),
        owed_nothing_because: owed.owed_nothing.clone(),
    }
}
