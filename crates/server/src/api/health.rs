//! Whether the process lives, and whether it can do its work now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use chathook_domain::refusal::Refusal;
use serde_json::{Value, json};

use super::Api;
use super::lists::{Answer, data};

pub async fn get_health() -> Json<Value> {
    data(json!({"alive": true}))
}

pub async fn get_readiness(State(api): State<Arc<Api>>) -> Answer {
    if api.is_ready.load(Ordering::Acquire) && api.engine.store.is_writable() {
        Ok(data(json!({"ready": true})))
    } else {
        Err(Refusal::unavailable().into())
    }
}
