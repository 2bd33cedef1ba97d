//! What a person wants tried now, and whether a delivery is the next of its lane.

use super::{Lanes, Order};
use crate::ids::LaneKey;

impl Lanes {
    /// Puts a delivery before all others that may go, where nothing of its lane goes before it: whether that is so.
    /// What memory does not hold is looked for in the store.
    pub fn hurry(&mut self, key: &LaneKey, sequence: i64, now: i64) -> bool {
        let Some(lane) = self.lanes.get_mut(key) else {
            self.beyond.look_again_at(now);
            return false;
        };
        let at = lane.queue.iter().position(|owed| owed.sequence == sequence);
        let at = at.filter(|at| match self.order {
            Order::Kept => *at == 0 && lane.out == 0,
            Order::None => true,
        });
        let Some(owed) = at.and_then(|at| lane.queue.remove(at)) else { return false };
        lane.queue.push_front(owed);
        lane.head_due = None;
        if let Some(until) = lane.until.take() {
            self.waiting.remove(&(until, key.clone()));
        }
        if std::mem::replace(&mut lane.is_lined_up, true) {
            self.ready.retain(|other| other != key);
        }
        self.ready.push_front(key.clone());
        true
    }

    /// Whether a delivery is the next of its lane, and its lane goes as soon as another may.
    #[must_use]
    pub fn is_lined_up(&self, key: &LaneKey, sequence: i64) -> bool {
        self.lanes.get(key).is_some_and(|lane| {
            lane.is_lined_up && lane.queue.front().is_some_and(|owed| owed.sequence == sequence)
        })
    }

    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }
}
