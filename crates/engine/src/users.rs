//! Users and their auth tokens.

use chathook_domain::event::Origin;
use chathook_domain::ids::{AppId, Uid};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::{AuthToken, User, UserDraft};
use serde_json::Value;

use crate::engine::{Engine, refuse, uid_not_found};
use crate::ports::store::{Ending, Page, PageRequest};

impl Engine {
    pub async fn create_user(
        &self,
        app: &AppId,
        draft: UserDraft,
    ) -> Result<(User, Option<AuthToken>), Refusal> {
        let now = self.clock.now();
        let token = draft.with_auth_token.then(|| AuthToken::made(&draft.uid, now, self.dice.bits()));
        let user = User { uid: draft.uid, profile: draft.profile, created_at: now, ..User::system() };
        self.store.create_user(app, user.clone(), token.clone()).await.map_err(refuse)?;
        Ok((user, token))
    }

    /// An active user.
    pub async fn user(&self, app: &AppId, uid: &Uid) -> Result<User, Refusal> {
        self.active_user(app, uid).await
    }

    pub async fn users(
        &self,
        app: &AppId,
        search: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<User>, Refusal> {
        self.store.users(app, search, page).await.map_err(refuse)
    }

    pub async fn update_user(&self, app: &AppId, uid: &Uid, body: &Value) -> Result<User, Refusal> {
        let profile = self.active_user(app, uid).await?.profile.changed_by(body)?;
        self.store.set_profile(app, uid, profile, self.clock.now()).await.map_err(refuse)
    }

    /// Ends the user's connections, then deactivates them, or removes them for good.
    pub async fn delete_user(&self, app: &AppId, uid: &Uid, removal: Removal) -> Result<(), Refusal> {
        self.active_user(app, uid).await?;
        self.end_user(app, uid).await?;
        match removal {
            Removal::Deactivate => self.store.deactivate_user(app, uid, self.clock.now()).await,
            Removal::Permanent => self.store.delete_user(app, uid).await,
        }
        .map_err(refuse)
    }

    /// Deactivates a user, where there is one who is active.
    pub async fn deactivate_user(&self, app: &AppId, uid: &Uid) -> Result<Deactivation, Refusal> {
        match self.store.user(app, uid).await.map_err(refuse)? {
            None => Ok(Deactivation::NotFound),
            Some(user) if user.deactivated_at.is_some() => Ok(Deactivation::WasAlready),
            Some(_) => {
                self.delete_user(app, uid, Removal::Deactivate).await?;
                Ok(Deactivation::Done)
            }
        }
    }

    pub async fn reactivate_user(&self, app: &AppId, uid: &Uid) -> Result<(), Refusal> {
        self.store.user(app, uid).await.map_err(refuse)?.ok_or_else(|| uid_not_found(uid))?;
        self.store.reactivate_user(app, uid).await.map_err(refuse)
    }

    /// A new token, or the newest one where `force` is not asked for and there is one.
    pub async fn create_token(&self, app: &AppId, uid: &Uid, reuse: Reuse) -> Result<AuthToken, Refusal> {
        self.active_user(app, uid).await?;
        if reuse == Reuse::Newest
            && let Some(newest) = self.store.tokens(app, uid).await.map_err(refuse)?.pop()
        {
            return Ok(newest);
        }
        let token = AuthToken::made(uid, self.clock.now(), self.dice.bits());
        self.store.add_token(app, token.clone()).await.map_err(refuse)?;
        Ok(token)
    }

    /// Keeps a token whose text the caller chose; only development data does.
    pub async fn add_token(&self, app: &AppId, token: AuthToken) -> Result<(), Refusal> {
        self.store.add_token(app, token).await.map_err(refuse)
    }

    pub async fn tokens(&self, app: &AppId, uid: &Uid) -> Result<Vec<AuthToken>, Refusal> {
        self.active_user(app, uid).await?;
        self.store.tokens(app, uid).await.map_err(refuse)
    }

    /// Ends one token, with its sockets.
    pub async fn delete_token(&self, app: &AppId, uid: &Uid, token: &str) -> Result<(), Refusal> {
        let unknown = || Refusal::new(Code::AuthTokenUnknown, "This user has no such auth token.");
        let owner = self.store.token_owner(app, token).await.map_err(refuse)?;
        let owner = owner.filter(|o| o.uid == *uid).ok_or_else(unknown)?;
        let app = self.app(app).await?;
        self.end(&app, Ending::Token { token_hash: owner.token_hash }, Origin::Rest).await
    }

    /// Ends all tokens of a user, with their sockets.
    pub async fn flush_tokens(&self, app: &AppId, uid: &Uid) -> Result<(), Refusal> {
        self.active_user(app, uid).await?;
        self.end_user(app, uid).await
    }

    async fn end_user(&self, app: &AppId, uid: &Uid) -> Result<(), Refusal> {
        let app = self.app(app).await?;
        self.end(&app, Ending::User { uid: uid.clone() }, Origin::Rest).await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The user may come back.
    Deactivate,
    Permanent,
}

/// What became of a user who was to be deactivated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deactivation {
    Done,
    WasAlready,
    NotFound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Answer with the newest token there is.
    Newest,
    /// Always make a new one.
    Never,
}
