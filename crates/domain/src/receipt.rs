//! Acknowledgements "up to" a message (spec 5.1): a repeated mark changes nothing and tells nobody.

use serde_json::{Value, json};

use crate::ids::{EventId, Key, MessageId, Time, Uid};
use crate::message::Receiver;
use crate::trigger::Trigger;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptKind {
    Delivered,
    Read,
}

impl ReceiptKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }

    #[must_use]
    pub const fn trigger(self) -> Trigger {
        match self {
            Self::Delivered => Trigger::MessageDeliveryReceipt,
            Self::Read => Trigger::MessageReadReceipt,
        }
    }
}

/// How far one user has acknowledged one conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    pub delivered_up_to: i64,
    pub read_up_to: i64,
}

impl Marks {
    /// What is new when `boundary` is acknowledged: reading implies delivery, which is told first.
    #[must_use]
    pub fn news(self, kind: ReceiptKind, boundary: MessageId) -> Vec<ReceiptKind> {
        let is_delivery_new = boundary.0 > self.delivered_up_to;
        let is_read_new = boundary.0 > self.read_up_to;
        match kind {
            ReceiptKind::Delivered if is_delivery_new => vec![ReceiptKind::Delivered],
            ReceiptKind::Delivered => Vec::new(),
            ReceiptKind::Read if is_delivery_new && is_read_new => {
                vec![ReceiptKind::Delivered, ReceiptKind::Read]
            }
            ReceiptKind::Read if is_read_new => vec![ReceiptKind::Read],
            ReceiptKind::Read => Vec::new(),
        }
    }
}

/// One call that acknowledges a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub kind: ReceiptKind,
    pub by: Uid,
    /// The other user, or the group, whose conversation is acknowledged.
    pub receiver: Receiver,
    /// That message and all before it; `None` is the last one.
    pub up_to: Option<MessageId>,
    pub at: Time,
    /// Ids for the two events that this may cause.
    pub event_ids: [EventId; 2],
}

impl Mark {
    #[must_use]
    pub fn conversation(&self) -> Key {
        self.receiver.conversation_of(&self.by)
    }

    /// The ordering key: in a group each acknowledger has a lane of their own.
    #[must_use]
    pub fn key(&self) -> Key {
        match &self.receiver {
            Receiver::User(_) => self.conversation(),
            Receiver::Group(_) => Key::trusted(&format!("{}/{}", self.conversation(), self.by)),
        }
    }
}

/// An acknowledgement that changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub kind: ReceiptKind,
    pub message_id: MessageId,
    /// The author of the boundary message.
    pub message_sender: Uid,
    pub by: Uid,
    pub receiver: Receiver,
    pub at: Time,
}

impl Receipt {
    /// The payload's `data` (spec 1.5, 1.6): the author's uid in 1:1, the guid in a group.
    #[must_use]
    pub fn to_data(&self) -> Value {
        let (time_name, receiver) = match (&self.kind, &self.receiver) {
            (ReceiptKind::Delivered, Receiver::User(_)) => ("deliveredAt", self.message_sender.as_str()),
            (ReceiptKind::Read, Receiver::User(_)) => ("readAt", self.message_sender.as_str()),
            (ReceiptKind::Delivered, Receiver::Group(guid)) => ("deliveredAt", guid.as_str()),
            (ReceiptKind::Read, Receiver::Group(guid)) => ("readAt", guid.as_str()),
        };
        json!({
            "messageId": self.message_id.to_string(),
            "receiptType": self.kind.as_str(),
            time_name: self.at.seconds(),
            "messageSender": self.message_sender.as_str(),
            "receiptSender": self.by.as_str(),
            "receiptReceiver": receiver,
            "receiverType": self.receiver.kind(),
        })
    }
}
