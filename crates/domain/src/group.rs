//! Groups, their members, and who may do what in them (spec 4.10).

use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::ids::{Guid, Time, Uid};
use crate::refusal::{Code, Refusal};
use crate::user::METADATA_BYTES_MAX;

/// Users that one call may add (spec 3.4).
pub const MEMBERS_PER_CALL_MAX: usize = 25;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    Public,
    Password,
    Private,
}

impl GroupKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Password => "password",
            Self::Private => "private",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "public" => Some(Self::Public),
            "password" | "protected" => Some(Self::Password),
            "private" => Some(Self::Private),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub guid: Guid,
    pub about: About,
    pub owner: Uid,
    pub members_count: i64,
    pub created_at: Time,
    pub updated_at: Option<Time>,
}

/// What a caller may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub name: String,
    pub kind: GroupKind,
    /// Only with [`GroupKind::Password`]; never shown.
    pub password: Option<String>,
    pub icon: Option<String>,
    pub description: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub tags: Vec<String>,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Participant,
    Moderator,
    Admin,
}

impl Scope {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Participant => "participant",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "participant" => Some(Self::Participant),
            "moderator" => Some(Self::Moderator),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// Moderators kick participants and moderators; admins kick everyone (spec 4.10 scope rules).
    #[must_use]
    pub fn may_kick(self, other: Self) -> bool {
        self >= Self::Moderator && other <= self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub uid: Uid,
    pub scope: Scope,
    pub joined_at: Time,
}

impl Group {
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "guid": self.guid.as_str(), "name": self.about.name, "type": self.about.kind.as_str(),
            "membersCount": self.members_count,
            "conversationId": format!("group_{}", self.guid),
            "owner": self.owner.as_str(), "createdAt": self.created_at.seconds(),
        });
        let map = object.as_object_mut().expect("json! made an object");
        if let Some(icon) = &self.about.icon {
            map.insert("icon".to_owned(), json!(icon));
        }
        if let Some(description) = &self.about.description {
            map.insert("description".to_owned(), json!(description));
        }
        if let Some(metadata) = &self.about.metadata {
            map.insert("metadata".to_owned(), Value::Object(metadata.clone()));
        }
        if !self.about.tags.is_empty() {
            map.insert("tags".to_owned(), json!(self.about.tags));
        }
        if let Some(at) = self.updated_at {
            map.insert("updatedAt".to_owned(), json!(at.seconds()));
        }
        object
    }

    /// The group as an entity of a message.
    #[must_use]
    pub fn to_entity(&self) -> Value {
        json!({"entity": self.to_json(), "entityType": "group"})
    }
}

/// A new group with its first members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDraft {
    pub guid: Guid,
    pub about: About,
    pub owner: Option<Uid>,
    pub members: Vec<(Uid, Scope)>,
}

impl GroupDraft {
    pub fn parse(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let guid = Guid::parse("guid", &fields.required_text("guid", 100)?)?;
        let blank = About {
            name: fields.required_text("name", 100)?,
            kind: GroupKind::Public,
            password: None,
            icon: None,
            description: None,
            metadata: None,
            tags: Vec::new(),
        };
        let about = blank.changed_by(body)?;
        let owner = fields.text("owner", 100)?.map(|uid| Uid::parse("owner", &uid)).transpose()?;
        let members = match fields.get("members") {
            Some(members) => parse_members(members)?,
            None => Vec::new(),
        };
        Ok(Self { guid, about, owner, members })
    }
}

impl About {
    /// This description with the fields named in `body` changed.
    pub fn changed_by(&self, body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let mut changed = self.clone();
        for name in fields.texts("unset", 10, 20)?.unwrap_or_default() {
            match name.as_str() {
                "icon" => changed.icon = None,
                "description" => changed.description = None,
                "metadata" => changed.metadata = None,
                _ => {
                    let complaint = "may name 'icon', 'description' and 'metadata'";
                    return Err(Refusal::field(Code::BadRequest, "unset", complaint));
                }
            }
        }
        if fields.get("name").is_some() {
            changed.name = fields.required_text("name", 100)?;
        }
        if let Some(kind) = fields.text("type", 20)? {
            changed.kind = GroupKind::parse(&kind).ok_or_else(|| {
                Refusal::field(Code::BadRequest, "type", "must be 'public', 'password' or 'private'")
            })?;
        }
        changed.password = fields.text("password", 100)?.or(changed.password);
        if changed.kind != GroupKind::Password {
            changed.password = None;
        } else if changed.password.as_deref().is_none_or(str::is_empty) {
            return Err(Refusal::field(
                Code::EmptyGroupPassword,
                "password",
                "is required for a password group",
            ));
        }
        changed.icon = fields.text("icon", 3_000)?.or(changed.icon);
        changed.description = fields.text("description", 255)?.or(changed.description);
        changed.metadata = fields.object("metadata", METADATA_BYTES_MAX)?.or(changed.metadata);
        changed.tags = fields.texts("tags", 25, 100)?.unwrap_or(changed.tags);
        Ok(changed)
    }
}

/// Reads `admins`, `moderators` and `participants`; the highest scope named wins.
pub fn parse_members(value: &Value) -> Result<Vec<(Uid, Scope)>, Refusal> {
    let fields = Fields::of(value)?;
    let mut members: Vec<(Uid, Scope)> = Vec::new();
    let lists =
        [("admins", Scope::Admin), ("moderators", Scope::Moderator), ("participants", Scope::Participant)];
    for (field, scope) in lists {
        for uid in fields.texts(field, MEMBERS_PER_CALL_MAX, 100)?.unwrap_or_default() {
            let uid = Uid::parse(field, &uid)?;
            if !members.iter().any(|(known, _)| *known == uid) {
                members.push((uid, scope));
            }
        }
    }
    if members.len() > MEMBERS_PER_CALL_MAX {
        let complaint = format!("may name at most {MEMBERS_PER_CALL_MAX} users in one call");
        return Err(Refusal::field(Code::BadRequest, "members", &complaint));
    }
    Ok(members)
}
