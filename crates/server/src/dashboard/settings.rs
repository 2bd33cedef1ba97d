//! An app's keys and settings, and its end.

use askama::Template;
use axum::routing::get;
use chathook_domain::app::{ApiKey, App, KeyScope, Settings};
use chathook_domain::refusal::{Code, Refusal};
use serde_json::{Value, json};

use super::form::{Filled, Form};
use super::moment::Moment;
use super::page::{Answer, Page, Section, Visit, render, render_with};
use super::{ROOT, Routes};
use crate::api::error::status_of;
use crate::api::extract::Ids;

const FIELDS: &[&str] = &[
    "beforeMessageBudgetMs",
    "beforeMessageOnEdit",
    "editsThroughAfterMessage",
    "allowedOrigins",
    "retention.events",
    "retention.attempts",
    "retention.messages",
];
/// What is kept, in days.
const RETENTION: [&str; 3] = ["events", "attempts", "messages"];

pub fn routes() -> Routes {
    Routes::new()
        .route("/apps/{app_id}/settings", get(show_settings).post(update_settings))
        .route("/apps/{app_id}/delete", get(show_delete).post(delete_app))
}

#[derive(Template)]
#[template(path = "dashboard/settings.html")]
struct SettingsPage {
    page: Page,
    app: App,
    created_at: Moment,
    keys: Vec<KeyLine>,
    form: Filled,
}

struct KeyLine {
    id: String,
    name: String,
    key: String,
    may: &'static str,
    created_at: Moment,
}

#[derive(Template)]
#[template(path = "dashboard/app_delete.html")]
struct DeletePage {
    page: Page,
    app: App,
    webhooks: usize,
    form: Filled,
}

async fn show_settings(visit: Visit, Ids(app): Ids<String>) -> Answer {
    let app = visit.app(&app).await?;
    let form = filled(&app.settings);
    settings_page(&visit, &app, form).await
}

async fn update_settings(visit: Visit, Ids(app): Ids<String>, form: Form) -> Answer {
    let app = visit.app(&app).await?;
    let url = format!("{ROOT}/apps/{}/settings", app.id);
    match visit.engine().change_settings(&app.id, &body_of(&form)).await {
        Ok(_) => visit.done(&url, "The settings are saved."),
        Err(refusal) => settings_page(&visit, &app, Filled::refused(&form, refusal)).await,
    }
}

async fn settings_page(visit: &Visit, app: &App, form: Filled) -> Answer {
    let keys = visit.engine().api_keys(&app.id).await?.iter().map(KeyLine::of).collect();
    let page = visit.page_of(app, Section::Settings, Section::Settings.label()).await?;
    let status = form.refusal().map(|refusal| status_of(refusal.code)).unwrap_or_default();
    let created_at = Moment(app.created_at);
    render_with(status, &SettingsPage { page, app: app.clone(), created_at, keys, form })
}

async fn show_delete(visit: Visit, Ids(app): Ids<String>) -> Answer {
    let app = visit.app(&app).await?;
    delete_page(&visit, &app, Filled::default()).await
}

/// The id is typed, because nothing brings an app back.
async fn delete_app(visit: Visit, Ids(app): Ids<String>, form: Form) -> Answer {
    let app = visit.app(&app).await?;
    if form.text("confirm") != app.id.as_str() {
        let refusal = Refusal::field(Code::BadRequest, "confirm", "must be the app's id, as it stands above");
        return delete_page(&visit, &app, Filled::refused(&form, refusal)).await;
    }
    visit.engine().delete_app(&app.id).await?;
    visit.done(ROOT, &format!("The app '{}' is deleted.", app.name))
}

async fn delete_page(visit: &Visit, app: &App, form: Filled) -> Answer {
    let webhooks = visit.engine().webhooks(&app.id).await?.len();
    let page = visit.page_of(app, Section::Settings, "Delete").await?;
    match form.refusal().map(|refusal| status_of(refusal.code)) {
        None => render(&DeletePage { page, app: app.clone(), webhooks, form }),
        Some(status) => render_with(status, &DeletePage { page, app: app.clone(), webhooks, form }),
    }
}

impl KeyLine {
    fn of(key: &ApiKey) -> Self {
        let may = match key.scope {
            KeyScope::FullAccess => "Everything. For your own servers only.",
            KeyScope::AuthOnly => "Create users and auth tokens.",
        };
        let id = format!("key-{}", key.scope.as_str());
        Self { id, name: key.name.clone(), key: key.key.clone(), may, created_at: Moment(key.created_at) }
    }
}

/// What the fields say, as the API would be told.
fn body_of(form: &Form) -> Value {
    let origins = form.text("allowedOrigins").lines().map(str::trim).filter(|origin| !origin.is_empty());
    let days = RETENTION.map(|what| {
        let typed = form.text(&format!("retention.{what}"));
        (what.to_owned(), if typed.is_empty() { Value::Null } else { json!(typed) })
    });
    json!({
        "beforeMessageBudgetMs": form.text("beforeMessageBudgetMs"),
        "beforeMessageOnEdit": form.is_ticked("beforeMessageOnEdit"),
        "editsThroughAfterMessage": form.is_ticked("editsThroughAfterMessage"),
        "allowedOrigins": origins.collect::<Vec<_>>(),
        "retention": Value::Object(days.into_iter().collect()),
    })
}

fn filled(settings: &Settings) -> Filled {
    let budget = settings.before_message_budget_ms.to_string();
    let origins = settings.allowed_origins.join("\n");
    let retention = settings.retention;
    let days = [retention.events, retention.attempts, retention.messages]
        .map(|days| days.map(|days| days.to_string()).unwrap_or_default());
    let mut values = vec![
        ("beforeMessageBudgetMs", &*budget),
        ("allowedOrigins", &*origins),
        ("retention.events", &*days[0]),
        ("retention.attempts", &*days[1]),
        ("retention.messages", &*days[2]),
    ];
    values.extend(settings.before_message_on_edit.then_some(("beforeMessageOnEdit", "on")));
    values.extend(settings.edits_through_after_message.then_some(("editsThroughAfterMessage", "on")));
    Filled::with(&values)
}
