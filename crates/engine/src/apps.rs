//! Apps: make, list, delete, settings, and the sample users of a new one.

use std::sync::Arc;

use chathook_domain::app::{ApiKey, App, AppDraft, KeyScope, Settings};
use chathook_domain::group::{About, Group, GroupKind, Member, Scope};
use chathook_domain::ids::{AppId, Guid, Time, Uid};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::{Profile, User};

use crate::engine::{Engine, refuse};
use crate::ports::store::Samples;
use crate::ports::upkeep::Doomed;

/// The users that a new app starts with.
pub const SAMPLE_USERS: [(&str, &str); 5] =
    [("ana", "Ana"), ("ben", "Ben"), ("chloe", "Chloe"), ("dev", "Dev"), ("emma", "Emma")];
/// The group that a new app starts with: all sample users are in it.
pub const SAMPLE_GROUP: (&str, &str) = ("lounge", "Lounge");

impl Engine {
    pub async fn create_app(&self, draft: AppDraft) -> Result<(App, Vec<ApiKey>), Refusal> {
        let id = AppId::trusted(&format!("{:016x}", self.dice.bits() >> 64));
        let keys = [KeyScope::FullAccess, KeyScope::AuthOnly].map(|scope| self.new_key(scope)).to_vec();
        self.create_app_as(id, draft, keys).await
    }

    /// Makes an app with an id and keys of the caller's choice.
    pub async fn create_app_as(
        &self,
        id: AppId,
        draft: AppDraft,
        keys: Vec<ApiKey>,
    ) -> Result<(App, Vec<ApiKey>), Refusal> {
        let now = self.clock.now();
        let app = App {
            id,
            name: draft.name,
            region: draft.region,
            settings: Settings::default(),
            created_at: now,
        };
        self.finish_removal(Doomed::App(app.id.clone())).await?;
        let samples = draft.with_sample_data.then(|| samples(now));
        self.store.create_app(app.clone(), keys.clone(), samples).await.map_err(refuse)?;
        Ok((app, keys))
    }

    pub async fn apps(&self) -> Result<Vec<App>, Refusal> {
        self.store.apps().await.map_err(refuse)
    }

    pub async fn api_keys(&self, app: &AppId) -> Result<Vec<ApiKey>, Refusal> {
        self.store.api_keys(app).await.map_err(refuse)
    }

    /// Deletes an app with everything in it.
    pub async fn delete_app(&self, id: &AppId) -> Result<(), Refusal> {
        let webhooks = self.store.webhooks(id).await.map_err(refuse)?;
        if !self.store.delete_app(id, self.clock.now()).await.map_err(refuse)? {
            return Err(Refusal::new(Code::AppNotFound, format!("There is no app with the id '{id}'.")));
        }
        self.hooks.forget(webhooks.iter().map(|webhook| webhook.row));
        self.tallies.forget(id, None);
        Ok(())
    }

    pub async fn change_settings(&self, app: &AppId, body: &serde_json::Value) -> Result<Settings, Refusal> {
        let settings = self.app(app).await?.settings.changed_by(body)?;
        self.store.set_settings(app, settings.clone()).await.map_err(refuse)?;
        self.tallies.changed(app);
        Ok(settings)
    }

    /// The app and scope of an API key.
    pub async fn app_of_key(&self, key: &str) -> Result<(Arc<App>, KeyScope), Refusal> {
        let found = self.store.app_of_key(key).await.map_err(refuse)?;
        found.ok_or_else(|| {
            Refusal::new(Code::ApiKeyNotFound, "The header 'apikey' names no key of this server.")
        })
    }

    fn new_key(&self, scope: KeyScope) -> ApiKey {
        let key = format!("{:032x}{:08x}", self.dice.bits(), self.dice.bits() >> 96);
        let name = match scope {
            KeyScope::FullAccess => "REST API Key",
            KeyScope::AuthOnly => "Auth Key",
        };
        ApiKey { key, name: name.to_owned(), scope, created_at: self.clock.now() }
    }
}

fn samples(now: Time) -> Samples {
    let user = |(uid, name): (&str, &str)| User {
        uid: Uid::trusted(uid),
        profile: Profile { name: name.to_owned(), ..Profile::default() },
        created_at: now,
        ..User::system()
    };
    let (guid, name) = SAMPLE_GROUP;
    let about = About {
        name: name.to_owned(),
        kind: GroupKind::Public,
        password: None,
        icon: None,
        description: None,
        metadata: None,
        tags: Vec::new(),
    };
    let owner = Uid::trusted(SAMPLE_USERS[0].0);
    let member = |(uid, _): (&str, &str)| Member {
        uid: Uid::trusted(uid),
        scope: if uid == owner.as_str() { Scope::Admin } else { Scope::Participant },
        joined_at: now,
    };
    Samples {
        users: SAMPLE_USERS.map(user).to_vec(),
        members: SAMPLE_USERS.map(member).to_vec(),
        group: Group {
            guid: Guid::trusted(guid),
            about,
            owner,
            members_count: 0,
            created_at: now,
            updated_at: None,
        },
    }
}
