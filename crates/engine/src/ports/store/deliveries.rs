//! What dispatch reads and writes: webhooks with what it keeps of them, deliveries that wait, settlements.

use std::sync::Arc;

use async_trait::async_trait;
use chathook_domain::delivery::{Owed, Settlement};
use chathook_domain::ids::{AppId, LaneKey, LaneKind, StartId, Time};
use chathook_domain::lane::LanePart;
use chathook_domain::outcome::Outcome;
use chathook_domain::turn::Turned;
use chathook_domain::webhook::Webhook;

use super::Stored;
use crate::ports::endpoints::Phases;

/// Lines of the history of a webhook's circuits that are kept.
pub const TURNS_MAX: usize = 500;

/// A webhook with what dispatch keeps of it.
#[derive(Debug, Clone)]
pub struct Target {
    pub app: AppId,
    pub webhook: Webhook,
    pub stream: i64,
    /// The number up to which every delivery of the stream has been answered, ended or cancelled.
    pub settled: i64,
    /// Since when nothing has succeeded, where something has failed.
    pub failing_since: Option<Time>,
}

/// An attempt on its way to the store, with what follows from it.
#[derive(Debug, Clone)]
pub struct Settled {
    pub stream: i64,
    pub sequence: i64,
    pub webhook_row: i64,
    /// The attempt's number, from 1.
    pub attempt: u32,
    pub outcome: Outcome,
    pub phases: Phases,
    pub address: Option<Arc<str>>,
    pub settlement: Settlement,
    pub started_at: Time,
}

/// Where a webhook's deliveries are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineOf {
    pub webhook_row: i64,
    pub stream: i64,
}

/// Deliveries that have left their lanes and are due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asides {
    /// The first to be due first.
    pub owed: Vec<Owed>,
    /// The one that is due next after them.
    pub next: Option<Owed>,
}

/// Why a webhook is switched off, other than by a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchOff {
    /// Its endpoint answered 410.
    Gone,
    /// Nothing has succeeded for too long.
    Failing,
    /// More waits for it than may.
    Backlog,
}

impl SwitchOff {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::Backlog => "backlog",
        }
    }
}

/// What a person is told of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    Failing,
    SwitchingOffSoon,
    SwitchedOff,
    Recovered,
}

impl NoticeKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::SwitchingOffSoon => "switching_off_soon",
            Self::SwitchedOff => "switched_off",
            Self::Recovered => "recovered",
        }
    }
}

/// What dispatch needs: the whole server's webhooks, since lanes are per row. What is written is written for
/// a start, and refused (`StartSuperseded`) where that is not the newest.
#[async_trait]
pub trait DeliveryStore: Send + Sync {
    /// The rows of all webhooks of the server.
    async fn webhook_rows(&self) -> Stored<Vec<i64>>;
    async fn target(&self, webhook_row: i64) -> Stored<Option<Target>>;
    /// What waits in a lane after a sequence, at most `LANE_LENGTH_MAX` deliveries and about
    /// `READ_BYTES_MAX` bytes; not what has left the lane. So for the other two.
    async fn waiting_of_lane(&self, of: LineOf, lane: &LaneKey, after: i64) -> Stored<LanePart>;
    /// The same for each of these lanes from its first on.
    async fn waiting_of_lanes(&self, of: LineOf, lanes: Vec<LaneKey>) -> Stored<Vec<LanePart>>;
    /// The same for the lanes of a kind in which something waits, in the order of their names, after one;
    /// fewer than the limit only where there are no more.
    async fn waiting_lanes(
        &self,
        of: LineOf,
        kind: LaneKind,
        after: Option<&LaneKey>,
        limit: usize,
    ) -> Stored<Vec<LanePart>>;
    /// At most `limit` deliveries that have left their lanes and are due by then.
    async fn asides(&self, of: LineOf, until: Time, limit: usize) -> Stored<Asides>;
    /// These have left their lanes while they waited.
    async fn step_aside(&self, start: &StartId, stream: i64, sequences: Vec<i64>) -> Stored<()>;
    /// Writes attempts and what follows from them, in one transaction. What no longer waits stays as it is.
    /// Answers with the settled number of each webhook row among them.
    async fn settle(&self, start: &StartId, settled: Vec<Settled>) -> Stored<Vec<(i64, i64)>>;
    async fn set_failing_since(&self, start: &StartId, webhook_row: i64, since: Option<Time>) -> Stored<()>;
    /// Owes the webhook nothing more, and writes a notice; nothing where it is switched off already.
    async fn switch_off(&self, start: &StartId, webhook_row: i64, why: SwitchOff, at: Time) -> Stored<()>;
    async fn notify(
        &self,
        start: &StartId,
        webhook_row: i64,
        kind: NoticeKind,
        text: String,
        at: Time,
    ) -> Stored<()>;
    /// Writes a line of the history of the webhook's circuits, and lets go of the oldest beyond
    /// `TURNS_MAX`; nothing where the webhook is gone.
    async fn keep_turn(&self, start: &StartId, webhook_row: i64, turned: Turned, at: Time) -> Stored<()>;
}
