//! Everything that is owed to one webhook and held in memory: its lanes, what has stepped aside from them, and its
//! endpoint's circuit. It gives out what may go and decides what follows from each outcome; it does nothing itself.
//! `docs/delivery-states.md` has the drawing.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::circuit::{Circuit, Role, Turn};
use crate::delivery::Owed;
use crate::failing::{Failing, Note};
use crate::ids::{LaneKey, Now, Time};
use crate::lane::{Bounds, Due, Lanes, Room};
use crate::turn::{TurnKind, Turned, cause};

pub use self::fetch::{AskedFetch, LineFetch, LineFetched};
pub use self::hurry::Hurry;

mod fetch;
mod hurry;
mod returned;
mod turned;
#[cfg(test)]
mod tests;

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
    /// What followed from attempts and is not yet in the store, by the delivery's sequence.
    unwritten: HashMap<i64, Unwritten>,
    /// Those that were not written when all was forgotten: until they are, the store does not tell how they stand.
    unwritten_and_forgotten: HashSet<i64>,
    fetching: Option<AskedFetch>,
    fetches: u64,
    /// What was written or cancelled during the fetch under way, which may still show it as waiting.
    overtaken: HashSet<i64>,
    last_kind: Kind,
    over: Over,
    notes: Vec<Note>,
    turns: Vec<Turned>,
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

/// Of one delivery: a person's order may send it again before the store has heard of the attempt before.
#[derive(Debug, Clone, Copy, Default)]
struct Unwritten {
    /// How many settlements, and steps aside, the store has yet to hear of.
    count: u32,
    /// Where the last of them leaves it aside: the tick at which it may go again, and its due time.
    aside: Option<(i64, Time)>,
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
            turns: Vec::new(),
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
        if self.circuit.is_open() {
            self.keep_turn_without_outcome(TurnKind::Closed, cause::CHANGED);
        }
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

    /// What followed from an attempt, or a step aside, is in the store.
    pub fn written(&mut self, sequence: i64) {
        if let Some(unwritten) = self.unwritten.get_mut(&sequence) {
            unwritten.count -= 1;
            if unwritten.count == 0 {
                let aside = self.unwritten.remove(&sequence).and_then(|unwritten| unwritten.aside);
                self.unwritten_and_forgotten.remove(&sequence);
                if let Some((tick, due)) = aside {
                    self.look_for_asides_at(tick, due);
                }
            }
        }
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
                self.is_to_be_written(owed.sequence).aside = Some((head_due, due));
                self.notes.push(Note::SteppedAside { stream: owed.stream, sequence: owed.sequence });
            }
        } else {
            self.lanes_of(&lane).line_up(&lane);
            self.open_circuit(now);
        }
    }

    /// One more thing that the store is to hear of this delivery.
    fn is_to_be_written(&mut self, sequence: i64) -> &mut Unwritten {
        let unwritten = self.unwritten.entry(sequence).or_default();
        unwritten.count += 1;
        unwritten
    }

    fn open_circuit(&mut self, now: i64) {
        if self.circuit.open(now) == Turn::Opened {
            self.keep_turn_without_outcome(TurnKind::Opened, cause::PATIENCE);
            self.failing.note_opened(&mut self.notes);
        }
        self.line_up_all();
    }

    fn line_up_all(&mut self) {
        self.live.line_up_all();
        self.replays.line_up_all();
    }

    fn look_for_asides_at(&mut self, tick: i64, due: Time) {
        self.next_aside = Some(match self.next_aside {
            Some((known, until)) if known <= tick => (known, until),
            Some(_) | None => (tick, due),
        });
    }
}
