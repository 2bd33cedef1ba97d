//! The port to what happened: deliveries with their attempts, events in order, figures, timelines and
//! notices. Reads are bounded: where one stops early, its answer says so.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chathook_domain::delivery::Status;
use chathook_domain::history::{DeliveryId, Merged, Place};
use chathook_domain::ids::{AppId, EventId, Key, LaneKey, MessageId, Time, Uid, WebhookId};
use chathook_domain::message::Message;
use chathook_domain::replay::Job;
use chathook_domain::trigger::Trigger;
use chathook_domain::verdict::Effect;
use chathook_domain::waiting::Waiting;

use super::endpoints::Phases;
use super::stored::Stored;

/// A delivery as listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    /// What is owed; `None` where its event is no longer kept.
    pub event: Option<EventId>,
    pub trigger: Option<Trigger>,
    /// A test has none.
    pub key: Option<Key>,
    pub status: Status,
    pub attempts: u32,
    /// The status or named failure of the last attempt.
    pub last_outcome: Option<String>,
    pub created_at: Time,
    pub ended_at: Option<Time>,
    /// The replay job that made it.
    pub replay: Option<i64>,
    /// Where it waits; the store knows nothing of how its line stands.
    pub waiting: Option<Waiting>,
}

/// One request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub attempt: u32,
    pub outcome: String,
    pub detail: Option<String>,
    pub address: Option<String>,
    pub phases: Phases,
    /// The beginning of the answer's body.
    pub kept: Option<String>,
    pub started_at: Time,
}

/// One delivery with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryDetail {
    pub delivery: Delivery,
    pub attempts: Vec<Attempt>,
    /// The body as each attempt carried it, byte by byte; `None` where its event is no longer kept.
    pub body: Option<String>,
}

/// Which deliveries are listed; the span is that of their creation, its last moment not included.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub status: Option<Status>,
    pub trigger: Option<Trigger>,
    pub key: Option<Key>,
    pub since: Option<Time>,
    pub until: Option<Time>,
    pub limit: usize,
    /// Rows that are looked at, where fewer are wanted than one read looks at by itself.
    pub look_max: Option<i64>,
}

/// What came of asking for an attempt now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hurried {
    /// It still waited, and is due.
    Waiting { webhook_row: i64, lane: LaneKey },
    /// It had ended unsent, and is owed anew under this number.
    Again { sequence: i64 },
}

/// A delivery that was taken out of what waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelledDelivery {
    pub webhook_row: i64,
    pub lane: LaneKey,
}

/// An event under its number in a webhook's sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedEvent {
    pub sequence: i64,
    pub id: EventId,
    pub trigger: Trigger,
    pub created_at: Time,
    /// The documented payload for this webhook.
    pub body: String,
}

/// Events of a webhook's sequence, in order.
#[derive(Debug, Clone)]
pub struct NumberedEvents {
    pub events: Vec<NumberedEvent>,
    /// More follow.
    pub has_more: bool,
    /// The last number given.
    pub last: i64,
    /// Every number up to this one is answered, ended or cancelled.
    pub settled: i64,
}

/// What is asked of the events of a webhook's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsFrom {
    /// The number after this one; refused (`EventsGone`) where it is no longer kept.
    After(i64),
    /// The oldest that is kept.
    Oldest,
}

/// A test as it is kept.
#[derive(Debug, Clone)]
pub struct TestDelivery {
    pub trigger: Trigger,
    pub event: EventId,
    pub body: String,
    pub attempt: Attempt,
}

/// Raw figures of one webhook in a span that ends now.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Deliveries that ended in the span.
    pub ended: BTreeMap<Status, u64>,
    /// Attempts that began in the span, by status or named failure.
    pub attempts: BTreeMap<String, u64>,
    /// How long each of them took.
    pub attempts_us: Vec<u64>,
    /// Deliveries that wait.
    pub waiting: i64,
    pub waiting_bytes: i64,
    pub oldest_waiting_at: Option<Time>,
    pub failing_since: Option<Time>,
    /// Calls of `before_message` by the verdict of their answer, and those without a usable one by cause.
    pub verdicts: BTreeMap<String, u64>,
    pub silences: BTreeMap<String, u64>,
    pub asked_us: Vec<u64>,
    /// The span holds more than was looked at: these are figures of its newer part.
    pub is_cut: bool,
}

/// A call of `before_message`, as it was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedCall {
    pub row: i64,
    pub webhook: WebhookId,
    /// The event that the message, or the edit, caused if it went on; `None` of a call that an earlier version logged.
    pub event: Option<EventId>,
    pub conversation: Key,
    pub sender: Uid,
    pub verdict: String,
    pub silence: Option<String>,
    /// What the answer did to the message.
    pub effect: Option<Effect>,
    pub took_us: u64,
    pub at: Time,
}

/// Which calls of `before_message` are listed.
#[derive(Debug, Clone, Default)]
pub struct CallFilter {
    /// Only those whose answer was `pass`, `inject`, `replace` or `drop`.
    pub verdict: Option<String>,
    /// Only those without a usable answer.
    pub is_silent: bool,
    pub limit: usize,
}

/// Calls, newest first, and the row below which the list goes on, where it does.
#[derive(Debug, Clone)]
pub struct CallPage {
    pub calls: Vec<AskedCall>,
    pub next: Option<i64>,
}

/// How far one user has acknowledged the conversation of a message, beyond that message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkOf {
    pub uid: Uid,
    /// When the last mark was made that covers the message.
    pub delivered_at: Option<Time>,
    pub read_at: Option<Time>,
}

/// The event of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CausedEvent {
    pub id: EventId,
    pub trigger: Trigger,
    pub created_at: Time,
    /// Where the message came from, as its payload says.
    pub platform: Option<String>,
}

/// What a webhook was owed of an event, or why it was owed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedTo {
    pub webhook: WebhookId,
    pub deliveries: Vec<(Delivery, Vec<Attempt>)>,
    /// `no_trigger`, `disabled` or `switched_off` at that time; `created_later`; `unknown`.
    pub owed_nothing: Option<String>,
}

/// Everything that is known of one message.
#[derive(Debug, Clone)]
pub struct MessageHistory {
    pub message: Message,
    pub asked: Vec<AskedCall>,
    /// `None` where it caused none, or where it is no longer kept.
    pub event: Option<CausedEvent>,
    /// It caused an event, which is no longer kept.
    pub event_is_gone: bool,
    pub owed: Vec<OwedTo>,
    pub marks: Vec<MarkOf>,
}

impl MessageHistory {
    /// When the message was let through, and what it owes was made: it came in before its webhooks were asked.
    #[must_use]
    pub fn accepted_at(&self) -> Time {
        let answered_at =
            |call: &AskedCall| call.at.plus_ms(i64::try_from(call.took_us / 1_000).unwrap_or(0));
        self.asked.iter().map(answered_at).fold(self.message.sent_at, Time::max)
    }
}

/// What a person was told of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptNotice {
    pub row: i64,
    pub webhook: WebhookId,
    pub kind: String,
    pub text: String,
    pub created_at: Time,
}

/// Each method of one webhook is refused (`WebhookNotFound`) where the app has none of this id.
#[async_trait]
pub trait HistoryStore: Send + Sync {
    /// Newest first, numbered ones and tests merged by time.
    async fn deliveries(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        filter: DeliveryFilter,
        from: Place,
    ) -> Stored<Merged<Delivery>>;
    async fn delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        id: DeliveryId,
    ) -> Stored<Option<DeliveryDetail>>;
    /// Makes what waits due now, and owes anew what ended unsent. Refused (`DeliveryNotFound`,
    /// `DeliveryEnded` where it was delivered, `WebhookOff` or `EventsGone` where it cannot be owed).
    async fn hurry_delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        sequence: i64,
        at: Time,
    ) -> Stored<Hurried>;
    /// Refused (`DeliveryNotFound`, `DeliveryEnded`) where it does not wait.
    async fn cancel_delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        sequence: i64,
        at: Time,
    ) -> Stored<CancelledDelivery>;
    async fn numbered_events(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        from: EventsFrom,
        limit: i64,
    ) -> Stored<NumberedEvents>;
    /// Answers with its number.
    async fn keep_test(&self, app: &AppId, webhook: &WebhookId, test: TestDelivery) -> Stored<i64>;
    async fn figures(&self, app: &AppId, webhook: &WebhookId, since: Time) -> Stored<Figures>;
    async fn message_history(&self, app: &AppId, id: MessageId) -> Stored<Option<MessageHistory>>;
    /// Calls of `before_message`, newest first, below a row; only those with this verdict, where one is given.
    async fn calls(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        filter: CallFilter,
        below: i64,
    ) -> Stored<CallPage>;
    /// The message that the call of this row was about, where the event that it names made one that is kept.
    async fn message_of_call(&self, app: &AppId, row: i64) -> Stored<Option<MessageId>>;
    /// Newest first, below a row.
    async fn notices(&self, app: &AppId, below: i64, limit: i64) -> Stored<Vec<KeptNotice>>;
}

/// What one step of a job came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It got further; the next may follow at once.
    Made,
    /// The webhook has enough to do, or is off: later.
    Held,
    /// The job is over.
    Ended,
}

/// Jobs that owe events again. As with [`HistoryStore`], each webhook must be there.
#[async_trait]
pub trait ReplayStore: Send + Sync {
    /// Refused (`WebhookOff`) where the webhook is owed nothing now.
    async fn begin_replay(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        wanted: chathook_domain::replay::Wanted,
        at: Time,
    ) -> Stored<Job>;
    async fn replay(&self, app: &AppId, webhook: &WebhookId, row: i64) -> Stored<Option<Job>>;
    /// Newest first, below a row.
    async fn replays(&self, app: &AppId, webhook: &WebhookId, below: i64, limit: i64) -> Stored<Vec<Job>>;
    /// Nothing more is made of it. One that is over stays as it is.
    async fn cancel_replay(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        row: i64,
        at: Time,
    ) -> Stored<Option<Job>>;
    /// The jobs of the whole server that go on, oldest first.
    async fn running_replays(&self) -> Stored<Vec<i64>>;
    /// Takes a job one small step further.
    async fn step_replay(&self, row: i64, at: Time) -> Stored<Step>;
}
