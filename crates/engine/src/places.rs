//! Places for attempts in flight over all webhooks: a bound in all, shared fairly, of which each webhook keeps one.

use std::collections::BTreeSet;
use std::sync::Mutex;

#[derive(Debug)]
pub struct Places {
    attempts_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Webhooks with something in flight.
    busy: usize,
    /// Webhooks that were turned away, by row.
    turned_away: BTreeSet<i64>,
}

impl Places {
    #[must_use]
    pub fn bounded(attempts_max: usize) -> Self {
        Self { attempts_max: attempts_max.max(1), state: Mutex::default() }
    }

    /// Takes a place for a webhook that has `own` in flight. The first is always there, so that the bound in all may
    /// be passed by as many as there are webhooks; more than that only within an equal share.
    pub fn take(&self, webhook_row: i64, own: usize) -> bool {
        let mut state = self.state.lock().expect("no one panics while holding this lock");
        let share = self.attempts_max / state.busy.max(1);
        if own > 0 && (state.taken >= self.attempts_max || own >= share.max(1)) {
            state.turned_away.insert(webhook_row);
            return false;
        }
        state.taken += 1;
        state.busy += usize::from(own == 0);
        true
    }

    /// Gives a place back; `own` are left in flight. Answers with those who may try again.
    pub fn give_back(&self, own: usize) -> Vec<i64> {
        let mut state = self.state.lock().expect("no one panics while holding this lock");
        state.taken -= 1;
        state.busy -= usize::from(own == 0);
        std::mem::take(&mut state.turned_away).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_shared_and_each_keeps_one_place() {
        let places = Places::bounded(8);
        let greedy = (0..20).filter(|own| places.take(1, *own)).count();
        assert_eq!(greedy, 8, "alone it may have all");
        assert!(places.take(2, 0), "a place is kept for each");
        assert!(!places.take(2, 1), "nothing is free beyond that");
        assert_eq!(places.give_back(7), [1, 2], "who was turned away is told of a free place");
        assert!(!places.take(1, 7), "the share is half by now");
        assert!(!places.take(2, 1), "which the other has not given back yet");
        for own in (3..7).rev() {
            places.give_back(own);
        }
        assert!(places.take(2, 1));
        assert!(places.take(2, 2));
    }
}
