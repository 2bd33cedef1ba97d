//! One delivery: its attempts on a line of time, the request and the answers, and what may be done about it.

use std::borrow::Cow;
use std::fmt::Write as _;

use askama::Template;
use axum::routing::{get, post};
use chathook_domain::delivery::Status;
use chathook_domain::history::DeliveryId;
use chathook_domain::ids::Time;
use chathook_domain::waiting::Waiting;
use chathook_engine::history::ShownRequest;
use chathook_engine::ports::history::{Attempt, DeliveryDetail};
use serde_json::Value;

use super::deliveries::Line;
use super::form::Form;
use super::moment::Moment;
use super::page::{Answer, Flash, Page, Section, Visit, render};
use super::paths::Paths;
use super::told::Told;
use super::waterfall::Waterfall;
use super::{ROOT, Routes};
use crate::api::deliveries::parse_ids;
use crate::api::extract::Ids;

type DeliveryPath = Ids<(String, String, String)>;

pub fn routes() -> Routes {
    let one = "/apps/{app_id}/webhooks/{webhook_id}/deliveries/{id}";
    Routes::new()
        .route(one, get(show_delivery))
        .route(&format!("{one}/retry"), post(retry_delivery))
        .route(&format!("{one}/cancel"), get(show_cancel).post(cancel_delivery))
}

#[derive(Template)]
#[template(path = "dashboard/delivery.html")]
struct DeliveryPage {
    page: Page,
    line: Line,
    event: Option<String>,
    ended_at: Option<Moment>,
    /// When the one that goes before it may go, where that is known.
    probe_at: Option<Moment>,
    replay: Option<Link>,
    attempts: Vec<AttemptLine>,
    request: Option<RequestShown>,
    may: May,
    webhook_url: String,
    health_url: String,
}

/// Asks before what cannot be taken back.
#[derive(Template)]
#[template(path = "dashboard/delivery_cancel.html")]
struct CancelPage {
    page: Page,
    here: String,
    id: String,
    webhook: String,
}

struct Link {
    label: String,
    url: String,
}

/// What a person may do about it.
struct May {
    retry: Option<&'static str>,
    cancel: bool,
}

struct AttemptLine {
    number: u32,
    outcome: String,
    is_success: bool,
    /// What the outcome means, where it is no success.
    told: Option<Told>,
    detail: Option<String>,
    address: Option<String>,
    started_at: Moment,
    waterfall: Waterfall,
    answer: Option<String>,
}

struct RequestShown {
    url: String,
    headers: Vec<(Cow<'static, str>, String)>,
    pretty: String,
    curl: String,
}

async fn show_delivery(visit: Visit, Ids(ids): DeliveryPath) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    let app = visit.app(app.as_str()).await?;
    let detail = visit.engine().delivery(&app.id, &webhook, id).await?;
    let request = visit.engine().delivery_request(&app.id, &webhook, &detail).await?;
    let request = request.zip(detail.body.clone()).map(|(request, body)| RequestShown::of(request, &body));
    let list = format!("{ROOT}/apps/{}/deliveries", app.id);
    let page = visit.page_of(&app, Section::Deliveries, &format!("Delivery {id}")).await?;
    let page = page.under(webhook.as_str(), &format!("{list}?webhook={webhook}"));
    let delivery = &detail.delivery;
    let replay = delivery.replay.map(|job| Link {
        label: format!("replay {job}"),
        url: format!("{ROOT}/apps/{}/webhooks/{webhook}/replays/{job}", app.id),
    });
    render(&DeliveryPage {
        page,
        line: Line::of(&app, &webhook, delivery),
        event: delivery.event.as_ref().map(ToString::to_string),
        ended_at: delivery.ended_at.map(Moment),
        probe_at: delivery.waiting.as_ref().and_then(probe_at).map(Moment),
        replay,
        attempts: attempt_lines(&detail),
        request,
        may: may(delivery.id, delivery.status),
        webhook_url: Paths::of(&app).webhook(webhook.as_str()),
        health_url: Paths::of(&app).health(webhook.as_str()),
    })
}

async fn retry_delivery(visit: Visit, Ids(ids): DeliveryPath, _: Form) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    let place = |id: DeliveryId| format!("{ROOT}/apps/{app}/webhooks/{webhook}/deliveries/{id}");
    match visit.engine().retry_delivery(&app, &webhook, id).await {
        Ok(retried) => visit.done(&place(retried.detail.delivery.id), &retried.sentence()),
        Err(refusal) => visit.leave(&place(id), Flash::bad(refusal.message)),
    }
}

async fn show_cancel(visit: Visit, Ids(ids): DeliveryPath) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    let app = visit.app(app.as_str()).await?;
    visit.engine().delivery(&app.id, &webhook, id).await?;
    let here = format!("{}/deliveries/{id}", Paths::of(&app).webhook(webhook.as_str()));
    let page = visit.page_of(&app, Section::Deliveries, "Cancel").await?;
    let page = page.under(&format!("Delivery {id}"), &here);
    render(&CancelPage { page, here, id: id.to_string(), webhook: webhook.to_string() })
}

async fn cancel_delivery(visit: Visit, Ids(ids): DeliveryPath, _: Form) -> Answer {
    let (app, webhook, id) = parse_ids(&ids)?;
    let place = format!("{ROOT}/apps/{app}/webhooks/{webhook}/deliveries/{id}");
    match visit.engine().cancel_delivery(&app, &webhook, id).await {
        Ok(_) => visit.done(&place, "It is cancelled and will not be sent again."),
        Err(refusal) => visit.leave(&place, Flash::bad(refusal.message)),
    }
}

/// The circuit's next probe, where another goes before it.
fn probe_at(waiting: &Waiting) -> Option<Time> {
    waiting.until().filter(|_| waiting.next_attempt_at().is_none())
}

const fn may(id: DeliveryId, status: Status) -> May {
    match (id, status) {
        (DeliveryId::Test(_), _) | (_, Status::Delivered) => May { retry: None, cancel: false },
        (_, Status::Waiting) => May { retry: Some("Try now"), cancel: true },
        (_, Status::Failed | Status::Cancelled | Status::Expired) => {
            May { retry: Some("Send it again"), cancel: false }
        }
    }
}

/// All on the scale of the longest, the newest first.
fn attempt_lines(detail: &DeliveryDetail) -> Vec<AttemptLine> {
    let scale_us = detail.attempts.iter().map(|attempt| attempt.phases.total_us).max().unwrap_or(0);
    detail.attempts.iter().rev().map(|attempt| AttemptLine::of(attempt, scale_us)).collect()
}

impl AttemptLine {
    fn of(attempt: &Attempt, scale_us: u64) -> Self {
        let is_success = attempt.outcome.len() == 3 && attempt.outcome.starts_with('2');
        Self {
            number: attempt.attempt,
            is_success,
            told: (!is_success).then(|| Told::of(&attempt.outcome)),
            outcome: attempt.outcome.clone(),
            detail: attempt.detail.clone(),
            address: attempt.address.clone(),
            started_at: Moment(attempt.started_at),
            waterfall: Waterfall::of(&attempt.phases, scale_us),
            answer: attempt.kept.clone(),
        }
    }
}

impl RequestShown {
    fn of(request: ShownRequest, body: &str) -> Self {
        let curl = curl(&request, body);
        Self { url: request.url, headers: request.headers, pretty: pretty(body), curl }
    }
}

/// JSON in many lines; what is no JSON as it is.
pub fn pretty(text: &str) -> String {
    let value = serde_json::from_str::<Value>(text);
    value.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_else(|_| text.to_owned())
}

/// A command that sends the same request from a shell. What is masked stands as a variable to be set.
fn curl(request: &ShownRequest, body: &str) -> String {
    let mut command = format!("curl -i {}", quoted(&request.url));
    for (name, value) in &request.headers {
        if name == "authorization" {
            command.push_str(" \\\n  -u \"$WEBHOOK_USER:$WEBHOOK_PASSWORD\"");
        } else {
            write!(command, " \\\n  -H {}", quoted(&format!("{name}: {value}")))
                .expect("a text takes a text");
        }
    }
    write!(command, " \\\n  --data-binary {}", quoted(body)).expect("a text takes a text");
    command
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_survives_quotes_and_holds_no_secret() {
        let request = ShownRequest {
            url: "https://hooks.example.org/in?a=1&b=2".to_owned(),
            headers: vec![
                ("webhook-id".into(), "evt_1".to_owned()),
                ("authorization".into(), "Basic ***".to_owned()),
            ],
        };
        let command = curl(&request, r#"{"text":"it's"}"#);
        let expected = "curl -i 'https://hooks.example.org/in?a=1&b=2' \\\n  -H 'webhook-id: evt_1' \\\n  \
                        -u \"$WEBHOOK_USER:$WEBHOOK_PASSWORD\" \\\n  --data-binary '{\"text\":\"it'\\''s\"}'";
        assert_eq!(command, expected);
    }
}
