//! The turns of the line's circuit, kept until they are asked for.

use super::Line;
use crate::circuit::{Role, Stand, Turn};
use crate::delivery::outcome_name;
use crate::outcome::{Blame, Outcome};
use crate::turn::{Party, TurnKind, Turned};

impl Line {
    /// The turns since this was asked last.
    pub fn take_turns(&mut self) -> Vec<Turned> {
        std::mem::take(&mut self.turns)
    }

    #[must_use]
    pub fn stand(&self, now: i64) -> Stand {
        self.circuit.stand(now)
    }

    /// What an attempt's outcome did, before which the circuit stood so.
    pub(super) fn keep_turn(&mut self, before: Stand, outcome: &Outcome, role: Role, turn: Turn, now: i64) {
        let kind = match (turn, outcome.blame()) {
            (Turn::Opened, _) => Some(TurnKind::Opened),
            (Turn::Closed, _) => Some(TurnKind::Closed),
            (Turn::None, Blame::Endpoint | Blame::Us) if role == Role::Probe => Some(TurnKind::ProbeFailed),
            (Turn::None, Blame::Nobody | Blame::Delivery | Blame::Endpoint | Blame::Us) => None,
        };
        let is_paused = before.paused_until.is_none() && self.stand(now).paused_until.is_some();
        let kinds = kind.into_iter().chain(is_paused.then_some(TurnKind::Paused));
        self.turns.extend(kinds.map(|kind| turned(kind, outcome_name(outcome))));
    }

    pub(super) fn keep_turn_without_outcome(&mut self, kind: TurnKind, cause: &str) {
        self.turns.push(turned(kind, cause.to_owned()));
    }
}

fn turned(kind: TurnKind, cause: String) -> Turned {
    Turned { party: Party::Deliveries, kind, cause }
}
