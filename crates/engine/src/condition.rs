//! How a webhook stands, in one word that is the same wherever it is told (`docs/delivery-states.md` has the words).

use chathook_domain::ids::{AppId, Time};
use chathook_domain::refusal::Refusal;
use chathook_domain::webhook::Webhook;

use crate::engine::Engine;
use crate::health::{CircuitState, WebhookHealth};

/// The worst that is true of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    On,
    /// Its endpoint asked to be left alone.
    Paused {
        until: Time,
    },
    /// It gives `before_message` no usable answer.
    Silent,
    /// Nothing has succeeded since something failed; its circuit is open, or on its way.
    Failing,
    /// By a person.
    Disabled,
    /// By the server.
    SwitchedOff,
}

impl Condition {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Paused { .. } => "paused",
            Self::Silent => "silent",
            Self::Failing => "failing",
            Self::Disabled => "disabled",
            Self::SwitchedOff => "switched_off",
        }
    }
}

impl WebhookHealth {
    #[must_use]
    pub fn condition(&self) -> Condition {
        let Self { webhook, standing, circuit, .. } = self;
        if webhook.switched_off.is_some() {
            return Condition::SwitchedOff;
        }
        if !webhook.config.enabled {
            return Condition::Disabled;
        }
        let is_open = circuit.is_some_and(|circuit| match circuit.state {
            CircuitState::Open | CircuitState::Probing => true,
            CircuitState::Closed => false,
        });
        if is_open || standing.as_ref().is_some_and(|standing| standing.failing_since.is_some()) {
            return Condition::Failing;
        }
        if self.is_silent() {
            return Condition::Silent;
        }
        match circuit.and_then(|circuit| circuit.paused_until) {
            Some(until) => Condition::Paused { until },
            None => Condition::On,
        }
    }
}

impl Engine {
    /// Of each of these webhooks of one app, in their order.
    pub async fn conditions(&self, app: &AppId, webhooks: &[Webhook]) -> Result<Vec<Condition>, Refusal> {
        let standings = self.standings(app).await?;
        let mut conditions = Vec::new();
        for webhook in webhooks {
            let standing = standings.iter().find(|standing| standing.webhook == webhook.id);
            let health = self.webhook_health(app, webhook.clone(), standing.cloned()).await?;
            conditions.push(health.condition());
        }
        Ok(conditions)
    }

    pub async fn condition(&self, app: &AppId, webhook: &Webhook) -> Result<Condition, Refusal> {
        let conditions = self.conditions(app, std::slice::from_ref(webhook)).await?;
        Ok(conditions.into_iter().next().expect("one for each webhook"))
    }
}
