//! What follows from an attempt's outcome: for the circuit, for the webhook as a whole, and for the delivery.

use super::{Line, Out, Over, Retries, Taken};
use crate::circuit::Turn;
use crate::delivery::{Owed, Settlement};
use crate::failing::Note;
use crate::ids::Now;
use crate::outcome::{Blame, Outcome};
use crate::retry;

impl Line {
    /// Takes an attempt's outcome, and decides what follows; that is written until [`Self::written`] tells so.
    /// `roll` is a fair number from 0 to 1.
    pub fn returned(&mut self, taken: Taken, outcome: &Outcome, now: Now, roll: f64) -> Settlement {
        let Taken { mut owed, role } = taken;
        owed.attempts += 1;
        let is_wanted = self.out.remove(&owed.sequence) != Some(Out::Cancelled);
        self.is_to_be_written(owed.sequence).aside = None;
        if owed.lane.is_replay() && !owed.is_aside {
            self.replays_out = self.replays_out.saturating_sub(1);
        }
        let was_open = self.circuit.is_open();
        let before = self.circuit.stand(now.tick);
        let turn = self.circuit.note(outcome, role, now.tick);
        self.keep_turn(before, outcome, role, turn, now.tick);
        self.failing.note(outcome, turn, now, &mut self.notes);
        if turn == Turn::Opened {
            self.line_up_all();
        }
        if outcome.is_gone() {
            self.notes.push(Note::Gone);
        }
        if outcome.is_gone() || self.failing.is_over() {
            self.over = Over::ToBeWritten;
        }
        if !is_wanted {
            return self.ended(&owed, Settlement::Failed);
        }
        match outcome.blame() {
            Blame::Nobody => self.ended(&owed, Settlement::Delivered),
            // The webhook is switched off, and this delivery waits with the rest.
            Blame::Endpoint | Blame::Delivery | Blame::Us if outcome.is_gone() => self.goes_again(owed, now),
            Blame::Endpoint | Blame::Delivery | Blame::Us if self.policy.retries == Retries::Never => {
                self.ended(&owed, Settlement::Failed)
            }
            Blame::Endpoint | Blame::Delivery | Blame::Us if was_open => self.goes_again(owed, now),
            Blame::Endpoint | Blame::Delivery | Blame::Us => match retry::wait_ms(owed.steps + 1, true, roll)
            {
                Some(wait_ms) => self.waits(owed, wait_ms, now),
                None => self.ended(&owed, Settlement::Failed),
            },
        }
    }

    fn ended(&mut self, owed: &Owed, settlement: Settlement) -> Settlement {
        let is_success = settlement == Settlement::Delivered;
        let is_aside = owed.is_aside;
        let lanes = self.lanes_of(&owed.lane);
        match (is_aside, is_success) {
            (false, _) => lanes.returned_ended(&owed.lane, is_success),
            (true, true) => lanes.renew_patience(&owed.lane),
            (true, false) => {}
        }
        settlement
    }

    /// It goes again as soon as something may: an attempt at an endpoint that is down uses no schedule.
    fn goes_again(&mut self, mut owed: Owed, now: Now) -> Settlement {
        let first_failed_at = *owed.first_failed_at.get_or_insert(now.wall);
        owed.due = Some(now.wall);
        let (steps, is_aside) = (owed.steps, owed.is_aside);
        if is_aside {
            self.asides.push_back(owed);
        } else {
            let lane = owed.lane.clone();
            self.lanes_of(&lane).returned_ready(owed);
        }
        Settlement::Waits { due: now.wall, steps, first_failed_at, is_aside }
    }

    fn waits(&mut self, mut owed: Owed, wait_ms: i64, now: Now) -> Settlement {
        let (tick, due) = (now.tick + wait_ms, now.wall.plus_ms(wait_ms));
        let first_failed_at = *owed.first_failed_at.get_or_insert(now.wall);
        owed.steps += 1;
        owed.due = Some(due);
        let (lane, steps) = (owed.lane.clone(), owed.steps);
        let lanes = self.lanes_of(&lane);
        let (is_spent, held_since) = (lanes.is_spent(&lane), lanes.out_of_patience_since(&lane, now.tick));
        let is_the_delivery_bad = held_since.is_some_and(|since| self.circuit.has_worked_since(since));
        let was_aside = owed.is_aside;
        let is_aside = was_aside || is_spent || is_the_delivery_bad;
        if is_aside {
            if !was_aside {
                self.lanes_of(&lane).returned_aside(&lane);
            }
            // It was entered when it came back.
            if let Some(unwritten) = self.unwritten.get_mut(&owed.sequence) {
                unwritten.aside = Some((tick, due));
            }
        } else if self.circuit.is_open() {
            self.lanes_of(&lane).returned_ready(owed);
        } else if held_since.is_some() {
            self.lanes_of(&lane).returned_ready(owed);
            self.open_circuit(now.tick);
        } else {
            self.lanes_of(&lane).returned_waits(owed, tick, now.tick);
        }
        Settlement::Waits { due, steps, first_failed_at, is_aside }
    }
}
