//! Lets pages of the origins that an app allows call the chat API from browsers (design 7).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chathook_domain::refusal::{Code, Refusal};

use super::Api;
use super::auth::AnsweredFor;
use super::error::ApiError;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
const HEADERS: HeaderValue =
    HeaderValue::from_static("apikey, appId, authToken, onBehalfOf, content-type, accept");
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after");
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Answers preflights, and marks answers that the calling page may read.
pub async fn let_pages_in(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return next.run(request).await;
    };
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight {
        return answer_preflight(&api, origin).await;
    }
    let mut response = next.run(request).await;
    // An answer to a caller whom we do not know can be read where any app allows the page.
    let is_allowed = match response.extensions().get::<AnsweredFor>() {
        Some(AnsweredFor(app)) => origin.to_str().is_ok_and(|text| app.settings.allows_origin(text)),
        None => is_allowed_by_any(&api, &origin).await,
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    if is_allowed {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

/// A preflight carries no key, so any app that allows the page will do; the call itself is judged by its own.
async fn answer_preflight(api: &Api, origin: HeaderValue) -> Response {
    if !is_allowed_by_any(api, &origin).await {
        let refusal = Refusal::new(Code::NoAccess, "No app allows calls from pages of this origin.");
        return ApiError::from(refusal).into_response();
    }
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        (header::VARY, HeaderValue::from_static("origin")),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn is_allowed_by_any(api: &Api, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let apps = api.engine.apps().await.unwrap_or_default();
    apps.iter().any(|app| app.settings.allows_origin(origin))
}
