//! The webhooks of an app: their list, and the page of one with what can be done about it.

use askama::Template;
use axum::routing::{get, post};
use chathook_domain::delivery::Status;
use chathook_domain::listener::place;
use chathook_domain::retention::HELD_DAYS;
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::{OnFailure, Patience};
use chathook_engine::health::{WebhookHealth, Window};
use chathook_engine::ports::tallies::Standing;

use super::Routes;
use super::figures::NeedLine;
use super::moment::Moment;
use super::page::{Answer, Page, PageError, Section, Visit, render};
use super::paths::{HookLink, HookPart, Paths};
use super::state::State;
use crate::api::extract::{Ids, webhook_ids};

mod edit;
mod deeds;
mod testing;

use testing::TestedView;

pub fn routes() -> Routes {
    let one = Routes::new()
        .route("/", get(show_webhook))
        .route("/edit", get(edit::show_edit).post(edit::update_webhook))
        .route("/test", get(show_webhook).post(testing::send_test))
        .route("/rotate", post(deeds::rotate_secret))
        .route("/enable", post(deeds::enable_webhook))
        .route("/disable", post(deeds::disable_webhook))
        .route("/delete", get(deeds::show_delete).post(deeds::delete_webhook));
    Routes::new()
        .route("/apps/{app_id}/webhooks", get(list_webhooks).post(edit::create_webhook))
        .route("/apps/{app_id}/new-webhook", get(edit::show_new))
        .nest("/apps/{app_id}/webhooks/{webhook_id}", one)
}

#[derive(Template)]
#[template(path = "dashboard/webhooks/list.html")]
struct ListPage {
    page: Page,
    lines: Vec<Line>,
}

struct Line {
    url: String,
    id: String,
    name: String,
    endpoint: String,
    triggers: Vec<&'static str>,
    state: State,
}

#[derive(Template)]
#[template(path = "dashboard/webhooks/show.html")]
struct WebhookPage {
    page: Page,
    here: String,
    links: Vec<HookLink>,
    hook: Shown,
    needs: Vec<NeedLine>,
    waiting: Waiting,
    waiting_url: String,
    triggers: Vec<TriggerLine>,
    tested: Option<TestedView>,
}

/// A webhook as its page tells it.
struct Shown {
    id: String,
    name: String,
    endpoint: String,
    username: Option<String>,
    state: State,
    retries: bool,
    drops_on_failure: bool,
    timeout_ms: i64,
    patience: String,
    previous_secret_until: Option<Moment>,
    created_at: Moment,
    updated_at: Moment,
}

struct TriggerLine {
    id: &'static str,
    description: &'static str,
    is_listened_to: bool,
}

/// What is owed and not delivered yet.
struct Waiting {
    count: u64,
    oldest_at: Option<Moment>,
}

async fn list_webhooks(visit: Visit, Ids(app): Ids<String>) -> Answer {
    let app = visit.app(&app).await?;
    let page = visit.page_of(&app, Section::Webhooks, Section::Webhooks.label()).await?;
    let here = page.section_url(&Section::Webhooks);
    let health = visit.engine().app_health(&app.id, Window::of(1, None)?).await?;
    let line = |health: &WebhookHealth| {
        let webhook = &health.webhook;
        Line {
            url: format!("{here}/{}", webhook.id),
            id: webhook.id.to_string(),
            name: webhook.config.name.clone(),
            endpoint: place(&webhook.config.url).to_owned(),
            triggers: webhook.triggers.iter().map(|trigger| trigger.id()).collect(),
            state: State::of(health),
        }
    };
    render(&ListPage { page, lines: health.webhooks.iter().map(line).collect() })
}

async fn show_webhook(visit: Visit, Ids(ids): Ids<(String, String)>) -> Answer {
    render(&webhook_page(&visit, &ids, None).await?)
}

/// The page of one webhook, after a test with what came of it.
async fn webhook_page(
    visit: &Visit,
    (app, id): &(String, String),
    tested: Option<TestedView>,
) -> Result<WebhookPage, PageError> {
    let (app, id) = webhook_ids(app, id)?;
    let app = visit.engine().app(&app).await?;
    let health = visit.engine().endpoint_health(&app.id, &id, Window::of(1, None)?).await?;
    let webhook = &health.now.webhook;
    let page = visit.page_of(&app, Section::Webhooks, &webhook.config.name).await?;
    let paths = Paths::of(&app);
    let here = format!("{}/{id}", page.section_url(&Section::Webhooks));
    let triggers = Trigger::ALL.into_iter().map(|trigger| TriggerLine {
        id: trigger.id(),
        description: trigger.description(),
        is_listened_to: webhook.triggers.contains(&trigger),
    });
    Ok(WebhookPage {
        page,
        here,
        links: paths.hook_links(webhook, HookPart::About),
        needs: health.needs.iter().map(|need| NeedLine::of(need, &paths)).collect(),
        waiting: Waiting::of(health.now.standing.as_ref()),
        waiting_url: paths.deliveries(id.as_str(), Some(Status::Waiting)),
        triggers: triggers.collect(),
        hook: Shown::of(&health.now),
        tested,
    })
}

impl Shown {
    fn of(health: &WebhookHealth) -> Self {
        let webhook = &health.webhook;
        let config = &webhook.config;
        let username = config.credentials.as_ref().map(|credentials| credentials.username.clone());
        Self {
            id: webhook.id.to_string(),
            name: config.name.clone(),
            endpoint: place(&config.url).to_owned(),
            username: username.filter(|_| config.use_basic_auth),
            state: State::of(health),
            retries: config.retry_on_failure,
            drops_on_failure: config.on_failure == OnFailure::Drop,
            timeout_ms: config.timeout_ms,
            patience: match config.patience {
                Patience::None => "0 s: no order is asked for".to_owned(),
                Patience::Bounded(seconds) => format!("{seconds} s"),
                Patience::Unlimited => "unlimited: the order is strict".to_owned(),
            },
            previous_secret_until: webhook.secrets.previous.as_ref().map(|previous| Moment(previous.until)),
            created_at: Moment(webhook.created_at),
            updated_at: Moment(webhook.updated_at),
        }
    }
}

impl Waiting {
    fn of(standing: Option<&Standing>) -> Self {
        let oldest_at = standing.and_then(|standing| standing.oldest_waiting_at).map(Moment);
        Self { count: standing.map_or(0, |standing| standing.waiting), oldest_at }
    }

    const fn is_nothing(&self) -> bool {
        self.count == 0
    }

    /// "12 deliveries wait", as sentences go on from there.
    fn to_text(&self) -> String {
        match self.count {
            0 => "Nothing waits".to_owned(),
            1 => "1 delivery waits".to_owned(),
            count => format!("{count} deliveries wait"),
        }
    }
}
