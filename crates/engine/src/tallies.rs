//! What happens is counted here, in memory, by app and webhook and minute; every few seconds it goes to a shelf, and
//! from there to the store (`health`). Counting takes one lock that is nobody's for long, and seldom allocates.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};

use chathook_domain::delivery::Settlement;
use chathook_domain::ids::{AppId, Time};
use chathook_domain::tally::{Count, Span, Step, Tally};
use chathook_domain::turn::Turned;
use tokio::sync::Notify;

use crate::ports::endpoints::Exchange;
use crate::ports::store::{Asked, Target};
use crate::ports::tallies::Tallied;

/// The cause of a verdict that nobody waited for.
pub(crate) const SENDER_GONE: &str = "sender_gone";
/// Minutes that wait on the shelf when the store refuses them: about 15 MiB. The oldest go first.
const SHELF_MAX: usize = 4_000;
/// Turns of `before_message` circuits that wait for the store; the oldest go first.
const TURNS_WAITING_MAX: usize = 1_000;

#[derive(Default)]
pub struct Tallies {
    apps: RwLock<HashMap<AppId, OfApp>>,
    /// What waits for the store; the oldest first.
    shelf: Mutex<BTreeMap<Counted, Box<Tally>>>,
    turns: Mutex<VecDeque<(i64, Turned, Time)>>,
    /// The pulse of each app that was quiet and is counted no more, from where it goes on when it is again.
    resting: Mutex<HashMap<AppId, u64>>,
    online: Mutex<HashMap<AppId, u64>>,
    /// Told when a turn waits.
    pub(crate) nudge: Notify,
    /// Held while minutes go from here to the store, and while both are read: none is missed or seen twice.
    pub(crate) moving: tokio::sync::Mutex<()>,
}

/// What was counted of whom: an app, or the webhook with this row of the store.
type Counted = (Time, AppId, Option<i64>);

#[derive(Default)]
struct OfApp {
    own: Slot,
    webhooks: HashMap<i64, Slot>,
    /// How often anything was counted or changed.
    pulse: AtomicU64,
}

/// The minute that is being counted, with those that are over.
#[derive(Default)]
struct Slot(Mutex<Minutes>);

#[derive(Default)]
struct Minutes {
    at: Option<Time>,
    tally: Box<Tally>,
    over: Vec<(Time, Box<Tally>)>,
}

impl Slot {
    fn count(&self, now: Time, count: impl FnOnce(&mut Tally)) {
        let mut minutes = self.0.lock().expect("no one panics while holding this lock");
        minutes.turn_to(Step::Minute.begin_of(now));
        count(&mut minutes.tally);
    }

    fn take(&self) -> Vec<(Time, Box<Tally>)> {
        let mut minutes = self.0.lock().expect("no one panics while holding this lock");
        minutes.end();
        std::mem::take(&mut minutes.over)
    }

    fn copy(&self) -> Vec<(Time, Tally)> {
        let minutes = self.0.lock().expect("no one panics while holding this lock");
        let over = minutes.over.iter().map(|(at, tally)| (*at, (**tally).clone()));
        over.chain(minutes.at.map(|at| (at, (*minutes.tally).clone()))).collect()
    }

    fn is_empty(&self) -> bool {
        let minutes = self.0.lock().expect("no one panics while holding this lock");
        minutes.at.is_none() && minutes.over.is_empty()
    }
}

impl Minutes {
    /// A clock that goes back goes on counting in the minute that it had come to.
    fn turn_to(&mut self, minute: Time) {
        if self.at.is_some_and(|at| at < minute) {
            self.end();
        }
        self.at.get_or_insert(minute);
    }

    fn end(&mut self) {
        if let Some(at) = self.at.take() {
            self.over.push((at, std::mem::take(&mut self.tally)));
        }
    }
}

impl Tallies {
    /// A message was stored.
    pub(crate) fn message(&self, app: &AppId, now: Time) {
        self.at(app, None, now, |tally| tally.count(Count::Messages));
    }

    /// An attempt was made for a delivery of what came in then, began then, and led to this.
    pub(crate) fn attempted(
        &self,
        target: &Target,
        exchange: &Exchange,
        settlement: Settlement,
        (came_in_at, started_at): (Option<Time>, Time),
        now: Time,
    ) {
        let took_us = exchange.phases.total_us;
        self.at(&target.app, Some(target.webhook.row), now, |tally| {
            tally.attempted(&exchange.outcome, took_us);
            match settlement {
                Settlement::Delivered => {
                    tally.count(Count::Delivered);
                    if let Some(came_in_at) = came_in_at {
                        let before_ms = started_at.ms.saturating_sub(came_in_at.ms).max(0).cast_unsigned();
                        tally.measure(Span::ToDelivered, before_ms.saturating_mul(1_000) + took_us);
                    }
                }
                Settlement::Failed => tally.count(Count::Unsent),
                Settlement::Waits { .. } => {}
            }
        });
    }

    /// A `before_message` webhook was asked.
    pub(crate) fn asked(&self, asked: &Asked) {
        // Nobody heard the verdict.
        if asked.silence.as_deref() == Some(SENDER_GONE) {
            return;
        }
        let counted = match (&asked.silence, asked.verdict) {
            (Some(_), _) => Count::Silent,
            (None, "inject") => Count::Injected,
            (None, "replace") => Count::Replaced,
            (None, "drop") => Count::Dropped,
            (None, _) => Count::Passed,
        };
        self.at(&asked.app, Some(asked.webhook_row), asked.at, |tally| {
            tally.count(counted);
            tally.measure(Span::Asked, asked.took_us);
        });
    }

    /// A user came online, or went offline.
    pub(crate) fn presence(&self, app: &AppId, is_online: bool, now: Time) {
        let mut online = self.online.lock().expect("no one panics while holding this lock");
        let count = online.entry(app.clone()).or_default();
        *count = if is_online { *count + 1 } else { count.saturating_sub(1) };
        let count = *count;
        drop(online);
        self.at(app, None, now, |tally| tally.is_online(count));
    }

    /// So many are online, as the store knows: what was counted by steps begins anew.
    pub(crate) fn set_online(&self, counts: Vec<(AppId, u64)>, now: Time) {
        let fresh: HashMap<AppId, u64> = counts.into_iter().collect();
        let before = {
            let mut online = self.online.lock().expect("no one panics while holding this lock");
            std::mem::replace(&mut *online, fresh.clone())
        };
        for app in before.keys().filter(|app| !fresh.contains_key(*app)) {
            if before[app] > 0 {
                self.at(app, None, now, |tally| tally.is_online(0));
            }
        }
        for (app, count) in &fresh {
            self.at(app, None, now, |tally| tally.is_online(*count));
        }
    }

    /// The circuit of a `before_message` webhook has turned.
    pub(crate) fn turned(&self, webhook_row: i64, turned: Turned, at: Time) {
        let mut turns = self.turns.lock().expect("no one panics while holding this lock");
        if turns.len() >= TURNS_WAITING_MAX {
            turns.pop_front();
        }
        turns.push_back((webhook_row, turned, at));
        drop(turns);
        self.nudge.notify_one();
    }

    pub(crate) fn first_turn(&self) -> Option<(i64, Turned, Time)> {
        self.turns.lock().expect("no one panics while holding this lock").front().cloned()
    }

    pub(crate) fn drop_first_turn(&self) {
        self.turns.lock().expect("no one panics while holding this lock").pop_front();
    }

    /// An app, or one of its webhooks, is gone. What is on the shelf of it, and what its last attempts count
    /// after this, the store passes over.
    pub(crate) fn forget(&self, app: &AppId, webhook: Option<i64>) {
        let mut apps = self.apps.write().expect("no one panics while holding this lock");
        match webhook {
            None => {
                apps.remove(app);
                self.resting.lock().expect("no one panics while holding this lock").remove(app);
            }
            Some(webhook) => {
                if let Some(of_app) = apps.get_mut(app) {
                    // Its part in what the app did stays.
                    let minutes = of_app.webhooks.remove(&webhook).map(|slot| slot.copy());
                    for (minute, tally) in minutes.unwrap_or_default() {
                        of_app.own.count(minute, |own| own.merge(&tally));
                    }
                }
            }
        }
    }

    /// Puts what was counted on the shelf.
    pub(crate) fn shelve(&self) {
        let apps = self.apps.read().expect("no one panics while holding this lock");
        let mut shelf = self.shelf.lock().expect("no one panics while holding this lock");
        for (app, of_app) in apps.iter() {
            let webhooks = of_app.webhooks.iter().map(|(row, slot)| (Some(*row), slot));
            for (webhook, slot) in std::iter::once((None, &of_app.own)).chain(webhooks) {
                for (minute, tally) in slot.take() {
                    shelf.entry((minute, app.clone(), webhook)).or_default().merge(&tally);
                }
            }
        }
        drop((apps, shelf));
        let mut apps = self.apps.write().expect("no one panics while holding this lock");
        let mut resting = self.resting.lock().expect("no one panics while holding this lock");
        apps.retain(|app, of_app| {
            of_app.webhooks.retain(|_, slot| !slot.is_empty());
            let is_quiet = of_app.webhooks.is_empty() && of_app.own.is_empty();
            if is_quiet {
                resting.insert(app.clone(), of_app.pulse.load(Ordering::Relaxed));
            }
            !is_quiet
        });
    }

    /// The first so many minutes of the shelf, which stay there.
    pub(crate) fn first_of_shelf(&self, count: usize) -> Vec<Tallied> {
        let shelf = self.shelf.lock().expect("no one panics while holding this lock");
        let first = shelf.iter().take(count).map(|((minute, app, webhook), tally)| Tallied {
            app: app.clone(),
            webhook: *webhook,
            minute: *minute,
            tally: tally.clone(),
        });
        first.collect()
    }

    pub(crate) fn drop_first_of_shelf(&self, count: usize) {
        let mut shelf = self.shelf.lock().expect("no one panics while holding this lock");
        (0..count).for_each(|_| drop(shelf.pop_first()));
    }

    /// The store refuses: what cannot be held is lost, the oldest first. How much that was.
    pub(crate) fn bound_shelf(&self) -> usize {
        let mut shelf = self.shelf.lock().expect("no one panics while holding this lock");
        let lost = shelf.len().saturating_sub(SHELF_MAX);
        (0..lost).for_each(|_| drop(shelf.pop_first()));
        lost
    }

    /// What the store does not have yet; of an app with all its webhooks.
    pub(crate) fn in_memory(&self, app: &AppId, webhook: Option<i64>) -> Vec<(Time, Tally)> {
        let mut found = Vec::new();
        let apps = self.apps.read().expect("no one panics while holding this lock");
        if let Some(of_app) = apps.get(app) {
            if webhook.is_none() {
                found.extend(of_app.own.copy());
            }
            let wanted =
                of_app.webhooks.iter().filter(|(row, _)| webhook.is_none_or(|webhook| webhook == **row));
            wanted.for_each(|(_, slot)| found.extend(slot.copy()));
        }
        drop(apps);
        let shelf = self.shelf.lock().expect("no one panics while holding this lock");
        let wanted = shelf.iter().filter(|((_, of_app, of_webhook), _)| {
            of_app == app && (webhook.is_none() || *of_webhook == webhook)
        });
        found.extend(wanted.map(|((minute, ..), tally)| (*minute, (**tally).clone())));
        found.sort_by_key(|(minute, _)| *minute);
        found
    }

    /// Something of the app changed that no number counts.
    pub(crate) fn changed(&self, app: &AppId) {
        self.slot(app, None, |_| {});
    }

    /// A number that is another when anything of the app was counted since, or changed: for who looks whether to
    /// look closer.
    pub(crate) fn pulse(&self, app: &AppId) -> u64 {
        let apps = self.apps.read().expect("no one panics while holding this lock");
        if let Some(of_app) = apps.get(app) {
            return of_app.pulse.load(Ordering::Relaxed);
        }
        // Asked for while no app can begin or end to rest.
        let resting = self.resting.lock().expect("no one panics while holding this lock");
        resting.get(app).copied().unwrap_or(0)
    }

    fn at(&self, app: &AppId, webhook: Option<i64>, now: Time, count: impl FnOnce(&mut Tally)) {
        self.slot(app, webhook, |slot| slot.count(now, count));
    }

    fn slot(&self, app: &AppId, webhook: Option<i64>, work: impl FnOnce(&Slot)) {
        let apps = self.apps.read().expect("no one panics while holding this lock");
        if let Some(of_app) = apps.get(app)
            && let Some(slot) = of_app.slot(webhook)
        {
            of_app.pulse.fetch_add(1, Ordering::Relaxed);
            return work(slot);
        }
        drop(apps);
        let mut apps = self.apps.write().expect("no one panics while holding this lock");
        let of_app = apps.entry(app.clone()).or_insert_with(|| {
            let mut resting = self.resting.lock().expect("no one panics while holding this lock");
            OfApp { pulse: AtomicU64::new(resting.remove(app).unwrap_or(0)), ..OfApp::default() }
        });
        if let Some(webhook) = webhook {
            of_app.webhooks.entry(webhook).or_default();
        }
        of_app.pulse.fetch_add(1, Ordering::Relaxed);
        work(of_app.slot(webhook).expect("it was just made"));
    }
}

impl OfApp {
    fn slot(&self, webhook: Option<i64>) -> Option<&Slot> {
        match webhook {
            None => Some(&self.own),
            Some(webhook) => self.webhooks.get(&webhook),
        }
    }
}

/// The same with a sum for each app and minute: what its webhooks did is the app's as well.
pub(crate) fn with_sums(minutes: Vec<Tallied>) -> Vec<Tallied> {
    let mut sums: HashMap<(AppId, Time), Box<Tally>> = HashMap::new();
    let mut rows = Vec::with_capacity(minutes.len());
    for tallied in minutes {
        sums.entry((tallied.app.clone(), tallied.minute)).or_default().merge(&tallied.tally);
        if tallied.webhook.is_some() {
            rows.push(tallied);
        }
    }
    rows.extend(sums.into_iter().map(|((app, minute), tally)| Tallied { app, webhook: None, minute, tally }));
    rows
}

/// Tallies of minutes and steps by the step that each lies in, from a moment on, in order.
pub(crate) fn by_step(parts: Vec<(Time, Tally)>, step: Step, since: Time) -> Vec<(Time, Tally)> {
    let mut sums: BTreeMap<Time, Tally> = BTreeMap::new();
    for (at, tally) in parts {
        let begin = step.begin_of(at);
        if begin >= since {
            sums.entry(begin).or_default().merge(&tally);
        }
    }
    sums.into_iter().collect()
}
