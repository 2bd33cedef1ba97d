//! What a replay owes again, or for the first time.

use serde_json::{Value, json};

use crate::delivery::Status;
use crate::fields::Fields;
use crate::ids::Time;
use crate::refusal::{Code, Refusal};
use crate::trigger::Trigger;

/// The last second that a span may name: the end of the year 9999.
pub const SECONDS_MAX: i64 = 253_402_300_799;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// What happened in a span of time, its first moment included and its last not.
    Span { since: Time, until: Option<Time>, status: Option<Status>, triggers: Vec<Trigger> },
    /// One delivery that ended unsent.
    One { sequence: i64 },
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    Running,
    Done,
    Cancelled,
}

impl JobStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Cancelled].into_iter().find(|status| status.as_str() == text)
    }
}

/// A replay with its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its public id.
    pub row: i64,
    pub wanted: Wanted,
    pub status: JobStatus,
    /// Events of the span looked at, and deliveries made of them.
    pub seen: i64,
    pub made: i64,
    pub created_at: Time,
    pub ended_at: Option<Time>,
}

/// An event of the app's record, as a replay looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub trigger: Trigger,
    pub created_at: Time,
    /// How the last delivery of it to this webhook stands, where there was one.
    pub last: Option<Status>,
}

impl Wanted {
    /// Reads `{since, until?, status?, triggers?}`; times are whole seconds since 1970.
    /// Without `triggers` those that the webhook has now.
    pub fn parse(body: &Value, own: &[Trigger]) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let since = fields.number("since", 0, SECONDS_MAX)?;
        let since = since.ok_or_else(|| Refusal::field(Code::BadRequest, "since", "is required"))?;
        let until = fields.number("until", 0, SECONDS_MAX)?;
        if until.is_some_and(|until| until <= since) {
            return Err(Refusal::field(Code::BadRequest, "until", "must be later than 'since'"));
        }
        let status = fields.text("status", 20)?.map(|text| ended_status(&text)).transpose()?;
        let triggers: Vec<Trigger> = match fields.texts("triggers", 50, 100)? {
            Some(ids) => ids.iter().map(|id| recorded(id)).collect::<Result<_, _>>()?,
            None => own.iter().copied().filter(|trigger| *trigger != Trigger::BeforeMessage).collect(),
        };
        if triggers.is_empty() {
            let complaint = "must name a trigger, since the webhook has none whose events are recorded";
            return Err(Refusal::field(Code::BadRequest, "triggers", complaint));
        }
        let time = |seconds: i64| Time::from_ms(seconds * 1_000);
        Ok(Self::Span { since: time(since), until: until.map(time), status, triggers })
    }

    /// Refuses a span that has not begun: there is nothing in it, and most often a zone was mistaken.
    pub fn check_begun(&self, now: Time) -> Result<(), Refusal> {
        match self {
            Self::Span { since, .. } if *since > now => {
                let complaint = "is in the future, where nothing has happened yet";
                Err(Refusal::field(Code::BadRequest, "since", complaint))
            }
            Self::Span { .. } | Self::One { .. } => Ok(()),
        }
    }

    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Span { since, until, status, triggers } => {
                let ids: Vec<_> = triggers.iter().map(|trigger| trigger.id()).collect();
                let mut object = json!({"since": since.seconds(), "triggers": ids});
                if let Some(until) = until {
                    object["until"] = json!(until.seconds());
                }
                if let Some(status) = status {
                    object["status"] = json!(status.as_str());
                }
                object
            }
            Self::One { sequence } => json!({"delivery": sequence.to_string()}),
        }
    }

    /// Reads what [`Self::to_json`] wrote.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        if let Some(sequence) = value.get("delivery") {
            return Some(Self::One { sequence: sequence.as_str()?.parse().ok()? });
        }
        Self::parse(value, &[]).ok()
    }

    /// Whether a delivery is to be made of this event. One that still waits comes by itself.
    #[must_use]
    pub fn takes(&self, candidate: Candidate) -> bool {
        match self {
            Self::Span { status, triggers, .. } => {
                self.spans(candidate.created_at)
                    && triggers.contains(&candidate.trigger)
                    && candidate.last != Some(Status::Waiting)
                    && status.is_none_or(|status| candidate.last == Some(status))
            }
            Self::One { .. } => false,
        }
    }

    /// Whether the span holds this moment.
    #[must_use]
    pub fn spans(&self, at: Time) -> bool {
        match self {
            Self::Span { since, until, .. } => at >= *since && until.is_none_or(|until| at < until),
            Self::One { .. } => false,
        }
    }
}

fn ended_status(text: &str) -> Result<Status, Refusal> {
    Status::parse(text).filter(|status| *status != Status::Waiting).ok_or_else(|| {
        let complaint = "must be 'delivered', 'failed', 'cancelled' or 'expired'";
        Refusal::field(Code::BadRequest, "status", complaint)
    })
}

/// A trigger whose events are in the record.
fn recorded(id: &str) -> Result<Trigger, Refusal> {
    match Trigger::parse(id) {
        Some(Trigger::BeforeMessage) => {
            let complaint =
                "names 'before_message', which is asked and not recorded, so it cannot be replayed";
            Err(Refusal::field(Code::BadRequest, "triggers", complaint))
        }
        Some(
            trigger @ (Trigger::AfterMessage
            | Trigger::MessageDeliveryReceipt
            | Trigger::MessageReadReceipt
            | Trigger::UserConnectionStatusChange),
        ) => Ok(trigger),
        None => Err(Refusal::field(Code::TriggerNotFound, "triggers", &format!("names no trigger: '{id}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(last: Option<Status>) -> Candidate {
        Candidate { trigger: Trigger::AfterMessage, created_at: Time::from_ms(5_000), last }
    }

    fn wanted(body: Value) -> Wanted {
        Wanted::parse(&body, &[Trigger::BeforeMessage, Trigger::AfterMessage]).expect("it is fit")
    }

    #[test]
    fn without_a_status_all_but_what_still_waits_is_owed_again() {
        let wanted = wanted(json!({"since": 5}));
        assert!(wanted.takes(candidate(None)));
        for status in Status::ALL {
            assert_eq!(wanted.takes(candidate(Some(status))), status != Status::Waiting);
        }
    }

    #[test]
    fn with_a_status_only_what_ended_so_is_owed_again() {
        let wanted = wanted(json!({"since": 0, "status": "failed"}));
        assert!(!wanted.takes(candidate(None)));
        for status in Status::ALL {
            assert_eq!(wanted.takes(candidate(Some(status))), status == Status::Failed);
        }
    }

    #[test]
    fn a_span_holds_its_first_moment_and_not_its_last() {
        let wanted = wanted(json!({"since": 5, "until": 6}));
        for (ms, is_in) in [(4_999, false), (5_000, true), (5_999, true), (6_000, false)] {
            assert_eq!(wanted.spans(Time::from_ms(ms)), is_in, "{ms}");
        }
    }

    #[test]
    fn a_span_that_has_not_begun_is_refused() {
        let wanted = wanted(json!({"since": 5}));
        for (now_ms, is_begun) in [(4_999, false), (5_000, true), (5_001, true)] {
            assert_eq!(wanted.check_begun(Time::from_ms(now_ms)).is_ok(), is_begun, "{now_ms}");
        }
    }

    #[test]
    fn what_is_stored_reads_back() {
        let body = json!({"since": 5, "until": 6, "status": "expired", "triggers": ["message_read_receipt"]});
        for wanted in [wanted(json!({"since": 1})), wanted(body), Wanted::One { sequence: 9 }] {
            assert_eq!(Wanted::from_json(&wanted.to_json()), Some(wanted));
        }
    }
}
