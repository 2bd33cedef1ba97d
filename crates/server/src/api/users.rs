//! Users and their auth tokens (spec 4.4, 4.5).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::fields::Fields;
use chathook_domain::ids::Uid;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::{self, UserDraft, View};
use chathook_engine::users::{self, Deactivation, Reuse};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Api;
use super::auth::{Actor, AnyKey, FullKey};
use super::extract::{Ids, JsonBody, OptionalJsonBody, Params, person};
use super::lists::{
    Answer, Data, Done, PageQuery, Paged, SearchQuery, data, done, page_of, page_of_store, page_request,
    search_key,
};
use super::shapes::people::User;
use super::shapes::refuses;

/// Users that one call may activate or deactivate.
const UIDS_PER_CALL_MAX: usize = 100;

/// A user to be made.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"uid": "cleo", "name": "Cleo"}))]
pub struct NewUser {
    /// Taken in lower case.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,100}$")]
    pub uid: String,
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    #[schema(max_length = 3000)]
    pub avatar: Option<String>,
    #[schema(max_length = 3000)]
    pub link: Option<String>,
    #[schema(max_length = 100)]
    pub role: Option<String>,
    #[schema(max_length = 255)]
    pub status_message: Option<String>,
    /// At most 5 KiB as JSON. What is in `@private` only your own server is shown.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    #[schema(max_items = 25)]
    pub tags: Option<Vec<String>>,
    /// Make an auth token as well.
    pub with_auth_token: Option<bool>,
}

/// What is to change of a user.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"name": "Cleo", "statusMessage": "back soon"}))]
pub struct UserChange {
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    #[schema(max_length = 3000)]
    pub avatar: Option<String>,
    #[schema(max_length = 3000)]
    pub link: Option<String>,
    #[schema(max_length = 100)]
    pub role: Option<String>,
    #[schema(max_length = 255)]
    pub status_message: Option<String>,
    /// Takes the place of all metadata. At most 5 KiB as JSON.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    #[schema(max_items = 25)]
    pub tags: Option<Vec<String>>,
    /// Fields to take away: `avatar`, `link`, `metadata`.
    #[schema(max_items = 10)]
    pub unset: Option<Vec<String>>,
}

/// A user who was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedUser {
    #[serde(flatten)]
    #[schema(value_type = User)]
    user: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
}

/// How a user is removed.
#[derive(ToSchema)]
#[schema(example = json!({"permanent": false}))]
pub struct Removal {
    /// For good, with all that is theirs but their messages.
    pub permanent: Option<bool>,
}

/// A user who is gone, for now or for good.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    success: bool,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deactivated_uids: Vec<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"uidsToActivate": ["ana"]}))]
pub struct UidsToActivate {
    #[schema(max_items = 100)]
    pub uids_to_activate: Vec<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"uidsToDeactivate": ["ana"]}))]
pub struct UidsToDeactivate {
    #[schema(max_items = 100)]
    pub uids_to_deactivate: Vec<String>,
}

/// What became of each user; a list that would be empty is left out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reactivated {
    reactivated_uids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    non_deactivated_uids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_found: Vec<String>,
}

/// What became of each user; a list that would be empty is left out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deactivated {
    deactivated_uids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    already_deactivated_uids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_found: Vec<String>,
}

#[derive(ToSchema)]
#[schema(example = json!({"force": true}))]
pub struct TokenRequest {
    /// A new token also where there is one.
    pub force: Option<bool>,
}

/// A user's own credential.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct AuthToken {
    pub uid: String,
    pub auth_token: String,
    pub created_at: i64,
}

/// Makes a user
///
/// With `withAuthToken` the answer carries an auth token. A key of the scope `authOnly` may do this, too.
#[utoipa::path(
    post, path = "/users", tag = "users",
    security(("apikey" = [])),
    request_body(content = NewUser),
    responses((status = 200, description = "The user", body = Data<CreatedUser>)),
    extensions(("x-refusals" = json!(refuses(&[Code::UidAlreadyExists])))),
)]
pub async fn create_user(
    State(api): State<Arc<Api>>,
    AnyKey(caller): AnyKey,
    JsonBody(body): JsonBody,
) -> Answer {
    let (user, token) = api.engine.create_user(&caller.app.id, UserDraft::parse(&body)?).await?;
    let auth_token = token.map(|token| token.token);
    Ok(data(CreatedUser { user: user.to_json(View::Owner), auth_token }))
}

/// Lists the active users
#[utoipa::path(
    get, path = "/users", tag = "users",
    params(PageQuery, SearchQuery),
    responses((status = 200, description = "A page of users", body = Paged<User>)),
)]
pub async fn list_users(State(api): State<Arc<Api>>, actor: Actor, params: Params) -> Answer {
    let request = page_request(&params)?;
    let page = api.engine.users(&actor.caller.app.id, search_key(&params)?, request).await?;
    Ok(page_of_store(&page, request, |user| user.to_json(actor.view)))
}

/// Shows a user
#[utoipa::path(
    get, path = "/users/{uid}", tag = "users",
    responses((status = 200, description = "The user", body = Data<User>)),
)]
pub async fn get_user(State(api): State<Arc<Api>>, actor: Actor, Ids(uid): Ids<String>) -> Answer {
    let user = api.engine.user(&actor.caller.app.id, &Uid::parse("uid", &uid)?).await?;
    Ok(data(user.to_json(actor.view)))
}

/// Changes a user
#[utoipa::path(
    put, path = "/users/{uid}", tag = "users",
    security(("apikey" = [])),
    request_body(content = UserChange),
    responses((status = 200, description = "The user as changed", body = Data<User>)),
)]
pub async fn update_user(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(uid): Ids<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    let user = api.engine.update_user(&caller.app.id, &person(&uid)?, &body).await?;
    Ok(data(user.to_json(View::Owner)))
}

/// Deactivates a user, or removes them for good
///
/// Ends the user's connections and auth tokens either way.
#[utoipa::path(
    delete, path = "/users/{uid}", tag = "users",
    security(("apikey" = [])),
    request_body(content = Option<Removal>),
    responses((status = 200, description = "Done", body = Data<Removed>)),
)]
pub async fn delete_user(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(uid): Ids<String>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Answer {
    let uid = person(&uid)?;
    let is_permanent = Fields::of(&body)?.flag("permanent")?.unwrap_or(false);
    let removal = if is_permanent { users::Removal::Permanent } else { users::Removal::Deactivate };
    api.engine.delete_user(&caller.app.id, &uid, removal).await?;
    let (deed, deactivated_uids) = match removal {
        users::Removal::Permanent => ("deleted", Vec::new()),
        users::Removal::Deactivate => ("deactivated", vec![uid.to_string()]),
    };
    let message = format!("User with {uid} has been {deed} successfully.");
    Ok(data(Removed { success: true, message, deactivated_uids }))
}

/// Activates deactivated users again
#[utoipa::path(
    put, path = "/users", tag = "users",
    security(("apikey" = [])),
    request_body(content = UidsToActivate),
    responses((status = 200, description = "What became of each", body = Data<Reactivated>)),
)]
pub async fn reactivate_users(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    JsonBody(body): JsonBody,
) -> Answer {
    let app = &caller.app.id;
    let mut told =
        Reactivated { reactivated_uids: Vec::new(), non_deactivated_uids: Vec::new(), not_found: Vec::new() };
    for uid in uids(&body, "uidsToActivate")? {
        let name = uid.to_string();
        if uid.is_system() || is_found(api.engine.user(app, &uid).await)?.is_some() {
            told.non_deactivated_uids.push(name);
        } else if is_found(api.engine.reactivate_user(app, &uid).await)?.is_some() {
            told.reactivated_uids.push(name);
        } else {
            told.not_found.push(name);
        }
    }
    Ok(data(told))
}

/// Deactivates users
#[utoipa::path(
    delete, path = "/users", tag = "users",
    security(("apikey" = [])),
    request_body(content = UidsToDeactivate),
    responses((status = 200, description = "What became of each", body = Data<Deactivated>)),
)]
pub async fn deactivate_users(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    JsonBody(body): JsonBody,
) -> Answer {
    let app = &caller.app.id;
    let mut told = Deactivated {
        deactivated_uids: Vec::new(),
        already_deactivated_uids: Vec::new(),
        not_found: Vec::new(),
    };
    for uid in uids(&body, "uidsToDeactivate")? {
        let name = uid.to_string();
        match api.engine.deactivate_user(app, &uid).await? {
            Deactivation::Done => told.deactivated_uids.push(name),
            Deactivation::WasAlready => told.already_deactivated_uids.push(name),
            Deactivation::NotFound => told.not_found.push(name),
        }
    }
    Ok(data(told))
}

/// Gives an auth token of a user
///
/// The newest that there is, or a new one where there is none or `force` asks for it. A key of the scope
/// `authOnly` may do this, too.
#[utoipa::path(
    post, path = "/users/{uid}/auth_tokens", tag = "users",
    security(("apikey" = [])),
    request_body(content = Option<TokenRequest>),
    responses((status = 200, description = "The token", body = Data<AuthToken>)),
)]
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

/// Lists a user's auth tokens
#[utoipa::path(
    get, path = "/users/{uid}/auth_tokens", tag = "users",
    security(("apikey" = [])),
    params(PageQuery),
    responses((status = 200, description = "A page of tokens", body = Paged<AuthToken>)),
)]
pub async fn list_tokens(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(uid): Ids<String>,
    params: Params,
) -> Answer {
    let request = page_request(&params)?;
    let tokens = api.engine.tokens(&caller.app.id, &person(&uid)?).await?;
    Ok(page_of(tokens.iter().map(user::AuthToken::to_json).collect(), request))
}

/// Ends all auth tokens of a user, with their sockets
#[utoipa::path(
    delete, path = "/users/{uid}/auth_tokens", tag = "users",
    security(("apikey" = [])),
    responses((status = 200, description = "Done", body = Data<Done<'static>>)),
)]
pub async fn flush_tokens(
    State(api): State<Arc<Api>>,
    FullKey(caller): FullKey,
    Ids(uid): Ids<String>,
) -> Answer {
    let uid = person(&uid)?;
    api.engine.flush_tokens(&caller.app.id, &uid).await?;
    Ok(done(&format!("Cleared Auth Tokens successfully for uid {uid}.")))
}

/// Shows an auth token of a user
#[utoipa::path(
    get, path = "/users/{uid}/auth_tokens/{token}", tag = "users",
    security(("apikey" = [])),
    responses((status = 200, description = "The token", body = Data<AuthToken>)),
    extensions(("x-refusals" = json!(refuses(&[Code::AuthTokenUnknown])))),
)]
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

/// Ends an auth token, with its sockets
#[utoipa::path(
    delete, path = "/users/{uid}/auth_tokens/{token}", tag = "users",
    security(("apikey" = [])),
    responses((status = 200, description = "Done", body = Data<Done<'static>>)),
    extensions(("x-refusals" = json!(refuses(&[Code::AuthTokenUnknown])))),
)]
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
