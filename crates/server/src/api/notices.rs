//! What a person was told of an app's webhooks (design 6).

use std::sync::Arc;

use axum::extract::State;
use chathook_engine::ports::history::KeptNotice;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Ids, Params, app_id};
use super::lists::{Answer, ListQuery, Listed, limit, row_cursor, rows_with_cursor};

/// What a person should know of a webhook.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Notice)]
pub struct NoticeShown {
    id: String,
    webhook: String,
    /// `failing`, `switching_off_soon`, `switched_off` or `recovered`.
    kind: String,
    text: String,
    created_at: i64,
}

/// Lists what a person should know of an app's webhooks
#[utoipa::path(
    get, path = "/apps/{appId}/notices", tag = "history",
    params(ListQuery),
    responses(
        (status = 200, description = "A part of the notices, the newest first", body = Listed<NoticeShown>)
    ),
)]
pub async fn list_notices(State(api): State<Arc<Api>>, Ids(app): Ids<String>, params: Params) -> Answer {
    let limit = limit(&params)?;
    let notices = api.engine.notices(&app_id(&app)?, row_cursor(&params)?, limit + 1).await?;
    Ok(rows_with_cursor(notices, limit, |notice| notice.row, NoticeShown::of))
}

impl NoticeShown {
    fn of(notice: &KeptNotice) -> Self {
        Self {
            id: notice.row.to_string(),
            webhook: notice.webhook.to_string(),
            kind: notice.kind.clone(),
            text: notice.text.clone(),
            created_at: notice.created_at.seconds(),
        }
    }
}
