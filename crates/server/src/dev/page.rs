//! The try-it page and the few calls it makes besides the ordinary ones: configuration, a fresh
//! token, the live webhooks, and what the inbox answers. Also the guard that keeps `dev` local.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::feed;
use super::inbox::{Inbox, Mode};
use crate::doors::Stopped;

/// Scripts and styles from here only. The sockets are named because older browsers do not count
/// `ws:` as `'self'`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self' ws://localhost:* ws://127.0.0.1:*; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Makes a new auth token for a user, or says in a sentence why not.
pub type Login = Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// A sample user whom the page can be.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DevUser {
    pub uid: String,
    pub name: String,
    pub auth_token: String,
}

/// What the page is served from.
#[derive(Clone)]
pub struct DevState {
    pub inbox: Arc<Inbox>,
    pub app_id: String,
    pub users: Vec<DevUser>,
    pub login: Login,
}

/// The page and its calls. Put `only_local` around it and the rest of the server.
pub fn router(state: DevState) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/dev/tokens.css", get(async || style(include_str!("../../assets/tokens.css"))))
        .route("/dev/page.css", get(async || style(include_str!("assets/page.css"))))
        .route("/dev/page.js", get(async || script(include_str!("assets/page.js"))))
        .route("/dev/chat.js", get(async || script(include_str!("assets/chat.js"))))
        .route("/dev/dom.js", get(async || script(include_str!("assets/dom.js"))))
        .route("/dev/inbox.js", get(async || script(include_str!("assets/inbox.js"))))
        .route("/dev/config", get(get_config))
        .route("/dev/login", post(login_user))
        .route("/dev/webhooks", get(list_webhooks))
        .route("/dev/before-message", get(get_before_message).put(update_before_message))
        .layer(middleware::map_response(with_page_headers))
        .with_state(state)
}

/// Lets in what this machine's own browser and tools send. A site elsewhere whose name was made to
/// point at loopback is told apart by Host; a page elsewhere that calls us, by Origin.
pub async fn only_local(request: Request, next: Next) -> Response {
    if is_local_request(&request) {
        return next.run(request).await;
    }
    refuse(
        StatusCode::FORBIDDEN,
        "AUTH_ERR_NO_ACCESS",
        "chathook dev answers only to localhost, 127.0.0.1 and [::1].",
    )
}

fn is_local_request(request: &Request) -> bool {
    let headers = request.headers();
    let target = request.uri().authority();
    is_single(headers, header::HOST)
        && value(headers, header::HOST).is_some_and(is_local_authority)
        && target.is_none_or(|authority| is_local_authority(authority.as_str()))
        && is_origin_local(headers)
}

fn is_origin_local(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let origin = value(headers, header::ORIGIN).unwrap_or("");
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    is_single(headers, header::ORIGIN) && authority.is_some_and(is_local_authority)
}

fn is_single(headers: &HeaderMap, name: header::HeaderName) -> bool {
    headers.get_all(name).iter().count() == 1
}

fn value(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn is_local_authority(authority: &str) -> bool {
    let is_port = |rest: &str| {
        rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()) || rest.is_empty()
    };
    let lower = authority.to_ascii_lowercase();
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| lower.strip_prefix(name).is_some_and(is_port))
}

/// The spec's error envelope (4.2).
fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let error = json!({
        "error": {"message": message, "devMessage": message, "source": "chat-api", "code": code}
    });
    (status, Json(error)).into_response()
}

async fn with_page_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

async fn page() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("assets/page.html"))
}

fn style(source: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], source)
}

fn script(source: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], source)
}

async fn get_config(State(state): State<DevState>) -> Json<Value> {
    Json(json!({
        "appId": state.app_id,
        "inbox": {"url": state.inbox.url()},
        "users": state.users,
    }))
}

#[derive(Deserialize)]
struct LoginRequest {
    uid: String,
}

async fn login_user(
    State(state): State<DevState>,
    body: Result<Json<LoginRequest>, JsonRejection>,
) -> Response {
    let Ok(Json(LoginRequest { uid })) = body else {
        return refuse(StatusCode::BAD_REQUEST, "ERR_BAD_REQUEST", "Send {\"uid\": a user's uid}.");
    };
    match (state.login)(uid).await {
        Ok(auth_token) => Json(json!({"authToken": auth_token})).into_response(),
        Err(reason) => refuse(StatusCode::BAD_REQUEST, "ERR_BAD_REQUEST", &reason),
    }
}

async fn list_webhooks(
    State(state): State<DevState>,
    Extension(stopped): Extension<Stopped>,
) -> impl IntoResponse {
    feed::webhooks(&state.inbox, stopped)
}

#[derive(Serialize, Deserialize)]
struct BeforeMessage {
    mode: Mode,
}

async fn get_before_message(State(state): State<DevState>) -> Json<BeforeMessage> {
    Json(BeforeMessage { mode: state.inbox.mode() })
}

async fn update_before_message(
    State(state): State<DevState>,
    body: Result<Json<BeforeMessage>, JsonRejection>,
) -> Response {
    let Ok(Json(wanted)) = body else {
        let cure = "mode must be one of pass, inject, drop, replace, hang and error.";
        return refuse(StatusCode::BAD_REQUEST, "ERR_BAD_REQUEST", cure);
    };
    state.inbox.set_mode(wanted.mode);
    Json(wanted).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(host: &str, origin: Option<&str>) -> bool {
        let mut request = axum::http::Request::builder().uri("/").header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        is_local_request(&request.body(axum::body::Body::empty()).expect("a request"))
    }

    #[test]
    fn this_machine_is_let_in_by_each_of_its_names() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"] {
            assert!(is_let_in(host, None), "{host}");
            assert!(is_let_in(host, Some("http://localhost:3000")), "{host}");
        }
    }

    #[test]
    fn names_that_only_look_local_are_kept_out() {
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "localhost:",
            "localhost:80@evil.org",
            "127.0.0.1.nip.io",
            "127.0.0.2",
            "[::1",
            "::1",
            "0.0.0.0",
        ] {
            assert!(!is_let_in(host, None), "{host}");
        }
        for origin in ["null", "http://evil.org", "file://localhost", "http://localhost.evil.org"] {
            assert!(!is_let_in("localhost", Some(origin)), "{origin}");
        }
    }
}
