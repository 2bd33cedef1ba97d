//! Replays of a webhook: a new one for a span of time, and how far each has come.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{get, post};
use chathook_domain::app::App;
use chathook_domain::delivery::Status;
use chathook_domain::ids::WebhookId;
use chathook_domain::refusal::{Complaints, Refusal};
use chathook_domain::replay::{Job, JobStatus, Wanted};
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::Webhook;
use serde_json::{Value, json};

use super::form::{Filled, Form};
use super::moment::Moment;
use super::page::{Answer, Flash, Page, PageError, PageParams, Section, Visit, render, render_with};
use super::paths::{HookLink, HookPart, Paths};
use super::{ROOT, Routes, span};
use crate::api::extract::{Ids, webhook_ids};
use crate::api::lists::row_cursor;
use crate::api::replays::parse_ids;

const PER_PAGE: usize = 50;
const FIELDS: &[&str] = &["since", "until", "status", "triggers"];
/// With an empty value for "whatever became of it".
const STATUSES: &[(&str, &str)] = &[
    ("", "everything, owed before or not"),
    ("failed", "only what failed"),
    ("expired", "only what expired"),
    ("cancelled", "only what was cancelled"),
    ("delivered", "only what was delivered"),
];

pub fn routes() -> Routes {
    let all = "/apps/{app_id}/webhooks/{webhook_id}/replays";
    Routes::new()
        .route(all, get(list_replays).post(create_replay))
        .route(&format!("{all}/{{id}}"), get(show_replay))
        .route(&format!("{all}/{{id}}/cancel"), post(cancel_replay))
}

#[derive(Template)]
#[template(path = "dashboard/replays.html")]
struct ReplaysPage {
    page: Page,
    webhook: String,
    links: Vec<HookLink>,
    form: Filled,
    /// The webhook's triggers whose events are recorded.
    triggers: Vec<&'static str>,
    is_off: bool,
    jobs: Vec<JobLine>,
    first: Option<String>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "dashboard/replay.html")]
struct ReplayPage {
    page: Page,
    job: JobLine,
    deliveries_url: String,
}

struct JobLine {
    id: String,
    url: String,
    status: &'static str,
    tone: &'static str,
    is_running: bool,
    /// `None` of one that sends a single delivery again.
    since: Option<Moment>,
    until: Option<Moment>,
    of: String,
    seen: i64,
    made: i64,
    created_at: Moment,
    ended_at: Option<Moment>,
}

async fn list_replays(visit: Visit, Ids(ids): Ids<(String, String)>, params: PageParams) -> Answer {
    let page = replays_page(&visit, &ids, &params, Filled::default()).await?;
    render(&page)
}

async fn replays_page(
    visit: &Visit,
    (app, webhook): &(String, String),
    params: &PageParams,
    form: Filled,
) -> Result<ReplaysPage, PageError> {
    let (app, webhook) = webhook_ids(app, webhook)?;
    let app = visit.app(app.as_str()).await?;
    let webhook = visit.engine().webhook(&app.id, &webhook).await?;
    let limit = i64::try_from(PER_PAGE + 1).expect("a small number");
    let mut jobs = visit.engine().replays(&app.id, &webhook.id, row_cursor(params)?, limit).await?;
    let has_more = jobs.len() > PER_PAGE;
    jobs.truncate(PER_PAGE);
    let base = format!("{ROOT}/apps/{}/webhooks/{}/replays", app.id, webhook.id);
    let last = jobs.last().filter(|_| has_more).map(|job| job.row);
    Ok(ReplaysPage {
        page: page_of(visit, &app, &webhook.id, "Replay").await?,
        webhook: webhook.id.to_string(),
        links: Paths::of(&app).hook_links(&webhook, HookPart::Replays),
        form: if form.refusal().is_some() { form } else { fresh_form(&webhook) },
        triggers: recorded(&webhook),
        is_off: !webhook.is_on(),
        jobs: jobs.iter().map(|job| JobLine::of(&app, &webhook.id, job)).collect(),
        first: params.text("cursor").map(|_| base.clone()),
        next: last.map(|row| format!("{base}?cursor={row}")),
    })
}

/// All triggers ticked: what is left to say is since when.
fn fresh_form(webhook: &Webhook) -> Filled {
    let ticked: Vec<(&str, &str)> = recorded(webhook).into_iter().map(|id| ("triggers", id)).collect();
    Filled::with(&ticked)
}

fn recorded(webhook: &Webhook) -> Vec<&'static str> {
    let own = webhook.triggers.iter().filter(|trigger| **trigger != Trigger::BeforeMessage);
    own.map(|trigger| trigger.id()).collect()
}

async fn page_of(visit: &Visit, app: &App, webhook: &WebhookId, title: &str) -> Result<Page, PageError> {
    let page = visit.page_of(app, Section::Deliveries, title).await?;
    let list = format!("{ROOT}/apps/{}/deliveries?webhook={webhook}", app.id);
    Ok(page.under(webhook.as_str(), &list))
}

async fn create_replay(
    visit: Visit,
    Ids(ids): Ids<(String, String)>,
    params: PageParams,
    form: Form,
) -> Answer {
    let (app, webhook) = webhook_ids(&ids.0, &ids.1)?;
    let begun = match wanted(&form) {
        Ok(body) => visit.engine().begin_replay(&app, &webhook, &body).await,
        Err(refusal) => Err(refusal),
    };
    match begun {
        Ok(job) => {
            let to = format!("{ROOT}/apps/{app}/webhooks/{webhook}/replays/{}", job.row);
            Ok(Redirect::to(&to).into_response())
        }
        Err(refusal) => {
            let page = replays_page(&visit, &ids, &params, Filled::refused(&form, refusal)).await?;
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

/// The form as the API's body, so that its rules are the API's.
fn wanted(form: &Form) -> Result<Value, Refusal> {
    let mut body = json!({"triggers": form.all("triggers").collect::<Vec<_>>()});
    let mut wrong = Complaints::default();
    for name in ["since", "until"] {
        if let Some(Some(time)) = wrong.of(span::parse(name, form.text(name))) {
            body[name] = json!(time.seconds());
        }
    }
    wrong.end()?;
    if let Some(status) = Some(form.text("status")).filter(|text| !text.is_empty()) {
        body["status"] = json!(status);
    }
    Ok(body)
}

async fn show_replay(visit: Visit, Ids(ids): Ids<(String, String, String)>) -> Answer {
    let (app, webhook, row) = parse_ids(&ids)?;
    let app = visit.app(app.as_str()).await?;
    let job = visit.engine().replay(&app.id, &webhook, row).await?;
    let page = page_of(&visit, &app, &webhook, &format!("Replay {row}")).await?;
    let all = format!("{ROOT}/apps/{}/webhooks/{webhook}/replays", app.id);
    render(&ReplayPage {
        page: page.under("Replays", &all),
        job: JobLine::of(&app, &webhook, &job),
        deliveries_url: format!("{ROOT}/apps/{}/deliveries?webhook={webhook}", app.id),
    })
}

async fn cancel_replay(visit: Visit, Ids(ids): Ids<(String, String, String)>, _: Form) -> Answer {
    let (app, webhook, row) = parse_ids(&ids)?;
    let place = format!("{ROOT}/apps/{app}/webhooks/{webhook}/replays/{row}");
    match visit.engine().cancel_replay(&app, &webhook, row).await {
        Ok(_) => visit.done(&place, "Nothing more is made of it. What was made is delivered."),
        Err(refusal) => visit.leave(&place, Flash::bad(refusal.message)),
    }
}

impl JobLine {
    fn of(app: &App, webhook: &WebhookId, job: &Job) -> Self {
        let (status, tone) = match job.status {
            JobStatus::Running => ("running", "accent"),
            JobStatus::Done => ("done", "good"),
            JobStatus::Cancelled => ("cancelled", "plain"),
        };
        let (since, until, of) = match &job.wanted {
            Wanted::Span { since, until, status, triggers } => {
                let ids: Vec<_> = triggers.iter().map(|trigger| trigger.id()).collect();
                let what = status.map_or("everything", Status::as_str);
                (Some(Moment(*since)), until.map(Moment), format!("{what} of {}", ids.join(", ")))
            }
            Wanted::One { sequence } => (None, None, format!("delivery {sequence}")),
        };
        Self {
            id: job.row.to_string(),
            url: format!("{ROOT}/apps/{}/webhooks/{webhook}/replays/{}", app.id, job.row),
            status,
            tone,
            is_running: job.status == JobStatus::Running,
            since,
            until,
            of,
            seen: job.seen,
            made: job.made,
            created_at: Moment(job.created_at),
            ended_at: job.ended_at.map(Moment),
        }
    }
}
