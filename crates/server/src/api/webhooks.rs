//! Webhooks and their triggers: the eight operations of spec 2.2, and the rotation of the signing secret.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chathook_domain::ids::{AppId, WebhookId};
use chathook_domain::listener::{Keep, Listener};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::signature::Overlap;
use chathook_domain::webhook::{Webhook, WebhookDraft, parse_trigger_ids};
use serde_json::{Map, Value, json};

use super::Api;
use super::error::ApiError;
use super::extract::{Ids, JsonBody, OptionalJsonBody, Params, app_id};
use super::lists::{Answer, data, done, page_of, page_request, search_key};

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

pub async fn create_webhook(
    State(api): State<Arc<Api>>,
    Ids(app): Ids<String>,
    JsonBody(body): JsonBody,
) -> Answer {
    let app = app_id(&app)?;
    api.engine.app(&app).await?;
    let webhook = api.engine.create_webhook(&app, WebhookDraft::parse(&body)?).await?;
    let mut object = webhook.to_json();
    object["signingSecret"] = json!(webhook.secrets.present.to_text());
    Ok(data(object))
}

pub async fn list_webhooks(State(api): State<Arc<Api>>, Ids(app): Ids<String>, params: Params) -> Answer {
    let request = page_request(&params)?;
    let mut webhooks = api.engine.webhooks(&app_id(&app)?).await?;
    if let Some(search) = search_key(&params)? {
        let search = search.to_lowercase();
        webhooks.retain(|webhook| webhook.config.name.to_lowercase().contains(&search));
    }
    Ok(page_of(webhooks.iter().map(|webhook| shown(&api, webhook)).collect(), request))
}

pub async fn get_webhook(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String)>) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    Ok(data(shown(&api, &api.engine.webhook(&app, &id).await?)))
}

pub async fn update_webhook(
    State(api): State<Arc<Api>>,
    Ids(ids): Ids<(String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    Ok(data(shown(&api, &api.engine.update_webhook(&app, &id, &body).await?)))
}

pub async fn rotate_secret(
    State(api): State<Arc<Api>>,
    Ids(ids): Ids<(String, String)>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    api.engine.webhook(&app, &id).await?;
    let secrets = api.engine.rotate_secret(&app, &id, Overlap::parse(&body)?).await?.secrets;
    Ok(data(json!({
        "signingSecret": secrets.present.to_text(),
        "previousValidUntil": secrets.previous.map(|previous| previous.until.seconds()),
    })))
}

pub async fn delete_webhook(State(api): State<Arc<Api>>, Ids(ids): Ids<(String, String)>) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    api.engine.delete_webhook(&app, &id).await?;
    Ok(done("Deleted Webhook successfully."))
}

pub async fn add_triggers(
    State(api): State<Arc<Api>>,
    Ids(ids): Ids<(String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let (app, id) = parse_ids(&ids)?;
    api.engine.webhook(&app, &id).await?;
    let triggers = parse_trigger_ids(&body)?;
    api.engine.add_triggers(&app, &id, triggers.clone()).await?;
    let added = |id: &str| {
        (id.to_owned(), json!({"success": true, "message": "Triggers has been added successfully."}))
    };
    let answer: Map<String, Value> = triggers.iter().map(|trigger| added(trigger.id())).collect();
    Ok(data(Value::Object(answer)))
}

pub async fn list_triggers(
    State(api): State<Arc<Api>>,
    Ids(ids): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let request = page_request(&params)?;
    let (app, id) = parse_ids(&ids)?;
    let webhook = api.engine.webhook(&app, &id).await?;
    let shown = webhook.triggers.iter().map(|t| json!({"id": t.id(), "description": t.description()}));
    Ok(page_of(shown.collect(), request))
}

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

/// A webhook, and of one whose endpoint is a connection whether that is open.
fn shown(api: &Api, webhook: &Webhook) -> Value {
    let mut object = webhook.to_json();
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
