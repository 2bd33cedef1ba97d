//! Calls of `before_message`: how they went of late, and each with its verdict, its time, and what it did.

use askama::Template;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use chathook_domain::ids::WebhookId;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::stats::Percentiles;
use chathook_domain::trigger::Trigger;
use chathook_domain::verdict::Effect;
use chathook_engine::ports::history::{AskedCall, Figures};

use super::moment::Moment;
use super::page::{Answer, Page, PageParams, Section, Visit, render};
use super::paths::{HookLink, HookPart, Paths};
use super::span::micros;
use super::told::Told;
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
    ("silent", "silent: no usable answer"),
];

pub fn routes() -> Routes {
    Routes::new()
        .route("/apps/{app_id}/before-message", get(list_calls))
        .route("/apps/{app_id}/before-message/{row}/message", get(show_message_of_call))
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
    links: Vec<HookLink>,
    figures: Option<FiguresShown>,
    calls: Vec<CallLine>,
    first: Option<String>,
    next: Option<String>,
}

struct FiguresShown {
    asked: u64,
    /// Of those that got a usable answer.
    verdicts: Vec<(String, u64)>,
    silent: u64,
    silences: Vec<(Told, u64)>,
    took: Option<[String; 3]>,
    is_cut: bool,
}

struct CallLine {
    at: Moment,
    word: String,
    tone: &'static str,
    did: String,
    silence: Option<Told>,
    took: String,
    sender: String,
    sender_url: String,
    conversation: String,
    conversation_url: String,
    /// Of one that went on.
    message_url: Option<String>,
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
        links: Vec::new(),
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
        let paths = Paths::of(&app);
        shown.calls = found.calls.iter().map(|call| CallLine::of(call, &paths)).collect();
        let hook = all.iter().find(|hook| hook.id == id);
        shown.links = hook.map(|hook| paths.hook_links(hook, HookPart::BeforeMessage)).unwrap_or_default();
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

/// Leads on to the message that a call was about.
async fn show_message_of_call(visit: Visit, Ids((app, row)): Ids<(String, String)>) -> Answer {
    let app = visit.app(&app).await?;
    let call = row.parse().ok();
    let message = match call {
        Some(row) => visit.engine().message_of_call(&app.id, row).await?,
        None => None,
    };
    let gone = || Refusal::new(Code::MessageNotFound, "No message is kept that came of this call.");
    let id = message.ok_or_else(gone)?;
    Ok(Redirect::to(&Paths::of(&app).message(&id.to_string())).into_response())
}

impl FiguresShown {
    fn of(figures: Figures) -> Self {
        let silent = figures.silences.values().sum();
        Self {
            asked: figures.verdicts.values().sum::<u64>() + silent,
            verdicts: figures.verdicts.into_iter().collect(),
            silent,
            silences: Told::of_counts(&figures.silences),
            took: Percentiles::of(figures.asked_us).map(|p| [p.p50, p.p90, p.p99].map(micros)),
            is_cut: figures.is_cut,
        }
    }
}

impl CallLine {
    fn of(call: &AskedCall, paths: &Paths) -> Self {
        let (word, tone) = match (&call.silence, call.verdict.as_str()) {
            (Some(_), _) => ("silent", "warn"),
            (None, word @ "drop") => (word, "bad"),
            (None, word @ ("inject" | "replace")) => (word, "accent"),
            (None, word) => (word, "good"),
        };
        let (sender, conversation) = (call.sender.to_string(), call.conversation.to_string());
        let has_message = call.event.is_some() && call.verdict != "drop";
        Self {
            at: Moment(call.at),
            word: word.to_owned(),
            tone,
            did: did(call.effect.as_ref(), &call.verdict, call.silence.is_some()),
            silence: call.silence.as_deref().map(Told::of),
            took: micros(call.took_us),
            sender_url: paths.person(&sender),
            sender,
            conversation_url: paths.conversation(&conversation),
            conversation,
            message_url: has_message.then(|| paths.message_of_call(call.row)),
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
