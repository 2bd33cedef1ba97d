//! Deliveries of an app, newest first and live, page by page: of one webhook, or of all.

use askama::Template;
use axum::routing::get;
use chathook_domain::app::App;
use chathook_domain::delivery::Status;
use chathook_domain::history::{Place, Places};
use chathook_domain::ids::{Key, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::trigger::Trigger;
use chathook_domain::waiting::Waiting;
use chathook_engine::ports::history::{Delivery, DeliveryFilter};

use super::moment::Moment;
use super::page::{Answer, Page, PageParams, Section, Visit, render};
use super::paths::{HookLink, HookPart, Paths};
use super::{ROOT, Routes, span};
use crate::api::deliveries::trigger;
use crate::api::extract::Ids;
use crate::api::lists::strange_cursor;

const PER_PAGE: usize = 50;
/// Each webhook is read for so many before the newest of all are taken, so a page of all is shorter.
const PER_PAGE_OF_ALL: usize = 20;

pub fn routes() -> Routes {
    Routes::new().route("/apps/{app_id}/deliveries", get(list_deliveries))
}

#[derive(Template)]
#[template(path = "dashboard/deliveries.html")]
struct DeliveriesPage {
    page: Page,
    webhooks: Vec<String>,
    statuses: Vec<&'static str>,
    triggers: Vec<&'static str>,
    asked: Asked,
    lines: Vec<Line>,
    /// The pages of the one webhook whose deliveries these are.
    links: Vec<HookLink>,
    first: Option<String>,
    next: Option<String>,
    /// One request looks at so many rows; the list goes on with the next page although this one is short.
    is_partial: bool,
}

/// The filter as the form shows it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub webhook: String,
    pub status: String,
    pub trigger: String,
    pub key: String,
    pub since: String,
    pub until: String,
}

/// A delivery in a list.
pub struct Line {
    pub url: String,
    pub webhook: String,
    pub id: String,
    pub trigger: &'static str,
    pub key: String,
    pub status: &'static str,
    pub tone: &'static str,
    pub attempts: u32,
    pub last_outcome: String,
    pub created_at: Moment,
    pub next_attempt_at: Option<Moment>,
    /// What stands between one that waits and its next attempt.
    pub waits: Option<String>,
    pub is_replay: bool,
}

async fn list_deliveries(visit: Visit, Ids(app): Ids<String>, params: PageParams) -> Answer {
    let app = visit.app(&app).await?;
    let webhooks = visit.engine().webhooks(&app.id).await?;
    let asked = Asked::of(&params);
    let filter = asked.filter()?;
    let base = format!("{ROOT}/apps/{}/deliveries", app.id);
    let (lines, next) = if asked.webhook.is_empty() {
        let from = match params.text("cursor") {
            None => None,
            Some(text) => Some(Places::parse(text).ok_or_else(strange_cursor)?),
        };
        let found = visit.engine().deliveries_of_app(&app.id, filter, from).await?;
        let lines: Vec<_> =
            found.items.iter().map(|(webhook, delivery)| Line::of(&app, webhook, delivery)).collect();
        (lines, found.next.map(|places| places.to_text()))
    } else {
        let from = match params.text("cursor") {
            None => Place::START,
            Some(text) => Place::parse(text).ok_or_else(strange_cursor)?,
        };
        let webhook = WebhookId::parse("webhook", &asked.webhook)?;
        let found = visit.engine().deliveries(&app.id, &webhook, filter, from).await?;
        let lines = found.items.iter().map(|delivery| Line::of(&app, &webhook, delivery)).collect();
        (lines, found.next.map(Place::to_text))
    };
    let query = asked.query();
    let is_partial = next.is_some() && lines.len() < asked.per_page();
    render(&DeliveriesPage {
        page: visit.page_of(&app, Section::Deliveries, Section::Deliveries.label()).await?,
        webhooks: webhooks.iter().map(|webhook| webhook.id.to_string()).collect(),
        statuses: Status::ALL.map(Status::as_str).to_vec(),
        triggers: Trigger::ALL.map(Trigger::id).to_vec(),
        links: webhooks
            .iter()
            .find(|webhook| webhook.id.as_str() == asked.webhook)
            .map(|webhook| Paths::of(&app).hook_links(webhook, HookPart::Deliveries))
            .unwrap_or_default(),
        asked,
        first: params.text("cursor").map(|_| format!("{base}?{query}")),
        next: next.map(|cursor| format!("{base}?{query}&cursor={cursor}")),
        is_partial,
        lines,
    })
}

impl Asked {
    fn of(params: &PageParams) -> Self {
        let text = |name: &str| params.text(name).unwrap_or_default().trim().to_owned();
        Self {
            webhook: text("webhook"),
            status: text("status"),
            trigger: text("trigger"),
            key: text("key"),
            since: text("since"),
            until: text("until"),
        }
    }

    fn filter(&self) -> Result<DeliveryFilter, Refusal> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let status = some(&self.status).map(|text| {
            let complaint = "must be 'waiting', 'delivered', 'failed', 'cancelled' or 'expired'";
            Status::parse(&text).ok_or_else(|| Refusal::field(Code::BadRequest, "status", complaint))
        });
        Ok(DeliveryFilter {
            status: status.transpose()?,
            trigger: some(&self.trigger).map(|text| trigger(&text)).transpose()?,
            key: some(&self.key).map(|text| Key::trusted(&text)),
            since: span::parse("since", &self.since)?,
            until: span::parse("until", &self.until)?,
            limit: self.per_page(),
            look_max: None,
        })
    }

    fn per_page(&self) -> usize {
        if self.webhook.is_empty() { PER_PAGE_OF_ALL } else { PER_PAGE }
    }

    /// Whether anything is left out of the list.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        [&self.webhook, &self.status, &self.trigger, &self.key, &self.since, &self.until]
            .iter()
            .any(|text| !text.is_empty())
    }

    fn query(&self) -> String {
        let fields = [
            ("webhook", &self.webhook),
            ("status", &self.status),
            ("trigger", &self.trigger),
            ("key", &self.key),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let set = fields.into_iter().filter(|(_, text)| !text.is_empty());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(set).finish()
    }
}

impl Line {
    #[must_use]
    pub fn of(app: &App, webhook: &WebhookId, delivery: &Delivery) -> Self {
        Self {
            url: format!("{ROOT}/apps/{}/webhooks/{webhook}/deliveries/{}", app.id, delivery.id),
            webhook: webhook.to_string(),
            id: delivery.id.to_string(),
            trigger: delivery.trigger.map_or("no longer kept", Trigger::id),
            key: delivery.key.as_ref().map(ToString::to_string).unwrap_or_default(),
            status: delivery.status.as_str(),
            tone: tone(delivery.status, delivery.attempts),
            attempts: delivery.attempts,
            last_outcome: delivery.last_outcome.clone().unwrap_or_default(),
            created_at: Moment(delivery.created_at),
            next_attempt_at: delivery.waiting.as_ref().and_then(Waiting::next_attempt_at).map(Moment),
            waits: delivery.waiting.as_ref().map(Waiting::sentence),
            is_replay: delivery.replay.is_some(),
        }
    }
}

/// What colour a status has: one that waits after a failure is on its way to trouble.
#[must_use]
pub const fn tone(status: Status, attempts: u32) -> &'static str {
    match status {
        Status::Waiting if attempts > 0 => "warn",
        Status::Waiting => "accent",
        Status::Delivered => "good",
        Status::Failed | Status::Expired => "bad",
        Status::Cancelled => "plain",
    }
}
