//! What was committed, what the endpoints saw and said, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use chathook_domain::delivery::{Owed, Status};
use chathook_domain::ids::{EventId, LaneKey};

use crate::world::{Hook, NoteKind};

/// The default patience of a webhook.
const PATIENCE_MS: i64 = 60_000;
/// Nothing that a node has heard of takes longer to take effect.
const SLACK_MS: i64 = 2_000;
/// Patience may be short by as much as the two clocks may drift apart unnoticed.
const DRIFT_MS: i64 = 1_000;

/// Prints a step of the story where `SIMULATION_TOLD` is set.
macro_rules! tell {
    ($tick:expr, $($what:tt)*) => {
        if std::env::var_os("SIMULATION_TOLD").is_some() {
            eprintln!("{} ms: {}", $tick, format_args!($($what)*));
        }
    };
}
pub(crate) use tell;

#[derive(Default)]
pub struct Facts {
    deliveries: BTreeMap<(i64, i64), Fact>,
    /// Lanes that let one step aside, with when one of theirs has succeeded since.
    spent: BTreeMap<(i64, LaneKey), Option<i64>>,
    digest: DefaultHasher,
    /// The first thing that was not as it must be. A panic would end a worker, which is made to survive that.
    wrong: Option<String>,
    /// The start that began last.
    newest: u64,
    /// Attempts as the store has them: by delivery and number, with the start that made them.
    attempts: BTreeSet<(i64, i64, u32)>,
}

struct Fact {
    event_id: EventId,
    lane: LaneKey,
    committed_at: i64,
    first_seen: Option<i64>,
    /// Starts that have it in flight at the endpoint.
    in_flight: BTreeSet<u64>,
    /// When it first failed, by ticks.
    failed_at: Option<i64>,
    /// It failed while its lane's patience was spent.
    may_be_aside: bool,
    /// It was seen to have left its lane: the store was told so, or another went before it.
    is_aside: bool,
    /// When, and by which start, the endpoint took it.
    taken: Option<(i64, u64)>,
    cancelled_at: Option<i64>,
}

/// One request, as an endpoint sees it.
pub struct Sight {
    pub row: i64,
    pub sequence: i64,
    pub event_id: String,
    pub settled: i64,
    pub start: u64,
    pub tick: i64,
}

impl Facts {
    pub fn committed(&mut self, owed: &Owed, tick: i64) {
        tell!(tick, "{}/{} in lane {} was committed", owed.webhook_row, owed.sequence, owed.lane.as_str());
        let fact = Fact {
            event_id: owed.event_id.clone(),
            lane: owed.lane.clone(),
            committed_at: tick,
            first_seen: None,
            in_flight: BTreeSet::new(),
            failed_at: None,
            may_be_aside: false,
            is_aside: false,
            taken: None,
            cancelled_at: None,
        };
        let before = self.deliveries.insert((owed.webhook_row, owed.sequence), fact);
        self.must(before.is_none(), || format!("the number {} was given twice", owed.sequence));
    }

    pub fn event_of(&self, row: i64, sequence: i64) -> Option<(EventId, LaneKey)> {
        self.deliveries.get(&(row, sequence)).map(|fact| (fact.event_id.clone(), fact.lane.clone()))
    }

    pub fn cancelled(&mut self, row: i64, sequence: i64, tick: i64) {
        tell!(tick, "{row}/{sequence} was cancelled");
        let Some(fact) = self.deliveries.get_mut(&(row, sequence)) else { return };
        fact.cancelled_at = Some(tick);
        if fact.is_out_of_patience(tick) {
            // It may have stepped aside just before, and then nobody is told any more.
            self.step_aside(row, sequence);
        }
    }

    /// The store was told that a delivery has left its lane.
    pub fn stepped_aside(&mut self, row: i64, sequence: i64, tick: i64) {
        tell!(tick, "{row}/{sequence} stepped aside in the store");
        let fact = &self.deliveries[&(row, sequence)];
        let may_be = fact.may_leave(tick);
        let failed_at = fact.failed_at;
        self.must(may_be, || {
            format!("{sequence} of {row}, failed at {failed_at:?}, left its lane at {tick}")
        });
        self.step_aside(row, sequence);
    }

    fn step_aside(&mut self, row: i64, sequence: i64) {
        let fact = self.deliveries.get_mut(&(row, sequence)).expect("it was committed");
        if !fact.is_aside {
            fact.is_aside = true;
            self.spent.insert((row, fact.lane.clone()), None);
        }
    }

    fn failed(&mut self, row: i64, sequence: i64, tick: i64) {
        let fact = self.deliveries.get_mut(&(row, sequence)).expect("it was committed");
        fact.failed_at.get_or_insert(tick);
        let spent = self.spent.get(&(row, fact.lane.clone()));
        fact.may_be_aside |= spent.is_some_and(|renewed| renewed.is_none_or(|at| tick - at < SLACK_MS));
    }

    /// A start has begun: it knows what the store does, and of no patience that is spent.
    pub fn began(&mut self, start: u64, hooks: &[Hook], tick: i64) {
        tell!(tick, "start {start} begins");
        self.newest = start;
        self.spent.clear();
        for hook in hooks {
            for (sequence, owed) in &hook.waiting {
                if let Some(fact) = self.deliveries.get_mut(&(hook.webhook.row, *sequence)) {
                    (fact.may_be_aside, fact.is_aside) = (false, owed.is_aside);
                }
            }
        }
    }

    /// A note was written to the store, which no longer hears of a start when the next has read it.
    pub fn noted(&mut self, kind: NoteKind, start: &str) {
        let newest = self.newest;
        self.must(start == newest.to_string(), || {
            format!("start {start} noted {kind:?} in the store of start {newest}")
        });
    }

    /// An attempt was written to the store.
    pub fn attempt_written(&mut self, row: i64, sequence: i64, attempt: u32) {
        let is_new = self.attempts.insert((row, sequence, attempt));
        self.must(is_new, || format!("attempt {attempt} of delivery {sequence} was written twice"));
    }

    /// A request has arrived.
    pub fn saw(&mut self, sight: &Sight, hook: &Hook) {
        tell!(sight.tick, "{}/{} arrives", sight.row, sight.sequence);
        let Sight { row, sequence, start, tick, .. } = *sight;
        (row, sequence, tick).hash(&mut self.digest);
        let fact = &self.deliveries[&(row, sequence)];
        let is_its_own = fact.event_id.as_str() == sight.event_id;
        let taken_at = fact.taken.filter(|(_, by)| *by == start).map(|(at, _)| at);
        let cancelled_at = fact.cancelled_at.filter(|at| tick - at >= SLACK_MS);
        self.must(is_its_own, || format!("{sequence} of {row} carries another's event"));
        self.must(taken_at.is_none(), || {
            format!(
                "{sequence} of {row} was sent at {tick} by the start whose request was taken at {taken_at:?}"
            )
        });
        self.must(cancelled_at.is_none(), || {
            format!("{sequence} of {row} was sent at {tick} though it was cancelled at {cancelled_at:?}")
        });
        let settled = hook.settled();
        self.must(sight.settled <= settled, || {
            format!("{row} was told at {tick} that {} are settled, {settled} are", sight.settled)
        });
        self.check_order(sight, hook);
        let fact = self.deliveries.get_mut(&(row, sequence)).expect("just seen");
        fact.first_seen.get_or_insert(tick);
        let is_alone = fact.in_flight.insert(start);
        self.must(is_alone, || format!("{sequence} of {row} is in flight twice at {tick}"));
    }

    /// A connection was refused: the endpoint has seen nothing, and the attempt has failed.
    pub fn refused(&mut self, sight: &Sight, hook: &Hook) {
        tell!(sight.tick, "{}/{} is not let in", sight.row, sight.sequence);
        self.check_order(sight, hook);
        self.failed(sight.row, sight.sequence, sight.tick);
    }

    /// An answer has left, or never will.
    pub fn answered(&mut self, sight: &Sight, is_success: bool, tick: i64) {
        tell!(tick, "{}/{} is answered, success: {is_success}", sight.row, sight.sequence);
        let key = (sight.row, sight.sequence);
        let fact = self.deliveries.get_mut(&key).expect("it was seen");
        fact.in_flight.remove(&sight.start);
        if is_success {
            fact.taken = Some((tick, sight.start));
            let lane = fact.lane.clone();
            if let Some(renewed) = self.spent.get_mut(&(sight.row, lane)) {
                renewed.get_or_insert(tick);
            }
        } else {
            self.failed(sight.row, sight.sequence, tick);
        }
    }

    /// A node has died: what it had in flight ends by itself.
    pub fn died(&mut self, start: u64) {
        for fact in self.deliveries.values_mut() {
            fact.in_flight.remove(&start);
        }
    }

    /// Whoever is before it in its lane was taken, has ended, or has left the lane.
    fn check_order(&mut self, sight: &Sight, hook: &Hook) {
        let lane = &self.deliveries[&(sight.row, sight.sequence)].lane;
        let before = self.deliveries.range((sight.row, i64::MIN)..(sight.row, sight.sequence));
        let passed: Vec<i64> = before
            .filter(|((_, earlier), fact)| {
                fact.lane == *lane && fact.taken.is_none() && !hook.ended.contains_key(earlier)
            })
            .map(|((_, earlier), _)| *earlier)
            .collect();
        for earlier in passed {
            let fact = &self.deliveries[&(sight.row, earlier)];
            let may_pass = fact.may_leave(sight.tick);
            let (lane, failed_at) = (fact.lane.clone(), fact.failed_at);
            self.must(may_pass, || {
                let Sight { row, sequence, tick, .. } = sight;
                let lane = lane.as_str();
                format!(
                    "{sequence} of lane {lane} of {row} was sent at {tick} before {earlier}, failed at {failed_at:?}"
                )
            });
            self.step_aside(sight.row, earlier);
        }
    }

    fn must(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(otherwise());
        }
    }

    /// Panics where something was not as it must be.
    pub fn check(&self) {
        if let Some(wrong) = &self.wrong {
            panic!("{wrong}");
        }
    }

    /// When all is over.
    pub fn check_end(&self, hooks: &[Hook]) {
        for hook in hooks {
            let row = hook.webhook.row;
            let stuck: Vec<_> = hook
                .waiting
                .values()
                .map(|o| (o.sequence, o.lane.as_str(), o.attempts, o.steps, o.is_aside, o.due.map(|d| d.ms)))
                .collect();
            assert!(stuck.is_empty(), "of webhook {row} these never ended: {stuck:?}");
            for sequence in 1..=hook.last {
                let fact = self.deliveries.get(&(row, sequence)).expect("numbers have no gap");
                match hook.ended.get(&sequence).expect("it has ended") {
                    Status::Delivered => assert!(fact.taken.is_some(), "{sequence} was never taken"),
                    Status::Failed => {
                        assert!(hook.bad.contains_key(&fact.event_id), "{sequence} was given up for nothing");
                    }
                    Status::Cancelled => assert!(fact.cancelled_at.is_some(), "nobody cancelled {sequence}"),
                    Status::Waiting | Status::Expired => panic!("{sequence} has not ended"),
                }
            }
        }
    }

    /// In a quiet world nobody waits for a neighbour.
    pub fn check_spared(&self, row: i64, wait_ms_max: i64) {
        for ((_, sequence), fact) in self.deliveries.range((row, i64::MIN)..(row, i64::MAX)) {
            let waited_ms = fact.first_seen.map_or(i64::MAX, |at| at - fact.committed_at);
            assert!(waited_ms <= wait_ms_max, "{sequence} of the healthy webhook waited {waited_ms} ms");
        }
    }

    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }
}

impl Fact {
    /// Whether it may have left its lane by then.
    fn may_leave(&self, tick: i64) -> bool {
        self.is_aside || self.may_be_aside || self.is_out_of_patience(tick)
    }

    fn is_out_of_patience(&self, tick: i64) -> bool {
        self.failed_at.is_some_and(|at| tick - at + DRIFT_MS >= PATIENCE_MS)
    }
}
