//! Users and their auth tokens (spec 4.4, 4.5).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::fields::Fields;
use chathook_domain::ids::Uid;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::{AuthToken, UserDraft, View};
use chathook_engine::users::{Removal, Reuse};
use serde_json::{Value, json};

use super::Api;
use super::auth::{Actor, AnyKey, FullKey};
use super::extract::{Ids, JsonBody, OptionalJsonBody, Params, person};
use super::lists::{Answer, data, done, page_of, page_of_store, page_request, search_key};

/// Users that one call may activate or deactivate.
const UIDS_PER_CALL_MAX: usize = 100;

pub async fn create_user(
    State(api): State<Arc<Api>>,
    AnyKey(caller): AnyKey,
    JsonBody(body): JsonBody,
) -> Answer {
    let (user, token) = api.engine.create_user(&caller.app.id, UserDraft::parse(&body)?).await?;
    let mut object = user.to_json(View::Owner);
    if let Some(token) = token {
        object["authToken"] = json!(token.token);
    }
    Ok(data(object))
}

pub async fn list_users(State(api): State<Arc<Api>>, actor: Actor, params: Params) -> Answer {
    let request = page_request(&params)?;
    let page = api.engine.users(&actor.caller.app.id, search_key(&params)?, request).await?;
    Ok(page_of_store(&page, request, |user| user.to_json(actor.view)))
}

pub async fn get_user(State(api): State<Arc<Api>>, actor: Actor, Ids(uid): Ids<String>) -> Answer {
    let user = api.engine.user(&actor.caller.app.id, &Uid::parse("uid", &uid)?).await?;
    Ok(data(user.to_json(actor.view)))
}

pub async fn update_user(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(uid): Ids<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    let user = api.engine.update_user(&caller.app.id, &person(&uid)?, &body).await?;
    Ok(data(user.to_json(View::Owner)))
}

pub async fn delete_user(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(uid): Ids<String>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Answer {
    let uid = person(&uid)?;
    let is_permanent = Fields::of(&body)?.flag("permanent")?.unwrap_or(false);
    let removal = if is_permanent { Removal::Permanent } else { Removal::Deactivate };
    api.engine.delete_user(&caller.app.id, &uid, removal).await?;
    Ok(match removal {
        Removal::Permanent => done(&format!("User with {uid} has been deleted successfully.")),
        Removal::Deactivate => data(json!({
            "success": true,
            "message": format!("User with {uid} has been deactivated successfully."),
            "deactivatedUids": [uid.as_str()],
        })),
    })
}

pub async fn reactivate_users(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    JsonBody(body): JsonBody,
) -> Answer {
    let app = &caller.app.id;
    let (mut reactivated, mut active, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for uid in uids(&body, "uidsToActivate")? {
        let name = uid.to_string();
        if uid.is_system() || is_found(api.engine.user(app, &uid).await)?.is_some() {
            active.push(name);
        } else if is_found(api.engine.reactivate_user(app, &uid).await)?.is_some() {
            reactivated.push(name);
        } else {
            absent.push(name);
        }
    }
    let mut object = json!({"reactivatedUids": reactivated});
    add_list(&mut object, "nonDeactivatedUids", active);
    add_list(&mut object, "notFound", absent);
    Ok(data(object))
}

pub async fn deactivate_users(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    JsonBody(body): JsonBody,
) -> Answer {
    let app = &caller.app.id;
    let (mut deactivated, mut already, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for uid in uids(&body, "uidsToDeactivate")? {
        let name = uid.to_string();
        if uid.is_system() {
            absent.push(name);
        } else if is_found(api.engine.delete_user(app, &uid, Removal::Deactivate).await)?.is_some() {
            deactivated.push(name);
        } else if let Ok(Some(_)) = api.engine.store.user(app, &uid).await {
            already.push(name);
        } else {
            absent.push(name);
        }
    }
    let mut object = json!({"deactivatedUids": deactivated});
    add_list(&mut object, "alreadyDeactivatedUids", already);
    add_list(&mut object, "notFound", absent);
    Ok(data(object))
}

pub async fn create_token(
    State(api): State<Arc<Api>>,
    AnyKey(caller): AnyKey,
    Ids(uid): Ids<String>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Answer {
    let is_forced = Fields::of(&body)?.flag("force")?.unwrap_or(false);
    let reuse = if is_forced { Reuse::Never } else { Reuse::Newest };
    let token = api.engine.create_token(&caller.app.id, &person(&uid)?, reuse).await?;
    Ok(data(token.to_json()))
}

pub async fn list_tokens(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(uid): Ids<String>,
    params: Params,
) -> Answer {
    let request = page_request(&params)?;
    let tokens = api.engine.tokens(&caller.app.id, &person(&uid)?).await?;
    Ok(page_of(tokens.iter().map(AuthToken::to_json).collect(), request))
}

pub async fn flush_tokens(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(uid): Ids<String>,
) -> Answer {
    let uid = person(&uid)?;
    api.engine.flush_tokens(&caller.app.id, &uid).await?;
    Ok(done(&format!("Cleared Auth Tokens successfully for uid {uid}.")))
}

pub async fn get_token(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids((uid, token)): Ids<(String, String)>,
) -> Answer {
    let tokens = api.engine.tokens(&caller.app.id, &person(&uid)?).await?;
    let found = tokens.iter().find(|known| known.token == token);
    let unknown = || Refusal::new(Code::AuthTokenUnknown, "This user has no such auth token.");
    Ok(data(found.ok_or_else(unknown)?.to_json()))
}

pub async fn delete_token(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids((uid, token)): Ids<(String, String)>,
) -> Answer {
    let uid = person(&uid)?;
    api.engine.delete_token(&caller.app.id, &uid, &token).await?;
    Ok(done(&format!("Deleted Auth Token successfully for uid {uid}.")))
}

fn uids(body: &Value, field: &str) -> Result<Vec<Uid>, Refusal> {
    let texts = Fields::of(body)?.texts(field, UIDS_PER_CALL_MAX, 100)?;
    let texts = texts.ok_or_else(|| Refusal::field(Code::BadRequest, field, "is required"))?;
    texts.iter().map(|text| Uid::parse(field, text)).collect()
}

/// In a call for many users, one who is not there fails for themselves only.
fn is_found<T>(result: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.code == Code::UidNotFound => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn add_list(object: &mut Value, name: &str, uids: Vec<String>) {
    if !uids.is_empty() {
        object[name] = json!(uids);
    }
}
