//! One event owed to one webhook, what follows from an attempt, and how it ends.

use std::sync::Arc;

use crate::ids::{DeliveryId, EventId, Key, Time};
use crate::outcome::{Failure, Outcome};
use crate::retry;

/// A delivery that waits for its next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    pub id: DeliveryId,
    /// The store's row of the webhook.
    pub webhook_row: i64,
    /// Its number in the webhook's gapless sequence.
    pub sequence: i64,
    pub key: Key,
    pub event_id: EventId,
    /// The event's body, without `webhook`.
    pub body: Arc<str>,
    /// Attempts made so far.
    pub attempts: u32,
    /// Not before this.
    pub due: Time,
}

/// Where a delivery stands, as listings name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Waiting,
    Delivered,
    Failed,
    Cancelled,
    Expired,
}

impl Status {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

/// What follows from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    Delivered,
    WaitUntil(Time),
    /// The schedule has ended.
    Failed,
    /// 410: the endpoint wants no more, so the webhook is switched off; this delivery waits with the rest.
    SwitchOff,
}

/// Decides what follows. `attempts` counts the one just made; `roll` is a fair number from 0 to 1.
#[must_use]
pub fn decide(outcome: &Outcome, attempts: u32, retry_on_failure: bool, now: Time, roll: f64) -> Settlement {
    match outcome {
        _ if outcome.is_success() => Settlement::Delivered,
        Outcome::Answered(answer) if answer.status == 410 => Settlement::SwitchOff,
        Outcome::Answered(_) | Outcome::Failed(_) => match retry::wait_ms(attempts, retry_on_failure, roll) {
            Some(wait_ms) => Settlement::WaitUntil(now.plus_ms(wait_ms)),
            None => Settlement::Failed,
        },
    }
}

/// The name of an outcome in attempts listings: a status, or a failure's name.
#[must_use]
pub fn outcome_name(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(answer) => answer.status.to_string(),
        Outcome::Failed(failure) => failure.name().to_owned(),
    }
}

/// What a failure says beyond its name, for people.
#[must_use]
pub fn failure_detail(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Answered(_) => None,
        Outcome::Failed(failure) => match failure {
            Failure::AddressRefused(text)
            | Failure::NameNotResolved(text)
            | Failure::NotConnected(text)
            | Failure::Tls(text)
            | Failure::Broken(text) => Some(text),
            Failure::SchemeRefused | Failure::ConnectTimeout | Failure::Timeout | Failure::Internal => None,
        },
    }
}
