//! How a webhook stands, in one word that is the same on every page (`docs/delivery-states.md` has the words).

use chathook_domain::meaning::meaning;
use chathook_engine::condition::Condition;
use chathook_engine::health::WebhookHealth;

use super::moment::Moment;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    On,
    /// Its endpoint asked to be left alone.
    Paused {
        until: Moment,
    },
    /// It gives `before_message` no usable answer.
    Silent,
    /// Nothing has succeeded since something failed; its circuit is open, or on its way.
    Failing {
        since: Option<Moment>,
    },
    Disabled,
    SwitchedOff {
        why: String,
    },
}

impl State {
    #[must_use]
    pub fn of(health: &WebhookHealth) -> Self {
        match health.condition() {
            Condition::SwitchedOff => {
                let why = health.webhook.switched_off.as_deref().unwrap_or_default();
                Self::SwitchedOff { why: meaning(why).says }
            }
            Condition::Disabled => Self::Disabled,
            Condition::Failing => {
                let standing = health.standing.as_ref();
                Self::Failing { since: standing.and_then(|standing| standing.failing_since).map(Moment) }
            }
            Condition::Silent => Self::Silent,
            Condition::Paused { until } => Self::Paused { until: Moment(until) },
            Condition::On => Self::On,
        }
    }

    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Paused { .. } => "paused",
            Self::Silent => "silent",
            Self::Failing { .. } => "failing",
            Self::Disabled => "disabled",
            Self::SwitchedOff { .. } => "switched off",
        }
    }

    #[must_use]
    pub const fn tone(&self) -> &'static str {
        match self {
            Self::On => "good",
            Self::Paused { .. } => "warn",
            Self::Silent | Self::Failing { .. } | Self::SwitchedOff { .. } => "bad",
            Self::Disabled => "plain",
        }
    }

    #[must_use]
    pub const fn is_on(&self) -> bool {
        match self {
            Self::On | Self::Paused { .. } | Self::Silent | Self::Failing { .. } => true,
            Self::Disabled | Self::SwitchedOff { .. } => false,
        }
    }
}
