//! The lanes of all webhooks in memory: what the store offers to and dispatch takes from.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use chathook_domain::delivery::Owed;
use chathook_domain::ids::LaneKey;
use chathook_domain::lane::Lanes;
use chathook_domain::webhook::IN_FLIGHT_MAX;
use tokio::sync::Notify;

use crate::ports::store::Offers;

/// The lanes of all webhooks. The store offers to it; the engine works it.
#[derive(Default)]
pub struct Lines {
    rooms: Mutex<HashMap<i64, Lanes>>,
    /// Rows with something new to look at.
    stirred: Mutex<HashSet<i64>>,
    /// Rows that are left alone, whatever is due in their lanes.
    resting: Mutex<HashMap<i64, Rest>>,
    pub(crate) nudge: Notify,
    /// Attempts made whose settlement is not written yet.
    pub(crate) unsettled: AtomicUsize,
}

/// Why and how long a row is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The webhook is off: until it is stirred by a change.
    Off,
    /// The store refused: until this tick.
    Until(i64),
}

impl Offers for Lines {
    fn offer(&self, owed: Vec<Owed>) {
        let mut rows = Vec::new();
        {
            let mut rooms = self.rooms();
            for delivery in owed {
                let row = delivery.webhook_row;
                rooms.entry(row).or_insert_with(|| Lanes::after_start(IN_FLIGHT_MAX)).offer(delivery);
                rows.push(row);
            }
        }
        for row in rows {
            self.stir(row);
        }
    }

    fn changed(&self, webhook_row: i64) {
        self.stir(webhook_row);
    }
}

impl Lines {
    /// Looks at this webhook again: its configuration changed, or it has something to do.
    pub fn stir(&self, row: i64) {
        self.stirred.lock().expect("no one panics while holding this lock").insert(row);
        self.nudge.notify_one();
    }

    /// A person wants this delivery tried now.
    pub fn hurry(&self, row: i64, _lane: &LaneKey, _sequence: i64) {
        self.stir(row);
    }

    /// A person wants nothing more of this delivery.
    pub fn cancel(&self, row: i64, _lane: &LaneKey, _sequence: i64) {
        self.stir(row);
    }

    pub(crate) fn rooms(&self) -> MutexGuard<'_, HashMap<i64, Lanes>> {
        self.rooms.lock().expect("no one panics while holding this lock")
    }

    /// The rows to look at now; those that rest for a while stay for later.
    pub(crate) fn take_stirred(&self, now: i64) -> Vec<i64> {
        let resting = self.resting();
        let mut stirred = self.stirred.lock().expect("no one panics while holding this lock");
        let is_left = |row: &i64| matches!(resting.get(row), Some(Rest::Until(tick)) if *tick > now);
        let (left, taken): (Vec<i64>, Vec<i64>) = stirred.drain().partition(is_left);
        stirred.extend(left);
        taken
    }

    pub(crate) fn rest(&self, row: i64, rest: Rest) {
        self.resting().insert(row, rest);
    }

    pub(crate) fn wake(&self, row: i64) {
        self.resting().remove(&row);
    }

    /// The first tick at which something may go, and the rows that it concerns.
    pub(crate) fn next_due(&self) -> Option<(i64, Vec<i64>)> {
        let rooms = self.rooms();
        let resting = self.resting();
        let due_of = |row: &i64, lanes: &Lanes| match resting.get(row) {
            Some(Rest::Off) => None,
            Some(Rest::Until(tick)) => Some(*tick),
            None => lanes.next_due(),
        };
        let dues = || rooms.iter().filter_map(|(row, lanes)| Some((due_of(row, lanes)?, *row)));
        let first = dues().map(|(due, _)| due).min()?;
        Some((first, dues().filter(|(due, _)| *due == first).map(|(_, row)| row).collect()))
    }

    fn resting(&self) -> MutexGuard<'_, HashMap<i64, Rest>> {
        self.resting.lock().expect("no one panics while holding this lock")
    }

    /// Attempts in flight or not yet settled.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.unsettled.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chathook_domain::ids::EventId;
    use chathook_domain::lane::Returned;

    use super::*;

    const ROW: i64 = 7;

    /// Lines with one head that waits until tick 100.
    fn with_a_waiting_head() -> Lines {
        let lines = Lines::default();
        let owed = Owed {
            webhook_row: ROW,
            stream: 1,
            sequence: 1,
            lane: LaneKey::trusted("k"),
            event_id: EventId::trusted("e"),
            body: Arc::from("{}"),
            attempts: 0,
            steps: 0,
            due: None,
            first_failed_at: None,
            is_aside: false,
            replay: None,
        };
        let mut lanes = Lanes::after_start(1);
        lanes.next_fetch().expect("the first walk");
        lanes.fetched_keys(vec![(owed.lane.clone(), vec![owed])], true, &|_| i64::MIN);
        let head = lanes.take(0).expect("it may go");
        lanes.returned(&head.lane.clone(), Returned::Waits { owed: head, until: 100 });
        lines.rooms().insert(ROW, lanes);
        lines
    }

    #[test]
    fn what_waits_at_a_webhook_that_is_off_wakes_nobody() {
        let lines = with_a_waiting_head();
        assert_eq!(lines.next_due(), Some((100, vec![ROW])));
        lines.rest(ROW, Rest::Off);
        assert_eq!(lines.next_due(), None);
        lines.stir(ROW);
        assert_eq!(lines.take_stirred(200), [ROW], "a change is still looked at");
        lines.wake(ROW);
        assert_eq!(lines.next_due(), Some((100, vec![ROW])));
    }

    #[test]
    fn a_row_whose_store_refused_is_left_alone_until_its_tick() {
        let lines = with_a_waiting_head();
        lines.rest(ROW, Rest::Until(1_200));
        lines.stir(ROW);
        assert_eq!(lines.next_due(), Some((1_200, vec![ROW])));
        assert!(lines.take_stirred(200).is_empty());
        assert_eq!(lines.take_stirred(1_200), [ROW]);
    }
}
