//! An app's keys.

use askama::Template;
use axum::routing::get;
use chathook_domain::app::{ApiKey, KeyScope};

use super::Routes;
use super::moment::Moment;
use super::page::{Answer, Page, Section, Visit, render};
use crate::api::extract::Ids;

pub fn routes() -> Routes {
    Routes::new().route("/apps/{app_id}/settings", get(show_settings))
}

#[derive(Template)]
#[template(path = "dashboard/settings.html")]
struct SettingsPage {
    page: Page,
    keys: Vec<KeyLine>,
}

struct KeyLine {
    id: String,
    name: String,
    key: String,
    may: &'static str,
    created_at: Moment,
}

impl KeyLine {
    fn of(key: &ApiKey) -> Self {
        let may = match key.scope {
            KeyScope::FullAccess => "everything: for your own server only",
            KeyScope::AuthOnly => "create users and auth tokens",
        };
        let id = format!("key-{}", key.scope.as_str());
        Self { id, name: key.name.clone(), key: key.key.clone(), may, created_at: Moment(key.created_at) }
    }
}

async fn show_settings(visit: Visit, Ids(app): Ids<String>) -> Answer {
    let app = visit.app(&app).await?;
    let keys = visit.engine().api_keys(&app.id).await?.iter().map(KeyLine::of).collect();
    render(&SettingsPage { page: visit.page_of(&app, Section::Settings, "Settings").await?, keys })
}
