//! What is owed to each webhook, in memory: the store offers to it, and dispatch takes from it.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use chathook_domain::circuit::Stand;
use chathook_domain::delivery::Owed;
use chathook_domain::ids::{LaneKey, Now};
use chathook_domain::lane::{Bounds, Room as Memory};
use chathook_domain::line::{Hurry, Line, Policy, Retries};
use chathook_domain::waiting::Seen;
use chathook_domain::webhook::IN_FLIGHT_MAX;
use tokio::sync::Notify;

use crate::places::Places;
use crate::ports::endpoints::Destination;
use crate::ports::store::{LineOf, Offers, Target};

/// The bounds over all webhooks, and those of each in memory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Attempts in flight in all.
    pub attempts_max: usize,
    /// Bytes of queued deliveries in all lines. Beyond it a webhook with more than an equal share leaves new ones to
    /// the store.
    pub queued_bytes_max: usize,
    pub of_each: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempts_max: 1_024, queued_bytes_max: 64 << 20, of_each: Bounds::default() }
    }
}

/// The lines of all webhooks.
pub struct Lines {
    limits: Limits,
    rooms: RwLock<HashMap<i64, Arc<Room>>>,
    /// Read while a room is visited, when the map must not be waited for.
    rooms_count: AtomicUsize,
    /// How often a webhook's configuration has changed: one without a room is being read, perhaps as it was.
    changes: AtomicUsize,
    /// Rows with something new to look at.
    stirred: Mutex<BTreeSet<i64>>,
    pub(crate) nudge: Notify,
    pub(crate) places: Places,
    queued_bytes: AtomicUsize,
    /// Attempts that are not settled in the store yet, and other writes that dispatch owes it.
    unsettled: AtomicUsize,
}

/// One webhook's line, with what attempts for it need.
pub(crate) struct Room {
    pub row: i64,
    open: Mutex<Open>,
}

pub(crate) struct Open {
    pub line: Line,
    pub target: Arc<Target>,
    /// The target's URL, taken apart.
    pub destination: Arc<Destination>,
    /// Up to this number all is answered, ended or cancelled.
    pub settled: i64,
    /// The configuration has changed since it was read.
    pub is_stale: bool,
    /// How often that was told: what was read before the last time is stale as well.
    pub changes: usize,
    pub is_loading: bool,
    /// Workers that look for something to do, or do it.
    pub workers: usize,
    /// The store refused: it is not asked again before this tick.
    pub rests_until: i64,
    counted_bytes: usize,
}

/// A room as long as one looks at it; its memory is counted when one leaves.
pub(crate) struct Visit<'a> {
    open: MutexGuard<'a, Open>,
    queued_bytes: &'a AtomicUsize,
}

impl Default for Lines {
    fn default() -> Self {
        Self::within(Limits::default())
    }
}

impl Offers for Lines {
    fn offer(&self, owed: Vec<Owed>) {
        tracing::trace!(step = "committed", count = owed.len(), "deliveries are on disk");
        let rooms = self.rooms.read().expect("no one panics while holding this lock");
        let mut rows = BTreeSet::new();
        for delivery in owed {
            let row = delivery.webhook_row;
            // Without a room it is found in the store, when there is one.
            if let Some(room) = rooms.get(&row) {
                let mut visit = self.visit(room);
                let memory = if self.is_tight(&visit) { Memory::Tight } else { Memory::Ample };
                visit.line.offer(delivery, memory);
            }
            rows.insert(row);
        }
        drop(rooms);
        rows.into_iter().for_each(|row| self.stir(row));
    }

    fn changed(&self, webhook_row: i64) {
        Self::changed(self, webhook_row);
    }
}

impl Lines {
    #[must_use]
    pub fn within(limits: Limits) -> Self {
        Self {
            limits,
            rooms: RwLock::default(),
            rooms_count: AtomicUsize::new(0),
            changes: AtomicUsize::new(0),
            stirred: Mutex::default(),
            nudge: Notify::new(),
            places: Places::bounded(limits.attempts_max),
            queued_bytes: AtomicUsize::new(0),
            unsettled: AtomicUsize::new(0),
        }
    }

    /// The webhook's configuration has changed, or it is gone: nothing goes out until it is read again.
    pub fn changed(&self, webhook_row: i64) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        if let Some(room) = self.room(webhook_row) {
            let mut visit = self.visit(&room);
            visit.changes += 1;
            visit.is_stale = true;
        }
        self.stir(webhook_row);
    }

    pub(crate) fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }

    /// A person wants a waiting delivery tried now, and the store has it as due.
    pub fn hurry(&self, webhook_row: i64, lane: &LaneKey, sequence: i64, now: Now) -> Hurry {
        let room = self.room(webhook_row);
        let hurry = room.map_or(Hurry::Stays, |room| {
            let mut visit = self.visit(&room);
            if visit.is_working() { visit.line.hurry(lane, sequence, now) } else { Hurry::Stays }
        });
        self.stir(webhook_row);
        hurry
    }

    /// How a delivery stands in its line; `None` until that is in memory.
    #[must_use]
    pub fn see(&self, webhook_row: i64, lane: &LaneKey, sequence: i64, now: Now) -> Option<Seen> {
        self.room(webhook_row).map(|room| self.visit(&room).line.see(lane, sequence, now))
    }

    /// A person cancelled a waiting delivery, and the store has it so.
    pub fn cancel(&self, webhook_row: i64, lane: &LaneKey, sequence: i64) {
        if let Some(room) = self.room(webhook_row) {
            self.visit(&room).line.cancel(lane, sequence);
        }
        self.stir(webhook_row);
    }

    /// Something is to be looked at.
    pub fn stir(&self, webhook_row: i64) {
        self.stirred.lock().expect("no one panics while holding this lock").insert(webhook_row);
        self.nudge.notify_one();
    }

    /// How the circuit of a webhook's deliveries stands; `None` until its line is in memory.
    #[must_use]
    pub fn stand(&self, webhook_row: i64, tick: i64) -> Option<Stand> {
        self.room(webhook_row).map(|room| self.visit(&room).line.stand(tick))
    }

    /// Attempts in flight, and all that is not written of them yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.unsettled.load(Ordering::SeqCst)
    }

    pub(crate) fn begin_write(&self) {
        self.unsettled.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end_writes(&self, count: usize) {
        self.unsettled.fetch_sub(count, Ordering::SeqCst);
    }

    pub(crate) fn take_stirred(&self) -> Vec<i64> {
        let mut stirred = self.stirred.lock().expect("no one panics while holding this lock");
        std::mem::take(&mut *stirred).into_iter().collect()
    }

    pub(crate) fn room(&self, webhook_row: i64) -> Option<Arc<Room>> {
        self.rooms.read().expect("no one panics while holding this lock").get(&webhook_row).cloned()
    }

    pub(crate) fn visit<'a>(&'a self, room: &'a Room) -> Visit<'a> {
        let open = room.open.lock().expect("no one panics while holding this lock");
        Visit { open, queued_bytes: &self.queued_bytes }
    }

    /// Makes a room for a webhook that has none yet; `changes_before` is from before the target was read.
    pub(crate) fn furnish(&self, webhook_row: i64, target: Target, changes_before: usize, now: Now) {
        let line = Line::after_start(policy_of(&target, self.limits.of_each), target.failing_since, now);
        let open = Open {
            line,
            settled: target.settled,
            destination: Destination::of(target.webhook.config.url.clone()),
            target: Arc::new(target),
            is_stale: false,
            changes: 0,
            is_loading: false,
            workers: 0,
            rests_until: i64::MIN,
            counted_bytes: 0,
        };
        let room = Arc::new(Room { row: webhook_row, open: Mutex::new(open) });
        let mut rooms = self.rooms.write().expect("no one panics while holding this lock");
        let room = rooms.entry(webhook_row).or_insert(room).clone();
        self.rooms_count.store(rooms.len(), Ordering::Relaxed);
        drop(rooms);
        // Who changes it from now on finds the room.
        if self.changes() != changes_before {
            self.visit(&room).is_stale = true;
        }
    }

    /// Closes the room of a webhook that is gone.
    pub(crate) fn close(&self, webhook_row: i64) {
        let room = {
            let mut rooms = self.rooms.write().expect("no one panics while holding this lock");
            let room = rooms.remove(&webhook_row);
            self.rooms_count.store(rooms.len(), Ordering::Relaxed);
            room
        };
        if let Some(room) = room {
            self.visit(&room).line.forget_what_waits();
        }
    }

    /// Whether this webhook has more than its share of a memory that is short.
    pub(crate) fn is_tight(&self, visit: &Visit<'_>) -> bool {
        let is_short = self.queued_bytes.load(Ordering::Relaxed) >= self.limits.queued_bytes_max;
        let rooms = self.rooms_count.load(Ordering::Relaxed).max(1);
        is_short && visit.line.queued_bytes() >= self.limits.queued_bytes_max / rooms
    }
}

impl Open {
    /// Where the line's deliveries are found in the store.
    pub fn line_of(&self) -> LineOf {
        LineOf { webhook_row: self.target.webhook.row, stream: self.target.stream }
    }

    /// Whether something may go out at all.
    pub fn is_working(&self) -> bool {
        !self.is_stale && self.target.webhook.is_on()
    }

    /// Goes on with the configuration as it was read; `changes_before` is from before that.
    pub fn take_over(&mut self, target: Target, changes_before: usize, now: Now) {
        let (before, after) = (&self.target.webhook, &target.webhook);
        let is_another_endpoint = before.config.url != after.config.url
            || before.config.credentials != after.config.credentials
            || before.config.use_basic_auth != after.config.use_basic_auth;
        self.line.set_policy(policy_of(&target, self.line.bounds()));
        if !(before.is_on() && after.is_on()) {
            // What waits may change or end in the store as long as it is off.
            self.line.forget_what_waits();
        }
        if after.is_on() && (!before.is_on() || self.line.was_switched_off() || is_another_endpoint) {
            self.line.begin_anew(now);
        }
        self.settled = self.settled.max(target.settled);
        self.is_stale = self.changes != changes_before;
        self.destination = Destination::of(target.webhook.config.url.clone());
        self.target = Arc::new(target);
    }
}

impl Deref for Visit<'_> {
    type Target = Open;

    fn deref(&self) -> &Open {
        &self.open
    }
}

impl DerefMut for Visit<'_> {
    fn deref_mut(&mut self) -> &mut Open {
        &mut self.open
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let bytes = self.open.line.queued_bytes();
        let counted = std::mem::replace(&mut self.open.counted_bytes, bytes);
        if bytes >= counted {
            self.queued_bytes.fetch_add(bytes - counted, Ordering::Relaxed);
        } else {
            self.queued_bytes.fetch_sub(counted - bytes, Ordering::Relaxed);
        }
    }
}

fn policy_of(target: &Target, bounds: Bounds) -> Policy {
    let config = &target.webhook.config;
    Policy {
        patience_ms: config.patience.ms(),
        retries: if config.retry_on_failure { Retries::OnFailure } else { Retries::Never },
        in_flight_max: IN_FLIGHT_MAX,
        bounds,
    }
}
