//! The apps of this server: their list, and a new one.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{get, post};
use chathook_domain::app::{App, AppDraft};
use serde_json::json;

use super::form::{Filled, Form};
use super::moment::Moment;
use super::page::{Answer, AppLink, Page, Section, Visit, render, render_with};
use super::{ROOT, Routes};
use crate::api::extract::Ids;

const FIELDS: &[&str] = &["name", "region"];
const REGIONS: &[(&str, &str)] = &[("us", "us"), ("eu", "eu"), ("in", "in")];

pub fn routes() -> Routes {
    Routes::new()
        .route("/", get(list_apps))
        .route("/apps", post(create_app))
        .route("/apps/new", get(show_new_app))
        .route("/apps/{app_id}", get(show_app))
}

#[derive(Template)]
#[template(path = "dashboard/apps.html")]
struct AppsPage {
    page: Page,
    apps: Vec<Line>,
}

/// An app in the list.
struct Line {
    url: String,
    id: String,
    name: String,
    region: String,
    created_at: Moment,
    webhooks: usize,
    off: usize,
}

#[derive(Template)]
#[template(path = "dashboard/app_new.html")]
struct NewAppPage {
    page: Page,
    form: Filled,
}

async fn list_apps(visit: Visit) -> Answer {
    let mut lines = Vec::new();
    for app in visit.engine().apps().await? {
        let webhooks = visit.engine().webhooks(&app.id).await?;
        let off = webhooks.iter().filter(|webhook| !webhook.is_on()).count();
        lines.push(Line::of(&app, webhooks.len(), off));
    }
    render(&AppsPage { page: visit.page("Apps").await?, apps: lines })
}

impl Line {
    fn of(app: &App, webhooks: usize, off: usize) -> Self {
        Self {
            url: format!("{ROOT}/apps/{}", app.id),
            id: app.id.to_string(),
            name: app.name.clone(),
            region: app.region.clone(),
            created_at: Moment(app.created_at),
            webhooks,
            off,
        }
    }
}

async fn show_new_app(visit: Visit) -> Answer {
    let page = visit.page("New app").await?.under("Apps", ROOT);
    render(&NewAppPage { page, form: Filled::with(&[("region", "us"), ("sampleData", "on")]) })
}

async fn create_app(visit: Visit, form: Form) -> Answer {
    let body = json!({
        "name": form.text("name"), "region": form.text("region"), "skipSampleData": !form.is_ticked("sampleData"),
    });
    let draft = match AppDraft::parse(&body) {
        Ok(draft) => draft,
        Err(refusal) => {
            let page = visit.page("New app").await?.under("Apps", ROOT);
            let form = Filled::refused(&form, refusal);
            return render_with(StatusCode::BAD_REQUEST, &NewAppPage { page, form });
        }
    };
    let (app, _) = visit.engine().create_app(draft).await?;
    let to = format!("{ROOT}/apps/{}/settings", app.id);
    visit.done(&to, "The app is made. Its keys are below.")
}

/// An app's own page is its first section.
async fn show_app(visit: Visit, Ids(id): Ids<String>) -> Answer {
    let app = visit.app(&id).await?;
    let [first, ..] = Section::ALL;
    Ok(Redirect::to(&AppLink::to(&app).section_url(first)).into_response())
}
