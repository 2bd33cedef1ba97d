//! The channel of listeners: requests down a connection, and their answers up again.

use serde_json::{Map, Value, json};
use utoipa::IntoParams as _;
use utoipa::openapi::path::ParameterIn;

use super::{Channel, channel_message, message, reference};
use crate::listen::{ListenQuery, close_codes};

const ABOUT: &str = "The connection of `chathook listen`, opened with the management headers. First comes \
     `listener.welcome`. Then each request that an endpoint would get comes as a binary message: a line of JSON, which \
     is described as its headers, a newline, then the body, byte by byte. Answers go up in the same form. \
     `docs/listen.md` tells the rest.";

const WELCOME: &str = "listener.welcome";
const REQUEST: &str = "listener.request";
const ANSWER: &str = "listener.answer";
const SAY: &str = "listener.say";

/// The channel, and what is done over it.
pub fn channel() -> Channel {
    let close_codes: Map<_, _> = close_codes().map(|(code, why)| (code.to_string(), json!(why))).collect();
    let said = json!({
        "address": "/apps/{appId}/listen", "title": "listener", "description": ABOUT,
        "parameters": {"appId": {"description": "An app's id."}},
        "bindings": {"ws": {
            "method": "GET", "query": query(), "headers": handshake(), "bindingVersion": "0.1.0",
        }},
        "x-closeCodes": close_codes,
    });
    let told = |id: &str, about: &str, schema: &str| message(id, id, about, reference(schema));
    let messages = [
        (WELCOME, told(WELCOME, "A text message: the server's first words.", "ListenerWelcome")),
        (
            REQUEST,
            binary(
                REQUEST,
                "A request, to be POSTed with these headers and this body.",
                "ListenerRequest",
                "A webhook's payload.",
            ),
        ),
        (
            ANSWER,
            binary(
                ANSWER,
                "What it came to.",
                "ListenerAnswer",
                "The answer's body, at most `answerBytesMax`.",
            ),
        ),
        (SAY, told(SAY, "A text message about the connection itself.", "ListenerSaid")),
    ];
    Channel {
        name: "listener",
        said,
        messages: messages.map(|(id, message)| (id.to_owned(), message)).into_iter().collect(),
        operations: operations(),
        heard: vec![ANSWER.to_owned(), SAY.to_owned()],
    }
}

fn operations() -> Map<String, Value> {
    let operation = |action: &str, summary: &str, message: &str| {
        json!({
            "action": action, "summary": summary, "channel": {"$ref": "#/channels/listener"},
            "messages": [channel_message("listener", message)],
            "security": [{"$ref": "#/components/securitySchemes/managementKey"}],
        })
    };
    let mut asked = operation("send", "Hands a request to the receiver, within the webhook's time.", REQUEST);
    asked["reply"] = json!({
        "channel": {"$ref": "#/channels/listener"}, "messages": [channel_message("listener", ANSWER)],
    });
    let all = [
        ("welcomeListener", operation("send", "Says which webhook the connection is of.", WELCOME)),
        ("askListener", asked),
        ("steerListener", operation("receive", "Ends the connection, or asks for what waits.", SAY)),
    ];
    all.map(|(name, operation)| (name.to_owned(), operation)).into_iter().collect()
}

/// A message whose line of JSON is its headers.
fn binary(id: &str, about: &str, head: &str, body: &str) -> Value {
    let mut message = message(id, id, about, json!({"description": body}));
    message["headers"] = reference(head);
    message["contentType"] = json!("application/octet-stream");
    message
}

/// What may stand in the query, as the upgrade's own description has it.
fn query() -> Value {
    let parameters = ListenQuery::into_params(|| Some(ParameterIn::Query));
    let field = |parameter: Value| {
        let mut schema = parameter["schema"].clone();
        schema["description"] = parameter["description"].clone();
        (parameter["name"].as_str().unwrap_or_default().to_owned(), schema)
    };
    let to_json = |parameter| serde_json::to_value(parameter).expect("a parameter is JSON");
    let properties: Map<_, _> = parameters.into_iter().map(to_json).map(field).collect();
    json!({"type": "object", "properties": properties})
}

fn handshake() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    json!({"type": "object", "required": ["key", "secret"], "properties": {
        "key": text("The management key."),
        "secret": text("The management secret."),
        "webhook-username": text("Basic auth of the requests, with `webhook-password`."),
        "webhook-password": text("With `webhook-username`."),
    }})
}
