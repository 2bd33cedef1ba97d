//! What is there whether or not a node lives: chance, the store's rows, the endpoints, and what was seen.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chathook_domain::delivery::{Owed, Status};
use chathook_domain::ids::{AppId, EventId, Key, LaneKey, Time, WebhookId};
use chathook_domain::signature::{Secrets, SigningSecret};
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::{Webhook, WebhookDraft};
use serde_json::json;
use tokio::sync::Notify;

use crate::clock::VirtualClock;
use crate::facts::Facts;

/// A mistake that the story is to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    /// The store takes the settlement of a start that is over.
    DeadStartSettles,
    /// The store takes what a start that is over has to note of a webhook.
    DeadStartNotes(NoteKind),
    /// The store says that it has written a settlement, and has not.
    SettlementSkipped,
    /// Two deliveries get one number.
    NumberDoubled,
    /// The store shows no lane after one that is held.
    HeldLaneStarves,
    /// The store shows a failed delivery as one that has stepped aside.
    LaneDoesNotHold,
}

/// What a start notes of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    SteppedAside,
    FailingSince,
    SwitchedOff,
    Notice,
}

/// How an endpoint behaves at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    Unavailable,
    /// Asks for a pause of so many seconds.
    Busy(u64),
    Hangs,
    Refuses,
    /// Answers 410.
    Gone,
}

pub struct Hook {
    pub webhook: Webhook,
    pub stream: i64,
    pub mood: Mood,
    pub last: i64,
    pub waiting: BTreeMap<i64, Owed>,
    pub ended: BTreeMap<i64, Status>,
    pub failing_since: Option<Time>,
    /// Events that it answers with 400, so many times.
    pub bad: BTreeMap<EventId, u32>,
    /// It is well all the time, and nobody touches it.
    pub is_spared: bool,
}

pub struct World {
    pub clock: VirtualClock,
    pub plant: Plant,
    /// A note is on its way to the store: a moment at which to die.
    pub note_begins: Notify,
    state: Mutex<State>,
}

pub struct State {
    pub chance: fastrand::Rng,
    pub hooks: Vec<Hook>,
    pub facts: Facts,
    /// The newest start, which alone may write.
    pub start: u64,
    pub store_refuses: bool,
    /// Calls of the store and the endpoints, by what is called.
    pub calls: BTreeMap<&'static str, u64>,
    events: u64,
}

impl World {
    pub fn new(seed: u64, plant: Plant) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let hooks = (1..=chance.i64(2..=5)).map(Hook::new).collect();
        let state = State {
            chance,
            hooks,
            facts: Facts::default(),
            start: 0,
            store_refuses: false,
            calls: BTreeMap::new(),
            events: 0,
        };
        Self { clock: VirtualClock::start(), plant, note_begins: Notify::new(), state: Mutex::new(state) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // A check that fails panics while it looks; what is dropped after it looks once more.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hook {
    fn new(row: i64) -> Self {
        let id = format!("hook{row}");
        let url = format!("https://endpoint{row}.test/hook");
        let draft = WebhookDraft::parse(&json!({"id": id, "name": id, "webhookURL": url})).expect("fit");
        let webhook = Webhook {
            row,
            id: WebhookId::trusted(&id),
            config: draft.config,
            triggers: Trigger::ALL.to_vec(),
            secrets: Secrets::only(SigningSecret::new(vec![1; 32])),
            switched_off: None,
            created_at: Time::from_ms(0),
            updated_at: Time::from_ms(0),
        };
        Self {
            webhook,
            stream: row + 100,
            mood: Mood::Well,
            last: 0,
            waiting: BTreeMap::new(),
            ended: BTreeMap::new(),
            failing_since: None,
            bad: BTreeMap::new(),
            is_spared: row == 1,
        }
    }

    pub fn app() -> AppId {
        AppId::trusted("app")
    }

    /// Up to this number nothing waits.
    pub fn settled(&self) -> i64 {
        self.waiting.keys().next().map_or(self.last, |first| first - 1)
    }
}

impl State {
    pub fn hook(&mut self, row: i64) -> &mut Hook {
        let index = usize::try_from(row - 1).expect("rows count from 1");
        &mut self.hooks[index]
    }

    /// One event for all webhooks that are on; answers with what is owed.
    pub fn commit(&mut self, key: &str, tick: i64, plant: Plant) -> Vec<Owed> {
        self.events += 1;
        let event_id = EventId::trusted(&format!("evt_{}", self.events));
        let lane = LaneKey::live(&Key::trusted(key));
        let is_bad = self.chance.u32(0..100) < 6;
        let tries = if self.chance.bool() { self.chance.u32(1..4) } else { u32::MAX };
        let doubles = plant == Plant::NumberDoubled && self.chance.u32(0..100) < 2;
        let mut owed = Vec::new();
        for hook in self.hooks.iter_mut().filter(|hook| hook.webhook.is_on()) {
            if is_bad && !hook.is_spared {
                hook.bad.insert(event_id.clone(), tries);
            }
            owed.push(hook.owe(&event_id, &lane, None, doubles));
        }
        for one in &owed {
            self.facts.committed(one, tick);
        }
        owed
    }

    /// Owes an event again.
    pub fn replay(&mut self, row: i64, sequence: i64, tick: i64) -> Option<Owed> {
        let (event_id, lane) = self.facts.event_of(row, sequence)?;
        let lane = LaneKey::replay(&Key::trusted(lane.key()));
        let owed = self.hook(row).owe(&event_id, &lane, Some(1), false);
        self.facts.committed(&owed, tick);
        Some(owed)
    }
}

impl Hook {
    fn owe(&mut self, event_id: &EventId, lane: &LaneKey, replay: Option<i64>, doubles: bool) -> Owed {
        if !(doubles && self.last > 0) {
            self.last += 1;
        }
        let owed = Owed {
            webhook_row: self.webhook.row,
            stream: self.stream,
            sequence: self.last,
            lane: lane.clone(),
            event_id: event_id.clone(),
            body: std::sync::Arc::from(format!("{{\"event\":\"{event_id}\"}}")),
            attempts: 0,
            steps: 0,
            due: None,
            first_failed_at: None,
            is_aside: false,
            replay,
        };
        self.waiting.insert(self.last, owed.clone());
        owed
    }
}
