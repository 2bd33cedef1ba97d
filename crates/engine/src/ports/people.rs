//! The port to people as the dashboard shows them. Reads are bounded: where one stops early, its cursor goes on.

use async_trait::async_trait;
use chathook_domain::connection::Connection;
use chathook_domain::ids::{AppId, Key, MessageId, Time, Uid};
use chathook_domain::user::User;

use super::stored::Stored;

/// Which users are listed.
#[derive(Debug, Clone, Default)]
pub struct PeopleFilter {
    /// A part of the uid or the name.
    pub search: Option<String>,
    pub presence: Presence,
    pub limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    #[default]
    Any,
    Online,
}

/// Part of a list, and the name after which it goes on, if it does.
#[derive(Debug, Clone)]
pub struct Part<T, C> {
    pub items: Vec<T>,
    pub next: Option<C>,
}

/// A conversation with its newest message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationLine {
    pub id: Key,
    pub members: ConversationOf,
    pub last: Option<(MessageId, Time)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConversationOf {
    Two(Uid, Uid),
    /// The guid.
    Group(String),
}

#[async_trait]
pub trait PeopleStore: Send + Sync {
    /// In the order of their uids.
    async fn people(&self, app: &AppId, filter: PeopleFilter, after: Option<Uid>) -> Stored<Part<User, Uid>>;
    /// A user's open connections, the oldest first.
    async fn connections_of(&self, app: &AppId, uid: &Uid, limit: usize) -> Stored<Vec<Connection>>;
    /// In the order of their ids; with `uid` those that this user is part of.
    async fn conversations(
        &self,
        app: &AppId,
        uid: Option<&Uid>,
        after: Option<Key>,
        limit: usize,
    ) -> Stored<Part<ConversationLine, Key>>;
}
