//! Names of things, each a type of its own, and the wall clock's reading.

use std::fmt;
use std::sync::Arc;

use crate::refusal::{Code, Refusal};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a value that was checked before, as one read from the store.
            #[must_use]
            pub fn trusted(value: &str) -> Self {
                Self(Arc::from(value))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A tenant's id.
    AppId
);
name!(
    /// A user's id: up to 100 of `[a-z0-9_-]`, lower case (spec 3.4).
    Uid
);
name!(
    /// A group's id, shaped as a user's.
    Guid
);
name!(
    /// What a customer calls a webhook: 1 to 50 of `[A-Za-z0-9_-]` (spec 2.3).
    WebhookId
);
name!(
    /// One logged-in socket, from its log-in to its end.
    SessionId
);
name!(
    /// The client's device: up to 100 printable ASCII characters.
    DeviceId
);
name!(
    /// An event's id, which is the `webhook-id` header of its deliveries.
    EventId
);
name!(
    /// One run of one node.
    StartId
);
name!(
    /// Orders events: a conversation, a receipt's acknowledger in one, or a user.
    Key
);

/// The uid that acts where no user does (spec 4.1).
pub const SYSTEM_UID: &str = "app_system";

impl Uid {
    /// Checks and lowers a uid that came from outside.
    pub fn parse(field: &str, value: &str) -> Result<Self, Refusal> {
        slug(field, value, 100).map(Self)
    }

    #[must_use]
    pub fn system() -> Self {
        Self::trusted(SYSTEM_UID)
    }

    #[must_use]
    pub fn is_system(&self) -> bool {
        self.as_str() == SYSTEM_UID
    }
}

impl Guid {
    /// Checks and lowers a guid that came from outside.
    pub fn parse(field: &str, value: &str) -> Result<Self, Refusal> {
        slug(field, value, 100).map(Self)
    }
}

impl WebhookId {
    pub fn parse(field: &str, value: &str) -> Result<Self, Refusal> {
        if is_slug(value, 50) {
            Ok(Self(Arc::from(value)))
        } else {
            Err(Refusal::field(Code::BadRequest, field, "must be 1 to 50 letters, digits, '_' or '-'"))
        }
    }
}

impl DeviceId {
    pub fn parse(field: &str, value: &str) -> Result<Self, Refusal> {
        let is_fit = (1..=100).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
        if is_fit {
            Ok(Self(Arc::from(value)))
        } else {
            Err(Refusal::field(
                Code::BadRequest,
                field,
                "must be 1 to 100 printable ASCII characters without spaces",
            ))
        }
    }
}

/// A message's number in its app, growing; JSON carries it as a string (spec 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub i64);

impl MessageId {
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let is_decimal = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        is_decimal.then(|| value.parse().ok().map(Self)).flatten()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A delivery's row number in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub i64);

/// A reading of the wall clock: milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    pub ms: i64,
}

impl Time {
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self { ms }
    }

    /// Whole seconds, as messages and receipts carry them.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.ms.div_euclid(1000)
    }

    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self { ms: self.ms.saturating_add(ms) }
    }
}

fn is_slug(value: &str, length_max: usize) -> bool {
    (1..=length_max).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn slug(field: &str, value: &str, length_max: usize) -> Result<Arc<str>, Refusal> {
    if is_slug(value, length_max) {
        Ok(Arc::from(value.to_ascii_lowercase()))
    } else {
        Err(Refusal::field(Code::BadRequest, field, "must be 1 to 100 letters, digits, '_' or '-'"))
    }
}
