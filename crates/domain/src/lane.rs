//! The lanes of one webhook: deliveries with the same key go one after the other, keys side by side.
//!
//! Memory is bounded: what does not fit stays in the store and is fetched again by key, so that a
//! long lane never keeps another from the store. Time is monotonic ticks in milliseconds.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::delivery::Owed;
use crate::ids::LaneKey;

/// Deliveries of one lane held in memory (design 4).
pub const LANE_LENGTH_MAX: usize = 64;
/// Lanes of one webhook held in memory (design 4).
pub const LANES_MAX: usize = 4_096;

#[derive(Debug)]
pub struct Lanes {
    lanes: HashMap<LaneKey, Lane>,
    /// Heads that may go now, the first to come first.
    ready: VecDeque<LaneKey>,
    /// Heads that wait for their tick.
    waiting: BTreeSet<(i64, LaneKey)>,
    in_flight: usize,
    in_flight_max: usize,
    /// Lanes with more in the store and room in memory.
    short: VecDeque<LaneKey>,
    /// The store holds keys that memory does not.
    scan: Option<Scan>,
}

#[derive(Debug)]
struct Lane {
    queue: VecDeque<Owed>,
    /// The highest sequence ever queued here: an offer at or below it is a repeat.
    last: i64,
    head_is_out: bool,
    /// The store holds more of this lane, after `last`.
    has_more: bool,
    /// An offer was left to the store while a fetch was under way: that fetch may not have seen it.
    missed_one: bool,
    is_fetching: bool,
}

/// The walk over the store's keys that brings back what memory had no room for.
#[derive(Debug, Default)]
struct Scan {
    after: Option<LaneKey>,
    missed_one: bool,
    is_fetching: bool,
}

/// What the lanes need from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    /// Waiting deliveries of one key after a sequence, at most [`LANE_LENGTH_MAX`].
    Lane { key: LaneKey, after: i64 },
    /// Keys with waiting deliveries, in order of the key, after one.
    Keys { after: Option<LaneKey>, count_max: usize },
}

/// What became of a head that was out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// It ended; the next may go.
    Ended,
    /// It waits until a tick, and holds its lane.
    Waits { owed: Owed, until: i64 },
}

impl Lanes {
    /// Lanes that first look into the store for what an earlier start left.
    #[must_use]
    pub fn after_start(in_flight_max: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            in_flight: 0,
            in_flight_max,
            short: VecDeque::new(),
            scan: Some(Scan::default()),
        }
    }

    /// Takes a delivery that was just committed. Offers of one webhook come in the order of sequence.
    pub fn offer(&mut self, owed: Owed) {
        let Some(lane) = self.lanes.get_mut(&owed.lane) else {
            // While the store holds keys that memory does not, this may be one of them with earlier
            // deliveries before it, so only the walk may open its lane.
            if let Some(scan) = &mut self.scan {
                scan.missed_one = true;
            } else if self.lanes.len() >= LANES_MAX {
                self.scan = Some(Scan { after: None, missed_one: true, is_fetching: false });
            } else {
                self.open(owed, i64::MIN);
            }
            return;
        };
        if owed.sequence <= lane.last {
            return;
        }
        if lane.has_more || lane.queue.len() >= LANE_LENGTH_MAX {
            lane.missed_one = true;
            if !lane.has_more {
                lane.has_more = true;
                if lane.queue.is_empty() {
                    self.short.push_back(owed.lane);
                }
            }
            return;
        }
        lane.last = owed.sequence;
        lane.queue.push_back(owed);
    }

    /// The next delivery that may go, if any. It is out until [`Self::returned`] is called for its key.
    pub fn take(&mut self, now: i64) -> Option<Owed> {
        while self.waiting.first().is_some_and(|(due, _)| *due <= now) {
            let (_, key) = self.waiting.pop_first().expect("just seen");
            self.ready.push_back(key);
        }
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        let key = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&key).expect("a ready key has a lane");
        lane.head_is_out = true;
        self.in_flight += 1;
        Some(lane.queue.pop_front().expect("a ready lane has a head"))
    }

    /// Gives back the head of a lane after its attempt.
    pub fn returned(&mut self, key: &LaneKey, returned: Returned) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if !lane.head_is_out {
            return;
        }
        lane.head_is_out = false;
        self.in_flight -= 1;
        match returned {
            Returned::Waits { owed, until } => {
                lane.queue.push_front(owed);
                self.waiting.insert((until, key.clone()));
            }
            Returned::Ended => self.advance(key, i64::MIN),
        }
    }

    /// The tick at which [`Self::take`] may give something that it does not give now.
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        self.waiting.first().map(|(due, _)| *due)
    }

    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Nothing is out, nothing is queued, and the store holds nothing that memory does not.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.scan.is_none()
    }

    /// What to ask the store for; each is asked once until its answer is given back.
    pub fn next_fetch(&mut self) -> Option<Fetch> {
        if let Some(key) = self.short.pop_front() {
            let lane = self.lanes.get_mut(&key)?;
            lane.is_fetching = true;
            lane.missed_one = false;
            return Some(Fetch::Lane { key, after: lane.last });
        }
        let room = LANES_MAX.saturating_sub(self.lanes.len());
        let scan = self.scan.as_mut()?;
        // Half the room at least, so that a full house is not asked for one key at a time.
        if scan.is_fetching || room < LANES_MAX / 2 {
            return None;
        }
        if scan.after.is_none() {
            scan.missed_one = false;
        }
        scan.is_fetching = true;
        Some(Fetch::Keys { after: scan.after.clone(), count_max: room.min(256) })
    }

    /// The answer to [`Fetch::Keys`]: each key with its first deliveries and whether there are more.
    /// `due` turns a delivery's wall time into a tick.
    pub fn fetched_keys(
        &mut self,
        keys: Vec<(LaneKey, Vec<Owed>)>,
        is_last_page: bool,
        due: &dyn Fn(&Owed) -> i64,
    ) {
        if let Some((last, _)) = keys.last()
            && let Some(scan) = &mut self.scan
        {
            scan.after = Some(last.clone());
        }
        // An offer that came while the page was read may belong to one of its keys and not be in it.
        let may_lack_some = self.scan.as_ref().is_some_and(|scan| scan.missed_one);
        for (key, owed) in keys {
            if self.lanes.contains_key(&key) || owed.is_empty() {
                continue;
            }
            let has_more = may_lack_some || owed.len() >= LANE_LENGTH_MAX;
            let mut owed = owed.into_iter();
            let head = owed.next().expect("not empty");
            let until = due(&head);
            self.open(head, until);
            let lane = self.lanes.get_mut(&key).expect("just opened");
            for next in owed {
                lane.last = next.sequence;
                lane.queue.push_back(next);
            }
            lane.has_more = has_more;
        }
        let Some(scan) = &mut self.scan else { return };
        scan.is_fetching = false;
        if is_last_page {
            if scan.missed_one {
                *scan = Scan::default();
            } else {
                self.scan = None;
            }
        }
    }

    /// The answer to [`Fetch::Lane`].
    pub fn fetched_lane(&mut self, key: &LaneKey, owed: Vec<Owed>, due: &dyn Fn(&Owed) -> i64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.is_fetching = false;
        lane.has_more = owed.len() >= LANE_LENGTH_MAX || lane.missed_one;
        for next in owed {
            if next.sequence > lane.last {
                lane.last = next.sequence;
                lane.queue.push_back(next);
            }
        }
        if !lane.head_is_out {
            let until = lane.queue.front().map_or(i64::MIN, due);
            self.advance(key, until);
        }
    }

    /// A fetch failed: it is asked again at the next chance.
    pub fn fetch_failed(&mut self, fetch: &Fetch) {
        match fetch {
            Fetch::Lane { key, .. } => {
                if let Some(lane) = self.lanes.get_mut(key) {
                    lane.is_fetching = false;
                    self.short.push_back(key.clone());
                }
            }
            Fetch::Keys { .. } => {
                if let Some(scan) = &mut self.scan {
                    scan.is_fetching = false;
                }
            }
        }
    }

    fn open(&mut self, head: Owed, until: i64) {
        let key = head.lane.clone();
        let lane = Lane {
            last: head.sequence,
            queue: VecDeque::from([head]),
            head_is_out: false,
            has_more: false,
            missed_one: false,
            is_fetching: false,
        };
        self.lanes.insert(key.clone(), lane);
        self.line_up(key, until);
    }

    fn line_up(&mut self, key: LaneKey, until: i64) {
        if until == i64::MIN {
            self.ready.push_back(key);
        } else {
            self.waiting.insert((until, key));
        }
    }

    /// After a head has gone: the next lines up, or the store is asked, or the lane is closed.
    fn advance(&mut self, key: &LaneKey, until: i64) {
        let lane = self.lanes.get_mut(key).expect("its caller found it");
        let is_empty = lane.queue.is_empty();
        if !is_empty {
            self.line_up(key.clone(), until);
        } else if lane.has_more && !lane.is_fetching {
            self.short.push_back(key.clone());
        } else if !lane.is_fetching {
            self.lanes.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::EventId;

    fn owed(sequence: i64, key: &str) -> Owed {
        Owed {
            webhook_row: 1,
            stream: 1,
            sequence,
            lane: LaneKey::trusted(key),
            event_id: EventId::trusted("e"),
            body: Arc::from("{}"),
            attempts: 0,
            steps: 0,
            due: None,
            first_failed_at: None,
            is_aside: false,
            replay: None,
        }
    }

    /// Answers every fetch from a model of the store's waiting rows.
    fn feed(lanes: &mut Lanes, store: &BTreeMap<(LaneKey, i64), Owed>) {
        while let Some(fetch) = lanes.next_fetch() {
            match fetch {
                Fetch::Lane { key, after } => {
                    let rows = store.values().filter(|o| o.lane == key && o.sequence > after);
                    lanes.fetched_lane(&key, rows.take(LANE_LENGTH_MAX).cloned().collect(), &|_| i64::MIN);
                }
                Fetch::Keys { after, count_max } => {
                    let mut keys: Vec<LaneKey> = store.keys().map(|(key, _)| key.clone()).collect();
                    keys.dedup();
                    keys.retain(|key| after.as_ref().is_none_or(|a| key > a));
                    let is_last = keys.len() <= count_max;
                    keys.truncate(count_max);
                    let page = keys
                        .into_iter()
                        .map(|key| {
                            let rows = store.values().filter(|o| o.lane == key);
                            let rows = rows.take(LANE_LENGTH_MAX).cloned().collect();
                            (key, rows)
                        })
                        .collect();
                    lanes.fetched_keys(page, is_last, &|_| i64::MIN);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_delivery_goes_once_and_each_key_in_order(
            left_over in proptest::collection::vec(0usize..4, 0..200),
            live in proptest::collection::vec((0usize..4, any::<bool>()), 0..300),
        ) {
            let mut store = BTreeMap::new();
            let mut sequence = 0;
            let mut commit = |key: usize, store: &mut BTreeMap<(LaneKey, i64), Owed>| {
                sequence += 1;
                let owed = owed(sequence, &format!("k{key}"));
                store.insert((owed.lane.clone(), sequence), owed.clone());
                owed
            };
            for key in left_over {
                commit(key, &mut store);
            }
            let mut lanes = Lanes::after_start(2);
            let mut gone: Vec<Owed> = Vec::new();
            let mut out: VecDeque<Owed> = VecDeque::new();
            for (key, does_step) in live {
                lanes.offer(commit(key, &mut store));
                if does_step {
                    feed(&mut lanes, &store);
                    out.extend(lanes.take(0));
                }
                if out.len() == 2 {
                    let done = out.pop_front().expect("two are out");
                    store.remove(&(done.lane.clone(), done.sequence));
                    lanes.returned(&done.lane, Returned::Ended);
                    gone.push(done);
                }
            }
            for _ in 0..10_000 {
                feed(&mut lanes, &store);
                out.extend(lanes.take(0));
                let Some(done) = out.pop_front() else { break };
                store.remove(&(done.lane.clone(), done.sequence));
                lanes.returned(&done.lane, Returned::Ended);
                gone.push(done);
            }
            prop_assert!(store.is_empty(), "left behind: {:?}", store.keys().collect::<Vec<_>>());
            prop_assert!(lanes.is_idle());
            prop_assert_eq!(gone.len() as i64, sequence);
            let mut last: BTreeMap<LaneKey, i64> = BTreeMap::new();
            for done in gone {
                let before = last.insert(done.lane, done.sequence).unwrap_or(0);
                prop_assert!(done.sequence > before);
            }
        }
    }

    #[test]
    fn what_is_committed_while_a_page_of_keys_is_read_goes_in_its_order() {
        let mut lanes = Lanes::after_start(8);
        let mut store = BTreeMap::from([((LaneKey::trusted("a"), 1), owed(1, "a"))]);
        assert!(matches!(lanes.next_fetch(), Some(Fetch::Keys { .. })));
        let page = vec![(LaneKey::trusted("a"), vec![owed(1, "a")])];
        // The page is read; this one comes too late for it and too early for the lane.
        store.insert((LaneKey::trusted("a"), 2), owed(2, "a"));
        lanes.offer(owed(2, "a"));
        lanes.fetched_keys(page, true, &|_| i64::MIN);
        feed(&mut lanes, &store);
        store.insert((LaneKey::trusted("a"), 3), owed(3, "a"));
        lanes.offer(owed(3, "a"));
        let mut gone = Vec::new();
        while let Some(out) = lanes.take(0) {
            store.remove(&(out.lane.clone(), out.sequence));
            gone.push(out.sequence);
            lanes.returned(&out.lane, Returned::Ended);
            feed(&mut lanes, &store);
        }
        assert_eq!(gone, [1, 2, 3]);
        assert!(lanes.is_idle());
    }

    #[test]
    fn a_waiting_head_holds_its_lane_and_no_other() {
        let mut lanes = Lanes::after_start(8);
        feed(&mut lanes, &BTreeMap::new());
        for (sequence, key) in [(1, "a"), (2, "a"), (3, "b")] {
            lanes.offer(owed(sequence, key));
        }
        let head = lanes.take(0).expect("the head of a");
        lanes.returned(&LaneKey::trusted("a"), Returned::Waits { owed: head, until: 100 });
        assert_eq!(lanes.take(0).map(|o| o.sequence), Some(3));
        assert_eq!(lanes.take(99), None);
        assert_eq!(lanes.next_due(), Some(100));
        assert_eq!(lanes.take(100).map(|o| o.sequence), Some(1));
    }
}
