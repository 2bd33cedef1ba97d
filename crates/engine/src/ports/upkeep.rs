//! The port to what the store does for itself over time. Each method is one small piece of work, at
//! most a few hundred rows in one transaction, so that nobody who commits waits for it.

use async_trait::async_trait;
use chathook_domain::ids::{AppId, Guid, Key, MessageId, Time, WebhookId};
use chathook_domain::retention::Cutoffs;

use crate::ports::stored::Stored;

/// Something that was deleted: nobody finds it any more, and its rows go piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doomed {
    App(AppId),
    Group(AppId, Guid),
    Webhook(AppId, WebhookId),
}

/// A walk over what an app keeps, with the place that it has come to. It begins at the default place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Walk {
    /// Events, in the order of their times and rows, with their ended deliveries and attempts.
    Events { after: Option<(Time, i64)> },
    /// Attempts that go before their events, by stream and sequence.
    Attempts { stream: i64, after: i64 },
    /// Messages, in the order of their ids.
    Messages { after: Option<MessageId> },
    /// Receipts that no cursor leads to any more since older messages went, by conversation.
    Receipts { conversation: Option<Key> },
    /// Calls of `before_message` and sample events, which go with the attempts; notices and replay
    /// jobs that have ended, which go with the events.
    Logs,
}

#[async_trait]
pub trait UpkeepStore: Send + Sync {
    /// When the newest event was made.
    async fn last_written(&self) -> Stored<Option<Time>>;
    /// Goes on with removing what was deleted, or of all that was deleted the first. Whether more is left.
    async fn remove_doomed(&self, doomed: Option<Doomed>) -> Stored<bool>;
    /// Ends, as expired, some of what waits at webhooks that have been off since before a moment.
    /// Whether more is left.
    async fn expire_held(&self, off_before: Time, at: Time) -> Stored<bool>;
    /// Removes some of what is older than the cutoffs say. Answers with where the walk goes on, if it does.
    async fn remove_old(&self, app: &AppId, walk: Walk, cutoffs: Cutoffs) -> Stored<Option<Walk>>;
    /// Gives back to the file system some of the room that nothing uses, where there is much of it.
    /// Whether more is left.
    async fn give_back_room(&self) -> Stored<bool>;
}
