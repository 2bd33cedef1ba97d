//! What a delivery that waits waits for, and when it may go: made of what the store knows of it and of how its
//! webhook's line stands, so that the API, the command line and the dashboard say one thing.

use crate::circuit::{Stand, StandState};
use crate::ids::{LaneKey, Now, Time};
use crate::lane::Order;

/// A delivery that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub webhook_row: i64,
    pub lane: LaneKey,
    /// Not before this by its schedule; `None` until an attempt has failed.
    pub due: Option<Time>,
    pub held: Option<Held>,
    /// `None` where its webhook's line is not in memory.
    pub seen: Option<Seen>,
}

/// Why it is not on its way, where the store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Its webhook is disabled or switched off.
    Off,
    /// It has left its lane and is tried by itself.
    Aside,
    /// Another stands before it in its lane.
    Behind(Ahead),
}

/// The first of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    pub sequence: i64,
    /// Attempts that it has failed.
    pub attempts: u32,
}

/// How it and its line stand in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub at: Now,
    pub spot: Spot,
    pub order: Order,
    pub stand: Stand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// An attempt is under way.
    Out,
    /// It goes as soon as another may.
    LinedUp,
    Elsewhere,
}

/// What stands between it and its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// That of an attempt under way.
    Answer,
    /// That it is on again.
    Webhook,
    /// The next probe, where none is under way.
    Circuit { probe_at: Option<Time> },
    /// The end of the pause that the endpoint asked for.
    Pause { until: Time },
    /// The end of one before it.
    Lane,
    /// That of its schedule.
    Time { due: Time },
    /// One among the attempts in flight.
    Place,
}

impl WaitsFor {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Webhook => "webhook",
            Self::Circuit { .. } => "circuit",
            Self::Pause { .. } => "pause",
            Self::Lane => "lane",
            Self::Time { .. } => "time",
            Self::Place => "place",
        }
    }
}

impl Waiting {
    #[must_use]
    pub fn what(&self) -> WaitsFor {
        if self.seen.is_some_and(|seen| seen.spot == Spot::Out) {
            return WaitsFor::Answer;
        }
        if self.held == Some(Held::Off) {
            return WaitsFor::Webhook;
        }
        if let Some(gate) = self.seen.and_then(Seen::gate) {
            return gate;
        }
        if self.ahead().is_some() {
            return WaitsFor::Lane;
        }
        match self.due.filter(|due| self.is_later(*due)) {
            Some(due) => WaitsFor::Time { due },
            None => WaitsFor::Place,
        }
    }

    /// The first of its lane, where that is another and order is kept.
    #[must_use]
    pub fn ahead(&self) -> Option<Ahead> {
        match self.held {
            Some(Held::Behind(ahead)) if self.seen.is_none_or(|seen| seen.order == Order::Kept) => {
                Some(ahead)
            }
            Some(Held::Off | Held::Aside | Held::Behind(_)) | None => None,
        }
    }

    /// When what it waits for has its time, where that is known.
    #[must_use]
    pub fn until(&self) -> Option<Time> {
        match self.what() {
            WaitsFor::Circuit { probe_at } => probe_at,
            WaitsFor::Pause { until } => Some(until),
            WaitsFor::Time { due } => Some(due),
            WaitsFor::Answer | WaitsFor::Webhook | WaitsFor::Lane | WaitsFor::Place => None,
        }
    }

    /// The first moment at which it may go, where that is known.
    #[must_use]
    pub fn next_attempt_at(&self) -> Option<Time> {
        if self.ahead().is_some() {
            return None;
        }
        let until = self.until()?;
        // What has left its lane keeps its own time beside the circuit's, and a pause alone lets nothing go sooner.
        let is_probe = self.seen.is_some_and(|seen| seen.stand.state != StandState::Closed);
        let keeps_its_time = self.held == Some(Held::Aside) || !is_probe;
        Some(self.due.filter(|_| keeps_its_time).map_or(until, |due| due.max(until)))
    }

    /// For people; times are told beside it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let behind = self.ahead().map(|ahead| {
            let sequence = ahead.sequence;
            let failing = if ahead.attempts > 0 { " and keeps failing" } else { "" };
            format!(
                "Delivery {sequence} stands before it in its lane{failing}: what concerns one conversation or user \
                 goes one after the other."
            )
        });
        let first = match self.what() {
            WaitsFor::Answer => "An attempt is under way.",
            WaitsFor::Webhook => "Its webhook is off; it goes out if that is on again within 7 days.",
            WaitsFor::Circuit { probe_at: Some(_) } => {
                "The endpoint keeps failing, so its circuit is open: all that it is owed waits, and one delivery is \
                 tried from time to time."
            }
            WaitsFor::Circuit { probe_at: None } => {
                "The endpoint keeps failing, so its circuit is open: all that it is owed waits for the answer to the \
                 one delivery that is being tried."
            }
            WaitsFor::Pause { .. } => "The endpoint asked to be left alone for a while (Retry-After).",
            WaitsFor::Lane => return behind.unwrap_or_default(),
            WaitsFor::Time { .. } if self.held == Some(Held::Aside) => {
                "It kept failing while others succeeded, so it has left its lane and is tried by itself."
            }
            WaitsFor::Time { .. } => "Its last attempt failed, and it is tried again.",
            WaitsFor::Place => "It goes as soon as its webhook has a place for another attempt.",
        };
        match (self.what(), behind) {
            (WaitsFor::Circuit { .. } | WaitsFor::Pause { .. }, Some(behind)) => format!("{first} {behind}"),
            (_, _) => first.to_owned(),
        }
    }

    fn is_later(&self, due: Time) -> bool {
        self.seen.is_none_or(|seen| seen.spot == Spot::Elsewhere && due > seen.at.wall)
    }
}

impl Seen {
    /// What holds back all of the webhook.
    fn gate(self) -> Option<WaitsFor> {
        let wall_of = |tick: i64| self.at.wall.plus_ms(tick - self.at.tick);
        let pause = self.stand.paused_until.map(|until| WaitsFor::Pause { until: wall_of(until) });
        match self.stand.state {
            StandState::Closed => pause,
            StandState::Open { probe_at }
                if self.stand.paused_until.is_some_and(|until| until > probe_at) =>
            {
                pause
            }
            StandState::Open { probe_at } => {
                Some(WaitsFor::Circuit { probe_at: Some(wall_of(probe_at.max(self.at.tick))) })
            }
            StandState::Probing => Some(WaitsFor::Circuit { probe_at: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Key;

    const NOW: Now = Now { wall: Time::from_ms(1_000_000), tick: 500 };

    fn seen(state: StandState) -> Seen {
        let stand = Stand { state, paused_until: None, failures_in_row: 0, allowed: 64 };
        Seen { at: NOW, spot: Spot::Elsewhere, order: Order::Kept, stand }
    }

    fn waiting(held: Option<Held>, seen: Seen) -> Waiting {
        let lane = LaneKey::live(&Key::trusted("ana_user_ben"));
        Waiting { webhook_row: 1, lane, due: Some(NOW.wall.plus_ms(-7_000)), held, seen: Some(seen) }
    }

    #[test]
    fn with_an_open_circuit_its_next_probe_is_what_counts_and_not_the_schedule() {
        let open = seen(StandState::Open { probe_at: NOW.tick + 20_000 });
        let first = waiting(None, open);
        assert_eq!(first.what().as_str(), "circuit");
        assert_eq!(first.next_attempt_at(), Some(NOW.wall.plus_ms(20_000)));
        let later = Waiting { due: Some(NOW.wall.plus_ms(90_000)), ..waiting(None, open) };
        assert_eq!(
            later.next_attempt_at(),
            Some(NOW.wall.plus_ms(20_000)),
            "it goes as a probe all the same"
        );
        let aside = Waiting { held: Some(Held::Aside), ..later };
        assert_eq!(aside.next_attempt_at(), Some(NOW.wall.plus_ms(90_000)), "it keeps its own time");
        let probing = waiting(None, seen(StandState::Probing));
        assert_eq!((probing.what().as_str(), probing.next_attempt_at()), ("circuit", None));
    }

    #[test]
    fn a_pause_lets_nothing_go_before_its_time_and_the_later_of_pause_and_probe_counts() {
        let paused = |state, ms| {
            let seen = seen(state);
            Seen { stand: Stand { paused_until: Some(NOW.tick + ms), ..seen.stand }, ..seen }
        };
        let later = |seen| Waiting { due: Some(NOW.wall.plus_ms(90_000)), ..waiting(None, seen) };
        let closed = later(paused(StandState::Closed, 5_000));
        assert_eq!(
            (closed.what().as_str(), closed.next_attempt_at()),
            ("pause", Some(NOW.wall.plus_ms(90_000)))
        );
        let long = later(paused(StandState::Closed, 95_000));
        assert_eq!(long.next_attempt_at(), Some(NOW.wall.plus_ms(95_000)));
        let open = StandState::Open { probe_at: NOW.tick + 20_000 };
        let probe = later(paused(open, 5_000));
        assert_eq!(
            (probe.what().as_str(), probe.next_attempt_at()),
            ("circuit", Some(NOW.wall.plus_ms(20_000)))
        );
        let pause = later(paused(open, 30_000));
        assert_eq!(
            (pause.what().as_str(), pause.next_attempt_at()),
            ("pause", Some(NOW.wall.plus_ms(30_000)))
        );
    }

    #[test]
    fn one_behind_another_has_no_time_of_its_own_and_says_behind_whom_it_stands() {
        let behind = Some(Held::Behind(Ahead { sequence: 4, attempts: 2 }));
        let closed = waiting(behind, seen(StandState::Closed));
        assert_eq!((closed.what(), closed.next_attempt_at()), (WaitsFor::Lane, None));
        assert!(closed.sentence().starts_with("Delivery 4 stands before it in its lane and keeps failing"));
        let open = waiting(behind, seen(StandState::Open { probe_at: NOW.tick + 1 }));
        assert_eq!((open.until(), open.next_attempt_at()), (Some(NOW.wall.plus_ms(1)), None));
        assert!(open.sentence().contains("circuit") && open.sentence().contains("Delivery 4"));
        let free = Seen { order: Order::None, ..seen(StandState::Closed) };
        assert_eq!(waiting(behind, free).what(), WaitsFor::Place, "without order nobody stands before it");
    }

    #[test]
    fn a_time_that_has_passed_or_that_nobody_keeps_is_not_told() {
        let closed = seen(StandState::Closed);
        assert_eq!(waiting(None, closed).next_attempt_at(), None);
        let later = Waiting { due: Some(NOW.wall.plus_ms(5)), ..waiting(None, closed) };
        assert_eq!(later.next_attempt_at(), Some(NOW.wall.plus_ms(5)));
        let lined_up = Seen { spot: Spot::LinedUp, ..closed };
        assert_eq!(Waiting { seen: Some(lined_up), ..later.clone() }.what(), WaitsFor::Place);
        let out = Seen { spot: Spot::Out, ..seen(StandState::Probing) };
        assert_eq!(Waiting { seen: Some(out), ..later }.what(), WaitsFor::Answer);
    }
}
