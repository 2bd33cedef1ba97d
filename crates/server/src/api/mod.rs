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
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::engine::Engine;
use futures_util::FutureExt;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub mod error;
pub mod extract;
pub mod shapes;
pub mod lists;
pub mod auth;
pub mod cors;
pub mod management;
pub mod health;
pub mod metrics;
pub mod apps;
pub mod users;
pub mod groups;
pub mod messages;
pub mod receipts;
pub mod webhooks;
pub mod deliveries;
pub mod replays;
pub mod events;
pub mod test_events;
pub mod stats;
pub mod series;
pub mod calls;
pub mod timeline;
pub mod notices;

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
    let chat = Router::from(chat_routes())
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
    Router::from(management_routes())
        .route_layer(middleware::from_fn_with_state(api.clone(), management::require_management))
        .merge(Router::from(metrics_routes()))
        .method_not_allowed_fallback(refuse_method)
        .layer(middleware::from_fn(survive_panics))
        .with_state(api)
}

/// `/healthz` and `/readyz`, to be merged.
pub fn health_router(api: Arc<Api>) -> Router {
    Router::from(health_routes()).method_not_allowed_fallback(refuse_method).with_state(api)
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
pub async fn survive_panics(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        tracing::error!("a handler panicked");
        ApiError::from(Refusal::new(Code::Internal, "Something went wrong on our side.")).into_response()
    })
}

/// Routes with their description: what is routed is in the document, and what is in it is routed.
pub type Routes = OpenApiRouter<Arc<Api>>;

pub fn chat_routes() -> Routes {
    Routes::default().merge(user_routes()).merge(group_routes()).merge(message_routes())
}

pub fn management_routes() -> Routes {
    let of_webhooks = webhook_routes().merge(history_of_webhook_routes());
    Routes::default()
        .routes(routes!(apps::list_apps, apps::create_app))
        .routes(routes!(apps::get_app, apps::delete_app))
        .routes(routes!(apps::get_settings, apps::update_settings))
        .routes(routes!(timeline::get_timeline))
        .routes(routes!(notices::list_notices))
        .routes(routes!(series::get_app_stats))
        .merge(of_webhooks.route_layer(middleware::from_fn(webhooks::require_version)))
}

pub fn metrics_routes() -> Routes {
    Routes::default().routes(routes!(metrics::get_metrics))
}

pub fn health_routes() -> Routes {
    Routes::default().routes(routes!(health::get_health)).routes(routes!(health::get_readiness))
}

fn user_routes() -> Routes {
    Routes::default()
        .routes(routes!(
            users::list_users,
            users::create_user,
            users::reactivate_users,
            users::deactivate_users
        ))
        .routes(routes!(users::get_user, users::update_user, users::delete_user))
        .routes(routes!(users::list_tokens, users::create_token, users::flush_tokens))
        .routes(routes!(users::get_token, users::delete_token))
        .routes(routes!(messages::list_user_messages))
        .routes(routes!(receipts::mark_user_delivered))
        .routes(routes!(receipts::mark_user_read))
}

fn group_routes() -> Routes {
    Routes::default()
        .routes(routes!(groups::list_groups, groups::create_group))
        .routes(routes!(groups::get_group, groups::update_group, groups::delete_group))
        .routes(routes!(groups::list_members, groups::add_members))
        .routes(routes!(groups::kick_member))
        .routes(routes!(messages::list_group_messages))
        .routes(routes!(receipts::mark_group_delivered))
        .routes(routes!(receipts::mark_group_read))
}

fn message_routes() -> Routes {
    Routes::default().routes(routes!(messages::list_messages, messages::send_message)).routes(routes!(
        messages::get_message,
        messages::edit_message,
        messages::delete_message
    ))
}

fn webhook_routes() -> Routes {
    Routes::default()
        .routes(routes!(webhooks::list_webhooks, webhooks::create_webhook))
        .routes(routes!(webhooks::get_webhook, webhooks::update_webhook, webhooks::delete_webhook))
        .routes(routes!(webhooks::list_triggers, webhooks::add_triggers, webhooks::remove_triggers))
        .routes(routes!(webhooks::rotate_secret))
}

/// What happened, and what a person may do about it (design 9).
fn history_of_webhook_routes() -> Routes {
    Routes::default()
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::get_delivery))
        .routes(routes!(deliveries::retry_delivery))
        .routes(routes!(deliveries::cancel_delivery))
        .routes(routes!(replays::list_replays))
        .routes(routes!(replays::create_replay))
        .routes(routes!(replays::get_replay))
        .routes(routes!(replays::cancel_replay))
        .routes(routes!(events::list_events))
        .routes(routes!(test_events::send_test))
        .routes(routes!(calls::list_calls))
        .routes(routes!(stats::get_stats))
        .routes(routes!(series::get_endpoint_health))
        .routes(routes!(series::list_circuit_history))
}
