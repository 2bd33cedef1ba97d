//! Whether the process lives, and whether it can do its work now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use chathook_domain::refusal::{Code, Refusal};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::lists::{Answer, Data, data};
use super::shapes::refuses;

#[derive(Serialize, ToSchema)]
pub struct Health {
    alive: bool,
}

#[derive(Serialize, ToSchema)]
pub struct Readiness {
    ready: bool,
}

/// Says that the process lives
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = 200, description = "It lives", body = Data<Health>)),
)]
pub async fn get_health() -> Json<Value> {
    data(Health { alive: true })
}

/// Says whether the server can do its work now
///
/// It can once it has begun and as long as its store can be written.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, description = "It is ready", body = Data<Readiness>)),
    extensions(("x-refusals" = json!(refuses(&[Code::StoreUnavailable])))),
)]
pub async fn get_readiness(State(api): State<Arc<Api>>) -> Answer {
    if api.is_ready.load(Ordering::Acquire) && api.engine.store.is_writable() {
        Ok(data(Readiness { ready: true }))
    } else {
        Err(Refusal::unavailable().into())
    }
}
