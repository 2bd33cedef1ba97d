//! Users, groups and their members.

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A user. Your own server is shown everything; users see of each other neither `tags` nor
/// `metadata["@private"]`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct User {
    #[schema(example = "ana")]
    pub uid: String,
    #[schema(example = "Ana")]
    pub name: String,
    pub avatar: Option<String>,
    pub link: Option<String>,
    pub status_message: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    pub status: UserStatus,
    /// `default` unless set.
    pub role: String,
    pub tags: Option<Vec<String>>,
    /// Seconds since 1970, as all times whose names do not end otherwise.
    pub created_at: i64,
    pub updated_at: Option<i64>,
    pub last_active_at: Option<i64>,
    /// There while the user is deactivated.
    pub deactivated_at: Option<i64>,
    /// In a message's `entities.receiver` only.
    pub conversation_id: Option<String>,
}

/// `available` while at least one connection of the user counts as open.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum UserStatus {
    Available,
    Offline,
}

/// A group.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Group {
    #[schema(example = "lounge")]
    pub guid: String,
    pub name: String,
    #[schema(rename = "type")]
    pub kind: GroupType,
    pub members_count: i64,
    pub conversation_id: String,
    /// The uid of its owner; `app_system` where no user made it.
    pub owner: String,
    pub created_at: i64,
    pub icon: Option<String>,
    pub description: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    pub tags: Option<Vec<String>>,
    pub updated_at: Option<i64>,
}

/// Who may join: everyone, who knows the password, or nobody by themselves.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum GroupType {
    Public,
    Password,
    Private,
}

/// What a member may do.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Scope {
    Participant,
    Moderator,
    Admin,
}
