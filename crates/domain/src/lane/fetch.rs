//! What the store holds of a webhook's lanes that memory does not, and how it comes back.

use std::collections::{BTreeSet, HashSet, VecDeque};

use super::{Lane, Lanes, bytes_of, due_tick};
use crate::delivery::Owed;
use crate::ids::{LaneKey, Now};

/// Lanes fetched at once.
const PAGE_MAX: usize = 64;

/// What the lanes need from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    /// Waiting deliveries of one lane after a sequence.
    More { lane: LaneKey, after: i64 },
    /// The first deliveries of these lanes.
    Named { lanes: Vec<LaneKey> },
    /// The first deliveries of the lanes that come next in the order of their names.
    Walk { after: Option<LaneKey>, count_max: usize },
}

/// A lane with the first of its waiting deliveries, in the order of sequence.
#[derive(Debug, Clone)]
pub struct LanePart {
    pub lane: LaneKey,
    pub owed: Vec<Owed>,
    /// The store holds more of it after these.
    pub has_more: bool,
}

/// The store's answer to a [`Fetch`].
#[derive(Debug, Clone)]
pub enum Fetched {
    More(LanePart),
    Lanes(Vec<LanePart>),
}

/// Lanes of which the store holds deliveries and memory has nothing.
#[derive(Debug, Default)]
pub(super) struct Beyond {
    /// Lanes with more in the store and nothing in memory.
    short: VecDeque<LaneKey>,
    /// Lanes known by name that found no room.
    wanted: BTreeSet<LaneKey>,
    wanted_max: usize,
    /// Those of them that a fetch under way asks for.
    asked: HashSet<LaneKey>,
    /// The walk over all names.
    walk: Option<Walk>,
    /// When the first of the lanes that were left to the store, since they wait, is due.
    held_due: Option<i64>,
}

#[derive(Debug, Default)]
struct Walk {
    after: Option<LaneKey>,
    /// A lane came that is not even known by name: when the walk has ended, another begins.
    is_to_be_repeated: bool,
}

impl Beyond {
    pub fn after_start(wanted_max: usize) -> Self {
        Self { walk: Some(Walk::default()), wanted_max, ..Self::default() }
    }

    /// Whether the store may hold deliveries of a lane that memory does not know.
    pub fn may_hold(&self, lane: &LaneKey) -> bool {
        self.walk.is_some()
            || self.held_due.is_some()
            || self.wanted.contains(lane)
            || self.asked.contains(lane)
    }

    pub fn want(&mut self, lane: LaneKey) {
        if self.wanted.len() < self.wanted_max {
            self.wanted.insert(lane);
        } else {
            self.walk_again();
        }
    }

    pub fn ask_for_more(&mut self, lane: LaneKey) {
        self.short.push_back(lane);
    }

    /// Something that waits in the store alone may go from this tick on.
    pub fn look_again_at(&mut self, tick: i64) {
        self.held_due = Some(self.held_due.map_or(tick, |due| due.min(tick)));
    }

    pub fn held_due(&self) -> Option<i64> {
        self.held_due
    }

    pub fn is_to_be_fetched(&self, now: i64) -> bool {
        let is_held_due = self.held_due.is_some_and(|due| due <= now);
        !self.short.is_empty() || !self.wanted.is_empty() || self.walk.is_some() || is_held_due
    }

    pub fn is_nothing(&self) -> bool {
        self.walk.is_none() && self.held_due.is_none() && self.wanted.is_empty() && self.asked.is_empty()
    }

    fn walk_again(&mut self) {
        match &mut self.walk {
            Some(walk) => walk.is_to_be_repeated = true,
            None => self.walk = Some(Walk::default()),
        }
    }
}

impl Lanes {
    /// What to ask the store for next. One fetch is under way at a time.
    ///
    /// `is_written` tells whether the store knows how a delivery stands, so that its lane may be left to it.
    pub fn next_fetch(&mut self, now: i64, is_written: &dyn Fn(i64) -> bool) -> Option<Fetch> {
        while let Some(key) = self.beyond.short.pop_front() {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.is_short = false;
            if lane.has_more && lane.queue.is_empty() {
                lane.is_fetching = true;
                lane.has_missed = false;
                return Some(Fetch::More { lane: key, after: lane.last });
            }
        }
        if self.beyond.held_due.is_some_and(|due| due <= now) {
            self.beyond.held_due = None;
            self.beyond.walk_again();
        }
        if self.beyond.wanted.is_empty() && self.beyond.walk.is_none() {
            return None;
        }
        let room = self.room_for_lanes(is_written);
        if room == 0 {
            return None;
        }
        if !self.beyond.wanted.is_empty() {
            let lanes: Vec<LaneKey> =
                std::iter::from_fn(|| self.beyond.wanted.pop_first()).take(room).collect();
            self.beyond.asked = lanes.iter().cloned().collect();
            return Some(Fetch::Named { lanes });
        }
        let walk = self.beyond.walk.as_ref()?;
        Some(Fetch::Walk { after: walk.after.clone(), count_max: room })
    }

    /// The answer to the fetch under way. `is_hidden` tells of deliveries that the answer may still show and that
    /// are out, or ended since.
    pub fn fetched(&mut self, fetch: &Fetch, fetched: Fetched, now: Now, is_hidden: &dyn Fn(i64) -> bool) {
        self.clock = self.clock.looked_at(now);
        match (fetch, fetched) {
            (Fetch::More { .. }, Fetched::More(part)) => self.fetched_more(part, now, is_hidden),
            (Fetch::Named { .. }, Fetched::Lanes(page)) => {
                self.take_in(page, now, is_hidden);
                self.beyond.asked.clear();
            }
            (Fetch::Walk { count_max, .. }, Fetched::Lanes(page)) => {
                let is_last_page = page.len() < *count_max;
                let last = page.last().map(|part| part.lane.clone());
                self.take_in(page, now, is_hidden);
                self.walked(last, is_last_page);
            }
            (Fetch::More { .. }, Fetched::Lanes(_))
            | (Fetch::Named { .. } | Fetch::Walk { .. }, Fetched::More(_)) => {
                panic!("a fetch is answered in its own kind")
            }
        }
    }

    /// The store refused: it is asked again at the next chance.
    pub fn fetch_failed(&mut self, fetch: &Fetch) {
        match fetch {
            Fetch::More { lane, .. } => {
                if let Some(known) = self.lanes.get_mut(lane) {
                    known.is_fetching = false;
                    self.place(lane);
                }
            }
            Fetch::Named { lanes } => {
                self.beyond.asked.clear();
                for lane in lanes {
                    self.beyond.want(lane.clone());
                }
            }
            Fetch::Walk { .. } => {}
        }
    }

    fn fetched_more(&mut self, part: LanePart, now: Now, is_hidden: &dyn Fn(i64) -> bool) {
        let Some(lane) = self.lanes.get_mut(&part.lane) else { return };
        lane.is_fetching = false;
        lane.has_more = part.has_more || lane.has_missed;
        let was_empty = lane.queue.is_empty();
        for next in part.owed {
            if next.sequence > lane.last {
                lane.last = next.sequence;
                if !is_hidden(next.sequence) {
                    self.queued_bytes += bytes_of(&next);
                    lane.queue.push_back(next);
                }
            }
        }
        if was_empty && let Some(head) = lane.queue.front() {
            lane.head_due = due_tick(head, now);
            lane.held_since = lane.head_due.map(|_| self.clock.held_since(head, now));
        }
        self.place(&part.lane);
    }

    fn take_in(&mut self, page: Vec<LanePart>, now: Now, is_hidden: &dyn Fn(i64) -> bool) {
        for mut part in page {
            // Offers that came while the page was read may be in it, or not.
            let was_offered = self.beyond.wanted.remove(&part.lane);
            if part.owed.is_empty() && !part.has_more && !was_offered {
                // What is not even known by name is found by the walk that is to be repeated for it, which would
                // never come if this lane were asked for again and again.
                continue;
            }
            let overflowed = self.beyond.walk.as_ref().is_some_and(|walk| walk.is_to_be_repeated);
            part.has_more |= was_offered || overflowed;
            match self.lanes.get_mut(&part.lane) {
                None => self.open_fetched(part, now, is_hidden),
                Some(lane) if was_offered => {
                    (lane.has_more, lane.has_missed) = (true, true);
                    self.place(&part.lane);
                }
                Some(_) => {}
            }
        }
    }

    fn open_fetched(&mut self, part: LanePart, now: Now, is_hidden: &dyn Fn(i64) -> bool) {
        let LanePart { lane: key, owed, has_more } = part;
        let Some(last) = owed.last().map(|owed| owed.sequence) else {
            if has_more {
                self.beyond.want(key);
            }
            return;
        };
        let queue: VecDeque<Owed> = owed.into_iter().filter(|owed| !is_hidden(owed.sequence)).collect();
        if queue.is_empty() && !has_more {
            return;
        }
        let head_due = queue.front().and_then(|head| due_tick(head, now));
        let held_since = head_due.and(queue.front()).map(|head| self.clock.held_since(head, now));
        if let Some(due) = head_due
            && self.lanes.len() >= self.crowded()
        {
            let out_of_patience = held_since.zip(self.patience_ms).map(|(s, ms)| s.saturating_add(ms));
            let until = out_of_patience.map_or(due, |end| end.min(due));
            if until > now.tick {
                return self.beyond.look_again_at(until);
            }
        }
        self.queued_bytes += queue.iter().map(bytes_of).sum::<usize>();
        let lane = Lane { queue, last, head_due, held_since, has_more, ..Lane::default() };
        self.lanes.insert(key.clone(), lane);
        self.place(&key);
    }

    fn walked(&mut self, last: Option<LaneKey>, is_last_page: bool) {
        let Some(walk) = &mut self.beyond.walk else { return };
        if !is_last_page {
            walk.after = last;
        } else if walk.is_to_be_repeated {
            *walk = Walk::default();
        } else {
            self.beyond.walk = None;
        }
    }

    /// With this many lanes in memory, lanes that could not go anyway stay in the store.
    fn crowded(&self) -> usize {
        (self.bounds.lanes_max / 2).max(1)
    }

    /// Room for so many lanes; where there is none, lanes that only wait are left to the store.
    fn room_for_lanes(&mut self, is_written: &dyn Fn(i64) -> bool) -> usize {
        let page_max = PAGE_MAX.min(self.crowded());
        let room = |lanes: &Self| lanes.bounds.lanes_max.saturating_sub(lanes.lanes.len()).min(page_max);
        if room(self) >= page_max {
            return page_max;
        }
        let leaving: Vec<(i64, LaneKey)> = self
            .waiting
            .iter()
            .rev()
            .filter(|(_, key)| {
                self.lanes.get(key).is_some_and(|lane| {
                    lane.out == 0
                        && !lane.is_fetching
                        && lane.queue.iter().all(|owed| is_written(owed.sequence))
                })
            })
            .take(self.crowded())
            .cloned()
            .collect();
        for (until, key) in leaving {
            if let Some(lane) = self.lanes.remove(&key) {
                self.queued_bytes -= lane.queue.iter().map(bytes_of).sum::<usize>();
            }
            self.beyond.look_again_at(until);
            self.waiting.remove(&(until, key));
        }
        room(self)
    }
}
