//! One event owed to one webhook, what follows from an attempt, and how it ends.

use std::sync::Arc;

use crate::ids::{EventId, LaneKey, Time};
use crate::outcome::{Failure, Outcome};

/// A delivery that waits for its next attempt. Its name is its number in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The store's row of the webhook.
    pub webhook_row: i64,
    /// The run of numbers that `sequence` belongs to.
    pub stream: i64,
    /// Its number in the webhook's gapless sequence.
    pub sequence: i64,
    pub lane: LaneKey,
    pub event_id: EventId,
    /// The event's body, without `webhook`; all deliveries of the event share it.
    pub body: Arc<str>,
    /// Attempts made so far.
    pub attempts: u32,
    /// Waits of the schedule used so far.
    pub steps: u32,
    /// Not before this; `None` until an attempt has failed.
    pub due: Option<Time>,
    pub first_failed_at: Option<Time>,
    /// It has left its lane and is tried by itself.
    pub is_aside: bool,
    /// The replay job that made it.
    pub replay: Option<i64>,
}

impl Owed {
    /// When what it tells of came in; of a replay that says nothing.
    #[must_use]
    pub fn came_in_at(&self) -> Option<Time> {
        self.event_id.made_at().filter(|_| self.replay.is_none())
    }
}

/// Where a delivery stands, as listings name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Waiting,
    Delivered,
    Failed,
    Cancelled,
    Expired,
}

impl Status {
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Delivered, Self::Failed, Self::Cancelled, Self::Expired];

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

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

/// What follows from an outcome (`line` decides).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    Delivered,
    /// The schedule has ended.
    Failed,
    /// It waits for another attempt.
    Waits {
        due: Time,
        steps: u32,
        first_failed_at: Time,
        is_aside: bool,
    },
}

/// The name of an outcome in attempts listings: a status, or a failure's name.
#[must_use]
pub fn outcome_name(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(answer) => answer.status.to_string(),
        Outcome::Failed(failure) => failure.name().to_owned(),
    }
}

/// What an outcome says beyond its name, for people.
#[must_use]
pub fn outcome_detail(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Answered(answer) => answer.detail(),
        Outcome::Failed(failure) => match failure {
            Failure::AddressRefused(text)
            | Failure::NameNotResolved(text)
            | Failure::NotConnected(text)
            | Failure::Tls(text)
            | Failure::Broken(text) => Some(text.clone()),
            Failure::SchemeRefused => {
                Some("Plain http is not called here: serve the endpoint over https.".to_owned())
            }
            Failure::ConnectTimeout => Some(
                "No TCP connection in time: is the address right, and lets a firewall the packets through?"
                    .to_owned(),
            ),
            Failure::Timeout => {
                Some("The time of the attempt was over before the answer was complete.".to_owned())
            }
            Failure::Internal => Some("The attempt died on our side.".to_owned()),
        },
    }
}
