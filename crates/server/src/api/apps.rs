//! Apps and their settings, for who holds the management credentials.

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::app::{ApiKey, App, AppDraft};
use serde_json::{Map, Value, json};

use super::Api;
use super::extract::{Ids, JsonBody, Params, app_id};
use super::lists::{Answer, data, done, page_of, page_request};

pub async fn create_app(State(api): State<Arc<Api>>, JsonBody(body): JsonBody) -> Answer {
    let (app, keys) = api.engine.create_app(AppDraft::parse(&body)?).await?;
    Ok(data(with_keys(&app, &keys)))
}

pub async fn list_apps(State(api): State<Arc<Api>>, params: Params) -> Answer {
    let request = page_request(&params)?;
    let apps = api.engine.apps().await?;
    Ok(page_of(apps.iter().map(to_json).collect(), request))
}

pub async fn get_app(State(api): State<Arc<Api>>, Ids(id): Ids<String>) -> Answer {
    let app = api.engine.app(&app_id(&id)?).await?;
    let keys = api.engine.api_keys(&app.id).await?;
    Ok(data(with_keys(&app, &keys)))
}

pub async fn delete_app(State(api): State<Arc<Api>>, Ids(id): Ids<String>) -> Answer {
    api.engine.delete_app(&app_id(&id)?).await?;
    Ok(done("Deleted App successfully."))
}

pub async fn get_settings(State(api): State<Arc<Api>>, Ids(id): Ids<String>) -> Answer {
    Ok(data(api.engine.app(&app_id(&id)?).await?.settings.to_json()))
}

pub async fn update_settings(
    State(api): State<Arc<Api>>,
    Ids(id): Ids<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    let settings = api.engine.change_settings(&app_id(&id)?, &body).await?;
    Ok(data(settings.to_json()))
}

fn to_json(app: &App) -> Value {
    json!({"id": app.id.as_str(), "name": app.name, "region": app.region, "createdAt": app.created_at.seconds()})
}

fn with_keys(app: &App, keys: &[ApiKey]) -> Value {
    let keys: Map<String, Value> = keys.iter().map(|key| (key.key.clone(), key.to_json())).collect();
    let mut object = to_json(app);
    object["apiKeys"] = Value::Object(keys);
    object
}
