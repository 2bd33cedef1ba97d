//! How a webhook stands, in one word that is the same on every page (`docs/delivery-states.md` has the words).

use chathook_domain::meaning::meaning;
use chathook_engine::health::{CircuitState, WebhookHealth};

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
    /// The worst that is true of it.
    #[must_use]
    pub fn of(health: &WebhookHealth) -> Self {
        let WebhookHealth { webhook, standing, circuit, .. } = health;
        if let Some(why) = &webhook.switched_off {
            return Self::SwitchedOff { why: meaning(why).says };
        }
        if !webhook.config.enabled {
            return Self::Disabled;
        }
        let since = standing.as_ref().and_then(|standing| standing.failing_since).map(Moment);
        let is_open = circuit.is_some_and(|circuit| match circuit.state {
            CircuitState::Open | CircuitState::Probing => true,
            CircuitState::Closed => false,
        });
        if is_open || since.is_some() {
            return Self::Failing { since };
        }
        if health.is_silent() {
            return Self::Silent;
        }
        match circuit.and_then(|circuit| circuit.paused_until) {
            Some(until) => Self::Paused { until: Moment(until) },
            None => Self::On,
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
