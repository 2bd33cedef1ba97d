//! One seed's story: a storm of commits, faults, deaths and changes, then calm, in which all must come to its end.

use std::sync::Arc;
use std::time::Duration;

use chathook_domain::delivery::Status;
use chathook_domain::ids::StartId;
use chathook_domain::lane::Bounds;
use chathook_engine::dispatch;
use chathook_engine::lines::{Limits, Lines};
use chathook_engine::means::Means;
use chathook_engine::ports::clock::Clock as _;
use chathook_engine::ports::store::Offers as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::NoJitter;
use crate::endpoints::WorldEndpoints;
use crate::facts::tell;
use crate::store::WorldStore;
use crate::world::{Mood, Plant, World};

const STOP_MAX: Duration = Duration::from_secs(9);
const HOUR_MS: i64 = 60 * 60 * 1_000;
/// By then the longest schedule has ended several times over.
const CALM_MS_MAX: i64 = 10 * 24 * HOUR_MS;
/// What waits is asked for from time to time, and not for ever.
const CALLS_MAX: u64 = 5_000;

/// What a story may hold.
struct Plot {
    steps: u32,
    keys: u32,
    /// Nodes die, the store refuses, clocks jump, people change their minds.
    is_wild: bool,
    limits: Limits,
}

pub struct Story {
    world: Arc<World>,
    plot: Plot,
    node: Option<Node>,
}

/// One start of the node.
struct Node {
    lines: Arc<Lines>,
    stop: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
    start: u64,
}

impl Story {
    pub fn of(seed: u64, plant: Plant) -> Setting {
        Setting { seed, plant }
    }
}

/// A story before its world exists, whose clock needs a runtime.
pub struct Setting {
    seed: u64,
    plant: Plant,
}

impl Setting {
    pub async fn play(self) -> u64 {
        let world = Arc::new(World::new(self.seed, self.plant));
        let plot = {
            let chance = &mut world.state().chance;
            Plot {
                steps: chance.u32(30..200),
                keys: chance.u32(1..25),
                is_wild: chance.u32(0..4) > 0,
                limits: Limits {
                    attempts_max: chance.usize(1..24),
                    queued_bytes_max: if chance.bool() { 64 << 20 } else { chance.usize(300..6_000) },
                    of_each: Bounds { lane_length_max: chance.usize(1..6), lanes_max: chance.usize(2..16) },
                },
            }
        };
        let mut story = Story { world, plot, node: None };
        story.begin();
        for _ in 0..story.plot.steps {
            story.step().await;
            story.world.state().facts.check();
        }
        story.calm().await;
        story.world.state().facts.check();
        let mut state = story.world.state();
        let state = &mut *state;
        state.facts.check_end(&state.hooks);
        if !story.plot.is_wild {
            state.facts.check_spared(1, 20_000);
        }
        state.facts.digest()
    }
}

impl Story {
    fn begin(&mut self) {
        let start = {
            let mut state = self.world.state();
            let state = &mut *state;
            state.start += 1;
            state.facts.began(state.start, &state.hooks, self.world.clock.ticks());
            state.start
        };
        let lines = Arc::new(Lines::within(self.plot.limits));
        let (stop, stopped) = watch::channel(false);
        let means = Means {
            store: Arc::new(WorldStore { world: self.world.clone() }),
            endpoints: Arc::new(WorldEndpoints { world: self.world.clone(), start }),
            clock: Arc::new(SharedClock(self.world.clone())),
            dice: Arc::new(NoJitter),
            lines: lines.clone(),
            tallies: Arc::default(),
            start: StartId::trusted(&start.to_string()),
        };
        let loops = dispatch::run(means, stopped);
        self.node = Some(Node { lines, stop, loops, start });
    }

    /// All that the node has not written is gone; what it has asked the store for may still come to pass.
    async fn die(&mut self) {
        let Some(node) = self.node.take() else { return };
        for work in &node.loops {
            work.abort();
        }
        for work in node.loops.into_iter().filter(|work| !work.is_finished()) {
            let _ = work.await;
        }
        self.world.state().facts.died(node.start);
    }

    async fn stop(&mut self) {
        let Some(node) = &mut self.node else { return };
        let _ = node.stop.send(true);
        let ended = async {
            for work in &mut node.loops {
                work.await.expect("a stop is no failure");
            }
        };
        // A process has so long to end, whatever it waits for.
        let _ = tokio::time::timeout(STOP_MAX, ended).await;
        self.die().await;
    }

    async fn step(&mut self) {
        let roll = self.world.state().chance.u32(0..100);
        match roll {
            0..40 => self.commit(),
            40..62 => self.wait_up_to(3_000).await,
            62..68 => self.wait_up_to(120_000).await,
            68..78 => self.change_a_mood(),
            _ if !self.plot.is_wild => self.wait_up_to(500).await,
            78..83 => {
                self.die().await;
                if self.world.state().chance.bool() {
                    self.wait_up_to(2_000).await;
                }
                self.begin();
            }
            83..85 => {
                self.stop().await;
                self.begin();
            }
            85..88 => {
                let mut state = self.world.state();
                state.store_refuses = !state.store_refuses;
                tell!(self.world.clock.ticks(), "the store refuses: {}", state.store_refuses);
            }
            88..90 => {
                let ms = self.world.state().chance.i64(-HOUR_MS..HOUR_MS);
                tell!(self.world.clock.ticks(), "the wall clock jumps by {ms} ms");
                self.world.clock.jump(ms);
            }
            90..94 => self.switch_a_webhook(),
            94..96 => self.cancel_one(),
            96..98 => self.hurry_one(),
            _ => self.replay_some(),
        }
    }

    fn commit(&mut self) {
        let mut state = self.world.state();
        if state.store_refuses {
            return;
        }
        let count = state.chance.u32(1..8);
        let mut owed = Vec::new();
        for _ in 0..count {
            let key = format!("k{}", state.chance.u32(0..self.plot.keys));
            owed.extend(state.commit(&key, self.world.clock.ticks(), self.world.plant));
        }
        drop(state);
        if let Some(node) = &self.node {
            node.lines.offer(owed);
        }
    }

    /// A node may die meanwhile, just when it has something to note: that is rare, and would seldom be met.
    async fn wait_up_to(&mut self, ms: u64) {
        let ms = self.world.state().chance.u64(0..ms);
        let wait = tokio::time::sleep(Duration::from_millis(ms));
        tokio::pin!(wait);
        loop {
            tokio::select! {
                biased;
                () = self.world.note_begins.notified(), if self.plot.is_wild && self.node.is_some() => {}
                () = &mut wait => return,
            }
            self.die().await;
            self.begin();
        }
    }

    fn change_a_mood(&self) {
        let mut state = self.world.state();
        let row = state.any_row();
        let seconds = state.chance.u64(1..100);
        let moods = [
            Mood::Well,
            Mood::Well,
            Mood::Well,
            Mood::Unavailable,
            Mood::Busy(seconds),
            Mood::Hangs,
            Mood::Refuses,
            Mood::Gone,
        ];
        let mood = moods[state.chance.usize(0..moods.len())];
        let hook = state.hook(row);
        if !hook.is_spared {
            tell!(self.world.clock.ticks(), "webhook {row} is {mood:?}");
            hook.mood = mood;
        }
    }

    fn switch_a_webhook(&self) {
        let row = {
            let mut state = self.world.state();
            let row = state.any_row();
            let hook = state.hook(row);
            if hook.is_spared {
                return;
            }
            hook.webhook.config.enabled = !hook.webhook.is_on();
            hook.webhook.switched_off = None;
            tell!(self.world.clock.ticks(), "webhook {row} is on: {}", hook.webhook.is_on());
            row
        };
        self.tell_changed(row);
    }

    fn tell_changed(&self, row: i64) {
        if let Some(node) = &self.node {
            node.lines.changed(row);
        }
    }

    fn cancel_one(&self) {
        let mut state = self.world.state();
        let Some((row, sequence, lane)) = state.any_waiting() else { return };
        let hook = state.hook(row);
        hook.waiting.remove(&sequence);
        hook.ended.insert(sequence, Status::Cancelled);
        state.facts.cancelled(row, sequence, self.world.clock.ticks());
        drop(state);
        if let Some(node) = &self.node {
            node.lines.cancel(row, &lane, sequence);
        }
    }

    fn hurry_one(&self) {
        let mut state = self.world.state();
        let Some((row, sequence, lane)) = state.any_waiting() else { return };
        let now = self.world.clock.both();
        if let Some(owed) = state.hook(row).waiting.get_mut(&sequence) {
            owed.due = owed.due.map(|_| now.wall);
        }
        drop(state);
        if let Some(node) = &self.node {
            node.lines.hurry(row, &lane, sequence, now);
        }
    }

    fn replay_some(&self) {
        let mut state = self.world.state();
        let row = state.any_row();
        let last = state.hook(row).last;
        if state.hook(row).is_spared || last == 0 {
            return;
        }
        let first = state.chance.i64(1..=last);
        let owed: Vec<_> = (first..=last.min(first + 5))
            .filter_map(|sequence| state.replay(row, sequence, self.world.clock.ticks()))
            .collect();
        drop(state);
        if let Some(node) = &self.node {
            node.lines.offer(owed);
        }
    }

    /// Everything works from now on; all that waits must end.
    async fn calm(&mut self) {
        tell!(self.world.clock.ticks(), "the storm is over");
        let rows: Vec<i64> = {
            let mut state = self.world.state();
            state.store_refuses = false;
            for hook in &mut state.hooks {
                hook.mood = Mood::Well;
                hook.webhook.config.enabled = true;
                hook.webhook.switched_off = None;
            }
            state.hooks.iter().map(|hook| hook.webhook.row).collect()
        };
        rows.iter().for_each(|row| self.tell_changed(*row));
        let mut wait = Duration::from_secs(1);
        let end = self.world.clock.ticks() + CALM_MS_MAX;
        while self.world.clock.ticks() < end {
            let is_over = self.world.state().hooks.iter().all(|hook| hook.waiting.is_empty());
            if is_over {
                break;
            }
            self.world.state().calls.clear();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(60 * 60));
            let calls = self.world.state().calls.clone();
            assert!(calls.values().sum::<u64>() < CALLS_MAX, "the store is asked without end: {calls:?}");
            // A late 410 of the storm may switch one off after all.
            let off: Vec<i64> = {
                let mut state = self.world.state();
                let off = state.hooks.iter_mut().filter(|hook| !hook.webhook.is_on());
                off.map(|hook| {
                    hook.webhook.switched_off = None;
                    hook.webhook.row
                })
                .collect()
            };
            off.iter().for_each(|row| self.tell_changed(*row));
        }
        self.stop().await;
    }
}

impl crate::world::State {
    fn any_row(&mut self) -> i64 {
        let last = i64::try_from(self.hooks.len()).expect("a handful");
        self.chance.i64(1..=last)
    }

    fn any_waiting(&mut self) -> Option<(i64, i64, chathook_domain::ids::LaneKey)> {
        let row = self.any_row();
        if self.hook(row).is_spared {
            return None;
        }
        let count = self.hook(row).waiting.len();
        let at = (count > 0).then(|| self.chance.usize(0..count))?;
        let owed = self.hook(row).waiting.values().nth(at)?;
        Some((row, owed.sequence, owed.lane.clone()))
    }
}

/// The world's clock, as a port.
struct SharedClock(Arc<World>);

#[async_trait::async_trait]
impl chathook_engine::ports::clock::Clock for SharedClock {
    fn now(&self) -> chathook_domain::ids::Time {
        self.0.clock.now()
    }

    fn ticks(&self) -> i64 {
        self.0.clock.ticks()
    }

    async fn sleep_until(&self, tick: i64) {
        self.0.clock.sleep_until(tick).await;
    }
}
