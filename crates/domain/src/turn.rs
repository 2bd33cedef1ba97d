//! The turns that a webhook's circuits take, as their history tells of them.

/// Whose circuit it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    Deliveries,
    BeforeMessage,
}

impl Party {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::BeforeMessage => "before_message",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnKind {
    Opened,
    ProbeFailed,
    Closed,
    /// `Retry-After` was honoured.
    Paused,
    SwitchedOff,
}

impl TurnKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::ProbeFailed => "probe_failed",
            Self::Closed => "closed",
            Self::Paused => "paused",
            Self::SwitchedOff => "switched_off",
        }
    }
}

/// Causes that are no outcome of an attempt.
pub mod cause {
    /// A delivery failed for as long as the webhook's patience, and nothing else succeeded.
    pub const PATIENCE: &str = "patience";
    /// A person changed the endpoint, or switched it on again.
    pub const CHANGED: &str = "changed";
}

/// One turn, and the status, named failure, or other cause that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    pub party: Party,
    pub kind: TurnKind,
    pub cause: String,
}
