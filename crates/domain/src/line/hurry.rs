//! What a person wants tried now, and how one delivery stands in its line.

use super::{Kind, Line};
use crate::ids::{LaneKey, Now};
use crate::waiting::{Seen, Spot};

/// What a person's order came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hurry {
    /// It is the next to go, and may go now.
    Goes,
    /// An attempt is under way already.
    IsOut,
    /// Something stands before it that a person's order does not move.
    Stays,
}

impl Line {
    /// A person wants it tried now, and the store has it as due. The order of its lane and the pause that an endpoint
    /// asked for are kept; the circuit lets it through as its one probe.
    pub fn hurry(&mut self, lane: &LaneKey, sequence: i64, now: Now) -> Hurry {
        if self.out.contains_key(&sequence) {
            return Hurry::IsOut;
        }
        let kind = if lane.is_replay() { Kind::Replay } else { Kind::Live };
        let kind = if self.hurry_aside(sequence) {
            Kind::Aside
        } else if self.lanes_of(lane).hurry(lane, sequence, now.tick) {
            kind
        } else {
            self.look_for_asides_at(now.tick, now.wall);
            return Hurry::Stays;
        };
        let has_place = match kind {
            Kind::Live | Kind::Aside => true,
            Kind::Replay => self.replays_out < self.replays_max(),
        };
        if !has_place {
            return Hurry::Stays;
        }
        self.last_kind = kind.before();
        self.circuit.hurry(now.tick);
        if self.role_of_next(now.tick).is_some() { Hurry::Goes } else { Hurry::Stays }
    }

    #[must_use]
    pub fn see(&self, lane: &LaneKey, sequence: i64, at: Now) -> Seen {
        let lanes = if lane.is_replay() { &self.replays } else { &self.live };
        let is_lined_up =
            || lanes.is_lined_up(lane, sequence) || self.asides.iter().any(|owed| owed.sequence == sequence);
        let spot = if self.out.contains_key(&sequence) {
            Spot::Out
        } else if is_lined_up() {
            Spot::LinedUp
        } else {
            Spot::Elsewhere
        };
        Seen { at, spot, order: lanes.order(), stand: self.circuit.stand(at.tick) }
    }

    fn hurry_aside(&mut self, sequence: i64) -> bool {
        let at = self.asides.iter().position(|owed| owed.sequence == sequence);
        let Some(owed) = at.and_then(|at| self.asides.remove(at)) else { return false };
        self.asides.push_front(owed);
        true
    }
}

impl Kind {
    /// The one after which this has its turn.
    const fn before(self) -> Self {
        match self {
            Self::Live => Self::Aside,
            Self::Replay => Self::Live,
            Self::Aside => Self::Replay,
        }
    }
}
