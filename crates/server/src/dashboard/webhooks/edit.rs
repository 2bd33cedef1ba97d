//! The form of a webhook, new or changed. Its fields go to the API's own parsers, under the API's names, so
//! that a rule stands in one place and a refusal finds its field.

use askama::Template;
use axum::response::IntoResponse as _;
use chathook_domain::app::App;
use chathook_domain::listener::is_of_listener;
use chathook_domain::refusal::Refusal;
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::{Webhook, parse_trigger_ids};
use serde_json::{Value, json};

use crate::api::error::status_of;
use crate::api::extract::{Ids, webhook_ids};
use crate::dashboard::form::{Filled, Form};
use crate::dashboard::page::{Answer, Flash, Page, Section, Visit, render, render_with};

const FIELDS: &[&str] = &[
    "id",
    "name",
    "webhookURL",
    "triggerIds",
    "useBasicAuth",
    "username",
    "password",
    "enabled",
    "onFailure",
    "timeoutMs",
    "patienceSeconds",
    "retryOnFailure",
];
const ON_FAILURE: &[(&str, &str)] = &[("propagate", "Let the message go on"), ("drop", "Refuse the message")];

#[derive(Template)]
#[template(path = "dashboard/webhooks/edit.html")]
struct EditPage {
    page: Page,
    /// Where the form is sent to.
    to: String,
    /// Where one goes who gives up.
    back: String,
    purpose: Purpose,
    /// Not of a listener, whose URL names its connection.
    has_url: bool,
    form: Filled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    New,
    Change,
}

pub async fn show_new(visit: Visit, Ids(app): Ids<String>) -> Answer {
    let app = visit.app(&app).await?;
    let blank = Filled::with(&[
        ("enabled", "on"),
        ("retryOnFailure", "on"),
        ("onFailure", "propagate"),
        ("timeoutMs", "10000"),
        ("patienceSeconds", "60"),
    ]);
    new_page(&visit, &app, blank).await
}

pub async fn create_webhook(visit: Visit, Ids(app): Ids<String>, form: Form) -> Answer {
    let app = visit.app(&app).await?;
    let mut body = body_of(&form);
    body["id"] = json!(form.text("id"));
    body["enabled"] = json!(form.is_ticked("enabled"));
    let made = async {
        let triggers = triggers_of(&form)?;
        let draft = visit.engine().draft_webhook(&body)?;
        let webhook = visit.engine().create_webhook(&app.id, draft).await?;
        Ok::<_, Refusal>((webhook, triggers))
    };
    let (webhook, triggers) = match made.await {
        Ok(made) => made,
        Err(refusal) => return new_page(&visit, &app, Filled::refused(&form, refusal)).await,
    };
    let listening = set_triggers(&visit, &app, &webhook, &triggers).await;
    let flash = match listening {
        Ok(()) => Flash::good("The webhook is made. Keep its signing secret: it is not shown again."),
        Err(refusal) => Flash::bad(format!("The webhook is made, but without triggers. {}", refusal.message)),
    };
    let secret = webhook.secrets.present.to_text();
    visit.leave(&url_of(&app, &webhook), flash.with_secret("Signing secret", secret))
}

pub async fn show_edit(visit: Visit, Ids((app, id)): Ids<(String, String)>) -> Answer {
    let (app, id) = webhook_ids(&app, &id)?;
    let app = visit.engine().app(&app).await?;
    let webhook = visit.engine().webhook(&app.id, &id).await?;
    let form = filled(&webhook);
    edit_page(&visit, &app, &webhook, form).await
}

pub async fn update_webhook(visit: Visit, Ids((app, id)): Ids<(String, String)>, form: Form) -> Answer {
    let (app, id) = webhook_ids(&app, &id)?;
    let app = visit.engine().app(&app).await?;
    let webhook = visit.engine().webhook(&app.id, &id).await?;
    let mut body = body_of(&form);
    if form.is_ticked("useBasicAuth") && webhook.config.credentials.is_some() {
        // An emptied name is a mistake to be told: left out, the old one would stay.
        body["username"] = json!(form.text("username"));
    }
    if is_of_listener(&webhook.config.url) {
        // The form does not show it.
        body.as_object_mut().expect("an object").remove("webhookURL");
    }
    let changed = async {
        let triggers = triggers_of(&form)?;
        visit.engine().update_webhook(&app.id, &id, &body).await?;
        set_triggers(&visit, &app, &webhook, &triggers).await
    };
    match changed.await {
        Ok(()) => visit.done(&url_of(&app, &webhook), "The webhook is changed."),
        Err(refusal) => edit_page(&visit, &app, &webhook, Filled::refused(&form, refusal)).await,
    }
}

async fn new_page(visit: &Visit, app: &App, form: Filled) -> Answer {
    let page = visit.page_of(app, Section::Webhooks, "New webhook").await?;
    let to = page.section_url(&Section::Webhooks);
    show(EditPage { page, back: to.clone(), to, purpose: Purpose::New, has_url: true, form })
}

async fn edit_page(visit: &Visit, app: &App, webhook: &Webhook, form: Filled) -> Answer {
    let back = url_of(app, webhook);
    let page = visit.page_of(app, Section::Webhooks, "Change").await?.under(&webhook.config.name, &back);
    let has_url = !is_of_listener(&webhook.config.url);
    show(EditPage { page, to: format!("{back}/edit"), back, purpose: Purpose::Change, has_url, form })
}

fn show(edit: EditPage) -> Answer {
    match edit.form.refusal() {
        Some(refusal) => render_with(status_of(refusal.code), &edit),
        None => render(&edit),
    }
    .map(|page| page.into_response())
}

fn url_of(app: &App, webhook: &Webhook) -> String {
    format!("{}/apps/{}/webhooks/{}", crate::dashboard::ROOT, app.id, webhook.id)
}

/// What the fields say, as the API would be told. Credentials count where Basic auth is ticked; a password
/// that is left empty stays what it was, because no page shows it.
fn body_of(form: &Form) -> Value {
    let mut body = json!({
        "name": form.text("name"), "webhookURL": form.text("webhookURL"), "onFailure": form.text("onFailure"),
        "timeoutMs": form.text("timeoutMs"), "useBasicAuth": form.is_ticked("useBasicAuth"),
        "retryOnFailure": form.is_ticked("retryOnFailure"),
    });
    let patience = form.text("patienceSeconds");
    body["patienceSeconds"] =
        patience.parse::<i64>().map_or_else(|_| json!(patience), |seconds| json!(seconds));
    if form.is_ticked("useBasicAuth") {
        for name in ["username", "password"] {
            if !form.text(name).is_empty() {
                body[name] = json!(form.text(name));
            }
        }
    }
    body
}

fn triggers_of(form: &Form) -> Result<Vec<Trigger>, Refusal> {
    let ids: Vec<&str> = form.all("triggerIds").collect();
    if ids.is_empty() { Ok(Vec::new()) } else { parse_trigger_ids(&json!({"triggerIds": ids})) }
}

/// Makes the webhook listen to these and to no other.
async fn set_triggers(
    visit: &Visit,
    app: &App,
    webhook: &Webhook,
    wanted: &[Trigger],
) -> Result<(), Refusal> {
    let without = |all: &[Trigger], some: &[Trigger]| -> Vec<Trigger> {
        all.iter().filter(|trigger| !some.contains(trigger)).copied().collect()
    };
    let (added, removed) = (without(wanted, &webhook.triggers), without(&webhook.triggers, wanted));
    if !added.is_empty() {
        visit.engine().add_triggers(&app.id, &webhook.id, added).await?;
    }
    if !removed.is_empty() {
        visit.engine().remove_triggers(&app.id, &webhook.id, removed).await?;
    }
    Ok(())
}

fn filled(webhook: &Webhook) -> Filled {
    let config = &webhook.config;
    let (timeout, patience) = (config.timeout_ms.to_string(), config.patience.to_json());
    let patience = patience.as_str().map_or_else(|| patience.to_string(), str::to_owned);
    let username = config.credentials.as_ref().map_or("", |credentials| &*credentials.username);
    let mut values = vec![
        ("name", &*config.name),
        ("webhookURL", config.url.as_str()),
        ("username", username),
        ("onFailure", config.on_failure.as_str()),
        ("timeoutMs", &*timeout),
        ("patienceSeconds", &*patience),
    ];
    values.extend(config.use_basic_auth.then_some(("useBasicAuth", "on")));
    values.extend(config.retry_on_failure.then_some(("retryOnFailure", "on")));
    values.extend(webhook.triggers.iter().map(|trigger| ("triggerIds", trigger.id())));
    Filled::with(&values)
}
