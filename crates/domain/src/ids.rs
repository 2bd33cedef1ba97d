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

name!(
    /// A lane's name: the key of its events. Lanes of replays are apart from those of what happens now.
    LaneKey
);

/// No key begins with it, and in the order of names it stands behind all that keys begin with.
const REPLAY: &str = "~";

/// Which of a webhook's lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneKind {
    /// Of what happens now.
    Live,
    /// Of what is owed again.
    Replay,
}

impl LaneKind {
    /// The names of this kind lie between these two.
    #[must_use]
    pub fn bounds(self) -> (LaneKey, LaneKey) {
        let (first, end) = match self {
            Self::Live => ("", REPLAY),
            // The last character that there is.
            Self::Replay => (REPLAY, "\u{10ffff}"),
        };
        (LaneKey::trusted(first), LaneKey::trusted(end))
    }
}

impl LaneKey {
    /// The lane of what happens now.
    #[must_use]
    pub fn live(key: &Key) -> Self {
        Self(Arc::clone(&key.0))
    }

    /// The lane of what is owed again.
    #[must_use]
    pub fn replay(key: &Key) -> Self {
        Self(Arc::from(format!("{REPLAY}{key}")))
    }

    /// The key of the lane's events.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.strip_prefix(REPLAY).unwrap_or(&self.0)
    }

    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.0.starts_with(REPLAY)
    }
}

/// The uid that acts where no user does (spec 4.1).
pub const SYSTEM_UID: &str = "app_system";

impl Uid {
    /// Checks and lowers a uid that came from outside. What would make a conversation's id read in two
    /// ways is refused (`docs/decisions/0002-conversation-ids.md`).
    pub fn parse(field: &str, value: &str) -> Result<Self, Refusal> {
        let uid = slug(field, value, 100)?;
        if uid.contains("_user_") || uid.ends_with("_user") {
            let complaint = "must not contain '_user_' or end with '_user', which divide a conversation's id";
            return Err(Refusal::field(Code::BadRequest, field, complaint));
        }
        if &*uid == "group" || uid.starts_with("group_") {
            let complaint = "must not be 'group' or start with 'group_', as a group's conversation does";
            return Err(Refusal::field(Code::BadRequest, field, complaint));
        }
        Ok(Self(uid))
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
    /// Checks and lowers a guid that came from outside; `_user_` divides the ids of conversations.
    pub fn parse(field: &str, value: &str) -> Result<Self, Refusal> {
        let guid = slug(field, value, 100)?;
        if guid.contains("_user_") {
            return Err(Refusal::field(Code::BadRequest, field, "must not contain '_user_'"));
        }
        Ok(Self(guid))
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

impl EventId {
    /// When the id was made: its first 48 bits, as in a UUID of version 7.
    #[must_use]
    pub fn made_at(&self) -> Option<Time> {
        let digits = self.as_str().strip_prefix("evt_")?.get(..12)?;
        i64::from_str_radix(digits, 16).ok().map(Time::from_ms)
    }
}

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

/// Both clocks at one moment: the wall's, which may jump and only rows hold, and ticks in milliseconds, which never
/// go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: Time,
    pub tick: i64,
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::message::Receiver;

    #[test]
    fn ids_that_would_blur_a_conversation_are_refused_with_the_field() {
        for uid in ["a_user_b", "A_USER_b", "a_user", "group", "group_a", "Group_a"] {
            let refusal = Uid::parse("uid", uid).expect_err(uid);
            assert!(refusal.message.contains("uid"), "{}", refusal.message);
        }
        for uid in ["user", "user_1", "group1", "groups_a", "a_group_b", "superuser"] {
            assert!(Uid::parse("uid", uid).is_ok(), "{uid}");
        }
        assert!(Guid::parse("guid", "a_user_b").is_err());
        for guid in ["group", "group_a", "user_a", "a_user"] {
            assert!(Guid::parse("guid", guid).is_ok(), "{guid}");
        }
    }

    #[test]
    fn a_lane_of_replays_keeps_the_key_of_its_events() {
        let key = Key::trusted("ana_user_ben");
        let (live, replay) = (LaneKey::live(&key), LaneKey::replay(&key));
        assert_ne!(live, replay);
        assert_eq!((live.key(), replay.key()), (key.as_str(), key.as_str()));
        assert!(replay.is_replay() && !live.is_replay());
        assert_eq!(LaneKey::trusted(replay.as_str()), replay);
    }

    /// Every id of up to four of these parts, every pair of users and every group.
    #[test]
    fn no_two_conversations_have_one_id() {
        let mut words = vec![String::new()];
        for _ in 0..4 {
            let longer =
                words.iter().flat_map(|w| ["a", "_", "user", "group"].map(|part| format!("{w}{part}")));
            words = words.iter().cloned().chain(longer).collect();
            words.sort_unstable();
            words.dedup();
        }
        let uids: Vec<Uid> = words.iter().filter_map(|w| Uid::parse("uid", w).ok()).collect();
        let mut seen = HashMap::new();
        for (n, me) in uids.iter().enumerate() {
            for other in &uids[n..] {
                let key = Receiver::User(other.clone()).conversation_of(me);
                let earlier = seen.insert(key, format!("{me} and {other}"));
                assert_eq!(earlier, None, "{me} and {other}");
            }
        }
        for guid in words.iter().filter_map(|w| Guid::parse("guid", w).ok()) {
            let key = Receiver::Group(guid.clone()).conversation_of(&uids[0]);
            assert_eq!(seen.insert(key, guid.to_string()), None, "{guid}");
        }
    }
}
