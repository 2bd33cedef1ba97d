//! A message on its way: `Draft` (parsed) → `Accepted` (may be stored) → `Message` (stored, numbered).

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::ids::{EventId, Guid, Key, MessageId, Time, Uid};
use crate::refusal::{Code, Refusal};
use crate::user::User;

/// Longest message as JSON, in characters, before hooks (design 8).
pub const MESSAGE_CHARS_MAX: usize = 65_536;
/// Where answers of `before_message` are placed in a message's metadata (spec 1.9).
pub const INJECTED: &str = "@injected";
/// What is kept of a sender's `data`; anything else in it is passed over.
pub const CONTENT_FIELDS: [&str; 6] = ["text", "url", "attachments", "customData", "metadata", "resource"];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Receiver {
    User(Uid),
    Group(Guid),
}

impl Receiver {
    pub fn parse(fields: &Fields<'_>) -> Result<Self, Refusal> {
        let kind = fields.text("receiverType", 20)?.unwrap_or_default();
        let receiver = fields.text("receiver", 100)?.unwrap_or_default();
        if receiver.is_empty() {
            return Err(Refusal::field(Code::EmptyReceiver, "receiver", "is required"));
        }
        match kind.as_str() {
            "user" => Uid::parse("receiver", &receiver).map(Self::User),
            "group" => Guid::parse("receiver", &receiver).map(Self::Group),
            _ => Err(Refusal::field(Code::InvalidReceiverType, "receiverType", "must be 'user' or 'group'")),
        }
    }

    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::User(uid) => uid.as_str(),
            Self::Group(guid) => guid.as_str(),
        }
    }

    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
        }
    }

    /// The conversation of `me` with this receiver (spec 5.6).
    #[must_use]
    pub fn conversation_of(&self, me: &Uid) -> Key {
        match self {
            Self::User(other) if me <= other => Key::trusted(&format!("{me}_user_{other}")),
            Self::User(other) => Key::trusted(&format!("{other}_user_{me}")),
            Self::Group(guid) => Key::trusted(&format!("group_{guid}")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    Message,
    Custom,
    Action,
}

impl Category {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Custom => "custom",
            Self::Action => "action",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "message" => Some(Self::Message),
            "custom" => Some(Self::Custom),
            "action" => Some(Self::Action),
            _ => None,
        }
    }
}

/// What a sender asked to be sent, checked for size and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub receiver: Receiver,
    pub category: Category,
    pub kind: String,
    /// Nothing but `CONTENT_FIELDS`.
    pub data: Map<String, Value>,
    pub muid: Option<String>,
    pub tags: Vec<String>,
}

impl Draft {
    pub fn parse(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        if body.to_string().chars().count() > MESSAGE_CHARS_MAX {
            return Err(too_long());
        }
        for stranger in ["multipleReceivers", "parentId"] {
            if fields.get(stranger).is_some() {
                return Err(Refusal::field(Code::BadRequest, stranger, "is not taken by this server yet"));
            }
        }
        let receiver = Receiver::parse(&fields)?;
        let category = match fields.text("category", 20)?.as_deref() {
            None | Some("message") => Category::Message,
            Some("custom") => Category::Custom,
            Some(_) => {
                let complaint = "must be 'message' or 'custom'";
                return Err(Refusal::field(Code::InvalidMessageCategory, "category", complaint));
            }
        };
        let kind = fields.text("type", 100)?.unwrap_or_else(|| "text".to_owned());
        let content = fields
            .get("data")
            .and_then(Value::as_object)
            .ok_or_else(|| Refusal::field(Code::BadRequest, "data", "must be an object"))?;
        let muid = fields.text("muid", 100)?.filter(|m| !m.is_empty());
        let tags = fields.texts("tags", 25, 100)?.unwrap_or_default();
        let draft = Self { receiver, category, kind, data: taken(content), muid, tags };
        draft.check()?;
        Ok(draft)
    }

    /// The size that a message may have, asked again when a hook has replaced its content.
    pub fn check_size(&self) -> Result<(), Refusal> {
        let chars: usize =
            self.data.iter().map(|(name, value)| name.len() + value.to_string().chars().count()).sum();
        if chars > MESSAGE_CHARS_MAX { Err(too_long()) } else { Ok(()) }
    }

    /// The rules that a sender's content and a hook's replacement both keep.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.data.get("metadata").is_some_and(|m| !m.is_object()) {
            return Err(Refusal::field(Code::InvalidMetadata, "data.metadata", "must be an object"));
        }
        match (self.category, self.kind.as_str()) {
            (Category::Custom, "") => {
                Err(Refusal::field(Code::InvalidMessageType, "type", "is required for a custom message"))
            }
            (Category::Custom, _) => match self.data.get("customData") {
                Some(Value::Object(_)) => Ok(()),
                Some(_) => {
                    Err(Refusal::field(Code::InvalidCustomData, "data.customData", "must be an object"))
                }
                None => Err(Refusal::field(Code::EmptyCustomData, "data.customData", "is required")),
            },
            (_, "text") => check_text(&self.data),
            (_, "image" | "file" | "audio" | "video") => check_media(&self.data),
            (_, _) => Err(Refusal::field(
                Code::InvalidMessageType,
                "type",
                "must be 'text', 'image', 'file', 'audio' or 'video'; a custom message may name its own",
            )),
        }
    }
}

/// A message that may be stored: everything but its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub sender: User,
    pub draft: Draft,
    /// The receiver's entity, as shown in the message.
    pub receiver_entity: Value,
    pub at: Time,
    pub event_id: EventId,
}

impl Accepted {
    #[must_use]
    pub fn conversation(&self) -> Key {
        self.draft.receiver.conversation_of(&self.sender.uid)
    }

    /// The message as `before_message` tells of it: it has no number yet.
    #[must_use]
    pub fn unnumbered(&self) -> Unnumbered {
        Unnumbered(self.numbered(MessageId(0)))
    }

    /// The message with its number.
    #[must_use]
    pub fn numbered(&self, id: MessageId) -> Message {
        self.clone().into_numbered(id)
    }

    #[must_use]
    pub fn into_numbered(self, id: MessageId) -> Message {
        let conversation = self.conversation();
        let mut data = self.draft.data;
        data.insert("entities".to_owned(), entities(&self.sender, self.receiver_entity, &conversation));
        Message {
            id,
            conversation,
            sender: self.sender.uid,
            receiver: self.draft.receiver,
            category: self.draft.category,
            kind: self.draft.kind,
            data,
            muid: self.draft.muid,
            tags: self.draft.tags,
            sent_at: self.at,
            updated_at: self.at,
            edited: None,
            deleted: None,
            delivered_at: None,
            read_at: None,
        }
    }
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub conversation: Key,
    pub sender: Uid,
    pub receiver: Receiver,
    pub category: Category,
    pub kind: String,
    /// The content with its `entities`.
    pub data: Map<String, Value>,
    pub muid: Option<String>,
    pub tags: Vec<String>,
    pub sent_at: Time,
    pub updated_at: Time,
    pub edited: Option<(Time, Uid)>,
    pub deleted: Option<(Time, Uid)>,
    /// In a 1:1 conversation only (spec 5.1).
    pub delivered_at: Option<Time>,
    pub read_at: Option<Time>,
}

impl Message {
    /// The spec's message object (spec 4.3). A deleted message keeps its frame and loses its content.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a message can always be written")
    }
}

/// A message without its `id`.
pub struct Unnumbered(Message);

impl Serialize for Unnumbered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_with_id(None, serializer)
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize_with_id(Some(self.id), serializer)
    }
}

impl Message {
    fn serialize_with_id<S: Serializer>(
        &self,
        id: Option<MessageId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = id {
            map.serialize_entry("id", &format_args!("{id}"))?;
        }
        if let Some(muid) = &self.muid {
            map.serialize_entry("muid", muid)?;
        }
        map.serialize_entry("conversationId", self.conversation.as_str())?;
        map.serialize_entry("sender", self.sender.as_str())?;
        map.serialize_entry("receiverType", self.receiver.kind())?;
        map.serialize_entry("receiver", self.receiver.id())?;
        map.serialize_entry("category", self.category.as_str())?;
        map.serialize_entry("type", &self.kind)?;
        match (&self.deleted, self.data.get("entities")) {
            (None, _) => map.serialize_entry("data", &self.data)?,
            (Some(_), Some(entities)) => map.serialize_entry("data", &json!({"entities": entities}))?,
            (Some(_), None) => map.serialize_entry("data", &json!({}))?,
        }
        if !self.tags.is_empty() {
            map.serialize_entry("tags", &self.tags)?;
        }
        map.serialize_entry("sentAt", &self.sent_at.seconds())?;
        map.serialize_entry("updatedAt", &self.updated_at.seconds())?;
        for (at_name, by_name, change) in
            [("editedAt", "editedBy", &self.edited), ("deletedAt", "deletedBy", &self.deleted)]
        {
            if let Some((at, by)) = change {
                map.serialize_entry(at_name, &at.seconds())?;
                map.serialize_entry(by_name, by.as_str())?;
            }
        }
        for (name, at) in [("deliveredAt", self.delivered_at), ("readAt", self.read_at)] {
            if let Some(at) = at {
                map.serialize_entry(name, &at.seconds())?;
            }
        }
        map.end()
    }
}

/// What an edit or a deletion does to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// Content fields to set, and new tags where given.
    Edit {
        data: Map<String, Value>,
        tags: Option<Vec<String>>,
    },
    Delete,
}

/// An edit or deletion asked for by `by`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    pub by: User,
    pub at: Time,
    pub event_id: EventId,
}

impl ChangeKind {
    /// Reads the body of an edit: `{"data": {...}, "tags"?: [...]}`.
    pub fn parse_edit(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let tags = fields.texts("tags", 25, 100)?;
        let data = match fields.get("data") {
            None if tags.is_some() => Map::new(),
            Some(Value::Object(content)) => taken(content),
            _ => return Err(Refusal::field(Code::BadRequest, "data", "must be an object")),
        };
        if body.to_string().chars().count() > MESSAGE_CHARS_MAX {
            return Err(too_long());
        }
        Ok(Self::Edit { data, tags })
    }
}

impl Change {
    /// The message after the change, and the action message that tells of it, numbered `action_id`.
    pub fn apply(&self, message: &Message, action_id: MessageId) -> Result<(Message, Message), Refusal> {
        if message.category == Category::Action || message.deleted.is_some() {
            let sentence = "An action message or a deleted message cannot be changed.";
            return Err(Refusal::new(Code::MessageActionNotAllowed, sentence));
        }
        if !self.by.uid.is_system() && self.by.uid != message.sender {
            return Err(Refusal::new(Code::MessageNotASender, "Only its sender may change a message."));
        }
        let mut after = message.clone();
        after.updated_at = self.at;
        let action = match &self.kind {
            ChangeKind::Edit { data, tags } => {
                edit(&mut after, data);
                if let Some(tags) = tags {
                    after.tags.clone_from(tags);
                }
                let draft = content_of(&after);
                draft.check()?;
                draft.check_size()?;
                after.edited = Some((self.at, self.by.uid.clone()));
                "edited"
            }
            ChangeKind::Delete => {
                after.deleted = Some((self.at, self.by.uid.clone()));
                "deleted"
            }
        };
        let action = self.action_message(action, &after, action_id);
        Ok((after, action))
    }

    fn action_message(&self, action: &str, after: &Message, id: MessageId) -> Message {
        let receiver =
            after.data.get("entities").and_then(|e| e.get("receiver")).cloned().unwrap_or(Value::Null);
        let data = json!({
            "action": action,
            "entities": {
                "by": self.by.to_entity(),
                "on": {"entity": after.to_json(), "entityType": "message"},
                "for": receiver,
            },
        });
        Message {
            id,
            conversation: after.conversation.clone(),
            sender: self.by.uid.clone(),
            receiver: after.receiver.clone(),
            category: Category::Action,
            kind: "message".to_owned(),
            data: data.as_object().expect("json! made an object").clone(),
            muid: None,
            tags: Vec::new(),
            sent_at: self.at,
            updated_at: self.at,
            edited: None,
            deleted: None,
            delivered_at: None,
            read_at: None,
        }
    }
}

/// The message's content alone, for the rules of content: without what we placed in it ourselves.
fn content_of(message: &Message) -> Draft {
    Draft {
        receiver: message.receiver.clone(),
        category: message.category,
        kind: message.kind.clone(),
        data: taken(&message.data),
        muid: None,
        tags: Vec::new(),
    }
}

fn too_long() -> Refusal {
    Refusal::new(Code::BadRequest, format!("A message has at most {MESSAGE_CHARS_MAX} characters as JSON."))
}

/// The content fields that we keep; `@injected` is ours to place, never a sender's.
fn taken(content: &Map<String, Value>) -> Map<String, Value> {
    let mut data: Map<String, Value> = content
        .iter()
        .filter(|(name, value)| CONTENT_FIELDS.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(Value::Object(metadata)) = data.get_mut("metadata") {
        metadata.shift_remove(INJECTED);
    }
    data
}

/// New content over old. Earlier verdicts are taken away first, since they were on another text; what
/// the new content brings was either stripped when it was parsed or placed by a hook just now.
fn edit(message: &mut Message, data: &Map<String, Value>) {
    if let Some(Value::Object(metadata)) = message.data.get_mut("metadata") {
        metadata.shift_remove(INJECTED);
    }
    for (name, value) in data {
        message.data.insert(name.clone(), value.clone());
    }
}

fn entities(sender: &User, mut receiver: Value, conversation: &Key) -> Value {
    if let Some(entity) = receiver.get_mut("entity").and_then(Value::as_object_mut) {
        entity.insert("conversationId".to_owned(), json!(conversation.as_str()));
    }
    json!({"sender": sender.to_entity(), "receiver": receiver})
}

fn check_text(data: &Map<String, Value>) -> Result<(), Refusal> {
    match data.get("text") {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(()),
        Some(Value::String(_)) | None => {
            Err(Refusal::field(Code::EmptyMessageText, "data.text", "must not be empty"))
        }
        Some(_) => Err(Refusal::field(Code::InvalidMessageText, "data.text", "must be a string")),
    }
}

fn check_media(data: &Map<String, Value>) -> Result<(), Refusal> {
    let is_url =
        |v: &Value| v.as_str().is_some_and(|s| s.starts_with("https://") || s.starts_with("http://"));
    let has_url = data.get("url").is_some_and(is_url);
    let attachments = data.get("attachments");
    let has_attachments = attachments
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty() && list.iter().all(|a| a.get("url").is_some_and(is_url)));
    if has_attachments || (has_url && attachments.is_none()) {
        Ok(())
    } else {
        Err(Refusal::field(
            Code::InvalidMediaMessage,
            "data.attachments",
            "must be a list of objects with a 'url', or 'data.url' must be an http(s) URL",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(data: &Value) -> Message {
        let body = json!({"receiver": "ben", "receiverType": "user", "data": data});
        let draft = Draft::parse(&body).expect("a fit draft");
        let (event_id, at) = (EventId::trusted("e"), Time::from_ms(0));
        let (sender, receiver_entity) = (User::system(), json!({}));
        Accepted { draft, sender, receiver_entity, at, event_id }.numbered(MessageId(1))
    }

    fn edited(message: &Message, data: &Value) -> Result<Message, Refusal> {
        let kind = ChangeKind::parse_edit(&json!({"data": data}))?;
        let (by, at, event_id) = (User::system(), Time::from_ms(1), EventId::trusted("f"));
        Change { kind, by, at, event_id }.apply(message, MessageId(2)).map(|(after, _)| after)
    }

    #[test]
    fn edits_that_are_small_alone_cannot_make_a_message_too_long_together() {
        let half = "x".repeat(40_000);
        let mut message = stored(&json!({"text": half}));
        assert!(edited(&message, &json!({"metadata": {"a": half}})).is_err());
        // What is ours does not count.
        message.data.insert("entities".to_owned(), json!({"sender": "x".repeat(70_000)}));
        message.data.insert("metadata".to_owned(), json!({INJECTED: "x".repeat(70_000)}));
        assert!(edited(&message, &json!({"text": "bye"})).is_ok());
    }

    #[test]
    fn only_content_is_kept_of_what_a_sender_sends() {
        let data = json!({"text": "x", "url": "u", "attachments": [], "customData": {}, "metadata": {"a": 1},
                          "resource": "web", "mentions": {"ben": 1}, "reactions": {}, "entities": 1});
        for message in [stored(&data), edited(&stored(&json!({"text": "y"})), &data).expect("an edit")] {
            let names: Vec<_> = message.data.keys().filter(|name| *name != "entities").collect();
            assert!(names.len() == 6 && names.iter().all(|name| CONTENT_FIELDS.contains(&name.as_str())));
            assert!(message.data["entities"].is_object());
        }
    }
}
