//! Calls of `before_message`: how they went of late, and each with its verdict, its time, and what it did.

use askama::Template;
use axum::routing::get;
use chathook_domain::ids::WebhookId;
use chathook_domain::stats::Percentiles;
use chathook_domain::trigger::Trigger;
use chathook_domain::verdict::Effect;
use chathook_engine::ports::history::{AskedCall, Figures};

use super::moment::Moment;
use super::page::{Answer, Page, PageParams, Section, Visit, render};
use super::span::micros;
use super::{ROOT, Routes};
use crate::api::calls::filter;
use crate::api::extract::Ids;
use crate::api::lists::row_cursor;

const PER_PAGE: i64 = 50;
/// The span of the figures.
const MINUTES: i64 = 60;
const VERDICTS: &[(&str, &str)] = &[
    ("", "any"),
    ("pass", "pass"),
    ("inject", "inject"),
    ("replace", "replace"),
    ("drop", "drop"),
    ("silent", "no usable answer"),
];

pub fn routes() -> Routes {
    Routes::new().route("/apps/{app_id}/before-message", get(list_calls))
}

#[derive(Template)]
#[template(path = "dashboard/calls.html")]
struct CallsPage {
    page: Page,
    /// Those that listen, and those that did and still have calls in the record.
    webhooks: Vec<String>,
    webhook: String,
    verdict: String,
    verdicts: &'static [(&'static str, &'static str)],
    figures: Option<FiguresShown>,
    calls: Vec<CallLine>,
    first: Option<String>,
    next: Option<String>,
}

struct FiguresShown {
    verdicts: Vec<(String, u64)>,
    silences: Vec<(String, u64)>,
    took: Option<[String; 3]>,
    is_cut: bool,
}

struct CallLine {
    at: Moment,
    verdict: String,
    tone: &'static str,
    silence: Option<String>,
    did: String,
    took: String,
    sender: String,
    conversation: String,
}

async fn list_calls(visit: Visit, Ids(app): Ids<String>, params: PageParams) -> Answer {
    let app = visit.app(&app).await?;
    let all = visit.engine().webhooks(&app.id).await?;
    let webhooks: Vec<String> = all
        .iter()
        .filter(|webhook| webhook.triggers.contains(&Trigger::BeforeMessage))
        .map(|webhook| webhook.id.to_string())
        .collect();
    let webhook = params.text("webhook").map(str::to_owned).or_else(|| webhooks.first().cloned());
    let page = visit.page_of(&app, Section::BeforeMessage, Section::BeforeMessage.label()).await?;
    let mut shown = CallsPage {
        page,
        webhooks,
        webhook: webhook.clone().unwrap_or_default(),
        verdict: params.text("verdict").unwrap_or_default().to_owned(),
        verdicts: VERDICTS,
        figures: None,
        calls: Vec::new(),
        first: None,
        next: None,
    };
    if let Some(webhook) = webhook {
        let id = WebhookId::parse("webhook", &webhook)?;
        let found =
            visit.engine().calls(&app.id, &id, filter(&params, PER_PAGE)?, row_cursor(&params)?).await?;
        let (figures, _) = visit.engine().figures(&app.id, &id, MINUTES).await?;
        shown.figures = Some(FiguresShown::of(figures));
        shown.calls = found.calls.iter().map(CallLine::of).collect();
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("webhook", &webhook), ("verdict", &shown.verdict)])
            .finish();
        let base = format!("{ROOT}/apps/{}/before-message?{query}", app.id);
        shown.first = params.text("cursor").map(|_| base.clone());
        shown.next = found.next.map(|row| format!("{base}&cursor={row}"));
        if !shown.webhooks.contains(&webhook) {
            shown.webhooks.push(webhook);
        }
    }
    render(&shown)
}

impl FiguresShown {
    fn of(figures: Figures) -> Self {
        Self {
            verdicts: figures.verdicts.into_iter().collect(),
            silences: figures.silences.into_iter().collect(),
            took: Percentiles::of(figures.asked_us).map(|p| [p.p50, p.p90, p.p99].map(micros)),
            is_cut: figures.is_cut,
        }
    }
}

impl CallLine {
    fn of(call: &AskedCall) -> Self {
        let tone = match (call.verdict.as_str(), &call.silence) {
            ("drop", _) => "bad",
            (_, Some(_)) => "warn",
            ("inject" | "replace", None) => "accent",
            _ => "good",
        };
        Self {
            at: Moment(call.at),
            verdict: call.verdict.clone(),
            tone,
            silence: call.silence.clone(),
            did: did(call.effect.as_ref(), &call.verdict, call.silence.is_some()),
            took: micros(call.took_us),
            sender: call.sender.to_string(),
            conversation: call.conversation.to_string(),
        }
    }
}

/// What became of the message, in words.
pub fn did(effect: Option<&Effect>, verdict: &str, is_silent: bool) -> String {
    let Some(effect) = effect else {
        return match (verdict, is_silent) {
            ("drop", true) => "dropped, as silence means here",
            ("drop", false) => "dropped, without a reason",
            (_, true) => "let through, as silence means here",
            _ => "let through as it was",
        }
        .to_owned();
    };
    let mut parts = Vec::new();
    if let Some(reason) = &effect.reason {
        parts.push(format!("dropped: {reason}"));
    }
    if !effect.replaced.is_empty() {
        parts.push(format!("replaced {}", effect.replaced.join(", ")));
    }
    if !effect.injected.is_empty() {
        parts.push(format!("added {}", effect.injected.join(", ")));
    }
    if let Some(action) = &effect.unknown_action {
        parts.push(format!("its action '{action}' is unknown"));
    }
    parts.join("; ")
}
