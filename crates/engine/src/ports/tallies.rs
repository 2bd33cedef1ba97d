//! The port to what is counted over time, and to how webhooks stand now.

use async_trait::async_trait;
use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::tally::{Step, Tally};

use super::stored::Stored;

/// What happened in one minute, or in a part of it, at an app or at one of its webhooks.
#[derive(Debug, Clone)]
pub struct Tallied {
    pub app: AppId,
    /// The webhook's row, which is never given again: one made anew under its id begins to count anew.
    pub webhook: Option<i64>,
    /// The minute's beginning.
    pub minute: Time,
    pub tally: Box<Tally>,
}

/// A line of the history of a webhook's circuits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTurn {
    pub row: i64,
    /// Whose circuit: `deliveries` or `before_message`.
    pub party: String,
    /// `opened`, `probe_failed`, `closed`, `paused` or `switched_off`.
    pub kind: String,
    pub cause: String,
    pub at: Time,
    /// Failed probes that followed one another are one line: how many they are, and when the last one failed,
    /// whose cause this is.
    pub times: u64,
    pub last_at: Option<Time>,
}

/// What waits for a webhook.
#[derive(Debug, Clone)]
pub struct Standing {
    pub webhook: WebhookId,
    pub waiting: u64,
    pub waiting_bytes: i64,
    /// With more it is switched off.
    pub waiting_bytes_max: i64,
    pub oldest_waiting_at: Option<Time>,
    pub failing_since: Option<Time>,
    /// The status or named failure of the last of its newest attempts that failed, where it is failing.
    pub last_failure: Option<String>,
}

#[async_trait]
pub trait TallyStore: Send + Sync {
    /// Adds minutes to what is kept, in each step; none of what is no longer there.
    async fn add_tallies(&self, minutes: Vec<Tallied>) -> Stored<()>;
    /// By the beginnings of their steps, oldest first, of the app itself where no webhook is named.
    async fn tallies(
        &self,
        app: &AppId,
        webhook: Option<&WebhookId>,
        step: Step,
        since: Time,
    ) -> Stored<Vec<(Time, Tally)>>;
    /// Newest first, below a row.
    async fn turns(&self, app: &AppId, webhook: &WebhookId, below: i64, limit: i64) -> Stored<Vec<KeptTurn>>;
    /// How many users are online, of each app where there are some.
    async fn online_counts(&self) -> Stored<Vec<(AppId, u64)>>;
    async fn online_count(&self, app: &AppId) -> Stored<u64>;
    /// Of all webhooks of the app.
    async fn standings(&self, app: &AppId) -> Stored<Vec<Standing>>;
    /// Removes some of the app's tallies that are older than their step is kept. Whether more is left.
    async fn remove_old_tallies(&self, app: &AppId, now: Time) -> Stored<bool>;
}
