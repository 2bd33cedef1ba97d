//! Replays: jobs that owe again what happened, or for the first time, in small steps of which each is
//! one transaction. The store holds a job's place, so that it goes on after a restart.

use std::sync::Arc;

use chathook_domain::ids::{AppId, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::replay::{Job, Wanted};
use serde_json::Value;

use crate::engine::{Engine, refuse};
use crate::ports::history::Step;

/// How long a job is left alone whose webhook has enough to do, or whose store refuses.
const WAIT_MS: i64 = 1_000;

/// What one round over all running jobs came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// No job runs.
    Idle,
    /// At least one got further.
    Made,
    /// All wait.
    Held,
}

impl Engine {
    pub async fn begin_replay(&self, app: &AppId, webhook: &WebhookId, body: &Value) -> Result<Job, Refusal> {
        let own = self.webhook(app, webhook).await?.triggers;
        let wanted = Wanted::parse(body, &own)?;
        let now = self.clock.now();
        wanted.check_begun(now)?;
        let job = self.store.begin_replay(app, webhook, wanted, now).await.map_err(refuse)?;
        self.replay_nudge.notify_one();
        self.tallies.changed(app);
        Ok(job)
    }

    pub async fn replay(&self, app: &AppId, webhook: &WebhookId, row: i64) -> Result<Job, Refusal> {
        self.app(app).await?;
        self.store.replay(app, webhook, row).await.map_err(refuse)?.ok_or_else(|| not_found(webhook, row))
    }

    /// Newest first, below a row.
    pub async fn replays(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        below: i64,
        limit: i64,
    ) -> Result<Vec<Job>, Refusal> {
        self.app(app).await?;
        self.store.replays(app, webhook, below, limit).await.map_err(refuse)
    }

    /// Nothing more is made of it; what was made of it waits on.
    pub async fn cancel_replay(&self, app: &AppId, webhook: &WebhookId, row: i64) -> Result<Job, Refusal> {
        self.app(app).await?;
        let now = self.clock.now();
        let job = self.store.cancel_replay(app, webhook, row, now).await.map_err(refuse)?;
        self.tallies.changed(app);
        job.ok_or_else(|| not_found(webhook, row))
    }

    /// Works on the running jobs until `stop` is told.
    pub async fn run_replays(self: Arc<Self>, mut stop: tokio::sync::watch::Receiver<bool>) {
        let work = async {
            loop {
                // Asked for before looking: a job that begins meanwhile is not missed.
                let nudged = self.replay_nudge.notified();
                match self.replay_round().await {
                    Round::Made => {}
                    Round::Idle => nudged.await,
                    Round::Held => {
                        let later = self.clock.sleep_until(self.clock.ticks() + WAIT_MS);
                        tokio::select! {
                            () = nudged => {}
                            () = later => {}
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// One step of each running job, so that none keeps another waiting.
    async fn replay_round(&self) -> Round {
        let jobs = match self.store.running_replays().await {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::warn!(?error, "replays wait for the store");
                return Round::Held;
            }
        };
        let mut round = if jobs.is_empty() { Round::Idle } else { Round::Held };
        for job in jobs {
            match self.store.step_replay(job, self.clock.now()).await {
                Ok(Step::Made | Step::Ended) => round = Round::Made,
                Ok(Step::Held) => {}
                Err(error) => tracing::warn!(?error, replay.id = job, "a replay waits for the store"),
            }
        }
        round
    }
}

fn not_found(webhook: &WebhookId, row: i64) -> Refusal {
    Refusal::new(Code::ReplayNotFound, format!("The webhook '{webhook}' has no replay '{row}'."))
}
