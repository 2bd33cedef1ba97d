//! The circuit of one `before_message` webhook: after enough silence in a row its senders are no longer
//! made to wait for it (design 5). Time is ticks in milliseconds. Deliveries have another circuit.

use crate::circuit::Role;
use crate::outcome::{Failure, Outcome};
use crate::turn::TurnKind;

/// Silences in a row that open the circuit (design 5).
const SILENCES_MAX: u32 = 5;
/// How often a real message probes an open circuit (design 5). No call may take longer (the budget of
/// all webhooks is at most 5 s), so a probe has always ended when the next one is due.
const PROBE_EVERY_MS: i64 = 5_000;

/// Closed until enough silences in a row, then open until the endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookCircuit {
    Closed {
        /// Since the last answer; fewer than `SILENCES_MAX`.
        silences: u32,
    },
    Open {
        /// The tick from which one message is let through.
        probe_at: i64,
    },
}

impl Default for HookCircuit {
    fn default() -> Self {
        Self::Closed { silences: 0 }
    }
}

impl HookCircuit {
    /// As what the webhook is called for a message at this tick, if it is. Of an open circuit this takes
    /// the probe: who is let through must call.
    #[must_use]
    pub fn lets_through(&mut self, tick: i64) -> Option<Role> {
        match self {
            Self::Closed { .. } => Some(Role::Ordinary),
            Self::Open { probe_at } if tick < *probe_at => None,
            Self::Open { probe_at } => {
                *probe_at = tick + PROBE_EVERY_MS;
                Some(Role::Probe)
            }
        }
    }

    /// Takes note of what came of a call, whichever state it began in. Tells where that turned the circuit.
    pub fn note(&mut self, outcome: &Outcome, role: Role, tick: i64) -> Option<TurnKind> {
        let was_open = self.is_open();
        self.take_note(outcome, tick);
        match (was_open, self.is_open(), role) {
            (false, true, Role::Ordinary | Role::Probe) => Some(TurnKind::Opened),
            (true, false, Role::Ordinary | Role::Probe) => Some(TurnKind::Closed),
            (true, true, Role::Probe) => Some(TurnKind::ProbeFailed),
            (true, true, Role::Ordinary) | (false, false, Role::Ordinary | Role::Probe) => None,
        }
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Closed { .. } => false,
            Self::Open { .. } => true,
        }
    }

    fn take_note(&mut self, outcome: &Outcome, tick: i64) {
        match (Sign::of(outcome), &mut *self) {
            (Sign::Answer, _) => *self = Self::default(),
            (Sign::Silence, Self::Closed { silences }) => {
                *silences += 1;
                if *silences >= SILENCES_MAX {
                    *self = Self::Open { probe_at: tick + PROBE_EVERY_MS };
                }
            }
            // When the next probe is due was settled as this one, or a call from before, began.
            (Sign::Silence, Self::Open { .. }) | (Sign::Nothing, _) => {}
        }
    }
}

/// What an outcome says of the endpoint's being there.
enum Sign {
    /// It spoke HTTP to the end, whatever it said.
    Answer,
    Silence,
    Nothing,
}

impl Sign {
    fn of(outcome: &Outcome) -> Self {
        let failure = match outcome {
            Outcome::Answered(_) => return Self::Answer,
            Outcome::Failed(failure) => failure,
        };
        match failure {
            Failure::Timeout
            | Failure::ConnectTimeout
            | Failure::NotConnected(_)
            | Failure::NameNotResolved(_)
            | Failure::Tls(_)
            | Failure::Broken(_) => Self::Silence,
            // We did not call, or fell over ourselves: nobody waited for the endpoint, and the log is to
            // go on naming this cause, which a person can cure.
            Failure::AddressRefused(_) | Failure::SchemeRefused | Failure::Internal => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::Answer;

    fn answer(status: u16) -> Outcome {
        let body = b"<garbage".to_vec();
        Outcome::Answered(Answer { status, retry_after_s: None, body, is_cut: status == 200, location: None })
    }

    fn text() -> String {
        "why".to_owned()
    }

    fn silences() -> Vec<Outcome> {
        let failures = [
            Failure::Timeout,
            Failure::ConnectTimeout,
            Failure::NotConnected(text()),
            Failure::NameNotResolved(text()),
            Failure::Tls(text()),
            Failure::Broken(text()),
        ];
        failures.map(Outcome::Failed).to_vec()
    }

    fn opened_at(tick: i64) -> HookCircuit {
        let mut circuit = HookCircuit::default();
        for _ in 0..5 {
            circuit.note(&Outcome::Failed(Failure::Timeout), Role::Ordinary, tick);
        }
        circuit
    }

    #[test]
    fn five_silences_of_any_kind_in_a_row_open_it() {
        for silence in silences() {
            let mut circuit = HookCircuit::default();
            for _ in 0..4 {
                circuit.note(&silence, Role::Ordinary, 0);
            }
            assert!(circuit.lets_through(1).is_some(), "four are not enough: {silence:?}");
            circuit.note(&silence, Role::Ordinary, 1);
            assert!(circuit.lets_through(2).is_none(), "{silence:?}");
        }
    }

    #[test]
    fn an_answer_of_any_status_begins_the_count_anew() {
        for status in [200, 204, 302, 404, 500, 503] {
            let mut circuit = HookCircuit::default();
            for _ in 0..20 {
                for _ in 0..4 {
                    circuit.note(&Outcome::Failed(Failure::Timeout), Role::Ordinary, 0);
                }
                circuit.note(&answer(status), Role::Ordinary, 0);
            }
            assert_eq!(circuit, HookCircuit::default(), "{status}");
        }
    }

    #[test]
    fn what_we_refuse_to_call_neither_counts_nor_breaks_the_row() {
        for failure in [Failure::AddressRefused(text()), Failure::SchemeRefused, Failure::Internal] {
            let refused = Outcome::Failed(failure);
            let mut circuit = HookCircuit::default();
            for _ in 0..5 {
                assert!(circuit.lets_through(0).is_some(), "{refused:?}");
                for _ in 0..10 {
                    circuit.note(&refused, Role::Ordinary, 0);
                }
                circuit.note(&Outcome::Failed(Failure::Timeout), Role::Ordinary, 0);
            }
            assert!(circuit.lets_through(0).is_none(), "{refused:?}");
            circuit.note(&refused, Role::Ordinary, 0);
            assert!(circuit.lets_through(0).is_none(), "{refused:?}");
        }
    }

    #[test]
    fn one_message_probes_it_every_five_seconds() {
        let mut circuit = opened_at(100);
        assert!(circuit.lets_through(5_099).is_none());
        assert!(circuit.lets_through(5_100).is_some());
        assert!(circuit.lets_through(5_101).is_none(), "one at a time");
        circuit.note(&Outcome::Failed(Failure::Timeout), Role::Ordinary, 7_100);
        assert!(circuit.lets_through(10_099).is_none(), "a probe that fails changes nothing");
        assert!(circuit.lets_through(12_000).is_some());
        assert!(circuit.lets_through(16_999).is_none(), "five seconds from the probe, however late it was");
        assert!(circuit.lets_through(17_000).is_some());
    }

    #[test]
    fn its_turns_are_told_also_each_probe_that_fails_but_no_call_from_before() {
        let silence = Outcome::Failed(Failure::Timeout);
        let mut circuit = HookCircuit::default();
        for _ in 0..4 {
            assert_eq!(circuit.note(&silence, Role::Ordinary, 0), None);
        }
        assert_eq!(circuit.note(&silence, Role::Ordinary, 0), Some(TurnKind::Opened));
        assert_eq!(circuit.note(&silence, Role::Ordinary, 1), None, "it was under way");
        for tick in [5_000, 10_000] {
            assert_eq!(circuit.lets_through(tick), Some(Role::Probe));
            assert_eq!(circuit.note(&silence, Role::Probe, tick), Some(TurnKind::ProbeFailed));
        }
        assert_eq!(circuit.lets_through(15_000), Some(Role::Probe));
        assert_eq!(circuit.note(&answer(500), Role::Probe, 15_000), Some(TurnKind::Closed));
        assert_eq!(circuit.lets_through(15_001), Some(Role::Ordinary));
        assert_eq!(circuit.note(&answer(200), Role::Ordinary, 15_001), None);
    }

    #[test]
    fn an_answer_closes_it_also_one_to_a_call_from_before() {
        for status in [200, 500] {
            let mut circuit = opened_at(0);
            circuit.note(&answer(status), Role::Ordinary, 10);
            assert_eq!(circuit, HookCircuit::default());
        }
    }

    proptest! {
        #[test]
        fn an_open_circuit_lets_through_at_most_one_in_five_seconds(
            steps in proptest::collection::vec((0i64..3_000, 0usize..6), 1..200),
        ) {
            let (mut circuit, mut now, mut last) = (opened_at(0), 0, 0);
            for (wait, kind) in steps {
                now += wait;
                if circuit.lets_through(now).is_some() {
                    prop_assert!(now - last >= 5_000);
                    last = now;
                }
                circuit.note(&silences()[kind], Role::Ordinary, now);
            }
        }
    }
}
