//! The REST API. Handlers turn requests into verbs and results into envelopes; they hold no rules.
//!
//! Imports run downwards: a module may use those above it in this list.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::engine::Engine;
use futures_util::FutureExt;

pub mod error;
pub mod extract;
pub mod lists;
pub mod auth;
pub mod cors;
pub mod management;
mod health;
pub mod metrics;
mod apps;
mod users;
mod groups;
mod messages;
mod receipts;
mod webhooks;
pub mod deliveries;
mod replays;
mod events;
mod test_events;
mod stats;
mod timeline;
mod notices;

pub use error::ApiError;
pub use management::ManagementCredentials;

/// What the handlers share.
pub struct Api {
    pub engine: Arc<Engine>,
    pub management: ManagementCredentials,
    /// What `/readyz` tells, as long as the store can be written.
    pub is_ready: AtomicBool,
    failures: management::Failures,
}

impl Api {
    /// Not ready until [`Self::is_ready`] is set.
    #[must_use]
    pub fn new(engine: Arc<Engine>, management: ManagementCredentials) -> Self {
        Self {
            engine,
            management,
            is_ready: AtomicBool::new(false),
            failures: management::Failures::default(),
        }
    }
}

/// The chat API under `/v3` and `/v3.0`, to be merged. It answers for unknown paths below them, too.
pub fn chat_router(api: Arc<Api>) -> Router {
    let chat = Router::new()
        .merge(user_routes())
        .merge(group_routes())
        .merge(message_routes())
        .route_layer(middleware::from_fn_with_state(api.clone(), auth::authenticate))
        .method_not_allowed_fallback(refuse_method)
        .fallback(refuse_path)
        .layer(middleware::from_fn_with_state(api.clone(), cors::let_pages_in))
        .layer(middleware::from_fn(survive_panics))
        .with_state(api);
    Router::new().nest("/v3", chat.clone()).nest("/v3.0", chat)
}

/// The management API under `/apps`, and `/metrics`, to be merged; [`with_fallbacks`] comes around the whole.
pub fn management_router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/apps", get(apps::list_apps).post(apps::create_app))
        .route("/apps/{app_id}", get(apps::get_app).delete(apps::delete_app))
        .route("/apps/{app_id}/settings", get(apps::get_settings).put(apps::update_settings))
        .merge(webhook_routes())
        .merge(history_routes())
        .route_layer(middleware::from_fn_with_state(api.clone(), management::require_management))
        .route("/metrics", get(metrics::get_metrics))
        .method_not_allowed_fallback(refuse_method)
        .layer(middleware::from_fn(survive_panics))
        .with_state(api)
}

/// `/healthz` and `/readyz`, to be merged.
pub fn health_router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/healthz", get(health::get_health))
        .route("/readyz", get(health::get_readiness))
        .method_not_allowed_fallback(refuse_method)
        .with_state(api)
}

/// A whole door's router, with answers for paths that lead nowhere and methods not taken.
pub fn with_fallbacks(router: Router) -> Router {
    router.method_not_allowed_fallback(refuse_method).fallback(refuse_path)
}

/// The answer for a path that leads nowhere.
pub async fn refuse_path() -> ApiError {
    Refusal::new(Code::ApiNotFound, "There is nothing at this path.").into()
}

/// The answer for a method that a path does not take; the router adds `Allow`.
pub async fn refuse_method() -> ApiError {
    Refusal::new(Code::MethodNotAllowed, "This path does not take this method; see the header 'Allow'.")
        .into()
}

/// A mistake of ours costs its own request and no other.
async fn survive_panics(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        tracing::error!("a handler panicked");
        ApiError::from(Refusal::new(Code::Internal, "Something went wrong on our side.")).into_response()
    })
}

type Routes = Router<Arc<Api>>;

fn user_routes() -> Routes {
    let many = get(users::list_users)
        .post(users::create_user)
        .put(users::reactivate_users)
        .delete(users::deactivate_users);
    let one = get(users::get_user).put(users::update_user).delete(users::delete_user);
    let tokens = get(users::list_tokens).post(users::create_token).delete(users::flush_tokens);
    Router::new()
        .route("/users", many)
        .route("/users/{uid}", one)
        .route("/users/{uid}/auth_tokens", tokens)
        .route("/users/{uid}/auth_tokens/{token}", get(users::get_token).delete(users::delete_token))
        .route("/users/{uid}/messages", get(messages::list_user_messages))
        .route("/users/{uid}/conversation/delivered", post(receipts::mark_user_delivered))
        .route("/users/{uid}/conversation/read", post(receipts::mark_user_read))
}

fn group_routes() -> Routes {
    let one = get(groups::get_group).put(groups::update_group).delete(groups::delete_group);
    Router::new()
        .route("/groups", get(groups::list_groups).post(groups::create_group))
        .route("/groups/{guid}", one)
        .route("/groups/{guid}/members", get(groups::list_members).post(groups::add_members))
        .route("/groups/{guid}/members/{uid}", delete(groups::kick_member))
        .route("/groups/{guid}/messages", get(messages::list_group_messages))
        .route("/groups/{guid}/conversation/delivered", post(receipts::mark_group_delivered))
        .route("/groups/{guid}/conversation/read", post(receipts::mark_group_read))
}

fn message_routes() -> Routes {
    let one = get(messages::get_message).put(messages::edit_message).delete(messages::delete_message);
    Router::new()
        .route("/messages", get(messages::list_messages).post(messages::send_message))
        .route("/messages/{id}", one)
}

fn webhook_routes() -> Routes {
    let one = get(webhooks::get_webhook).put(webhooks::update_webhook).delete(webhooks::delete_webhook);
    let triggers =
        get(webhooks::list_triggers).post(webhooks::add_triggers).delete(webhooks::remove_triggers);
    Router::new()
        .route("/apps/{app_id}/webhooks", get(webhooks::list_webhooks).post(webhooks::create_webhook))
        .route("/apps/{app_id}/webhooks/{webhook_id}", one)
        .route("/apps/{app_id}/webhooks/{webhook_id}/triggers", triggers)
        .route("/apps/{app_id}/webhooks/{webhook_id}/secret/rotate", post(webhooks::rotate_secret))
        .route_layer(middleware::from_fn(webhooks::require_version))
}

/// What happened, and what a person may do about it (design 9).
fn history_routes() -> Routes {
    let deliveries = Router::new()
        .route("/", get(deliveries::list_deliveries))
        .route("/{id}", get(deliveries::get_delivery))
        .route("/{id}/retry", post(deliveries::retry_delivery))
        .route("/{id}/cancel", post(deliveries::cancel_delivery));
    let replays = Router::new()
        .route("/", get(replays::list_replays))
        .route("/{id}", get(replays::get_replay))
        .route("/{id}/cancel", post(replays::cancel_replay));
    let of_webhook = Router::new()
        .nest("/deliveries", deliveries)
        .nest("/replays", replays)
        .route("/replay", post(replays::create_replay))
        .route("/events", get(events::list_events))
        .route("/test", post(test_events::send_test))
        .route("/stats", get(stats::get_stats))
        .route_layer(middleware::from_fn(webhooks::require_version));
    Router::new()
        .nest("/apps/{app_id}/webhooks/{webhook_id}", of_webhook)
        .route("/apps/{app_id}/messages/{id}/timeline", get(timeline::get_timeline))
        .route("/apps/{app_id}/notices", get(notices::list_notices))
}
