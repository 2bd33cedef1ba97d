//! What describes the server to others: `/openapi.json`, `/asyncapi.json`, and `/docs` for people.
//! All is made once from the code, so that it works offline and is never older than the server.

pub mod openapi;
pub mod asyncapi;
pub mod page;

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;
use axum::routing::get;

static OPENAPI: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());
static ASYNCAPI: LazyLock<String> = LazyLock::new(|| asyncapi::document().to_string());
static PAGE: LazyLock<String> = LazyLock::new(|| page::render(&openapi::document(), &asyncapi::document()));

/// The page has a style of its own and nothing else: no script, no picture, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The documents, to be merged. They are the same for everyone and hold nothing of anyone.
pub fn router() -> Router {
    Router::new()
        .route("/openapi.json", get(async || served("application/json", &OPENAPI)))
        .route("/asyncapi.json", get(async || served("application/json", &ASYNCAPI)))
        .route("/docs", get(async || served("text/html; charset=utf-8", &PAGE)))
        .route("/docs/page.css", get(async || served("text/css; charset=utf-8", include_str!("page.css"))))
}

fn served(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
