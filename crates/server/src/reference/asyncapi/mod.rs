//! `/asyncapi.json`: the socket, the webhooks and the connections of listeners, AsyncAPI 3.0, from the same
//! shapes as the REST API's.

mod listener;
mod socket;
mod webhooks;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::openapi::schemas::settled;
use crate::api::shapes::hooks::Trigger;
use crate::api::shapes::messages::{Message, NewMessage, Receipt};
use crate::api::shapes::people::Group;
use crate::listen::shapes as of_listener;
use crate::socket::shapes;

const ABOUT: &str = "The socket and the webhooks of chathook, and the connection of `chathook listen`. Its REST API \
     is described in `/openapi.json`.";

/// A channel with the messages that go over it, and what is done with them.
struct Channel {
    name: &'static str,
    said: Value,
    messages: Map<String, Value>,
    operations: Map<String, Value>,
    /// Messages that others send: they may hold more than is described.
    heard: Vec<String>,
}

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    let mut told = Vec::new();
    for Channel { name, mut said, messages: own, operations: done, heard } in
        [socket::channel(), webhooks::channel(), listener::channel()]
    {
        said["messages"] = references(own.keys());
        channels.insert(name.to_owned(), said);
        operations.extend(done);
        told.extend(own.iter().filter(|(id, _)| !heard.contains(id)).map(|(_, message)| message.clone()));
        messages.extend(own);
    }
    let schemas = settled(schemas(), &Value::Array(told), &Value::Object(messages.clone()));
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "chathook", "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas, "securitySchemes": security_schemes()},
    })
}

fn security_schemes() -> Value {
    json!({
        "basic": {
            "type": "http", "scheme": "basic",
            "description": "The webhook's `username` and `password`, where `useBasicAuth` is set.",
        },
        "managementKey": {
            "type": "httpApiKey", "in": "header", "name": "key",
            "description": "The management key, together with the header `secret`.",
        },
    })
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
    collect::<Trigger>(&mut all);
    collect::<of_listener::ListenerWelcome>(&mut all);
    collect::<of_listener::ListenerRequest>(&mut all);
    collect::<of_listener::ListenerAnswer>(&mut all);
    collect::<of_listener::ListenerSaid>(&mut all);
    let to_json = |schema| serde_json::to_value(schema).expect("a schema is JSON");
    let mut all: Map<String, Value> = all.into_iter().map(|(name, schema)| (name, to_json(schema))).collect();
    all.insert(socket::NOTHING.to_owned(), json!({"type": "object", "properties": {}}));
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
