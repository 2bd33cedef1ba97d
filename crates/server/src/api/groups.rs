//! Groups and their members (spec 4.10).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use chathook_domain::group::{self, GroupDraft, Scope, parse_members};
use chathook_domain::ids::{Guid, Uid};
use chathook_domain::refusal::{Code, Refusal};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Api;
use super::auth::{Actor, FullKey};
use super::error::to_json;
use super::extract::{Ids, JsonBody, Params};
use super::lists::{
    Answer, Data, Done, PageQuery, Paged, SearchQuery, data, done, page_of_store, page_request, search_key,
};
use super::shapes::messages::Message;
use super::shapes::people::{self, Group, GroupType, User};
use super::shapes::{Error, refuses};

/// A group to be made.
#[derive(ToSchema)]
#[schema(example = json!({"guid": "lunch", "name": "Lunch", "members": {"participants": ["ana"]}}))]
pub struct NewGroup {
    /// Taken in lower case.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,100}$")]
    pub guid: String,
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// `public` unless set.
    #[schema(rename = "type")]
    pub kind: Option<GroupType>,
    /// Needed by the type `password`; never shown.
    #[schema(max_length = 100)]
    pub password: Option<String>,
    #[schema(max_length = 3000)]
    pub icon: Option<String>,
    #[schema(max_length = 255)]
    pub description: Option<String>,
    /// At most 5 KiB as JSON.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    #[schema(max_items = 25)]
    pub tags: Option<Vec<String>>,
    /// Its owner, where it is not made on behalf of one.
    pub owner: Option<String>,
    pub members: Option<NewMembers>,
}

/// What is to change of a group.
#[derive(ToSchema)]
#[schema(example = json!({"name": "Lunch", "description": "Who eats where"}))]
pub struct GroupChange {
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    #[schema(rename = "type")]
    pub kind: Option<GroupType>,
    #[schema(max_length = 100)]
    pub password: Option<String>,
    #[schema(max_length = 3000)]
    pub icon: Option<String>,
    #[schema(max_length = 255)]
    pub description: Option<String>,
    /// Takes the place of all metadata. At most 5 KiB as JSON.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    #[schema(max_items = 25)]
    pub tags: Option<Vec<String>>,
    /// Another owner; not on behalf of a user.
    pub owner: Option<String>,
    /// Fields to take away: `icon`, `description`, `metadata`.
    #[schema(max_items = 10)]
    pub unset: Option<Vec<String>>,
}

/// Uids by the scope that they are to have; the highest that names a user wins.
#[derive(ToSchema)]
#[schema(example = json!({"participants": ["cleo"]}))]
pub struct NewMembers {
    #[schema(max_items = 25)]
    pub admins: Option<Vec<String>>,
    #[schema(max_items = 25)]
    pub moderators: Option<Vec<String>>,
    #[schema(max_items = 25)]
    pub participants: Option<Vec<String>>,
}

/// A user with what they are in a group.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    #[serde(flatten)]
    #[schema(value_type = User)]
    user: Value,
    #[schema(value_type = people::Scope)]
    scope: &'static str,
    joined_at: i64,
}

/// What became of each user, by scope and uid; scopes with nobody are left out.
#[derive(Default, Serialize, ToSchema)]
pub struct AddedMembers {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    admins: BTreeMap<String, Added>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    moderators: BTreeMap<String, Added>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    participants: BTreeMap<String, Added>,
}

/// What became of one user: the action message that tells of them, or why they were not added.
#[derive(Serialize, ToSchema)]
pub struct Added {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Message>)]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Error>)]
    error: Option<Value>,
}

/// Makes a group
///
/// On behalf of a user it is theirs.
#[utoipa::path(
    post, path = "/groups", tag = "groups",
    security(("apikey" = [])),
    request_body(content = NewGroup),
    responses((status = 200, description = "The group", body = Data<Group>)),
    extensions(("x-refusals" = json!(refuses(&[Code::GuidAlreadyExists, Code::EmptyGroupPassword])))),
)]
pub async fn create_group(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    JsonBody(body): JsonBody,
) -> Answer {
    if let Some(members) = body.get("members") {
        refuse_bans(members)?;
    }
    let group = api.engine.create_group(&caller, GroupDraft::parse(&body)?).await?;
    Ok(data(group.to_json()))
}

/// Lists the groups that the caller may see
#[utoipa::path(
    get, path = "/groups", tag = "groups",
    params(PageQuery, SearchQuery),
    responses((status = 200, description = "A page of groups", body = Paged<Group>)),
)]
pub async fn list_groups(State(api): State<Arc<Api>>, actor: Actor, params: Params) -> Answer {
    let request = page_request(&params)?;
    let page = api.engine.groups(&actor.caller, search_key(&params)?, request).await?;
    Ok(page_of_store(&page, request, group::Group::to_json))
}

/// Shows a group
///
/// A private one is hidden from who is not in it.
#[utoipa::path(
    get, path = "/groups/{guid}", tag = "groups",
    responses((status = 200, description = "The group", body = Data<Group>)),
    extensions(("x-refusals" = json!(refuses(&[Code::GuidNotFound])))),
)]
pub async fn get_group(State(api): State<Arc<Api>>, actor: Actor, Ids(guid): Ids<String>) -> Answer {
    let group = api.engine.group_seen_by(&actor.caller, &Guid::parse("guid", &guid)?).await?;
    Ok(data(group.to_json()))
}

/// Changes a group
///
/// On behalf of a user, who must be a moderator or admin of it.
#[utoipa::path(
    put, path = "/groups/{guid}", tag = "groups",
    security(("apikey" = [])),
    request_body(content = GroupChange),
    responses((status = 200, description = "The group as changed", body = Data<Group>)),
    extensions(("x-refusals" = json!(refuses(&[
        Code::GuidNotFound, Code::GroupNotJoined, Code::GroupNoClearance, Code::EmptyGroupPassword,
    ])))),
)]
pub async fn update_group(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(guid): Ids<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    let group = api.engine.update_group(&caller, &Guid::parse("guid", &guid)?, &body).await?;
    Ok(data(group.to_json()))
}

/// Deletes a group with its conversation
///
/// On behalf of a user, who must be an admin of it.
#[utoipa::path(
    delete, path = "/groups/{guid}", tag = "groups",
    security(("apikey" = [])),
    responses((status = 200, description = "Done", body = Data<Done<'static>>)),
    extensions(("x-refusals" = json!(refuses(&[
        Code::GuidNotFound, Code::GroupNotJoined, Code::GroupNoClearance,
    ])))),
)]
pub async fn delete_group(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(guid): Ids<String>,
) -> Answer {
    let guid = Guid::parse("guid", &guid)?;
    api.engine.delete_group(&caller, &guid).await?;
    Ok(done(&format!("Group with guid {guid} has been deleted successfully.")))
}

/// Lists the members of a group
#[utoipa::path(
    get, path = "/groups/{guid}/members", tag = "groups",
    params(PageQuery),
    responses((status = 200, description = "A page of members", body = Paged<Member>)),
    extensions(("x-refusals" = json!(refuses(&[Code::GuidNotFound])))),
)]
pub async fn list_members(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(guid): Ids<String>,
    params: Params,
) -> Answer {
    let request = page_request(&params)?;
    let guid = Guid::parse("guid", &guid)?;
    let page = api.engine.members(&actor.caller, &guid, request).await?;
    Ok(page_of_store(&page, request, |(user, member)| Member {
        user: user.to_json(actor.view),
        scope: member.scope.as_str(),
        joined_at: member.joined_at.seconds(),
    }))
}

/// Adds members to a group
///
/// At most 25 in one call. On behalf of a user, who must be an admin of it.
#[utoipa::path(
    post, path = "/groups/{guid}/members", tag = "groups",
    security(("apikey" = [])),
    request_body(content = NewMembers),
    responses((status = 200, description = "What became of each", body = Data<AddedMembers>)),
    extensions(("x-refusals" = json!(refuses(&[
        Code::GuidNotFound, Code::GroupNotJoined, Code::GroupNoClearance,
    ])))),
)]
pub async fn add_members(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(guid): Ids<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    refuse_bans(&body)?;
    let members = parse_members(&body)?;
    if members.is_empty() {
        let sentence = "Name at least one user in 'admins', 'moderators' or 'participants'.";
        return Err(Refusal::new(Code::BadRequest, sentence).into());
    }
    let added = api.engine.add_members(&caller, &Guid::parse("guid", &guid)?, members).await?;
    let mut told = AddedMembers::default();
    for one in added {
        let list = match one.scope {
            Scope::Admin => &mut told.admins,
            Scope::Moderator => &mut told.moderators,
            Scope::Participant => &mut told.participants,
        };
        let became = match one.result {
            Ok(committed) => Added { success: true, data: Some(committed.message.to_json()), error: None },
            Err(refusal) => Added { success: false, data: None, error: Some(to_json(&refusal)) },
        };
        list.insert(one.uid.to_string(), became);
    }
    Ok(data(told))
}

/// Takes a member out of a group
///
/// Moderators kick participants and moderators, admins everyone; members leave by naming themselves.
#[utoipa::path(
    delete, path = "/groups/{guid}/members/{uid}", tag = "groups",
    security(("apikey" = [])),
    responses((status = 200, description = "Done", body = Data<Done<'static>>)),
    extensions(("x-refusals" = json!(refuses(&[
        Code::GuidNotFound, Code::NotAMember, Code::GroupNotJoined, Code::GroupNoClearance,
    ])))),
)]
pub async fn kick_member(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids((guid, uid)): Ids<(String, String)>,
) -> Answer {
    let (guid, uid) = (Guid::parse("guid", &guid)?, Uid::parse("uid", &uid)?);
    api.engine.kick_member(&caller, &guid, &uid).await?;
    Ok(done(&format!("The member with {uid} has been kicked from the Group with {guid}.")))
}

/// Bans are not there yet; to pass over them in silence would let in whom the caller shut out.
fn refuse_bans(members: &Value) -> Result<(), Refusal> {
    match members.get("usersToBan") {
        Some(Value::Array(uids)) if !uids.is_empty() => {
            Err(Refusal::field(Code::BadRequest, "usersToBan", "is not taken by this server yet"))
        }
        _ => Ok(()),
    }
}
