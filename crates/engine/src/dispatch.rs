//! Deliveries on their way: lanes give out what may go, attempts are made, settlements are written
//! in batches. The decisions are the domain's; here they are carried out.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chathook_domain::delivery::{Owed, Settlement, decide};
use chathook_domain::event::body_for;
use chathook_domain::ids::Time;
use chathook_domain::lane::{Fetch, LANE_LENGTH_MAX, Lanes, Returned};
use chathook_domain::outcome::{Failure, Outcome};
use chathook_domain::retry::WAITS_S;
use chathook_domain::webhook::{IN_FLIGHT_MAX, Webhook};
use tokio::sync::mpsc;

use crate::ask::headers;
use crate::engine::Engine;
use crate::lines::{Lines, Rest};
use crate::ports::endpoints::{Exchange, Phases, Post};
use crate::ports::store::{Settled, StoreError, Stored, SwitchOff, Target};

/// Deliveries settled in one transaction, and how long the first of them waits for others.
const BATCH_MAX: usize = 500;
const BATCH_WAIT: Duration = Duration::from_millis(5);
/// How much of an endpoint's answer is read (design 6).
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024;
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after its own clock a sender is given up.
const SENDER_SLACK_MS: i64 = 250;
/// How long a store that refuses is left alone before it is asked again.
const STORE_WAIT_MS: i64 = 1_000;

/// A delivery given out, with what its attempt needs.
struct Errand {
    webhook: Webhook,
    owed: Owed,
    settled_up_to: i64,
}

/// The engine's hands on the lanes.
pub struct Dispatcher {
    engine: Arc<Engine>,
    dispatch: Arc<Lines>,
    settlements: mpsc::Sender<Settled>,
}

impl Dispatcher {
    /// Starts the loops; they end when `stop` is told and everything in flight is settled.
    pub fn run(
        engine: Arc<Engine>,
        stop: tokio::sync::watch::Receiver<bool>,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let dispatch = engine.dispatch.clone();
        let (settlements, due) = mpsc::channel(BATCH_MAX * 4);
        let writer = tokio::spawn(write_settlements(engine.clone(), dispatch.clone(), due));
        let dispatcher = Arc::new(Self { engine, dispatch, settlements });
        let worker = tokio::spawn(dispatcher.work(stop));
        vec![tokio::spawn(end_with_process(worker)), tokio::spawn(end_with_process(writer))]
    }

    async fn work(self: Arc<Self>, mut stop: tokio::sync::watch::Receiver<bool>) {
        self.wake_all().await;
        loop {
            for row in self.dispatch.take_stirred(self.engine.clock.ticks()) {
                self.pump(row).await;
            }
            let due = self.dispatch.next_due();
            let sleep = async {
                match &due {
                    Some((tick, _)) => self.engine.clock.sleep_until(*tick).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.dispatch.nudge.notified() => {}
                () = sleep => {
                    for row in due.iter().flat_map(|(_, rows)| rows) {
                        self.dispatch.stir(*row);
                    }
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
    }

    /// After a start every webhook's lanes look into the store.
    async fn wake_all(&self) {
        loop {
            match self.engine.store.webhook_rows().await {
                Ok(rows) => {
                    for row in rows {
                        self.dispatch.rooms().entry(row).or_insert_with(|| Lanes::after_start(IN_FLIGHT_MAX));
                        self.dispatch.stir(row);
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(?error, "the webhooks cannot be read; dispatch waits");
                    self.engine.clock.sleep_until(self.engine.clock.ticks() + STORE_WAIT_MS).await;
                }
            }
        }
    }

    /// Fetches what the lanes ask for and sends what may go.
    async fn pump(self: &Arc<Self>, row: i64) {
        let target = match self.engine.store.target(row).await {
            Ok(Some(target)) => target,
            Ok(None) => {
                // The webhook was deleted: its lanes go with it.
                self.dispatch.rooms().remove(&row);
                return self.dispatch.wake(row);
            }
            Err(error) => return self.later(row, &error),
        };
        if !target.webhook.is_on() {
            return self.dispatch.rest(row, Rest::Off);
        }
        self.dispatch.wake(row);
        self.refill(row, &target).await;
        let now = self.engine.clock.ticks();
        loop {
            let owed = self.dispatch.rooms().get_mut(&row).and_then(|lanes| lanes.take(now));
            let Some(owed) = owed else { break };
            self.dispatch.unsettled.fetch_add(1, Ordering::SeqCst);
            let errand = Errand { webhook: target.webhook.clone(), owed, settled_up_to: target.settled };
            self.clone().send_off(errand);
        }
    }

    /// The store refused: this row is looked at again after a while, and not before.
    fn later(&self, row: i64, error: &StoreError) {
        tracing::warn!(?error, webhook.row = row, "dispatch waits for the store");
        self.dispatch.rest(row, Rest::Until(self.engine.clock.ticks() + STORE_WAIT_MS));
        self.dispatch.stir(row);
    }

    async fn refill(self: &Arc<Self>, row: i64, target: &Target) {
        loop {
            let fetch = self.dispatch.rooms().get_mut(&row).and_then(Lanes::next_fetch);
            let Some(fetch) = fetch else { return };
            if let Err(error) = self.fetch(row, target.stream, &fetch).await {
                if let Some(lanes) = self.dispatch.rooms().get_mut(&row) {
                    lanes.fetch_failed(&fetch);
                }
                return self.later(row, &error);
            }
        }
    }

    async fn fetch(&self, row: i64, stream: i64, fetch: &Fetch) -> Stored<()> {
        let store = &self.engine.store;
        let lane_limit = i64::try_from(LANE_LENGTH_MAX).expect("a small number");
        let due = |owed: &Owed| self.due_tick(owed);
        match fetch {
            Fetch::Lane { key, after } => {
                let owed = store.waiting_of_lane(row, stream, key, *after, lane_limit).await?;
                if let Some(lanes) = self.dispatch.rooms().get_mut(&row) {
                    lanes.fetched_lane(key, owed, &due);
                }
            }
            Fetch::Keys { after, count_max } => {
                let limit = i64::try_from(*count_max).expect("a small number");
                let keys = store.waiting_lanes(stream, after.as_ref(), limit).await?;
                let is_last_page = keys.len() < *count_max;
                let mut page = Vec::with_capacity(keys.len());
                for key in keys {
                    let owed = store.waiting_of_lane(row, stream, &key, 0, lane_limit).await?;
                    page.push((key, owed));
                }
                if let Some(lanes) = self.dispatch.rooms().get_mut(&row) {
                    lanes.fetched_keys(page, is_last_page, &due);
                }
            }
        }
        Ok(())
    }

    /// The tick of a stored due time. A time further off than its own step is cut to that step: the
    /// wall clock may have jumped.
    fn due_tick(&self, owed: &Owed) -> i64 {
        let Some(due) = owed.due else { return i64::MIN };
        let ahead_ms = due.ms - self.engine.clock.now().ms;
        if ahead_ms <= 0 {
            return i64::MIN;
        }
        let step = usize::try_from(owed.steps.saturating_sub(1)).unwrap_or(usize::MAX).min(WAITS_S.len() - 1);
        let longest_ms = WAITS_S[step] * 1_100;
        self.engine.clock.ticks() + ahead_ms.min(longest_ms)
    }

    /// Makes the attempt in a task of its own; a panic there is the outcome `internal`.
    fn send_off(self: Arc<Self>, errand: Errand) {
        tokio::spawn(async move {
            let started_at = self.engine.clock.now();
            let errand = Arc::new(errand);
            let (this, its) = (self.clone(), errand.clone());
            let attempt = tokio::spawn(async move { attempt(&this.engine, this.post_of(&its)).await });
            let exchange = attempt.await.unwrap_or_else(|_| Exchange {
                outcome: Outcome::Failed(Failure::Internal),
                phases: Phases::default(),
                address: None,
            });
            self.settle(&errand, exchange, started_at).await;
        });
    }

    fn post_of(&self, errand: &Errand) -> Post {
        let Errand { webhook, owed, settled_up_to } = errand;
        let body = body_for(&owed.body, &webhook.id);
        let at_s = self.engine.clock.now().seconds();
        let mut headers = headers(webhook, &owed.event_id, at_s, &body);
        headers.push(("chathook-attempt", (owed.attempts + 1).to_string()));
        headers.push(("chathook-sequence", owed.sequence.to_string()));
        headers.push(("chathook-settled", settled_up_to.to_string()));
        headers.push(("chathook-key", owed.lane.key().to_owned()));
        if let Some(job) = owed.replay {
            headers.push(("chathook-replay", job.to_string()));
        }
        Post {
            url: webhook.config.url.clone(),
            headers,
            body: Arc::from(body),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: Duration::from_millis(webhook.config.timeout_ms.max(0).cast_unsigned()),
            answer_bytes_max: ANSWER_BYTES_MAX,
            idle_connections_max: IN_FLIGHT_MAX,
        }
    }

    async fn settle(&self, errand: &Errand, exchange: Exchange, started_at: Time) {
        let Errand { webhook, owed, .. } = errand;
        let mut owed = owed.clone();
        let now = self.engine.clock.now();
        let made = owed.attempts + 1;
        let retries = webhook.config.retry_on_failure;
        let settlement = decide(&exchange.outcome, &owed, retries, now, self.engine.dice.roll());
        tracing::debug!(
            webhook.id = %webhook.id, delivery.id = owed.sequence, attempt = made,
            duration_ms = exchange.phases.total_us / 1_000, settlement = ?settlement, "an attempt was made"
        );
        let settled = Settled {
            stream: owed.stream,
            sequence: owed.sequence,
            webhook_row: webhook.row,
            attempt: made,
            outcome: exchange.outcome,
            phases: exchange.phases,
            address: exchange.address,
            settlement,
            started_at,
        };
        count(&settled);
        if is_gone(&settled.outcome) {
            self.switch_off(webhook.row, now).await;
        }
        let key = owed.lane.clone();
        let returned = match settlement {
            Settlement::Delivered | Settlement::Failed => Returned::Ended,
            Settlement::Waits { due, steps, first_failed_at, is_aside } => {
                owed.attempts = made;
                (owed.steps, owed.due, owed.is_aside) = (steps, Some(due), is_aside);
                owed.first_failed_at = Some(first_failed_at);
                Returned::Waits { until: self.engine.clock.ticks() + (due.ms - now.ms), owed }
            }
        };
        // The lane opens only when its settlement has a place in the queue: a store that refuses
        // holds the lanes back instead of filling memory.
        let sent = self.settlements.send(settled).await;
        if let Some(lanes) = self.dispatch.rooms().get_mut(&webhook.row) {
            lanes.returned(&key, returned);
        }
        if sent.is_ok() {
            self.dispatch.stir(webhook.row);
        }
    }

    /// Where the store cannot write it now, the next 410 will do.
    async fn switch_off(&self, row: i64, now: Time) {
        if let Err(error) = self.engine.store.switch_off(row, SwitchOff::Gone, now).await {
            tracing::warn!(?error, webhook.row = row, "a webhook could not be switched off");
        }
    }
}

/// 410: the endpoint wants no more.
fn is_gone(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered(answer) if answer.status == 410)
}

/// A server that no longer delivers must not look alive: the next start finds all in the store.
async fn end_with_process(task: tokio::task::JoinHandle<()>) {
    if task.await.is_err_and(|error| error.is_panic()) {
        tracing::error!("dispatch died; the process ends so that it can be started anew");
        std::process::abort();
    }
}

fn count(settled: &Settled) {
    let outcome = chathook_domain::delivery::outcome_name(&settled.outcome);
    metrics::counter!("chathook_attempts_total", "outcome" => outcome).increment(1);
    #[allow(clippy::cast_precision_loss)]
    let seconds = settled.phases.total_us as f64 / 1e6;
    metrics::histogram!("chathook_attempt_seconds").record(seconds);
}

/// Makes one attempt.
pub(crate) async fn attempt(engine: &Engine, post: Post) -> Exchange {
    // The sender keeps the clock and knows more; this one is for a sender that does not come back.
    let timeout_ms = i64::try_from(post.timeout.as_millis()).unwrap_or(i64::MAX);
    let deadline = engine.clock.ticks().saturating_add(timeout_ms).saturating_add(SENDER_SLACK_MS);
    tokio::select! {
        exchange = engine.endpoints.post(post) => exchange,
        () = engine.clock.sleep_until(deadline) => Exchange {
            outcome: Outcome::Failed(Failure::Timeout),
            phases: Phases::default(),
            address: None,
        },
    }
}

/// Gathers settlements and writes them; a batch that the store refuses is written again until it is.
async fn write_settlements(engine: Arc<Engine>, dispatch: Arc<Lines>, mut due: mpsc::Receiver<Settled>) {
    while let Some(first) = due.recv().await {
        let mut batch = vec![first];
        // Nothing that anyone sees depends on this wait, so it is the runtime's and not the clock's.
        let waited_enough = tokio::time::sleep(BATCH_WAIT);
        tokio::pin!(waited_enough);
        while batch.len() < BATCH_MAX {
            // Only a busy dispatcher is worth waiting for.
            if due.is_empty() && dispatch.under_way() <= batch.len() {
                break;
            }
            tokio::select! {
                next = due.recv() => match next {
                    Some(next) => batch.push(next),
                    None => break,
                },
                () = &mut waited_enough => break,
            }
        }
        settle_all(&engine, &batch).await;
        let rows: HashSet<i64> = batch.iter().map(|s| s.webhook_row).collect();
        dispatch.unsettled.fetch_sub(batch.len(), Ordering::SeqCst);
        for row in rows {
            dispatch.stir(row);
        }
    }
}

/// Returns when every settlement is written. One that the store cannot take is left out, so that it
/// holds up nobody else: its delivery still waits in the store and goes out again after a start.
async fn settle_all(engine: &Engine, batch: &[Settled]) {
    let mut rest: Vec<Vec<Settled>> = vec![batch.to_vec()];
    while let Some(part) = rest.pop() {
        match engine.store.settle(&engine.start, part.clone()).await {
            Ok(_) => {}
            Err(StoreError::Unavailable(cause)) => {
                tracing::warn!(cause, count = part.len(), "settlements wait for the store");
                rest.push(part);
                engine.clock.sleep_until(engine.clock.ticks() + STORE_WAIT_MS).await;
            }
            Err(StoreError::Fault(_) | StoreError::Refused(_)) if part.len() > 1 => {
                rest.extend(part.into_iter().map(|one| vec![one]));
            }
            Err(StoreError::Fault(cause)) => tracing::error!(cause, "a settlement cannot be written"),
            Err(StoreError::Refused(refusal)) => {
                tracing::error!(cause = refusal.message, "a settlement cannot be written");
            }
        }
    }
}
