//! Everything that is owed to one webhook and held in memory: its lanes, what has stepped aside from them, and its
//! endpoint's circuit. It gives out what may go and decides what follows from each outcome; it does nothing itself.
//! `docs/delivery-states.md` has the drawing.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::circuit::{Circuit, Role, Turn};
use crate::delivery::{Owed, Settlement};
use crate::failing::{Failing, Note};
use crate::ids::{LaneKey, Now, Time};
use crate::lane::{Bounds, Due, Fetch, Fetched, Lanes, Room};
use crate::outcome::{Blame, Outcome};
use crate::retry;

/// Deliveries that have stepped aside and are fetched at once when they are due.
pub const ASIDE_MAX: usize = 64;

/// How long a lane waits for what was written of its head before, where its patience is over.
const POSTPONE_MS: i64 = 100;

/// What the customer has decided of a webhook's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long a failing delivery holds its lane, in milliseconds; 0 is no order, `None` is without end.
    pub patience_ms: Option<i64>,
    pub retries: Retries,
    /// Attempts in flight at once.
    pub in_flight_max: usize,
    /// What is held in memory.
    pub bounds: Bounds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    OnFailure,
    /// One attempt is all.
    Never,
}

#[derive(Debug)]
pub struct Line {
    policy: Policy,
    live: Lanes,
    replays: Lanes,
    /// What has stepped aside and may go now.
    asides: VecDeque<Owed>,
    /// The tick at which the first of those that the store holds may go, and its due time.
    next_aside: Option<(i64, Time)>,
    circuit: Circuit,
    failing: Failing,
    /// In flight, by sequence.
    out: HashMap<i64, Out>,
    replays_out: usize,
    /// Back from an attempt, and not yet written to the store; for what has stepped aside with the tick at which it
    /// may go again, and its due time.
    unwritten: HashMap<i64, Option<(i64, Time)>>,
    /// Those that were not written when all was forgotten: until they are, the store does not tell how they stand.
    unwritten_and_forgotten: HashSet<i64>,
    fetching: Option<AskedFetch>,
    fetches: u64,
    /// What was written or cancelled during the fetch under way, which may still show it as waiting.
    overtaken: HashSet<i64>,
    last_kind: Kind,
    over: Over,
    notes: Vec<Note>,
}

/// Whether a delivery in flight is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    Wanted,
    Cancelled,
}

/// Whether the webhook is to be switched off: then nothing goes out any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    No,
    ToBeWritten,
    /// The store has it so, or had: whoever reads it as on knows of a person who switched it on since.
    Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Live,
    Replay,
    Aside,
}

/// A delivery that was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub owed: Owed,
    pub role: Role,
}

/// What is needed from the store; one fetch is under way at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineFetch {
    Live(Fetch),
    Replays(Fetch),
    /// Deliveries that have stepped aside and are due until then, the first to be due first.
    Aside {
        until: Time,
        count_max: usize,
    },
}

/// A fetch with its number, which its answer names: what was asked for may be forgotten meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedFetch {
    pub number: u64,
    pub fetch: LineFetch,
}

/// The store's answer to a [`LineFetch`].
#[derive(Debug, Clone)]
pub enum LineFetched {
    Lanes(Fetched),
    /// What is due, and when the next is.
    Aside {
        owed: Vec<Owed>,
        next: Option<Owed>,
    },
}

impl Line {
    /// A line that first looks into the store for what an earlier start left.
    #[must_use]
    pub fn after_start(policy: Policy, failing_since: Option<Time>, now: Now) -> Self {
        let circuit = match failing_since {
            Some(_) => Circuit::open_after_start(policy.in_flight_max, now.tick),
            None => Circuit::closed(policy.in_flight_max),
        };
        Self {
            policy,
            live: Lanes::after_start(policy.bounds, policy.patience_ms, now),
            replays: Lanes::after_start(policy.bounds, policy.patience_ms, now),
            asides: VecDeque::new(),
            next_aside: Some((now.tick, now.wall)),
            circuit,
            failing: Failing::after_start(failing_since, now),
            out: HashMap::new(),
            replays_out: 0,
            unwritten: HashMap::new(),
            unwritten_and_forgotten: HashSet::new(),
            fetching: None,
            fetches: 0,
            overtaken: HashSet::new(),
            last_kind: Kind::Aside,
            over: Over::No,
            notes: Vec::new(),
        }
    }

    /// What is held in memory.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.policy.bounds
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.live.set_patience(policy.patience_ms);
        self.replays.set_patience(policy.patience_ms);
    }

    /// A person has changed the endpoint, or switched it on again: it starts with a closed circuit.
    pub fn begin_anew(&mut self, now: Now) {
        self.circuit = Circuit::closed(self.policy.in_flight_max);
        self.failing.begin_anew(&mut self.notes);
        self.over = Over::No;
        self.live.line_up_all();
        self.replays.line_up_all();
        self.look_for_asides_at(now.tick, now.wall);
    }

    /// The store has the webhook switched off.
    pub fn switch_off_written(&mut self) {
        self.over = Over::Written;
    }

    /// Whether it was switched off for good, as far as this line knows.
    #[must_use]
    pub fn was_switched_off(&self) -> bool {
        self.over == Over::Written
    }

    /// The webhook is off: what waits stays in the store, where it is found when it is on again.
    pub fn forget_what_waits(&mut self) {
        self.live.forget_what_waits();
        self.replays.forget_what_waits();
        self.asides.clear();
        self.next_aside = None;
        self.fetching = None;
        self.overtaken.clear();
        self.unwritten_and_forgotten = self.unwritten.keys().copied().collect();
    }

    /// Takes a delivery that was just committed.
    pub fn offer(&mut self, owed: Owed, room: Room) {
        self.lanes_of(&owed.lane).offer(owed, room);
    }

    /// The next delivery that may go; it is out until [`Self::returned`].
    pub fn take(&mut self, now: i64) -> Option<Taken> {
        self.look_at_what_is_due(now);
        let role = self.role_of_next(now)?;
        let owed = self.next_in_turn()?;
        if role == Role::Probe {
            self.circuit.begin_probe();
        }
        self.out.insert(owed.sequence, Out::Wanted);
        Some(Taken { owed, role })
    }

    /// How many more attempts could begin now.
    pub fn could_begin(&mut self, now: i64) -> usize {
        self.look_at_what_is_due(now);
        if self.role_of_next(now).is_none() {
            return 0;
        }
        let replays = self.replays.ready_count().min(self.replays_max().saturating_sub(self.replays_out));
        let ready = self.live.ready_count() + self.asides.len() + replays;
        let allowed = self.circuit.in_flight_allowed();
        ready.min(if self.circuit.is_open() { 1 } else { allowed.saturating_sub(self.out.len()) })
    }

    /// Takes an attempt's outcome, and decides what follows; that is written until [`Self::written`] tells so.
    /// `roll` is a fair number from 0 to 1.
    pub fn returned(&mut self, taken: Taken, outcome: &Outcome, now: Now, roll: f64) -> Settlement {
        let Taken { mut owed, role } = taken;
        owed.attempts += 1;
        let is_wanted = self.out.remove(&owed.sequence) != Some(Out::Cancelled);
        self.unwritten.insert(owed.sequence, None);
        if owed.lane.is_replay() && !owed.is_aside {
            self.replays_out = self.replays_out.saturating_sub(1);
        }
        let was_open = self.circuit.is_open();
        let turn = self.circuit.note(outcome, role, now.tick);
        self.failing.note(outcome, turn, now, &mut self.notes);
        if turn == Turn::Opened {
            self.line_up_all();
        }
        if outcome.is_gone() {
            self.notes.push(Note::Gone);
        }
        if outcome.is_gone() || self.failing.is_over() {
            self.over = Over::ToBeWritten;
        }
        if !is_wanted {
            return self.ended(&owed, Settlement::Failed);
        }
        match outcome.blame() {
            Blame::Nobody => self.ended(&owed, Settlement::Delivered),
            // The webhook is switched off, and this delivery waits with the rest.
            Blame::Endpoint | Blame::Delivery | Blame::Us if outcome.is_gone() => self.goes_again(owed, now),
            Blame::Endpoint | Blame::Delivery | Blame::Us if self.policy.retries == Retries::Never => {
                self.ended(&owed, Settlement::Failed)
            }
            Blame::Endpoint | Blame::Delivery | Blame::Us if was_open => self.goes_again(owed, now),
            Blame::Endpoint | Blame::Delivery | Blame::Us => match retry::wait_ms(owed.steps + 1, true, roll)
            {
                Some(wait_ms) => self.waits(owed, wait_ms, now),
                None => self.ended(&owed, Settlement::Failed),
            },
        }
    }

    /// What followed from an attempt, or a step aside, is in the store.
    pub fn written(&mut self, sequence: i64) {
        if let Some(Some((tick, due))) = self.unwritten.remove(&sequence) {
            self.look_for_asides_at(tick, due);
        }
        self.unwritten_and_forgotten.remove(&sequence);
        if self.fetching.is_some() {
            self.overtaken.insert(sequence);
        }
    }

    /// A person cancelled it, and the store has it so.
    pub fn cancel(&mut self, lane: &LaneKey, sequence: i64) {
        if let Some(out) = self.out.get_mut(&sequence) {
            *out = Out::Cancelled;
        }
        self.asides.retain(|owed| owed.sequence != sequence);
        self.lanes_of(lane).cancel(lane, sequence);
        if self.fetching.is_some() {
            self.overtaken.insert(sequence);
        }
    }

    /// A person wants it tried now, and the store has it as due.
    pub fn hurry(&mut self, lane: &LaneKey, sequence: i64, now: Now) {
        self.lanes_of(lane).hurry(lane, sequence, now.tick);
        self.look_for_asides_at(now.tick, now.wall);
    }

    /// What to ask the store for, where nothing is being asked.
    pub fn next_fetch(&mut self, now: Now) -> Option<AskedFetch> {
        if self.fetching.is_some() || !self.unwritten_and_forgotten.is_empty() {
            return None;
        }
        let (out, unwritten) = (&self.out, &self.unwritten);
        let is_written = |sequence| !out.contains_key(&sequence) && !unwritten.contains_key(&sequence);
        let fetch = match self.live.next_fetch(now.tick, &is_written) {
            Some(fetch) => LineFetch::Live(fetch),
            None => match self.replays.next_fetch(now.tick, &is_written) {
                Some(fetch) => LineFetch::Replays(fetch),
                None => self.fetch_of_asides(now)?,
            },
        };
        self.fetches += 1;
        let asked = AskedFetch { number: self.fetches, fetch };
        self.fetching = Some(asked.clone());
        Some(asked)
    }

    /// The answer to the fetch of this number.
    pub fn fetched(&mut self, number: u64, fetched: LineFetched, now: Now) {
        let Some(AskedFetch { fetch, .. }) = self.fetching.take_if(|asked| asked.number == number) else {
            return;
        };
        let overtaken = std::mem::take(&mut self.overtaken);
        let (out, unwritten) = (&self.out, &self.unwritten);
        let is_hidden = |sequence: i64| {
            out.contains_key(&sequence) || unwritten.contains_key(&sequence) || overtaken.contains(&sequence)
        };
        match (fetch, fetched) {
            (LineFetch::Live(fetch), LineFetched::Lanes(answer)) => {
                self.live.fetched(&fetch, answer, now, &is_hidden);
            }
            (LineFetch::Replays(fetch), LineFetched::Lanes(answer)) => {
                self.replays.fetched(&fetch, answer, now, &is_hidden);
            }
            (LineFetch::Aside { .. }, LineFetched::Aside { owed, next }) => {
                self.asides.extend(owed.into_iter().filter(|owed| !is_hidden(owed.sequence)));
                if let Some(next) = next {
                    let due = next.due.unwrap_or(now.wall);
                    let ahead_ms = (due.ms - now.wall.ms).clamp(0, retry::longest_wait_ms(next.steps));
                    self.look_for_asides_at(now.tick + ahead_ms, due);
                }
            }
            (LineFetch::Live(_) | LineFetch::Replays(_), LineFetched::Aside { .. })
            | (LineFetch::Aside { .. }, LineFetched::Lanes(_)) => {
                panic!("a fetch is answered in its own kind")
            }
        }
    }

    /// The store refused: it is asked again when [`Self::next_fetch`] is.
    pub fn fetch_failed(&mut self, number: u64, now: Now) {
        let Some(AskedFetch { fetch, .. }) = self.fetching.take_if(|asked| asked.number == number) else {
            return;
        };
        self.overtaken.clear();
        match fetch {
            LineFetch::Live(fetch) => self.live.fetch_failed(&fetch),
            LineFetch::Replays(fetch) => self.replays.fetch_failed(&fetch),
            LineFetch::Aside { until, .. } => self.look_for_asides_at(now.tick, until),
        }
    }

    /// Whether the store is to be asked for something.
    #[must_use]
    pub fn lacks_some(&self, now: i64) -> bool {
        let lacks_asides = self.asides.is_empty() && self.next_aside.is_some_and(|(tick, _)| tick <= now);
        let may_ask = self.fetching.is_none() && self.unwritten_and_forgotten.is_empty();
        may_ask && (self.live.lacks_some(now) || self.replays.lacks_some(now) || lacks_asides)
    }

    /// The first tick after now at which there may be something to do that there is not now.
    #[must_use]
    pub fn next_due(&self, now: i64) -> Option<i64> {
        let aside = self.next_aside.map(|(tick, _)| tick);
        [self.live.next_due(now), self.replays.next_due(now), aside, self.circuit.next_chance(now)]
            .into_iter()
            .flatten()
            .filter(|tick| *tick > now)
            .min()
    }

    /// What a person, or the store, is to be told since this was asked last.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.out.len()
    }

    /// Roughly the bytes of memory that the queued deliveries take.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let asides: usize = self.asides.iter().map(|owed| owed.body.len()).sum();
        self.live.queued_bytes() + self.replays.queued_bytes() + asides
    }

    /// Nothing is out or queued, and the store holds nothing that memory does not.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.live.is_idle()
            && self.replays.is_idle()
            && self.asides.is_empty()
            && self.next_aside.is_none()
            && self.out.is_empty()
            && self.unwritten.is_empty()
    }

    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        self.circuit.is_open()
    }

    fn role_of_next(&self, now: i64) -> Option<Role> {
        match self.over {
            Over::No => self.circuit.may_go(self.out.len(), now),
            Over::ToBeWritten | Over::Written => None,
        }
    }

    fn lanes_of(&mut self, lane: &LaneKey) -> &mut Lanes {
        if lane.is_replay() { &mut self.replays } else { &mut self.live }
    }

    /// Replays may have at most half of the webhook's bound.
    fn replays_max(&self) -> usize {
        (self.circuit.in_flight_allowed() / 2).max(1)
    }

    /// Kinds take turns, so that none keeps another waiting.
    fn next_in_turn(&mut self) -> Option<Owed> {
        let order = match self.last_kind {
            Kind::Live => [Kind::Replay, Kind::Aside, Kind::Live],
            Kind::Replay => [Kind::Aside, Kind::Live, Kind::Replay],
            Kind::Aside => [Kind::Live, Kind::Replay, Kind::Aside],
        };
        for kind in order {
            let owed = match kind {
                Kind::Live => self.live.take(),
                Kind::Replay if self.replays_out < self.replays_max() => self.replays.take(),
                Kind::Replay => None,
                Kind::Aside => self.asides.pop_front(),
            };
            if owed.is_some() {
                self.last_kind = kind;
                self.replays_out += usize::from(kind == Kind::Replay);
                return owed;
            }
        }
        None
    }

    fn look_at_what_is_due(&mut self, now: i64) {
        while let Some(due) = self.live.next_due_lane(now) {
            self.look_at(due, now);
        }
        while let Some(due) = self.replays.next_due_lane(now) {
            self.look_at(due, now);
        }
    }

    /// A lane whose patience is over: a bad delivery steps aside; where the endpoint was not seen to work since, it is
    /// down, and everything waits.
    fn look_at(&mut self, due: Due, now: i64) {
        let Due::OutOfPatience { lane, held_since, head_due } = due else { return };
        let head = self.lanes_of(&lane).head_of(&lane).map(|owed| owed.sequence);
        if head.is_some_and(|sequence| self.unwritten.contains_key(&sequence)) {
            // What the store hears of a delivery must reach it in the order in which it happened.
            return self.lanes_of(&lane).postpone(&lane, now + POSTPONE_MS);
        }
        if self.circuit.has_worked_since(held_since) {
            if let Some(owed) = self.lanes_of(&lane).step_aside(&lane) {
                let due = owed.due.unwrap_or(Time::from_ms(0));
                self.unwritten.insert(owed.sequence, Some((head_due, due)));
                self.notes.push(Note::SteppedAside { stream: owed.stream, sequence: owed.sequence });
            }
        } else {
            self.lanes_of(&lane).line_up(&lane);
            self.open_circuit(now);
        }
    }

    fn open_circuit(&mut self, now: i64) {
        if self.circuit.open(now) == Turn::Opened {
            self.failing.note_opened(&mut self.notes);
        }
        self.line_up_all();
    }

    fn line_up_all(&mut self) {
        self.live.line_up_all();
        self.replays.line_up_all();
    }

    fn ended(&mut self, owed: &Owed, settlement: Settlement) -> Settlement {
        let is_success = settlement == Settlement::Delivered;
        let is_aside = owed.is_aside;
        let lanes = self.lanes_of(&owed.lane);
        match (is_aside, is_success) {
            (false, _) => lanes.returned_ended(&owed.lane, is_success),
            (true, true) => lanes.renew_patience(&owed.lane),
            (true, false) => {}
        }
        settlement
    }

    /// It goes again as soon as something may: an attempt at an endpoint that is down uses no schedule.
    fn goes_again(&mut self, mut owed: Owed, now: Now) -> Settlement {
        let first_failed_at = *owed.first_failed_at.get_or_insert(now.wall);
        owed.due = Some(now.wall);
        let (steps, is_aside) = (owed.steps, owed.is_aside);
        if is_aside {
            self.asides.push_back(owed);
        } else {
            let lane = owed.lane.clone();
            self.lanes_of(&lane).returned_ready(owed);
        }
        Settlement::Waits { due: now.wall, steps, first_failed_at, is_aside }
    }

    fn waits(&mut self, mut owed: Owed, wait_ms: i64, now: Now) -> Settlement {
        let (tick, due) = (now.tick + wait_ms, now.wall.plus_ms(wait_ms));
        let first_failed_at = *owed.first_failed_at.get_or_insert(now.wall);
        owed.steps += 1;
        owed.due = Some(due);
        let (lane, steps) = (owed.lane.clone(), owed.steps);
        let lanes = self.lanes_of(&lane);
        let (is_spent, held_since) = (lanes.is_spent(&lane), lanes.out_of_patience_since(&lane, now.tick));
        let is_the_delivery_bad = held_since.is_some_and(|since| self.circuit.has_worked_since(since));
        let was_aside = owed.is_aside;
        let is_aside = was_aside || is_spent || is_the_delivery_bad;
        if is_aside {
            if !was_aside {
                self.lanes_of(&lane).returned_aside(&lane);
            }
            self.unwritten.insert(owed.sequence, Some((tick, due)));
        } else if self.circuit.is_open() {
            self.lanes_of(&lane).returned_ready(owed);
        } else if held_since.is_some() {
            self.lanes_of(&lane).returned_ready(owed);
            self.open_circuit(now.tick);
        } else {
            self.lanes_of(&lane).returned_waits(owed, tick, now.tick);
        }
        Settlement::Waits { due, steps, first_failed_at, is_aside }
    }

    fn look_for_asides_at(&mut self, tick: i64, due: Time) {
        self.next_aside = Some(match self.next_aside {
            Some((known, until)) if known <= tick => (known, until),
            Some(_) | None => (tick, due),
        });
    }

    fn fetch_of_asides(&mut self, now: Now) -> Option<LineFetch> {
        let (tick, due) = self.next_aside?;
        if tick > now.tick || !self.asides.is_empty() {
            return None;
        }
        self.next_aside = None;
        // Where the wall clock was set back, what was due by ticks is due all the same.
        let until = now.wall.max(due);
        // What is out or not written yet may still be shown, and is left out.
        let count_max = ASIDE_MAX + self.out.len() + self.unwritten.len();
        Some(LineFetch::Aside { until, count_max })
    }
}
