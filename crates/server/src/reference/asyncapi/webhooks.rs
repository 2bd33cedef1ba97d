//! The channel to endpoints: the five webhooks, and the answer that one of them is asked for.

use chathook_domain::trigger::Trigger;
use serde_json::{Map, Value, json};

use super::{Channel, channel_message, message, object, reference};

const ABOUT: &str = "What an app's endpoints receive by HTTPS POST. Any 2xx is success. Each request \
     carries the headers of Standard Webhooks and some of ours.";

/// What an endpoint may answer when it is asked before a message.
const REPLY: &str = "before_message.reply";

const ABOUT_ACTION: &str = "`do_not_propagate` or `replace`. An object without it, or with another, is placed in \
     the message, at `data.metadata[\"@injected\"].webhooks` under the webhook's id; `{}` changes nothing.";

/// The channel, and what is done over it.
pub fn channel() -> Channel {
    let mut messages: Map<_, _> =
        Trigger::ALL.into_iter().map(|trigger| (webhook_id(trigger), webhook_message(trigger))).collect();
    messages.insert(REPLY.to_owned(), reply_message());
    let operations = [("askWebhook", ask_operation()), ("callWebhook", webhook_operation())];
    let said = json!({"address": null, "title": "endpoints", "description": ABOUT});
    Channel {
        name: "webhook",
        said,
        messages,
        operations: operations.map(|(name, operation)| (name.to_owned(), operation)).into_iter().collect(),
        heard: vec![REPLY.to_owned()],
    }
}

fn webhook_message(trigger: Trigger) -> Value {
    let data = match trigger {
        Trigger::BeforeMessage => "MessageInFlight",
        Trigger::AfterMessage => "Message",
        Trigger::MessageDeliveryReceipt | Trigger::MessageReadReceipt => "Receipt",
        Trigger::UserConnectionStatusChange => "ConnectionChange",
    };
    let platform = object(&[("platform", json!({"enum": ["API", "WEBSOCKET"]}))]);
    let payload = object(&[
        ("trigger", json!({"const": trigger.payload_name()})),
        ("data", reference(data)),
        ("appId", json!({"type": "string"})),
        ("origin", platform),
        ("chatAPIVersion", json!({"const": "3.0"})),
        ("region", json!({"type": "string"})),
        ("webhook", json!({"type": "string", "description": "The webhook's id."})),
    ]);
    let mut message = message(&webhook_id(trigger), trigger.id(), trigger.description(), payload);
    message["headers"] = match trigger {
        Trigger::BeforeMessage => headers(&[]),
        Trigger::AfterMessage
        | Trigger::MessageDeliveryReceipt
        | Trigger::MessageReadReceipt
        | Trigger::UserConnectionStatusChange => headers(&DELIVERED),
    };
    message
}

/// What is told of a delivery beside the event.
const DELIVERED: [(&str, &str); 4] = [
    ("chathook-attempt", "Which attempt of the delivery this is, counted from 1."),
    ("chathook-sequence", "The delivery's number in the webhook's own sequence, which has no gaps."),
    ("chathook-settled", "The number up to which all is answered, ended or cancelled."),
    ("chathook-key", "Deliveries of one key come one after the other."),
];

/// The headers of every request, and those that are there by its kind.
fn headers(further: &[(&str, &str)]) -> Value {
    let always = [
        ("content-type", "`application/json`."),
        ("user-agent", "`chathook/` and the version."),
        ("webhook-id", "The event's id: the same for every attempt and every replay."),
        ("webhook-timestamp", "Seconds since 1970, of the attempt."),
        (
            "webhook-signature",
            "`v1,` and the HMAC-SHA256 of id, timestamp and body; several while a secret is rotated.",
        ),
    ];
    let sometimes = [
        ("authorization", "`Basic`, where the webhook has it."),
        ("chathook-replay", "The replay that made the delivery."),
        ("chathook-test", "`true` of a test by hand, which has no number."),
    ];
    let field =
        |(name, about): &(&str, &str)| ((*name).to_owned(), json!({"type": "string", "description": about}));
    let required: Vec<_> = always.iter().chain(further).map(|(name, _)| *name).collect();
    let properties: Map<_, _> = always.iter().chain(further).chain(&sometimes).map(field).collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn ask_operation() -> Value {
    json!({
        "action": "send", "summary": "Asks a webhook about a message in flight, within the app's budget.",
        "channel": {"$ref": "#/channels/webhook"},
        "messages": [channel_message("webhook", &webhook_id(Trigger::BeforeMessage))],
        "reply": {"channel": {"$ref": "#/channels/webhook"}, "messages": [channel_message("webhook", REPLY)]},
        "security": [{"$ref": "#/components/securitySchemes/basic"}],
        "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
    })
}

/// The examples' names are those of verdicts.
fn reply_message() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let content = json!({
        "type": "object", "description": "These take the place of the sender's, checked as a sender's are.",
        "properties": {
            "text": {"type": "string"}, "metadata": {"type": "object"}, "customData": {"type": "object"},
            "attachments": {"type": "array", "items": {"type": "object"}},
        },
    });
    let payload = json!({
        "type": "object",
        "properties": {
            "action": text(ABOUT_ACTION),
            "reason": text("Of `do_not_propagate`: what the sender is told."),
            "data": content,
            "inject": {"type": "object", "description": "Of `replace`: is placed in the message as well."},
        },
    });
    let about = "The endpoint's answer, with any 2xx. Anything else, and no answer in time, is the webhook's \
         `onFailure`.";
    let mut reply = message(REPLY, "answer to before_message", about, payload);
    reply["examples"] = json!([
        {"name": "pass", "payload": {}},
        {"name": "drop", "payload": {"action": "do_not_propagate", "reason": "Be kind."}},
        {"name": "replace", "payload": {
            "action": "replace", "data": {"text": "***"}, "inject": {"score": 0.9},
        }},
        {"name": "inject", "payload": {"score": 0.1}},
    ]);
    reply
}

fn webhook_operation() -> Value {
    let told = Trigger::ALL.into_iter().filter(|trigger| *trigger != Trigger::BeforeMessage);
    let messages: Vec<_> = told.map(|trigger| channel_message("webhook", &webhook_id(trigger))).collect();
    json!({
        "action": "send", "summary": "POSTs an event to the endpoint of a webhook that listens to its trigger.",
        "channel": {"$ref": "#/channels/webhook"}, "messages": messages,
        "security": [{"$ref": "#/components/securitySchemes/basic"}],
        "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
    })
}

fn webhook_id(trigger: Trigger) -> String {
    format!("{}.webhook", trigger.id())
}
