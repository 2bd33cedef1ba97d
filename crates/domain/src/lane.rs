//! The lanes of one webhook: deliveries with the same key go one after the other, keys side by side.
//!
//! Memory is bounded: what does not fit stays in the store and is fetched again by name. A lane that waits for a
//! later time gives its room to one that could go. `docs/delivery-states.md` has the drawing.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::delivery::Owed;
use crate::ids::{LaneKey, Now};
use crate::retry;

pub use self::fetch::{Fetch, Fetched, LanePart};

mod fetch;
mod hurry;

/// Deliveries of one lane held in memory (design 4).
pub const LANE_LENGTH_MAX: usize = 64;
/// Lanes of one webhook held in memory (design 4).
pub const LANES_MAX: usize = 4_096;
/// What is left of both while the memory of the whole server is short.
const TIGHT_PART: usize = 16;
/// What a queued delivery takes beside its body, roughly.
const OWED_BYTES: usize = 256;

/// How much of one webhook is held in memory; tests make it small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub lane_length_max: usize,
    pub lanes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { lane_length_max: LANE_LENGTH_MAX, lanes_max: LANES_MAX }
    }
}

/// How much a webhook may keep in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Up to its own bounds.
    Ample,
    /// The server's memory is short, and this webhook has its share.
    Tight,
}

/// Whether deliveries of one key wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Kept,
    /// A patience of 0: there is no order.
    None,
}

#[derive(Debug)]
pub struct Lanes {
    lanes: HashMap<LaneKey, Lane>,
    bounds: Bounds,
    order: Order,
    /// How long a failing delivery holds its lane, in milliseconds; `None` is without end.
    patience_ms: Option<i64>,
    /// Lanes whose head may go now, the first to come first.
    ready: VecDeque<LaneKey>,
    /// Lanes that wait: for their head's next try, or for the end of their patience.
    waiting: BTreeSet<(i64, LaneKey)>,
    /// Lanes that let a delivery step aside, and none of whose deliveries has succeeded since.
    spent: HashSet<LaneKey>,
    clock: SteadyClock,
    queued_bytes: usize,
    beyond: fetch::Beyond,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Owed>,
    /// The highest sequence ever queued here: an offer at or below it is a repeat.
    last: i64,
    /// Attempts of this lane in flight: at most one where order is kept.
    out: usize,
    is_lined_up: bool,
    /// Its place in `waiting`.
    until: Option<i64>,
    /// When the head may be tried again, where it has failed.
    head_due: Option<i64>,
    /// Since when a failing delivery has held this lane.
    held_since: Option<i64>,
    /// The store holds more of this lane, after `last`.
    has_more: bool,
    /// An offer was left to the store while a fetch was under way: that fetch may not have seen it.
    has_missed: bool,
    is_fetching: bool,
    is_short: bool,
}

/// A lane whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Its head may be tried again, and is lined up.
    Again,
    /// Its patience is over before its head is due: it has failed since that tick.
    OutOfPatience { lane: LaneKey, held_since: i64, head_due: i64 },
}

impl Lanes {
    /// Lanes that first look into the store for what an earlier start left.
    #[must_use]
    pub fn after_start(bounds: Bounds, patience_ms: Option<i64>, now: Now) -> Self {
        Self {
            lanes: HashMap::new(),
            bounds,
            order: order_of(patience_ms),
            patience_ms,
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            spent: HashSet::new(),
            clock: SteadyClock::from_now(now),
            queued_bytes: 0,
            beyond: fetch::Beyond::after_start(bounds.lanes_max),
        }
    }

    /// Patience from now on; lanes that wait already keep their time until they are looked at again.
    pub fn set_patience(&mut self, patience_ms: Option<i64>) {
        self.patience_ms = patience_ms;
        self.order = order_of(patience_ms);
    }

    /// Takes a delivery that was just committed. Offers of one webhook come in the order of sequence.
    pub fn offer(&mut self, owed: Owed, room: Room) {
        let part = match room {
            Room::Ample => 1,
            Room::Tight => TIGHT_PART,
        };
        let length_max = (self.bounds.lane_length_max / part).max(1);
        let lanes_max = (self.bounds.lanes_max / part).max(1);
        let Some(lane) = self.lanes.get_mut(&owed.lane) else {
            if self.beyond.may_hold(&owed.lane) || self.lanes.len() >= lanes_max {
                self.beyond.want(owed.lane);
            } else {
                self.open(owed, None, None);
            }
            return;
        };
        if owed.sequence <= lane.last {
            return;
        }
        let key = owed.lane.clone();
        if lane.has_more || lane.queue.len() >= length_max {
            lane.has_more = true;
            lane.has_missed = true;
        } else {
            lane.last = owed.sequence;
            self.queued_bytes += bytes_of(&owed);
            lane.queue.push_back(owed);
        }
        self.place(&key);
    }

    /// The next delivery that may go, if any. It is out until one of the `returned` is called for it.
    pub fn take(&mut self) -> Option<Owed> {
        loop {
            let key = self.ready.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.is_lined_up = false;
            // Its queue was emptied by a cancellation.
            let Some(owed) = lane.queue.pop_front() else {
                self.place(&key);
                continue;
            };
            lane.out += 1;
            lane.head_due = None;
            self.queued_bytes -= bytes_of(&owed);
            self.place(&key);
            return Some(owed);
        }
    }

    /// What was out has ended, with or without success.
    pub fn returned_ended(&mut self, key: &LaneKey, is_success: bool) {
        if is_success {
            self.spent.remove(key);
        }
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.out = lane.out.saturating_sub(1);
        lane.held_since = None;
        self.place(key);
    }

    /// What was out waits for its next try, and holds its lane.
    pub fn returned_waits(&mut self, owed: Owed, until: i64, now: i64) {
        let Some((key, lane)) = self.take_back(owed) else { return };
        lane.head_due = Some(until);
        lane.held_since = lane.held_since.or(Some(now));
        self.place(&key);
    }

    /// What was out may go again as soon as another may, after the heads of all other lanes.
    pub fn returned_ready(&mut self, owed: Owed) {
        let Some((key, lane)) = self.take_back(owed) else { return };
        lane.head_due = None;
        // A time in which nothing could go is not the lane's to answer for.
        lane.held_since = None;
        self.place(&key);
    }

    /// What was out has left its lane and goes on by itself.
    pub fn returned_aside(&mut self, key: &LaneKey) {
        self.spend(key.clone());
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.out = lane.out.saturating_sub(1);
        lane.held_since = None;
        self.place(key);
    }

    /// A delivery that had stepped aside has succeeded: its lane has patience again.
    pub fn renew_patience(&mut self, key: &LaneKey) {
        self.spent.remove(key);
    }

    /// Since when a delivery that fails now has held its lane, where that is longer than the lane's patience.
    #[must_use]
    pub fn out_of_patience_since(&self, key: &LaneKey, now: i64) -> Option<i64> {
        let held_since = self.lanes.get(key)?.held_since?;
        (now - held_since >= self.patience_ms?).then_some(held_since)
    }

    /// Whether the lane has let one step aside, and none of its deliveries has succeeded since.
    #[must_use]
    pub fn is_spent(&self, key: &LaneKey) -> bool {
        match self.patience_ms {
            Some(0) => true,
            Some(_) => self.spent.contains(key),
            None => false,
        }
    }

    /// The next lane whose time has come.
    pub fn next_due_lane(&mut self, now: i64) -> Option<Due> {
        if self.waiting.first().is_none_or(|(tick, _)| *tick > now) {
            return None;
        }
        let (_, key) = self.waiting.pop_first()?;
        let lane = self.lanes.get_mut(&key)?;
        lane.until = None;
        if let (Some(head_due), Some(held_since)) = (lane.head_due, lane.held_since)
            && head_due > now
        {
            return Some(Due::OutOfPatience { lane: key, held_since, head_due });
        }
        self.line_up(&key);
        Some(Due::Again)
    }

    /// The head of a lane that waits.
    #[must_use]
    pub fn head_of(&self, key: &LaneKey) -> Option<&Owed> {
        self.lanes.get(key)?.queue.front()
    }

    /// A lane whose time has come is to be looked at again at this tick.
    pub fn postpone(&mut self, key: &LaneKey, until: i64) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.until = Some(until);
            self.waiting.insert((until, key.clone()));
        }
    }

    /// The head of a lane that waited may go.
    pub fn line_up(&mut self, key: &LaneKey) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.head_due = None;
            self.place(key);
        }
    }

    /// The head of a lane that waits steps aside; the next may go.
    pub fn step_aside(&mut self, key: &LaneKey) -> Option<Owed> {
        self.spend(key.clone());
        let lane = self.lanes.get_mut(key)?;
        let owed = lane.queue.pop_front();
        lane.head_due = None;
        lane.held_since = None;
        self.queued_bytes -= owed.as_ref().map_or(0, bytes_of);
        self.place(key);
        owed
    }

    /// The circuit has opened: what waits for a time of its own now waits for the circuit, in order.
    pub fn line_up_all(&mut self) {
        while let Some((_, key)) = self.waiting.pop_first() {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.until = None;
                lane.head_due = None;
                lane.held_since = None;
                self.place(&key);
            }
        }
    }

    /// Keeps only what is out; the rest is found in the store again.
    pub fn forget_what_waits(&mut self) {
        self.ready.clear();
        self.waiting.clear();
        self.queued_bytes = 0;
        self.beyond = fetch::Beyond::after_start(self.bounds.lanes_max);
        self.lanes.retain(|_, lane| lane.out > 0);
        for lane in self.lanes.values_mut() {
            // Without order the first in the queue need not be the first in the store.
            if let Some(first) = lane.queue.iter().map(|owed| owed.sequence).min() {
                lane.last = first - 1;
                lane.has_more = true;
            }
            *lane = Lane { last: lane.last, out: lane.out, has_more: lane.has_more, ..Lane::default() };
        }
    }

    /// Takes a delivery out of memory that a person cancelled.
    pub fn cancel(&mut self, key: &LaneKey, sequence: i64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(at) = lane.queue.iter().position(|owed| owed.sequence == sequence) else { return };
        let owed = lane.queue.remove(at);
        if at == 0 {
            lane.head_due = None;
            lane.held_since = None;
            if let Some(until) = lane.until.take() {
                self.waiting.remove(&(until, key.clone()));
            }
        }
        self.queued_bytes -= owed.as_ref().map_or(0, bytes_of);
        self.place(key);
    }

    /// The first tick after now at which a lane's time comes, or the store is to be looked into again.
    #[must_use]
    pub fn next_due(&self, now: i64) -> Option<i64> {
        let first = self.waiting.first().map(|(due, _)| *due);
        first.into_iter().chain(self.beyond.held_due()).filter(|tick| *tick > now).min()
    }

    /// The store holds something that could be in memory.
    #[must_use]
    pub fn lacks_some(&self, now: i64) -> bool {
        self.beyond.is_to_be_fetched(now)
    }

    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Roughly the bytes of memory that the queued deliveries take.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Nothing is out, nothing is queued, and the store holds nothing that memory does not.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.beyond.is_nothing()
    }

    fn open(&mut self, head: Owed, head_due: Option<i64>, held_since: Option<i64>) {
        let key = head.lane.clone();
        self.queued_bytes += bytes_of(&head);
        let lane = Lane {
            last: head.sequence,
            queue: VecDeque::from([head]),
            head_due,
            held_since,
            ..Lane::default()
        };
        self.lanes.insert(key.clone(), lane);
        self.place(&key);
    }

    fn take_back(&mut self, owed: Owed) -> Option<(LaneKey, &mut Lane)> {
        let key = owed.lane.clone();
        let lane = self.lanes.get_mut(&key)?;
        lane.out = lane.out.saturating_sub(1);
        self.queued_bytes += bytes_of(&owed);
        lane.queue.push_front(owed);
        Some((key, lane))
    }

    fn spend(&mut self, key: LaneKey) {
        // Which ones are forgotten at the bound makes a difference only to how soon a lane steps aside again.
        if self.spent.len() >= self.bounds.lanes_max
            && let Some(other) = self.spent.iter().next().cloned()
        {
            self.spent.remove(&other);
        }
        self.spent.insert(key);
    }

    /// Puts a lane where it belongs after any change: lined up, waiting, short of deliveries, or gone.
    fn place(&mut self, key: &LaneKey) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if lane.queue.is_empty() {
            if lane.has_more {
                if !lane.is_fetching && !lane.is_short {
                    lane.is_short = true;
                    self.beyond.ask_for_more(key.clone());
                }
            } else if lane.out == 0 && !lane.is_fetching && !lane.is_lined_up {
                self.lanes.remove(key);
            }
            return;
        }
        let is_held_back = lane.out > 0 && self.order == Order::Kept;
        if is_held_back || lane.is_lined_up || lane.until.is_some() {
            return;
        }
        let Some(due) = lane.head_due else {
            lane.is_lined_up = true;
            self.ready.push_back(key.clone());
            return;
        };
        let out_of_patience =
            lane.held_since.zip(self.patience_ms).map(|(since, ms)| since.saturating_add(ms));
        let until = out_of_patience.into_iter().chain([due]).min().unwrap_or(due);
        lane.until = Some(until);
        self.waiting.insert((until, key.clone()));
    }
}

fn order_of(patience_ms: Option<i64>) -> Order {
    if patience_ms == Some(0) { Order::None } else { Order::Kept }
}

fn bytes_of(owed: &Owed) -> usize {
    owed.body.len() + OWED_BYTES
}

/// The tick of a stored due time. A time further off than its own step is cut to that step: the wall clock may
/// have jumped.
fn due_tick(owed: &Owed, now: Now) -> Option<i64> {
    let ahead_ms = owed.due?.ms - now.wall.ms;
    (ahead_ms > 0).then(|| now.tick + ahead_ms.min(retry::longest_wait_ms(owed.steps)))
}

/// Since when the wall clock goes with the ticks: what it tells of the time before is not to be trusted.
#[derive(Debug, Clone, Copy)]
pub struct SteadyClock {
    ahead_ms: i64,
    since: i64,
}

/// How far the two clocks may drift apart between two looks.
const DRIFT_MS_MAX: i64 = 1_000;

impl SteadyClock {
    #[must_use]
    pub fn from_now(now: Now) -> Self {
        Self { ahead_ms: now.wall.ms - now.tick, since: now.tick }
    }

    /// Takes note of a wall clock that has jumped.
    #[must_use]
    pub fn looked_at(self, now: Now) -> Self {
        let seen = Self::from_now(now);
        if (seen.ahead_ms - self.ahead_ms).abs() > DRIFT_MS_MAX { seen } else { self }
    }

    /// Since when a stored delivery has held its lane, where it has failed: patience counts from the last start, or
    /// jump of the clock, at the earliest.
    fn held_since(self, owed: &Owed, now: Now) -> i64 {
        let failed_ago_ms = owed.first_failed_at.map_or(0, |at| (now.wall.ms - at.ms).max(0));
        (now.tick - failed_ago_ms).max(self.since)
    }
}
