//! A line with a store that writes at once, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::delivery::Settlement;
use crate::ids::{EventId, Key};
use crate::lane::{Fetch, Fetched, LanePart};
use crate::outcome::{Answer, Failure, Outcome};

const MINUTE_MS: i64 = 60_000;

struct Rig {
    line: Line,
    /// What waits in the store.
    store: BTreeMap<i64, Owed>,
    tick: i64,
    last: i64,
}

impl Rig {
    fn new() -> Self {
        Self::with(Some(MINUTE_MS), 64, Bounds::default())
    }

    fn with(patience_ms: Option<i64>, in_flight_max: usize, bounds: Bounds) -> Self {
        let policy = Policy { patience_ms, retries: Retries::OnFailure, in_flight_max, bounds };
        let line = Line::after_start(policy, None, now_at(0));
        let mut rig = Self { line, store: BTreeMap::new(), tick: 0, last: 0 };
        rig.fetch();
        rig
    }

    fn now(&self) -> Now {
        now_at(self.tick)
    }

    /// Commits one for each of these keys, and offers it.
    fn commit<const N: usize>(&mut self, keys: [&str; N]) {
        for key in keys {
            self.commit_to(LaneKey::live(&Key::trusted(key)));
        }
    }

    fn commit_to(&mut self, lane: LaneKey) {
        self.last += 1;
        let owed = Owed {
            webhook_row: 1,
            stream: 1,
            sequence: self.last,
            lane,
            event_id: EventId::trusted("e"),
            body: Arc::from("{}"),
            attempts: 0,
            steps: 0,
            due: None,
            first_failed_at: None,
            is_aside: false,
            replay: None,
        };
        self.store.insert(self.last, owed.clone());
        self.line.offer(owed, Room::Ample);
    }

    fn take(&mut self) -> Option<Taken> {
        let taken = self.line.take(self.tick);
        for note in self.line.take_notes() {
            if let Note::SteppedAside { sequence, .. } = note {
                self.store.get_mut(&sequence).expect("it waits").is_aside = true;
                self.line.written(sequence);
            }
        }
        self.fetch();
        taken.or_else(|| self.line.take(self.tick))
    }

    /// Takes all that may go.
    fn take_all(&mut self) -> Vec<Taken> {
        std::iter::from_fn(|| self.take()).collect()
    }

    fn end(&mut self, taken: Taken, outcome: &Outcome) {
        let sequence = taken.owed.sequence;
        match self.line.returned(taken, outcome, self.now(), 0.0) {
            Settlement::Delivered | Settlement::Failed => drop(self.store.remove(&sequence)),
            Settlement::Waits { due, steps, first_failed_at, is_aside } => {
                let owed = self.store.get_mut(&sequence).expect("it waits");
                owed.attempts += 1;
                (owed.due, owed.steps, owed.is_aside) = (Some(due), steps, is_aside);
                owed.first_failed_at = Some(first_failed_at);
            }
        }
        self.line.written(sequence);
        self.fetch();
    }

    /// The only one that may go, and what comes of it.
    #[track_caller]
    fn goes(&mut self, sequence: i64, status: u16) {
        let taken = self.take_all();
        assert_eq!(sequences(&taken), [sequence], "at {} ms", self.tick);
        taken.into_iter().for_each(|one| self.end(one, &answer(status)));
    }

    #[track_caller]
    fn nothing_goes(&mut self) {
        assert_eq!(sequences(&self.take_all()), [0; 0], "at {} ms", self.tick);
    }

    fn fetch(&mut self) {
        let mut turns = 0;
        while let Some(AskedFetch { number, fetch }) = self.line.next_fetch(self.now()) {
            let fetched = match fetch {
                LineFetch::Live(fetch) => LineFetched::Lanes(self.read(&fetch, false)),
                LineFetch::Replays(fetch) => LineFetched::Lanes(self.read(&fetch, true)),
                LineFetch::Aside { until, count_max } => {
                    let mut owed: Vec<Owed> = self.store.values().filter(|o| o.is_aside).cloned().collect();
                    owed.sort_by_key(|owed| owed.due);
                    let due = owed.iter().take_while(|o| o.due <= Some(until)).count().min(count_max);
                    let next = owed.get(due).cloned();
                    owed.truncate(due);
                    LineFetched::Aside { owed, next }
                }
            };
            self.line.fetched(number, fetched, now_at(self.tick));
            turns += 1;
            assert!(turns < 1_000, "the store is asked without end");
        }
    }

    fn read(&self, fetch: &Fetch, is_replay: bool) -> Fetched {
        match fetch {
            Fetch::More { lane, after } => Fetched::More(self.part(lane, *after)),
            Fetch::Named { lanes } => Fetched::Lanes(lanes.iter().map(|lane| self.part(lane, 0)).collect()),
            Fetch::Walk { after, count_max } => {
                let in_lanes = self.store.values().filter(|o| !o.is_aside && o.lane.is_replay() == is_replay);
                let mut lanes: Vec<&LaneKey> = in_lanes.map(|o| &o.lane).collect();
                lanes.sort();
                lanes.dedup();
                lanes.retain(|lane| after.as_ref().is_none_or(|after| *lane > after));
                Fetched::Lanes(lanes.into_iter().take(*count_max).map(|lane| self.part(lane, 0)).collect())
            }
        }
    }

    fn part(&self, lane: &LaneKey, after: i64) -> LanePart {
        const LENGTH_MAX: usize = 2;
        let in_lane = self.store.values().filter(|o| o.lane == *lane && o.sequence > after && !o.is_aside);
        let owed: Vec<Owed> = in_lane.cloned().collect();
        LanePart {
            lane: lane.clone(),
            has_more: owed.len() > LENGTH_MAX,
            owed: owed.into_iter().take(LENGTH_MAX).collect(),
        }
    }
}

fn now_at(tick: i64) -> Now {
    Now { wall: Time::from_ms(1_760_000_000_000 + tick), tick }
}

fn answer(status: u16) -> Outcome {
    Outcome::Answered(Answer { status, retry_after_s: None, body: Vec::new(), is_cut: false, location: None })
}

fn sequences(taken: &[Taken]) -> Vec<i64> {
    taken.iter().map(|one| one.owed.sequence).collect()
}

/// The head of a lane has stepped aside; the lane has nothing else, and the endpoint works.
fn with_a_spent_lane() -> Rig {
    let mut rig = Rig::new();
    rig.commit(["a"]);
    rig.goes(1, 500);
    rig.tick = 1;
    rig.commit(["b"]);
    rig.goes(2, 200);
    for tick in [10_000, 40_000] {
        rig.tick = tick;
        rig.goes(1, 500);
    }
    rig.tick = MINUTE_MS;
    rig.nothing_goes();
    rig
}

#[test]
fn a_failing_head_holds_its_lane_for_its_patience_and_goes_on_by_itself() {
    let mut rig = Rig::new();
    rig.commit(["a", "a"]);
    rig.goes(1, 500);
    rig.tick = 1;
    rig.commit(["b"]);
    rig.goes(3, 200);
    for tick in [10_000, 40_000] {
        rig.tick = tick;
        rig.goes(1, 500);
    }
    rig.tick = MINUTE_MS - 1;
    rig.nothing_goes();
    assert_eq!(rig.line.next_due(rig.tick), Some(MINUTE_MS));
    rig.tick = MINUTE_MS;
    rig.goes(2, 200);
    assert_eq!(rig.line.next_due(rig.tick), Some(160_000), "its own schedule goes on");
    rig.tick = 160_000;
    rig.goes(1, 200);
    assert!(rig.line.is_idle());
}

#[test]
fn where_nothing_has_worked_since_patience_ends_in_an_open_circuit() {
    let mut rig = Rig::new();
    rig.commit(["b"]);
    rig.goes(1, 200);
    rig.tick = 1_000;
    rig.commit(["a", "a"]);
    for tick in [1_000, 11_000, 41_000] {
        rig.tick = tick;
        rig.goes(2, 500);
    }
    rig.tick = 61_000;
    rig.nothing_goes();
    assert!(rig.line.is_circuit_open());
    rig.tick = 71_000;
    rig.goes(2, 200);
    rig.goes(3, 200);
    assert!(rig.line.is_idle());
}

#[test]
fn an_attempt_in_flight_when_patience_ends_is_judged_when_it_returns() {
    for does_another_succeed in [true, false] {
        let mut rig = Rig::new();
        rig.commit(["a", "a"]);
        rig.goes(1, 500);
        rig.tick = 10_000;
        rig.goes(1, 500);
        rig.tick = 40_000;
        let taken = rig.take().expect("the head");
        if does_another_succeed {
            rig.commit(["b"]);
            rig.goes(3, 200);
        }
        rig.tick = MINUTE_MS;
        rig.end(taken, &answer(500));
        assert_eq!(rig.line.is_circuit_open(), !does_another_succeed);
        if does_another_succeed {
            rig.goes(2, 200);
        } else {
            rig.nothing_goes();
        }
    }
}

#[test]
fn a_spent_lane_lets_each_failing_one_aside_until_one_succeeds() {
    let mut rig = with_a_spent_lane();
    rig.commit(["a", "a", "a", "a"]);
    rig.goes(3, 500);
    rig.goes(4, 500);
    rig.goes(5, 200);
    rig.goes(6, 500);
    rig.commit(["a"]);
    rig.nothing_goes();
}

#[test]
fn a_delivery_that_was_aside_and_succeeds_gives_its_lane_patience_again() {
    let mut rig = with_a_spent_lane();
    rig.tick = 160_000;
    rig.goes(1, 200);
    rig.commit(["a", "a"]);
    rig.goes(3, 500);
    rig.nothing_goes();
}

#[test]
fn unlimited_patience_never_ends() {
    let mut rig = Rig::with(None, 64, Bounds::default());
    rig.commit(["a", "a"]);
    rig.goes(1, 500);
    let mut tick = 0;
    for wait_s in &crate::retry::WAITS_S[..9] {
        rig.commit(["b"]);
        let other = rig.last;
        rig.goes(other, 200);
        tick += wait_s * 1_000;
        rig.tick = tick;
        rig.goes(1, 500);
    }
    assert!(!rig.line.is_circuit_open());
}

#[test]
fn without_patience_there_is_no_order() {
    let mut rig = Rig::with(Some(0), 64, Bounds::default());
    rig.commit(["a", "a", "a"]);
    let taken = rig.take_all();
    assert_eq!(sequences(&taken), [1, 2, 3]);
    for (one, status) in taken.into_iter().zip([500, 200, 200]) {
        rig.end(one, &answer(status));
    }
    rig.commit(["a"]);
    rig.goes(4, 200);
    rig.tick = 10_000;
    rig.goes(1, 200);
}

#[test]
fn replays_have_at_most_half_of_the_places() {
    let mut rig = Rig::with(Some(MINUTE_MS), 8, Bounds::default());
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        rig.commit_to(LaneKey::replay(&Key::trusted(key)));
    }
    assert_eq!(rig.take_all().len(), 4);
    rig.commit(["a", "b", "c", "d", "e", "f"]);
    let live = rig.take_all();
    assert_eq!(sequences(&live), [9, 10, 11, 12]);
}

#[test]
fn each_probe_is_the_head_of_another_lane_and_nothing_is_passed_over() {
    let mut rig = Rig::new();
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    rig.commit(keys);
    rig.commit(keys);
    for one in rig.take_all() {
        rig.end(one, &answer(503));
    }
    assert!(rig.line.is_circuit_open());
    let mut probed = Vec::new();
    for wait_s in [10, 20, 40, 80] {
        rig.tick += wait_s * 1_000;
        let probe = rig.take_all().pop().expect("a probe");
        assert_eq!(probe.role, Role::Probe);
        probed.push(probe.owed.sequence);
        rig.end(probe, &answer(503));
        rig.nothing_goes();
    }
    probed.sort_unstable();
    probed.dedup();
    assert_eq!(probed.len(), 4, "{probed:?}");
    assert!(probed.iter().all(|sequence| *sequence <= 10), "{probed:?}");
}

#[test]
fn a_pause_that_is_asked_for_holds_all_lanes() {
    let mut rig = Rig::new();
    rig.commit(["a"]);
    let taken = rig.take().expect("the first");
    let busy =
        Answer { status: 429, retry_after_s: Some(120), body: Vec::new(), is_cut: false, location: None };
    rig.end(taken, &Outcome::Answered(busy));
    rig.commit(["b"]);
    rig.tick = 119_999;
    rig.nothing_goes();
    rig.tick = 120_000;
    assert!(sequences(&rig.take_all()).contains(&2));
}

#[test]
fn a_silent_endpoint_has_two_in_flight() {
    let mut rig = Rig::new();
    rig.commit(["a"]);
    let taken = rig.take().expect("the first");
    rig.end(taken, &Outcome::Failed(Failure::Timeout));
    rig.commit(["b", "c", "d"]);
    assert_eq!(rig.take_all().len(), 2);
}

#[test]
fn what_memory_cannot_hold_goes_from_the_store_in_order() {
    let bounds = Bounds { lane_length_max: 2, lanes_max: 3 };
    let mut rig = Rig::with(Some(MINUTE_MS), 64, bounds);
    for _ in 0..9 {
        rig.commit(["a", "b", "c", "d", "e", "f", "g", "h"]);
    }
    let mut gone = BTreeMap::<LaneKey, Vec<i64>>::new();
    let bytes_of_one = 256 + "{}".len();
    while let Some(taken) = rig.take() {
        assert!(rig.line.queued_bytes() <= bounds.lane_length_max * bounds.lanes_max * bytes_of_one);
        gone.entry(taken.owed.lane.clone()).or_default().push(taken.owed.sequence);
        rig.end(taken, &answer(200));
    }
    assert_eq!(gone.values().map(Vec::len).collect::<Vec<_>>(), [9; 8]);
    assert!(gone.values().all(|sequences| sequences.is_sorted()), "{gone:?}");
    assert!(rig.line.is_idle());
}

#[test]
fn a_lane_with_nothing_left_is_not_asked_for_again_and_again() {
    let bounds = Bounds { lane_length_max: 2, lanes_max: 2 };
    let mut rig = Rig::with(Some(MINUTE_MS), 64, bounds);
    // The first two find room, the next two are known by name, and for the last two the walk is repeated.
    rig.commit(["a", "b", "c", "d", "e", "f"]);
    for sequence in [3, 4] {
        let owed = rig.store.remove(&sequence).expect("it waits");
        rig.line.cancel(&owed.lane, sequence);
    }
    let mut gone = Vec::new();
    while let Some(taken) = rig.take() {
        gone.push(taken.owed.sequence);
        rig.end(taken, &answer(200));
    }
    assert_eq!(gone, [1, 2, 5, 6]);
    assert!(rig.line.is_idle());
}

#[test]
fn lanes_that_are_held_give_way_to_lanes_that_could_go() {
    let bounds = Bounds { lane_length_max: 2, lanes_max: 4 };
    let mut rig = Rig::with(Some(MINUTE_MS), 64, bounds);
    rig.commit(["a", "b", "c", "d"]);
    for one in rig.take_all() {
        rig.end(one, &answer(500));
    }
    rig.commit(["e", "f", "g", "h", "i", "j"]);
    let mut gone = Vec::new();
    while let Some(taken) = rig.take() {
        gone.push(taken.owed.sequence);
        rig.end(taken, &answer(200));
    }
    gone.sort_unstable();
    assert_eq!(gone, [5, 6, 7, 8, 9, 10]);
    rig.tick = 10_000;
    let mut again = Vec::new();
    while let Some(taken) = rig.take() {
        again.push(taken.owed.sequence);
        rig.end(taken, &answer(200));
    }
    again.sort_unstable();
    assert_eq!(again, [1, 2, 3, 4]);
}

#[test]
fn a_webhook_that_is_to_be_switched_off_sends_no_more() {
    let mut rig = Rig::new();
    rig.commit(["a", "b"]);
    let taken = rig.take().expect("the first");
    rig.end(taken, &answer(410));
    rig.nothing_goes();
    assert_eq!(rig.store.len(), 2, "both wait");
}

#[test]
fn nothing_is_fetched_before_what_was_forgotten_is_written() {
    let mut rig = Rig::new();
    rig.commit(["a", "a"]);
    let taken = rig.take().expect("the first");
    rig.line.returned(taken, &answer(503), now_at(0), 0.0);
    rig.line.forget_what_waits();
    rig.line.begin_anew(now_at(0));
    rig.nothing_goes();
    rig.line.written(1);
    rig.fetch();
    rig.goes(1, 200);
    rig.goes(2, 200);
}

#[test]
fn without_order_what_memory_lets_go_of_is_found_again_whichever_came_back_last() {
    let mut rig = Rig::with(Some(0), 64, Bounds::default());
    rig.commit(["a", "a", "a"]);
    let mut out = rig.take_all();
    assert_eq!(sequences(&out), [1, 2, 3]);
    let third = out.pop().expect("the third");
    for one in out {
        rig.end(one, &answer(500));
    }
    rig.line.forget_what_waits();
    rig.end(third, &answer(200));
    rig.tick = MINUTE_MS;
    let mut went = sequences(&rig.take_all());
    went.sort_unstable();
    assert_eq!(went, [1, 2]);
}
