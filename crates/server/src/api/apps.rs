//! Apps and their settings, for who holds the management credentials.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use chathook_domain::app::{ApiKey, App, AppDraft};
use chathook_domain::ids::SYSTEM_UID;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Ids, JsonBody, Params, app_id};
use super::lists::{Answer, Data, Done, PageQuery, Paged, data, done, page_of, page_request};
use super::shapes::hooks::{Settings, SettingsChange};

/// An app to be made.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"name": "Shop", "region": "eu"}))]
pub struct NewApp {
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// `us` (unless set), `eu` or `in`: carried in payloads only.
    #[schema(pattern = "^(us|eu|in)$")]
    pub region: Option<String>,
    /// The version of the published API: 3.
    #[schema(pattern = "^3$")]
    pub version: Option<String>,
    /// Make no sample users and no sample group.
    pub skip_sample_data: Option<bool>,
}

/// An app: a tenant with its own users, groups, messages, webhooks and keys.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = App)]
pub struct AppShown {
    #[schema(example = "dev")]
    id: String,
    name: String,
    region: String,
    created_at: i64,
}

/// An app with its keys, each under its own text.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppWithKeys {
    #[serde(flatten)]
    app: AppShown,
    api_keys: BTreeMap<String, ApiKeyShown>,
}

/// A key of an app for the chat API.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKey)]
pub struct ApiKeyShown {
    api_key: String,
    name: String,
    #[schema(value_type = KeyScopeShown)]
    scope: &'static str,
    created_by: &'static str,
    created_at: i64,
}

/// `fullAccess` may do everything, `authOnly` may create users and auth tokens.
#[derive(ToSchema)]
#[schema(as = KeyScope, rename_all = "camelCase")]
pub enum KeyScopeShown {
    FullAccess,
    AuthOnly,
}

/// Makes an app with its keys
///
/// Unless `skipSampleData` is set it has five sample users and a group.
#[utoipa::path(
    post, path = "/apps", tag = "apps",
    request_body(content = NewApp),
    responses((status = 200, description = "The app with its keys", body = Data<AppWithKeys>)),
)]
pub async fn create_app(State(api): State<Arc<Api>>, JsonBody(body): JsonBody) -> Answer {
    let (app, keys) = api.engine.create_app(AppDraft::parse(&body)?).await?;
    Ok(data(with_keys(&app, &keys)))
}

/// Lists the apps
#[utoipa::path(
    get, path = "/apps", tag = "apps",
    params(PageQuery),
    responses((status = 200, description = "A page of apps", body = Paged<AppShown>)),
)]
pub async fn list_apps(State(api): State<Arc<Api>>, params: Params) -> Answer {
    let request = page_request(&params)?;
    let apps = api.engine.apps().await?;
    Ok(page_of(apps.iter().map(shown).collect(), request))
}

/// Shows an app with its keys
#[utoipa::path(
    get, path = "/apps/{appId}", tag = "apps",
    responses((status = 200, description = "The app with its keys", body = Data<AppWithKeys>)),
)]
pub async fn get_app(State(api): State<Arc<Api>>, Ids(id): Ids<String>) -> Answer {
    let app = api.engine.app(&app_id(&id)?).await?;
    let keys = api.engine.api_keys(&app.id).await?;
    Ok(data(with_keys(&app, &keys)))
}

/// Deletes an app with all that is its own
#[utoipa::path(
    delete, path = "/apps/{appId}", tag = "apps",
    responses((status = 200, description = "Done", body = Data<Done<'static>>)),
)]
pub async fn delete_app(State(api): State<Arc<Api>>, Ids(id): Ids<String>) -> Answer {
    api.engine.delete_app(&app_id(&id)?).await?;
    Ok(done("Deleted App successfully."))
}

/// Shows an app's settings
#[utoipa::path(
    get, path = "/apps/{appId}/settings", tag = "apps",
    responses((status = 200, description = "The settings", body = Data<Settings>)),
)]
pub async fn get_settings(State(api): State<Arc<Api>>, Ids(id): Ids<String>) -> Answer {
    Ok(data(api.engine.app(&app_id(&id)?).await?.settings.to_json()))
}

/// Changes an app's settings
///
/// What is not named stays.
#[utoipa::path(
    put, path = "/apps/{appId}/settings", tag = "apps",
    request_body(content = SettingsChange),
    responses((status = 200, description = "All settings as they are now", body = Data<Settings>)),
)]
pub async fn update_settings(
    State(api): State<Arc<Api>>,
    Ids(id): Ids<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    let settings = api.engine.change_settings(&app_id(&id)?, &body).await?;
    Ok(data(settings.to_json()))
}

fn shown(app: &App) -> AppShown {
    AppShown {
        id: app.id.to_string(),
        name: app.name.clone(),
        region: app.region.clone(),
        created_at: app.created_at.seconds(),
    }
}

fn with_keys(app: &App, keys: &[ApiKey]) -> AppWithKeys {
    let api_keys = keys.iter().map(|key| (key.key.clone(), key_shown(key))).collect();
    AppWithKeys { app: shown(app), api_keys }
}

fn key_shown(key: &ApiKey) -> ApiKeyShown {
    ApiKeyShown {
        api_key: key.key.clone(),
        name: key.name.clone(),
        scope: key.scope.as_str(),
        created_by: SYSTEM_UID,
        created_at: key.created_at.seconds(),
    }
}
