//! What a person was told of an app's webhooks (design 6).

use std::sync::Arc;

use axum::extract::State;
use chathook_engine::ports::history::KeptNotice;
use serde_json::{Value, json};

use super::Api;
use super::extract::{Ids, Params, app_id};
use super::lists::{Answer, limit, row_cursor, rows_with_cursor};

pub async fn list_notices(State(api): State<Arc<Api>>, Ids(app): Ids<String>, params: Params) -> Answer {
    let limit = limit(&params)?;
    let notices = api.engine.notices(&app_id(&app)?, row_cursor(&params)?, limit + 1).await?;
    Ok(rows_with_cursor(notices, limit, |notice| notice.row, to_json))
}

fn to_json(notice: &KeptNotice) -> Value {
    json!({
        "id": notice.row.to_string(), "webhook": notice.webhook.as_str(), "kind": notice.kind,
        "text": notice.text, "createdAt": notice.created_at.seconds(),
    })
}
