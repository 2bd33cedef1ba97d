//! The port to durable storage. Each writing method takes the complete value to be written, is one
//! transaction, and returns when it is on disk; who is `Told` of it hears in the order of the commits.
//! Every method takes the app's id, so that no call can reach another app's rows.

use std::sync::Arc;

use async_trait::async_trait;
use chathook_domain::app::{ApiKey, App, KeyScope, Settings};
use chathook_domain::connection::{Connection, ConnectionChange};
use chathook_domain::delivery::Owed;
use chathook_domain::event::Origin;
use chathook_domain::group::{About, Group, Member, Scope};
use chathook_domain::ids::{AppId, EventId, Guid, Key, MessageId, SessionId, StartId, Time, Uid, WebhookId};
use chathook_domain::message::{Accepted, Change, Message, Receiver};
use chathook_domain::receipt::{Mark, Receipt};
use chathook_domain::refusal::Refusal;
use chathook_domain::signature::Overlap;
use chathook_domain::trigger::Trigger;
use chathook_domain::user::{AuthToken, Profile, User};
use chathook_domain::verdict::Effect;
use chathook_domain::webhook::{Config, Webhook, WebhookDraft};
use serde_json::Value;

pub use self::deliveries::{
    Asides, DeliveryStore, LineOf, NoticeKind, Settled, SwitchOff, TURNS_MAX, Target,
};
use crate::ports::history::{HistoryStore, ReplayStore};
use crate::ports::people::PeopleStore;
pub use crate::ports::stored::{StoreError, Stored};
use crate::ports::tallies::TallyStore;
pub use crate::ports::told::Told;
use crate::ports::upkeep::UpkeepStore;

mod deliveries;

/// Called by the store after each commit, in the order of the commits.
pub trait Offers: Send + Sync + 'static {
    /// The deliveries that the commit made.
    fn offer(&self, owed: Vec<Owed>);
    /// The store itself has changed this webhook: it is switched off.
    fn changed(&self, webhook_row: i64);
}

/// Bytes of JSON text after which one read of messages, or of the record, stops.
pub const READ_BYTES_MAX: usize = 8 << 20;

/// What a new app starts with, where its owner asks for it.
#[derive(Debug, Clone)]
pub struct Samples {
    pub users: Vec<User>,
    pub group: Group,
    pub members: Vec<Member>,
}

/// One page of a list that is numbered by pages (spec 4.2).
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: i64,
}

#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    /// From 1.
    pub page: i64,
    pub per_page: i64,
}

/// A stored message with what follows: who is told, and its place in the app's record.
#[derive(Debug, Clone)]
pub struct Committed {
    pub message: Message,
    /// Uids of the conversation, the sender included.
    pub members: Vec<Uid>,
    pub cursor: i64,
    /// The `muid` was used before: this is the message of then, and nobody is told again.
    pub is_repeat: bool,
    /// How long the wait for the disk was; 0 where nobody measured it.
    pub synced_us: u64,
}

/// What a mark changed.
#[derive(Debug, Clone)]
pub struct Marked {
    /// Empty when the mark was there before.
    pub receipts: Vec<(Receipt, i64)>,
    pub members: Vec<Uid>,
}

/// What came of adding one user to a group.
pub type Addition = (Uid, Scope, Result<Committed, Refusal>);

/// A connection that opened, and those of the same device and token that it replaced.
#[derive(Debug, Clone)]
pub struct Opened {
    pub change: ConnectionChange,
    pub replaced: Vec<ConnectionChange>,
    /// The end of the app's record at that moment.
    pub cursor: i64,
}

/// One line of the app's record of messages, actions and receipts, as a socket is told of it.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub cursor: i64,
    /// The JSON-RPC method.
    pub method: String,
    pub params: Value,
}

/// The first lines of the record after a cursor.
#[derive(Debug, Clone)]
pub struct RecordedPart {
    pub lines: Vec<Recorded>,
    /// More follow, which would not have fitted in `READ_BYTES_MAX`.
    pub is_cut: bool,
}

/// One `before_message` call, for the log.
#[derive(Debug, Clone)]
pub struct Asked {
    pub app: AppId,
    pub webhook: WebhookId,
    pub webhook_row: i64,
    /// The event that the message, or the edit, causes if it goes on.
    pub event: EventId,
    pub conversation: Key,
    pub sender: Uid,
    /// `pass`, `inject`, `replace` or `drop`.
    pub verdict: &'static str,
    /// Why the verdict is no answer's, where it is not.
    pub silence: Option<String>,
    /// What the answer did to the message.
    pub effect: Option<Effect>,
    /// How long this webhook held the message, in microseconds of the monotonic clock: from its turn to
    /// the verdict taken in. That is the wait for a place, the making and signing of the request, the
    /// round trip, the reading of the answer and its effect on the message; not the time of webhooks
    /// before it, nor of the store.
    pub took_us: u64,
    /// When its turn came.
    pub at: Time,
}

/// Which messages of a conversation, or of the app where none is named.
#[derive(Debug, Clone)]
pub struct MessageFilter {
    pub conversation: Option<Key>,
    /// Only conversations of this user.
    pub visible_to: Option<Uid>,
    pub before: Option<MessageId>,
    pub after: Option<MessageId>,
    pub limit: i64,
}

/// Who a token speaks for.
#[derive(Debug, Clone)]
pub struct TokenOwner {
    pub uid: Uid,
    /// The token's name in the store: a keyed hash, safe to keep.
    pub token_hash: Vec<u8>,
}

/// A connection to be opened.
#[derive(Debug, Clone)]
pub struct Opening {
    pub connection: Connection,
    pub token_hash: Vec<u8>,
    pub at: Time,
    /// For `connected`, and for each `disconnected` of what it replaces.
    pub event_ids: [EventId; 2],
}

/// Why connections end.
#[derive(Debug, Clone)]
pub enum Ending {
    Session(SessionId),
    /// A log-out: the token ends with all its sessions.
    Token {
        token_hash: Vec<u8>,
    },
    /// The user was deactivated or deleted, or all tokens were flushed.
    User {
        uid: Uid,
    },
}

#[async_trait]
pub trait AppStore: Send + Sync {
    /// All of it or nothing.
    async fn create_app(&self, app: App, keys: Vec<ApiKey>, samples: Option<Samples>) -> Stored<()>;
    async fn apps(&self) -> Stored<Vec<App>>;
    async fn app(&self, id: &AppId) -> Stored<Option<Arc<App>>>;
    async fn api_keys(&self, app: &AppId) -> Stored<Vec<ApiKey>>;
    /// The app and scope of a key, found by its keyed hash.
    async fn app_of_key(&self, key: &str) -> Stored<Option<(Arc<App>, KeyScope)>>;
    /// From now on nobody finds it; its rows go piece by piece.
    async fn delete_app(&self, id: &AppId, at: Time) -> Stored<bool>;
    async fn set_settings(&self, app: &AppId, settings: Settings) -> Stored<()>;
}

#[async_trait]
pub trait UserStore: Send + Sync {
    /// Refused with `UidAlreadyExists` where the uid is taken.
    async fn create_user(&self, app: &AppId, user: User, token: Option<AuthToken>) -> Stored<()>;
    /// The user, deactivated or not, with their presence.
    async fn user(&self, app: &AppId, uid: &Uid) -> Stored<Option<User>>;
    async fn users(&self, app: &AppId, search: Option<&str>, page: PageRequest) -> Stored<Page<User>>;
    async fn set_profile(&self, app: &AppId, uid: &Uid, profile: Profile, at: Time) -> Stored<User>;
    async fn deactivate_user(&self, app: &AppId, uid: &Uid, at: Time) -> Stored<()>;
    async fn reactivate_user(&self, app: &AppId, uid: &Uid) -> Stored<()>;
    /// Removes the user with tokens and memberships; messages stay.
    async fn delete_user(&self, app: &AppId, uid: &Uid) -> Stored<()>;
    /// Keeps at most 100 tokens of a user, the oldest dropped (spec 3.4).
    async fn add_token(&self, app: &AppId, token: AuthToken) -> Stored<()>;
    async fn tokens(&self, app: &AppId, uid: &Uid) -> Stored<Vec<AuthToken>>;
    async fn token_owner(&self, app: &AppId, token: &str) -> Stored<Option<TokenOwner>>;
    /// The app and owner of a token sent without an API key.
    async fn app_of_token(&self, token: &str) -> Stored<Option<(Arc<App>, TokenOwner)>>;
}

#[async_trait]
pub trait GroupStore: Send + Sync {
    /// Refused with `GuidAlreadyExists` where the guid is taken. Members who do not exist are left out.
    async fn create_group(&self, app: &AppId, group: Group, members: Vec<Member>) -> Stored<Group>;
    async fn group(&self, app: &AppId, guid: &Guid) -> Stored<Option<Group>>;
    /// With `seen_by`, private groups only where that user is a member.
    async fn groups(
        &self,
        app: &AppId,
        seen_by: Option<&Uid>,
        search: Option<&str>,
        page: PageRequest,
    ) -> Stored<Page<Group>>;
    async fn set_about(
        &self,
        app: &AppId,
        guid: &Guid,
        about: About,
        owner: Option<Uid>,
        at: Time,
    ) -> Stored<Group>;
    /// With its history, which goes piece by piece.
    async fn delete_group(&self, app: &AppId, guid: &Guid, at: Time) -> Stored<bool>;
    async fn member(&self, app: &AppId, guid: &Guid, uid: &Uid) -> Stored<Option<Member>>;
    async fn members(&self, app: &AppId, guid: &Guid, page: PageRequest) -> Stored<Page<(User, Member)>>;
    /// Per uid: added, or why not. With each addition an action message of `by` in the conversation.
    async fn add_members(
        &self,
        app: &AppId,
        guid: &Guid,
        members: Vec<Member>,
        by: User,
        told: Told<Vec<Addition>>,
    ) -> Stored<Vec<Addition>>;
    /// Removes a member with an action message `kicked` (`left` when `by` is the member).
    async fn remove_member(
        &self,
        app: &AppId,
        guid: &Guid,
        uid: &Uid,
        by: User,
        at: Time,
        told: Told<Committed>,
    ) -> Stored<Committed>;
}

#[async_trait]
pub trait MessageStore: Send + Sync {
    /// Stores message, event and deliveries in one transaction, in which membership is checked again,
    /// the listening webhooks are read, and ids and sequence numbers are given.
    async fn commit_message(
        &self,
        app: &App,
        accepted: Accepted,
        origin: Origin,
        told: Told<Committed>,
    ) -> Stored<Committed>;
    /// The message of a `muid` of the last 24 h.
    async fn message_of_muid(
        &self,
        app: &AppId,
        sender: &Uid,
        conversation: &Key,
        muid: &str,
        now: Time,
    ) -> Stored<Option<Message>>;
    /// Applies an edit or deletion to the message as it is at that moment; answers with the action message.
    async fn change_message(
        &self,
        app: &App,
        id: MessageId,
        change: Change,
        origin: Origin,
        told: Told<Committed>,
    ) -> Stored<Committed>;
    async fn message(&self, app: &AppId, id: MessageId) -> Stored<Option<Message>>;
    /// In ascending order of id. With `after`, the oldest after it; otherwise the newest (before `before`).
    /// Fewer than the limit where they hold more than `READ_BYTES_MAX`.
    async fn messages(&self, app: &AppId, filter: MessageFilter) -> Stored<Vec<Message>>;
    async fn mark(&self, app: &App, mark: Mark, origin: Origin, told: Told<Marked>) -> Stored<Marked>;
    /// What a user's sockets may have missed after a cursor, at most `limit`.
    async fn recorded_after(&self, app: &AppId, uid: &Uid, cursor: i64, limit: i64) -> Stored<RecordedPart>;
    /// Whether a user is one of the two of a 1:1 conversation.
    async fn is_of_two(&self, app: &AppId, uid: &Uid, conversation: &Key) -> Stored<bool>;
    /// Uids of a conversation as seen by `me`.
    async fn audience(&self, app: &AppId, me: &Uid, receiver: &Receiver) -> Stored<Vec<Uid>>;
    /// Lines of apps that are no longer there are left out.
    async fn log_asked(&self, asked: Vec<Asked>) -> Stored<()>;
}

#[async_trait]
pub trait ConnectionStore: Send + Sync {
    async fn begin_start(&self, start: &StartId, at: Time) -> Stored<()>;
    async fn open_connection(&self, app: &App, opening: Opening, told: Told<Opened>) -> Stored<Opened>;
    /// Ends connections, each once; answers with those that this call ended. `event_ids` are made as needed.
    async fn end_connections(
        &self,
        app: &App,
        ending: Ending,
        at: Time,
        origin: Origin,
        told: Told<Vec<ConnectionChange>>,
    ) -> Stored<Vec<ConnectionChange>>;
    /// Ends up to `limit` connections of other starts than this one, across all apps.
    async fn end_connections_of_dead_starts(
        &self,
        start: &StartId,
        at: Time,
        limit: i64,
        told: Told<Vec<(AppId, ConnectionChange)>>,
    ) -> Stored<Vec<(AppId, ConnectionChange)>>;
    async fn online_among(&self, app: &AppId, uids: &[Uid]) -> Stored<Vec<Uid>>;
}

/// What a change of its configuration does to the mark that switching off left on a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchedOff {
    Keep,
    Clear,
}

#[async_trait]
pub trait WebhookStore: Send + Sync {
    /// Refused where the id is taken (`BadRequest`) or 25 exist (`WebhookLimit`).
    async fn create_webhook(
        &self,
        app: &AppId,
        draft: WebhookDraft,
        secret: Vec<u8>,
        at: Time,
    ) -> Stored<Webhook>;
    /// In the order in which they were created.
    async fn webhooks(&self, app: &AppId) -> Stored<Vec<Webhook>>;
    async fn webhook(&self, app: &AppId, id: &WebhookId) -> Stored<Option<Webhook>>;
    async fn set_config(
        &self,
        app: &AppId,
        id: &WebhookId,
        config: Config,
        switched_off: SwitchedOff,
        at: Time,
    ) -> Stored<Webhook>;
    /// Puts `fresh` in the place of the present secret, which goes on signing for the overlap.
    async fn rotate_secret(
        &self,
        app: &AppId,
        id: &WebhookId,
        fresh: Vec<u8>,
        overlap: Overlap,
        at: Time,
    ) -> Stored<Webhook>;
    /// What waits is cancelled, piece by piece.
    async fn delete_webhook(&self, app: &AppId, id: &WebhookId, at: Time) -> Stored<bool>;
    async fn add_triggers(&self, app: &AppId, id: &WebhookId, triggers: Vec<Trigger>) -> Stored<Webhook>;
    async fn remove_triggers(&self, app: &AppId, id: &WebhookId, triggers: Vec<Trigger>) -> Stored<Webhook>;
}

/// Everything durable.
pub trait Store:
    AppStore
    + UserStore
    + GroupStore
    + MessageStore
    + ConnectionStore
    + WebhookStore
    + DeliveryStore
    + HistoryStore
    + ReplayStore
    + UpkeepStore
    + TallyStore
    + PeopleStore
    + Send
    + Sync
    + 'static
{
    /// Whether a write would succeed now.
    fn is_writable(&self) -> bool;
}

/// A store that all verbs share.
pub type SharedStore = Arc<dyn Store>;
