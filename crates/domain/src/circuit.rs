//! One endpoint's circuit (design 6): it opens after failures in a row, lets one probe through at a time, and closes
//! when the endpoint is seen to work (`docs/decisions/0004-an-endpoint-that-answers-works.md`), after which attempts
//! in flight grow from one by doubling. Time is monotonic ticks in milliseconds.

use crate::outcome::{Blame, Outcome};

/// Failures in a row that open the circuit.
pub const FAILURES_MAX: u32 = 10;
/// How long an open circuit waits before its first probe; each failed probe doubles it.
pub const PROBE_WAIT_MS: i64 = 10_000;
/// What the wait between two probes grows to.
pub const PROBE_WAIT_MS_MAX: i64 = 5 * 60_000;
/// How long `Retry-After` may pause a webhook.
pub const PAUSE_MS_MAX: i64 = 60 * 60_000;
/// Attempts in flight of an endpoint whose last one ended without an answer: silence is costly to wait for.
pub const SILENT_IN_FLIGHT_MAX: usize = 2;

#[derive(Debug, Clone)]
pub struct Circuit {
    state: State,
    failures_in_row: u32,
    in_flight_max: usize,
    /// What may be in flight now: grows from one after the circuit has closed.
    allowed: usize,
    /// Nothing goes out before this tick: the endpoint asked for a pause.
    paused_until: i64,
    /// The last attempt ended without an answer.
    is_silent: bool,
    /// When the endpoint was last seen to work: it took a delivery, or refused one for what it is.
    worked_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        probe_at: i64,
        wait_ms: i64,
    },
    /// A probe is out.
    Probing {
        wait_ms: i64,
    },
}

/// How a circuit stands at some moment, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    pub state: StandState,
    /// The endpoint asked for a pause, which ends then.
    pub paused_until: Option<i64>,
    pub failures_in_row: u32,
    /// What may be in flight.
    pub allowed: usize,
}

/// Ticks, as everywhere here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandState {
    Closed,
    /// Nothing goes out until then; then one.
    Open {
        probe_at: i64,
    },
    /// The one is out.
    Probing,
}

/// What an attempt is to the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ordinary,
    /// The one attempt that an open circuit lets through.
    Probe,
}

/// What an outcome did to the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    None,
    Opened,
    Closed,
}

impl Circuit {
    #[must_use]
    pub fn closed(in_flight_max: usize) -> Self {
        Self {
            state: State::Closed,
            failures_in_row: 0,
            in_flight_max,
            allowed: in_flight_max,
            paused_until: i64::MIN,
            is_silent: false,
            worked_at: None,
        }
    }

    /// For an endpoint that was failing before this start: a probe goes first, and at once.
    #[must_use]
    pub fn open_after_start(in_flight_max: usize, now: i64) -> Self {
        let state = State::Open { probe_at: now, wait_ms: PROBE_WAIT_MS };
        Self { state, ..Self::closed(in_flight_max) }
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    #[must_use]
    pub fn stand(&self, now: i64) -> Stand {
        let state = match self.state {
            State::Closed => StandState::Closed,
            State::Open { probe_at, .. } => StandState::Open { probe_at },
            State::Probing { .. } => StandState::Probing,
        };
        let paused_until = (self.paused_until > now).then_some(self.paused_until);
        let (failures_in_row, allowed) = (self.failures_in_row, self.in_flight_allowed());
        Stand { state, paused_until, failures_in_row, allowed }
    }

    /// Whether the endpoint was seen to work since this tick.
    #[must_use]
    pub fn has_worked_since(&self, tick: i64) -> bool {
        self.worked_at.is_some_and(|at| at >= tick)
    }

    /// As what another attempt may go out now, where one may.
    #[must_use]
    pub fn may_go(&self, in_flight: usize, now: i64) -> Option<Role> {
        if self.paused_until > now {
            return None;
        }
        match self.state {
            State::Closed => (in_flight < self.in_flight_allowed()).then_some(Role::Ordinary),
            State::Open { probe_at, .. } => (probe_at <= now).then_some(Role::Probe),
            State::Probing { .. } => None,
        }
    }

    /// How many attempts a closed circuit lets be in flight; one where it is open.
    #[must_use]
    pub fn in_flight_allowed(&self) -> usize {
        match self.state {
            State::Closed if self.is_silent => self.allowed.min(SILENT_IN_FLIGHT_MAX),
            State::Closed => self.allowed,
            State::Open { .. } | State::Probing { .. } => 1,
        }
    }

    /// The tick before which nothing may go, where there is one to wait for.
    #[must_use]
    pub fn next_chance(&self, now: i64) -> Option<i64> {
        let probe_at = match self.state {
            State::Closed | State::Probing { .. } => i64::MIN,
            State::Open { probe_at, .. } => probe_at,
        };
        let chance = probe_at.max(self.paused_until);
        (chance > now).then_some(chance)
    }

    /// A person wants an attempt: the next probe may go now. It is one more than those by the clock, whose waits do
    /// not grow by it.
    pub fn hurry(&mut self, now: i64) {
        if let State::Open { probe_at, wait_ms } = &mut self.state
            && *probe_at > now
        {
            *probe_at = now;
            *wait_ms /= 2;
        }
    }

    /// A probe has gone out.
    pub fn begin_probe(&mut self) {
        if let State::Open { wait_ms, .. } = self.state {
            self.state = State::Probing { wait_ms };
        }
    }

    /// Opens it for another reason than failures in a row; an open one stays as it is.
    pub fn open(&mut self, now: i64) -> Turn {
        match self.state {
            State::Closed => {
                self.state = State::Open { probe_at: now + PROBE_WAIT_MS, wait_ms: PROBE_WAIT_MS };
                Turn::Opened
            }
            State::Open { .. } | State::Probing { .. } => Turn::None,
        }
    }

    /// Takes note of what came of an attempt.
    pub fn note(&mut self, outcome: &Outcome, role: Role, now: i64) -> Turn {
        self.is_silent = outcome.is_silence();
        if let Some(pause_s) = outcome.asked_pause_s() {
            let pause_ms = i64::try_from(pause_s).unwrap_or(i64::MAX).saturating_mul(1_000);
            self.paused_until = self.paused_until.max(now + pause_ms.min(PAUSE_MS_MAX));
        }
        match outcome.blame() {
            Blame::Nobody => {
                self.failures_in_row = 0;
                if self.state == State::Closed {
                    self.allowed = (self.allowed * 2).min(self.in_flight_max);
                }
                self.works(now)
            }
            // It counts neither for nor against the endpoint, but it is an answer.
            Blame::Delivery => self.works(now),
            Blame::Endpoint => {
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                self.fail(role, now)
            }
            Blame::Us => self.fail(role, now),
        }
    }

    fn works(&mut self, now: i64) -> Turn {
        self.worked_at = Some(now);
        match self.state {
            State::Closed => Turn::None,
            State::Open { .. } | State::Probing { .. } => {
                self.state = State::Closed;
                self.failures_in_row = 0;
                self.allowed = 1;
                Turn::Closed
            }
        }
    }

    fn fail(&mut self, role: Role, now: i64) -> Turn {
        match (self.state, role) {
            (State::Closed, _) if self.failures_in_row >= FAILURES_MAX => self.open(now),
            (State::Probing { wait_ms }, Role::Probe) => {
                let wait_ms = (wait_ms * 2).min(PROBE_WAIT_MS_MAX);
                self.state = State::Open { probe_at: now + wait_ms, wait_ms };
                Turn::None
            }
            (State::Closed | State::Open { .. } | State::Probing { .. }, _) => Turn::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Answer, Failure};

    fn answered(status: u16) -> Outcome {
        Outcome::Answered(Answer {
            status,
            retry_after_s: None,
            body: Vec::new(),
            is_cut: false,
            location: None,
        })
    }

    fn opened() -> Circuit {
        let mut circuit = Circuit::closed(64);
        for _ in 0..FAILURES_MAX {
            circuit.note(&answered(500), Role::Ordinary, 0);
        }
        assert!(circuit.is_open());
        circuit
    }

    fn probe(circuit: &mut Circuit, outcome: &Outcome, now: i64) -> Turn {
        assert_eq!(circuit.may_go(0, now), Some(Role::Probe));
        circuit.begin_probe();
        assert_eq!(circuit.may_go(1, now), None, "one probe at a time");
        circuit.note(outcome, Role::Probe, now)
    }

    #[test]
    fn the_tenth_failure_in_a_row_opens_it_and_a_success_starts_the_count_anew() {
        let mut circuit = Circuit::closed(64);
        for _ in 0..9 {
            assert_eq!(circuit.note(&answered(503), Role::Ordinary, 0), Turn::None);
        }
        circuit.note(&answered(200), Role::Ordinary, 0);
        for _ in 0..9 {
            assert_eq!(circuit.note(&answered(503), Role::Ordinary, 0), Turn::None);
        }
        assert_eq!(circuit.note(&answered(503), Role::Ordinary, 0), Turn::Opened);
    }

    #[test]
    fn an_answer_that_speaks_of_the_delivery_never_opens_it() {
        let mut circuit = Circuit::closed(64);
        for _ in 0..100 {
            assert_eq!(circuit.note(&answered(422), Role::Ordinary, 0), Turn::None);
        }
        assert!(!circuit.is_open());
    }

    #[test]
    fn probes_wait_10_seconds_and_then_twice_as_long_up_to_5_minutes() {
        let mut circuit = opened();
        assert_eq!(circuit.may_go(0, 9_999), None);
        let mut now = 10_000;
        for wait_s in [20, 40, 80, 160, 300, 300] {
            probe(&mut circuit, &answered(500), now);
            assert_eq!(circuit.next_chance(now), Some(now + wait_s * 1_000));
            now += wait_s * 1_000;
        }
    }

    #[test]
    fn a_probe_that_a_person_wants_goes_at_once_and_the_waits_do_not_grow_by_it() {
        let mut circuit = opened();
        for now in [1_000, 2_000, 3_000] {
            circuit.hurry(now);
            probe(&mut circuit, &answered(500), now);
            assert_eq!(circuit.next_chance(now), Some(now + 10_000));
        }
        circuit.hurry(4_000);
        circuit.begin_probe();
        circuit.hurry(4_001);
        assert_eq!(circuit.may_go(1, 4_001), None, "there is never more than one");
    }

    #[test]
    fn after_a_success_attempts_in_flight_grow_from_one_by_doubling() {
        let mut circuit = opened();
        assert_eq!(probe(&mut circuit, &answered(204), 10_000), Turn::Closed);
        for allowed in [1, 2, 4, 8, 16, 32, 64, 64] {
            assert_eq!(circuit.in_flight_allowed(), allowed);
            circuit.note(&answered(200), Role::Ordinary, 10_000);
        }
    }

    #[test]
    fn a_probe_that_is_refused_for_what_it_is_shows_that_the_endpoint_works() {
        let mut circuit = opened();
        assert_eq!(probe(&mut circuit, &answered(422), 10_000), Turn::Closed);
        assert!(circuit.has_worked_since(9_999));
    }

    #[test]
    fn a_late_failure_of_before_does_not_end_a_probe() {
        let mut circuit = opened();
        circuit.begin_probe();
        circuit.note(&answered(500), Role::Ordinary, 10_000);
        assert_eq!(circuit.may_go(1, 1_000_000), None);
    }

    #[test]
    fn a_silent_endpoint_may_have_two_in_flight_until_one_succeeds() {
        let mut circuit = Circuit::closed(64);
        circuit.note(&Outcome::Failed(Failure::Timeout), Role::Ordinary, 0);
        assert_eq!(circuit.in_flight_allowed(), 2);
        circuit.note(&answered(200), Role::Ordinary, 0);
        assert_eq!(circuit.in_flight_allowed(), 64);
    }

    #[test]
    fn a_pause_that_is_asked_for_holds_for_an_hour_at_most() {
        for (asked_s, paused_ms) in [(120, 120_000), (1_000_000, PAUSE_MS_MAX)] {
            let mut circuit = Circuit::closed(64);
            let answer = Answer {
                status: 429,
                retry_after_s: Some(asked_s),
                body: Vec::new(),
                is_cut: false,
                location: None,
            };
            circuit.note(&Outcome::Answered(answer), Role::Ordinary, 5);
            assert_eq!(circuit.may_go(0, 5 + paused_ms - 1), None);
            assert_eq!(circuit.may_go(0, 5 + paused_ms), Some(Role::Ordinary));
        }
    }
}
