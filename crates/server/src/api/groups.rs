//! Groups and their members (spec 4.10).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::group::{Group, GroupDraft, Scope, parse_members};
use chathook_domain::ids::{Guid, Uid};
use chathook_domain::refusal::{Code, Refusal};
use serde_json::{Value, json};

use super::Api;
use super::auth::{Actor, FullKey};
use super::error::to_json;
use super::extract::{Ids, JsonBody, Params};
use super::lists::{Answer, data, done, page_of_store, page_request, search_key};

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

pub async fn list_groups(State(api): State<Arc<Api>>, actor: Actor, params: Params) -> Answer {
    let request = page_request(&params)?;
    let page = api.engine.groups(&actor.caller, search_key(&params)?, request).await?;
    Ok(page_of_store(&page, request, Group::to_json))
}

pub async fn get_group(State(api): State<Arc<Api>>, actor: Actor, Ids(guid): Ids<String>) -> Answer {
    let group = api.engine.group_seen_by(&actor.caller, &Guid::parse("guid", &guid)?).await?;
    Ok(data(group.to_json()))
}

pub async fn update_group(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(guid): Ids<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    let group = api.engine.update_group(&caller, &Guid::parse("guid", &guid)?, &body).await?;
    Ok(data(group.to_json()))
}

pub async fn delete_group(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(guid): Ids<String>,
) -> Answer {
    let guid = Guid::parse("guid", &guid)?;
    api.engine.delete_group(&caller, &guid).await?;
    Ok(done(&format!("Group with guid {guid} has been deleted successfully.")))
}

pub async fn list_members(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(guid): Ids<String>,
    params: Params,
) -> Answer {
    let request = page_request(&params)?;
    let guid = Guid::parse("guid", &guid)?;
    let page = api.engine.members(&actor.caller, &guid, request).await?;
    Ok(page_of_store(&page, request, |(user, member)| {
        let mut object = user.to_json(actor.view);
        object["scope"] = json!(member.scope.as_str());
        object["joinedAt"] = json!(member.joined_at.seconds());
        object
    }))
}

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
    let mut object = json!({});
    for one in added {
        let list = match one.scope {
            Scope::Admin => "admins",
            Scope::Moderator => "moderators",
            Scope::Participant => "participants",
        };
        object[list][one.uid.as_str()] = match one.result {
            Ok(committed) => json!({"success": true, "data": committed.message.to_json()}),
            Err(refusal) => json!({"success": false, "error": to_json(&refusal)}),
        };
    }
    Ok(data(object))
}

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
