//! `/asyncapi.json`: the socket and the webhooks, AsyncAPI 3.0, from the same shapes as the REST API's.

use chathook_domain::trigger::Trigger;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::openapi::schemas::settled;
use crate::api::shapes::messages::{Message, NewMessage, Receipt};
use crate::api::shapes::people::Group;
use crate::socket::methods::Method;
use crate::socket::{close_codes, shapes};

const ABOUT: &str = "The socket and the webhooks of chathook. Its REST API is described in `/openapi.json`.";

const ABOUT_SOCKET: &str = "JSON-RPC 2.0 over WebSocket text frames at `/v3/socket` (or `/v3.0/socket`). The \
     first call, within 10 s, is `login`; then any number of calls, answered by their `id`, side by side. \
     Between the answers come notifications, which have no `id`. `docs/socket.md` tells the rest.";

const ABOUT_WEBHOOKS: &str = "What an app's endpoints receive by HTTPS POST. Any 2xx is success. Each request \
     carries the headers of Standard Webhooks and some of ours.";

/// Told to sockets, with what it says: the params are the message, and may carry a cursor.
const NOTIFICATIONS: [(&str, &str, &str); 7] = [
    ("message", "MessageNotice", "A message of a conversation of the user's was stored."),
    ("messageEdited", "MessageNotice", "A message was edited: the action message that tells of it."),
    ("messageDeleted", "MessageNotice", "A message was deleted: the action message that tells of it."),
    (
        "memberChanged",
        "MessageNotice",
        "Somebody joined or left a group: the action message that tells of it.",
    ),
    ("receipt", "ReceiptNotice", "A conversation was acknowledged up to a message."),
    ("presence", "PresenceChange", "A user whose presence the socket follows came or went."),
    ("typing", "TypingNotice", "Somebody is typing, or no longer."),
];

/// An object without fields: what nothing is asked for, or nothing is to be said.
const NOTHING: &str = "Nothing";

/// What an endpoint may answer when it is asked before a message.
const REPLY: &str = "before_message.reply";

const ABOUT_ACTION: &str = "`do_not_propagate` or `replace`. An object without it, or with another, is placed in \
     the message, at `data.metadata[\"@injected\"].webhooks` under the webhook's id; `{}` changes nothing.";

/// A call's params, its result, and what it does.
struct Described {
    params: &'static str,
    result: &'static str,
    about: &'static str,
}

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let mut messages = Map::new();
    let mut operations = Map::new();
    for method in Method::ALL {
        add_call(method, &mut messages, &mut operations);
    }
    messages.insert("error".to_owned(), error_message());
    add_notifications(&mut messages, &mut operations);
    for trigger in Trigger::ALL {
        messages.insert(webhook_id(trigger), webhook_message(trigger));
    }
    messages.insert(REPLY.to_owned(), reply_message());
    operations.insert("askWebhook".to_owned(), ask_operation());
    operations.insert("callWebhook".to_owned(), webhook_operation());
    // What others send may hold more than is described here.
    let is_told = |name: &str| !name.ends_with(".call") && name != REPLY;
    let told: Value =
        messages.iter().filter(|(name, _)| is_told(name)).map(|(_, message)| message.clone()).collect();
    let schemas = settled(schemas(), &told, &Value::Object(messages.clone()));
    let close_codes: Map<_, _> = close_codes().map(|(code, why)| (code.to_string(), json!(why))).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "chathook", "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/v3/socket", "title": "socket", "description": ABOUT_SOCKET,
                "messages": references(messages.keys().filter(|name| !is_of_webhook(name))),
                "x-closeCodes": close_codes,
            },
            "webhook": {
                "address": null, "title": "endpoints", "description": ABOUT_WEBHOOKS,
                "messages": references(messages.keys().filter(|name| is_of_webhook(name))),
            },
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas, "securitySchemes": {"basic": {
            "type": "http", "scheme": "basic",
            "description": "The webhook's `username` and `password`, where `useBasicAuth` is set.",
        }}},
    })
}

const fn described(method: Method) -> Described {
    let (params, result, about) = match method {
        Method::Login => ("LogIn", "LoggedIn", "Logs the socket in. The first call, once."),
        Method::SendMessage => ("NewMessage", "Message", "Sends a message, as `POST /v3/messages` does."),
        Method::EditMessage => {
            ("EditMessage", "Message", "Edits a message; answered with the action message.")
        }
        Method::DeleteMessage => {
            ("OfMessage", "Message", "Deletes a message; answered with the action message.")
        }
        Method::MarkDelivered => ("OfMessage", "MarkedMessage", "Marks as delivered, up to that message."),
        Method::MarkRead => ("OfMessage", "MarkedMessage", "Marks as read, up to that message."),
        Method::FetchMessages => ("FetchMessages", "FetchedMessages", "Fetches a part of a conversation."),
        Method::LeaveGroup => ("LeaveGroup", "Group", "Leaves a group; answered with the group."),
        Method::Typing => ("Typing", NOTHING, "Tells the others of a conversation that one is typing."),
        Method::SubscribePresence => {
            ("SubscribePresence", "PresenceStates", "Follows the presence of users from now on.")
        }
        Method::Ping => (NOTHING, NOTHING, "Does nothing, and is answered."),
        Method::Logout => {
            (NOTHING, NOTHING, "Ends the token and all its sockets, this one after the answer.")
        }
    };
    Described { params, result, about }
}

fn add_call(method: Method, messages: &mut Map<String, Value>, operations: &mut Map<String, Value>) {
    let (name, Described { params, result, about }) = (method.name(), described(method));
    let (call, answer) = (format!("{name}.call"), format!("{name}.answer"));
    let mut payload = object(&[
        ("jsonrpc", json!({"const": "2.0"})),
        ("id", json!({"type": ["string", "number"], "description": "At most 200 bytes."})),
        ("method", json!({"const": name})),
        ("params", reference(params)),
    ]);
    if params == NOTHING {
        payload["required"] = json!(["jsonrpc", "id", "method"]);
    }
    messages.insert(call.clone(), message(&call, name, about, payload));
    let payload = object(&[
        ("jsonrpc", json!({"const": "2.0"})),
        ("id", json!({"type": ["string", "number"]})),
        ("result", reference(result)),
    ]);
    messages.insert(answer.clone(), message(&answer, &answer, "The answer.", payload));
    operations.insert(
        name.to_owned(),
        json!({
            "action": "receive", "summary": about, "channel": {"$ref": "#/channels/socket"},
            "messages": [channel_message("socket", &call)],
            "reply": {
                "channel": {"$ref": "#/channels/socket"},
                "messages": [channel_message("socket", &answer), channel_message("socket", "error")],
            },
        }),
    );
}

fn add_notifications(messages: &mut Map<String, Value>, operations: &mut Map<String, Value>) {
    let mut told = Vec::new();
    for (name, params, about) in NOTIFICATIONS {
        let id = format!("{name}.notification");
        let payload = object(&[
            ("jsonrpc", json!({"const": "2.0"})),
            ("method", json!({"const": name})),
            ("params", reference(params)),
        ]);
        messages.insert(id.clone(), message(&id, &id, about, payload));
        told.push(channel_message("socket", &id));
    }
    operations.insert(
        "notify".to_owned(),
        json!({
            "action": "send", "summary": "Tells a socket what happened.",
            "channel": {"$ref": "#/channels/socket"}, "messages": told,
        }),
    );
}

fn error_message() -> Value {
    let id = "`null` where the frame had none that could be read.";
    let payload = object(&[
        ("jsonrpc", json!({"const": "2.0"})),
        ("id", json!({"type": ["string", "number", "null"], "description": id})),
        ("error", reference("RpcError")),
    ]);
    let about = "The answer to a call that was not done, or to a frame that is no call.";
    message("error", "error", about, payload)
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
    })
}

fn webhook_id(trigger: Trigger) -> String {
    format!("{}.webhook", trigger.id())
}

fn is_of_webhook(message: &str) -> bool {
    message.ends_with(".webhook") || message == REPLY
}

fn message(id: &str, title: &str, about: &str, payload: Value) -> Value {
    json!({"name": id, "title": title, "summary": about, "payload": payload})
}

/// An object with exactly these fields.
fn object(fields: &[(&str, Value)]) -> Value {
    let required: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let properties: Map<_, _> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn channel_message(channel: &str, message: &str) -> Value {
    json!({"$ref": format!("#/channels/{channel}/messages/{message}")})
}

fn references<'a>(names: impl Iterator<Item = &'a String>) -> Value {
    let named = |name: &String| (name.clone(), json!({"$ref": format!("#/components/messages/{name}")}));
    Value::Object(names.map(named).collect())
}

/// The schemas of all that calls, notifications and payloads are made of.
fn schemas() -> Map<String, Value> {
    let mut all = Vec::new();
    collect::<Message>(&mut all);
    collect::<NewMessage>(&mut all);
    collect::<Receipt>(&mut all);
    collect::<Group>(&mut all);
    collect::<shapes::LogIn>(&mut all);
    collect::<shapes::LoggedIn>(&mut all);
    collect::<shapes::EditMessage>(&mut all);
    collect::<shapes::OfMessage>(&mut all);
    collect::<shapes::MarkedMessage>(&mut all);
    collect::<shapes::FetchMessages>(&mut all);
    collect::<shapes::FetchedMessages>(&mut all);
    collect::<shapes::LeaveGroup>(&mut all);
    collect::<shapes::Typing>(&mut all);
    collect::<shapes::SubscribePresence>(&mut all);
    collect::<shapes::PresenceStates>(&mut all);
    collect::<shapes::PresenceChange>(&mut all);
    collect::<shapes::TypingNotice>(&mut all);
    collect::<shapes::RpcError>(&mut all);
    collect::<shapes::ConnectionChange>(&mut all);
    let to_json = |schema| serde_json::to_value(schema).expect("a schema is JSON");
    let mut all: Map<String, Value> = all.into_iter().map(|(name, schema)| (name, to_json(schema))).collect();
    all.insert(NOTHING.to_owned(), json!({"type": "object", "properties": {}}));
    let cursor =
        json!({"type": "string", "description": "Its place in the app's record; the next log-in's `after`."});
    for (name, of) in [("MessageNotice", "Message"), ("ReceiptNotice", "Receipt")] {
        let mut notice = all[of].clone();
        notice["properties"]["cursor"] = cursor.clone();
        notice["required"].as_array_mut().expect("it has fields").push(json!("cursor"));
        all.insert(name.to_owned(), notice);
    }
    let mut in_flight = all["Message"].clone();
    in_flight["description"] = json!("A message that has no number yet.");
    in_flight["properties"].as_object_mut().expect("it has fields").shift_remove("id");
    in_flight["required"].as_array_mut().expect("it has fields").retain(|name| name != "id");
    all.insert("MessageInFlight".to_owned(), in_flight);
    all
}

fn collect<T: ToSchema + PartialSchema>(into: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(into);
    into.push((T::name().into_owned(), T::schema()));
}
