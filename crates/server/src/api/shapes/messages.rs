//! Messages, and what is told of them.

use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{OneOfBuilder, Schema};

/// A message, or the action message that tells of an edit, a deletion or a change of members.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Message {
    /// A whole number, growing in its app, as text.
    #[schema(example = "42")]
    pub id: String,
    /// The sender's own name for it.
    pub muid: Option<String>,
    #[schema(example = "ana_user_ben")]
    pub conversation_id: String,
    /// A uid; `app_system` where no user sent it.
    pub sender: String,
    pub receiver_type: ReceiverType,
    /// A uid, or a guid.
    pub receiver: String,
    pub category: Category,
    /// `text`, `image`, `file`, `audio` or `video`; of a custom message its own; of an action `message` or
    /// `groupMember`.
    #[schema(rename = "type")]
    pub kind: String,
    pub data: Content,
    pub tags: Option<Vec<String>>,
    pub sent_at: i64,
    pub updated_at: i64,
    pub edited_at: Option<i64>,
    pub edited_by: Option<String>,
    /// There once it is deleted: its content is gone.
    pub deleted_at: Option<i64>,
    pub deleted_by: Option<String>,
    /// In a conversation of two only.
    pub delivered_at: Option<i64>,
    pub read_at: Option<i64>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ReceiverType {
    User,
    Group,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Category {
    Message,
    Custom,
    Action,
}

/// What a message says, and whom it concerns. Which fields are there goes by category and type.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Content {
    /// The text of a text message. In others whatever its sender put there.
    pub text: Option<Value>,
    /// The file of a media message, where it is one.
    pub url: Option<Value>,
    /// The files of a media message, each with its `url`.
    pub attachments: Option<Value>,
    /// What a custom message carries.
    pub custom_data: Option<Value>,
    /// The sender's, and what webhooks placed in `@injected`.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    pub resource: Option<Value>,
    /// What an action message tells of.
    pub action: Option<Action>,
    pub entities: Option<Entities>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Action {
    Edited,
    Deleted,
    Joined,
    Added,
    Kicked,
    Left,
}

/// Whom a message concerns, as they were when it was sent: a message has `sender` and `receiver`, an
/// action message `by`, `on` and `for`.
#[derive(ToSchema)]
pub struct Entities {
    pub sender: Option<Entity>,
    pub receiver: Option<Entity>,
    /// Who acted.
    pub by: Option<Entity>,
    /// On what: a message, or a member.
    pub on: Option<Entity>,
    /// Where: the group, or the other user.
    pub r#for: Option<Entity>,
}

/// Somebody or something as it was at that time.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Entity {
    #[schema(schema_with = somebody_or_something)]
    pub entity: Value,
    pub entity_type: EntityType,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum EntityType {
    User,
    Group,
    Message,
}

fn somebody_or_something() -> Schema {
    let one_of = OneOfBuilder::new().item(Ref::from_schema_name("User"));
    one_of.item(Ref::from_schema_name("Group")).item(Ref::from_schema_name("Message")).build().into()
}

/// A message to be sent. What `data` holds beside the fields named here is passed over.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "receiver": "ben", "receiverType": "user", "data": {"text": "lunch?"}
}))]
pub struct NewMessage {
    /// A uid, or a guid.
    pub receiver: String,
    pub receiver_type: ReceiverType,
    /// `message` (unless set) or `custom`.
    #[schema(pattern = "^(message|custom)$")]
    pub category: Option<String>,
    /// `text` (unless set), `image`, `file`, `audio` or `video`; a custom message may name its own.
    #[schema(rename = "type", max_length = 100)]
    pub kind: Option<String>,
    pub data: NewContent,
    /// Your own name for it. Sent again within 24 h it is answered with the message that is stored.
    #[schema(max_length = 100)]
    pub muid: Option<String>,
    #[schema(max_items = 25)]
    pub tags: Option<Vec<String>>,
}

/// What a message says: `text` of a text message, `attachments` or `url` of a media message,
/// `customData` of a custom message.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NewContent {
    pub text: Option<String>,
    pub url: Option<String>,
    pub attachments: Option<Vec<Attachment>>,
    #[schema(value_type = Option<Object>)]
    pub custom_data: Option<Map<String, Value>>,
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    pub resource: Option<Value>,
}

/// A file; other fields are kept as they come.
#[derive(ToSchema)]
pub struct Attachment {
    #[schema(pattern = "^https?://")]
    pub url: String,
}

/// Content to set in place of what there was, and new tags where given. One of both must be there.
#[derive(ToSchema)]
#[schema(example = json!({"data": {"text": "dinner?"}}))]
pub struct MessageEdit {
    pub data: Option<NewContent>,
    #[schema(max_items = 25)]
    pub tags: Option<Vec<String>>,
}

/// How far a conversation is acknowledged.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"messageId": "42"}))]
pub struct UpTo {
    /// That message and all before it; all there are where it is left out.
    pub message_id: Option<String>,
}

/// That a conversation was acknowledged up to a message, as webhooks and sockets are told.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Receipt {
    pub message_id: String,
    pub receipt_type: ReceiptType,
    /// Of a receipt `delivered`.
    pub delivered_at: Option<i64>,
    /// Of a receipt `read`.
    pub read_at: Option<i64>,
    /// Who wrote the message.
    pub message_sender: String,
    /// Who acknowledges.
    pub receipt_sender: String,
    /// The writer's uid, or the guid of the group.
    pub receipt_receiver: String,
    pub receiver_type: ReceiverType,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ReceiptType {
    Delivered,
    Read,
}
