//! How long an endpoint has been failing, and what a person is told of it (design 6).

use crate::circuit::Turn;
use crate::ids::{Now, Time};
use crate::outcome::{Blame, Outcome};
use crate::turn::Turned;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// A webhook that has been failing for so long is switched off.
pub const SWITCH_OFF_AFTER_MS: i64 = 5 * DAY_MS;
/// When a person is warned of that.
pub const WARN_AFTER_MS: i64 = 4 * DAY_MS;
/// A failure that lasts is worth writing down; one that passes at once is not.
const WRITE_AFTER_MS: i64 = 60_000;

/// What is to be written, or told to a person, beside what follows from attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A delivery left its lane while it waited.
    SteppedAside { stream: i64, sequence: i64 },
    /// Since when everything has failed; `None` where something has succeeded again.
    FailingSince(Option<Time>),
    /// The circuit has opened for the first time since something succeeded.
    Failing,
    /// It will be switched off in a day.
    SwitchingOffSoon,
    /// It succeeds again, after a person was told that it failed.
    Recovered,
    /// It has failed for too long and is to be switched off.
    FailedTooLong,
    /// The endpoint answered 410: it is to be switched off.
    Gone,
    /// For the circuit's history.
    Turned(Turned),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Failing {
    since: Option<Since>,
}

#[derive(Debug, Clone)]
struct Since {
    wall: Time,
    tick: i64,
    is_written: bool,
    is_told: bool,
    is_warned: bool,
    is_over: bool,
}

impl Failing {
    /// As the store has it from an earlier start, of which a person was told then.
    pub fn after_start(since: Option<Time>, now: Now) -> Self {
        let since = since.map(|wall| {
            let elapsed_ms = (now.wall.ms - wall.ms).max(0);
            Since {
                wall,
                tick: now.tick - elapsed_ms,
                is_written: true,
                is_told: true,
                is_warned: elapsed_ms >= WARN_AFTER_MS,
                is_over: false,
            }
        });
        Self { since }
    }

    /// A person has changed the endpoint, or switched it on again: what was before counts no more.
    pub fn begin_anew(&mut self, notes: &mut Vec<Note>) {
        if self.since.take().is_some_and(|since| since.is_written) {
            notes.push(Note::FailingSince(None));
        }
    }

    pub fn note(&mut self, outcome: &Outcome, turn: Turn, now: Now, notes: &mut Vec<Note>) {
        match outcome.blame() {
            Blame::Nobody => self.succeed(notes),
            Blame::Endpoint | Blame::Delivery | Blame::Us => self.fail(turn, now, notes),
        }
    }

    /// It has failed for so long that it is to be switched off.
    pub fn is_over(&self) -> bool {
        self.since.as_ref().is_some_and(|since| since.is_over)
    }

    /// The circuit has opened, though not by this outcome alone.
    pub fn note_opened(&mut self, notes: &mut Vec<Note>) {
        if let Some(since) = &mut self.since {
            since.tell(notes);
        }
    }

    fn succeed(&mut self, notes: &mut Vec<Note>) {
        let Some(since) = self.since.take() else { return };
        if since.is_written {
            notes.push(Note::FailingSince(None));
        }
        if since.is_told {
            notes.push(Note::Recovered);
        }
    }

    fn fail(&mut self, turn: Turn, now: Now, notes: &mut Vec<Note>) {
        let since = self.since.get_or_insert(Since {
            wall: now.wall,
            tick: now.tick,
            is_written: false,
            is_told: false,
            is_warned: false,
            is_over: false,
        });
        let elapsed_ms = now.tick - since.tick;
        if turn == Turn::Opened {
            since.tell(notes);
        } else if elapsed_ms >= WRITE_AFTER_MS {
            since.write(notes);
        }
        if elapsed_ms >= WARN_AFTER_MS && !since.is_warned {
            since.is_warned = true;
            notes.push(Note::SwitchingOffSoon);
        }
        if elapsed_ms >= SWITCH_OFF_AFTER_MS && !since.is_over {
            since.is_over = true;
            notes.push(Note::FailedTooLong);
        }
    }
}

impl Since {
    fn write(&mut self, notes: &mut Vec<Note>) {
        if !self.is_written {
            self.is_written = true;
            notes.push(Note::FailingSince(Some(self.wall)));
        }
    }

    fn tell(&mut self, notes: &mut Vec<Note>) {
        self.write(notes);
        if !self.is_told {
            self.is_told = true;
            notes.push(Note::Failing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Answer;

    /// The notes of attempts at these times.
    fn notes_of(failing: &mut Failing, attempts: &[(i64, u16, Turn)]) -> Vec<Note> {
        let mut notes = Vec::new();
        for (tick, status, turn) in attempts {
            let answer = Answer {
                status: *status,
                retry_after_s: None,
                body: Vec::new(),
                is_cut: false,
                location: None,
            };
            let now = Now { wall: Time::from_ms(*tick), tick: *tick };
            failing.note(&Outcome::Answered(answer), *turn, now, &mut notes);
        }
        notes
    }

    #[test]
    fn a_failure_that_passes_at_once_is_not_written_and_one_that_lasts_is() {
        let mut failing = Failing::default();
        assert_eq!(notes_of(&mut failing, &[(0, 500, Turn::None), (59_999, 200, Turn::None)]), []);
        let lasting = [(100_000, 500, Turn::None), (160_000, 500, Turn::None), (170_000, 200, Turn::None)];
        let since = Some(Time::from_ms(100_000));
        assert_eq!(notes_of(&mut failing, &lasting), [Note::FailingSince(since), Note::FailingSince(None)]);
    }

    #[test]
    fn a_person_is_told_when_the_circuit_opens_a_day_before_the_end_and_at_the_end() {
        let mut failing = Failing::default();
        let since = Note::FailingSince(Some(Time::from_ms(0)));
        let opened = notes_of(&mut failing, &[(0, 500, Turn::None), (5, 500, Turn::Opened)]);
        assert_eq!(opened, [since, Note::Failing]);
        assert_eq!(notes_of(&mut failing, &[(WARN_AFTER_MS - 1, 500, Turn::None)]), []);
        let warned = notes_of(&mut failing, &[(WARN_AFTER_MS, 500, Turn::None)]);
        assert_eq!(warned, [Note::SwitchingOffSoon]);
        assert_eq!(notes_of(&mut failing, &[(SWITCH_OFF_AFTER_MS - 1, 422, Turn::None)]), []);
        assert!(!failing.is_over());
        let over = notes_of(&mut failing, &[(SWITCH_OFF_AFTER_MS, 500, Turn::None)]);
        assert_eq!(over, [Note::FailedTooLong]);
        assert!(failing.is_over());
    }

    #[test]
    fn who_was_told_of_a_failure_is_told_of_its_end() {
        let mut failing = Failing::default();
        notes_of(&mut failing, &[(0, 500, Turn::Opened)]);
        let ended = notes_of(&mut failing, &[(1, 200, Turn::Closed)]);
        assert_eq!(ended, [Note::FailingSince(None), Note::Recovered]);
    }

    #[test]
    fn the_days_go_on_over_a_start() {
        let now = Now { wall: Time::from_ms(WARN_AFTER_MS), tick: 7 };
        let mut failing = Failing::after_start(Some(Time::from_ms(0)), now);
        let mut notes = Vec::new();
        let later = Now { wall: Time::from_ms(SWITCH_OFF_AFTER_MS), tick: 7 + DAY_MS };
        failing.note(&Outcome::Failed(crate::outcome::Failure::Timeout), Turn::None, later, &mut notes);
        assert_eq!(notes, [Note::FailedTooLong]);
    }
}
