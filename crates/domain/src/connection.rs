//! One open, logged-in socket of one user, and what its beginning and end tell (design 2.6).

use serde_json::{Value, json};

use crate::ids::{DeviceId, SessionId, StartId, Time, Uid};
use crate::refusal::{Code, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    Web,
    Ios,
    Android,
}

impl Platform {
    pub fn parse(field: &str, text: &str) -> Result<Self, Refusal> {
        match text {
            "web" => Ok(Self::Web),
            "ios" => Ok(Self::Ios),
            "android" => Ok(Self::Android),
            _ => Err(Refusal::field(Code::BadRequest, field, "must be 'web', 'ios' or 'android'")),
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Ios => "ios",
            Self::Android => "android",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub session_id: SessionId,
    pub uid: Uid,
    pub device_id: DeviceId,
    pub platform: Platform,
    pub connected_at: Time,
    /// The start that holds this connection; when it is over, so is the connection.
    pub start: StartId,
}

impl Connection {
    /// The four snake_case fields of the payload (spec 1.7).
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "connected_at": self.connected_at.ms,
            "cometchat_device_id": self.device_id.as_str(),
            "session_id": self.session_id.as_str(),
            "platform": self.platform.as_str(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Connected,
    Disconnected,
}

/// One connection that opened or ended, and what of the user's others is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionChange {
    pub kind: ChangeKind,
    pub connection: Connection,
    /// The user's connections after the change.
    pub connections: Vec<Connection>,
    pub at: Time,
}

impl ConnectionChange {
    #[must_use]
    pub fn is_online(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Whether the user's aggregate status changed: the first came, or the last went.
    #[must_use]
    pub fn changes_status(&self) -> bool {
        match self.kind {
            ChangeKind::Connected => self.connections.len() == 1,
            ChangeKind::Disconnected => self.connections.is_empty(),
        }
    }

    /// The payload's `data` (spec 1.7). `status_since` is when the aggregate last changed.
    #[must_use]
    pub fn to_data(&self, status_since: Time) -> Value {
        let kind = match self.kind {
            ChangeKind::Connected => "connected",
            ChangeKind::Disconnected => "disconnected",
        };
        json!({
            "user": {
                "uid": self.connection.uid.as_str(),
                "status": if self.is_online() { "online" } else { "offline" },
                "status_updated": self.changes_status(),
                "status_updated_at": status_since.ms,
            },
            "event": {"type": kind, "at": self.at.ms, "event_for": self.connection.to_json()},
            "connections": self.connections.iter().map(Connection::to_json).collect::<Vec<_>>(),
        })
    }
}
