//! The channel of clients: calls with their answers, and notifications.

use serde_json::{Map, Value, json};

use super::{Channel, channel_message, message, object, reference};
use crate::socket::close_codes;
use crate::socket::methods::Method;

const ABOUT: &str = "JSON-RPC 2.0 over WebSocket text frames at `/v3/socket` (or `/v3.0/socket`). The \
     first call, within 10 s, is `login`; then any number of calls, answered by their `id`, side by side. \
     Between the answers come notifications, which have no `id`. `docs/socket.md` tells the rest.";

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
pub const NOTHING: &str = "Nothing";

/// A call's params, its result, and what it does.
struct Described {
    params: &'static str,
    result: &'static str,
    about: &'static str,
}

/// The channel, and what is done over it.
pub fn channel() -> Channel {
    let (mut messages, mut operations) = (Map::new(), Map::new());
    for method in Method::ALL {
        add_call(method, &mut messages, &mut operations);
    }
    messages.insert("error".to_owned(), error_message());
    add_notifications(&mut messages, &mut operations);
    let close_codes: Map<_, _> = close_codes().map(|(code, why)| (code.to_string(), json!(why))).collect();
    let said = json!({
        "address": "/v3/socket", "title": "socket", "description": ABOUT,
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        "x-closeCodes": close_codes,
    });
    let heard = messages.keys().filter(|id| id.ends_with(".call")).cloned().collect();
    Channel { name: "socket", said, messages, operations, heard }
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
