//! The store as one start sees it: slow, sometimes refusing, and with writes that take effect whether or not the node
//! that asked for them still lives.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chathook_domain::delivery::{Owed, Settlement, Status};
use chathook_domain::ids::{LaneKey, LaneKind, StartId, Time};
use chathook_domain::lane::LanePart;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::turn::Turned;
use chathook_engine::ports::clock::Clock as _;
use chathook_engine::ports::store::{
    Asides, DeliveryStore, LineOf, NoticeKind, Settled, StoreError, Stored, SwitchOff, Target,
};

use crate::facts::tell;
use crate::world::{Hook, NoteKind, Plant, State, World};

/// Deliveries of a lane in one answer.
const LANE_LENGTH_MAX: usize = 3;

pub struct WorldStore {
    pub world: Arc<World>,
}

impl WorldStore {
    async fn read<T>(&self, what: &'static str, read: impl FnOnce(&mut State) -> T + Send) -> Stored<T> {
        *self.world.state().calls.entry(what).or_default() += 1;
        self.world.wait_a_little().await;
        let answer = {
            let mut state = self.world.state();
            if state.store_refuses {
                return Err(StoreError::Unavailable("the story says so".to_owned()));
            }
            read(&mut state)
        };
        self.world.wait_a_little().await;
        Ok(answer)
    }

    /// What is asked for is done, though the one who asked may be dead by then.
    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&World, &mut State) -> Stored<T> + Send + 'static,
    ) -> Stored<T> {
        let world = self.world.clone();
        let done = tokio::spawn(async move {
            world.wait_a_little().await;
            let answer = {
                let mut state = world.state();
                if state.store_refuses {
                    Err(StoreError::Unavailable("the story says so".to_owned()))
                } else {
                    write(&world, &mut state)
                }
            };
            world.wait_a_little().await;
            answer
        });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// What is noted of a webhook beside settlements.
    async fn write_note(
        &self,
        start: &StartId,
        kind: NoteKind,
        write: impl FnOnce(&World, &mut State) + Send + 'static,
    ) -> Stored<()> {
        let start = start.clone();
        if self.world.state().chance.u32(0..4) == 0 {
            self.world.note_begins.notify_one();
        }
        self.write(move |world, state| {
            refuse_dead(world, state, &start, Plant::DeadStartNotes(kind))?;
            state.facts.noted(kind, start.as_str());
            write(world, state);
            Ok(())
        })
        .await
    }
}

impl World {
    pub async fn wait_a_little(&self) {
        let ms = {
            let mut state = self.state();
            if state.chance.u32(0..50) == 0 { state.chance.u64(50..1_500) } else { state.chance.u64(0..8) }
        };
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

#[async_trait]
impl DeliveryStore for WorldStore {
    async fn webhook_rows(&self) -> Stored<Vec<i64>> {
        self.read("webhook_rows", |state| state.hooks.iter().map(|hook| hook.webhook.row).collect()).await
    }

    async fn target(&self, webhook_row: i64) -> Stored<Option<Target>> {
        self.read("target", |state| {
            let hook = state.hook(webhook_row);
            Some(Target {
                app: Hook::app(),
                webhook: hook.webhook.clone(),
                stream: hook.stream,
                settled: hook.settled(),
                failing_since: hook.failing_since,
            })
        })
        .await
    }

    async fn waiting_of_lane(&self, of: LineOf, lane: &LaneKey, after: i64) -> Stored<LanePart> {
        let plant = self.world.plant;
        self.read("waiting_of_lane", |state| part(state.hook(of.webhook_row), lane, after, plant)).await
    }

    async fn waiting_of_lanes(&self, of: LineOf, lanes: Vec<LaneKey>) -> Stored<Vec<LanePart>> {
        let plant = self.world.plant;
        self.read("waiting_of_lanes", |state| {
            let hook = state.hook(of.webhook_row);
            lanes.iter().map(|lane| part(hook, lane, 0, plant)).collect()
        })
        .await
    }

    async fn waiting_lanes(
        &self,
        of: LineOf,
        kind: LaneKind,
        after: Option<&LaneKey>,
        limit: usize,
    ) -> Stored<Vec<LanePart>> {
        let plant = self.world.plant;
        self.read("waiting_lanes", |state| {
            let hook = state.hook(of.webhook_row);
            let (first, end) = kind.bounds();
            let after = after.unwrap_or(&first);
            let in_order = |owed: &&Owed| !shows_aside(owed, plant) && owed.lane > *after && owed.lane < end;
            let mut lanes: Vec<&LaneKey> = hook.waiting.values().filter(in_order).map(|o| &o.lane).collect();
            lanes.sort();
            lanes.dedup();
            if plant == Plant::HeldLaneStarves {
                let is_held =
                    |lane: &&LaneKey| hook.waiting.values().any(|o| o.lane == **lane && o.attempts > 0);
                let count = lanes.iter().position(is_held).map_or(lanes.len(), |at| at + 1);
                lanes.truncate(count);
            }
            lanes.truncate(limit);
            lanes.into_iter().map(|lane| part(hook, lane, 0, plant)).collect()
        })
        .await
    }

    async fn asides(&self, of: LineOf, until: Time, limit: usize) -> Stored<Asides> {
        let plant = self.world.plant;
        self.read("asides", |state| {
            let hook = state.hook(of.webhook_row);
            let mut aside: Vec<Owed> =
                hook.waiting.values().filter(|o| shows_aside(o, plant)).cloned().collect();
            aside.sort_by_key(|owed| (owed.due, owed.sequence));
            tell!(state.start, "asides of webhook {} are asked for until {}", of.webhook_row, until.ms);
            let is_due = |owed: &Owed| owed.due.is_none_or(|due| due <= until);
            let count = aside.iter().take_while(|owed| is_due(owed)).count().min(limit);
            let next = aside.get(count).cloned();
            aside.truncate(count);
            Asides { owed: aside, next }
        })
        .await
    }

    async fn step_aside(&self, start: &StartId, stream: i64, sequences: Vec<i64>) -> Stored<()> {
        self.write_note(start, NoteKind::SteppedAside, move |world, state| {
            let tick = world.clock.ticks();
            let hook = state.hooks.iter_mut().find(|hook| hook.stream == stream).expect("a stream of ours");
            for sequence in sequences {
                state.facts.stepped_aside(hook.webhook.row, sequence, tick);
                if let Some(owed) = hook.waiting.get_mut(&sequence) {
                    owed.is_aside = true;
                }
            }
        })
        .await
    }

    async fn settle(&self, start: &StartId, settled: Vec<Settled>) -> Stored<Vec<(i64, i64)>> {
        let start = start.clone();
        self.write(move |world, state| {
            refuse_dead(world, state, &start, Plant::DeadStartSettles)?;
            for one in &settled {
                let skips = world.plant == Plant::SettlementSkipped && state.chance.u32(0..50) == 0;
                if !skips {
                    settle_one(state, one, world.clock.ticks());
                }
            }
            Ok(settled.iter().map(|one| (one.webhook_row, state.hook(one.webhook_row).settled())).collect())
        })
        .await
    }

    async fn keep_turn(&self, start: &StartId, _: i64, _: Turned, _: Time) -> Stored<()> {
        self.write_note(start, NoteKind::Notice, |_, _| {}).await
    }

    async fn set_failing_since(&self, start: &StartId, webhook_row: i64, since: Option<Time>) -> Stored<()> {
        self.write_note(start, NoteKind::FailingSince, move |_, state| {
            state.hook(webhook_row).failing_since = since;
        })
        .await
    }

    async fn switch_off(&self, start: &StartId, webhook_row: i64, _: SwitchOff, _: Time) -> Stored<()> {
        self.write_note(start, NoteKind::SwitchedOff, move |world, state| {
            tell!(world.clock.ticks(), "webhook {webhook_row} is switched off");
            state.hook(webhook_row).webhook.switched_off = Some("gone".to_owned());
        })
        .await
    }

    async fn notify(&self, start: &StartId, _: i64, _: NoticeKind, _: String, _: Time) -> Stored<()> {
        self.write_note(start, NoteKind::Notice, |_, _| {}).await
    }
}

/// Only the newest start may write, unless that is the mistake to be made.
fn refuse_dead(world: &World, state: &State, start: &StartId, unless: Plant) -> Stored<()> {
    if start.as_str() == state.start.to_string() || world.plant == unless {
        return Ok(());
    }
    Err(Refusal::new(Code::StartSuperseded, "another start has begun").into())
}

fn shows_aside(owed: &Owed, plant: Plant) -> bool {
    owed.is_aside || (plant == Plant::LaneDoesNotHold && owed.attempts > 0)
}

fn part(hook: &Hook, lane: &LaneKey, after: i64, plant: Plant) -> LanePart {
    let in_lane = |owed: &&Owed| owed.lane == *lane && owed.sequence > after && !shows_aside(owed, plant);
    let mut owed: Vec<Owed> = hook.waiting.values().filter(in_lane).cloned().collect();
    let has_more = owed.len() > LANE_LENGTH_MAX;
    owed.truncate(LANE_LENGTH_MAX);
    LanePart { lane: lane.clone(), owed, has_more }
}

fn settle_one(state: &mut State, settled: &Settled, tick: i64) {
    tell!(tick, "{}/{} {:?} in the store", settled.webhook_row, settled.sequence, settled.settlement);
    if let Settlement::Waits { is_aside: true, .. } = settled.settlement {
        state.facts.stepped_aside(settled.webhook_row, settled.sequence, tick);
    }
    let hook = state.hook(settled.webhook_row);
    let sequence = settled.sequence;
    if let Some(owed) = hook.waiting.get_mut(&sequence) {
        match settled.settlement {
            Settlement::Delivered => drop(hook.ended.insert(sequence, Status::Delivered)),
            Settlement::Failed => drop(hook.ended.insert(sequence, Status::Failed)),
            Settlement::Waits { due, steps, first_failed_at, is_aside } => {
                owed.attempts = settled.attempt;
                owed.steps = steps;
                owed.due = Some(due);
                owed.first_failed_at = Some(first_failed_at);
                owed.is_aside = is_aside;
            }
        }
        if hook.ended.contains_key(&sequence) {
            hook.waiting.remove(&sequence);
        }
    }
    state.facts.attempt_written(settled.webhook_row, sequence, settled.attempt);
}
