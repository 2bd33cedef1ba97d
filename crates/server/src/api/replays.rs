//! Replays: jobs that owe a webhook again what happened, or for the first time (design 9).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::ids::{AppId, MessageId, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::replay::Job;
use serde_json::{Value, json};

use super::Api;
use super::extract::{Ids, JsonBody, Params, webhook_ids};
use super::lists::{Answer, data, limit, row_cursor, rows_with_cursor};

pub async fn create_replay(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    Ok(data(to_json(&api.engine.begin_replay(&app, &webhook, &body).await?)))
}

pub async fn list_replays(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let limit = limit(&params)?;
    let jobs = api.engine.replays(&app, &webhook, row_cursor(&params)?, limit + 1).await?;
    Ok(rows_with_cursor(jobs, limit, |job| job.row, to_json))
}

pub async fn get_replay(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, row) = parse_ids(&ids)?;
    Ok(data(to_json(&api.engine.replay(&app, &webhook, row).await?)))
}

pub async fn cancel_replay(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, row) = parse_ids(&ids)?;
    Ok(data(to_json(&api.engine.cancel_replay(&app, &webhook, row).await?)))
}

fn to_json(job: &Job) -> Value {
    let mut object = json!({
        "id": job.row.to_string(), "status": job.status.as_str(), "wanted": job.wanted.to_json(),
        "seen": job.seen, "made": job.made, "createdAt": job.created_at.seconds(),
    });
    if let Some(at) = job.ended_at {
        object["endedAt"] = json!(at.seconds());
    }
    object
}

pub fn parse_ids((app, webhook, id): &(String, String, String)) -> Result<(AppId, WebhookId, i64), Refusal> {
    let (app, webhook) = webhook_ids(app, webhook)?;
    let row = MessageId::parse(id).ok_or_else(|| {
        Refusal::new(Code::ReplayNotFound, "There is no replay with this id; ids are whole numbers.")
    })?;
    Ok((app, webhook, row.0))
}
