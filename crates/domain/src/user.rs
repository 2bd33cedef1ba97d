//! Users and their auth tokens.

use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::ids::{Time, Uid};
use crate::refusal::{Code, Refusal};

/// Largest metadata of a user or group, as JSON (spec 3.4).
pub const METADATA_BYTES_MAX: usize = 5 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: Uid,
    pub profile: Profile,
    pub created_at: Time,
    pub updated_at: Option<Time>,
    pub last_active_at: Option<Time>,
    pub deactivated_at: Option<Time>,
    /// At least one connection of theirs counts as open.
    pub is_online: bool,
}

/// What a caller may set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub avatar: Option<String>,
    pub link: Option<String>,
    pub role: Option<String>,
    pub status_message: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub tags: Vec<String>,
}

/// Who is shown the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The customer's own server: everything.
    Owner,
    /// Other clients and webhooks' entities: without `metadata["@private"]`.
    Public,
}

impl User {
    /// The system user, who acts where no user does.
    #[must_use]
    pub fn system() -> Self {
        Self {
            uid: Uid::system(),
            profile: Profile { name: "System".to_owned(), ..Profile::default() },
            created_at: Time::from_ms(0),
            updated_at: None,
            last_active_at: None,
            deactivated_at: None,
            is_online: false,
        }
    }

    /// The spec's user object (spec 4.3).
    #[must_use]
    pub fn to_json(&self, view: View) -> Value {
        let mut object = json!({"uid": self.uid.as_str(), "name": self.profile.name});
        let map = object.as_object_mut().expect("json! made an object");
        let mut text = |name: &str, value: &Option<String>| {
            if let Some(value) = value {
                map.insert(name.to_owned(), json!(value));
            }
        };
        text("avatar", &self.profile.avatar);
        text("link", &self.profile.link);
        text("statusMessage", &self.profile.status_message);
        if let Some(metadata) = &self.profile.metadata {
            let mut metadata = metadata.clone();
            if view == View::Public {
                metadata.remove("@private");
            }
            map.insert("metadata".to_owned(), Value::Object(metadata));
        }
        let status = if self.is_online { "available" } else { "offline" };
        map.insert("status".to_owned(), json!(status));
        map.insert("role".to_owned(), json!(self.profile.role.as_deref().unwrap_or("default")));
        if view == View::Owner && !self.profile.tags.is_empty() {
            map.insert("tags".to_owned(), json!(self.profile.tags));
        }
        map.insert("createdAt".to_owned(), json!(self.created_at.seconds()));
        let mut time = |name: &str, value: Option<Time>| {
            if let Some(value) = value {
                map.insert(name.to_owned(), json!(value.seconds()));
            }
        };
        time("updatedAt", self.updated_at);
        time("lastActiveAt", self.last_active_at);
        time("deactivatedAt", self.deactivated_at);
        object
    }

    /// The user as an entity of a message.
    #[must_use]
    pub fn to_entity(&self) -> Value {
        json!({"entity": self.to_json(View::Public), "entityType": "user"})
    }
}

/// A new user, as `POST /users` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDraft {
    pub uid: Uid,
    pub profile: Profile,
    pub with_auth_token: bool,
}

impl UserDraft {
    pub fn parse(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let uid = Uid::parse("uid", &fields.required_text("uid", 100)?)?;
        if uid.is_system() {
            return Err(Refusal::field(Code::BadRequest, "uid", "is kept for the system user"));
        }
        let blank = Profile { name: fields.required_text("name", 100)?, ..Profile::default() };
        let profile = blank.changed_by(body)?;
        let with_auth_token = fields.flag("withAuthToken")?.unwrap_or(false);
        Ok(Self { uid, profile, with_auth_token })
    }
}

impl Profile {
    /// This profile with the fields named in `body` changed, and those in `unset` taken away.
    pub fn changed_by(&self, body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let mut changed = self.clone();
        for name in fields.texts("unset", 10, 20)?.unwrap_or_default() {
            match name.as_str() {
                "avatar" => changed.avatar = None,
                "link" => changed.link = None,
                "metadata" => changed.metadata = None,
                _ => {
                    return Err(Refusal::field(
                        Code::BadRequest,
                        "unset",
                        "may name 'avatar', 'link' and 'metadata'",
                    ));
                }
            }
        }
        if fields.get("name").is_some() {
            changed.name = fields.required_text("name", 100)?;
        }
        changed.avatar = fields.text("avatar", 3_000)?.or(changed.avatar);
        changed.link = fields.text("link", 3_000)?.or(changed.link);
        changed.role = fields.text("role", 100)?.or(changed.role);
        changed.status_message = fields.text("statusMessage", 255)?.or(changed.status_message);
        changed.metadata = fields.object("metadata", METADATA_BYTES_MAX)?.or(changed.metadata);
        changed.tags = fields.texts("tags", 25, 100)?.unwrap_or(changed.tags);
        Ok(changed)
    }
}

/// A user's own credential: `<uid>_<unix seconds><32 hex>` (spec 4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthToken {
    pub uid: Uid,
    pub token: String,
    pub created_at: Time,
}

impl AuthToken {
    /// Makes the token's text from the clock and 128 random bits.
    #[must_use]
    pub fn made(uid: &Uid, at: Time, random: u128) -> Self {
        let token = format!("{uid}_{}{random:032x}", at.seconds());
        Self { uid: uid.clone(), token, created_at: at }
    }

    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"uid": self.uid.as_str(), "authToken": self.token, "createdAt": self.created_at.seconds()})
    }
}
