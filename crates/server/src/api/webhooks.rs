//! Webhooks and their triggers: the eight operations of spec 2.2, and the rotation of the signing secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chathook_domain::ids::{AppId, WebhookId};
use chathook_domain::listener::{Keep, Listener};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::signature::Overlap;
use chathook_domain::webhook::{self, parse_trigger_ids};
use chathook_engine::condition::Condition;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Api;
use super::error::ApiError;
use super::extract::{Ids, JsonBody, OptionalJsonBody, Params, app_id};
use super::lists::{
    Answer, Data, Done, NameQuery, PageQuery, Paged, data, done, page_of, page_request, search_key,
};
use super::shapes::hooks::{self, NewWebhook, Trigger, Webhook, WebhookChange};
use super::shapes::refuses;

/// A webhook that was made, with the secret that signs its requests.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedWebhook {
    #[serde(flatten)]
    #[schema(value_type = Webhook)]
    webhook: Value,
    signing_secret: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"overlapSeconds": 3600}))]
pub struct Rotation {
    /// How long the secret before goes on signing; a day unless given.
    #[schema(minimum = 0, maximum = 604_800)]
    pub overlap_seconds: Option<i64>,
}

/// The new signing secret, and until when the one before signs as well.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotated {
    signing_secret: String,
    #[schema(required)]
    previous_valid_until: Option<i64>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"triggerIds": ["after_message"]}))]
pub struct TriggerIds {
    #[schema(min_items = 1, max_items = 50)]
    pub trigger_ids: Vec<Trigger>,
}

/// What became of each trigger, by its id.
#[derive(Serialize, ToSchema)]
pub struct TriggersAdded(BTreeMap<&'static str, Done<'static>>);

/// A kind of thing that a webhook listens to.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTrigger)]
pub struct TriggerShown {
    #[schema(value_type = hooks::Trigger)]
    id: &'static str,
    description: &'static str,
}

/// Webhooks of version 1 are the legacy ones, which are all there is.
pub async fn require_version(request: Request, next: Next) -> Response {
    let version =
        request.headers().get("x-webhook-version").map(|value| value.to_str().unwrap_or_default().trim());
    let refusal = match version {
        None | Some("1") => return next.run(request).await,
        Some("2") => Refusal::new(
            Code::WebhookVersionUnsupported,
            "This server has no webhooks of version 2 yet. Leave the header 'X-Webhook-Version' out.",
        ),
        Some(_) => Refusal::field(Code::BadRequest, "X-Webhook-Version", "must be 1 or left out"),
    };
    ApiError::from(refusal).into_response()
}

/// Makes a webhook
///
/// The answer alone shows the signing secret. The webhook listens to nothing until triggers are added. A
/// URL whose literal address is not public is refused.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks", tag = "webhooks",
    request_body(content = NewWebhook),
    responses(
        (status = 200, description = "The webhook with its signing secret", body = Data<CreatedWebhook>)
    ),
    extensions(("x-refusals" = json!(refuses(&[Code::WebhookAlreadyExists, Code::WebhookLimit])))),
)]
pub async fn create_webhook(
    State(api): State<Arc<Api>>,
    Ids(app): Ids<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    let app = app_id(&app)?;
    api.engine.app(&app).await?;
    let webhook = api.engine.create_webhook(&app, api.engine.draft_webhook(&body)?).await?;
    let signing_secret = webhook.secrets.present.to_text();
    Ok(data(CreatedWebhook { webhook: shown_now(&api, &app, &webhook).await?, signing_secret }))
}

/// Lists the webhooks of an app
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks", tag = "webhooks",
    params(PageQuery, NameQuery),
    responses((status = 200, description = "A page of webhooks", body = Paged<Webhook>)),
)]
pub async fn list_webhooks(State(api): State<Arc<Api>>, Ids(app): Ids<String>, params: Params) -> Answer {
    let request = page_request(&params)?;
    let app = app_id(&app)?;
    let mut webhooks = api.engine.webhooks(&app).await?;
    if let Some(search) = search_key(&params)? {
        let search = search.to_lowercase();
        webhooks.retain(|webhook| webhook.config.name.to_lowercase().contains(&search));
    }
    let conditions = api.engine.conditions(&app, &webhooks).await?;
    let items = webhooks.iter().zip(conditions).map(|(webhook, condition)| shown(&api, webhook, condition));
    Ok(page_of(items.collect(), request))
}

/// Shows a webhook
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}", tag = "webhooks",
    responses((status = 200, description = "The webhook", body = Data<Webhook>)),
)]
pub async fn get_webhook(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String)>) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    let webhook = api.engine.webhook(&app, &id).await?;
    Ok(data(shown_now(&api, &app, &webhook).await?))
}

/// Changes a webhook
///
/// What is not named stays. The next attempt of every delivery uses the new configuration.
#[utoipa::path(
    put, path = "/apps/{appId}/webhooks/{webhookId}", tag = "webhooks",
    request_body(content = WebhookChange),
    responses((status = 200, description = "The webhook as changed", body = Data<Webhook>)),
)]
pub async fn update_webhook(
    State(api): State<Arc<Api>>,
    Ids(ids): Ids<(String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    let webhook = api.engine.update_webhook(&app, &id, &body).await?;
    Ok(data(shown_now(&api, &app, &webhook).await?))
}

/// Gives a webhook another signing secret
///
/// The one before signs as well until the overlap is over.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks/{webhookId}/secret/rotate", tag = "webhooks",
    request_body(content = Option<Rotation>),
    responses((status = 200, description = "The new secret, shown here alone", body = Data<Rotated>)),
)]
pub async fn rotate_secret(
    State(api): State<Arc<Api>>,
    Ids(ids): Ids<(String, String)>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    api.engine.webhook(&app, &id).await?;
    let secrets = api.engine.rotate_secret(&app, &id, Overlap::parse(&body)?).await?.secrets;
    Ok(data(Rotated {
        signing_secret: secrets.present.to_text(),
        previous_valid_until: secrets.previous.map(|previous| previous.until.seconds()),
    }))
}

/// Deletes a webhook with all that waits for it
#[utoipa::path(
    delete, path = "/apps/{appId}/webhooks/{webhookId}", tag = "webhooks",
    responses((status = 200, description = "Done", body = Data<Done<'static>>)),
)]
pub async fn delete_webhook(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String)>) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    api.engine.delete_webhook(&app, &id).await?;
    Ok(done("Deleted Webhook successfully."))
}

/// Adds triggers to a webhook
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks/{webhookId}/triggers", tag = "webhooks",
    request_body(content = TriggerIds),
    responses((status = 200, description = "What became of each", body = Data<TriggersAdded>)),
    extensions(("x-refusals" = json!(refuses(&[Code::TriggerNotFound])))),
)]
pub async fn add_triggers(
    State(api): State<Arc<Api>>,
    Ids(ids): Ids<(String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    api.engine.webhook(&app, &id).await?;
    let triggers = parse_trigger_ids(&body)?;
    api.engine.add_triggers(&app, &id, triggers.clone()).await?;
    let added = |id| (id, Done::that("Triggers has been added successfully."));
    Ok(data(TriggersAdded(triggers.iter().map(|trigger| added(trigger.id())).collect())))
}

/// Lists the triggers of a webhook
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/triggers", tag = "webhooks",
    params(PageQuery),
    responses((status = 200, description = "A page of triggers", body = Paged<TriggerShown>)),
)]
pub async fn list_triggers(
    State(api): State<Arc<Api>>,
    Ids(ids): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let request = page_request(&params)?;
    let (app, id) = parse_ids(&ids)?;
    let webhook = api.engine.webhook(&app, &id).await?;
    let shown = webhook.triggers.iter().map(|t| TriggerShown { id: t.id(), description: t.description() });
    Ok(page_of(shown.collect(), request))
}

/// Takes triggers from a webhook
#[utoipa::path(
    delete, path = "/apps/{appId}/webhooks/{webhookId}/triggers", tag = "webhooks",
    request_body(content = TriggerIds),
    responses((status = 200, description = "Done", body = Data<Done<'static>>)),
    extensions(("x-refusals" = json!(refuses(&[Code::TriggerNotFound])))),
)]
pub async fn remove_triggers(
    State(api): State<Arc<Api>>,
    Ids(ids): Ids<(String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    api.engine.webhook(&app, &id).await?;
    api.engine.remove_triggers(&app, &id, parse_trigger_ids(&body)?).await?;
    Ok(done("Removed trigger successfully."))
}

async fn shown_now(api: &Api, app: &AppId, webhook: &webhook::Webhook) -> Result<Value, Refusal> {
    Ok(shown(api, webhook, api.engine.condition(app, webhook).await?))
}

/// A webhook, how it stands, and of one whose endpoint is a connection whether that is open.
fn shown(api: &Api, webhook: &webhook::Webhook, condition: Condition) -> Value {
    let mut object = webhook.to_json();
    object["state"] = json!(condition.as_str());
    if let Some(listener) = Listener::of(&webhook.config.url) {
        let is_kept = listener.keep == Keep::Kept;
        object["listener"] =
            json!({"connected": api.engine.endpoints.is_listening(&listener), "kept": is_kept});
    }
    object
}

fn parse_ids((app, id): &(String, String)) -> Result<(AppId, WebhookId), Refusal> {
    Ok((app_id(app)?, WebhookId::parse("webhookId", id)?))
}
