//! How a webhook stands, in one word that is the same wherever it is told.

use chathook_domain::ids::{AppId, Time};
use chathook_domain::refusal::Refusal;
use chathook_domain::webhook::Webhook;

use crate::engine::Engine;
use crate::health::{CircuitNow, CircuitState, WebhookHealth};

/// The worst that is true of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    On,
    /// Nothing has succeeded since something failed.
    Failing,
    /// The endpoint asked to be left alone for a while.
    Paused,
    CircuitOpen,
    /// By a person.
    Disabled,
    /// By the server.
    SwitchedOff,
}

impl Condition {
    fn of(webhook: &Webhook, circuit: Option<CircuitNow>, failing_since: Option<Time>) -> Self {
        if webhook.switched_off.is_some() {
            return Self::SwitchedOff;
        }
        if !webhook.config.enabled {
            return Self::Disabled;
        }
        match circuit.map(|circuit| circuit.state) {
            Some(CircuitState::Open | CircuitState::Probing) => return Self::CircuitOpen,
            Some(CircuitState::Closed) | None => {}
        }
        if circuit.is_some_and(|circuit| circuit.paused_until.is_some()) {
            return Self::Paused;
        }
        if failing_since.is_some() { Self::Failing } else { Self::On }
    }

    /// For programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Failing => "failing",
            Self::Paused => "paused",
            Self::CircuitOpen => "circuit_open",
            Self::Disabled => "disabled",
            Self::SwitchedOff => "switched_off",
        }
    }

    /// For people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit open",
            Self::SwitchedOff => "switched off",
            Self::On | Self::Failing | Self::Paused | Self::Disabled => self.as_str(),
        }
    }
}

impl WebhookHealth {
    #[must_use]
    pub fn condition(&self) -> Condition {
        let failing_since = self.standing.as_ref().and_then(|standing| standing.failing_since);
        Condition::of(&self.webhook, self.circuit, failing_since)
    }
}

impl Engine {
    /// Of each of these webhooks of one app, in their order.
    pub async fn conditions(&self, app: &AppId, webhooks: &[Webhook]) -> Result<Vec<Condition>, Refusal> {
        let standings = self.standings(app).await?;
        let of = |webhook: &Webhook| {
            let standing = standings.iter().find(|standing| standing.webhook == webhook.id);
            let failing_since = standing.and_then(|standing| standing.failing_since);
            Condition::of(webhook, self.circuit_of(webhook), failing_since)
        };
        Ok(webhooks.iter().map(of).collect())
    }

    pub async fn condition(&self, app: &AppId, webhook: &Webhook) -> Result<Condition, Refusal> {
        let conditions = self.conditions(app, std::slice::from_ref(webhook)).await?;
        Ok(conditions.into_iter().next().expect("one for each webhook"))
    }
}
