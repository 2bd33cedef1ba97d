//! Sockets of a large audience, woken some at a time. Each woken socket is a task that writes a frame;
//! thousands woken at once would stand in the runtime's queue before every answer that waits there.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::Seat;

/// Sockets woken at once, each some 10 µs of work.
pub(super) const WOKEN_AT_ONCE: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Crowds {
    /// Each seat once, so that a crowd told of much is no longer than the crowd.
    due: Mutex<VecDeque<Arc<Seat>>>,
    nudge: Notify,
}

impl Crowds {
    /// Whose frames are queued and who is to be woken in turn.
    pub(super) fn add(&self, seats: impl Iterator<Item = Arc<Seat>>) {
        self.due().extend(seats.filter(|seat| !seat.is_due.swap(true, Ordering::AcqRel)));
        self.nudge.notify_one();
    }

    pub(super) async fn wake(&self) {
        loop {
            let some: Vec<Arc<Seat>> = {
                let mut due = self.due();
                let count = due.len().min(WOKEN_AT_ONCE);
                due.drain(..count).collect()
            };
            if some.is_empty() {
                self.nudge.notified().await;
                continue;
            }
            for seat in some {
                // First: whoever queues a frame from here on has the seat woken again.
                seat.is_due.store(false, Ordering::Release);
                seat.outbox.wake();
            }
            yield_now().await;
        }
    }

    fn due(&self) -> MutexGuard<'_, VecDeque<Arc<Seat>>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
