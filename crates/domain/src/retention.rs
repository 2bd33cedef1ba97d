//! How long what has happened is kept, and whether the wall clock may be trusted to say so.

use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::ids::Time;
use crate::refusal::{Code, Complaints, Refusal};

const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The longest retention that is not "for ever": a hundred years.
const DAYS_MAX: i64 = 36_500;
/// What waits at a webhook that is off is held this long (design 6).
pub const HELD_DAYS: i64 = 7;
/// A wall clock that moves this much more than the ticks has jumped.
const JUMP_MS: i64 = HOUR_MS;
/// How long nothing is removed after a jump, so that a person may mend the clock.
const PAUSE_MS: i64 = HOUR_MS;

/// Days for which an app's past is kept; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events with their deliveries and attempts.
    pub events: Option<i64>,
    /// Attempts, where they are to go before their events.
    pub attempts: Option<i64>,
    pub messages: Option<i64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { events: Some(7), attempts: Some(7), messages: None }
    }
}

impl Retention {
    #[must_use]
    pub fn to_json(self) -> Value {
        json!({"events": self.events, "attempts": self.attempts, "messages": self.messages})
    }

    /// This retention with what `change` names changed; `null` there is for ever.
    pub fn changed_by(self, change: &Map<String, Value>) -> Result<Self, Refusal> {
        let (mut changed, mut wrong) = (self, Complaints::default());
        for (name, value) in change {
            let days = match name.as_str() {
                "events" => &mut changed.events,
                "attempts" => &mut changed.attempts,
                "messages" => &mut changed.messages,
                _ => {
                    let field = format!("retention.{name}");
                    wrong.of::<()>(Err(Refusal::field(Code::BadRequest, &field, "is not a setting")));
                    continue;
                }
            };
            wrong.set(days, parse_days(name, value));
        }
        wrong.end().map(|()| changed)
    }

    /// The moments before which all is to go.
    #[must_use]
    pub fn cutoffs(self, now: Time) -> Cutoffs {
        let before = |days: Option<i64>| days.map(|days| now.plus_ms(-days * DAY_MS));
        Cutoffs {
            now,
            events: before(self.events),
            attempts: before(self.attempts),
            messages: before(self.messages),
        }
    }
}

fn parse_days(name: &str, value: &Value) -> Result<Option<i64>, Refusal> {
    if value.is_null() {
        return Ok(None);
    }
    let field = format!("retention.{name}");
    let body = json!({ field.clone(): value });
    Fields::of(&body)?.number(&field, 1, DAYS_MAX)
}

/// What was before these moments is to go; `None` keeps for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoffs {
    pub now: Time,
    pub events: Option<Time>,
    pub attempts: Option<Time>,
    pub messages: Option<Time>,
}

impl Cutoffs {
    /// Attempts go before their events do.
    #[must_use]
    pub fn attempts_go_first(&self) -> bool {
        match (self.attempts, self.events) {
            (Some(attempts), Some(events)) => attempts > events,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

/// When a webhook must have gone off for what waits there to expire.
#[must_use]
pub fn held_since(now: Time) -> Time {
    now.plus_ms(-HELD_DAYS * DAY_MS)
}

/// What a row's time says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    Old,
    Young,
    /// Written while the wall clock was ahead of what it is now: says nothing of the rows after it.
    Ahead,
}

impl Age {
    #[must_use]
    pub fn of(at: Time, before: Time, now: Time) -> Self {
        if at.ms < before.ms {
            Self::Old
        } else if at.ms > now.ms.saturating_add(JUMP_MS) {
            Self::Ahead
        } else {
            Self::Young
        }
    }
}

/// Watches the wall clock against the ticks, which never jump. A clock that has jumped far ahead would
/// make everything old at once.
#[derive(Debug, Clone, Copy)]
pub struct WallWatch {
    wall: Time,
    tick: i64,
    resumes_at: Option<i64>,
}

/// What may be removed by its age now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Goes,
    /// The wall clock has just jumped ahead by this much.
    PausesNow {
        jump_ms: i64,
    },
    Pauses,
}

impl WallWatch {
    /// At a start no tick tells how long ago the last one ended: what was written last stands for it.
    #[must_use]
    pub fn since(last_written: Time, tick: i64) -> Self {
        Self { wall: last_written, tick, resumes_at: None }
    }

    pub fn look(&mut self, wall: Time, tick: i64) -> Removal {
        let jump_ms = (wall.ms - self.wall.ms) - (tick - self.tick);
        (self.wall, self.tick) = (wall, tick);
        if jump_ms > JUMP_MS {
            self.resumes_at = Some(tick + PAUSE_MS);
            return Removal::PausesNow { jump_ms };
        }
        match self.resumes_at {
            Some(at) if tick < at => Removal::Pauses,
            Some(_) | None => {
                self.resumes_at = None;
                Removal::Goes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_ms(1_760_000_000_000);

    #[test]
    fn a_wall_that_jumps_ahead_pauses_removal_for_an_hour_of_ticks() {
        let mut watch = WallWatch::since(NOW, 0);
        assert_eq!(watch.look(NOW.plus_ms(90_000), 60_000), Removal::Goes);
        let ahead = NOW.plus_ms(400 * DAY_MS);
        assert!(matches!(watch.look(ahead, 60_000), Removal::PausesNow { .. }));
        assert_eq!(watch.look(ahead.plus_ms(PAUSE_MS - 1), 60_000 + PAUSE_MS - 1), Removal::Pauses);
        assert_eq!(watch.look(ahead.plus_ms(PAUSE_MS), 60_000 + PAUSE_MS), Removal::Goes);
    }

    #[test]
    fn a_wall_that_goes_with_the_ticks_or_back_pauses_nothing() {
        let mut watch = WallWatch::since(NOW, 0);
        assert_eq!(watch.look(NOW.plus_ms(30 * DAY_MS), 30 * DAY_MS), Removal::Goes);
        assert_eq!(watch.look(NOW, 30 * DAY_MS + 1), Removal::Goes);
    }

    #[test]
    fn only_named_days_change_and_null_is_for_ever() {
        let change = json!({"messages": 30, "events": null});
        let changed = Retention::default().changed_by(change.as_object().expect("an object")).expect("fit");
        assert_eq!(changed, Retention { events: None, attempts: Some(7), messages: Some(30) });
        for unfit in [json!({"events": 0}), json!({"events": 1.5}), json!({"event": 1})] {
            assert!(
                Retention::default().changed_by(unfit.as_object().expect("an object")).is_err(),
                "{unfit}"
            );
        }
    }

    #[test]
    fn attempts_are_looked_for_only_where_they_go_first() {
        let cutoffs = |events, attempts| Retention { events, attempts, messages: None }.cutoffs(NOW);
        assert!(cutoffs(Some(7), Some(6)).attempts_go_first() && cutoffs(None, Some(6)).attempts_go_first());
        assert!(
            !cutoffs(Some(7), Some(7)).attempts_go_first() && !cutoffs(Some(7), None).attempts_go_first()
        );
    }
}
