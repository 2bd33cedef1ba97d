//! How an app and its endpoints fare: what was counted over time, how circuits stand and how they turned, and which
//! webhooks need a person. And the task that takes what was counted to the store, minute by minute.

use std::sync::Arc;

use chathook_domain::circuit::StandState;
use chathook_domain::hook_circuit::HookCircuit;
use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::needs::{Facts, Need, is_mostly_silent, needs};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::tally::{Count, Step, Tally};
use chathook_domain::turn::{Party, TurnKind};
use chathook_domain::webhook::Webhook;
use tokio::sync::watch;

use crate::engine::{Engine, refuse};
use crate::means::is_passing;
use crate::ports::history::CallFilter;
use crate::ports::tallies::{KeptTurn, Standing};
use crate::tallies::{by_step, with_sums};

/// Minutes of webhooks that one transaction takes, each in every step.
const BATCH_MAX: usize = 100;
/// Lines of a circuit's history that are shown with it.
const TURNS_SHOWN: i64 = 50;
const MINUTE_MS: i64 = 60_000;
/// How often what was counted is taken to the store: a kill loses no more.
const KEEP_EVERY_MS: i64 = 10_000;
const DAY: Window = Window { minutes: 24 * 60, step: Step::TenMinutes };

/// What happened in a span that ends now, step by step; steps in which nothing did are left out.
#[derive(Debug, Clone)]
pub struct Series {
    pub step: Step,
    /// The beginning of the first step, and now.
    pub since: Time,
    pub until: Time,
    pub points: Vec<(Time, Tally)>,
    pub total: Tally,
}

/// How an app fares.
#[derive(Debug, Clone)]
pub struct AppHealth {
    pub series: Series,
    /// In the order in which they were created.
    pub webhooks: Vec<WebhookHealth>,
    pub needs: Vec<Need>,
    pub online: u64,
}

/// How one webhook of an app fares.
#[derive(Debug, Clone)]
pub struct WebhookHealth {
    pub webhook: Webhook,
    /// `None` for one that was made a moment ago.
    pub standing: Option<Standing>,
    /// `None` for a moment after a start, until what waits has been looked at.
    pub circuit: Option<CircuitNow>,
    /// What was counted in the last day, and in its newest ten to twenty minutes.
    pub day: Tally,
    pub lately: Tally,
    pub hook: HookNow,
    /// Why it is silent to `before_message`, where it is so of late, and since when, where that is known.
    pub silence: Option<(String, Option<Time>)>,
}

/// How the circuit of `before_message` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookNow {
    /// Where it is open, when the next message asks the endpoint.
    pub probe_at: Option<Time>,
    /// Calls without an answer since the last one, where it is closed.
    pub silences_in_row: u32,
}

/// How a circuit stands, by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitNow {
    pub state: CircuitState,
    /// When the next attempt goes out, where the circuit is open.
    pub probe_at: Option<Time>,
    /// Until when the endpoint asked to be left alone.
    pub paused_until: Option<Time>,
    pub failures_in_row: u32,
    /// Attempts that may be in flight at once.
    pub allowed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    Open,
    Probing,
}

impl CircuitState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probing => "probing",
        }
    }
}

/// How a webhook and its endpoint fare.
#[derive(Debug, Clone)]
pub struct EndpointHealth {
    pub now: WebhookHealth,
    pub series: Series,
    pub needs: Vec<Need>,
    /// The newest first.
    pub turns: Vec<KeptTurn>,
}

/// What span is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub minutes: i64,
    pub step: Step,
}

impl Window {
    /// In the step asked for, or in the one that fits; refused where that step is not kept for so long.
    pub fn of(minutes: i64, step: Option<Step>) -> Result<Self, Refusal> {
        let step = step.unwrap_or(Step::of_span(minutes));
        if minutes * MINUTE_MS > step.kept_ms() {
            let complaint = format!("is kept for {} minutes only", step.kept_ms() / MINUTE_MS);
            return Err(Refusal::field(Code::BadRequest, "step", &complaint));
        }
        Ok(Self { minutes, step })
    }
}

impl WebhookHealth {
    /// It gives `before_message` no usable answer: its circuit is open, or most of its calls of late were silent.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let facts = facts_of(self);
        facts.is_hook_circuit_open || is_mostly_silent(&facts)
    }
}

fn facts_of(health: &WebhookHealth) -> Facts {
    let WebhookHealth { webhook, standing, circuit, day, lately, hook, silence } = health;
    let standing = standing.as_ref();
    Facts {
        webhook: webhook.id.clone(),
        is_enabled: webhook.config.enabled,
        switched_off: webhook.switched_off.clone(),
        failing_since: standing.and_then(|standing| standing.failing_since),
        last_failure: standing.and_then(|standing| standing.last_failure.clone()),
        is_circuit_open: circuit.is_some_and(|now| now.state != CircuitState::Closed),
        is_hook_circuit_open: hook.probe_at.is_some(),
        on_failure: webhook.config.on_failure,
        asked: lately.asked(),
        silent: lately.of(Count::Silent),
        silence: silence.clone(),
        waiting: standing.map_or(0, |standing| standing.waiting),
        waiting_bytes: standing.map_or(0, |standing| standing.waiting_bytes),
        waiting_bytes_max: standing.map_or(i64::MAX, |standing| standing.waiting_bytes_max),
        oldest_waiting_at: standing.and_then(|standing| standing.oldest_waiting_at),
        rotation_until: webhook.secrets.previous.as_ref().map(|previous| previous.until),
        unsent_in_a_day: day.of(Count::Unsent),
    }
}

impl Engine {
    pub async fn app_health(&self, app: &AppId, window: Window) -> Result<AppHealth, Refusal> {
        self.app(app).await?;
        let series = self.series(app, None, window).await?;
        let mut standings = self.standings(app).await?;
        let (mut webhooks, mut all) = (Vec::new(), Vec::new());
        for webhook in self.store.webhooks(app).await.map_err(refuse)? {
            let at = standings.iter().position(|standing| standing.webhook == webhook.id);
            let standing = at.map(|at| standings.swap_remove(at));
            let health = self.webhook_health(app, webhook, standing).await?;
            all.push(facts_of(&health));
            webhooks.push(health);
        }
        let online = self.store.online_count(app).await.map_err(refuse)?;
        Ok(AppHealth { series, webhooks, needs: needs(&all, self.clock.now()), online })
    }

    pub async fn endpoint_health(
        &self,
        app: &AppId,
        id: &WebhookId,
        window: Window,
    ) -> Result<EndpointHealth, Refusal> {
        self.app(app).await?;
        let webhook = self.webhook(app, id).await?;
        let series = self.series(app, Some(&webhook), window).await?;
        let standings = self.standings(app).await?;
        let standing = standings.into_iter().find(|standing| standing.webhook == *id);
        let health = self.webhook_health(app, webhook, standing).await?;
        let turns = self.circuit_history(app, id, i64::MAX, TURNS_SHOWN).await?;
        Ok(EndpointHealth {
            series,
            needs: needs(&[facts_of(&health)], self.clock.now()),
            now: health,
            turns,
        })
    }

    /// What waits for each webhook of the app, and which of them fail.
    pub async fn standings(&self, app: &AppId) -> Result<Vec<Standing>, Refusal> {
        self.store.standings(app).await.map_err(refuse)
    }

    /// How the circuits of a webhook turned, newest first, below a row.
    pub async fn circuit_history(
        &self,
        app: &AppId,
        id: &WebhookId,
        below: i64,
        limit: i64,
    ) -> Result<Vec<KeptTurn>, Refusal> {
        self.app(app).await?;
        self.store.turns(app, id, below, limit).await.map_err(refuse)
    }

    /// What was counted, also what is not in the store yet.
    async fn series(
        &self,
        app: &AppId,
        webhook: Option<&Webhook>,
        window: Window,
    ) -> Result<Series, Refusal> {
        let Window { minutes, step } = window;
        let until = self.clock.now();
        // The step that we are in is one of them.
        let since = step.begin_of(until.plus_ms(step.ms() - minutes * MINUTE_MS));
        let _moving = self.tallies.moving.lock().await;
        let id = webhook.map(|webhook| &webhook.id);
        let mut parts = self.store.tallies(app, id, step, since).await.map_err(refuse)?;
        parts.extend(self.tallies.in_memory(app, webhook.map(|webhook| webhook.row)));
        let points = by_step(parts, step, since);
        let mut total = Tally::default();
        points.iter().for_each(|(_, tally)| total.merge(tally));
        Ok(Series { step, since, until, points, total })
    }

    pub(crate) async fn webhook_health(
        &self,
        app: &AppId,
        webhook: Webhook,
        standing: Option<Standing>,
    ) -> Result<WebhookHealth, Refusal> {
        let day = self.series(app, Some(&webhook), DAY).await?;
        let mut lately = Tally::default();
        let since = day.step.begin_of(day.until.plus_ms(-day.step.ms()));
        day.points.iter().filter(|(at, _)| *at >= since).for_each(|(_, tally)| lately.merge(tally));
        let (circuit, hook) = (self.circuit_of(&webhook), self.hook_now(&webhook));
        let mut health =
            WebhookHealth { webhook, standing, circuit, day: day.total, lately, hook, silence: None };
        if health.is_silent() {
            health.silence = self.silence_of(app, &health).await?;
        }
        Ok(health)
    }

    /// Of an open circuit what opened it, for the calls since were not made; else that of the last silent call.
    async fn silence_of(
        &self,
        app: &AppId,
        health: &WebhookHealth,
    ) -> Result<Option<(String, Option<Time>)>, Refusal> {
        let id = &health.webhook.id;
        if health.hook.probe_at.is_some() {
            let turns = self.store.turns(app, id, i64::MAX, TURNS_SHOWN).await.map_err(refuse)?;
            let is_opening = |turn: &KeptTurn| {
                turn.party == Party::BeforeMessage.as_str() && turn.kind == TurnKind::Opened.as_str()
            };
            if let Some(turn) = turns.into_iter().find(is_opening) {
                return Ok(Some((turn.cause, Some(turn.at))));
            }
        }
        let filter = CallFilter { verdict: None, is_silent: true, limit: 1 };
        let last = self.store.calls(app, id, filter, i64::MAX).await.map_err(refuse)?.calls.pop();
        Ok(last.and_then(|call| call.silence).map(|cause| (cause, None)))
    }

    fn circuit_of(&self, webhook: &Webhook) -> Option<CircuitNow> {
        let stand = self.dispatch.stand(webhook.row, self.clock.ticks())?;
        let (state, probe_at) = match stand.state {
            StandState::Closed => (CircuitState::Closed, None),
            StandState::Open { probe_at } => (CircuitState::Open, Some(self.wall_of(probe_at))),
            StandState::Probing => (CircuitState::Probing, None),
        };
        let paused_until = stand.paused_until.map(|tick| self.wall_of(tick));
        Some(CircuitNow {
            state,
            probe_at,
            paused_until,
            failures_in_row: stand.failures_in_row,
            allowed: stand.allowed,
        })
    }

    fn hook_now(&self, webhook: &Webhook) -> HookNow {
        match self.hooks.circuit(webhook.row) {
            HookCircuit::Closed { silences } => HookNow { probe_at: None, silences_in_row: silences },
            HookCircuit::Open { probe_at } => {
                HookNow { probe_at: Some(self.wall_of(probe_at)), silences_in_row: 0 }
            }
        }
    }

    fn wall_of(&self, tick: i64) -> Time {
        self.clock.now().plus_ms(tick - self.clock.ticks())
    }

    /// Takes what is counted to the store every few seconds, and turns of circuits at once, until the stop.
    pub async fn keep_tallies(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let work = async {
            let mut looked_in = None;
            loop {
                let minute = Step::Minute.begin_of(self.clock.now());
                if looked_in.replace(minute) != Some(minute) {
                    self.look_who_is_online().await;
                }
                // A refusal is logged where it arises; what was counted waits for the next time.
                let _ = self.write_tallies().await;
                let end = self.clock.ticks() + KEEP_EVERY_MS - self.clock.now().ms.rem_euclid(KEEP_EVERY_MS);
                loop {
                    self.write_turns().await;
                    tokio::select! {
                        biased;
                        () = self.tallies.nudge.notified() => {}
                        () = self.clock.sleep_until(end) => break,
                    }
                }
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Takes all that was counted to the store: nothing counts any more.
    pub async fn end_tallies(&self) {
        self.write_turns().await;
        let _ = self.write_tallies().await;
    }

    async fn look_who_is_online(&self) {
        if let Ok(counts) = self.store.online_counts().await {
            self.tallies.set_online(counts, self.clock.now());
        }
    }

    async fn write_tallies(&self) -> Result<(), Refusal> {
        {
            let _moving = self.tallies.moving.lock().await;
            self.tallies.shelve();
        }
        loop {
            let _moving = self.tallies.moving.lock().await;
            let minutes = self.tallies.first_of_shelf(BATCH_MAX);
            let count = minutes.len();
            if count == 0 {
                return Ok(());
            }
            match self.store.add_tallies(with_sums(minutes)).await {
                Ok(()) => self.tallies.drop_first_of_shelf(count),
                Err(error) if is_passing(&error) => {
                    let lost = self.tallies.bound_shelf();
                    if lost > 0 {
                        tracing::warn!(lost, "minutes of counters are lost: the store takes none");
                    }
                    return Err(refuse(error));
                }
                Err(error) => {
                    self.tallies.drop_first_of_shelf(count);
                    return Err(refuse(error));
                }
            }
        }
    }

    async fn write_turns(&self) {
        while let Some((row, turned, at)) = self.tallies.first_turn() {
            match self.store.keep_turn(&self.start, row, turned, at).await {
                Ok(()) => self.tallies.drop_first_turn(),
                // It waits for the next turn, or for some seconds.
                Err(error) if is_passing(&error) => return,
                Err(error) => {
                    tracing::error!(?error, webhook.row = row, "a turn of a circuit cannot be written");
                    self.tallies.drop_first_turn();
                }
            }
        }
    }
}
