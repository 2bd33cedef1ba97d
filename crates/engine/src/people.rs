//! People as a person looks them up: users, their devices, and conversations.

use chathook_domain::connection::Connection;
use chathook_domain::ids::{AppId, Key, Uid};
use chathook_domain::refusal::Refusal;
use chathook_domain::user::User;

use crate::engine::{Engine, refuse, uid_not_found};
use crate::ports::people::{ConversationLine, Part, PeopleFilter};

/// Devices of one user that are shown.
const DEVICES_SHOWN: usize = 100;

impl Engine {
    /// Users in the order of their uids, also those that are deactivated.
    pub async fn people(
        &self,
        app: &AppId,
        filter: PeopleFilter,
        after: Option<Uid>,
    ) -> Result<Part<User, Uid>, Refusal> {
        self.app(app).await?;
        self.store.people(app, filter, after).await.map_err(refuse)
    }

    /// A user, deactivated or not, with the devices that they are online on.
    pub async fn person(&self, app: &AppId, uid: &Uid) -> Result<(User, Vec<Connection>), Refusal> {
        self.app(app).await?;
        let user = self.store.user(app, uid).await.map_err(refuse)?.ok_or_else(|| uid_not_found(uid))?;
        let devices = self.store.connections_of(app, uid, DEVICES_SHOWN).await.map_err(refuse)?;
        Ok((user, devices))
    }

    /// Conversations in the order of their ids, of one user or of all.
    pub async fn conversations(
        &self,
        app: &AppId,
        uid: Option<&Uid>,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Part<ConversationLine, Key>, Refusal> {
        self.app(app).await?;
        self.store.conversations(app, uid, after, limit).await.map_err(refuse)
    }
}
