//! The five legacy triggers (spec 1).

/// A kind of thing a webhook can listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trigger {
    BeforeMessage,
    AfterMessage,
    MessageDeliveryReceipt,
    MessageReadReceipt,
    UserConnectionStatusChange,
}

impl Trigger {
    pub const ALL: [Self; 5] = [
        Self::BeforeMessage,
        Self::AfterMessage,
        Self::MessageDeliveryReceipt,
        Self::MessageReadReceipt,
        Self::UserConnectionStatusChange,
    ];

    /// The id that the management API takes and lists; both spellings of the connection trigger are taken.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        match id {
            "after_connection_status_changed" => Some(Self::UserConnectionStatusChange),
            other => Self::ALL.into_iter().find(|t| t.id() == other),
        }
    }

    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::BeforeMessage => "before_message",
            Self::AfterMessage => "after_message",
            Self::MessageDeliveryReceipt => "message_delivery_receipt",
            Self::MessageReadReceipt => "message_read_receipt",
            Self::UserConnectionStatusChange => "user_connection_status_change",
        }
    }

    /// What a payload carries in `trigger`: other than the id for connections (spec 1.7).
    #[must_use]
    pub const fn payload_name(self) -> &'static str {
        match self {
            Self::UserConnectionStatusChange => "after_connection_status_changed",
            other => other.id(),
        }
    }

    /// One sentence for the list of triggers.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::BeforeMessage => {
                "Called while a message is in flight; the answer may stop, change or annotate it."
            }
            Self::AfterMessage => "Called after a message was stored.",
            Self::MessageDeliveryReceipt => {
                "Called when a recipient's client confirms that messages were delivered."
            }
            Self::MessageReadReceipt => "Called when a recipient's client confirms that messages were read.",
            Self::UserConnectionStatusChange => "Called when a user's connection opens or ends.",
        }
    }
}
