//! Replays: jobs that owe a webhook again what happened, or for the first time (design 9).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::ids::{AppId, MessageId, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::replay::Job;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Ids, JsonBody, Params, webhook_ids};
use super::lists::{Answer, Data, ListQuery, Listed, data, limit, row_cursor, rows_with_cursor};
use super::shapes::{hooks, refuses};

/// What is to be owed again, or for the first time: what happened from `since` to before `until`.
#[derive(ToSchema)]
#[schema(example = json!({"since": 1_760_000_000, "triggers": ["after_message"]}))]
pub struct NewReplay {
    /// Seconds since 1970.
    #[schema(minimum = 0, maximum = 253_402_300_799_i64)]
    pub since: i64,
    #[schema(minimum = 0, maximum = 253_402_300_799_i64)]
    pub until: Option<i64>,
    /// Only what ended so the last time it was owed; without it everything, owed before or not.
    pub status: Option<EndedStatus>,
    /// Without it those that the webhook has. `before_message` is asked, not recorded.
    #[schema(max_items = 50)]
    pub triggers: Option<Vec<hooks::Trigger>>,
}

/// How a delivery ended.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum EndedStatus {
    Delivered,
    Failed,
    Cancelled,
    Expired,
}

/// A job that owes events again, with its progress.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// The header `chathook-replay` of its deliveries.
    id: String,
    #[schema(value_type = ReplayStatus)]
    status: &'static str,
    #[schema(value_type = Wanted)]
    wanted: Value,
    /// Events of the span looked at.
    seen: i64,
    /// Deliveries made of them.
    made: i64,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ReplayStatus {
    Running,
    Done,
    Cancelled,
}

/// What the job was asked for: a span, or the one `delivery` that a person tried again.
#[derive(ToSchema)]
pub struct Wanted {
    pub since: Option<i64>,
    pub until: Option<i64>,
    pub status: Option<EndedStatus>,
    pub triggers: Option<Vec<hooks::Trigger>>,
    pub delivery: Option<String>,
}

/// Begins a replay
///
/// A job that makes new deliveries of what happened in a span of time.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks/{webhookId}/replay", tag = "history",
    request_body(content = NewReplay),
    responses((status = 200, description = "The job", body = Data<Replay>)),
    extensions(("x-refusals" = json!(refuses(&[Code::TriggerNotFound, Code::WebhookOff])))),
)]
pub async fn create_replay(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    Ok(data(Replay::of(&api.engine.begin_replay(&app, &webhook, &body).await?)))
}

/// Lists the replays of a webhook
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/replays", tag = "history",
    params(ListQuery),
    responses((status = 200, description = "A part of the jobs, the newest first", body = Listed<Replay>)),
)]
pub async fn list_replays(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let limit = limit(&params)?;
    let jobs = api.engine.replays(&app, &webhook, row_cursor(&params)?, limit + 1).await?;
    Ok(rows_with_cursor(jobs, limit, |job| job.row, Replay::of))
}

/// Shows a replay with its progress
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/replays/{replayId}", tag = "history",
    responses((status = 200, description = "The job", body = Data<Replay>)),
    extensions(("x-refusals" = json!(refuses(&[Code::ReplayNotFound])))),
)]
pub async fn get_replay(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, row) = parse_ids(&ids)?;
    Ok(data(Replay::of(&api.engine.replay(&app, &webhook, row).await?)))
}

/// Makes nothing more of a replay
///
/// What was made of it waits on.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks/{webhookId}/replays/{replayId}/cancel", tag = "history",
    responses((status = 200, description = "The job as it is now", body = Data<Replay>)),
    extensions(("x-refusals" = json!(refuses(&[Code::ReplayNotFound])))),
)]
pub async fn cancel_replay(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, row) = parse_ids(&ids)?;
    Ok(data(Replay::of(&api.engine.cancel_replay(&app, &webhook, row).await?)))
}

impl Replay {
    fn of(job: &Job) -> Self {
        Self {
            id: job.row.to_string(),
            status: job.status.as_str(),
            wanted: job.wanted.to_json(),
            seen: job.seen,
            made: job.made,
            created_at: job.created_at.seconds(),
            ended_at: job.ended_at.map(Time::seconds),
        }
    }
}

pub fn parse_ids((app, webhook, id): &(String, String, String)) -> Result<(AppId, WebhookId, i64), Refusal> {
    let (app, webhook) = webhook_ids(app, webhook)?;
    let row = MessageId::parse(id).ok_or_else(|| {
        Refusal::new(Code::ReplayNotFound, "There is no replay with this id; ids are whole numbers.")
    })?;
    Ok((app, webhook, row.0))
}
