//! What goes over a socket, as `/asyncapi.json` describes it: params and results of calls, and params of
//! notifications. A real session is held to it by a test.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use crate::api::shapes::Error;
use crate::api::shapes::messages::{Message, NewContent, ReceiverType};
use crate::api::shapes::people::User;

/// Who comes, and from which device. The first call of every socket.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct LogIn {
    pub app_id: String,
    pub auth_token: String,
    /// Names the device over its connections; one is made up where it is left out. A log-in with the same
    /// token and device ends the older connection.
    #[schema(min_length = 1, max_length = 100)]
    pub device_id: Option<String>,
    /// `web` unless given.
    pub platform: Option<Platform>,
    /// The last `cursor` that the client knows: what it missed since follows the answer.
    #[schema(pattern = "^[0-9]+$")]
    pub after: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Platform {
    Web,
    Ios,
    Android,
}

/// That the socket is logged in. With `after`, up to 1,000 missed changes follow as notifications.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct LoggedIn {
    pub user: User,
    pub session_id: String,
    pub device_id: String,
    /// Milliseconds since 1970.
    pub connected_at: i64,
    /// The end of the app's record at that moment.
    pub cursor: String,
    /// More was missed than follows: fetch it.
    pub truncated: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct EditMessage {
    pub message_id: String,
    /// Content to set in place of what there was.
    pub data: Option<NewContent>,
    #[schema(max_items = 25)]
    pub tags: Option<Vec<String>>,
}

/// That message; of a mark, and all before it in its conversation.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct OfMessage {
    pub message_id: String,
}

/// Since when the message counts as delivered or read.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct MarkedMessage {
    pub message_id: String,
    /// Of `markDelivered`, where it is known.
    pub delivered_at: Option<i64>,
    /// Of `markRead`, where it is known.
    pub read_at: Option<i64>,
}

/// A part of a conversation: before or after a message, else the newest.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct FetchMessages {
    pub receiver: String,
    pub receiver_type: ReceiverType,
    pub before: Option<String>,
    pub after: Option<String>,
    /// 30 unless given.
    #[schema(minimum = 1, maximum = 100)]
    pub limit: Option<i64>,
}

/// Messages, oldest first, of about 1 MiB at most.
#[derive(ToSchema)]
pub struct FetchedMessages {
    pub messages: Vec<Message>,
    /// The next call's `before` or `after`, where more may follow.
    pub cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct LeaveGroup {
    pub guid: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Typing {
    pub receiver: String,
    pub receiver_type: ReceiverType,
    /// `true` unless given.
    pub active: Option<bool>,
}

#[derive(ToSchema)]
pub struct SubscribePresence {
    /// One socket follows at most 1,000 users.
    #[schema(max_items = 1000)]
    pub uids: Vec<String>,
}

/// The present state of each user that was named.
#[derive(ToSchema)]
pub struct PresenceStates(pub BTreeMap<String, Presence>);

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Presence {
    Online,
    Offline,
}

/// That a user whose presence the socket follows came or went. Not kept: ask again after a log-in.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct PresenceChange {
    pub uid: String,
    pub status: Presence,
    /// Of who went.
    pub last_active_at: Option<i64>,
}

/// That somebody is typing, or no longer. Never kept.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct TypingNotice {
    pub sender: String,
    pub receiver: String,
    pub receiver_type: ReceiverType,
    pub active: bool,
}

/// JSON-RPC's number for a failure, with the server's own error object.
#[derive(ToSchema)]
pub struct RpcError {
    /// -32700 no JSON, -32600 no call, -32601 no such method, -32602 params that are not fit, -32000
    /// refused.
    pub code: i32,
    pub message: String,
    pub data: Error,
}

/// What webhooks are told when a user's connection opens or ends. Times are milliseconds since 1970.
#[derive(ToSchema)]
pub struct ConnectionChange {
    pub user: ConnectionUser,
    pub event: ConnectionEvent,
    /// The user's connections after the change.
    pub connections: Vec<Connection>,
}

#[derive(ToSchema)]
pub struct ConnectionUser {
    pub uid: String,
    pub status: Presence,
    /// The first connection came, or the last one went.
    pub status_updated: bool,
    pub status_updated_at: i64,
}

#[derive(ToSchema)]
pub struct ConnectionEvent {
    pub r#type: ConnectionEventType,
    pub at: i64,
    /// The connection that opened or ended.
    pub event_for: Connection,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ConnectionEventType {
    Connected,
    Disconnected,
}

#[derive(ToSchema)]
pub struct Connection {
    pub connected_at: i64,
    /// The device's id.
    pub cometchat_device_id: String,
    pub session_id: String,
    pub platform: Platform,
}
