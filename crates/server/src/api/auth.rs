//! Who calls, told once for all handlers. A handler names in its arguments what its caller must
//! hold: [`AnyKey`], [`FullKey`] or [`Actor`]. Management credentials are judged in `management`.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chathook_domain::app::{App, KeyScope};
use chathook_domain::event::Origin;
use chathook_domain::ids::{AppId, Uid};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::View;
use chathook_engine::caller::Caller;

use super::Api;
use super::error::ApiError;
use super::extract::header_text;

/// What a caller may do at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    /// A `fullAccess` key.
    Everything,
    /// An `authOnly` key: create users and auth tokens.
    UsersAndTokens,
    /// A user's own auth token.
    OneUser,
}

#[derive(Debug, Clone)]
struct Identity {
    caller: Caller,
    power: Power,
}

/// The app of an answer, for those who decide which pages may read it.
#[derive(Debug, Clone)]
pub struct AnsweredFor(pub Arc<App>);

/// A caller with a key of any scope.
pub struct AnyKey(pub Caller);

/// A caller with a `fullAccess` key.
pub struct FullKey(pub Caller);

/// A caller with a `fullAccess` key, or a user with their own token.
pub struct Actor {
    pub caller: Caller,
    /// What this caller is shown of users.
    pub view: View,
}

impl<S: Sync> FromRequestParts<S> for AnyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let identity = identity(parts)?;
        match identity.power {
            Power::Everything | Power::UsersAndTokens => Ok(Self(identity.caller)),
            Power::OneUser => Err(no_access("A user's auth token does not allow this call.").into()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for FullKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let identity = identity(parts)?;
        match identity.power {
            Power::Everything => Ok(Self(identity.caller)),
            Power::UsersAndTokens => Err(scope_too_small()),
            Power::OneUser => Err(no_access("A user's auth token does not allow this call.").into()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let identity = identity(parts)?;
        match identity.power {
            Power::Everything => Ok(Self { caller: identity.caller, view: View::Owner }),
            Power::UsersAndTokens => Err(scope_too_small()),
            Power::OneUser => Ok(Self { caller: identity.caller, view: View::Public }),
        }
    }
}

/// Finds out who calls, before any handler of the chat API runs.
pub async fn authenticate(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let identity = match identify(&api, request.headers()).await {
        Ok(identity) => identity,
        Err(refusal) => return ApiError::from(refusal).into_response(),
    };
    let app = identity.caller.app.clone();
    request.extensions_mut().insert(identity);
    let mut response = next.run(request).await;
    response.extensions_mut().insert(AnsweredFor(app));
    response
}

async fn identify(api: &Api, headers: &HeaderMap) -> Result<Identity, Refusal> {
    if headers.contains_key("apikey") {
        return identify_key(api, headers).await;
    }
    if headers.contains_key("authtoken") {
        let token = header_text(headers, "authtoken")
            .ok_or_else(|| Refusal::new(Code::EmptyAuthToken, "The header 'authToken' is empty."))?;
        let caller = api.engine.caller_of_token(token).await?;
        require_same_app(api, headers, &caller.app.id).await?;
        require_same_user(headers, &caller.uid)?;
        return Ok(Identity { caller, power: Power::OneUser });
    }
    Err(Refusal::new(Code::EmptyApiKey, "The header 'apikey' is missing."))
}

async fn identify_key(api: &Api, headers: &HeaderMap) -> Result<Identity, Refusal> {
    let key = header_text(headers, "apikey")
        .ok_or_else(|| Refusal::new(Code::EmptyApiKey, "The header 'apikey' is empty."))?;
    let (app, scope) = api.engine.app_of_key(key).await?;
    require_same_app(api, headers, &app.id).await?;
    let power = match scope {
        KeyScope::FullAccess => Power::Everything,
        KeyScope::AuthOnly => Power::UsersAndTokens,
    };
    let uid = match headers.get("onbehalfof") {
        None => Uid::system(),
        Some(value) => {
            let uid = Uid::parse("onBehalfOf", value.to_str().unwrap_or_default().trim())?;
            api.engine.user(&app.id, &uid).await?.uid
        }
    };
    let caller = Caller { app, uid, origin: Origin::Rest, session: None };
    Ok(Identity { caller, power })
}

/// An `appId` header, or a first Host label that names an app, must agree with the credentials.
async fn require_same_app(api: &Api, headers: &HeaderMap, app: &AppId) -> Result<(), Refusal> {
    if let Some(value) = headers.get("appid")
        && !value.to_str().is_ok_and(|text| text.trim() == app.as_str())
    {
        return Err(Refusal::new(
            Code::InvalidAppId,
            "The header 'appId' names another app than the credentials.",
        ));
    }
    let host = header_text(headers, header::HOST.as_str()).unwrap_or_default().to_ascii_lowercase();
    let Some((label, _)) = host.split_once('.') else { return Ok(()) };
    if label == app.as_str() {
        return Ok(());
    }
    match api.engine.app(&AppId::trusted(label)).await {
        Ok(_) => Err(Refusal::new(Code::InvalidAppId, "The host names another app than the credentials.")),
        Err(refusal) if refusal.code == Code::AppNotFound => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// Who comes with their own token speaks for nobody else.
fn require_same_user(headers: &HeaderMap, uid: &Uid) -> Result<(), Refusal> {
    match headers.get("onbehalfof") {
        Some(value) if !value.to_str().is_ok_and(|text| text.trim().eq_ignore_ascii_case(uid.as_str())) => {
            Err(no_access("The header 'onBehalfOf' names another user than the auth token."))
        }
        _ => Ok(()),
    }
}

fn identity(parts: &Parts) -> Result<Identity, ApiError> {
    let found = parts.extensions.get::<Identity>().cloned();
    found.ok_or_else(|| Refusal::new(Code::Internal, "Something went wrong on our side.").into())
}

fn no_access(sentence: &str) -> Refusal {
    Refusal::new(Code::NoAccess, sentence)
}

fn scope_too_small() -> ApiError {
    no_access("A key with the scope 'authOnly' may only create users and auth tokens.").into()
}
