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
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

static OPENAPI: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());
static ASYNCAPI: LazyLock<String> = LazyLock::new(|| asyncapi::document().to_string());
static PAGE: LazyLock<String> = LazyLock::new(|| page::render(&openapi::document(), &asyncapi::document()));

/// The page has a style and a script of its own and nothing else: no picture, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The documents, to be merged at every door. They are the same for everyone and hold nothing of anyone.
pub fn router() -> Router {
    // What the page is made of is no operation of its own.
    Router::from(routes())
        .route("/docs/page.css", get(async || served("text/css; charset=utf-8", include_str!("page.css"))))
        .route(
            "/docs/page.js",
            get(async || served("text/javascript; charset=utf-8", include_str!("page.js"))),
        )
}

/// The routes with their descriptions.
pub fn routes() -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(get_openapi))
        .routes(routes!(get_asyncapi))
        .routes(routes!(get_docs))
}

/// Describes the HTTP API
#[utoipa::path(
    get, path = "/openapi.json", tag = "documents",
    responses((status = 200, description = "This document, OpenAPI 3.1", body = Value)),
)]
async fn get_openapi() -> impl IntoResponse {
    served("application/json", &OPENAPI)
}

/// Describes sockets, listeners and webhooks
#[utoipa::path(
    get, path = "/asyncapi.json", tag = "documents",
    responses((status = 200, description = "The document, AsyncAPI 3.0", body = Value)),
)]
async fn get_asyncapi() -> impl IntoResponse {
    served("application/json", &ASYNCAPI)
}

/// Shows both descriptions to people
#[utoipa::path(
    get, path = "/docs", tag = "documents",
    responses((status = 200, description = "A page that works offline", body = String, content_type = "text/html")),
)]
async fn get_docs() -> impl IntoResponse {
    served("text/html; charset=utf-8", &PAGE)
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
