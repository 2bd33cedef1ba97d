//! The sample events of tests by hand: the same data each time, its times and ids aside.

use serde_json::{Map, Value, json};

use crate::connection::{ChangeKind, Connection, ConnectionChange, Platform};
use crate::ids::{DeviceId, EventId, Key, MessageId, SessionId, StartId, Time, Uid};
use crate::message::{Accepted, Category, Draft, Receiver};
use crate::receipt::{Receipt, ReceiptKind};
use crate::trigger::Trigger;
use crate::user::{Profile, User};

/// Who writes the sample message, and who receives it: two of a new app's sample users.
const SENDER: (&str, &str) = ("ana", "Ana");
const RECEIVER: (&str, &str) = ("ben", "Ben");
const TEXT: &str = "This is a test event of chathook.";
/// No message has this number.
const MESSAGE: MessageId = MessageId(0);

/// A sample event's `data` and key.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub data: Value,
    pub key: Key,
}

/// What this trigger would tell of at this moment.
#[must_use]
pub fn sample(trigger: Trigger, at: Time) -> Sample {
    let accepted = message(at);
    let conversation = accepted.conversation();
    match trigger {
        Trigger::BeforeMessage => {
            let mut data = accepted.numbered(MESSAGE).to_json();
            data.as_object_mut().expect("a message is an object").shift_remove("id");
            Sample { data, key: conversation }
        }
        Trigger::AfterMessage => Sample { data: accepted.numbered(MESSAGE).to_json(), key: conversation },
        Trigger::MessageDeliveryReceipt => receipt(ReceiptKind::Delivered, at, conversation),
        Trigger::MessageReadReceipt => receipt(ReceiptKind::Read, at, conversation),
        Trigger::UserConnectionStatusChange => connection(at),
    }
}

/// Sets a field of a sample's data, named by a path such as `data.text`; what lacks on the way is made.
///
/// # Errors
/// A sentence: the path leads through something that has no fields.
pub fn set(data: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let mut at = data;
    for name in path.split('.') {
        if name.is_empty() {
            return Err(format!("'{path}' is no path such as data.text"));
        }
        if at.is_null() {
            *at = json!({});
        }
        let found = match at {
            Value::Object(fields) => Some(fields.entry(name).or_insert(Value::Null)),
            Value::Array(items) => name.parse::<usize>().ok().and_then(|nth| items.get_mut(nth)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        at = found.ok_or_else(|| format!("'{path}' leads nowhere: there is no '{name}' in the sample"))?;
    }
    *at = value;
    Ok(())
}

/// The sample message before it has a number, as `before_message` asks about it.
#[must_use]
pub fn message(at: Time) -> Accepted {
    let mut data = Map::new();
    data.insert("text".to_owned(), json!(TEXT));
    Accepted {
        sender: user(SENDER, at),
        draft: Draft {
            receiver: Receiver::User(Uid::trusted(RECEIVER.0)),
            category: Category::Message,
            kind: "text".to_owned(),
            data,
            muid: None,
            tags: Vec::new(),
        },
        receiver_entity: user(RECEIVER, at).to_entity(),
        at,
        // The sample is never stored, so nothing refers to it.
        event_id: EventId::trusted("evt_sample"),
    }
}

fn user((uid, name): (&str, &str), at: Time) -> User {
    let profile = Profile { name: name.to_owned(), ..Profile::default() };
    User { uid: Uid::trusted(uid), profile, created_at: at, ..User::system() }
}

fn receipt(kind: ReceiptKind, at: Time, key: Key) -> Sample {
    let sender = Uid::trusted(SENDER.0);
    let receipt = Receipt {
        kind,
        message_id: MESSAGE,
        message_sender: sender.clone(),
        by: Uid::trusted(RECEIVER.0),
        receiver: Receiver::User(sender),
        at,
    };
    Sample { data: receipt.to_data(), key }
}

fn connection(at: Time) -> Sample {
    let uid = Uid::trusted(SENDER.0);
    let connection = Connection {
        session_id: SessionId::trusted("ses_sample"),
        uid: uid.clone(),
        device_id: DeviceId::trusted("sample-device"),
        platform: Platform::Web,
        connected_at: at,
        start: StartId::trusted("start_sample"),
    };
    let change = ConnectionChange {
        kind: ChangeKind::Connected,
        connections: vec![connection.clone()],
        connection,
        at,
    };
    Sample { data: change.to_data(at), key: Key::trusted(&format!("user/{uid}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_set_where_its_path_leads_and_made_where_it_lacks() {
        let mut data = json!({"data": {"text": "a"}, "connections": [{"platform": "web"}]});
        set(&mut data, "data.text", json!("b")).expect("a path");
        set(&mut data, "connections.0.platform", json!("ios")).expect("a path");
        set(&mut data, "data.metadata.order", json!(7)).expect("a path");
        let metadata = json!({"order": 7});
        let expected =
            json!({"data": {"text": "b", "metadata": metadata}, "connections": [{"platform": "ios"}]});
        assert_eq!(data, expected);
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused() {
        for path in ["", "data..text", "data.text.more", "connections.1.platform", "connections.x"] {
            let mut data = json!({"data": {"text": "a"}, "connections": [{}]});
            assert!(set(&mut data, path, json!(1)).is_err(), "{path}");
        }
    }
}
