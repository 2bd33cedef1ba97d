//! The payload of `before_message` (spec 1.3): a message that has no number yet. It is written in one
//! go, without a tree of values in between, because a sender waits for it.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::app::App;
use crate::event::{CHAT_API_VERSION, Origin};
use crate::ids::{Key, WebhookId};
use crate::message::Accepted;
use crate::trigger::Trigger;

/// Room for the payload of an everyday message, so that it is written without growing.
const BODY_BYTES: usize = 1_536;

/// The body for one webhook: other payloads' envelope around the message without its `id`.
#[must_use]
pub fn body(accepted: &Accepted, origin: Origin, app: &App, webhook: &WebhookId) -> String {
    let conversation = accepted.conversation();
    let draft = &accepted.draft;
    let at_s = accepted.at.seconds();
    let payload = Payload {
        trigger: Trigger::BeforeMessage.payload_name(),
        data: Message {
            muid: draft.muid.as_deref(),
            conversation_id: conversation.as_str(),
            sender: accepted.sender.uid.as_str(),
            receiver_type: draft.receiver.kind(),
            receiver: draft.receiver.id(),
            category: draft.category.as_str(),
            kind: &draft.kind,
            data: Data { accepted, conversation: &conversation },
            tags: &draft.tags,
            sent_at: at_s,
            updated_at: at_s,
        },
        app_id: app.id.as_str(),
        origin: Platform { platform: origin.platform() },
        chat_api_version: CHAT_API_VERSION,
        region: &app.region,
        webhook: webhook.as_str(),
    };
    let mut bytes = Vec::with_capacity(BODY_BYTES);
    serde_json::to_writer(&mut bytes, &payload).expect("texts, numbers and JSON values can be written");
    String::from_utf8(bytes).expect("JSON is text")
}

#[derive(serde::Serialize)]
struct Payload<'a> {
    trigger: &'a str,
    data: Message<'a>,
    #[serde(rename = "appId")]
    app_id: &'a str,
    origin: Platform<'a>,
    #[serde(rename = "chatAPIVersion")]
    chat_api_version: &'a str,
    region: &'a str,
    webhook: &'a str,
}

#[derive(serde::Serialize)]
struct Platform<'a> {
    platform: &'a str,
}

/// The members of `Message::to_json`, in their order.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    muid: Option<&'a str>,
    conversation_id: &'a str,
    sender: &'a str,
    receiver_type: &'a str,
    receiver: &'a str,
    category: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    data: Data<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    sent_at: i64,
    updated_at: i64,
}

/// The content, with the entities at its end.
struct Data<'a> {
    accepted: &'a Accepted,
    conversation: &'a Key,
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let content = &self.accepted.draft.data;
        let mut map = to.serialize_map(Some(content.len() + 1))?;
        for (name, value) in content {
            map.serialize_entry(name, value)?;
        }
        let sender = self.accepted.sender.to_entity();
        let receiver = Receiver { shown: &self.accepted.receiver_entity, conversation: self.conversation };
        map.serialize_entry("entities", &Entities { sender, receiver })?;
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Entities<'a> {
    sender: Value,
    receiver: Receiver<'a>,
}

/// The receiver as the message shows it, with the conversation's id in its entity.
struct Receiver<'a> {
    shown: &'a Value,
    conversation: &'a Key,
}

impl Serialize for Receiver<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Value::Object(shown) = self.shown else { return self.shown.serialize(to) };
        let mut map = to.serialize_map(Some(shown.len()))?;
        for (name, value) in shown {
            match value {
                Value::Object(entity) if name == "entity" => {
                    map.serialize_entry(name, &InConversation { entity, conversation: self.conversation })?;
                }
                other => map.serialize_entry(name, other)?,
            }
        }
        map.end()
    }
}

struct InConversation<'a> {
    entity: &'a Map<String, Value>,
    conversation: &'a Key,
}

impl Serialize for InConversation<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const ID: &str = "conversationId";
        let mut map = to.serialize_map(None)?;
        for (name, value) in self.entity {
            if name != ID {
                map.serialize_entry(name, value)?;
            }
        }
        map.serialize_entry(ID, self.conversation.as_str())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::app::Settings;
    use crate::event::{body_for, envelope};
    use crate::ids::{AppId, EventId, MessageId, Time, Uid};
    use crate::message::Draft;
    use crate::user::{Profile, User};

    fn app() -> App {
        App {
            id: AppId::trusted("app1"),
            name: "App".to_owned(),
            region: "us".to_owned(),
            settings: Settings::default(),
            created_at: Time::from_ms(0),
        }
    }

    fn user(uid: &str, name: &str) -> User {
        let profile = Profile { name: name.to_owned(), ..Profile::default() };
        User { uid: Uid::trusted(uid), profile, ..User::system() }
    }

    fn accepted(body: &Value, receiver_entity: Value, name: &str) -> Accepted {
        Accepted {
            sender: user("ana", name),
            draft: Draft::parse(body).expect("a fit draft"),
            receiver_entity,
            at: Time::from_ms(1_760_000_000_123),
            event_id: EventId::trusted("evt_1"),
        }
    }

    /// What the stored message will look like, in the envelope of every other payload.
    fn expected(accepted: &Accepted, webhook: &WebhookId) -> String {
        let mut data = accepted.numbered(MessageId(0)).to_json();
        data.as_object_mut().expect("an object").shift_remove("id");
        body_for(&envelope(Trigger::BeforeMessage, &data, Origin::Socket, &app()).to_string(), webhook)
    }

    fn is_as_expected(accepted: &Accepted) {
        let webhook = WebhookId::trusted("gate");
        assert_eq!(body(accepted, Origin::Socket, &app(), &webhook), expected(accepted, &webhook));
    }

    proptest! {
        #[test]
        fn it_is_the_message_that_would_be_stored_without_its_number(
            text in ".{1,80}", name in ".{0,20}", muid in proptest::option::of("[a-z0-9]{1,10}"),
            tags in proptest::collection::vec("[a-z]{1,5}", 0..3), is_group in any::<bool>(),
        ) {
            prop_assume!(!text.trim().is_empty());
            let kind = if is_group { "group" } else { "user" };
            let mut sent = json!({"receiver": "ben", "receiverType": kind, "tags": tags,
                                  "data": {"text": text, "metadata": {"deep": [{"a": null}, 1.5, "\u{1}"]}}});
            if let Some(muid) = muid {
                sent["muid"] = json!(muid);
            }
            is_as_expected(&accepted(&sent, user("ben", &name).to_entity(), &name));
        }
    }

    #[test]
    fn an_edit_s_receiver_has_its_conversation_once() {
        let sent = json!({"receiver": "ben", "receiverType": "user", "data": {"text": "hi"}});
        let mut entity = user("ben", "Ben").to_entity();
        entity["entity"]["conversationId"] = json!("ana_user_ben");
        is_as_expected(&accepted(&sent, entity, "Ana"));
        is_as_expected(&accepted(&sent, Value::Null, "Ana"));
    }
}
