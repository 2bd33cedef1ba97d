//! The lanes of all webhooks in memory: what the store offers to and dispatch takes from.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use chathook_domain::delivery::Owed;
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
    pub(crate) nudge: Notify,
    /// Attempts made whose settlement is not written yet.
    pub(crate) unsettled: AtomicUsize,
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
}

impl Lines {
    /// Looks at this webhook again: its configuration changed, or it has something to do.
    pub fn stir(&self, row: i64) {
        self.stirred.lock().expect("no one panics while holding this lock").insert(row);
        self.nudge.notify_one();
    }

    pub(crate) fn rooms(&self) -> MutexGuard<'_, HashMap<i64, Lanes>> {
        self.rooms.lock().expect("no one panics while holding this lock")
    }

    pub(crate) fn take_stirred(&self) -> Vec<i64> {
        self.stirred.lock().expect("no one panics while holding this lock").drain().collect()
    }

    /// The first tick at which a waiting head may go.
    pub(crate) fn next_due(&self) -> Option<(i64, Vec<i64>)> {
        let rooms = self.rooms();
        let due = rooms.values().filter_map(Lanes::next_due).min()?;
        let rows = rooms.iter().filter(|(_, lanes)| lanes.next_due() == Some(due)).map(|(row, _)| *row);
        Some((due, rows.collect()))
    }

    /// Attempts in flight or not yet settled.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.unsettled.load(Ordering::SeqCst)
    }
}
