//! Messages: the newest, one found by its id, and everything that happened to it, with why a webhook got nothing.

use std::sync::Arc;

use askama::Template;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use chathook_domain::app::App;
use chathook_domain::event::Origin;
use chathook_domain::ids::{Key, MessageId, Uid};
use chathook_domain::meaning::meaning;
use chathook_domain::message::{Message, Receiver};
use chathook_engine::caller::Caller;
use chathook_engine::ports::history::{MessageHistory, OwedTo};
use chathook_engine::ports::store::MessageFilter;

use super::calls::did;
use super::deliveries::Line;
use super::moment::Moment;
use super::page::{Answer, Page, PageError, PageParams, Section, Visit, render};
use super::paths::Paths;
use super::span::micros;
use super::told::Told;
use super::{ROOT, Routes};
use crate::api::extract::{Ids, message_id};
use crate::api::lists::row_cursor;

const PER_PAGE: i64 = 50;

pub fn routes() -> Routes {
    Routes::new()
        .route("/apps/{app_id}/messages", get(list_messages))
        .route("/apps/{app_id}/messages/{id}", get(show_message))
}

#[derive(Template)]
#[template(path = "dashboard/messages.html")]
struct MessagesPage {
    page: Page,
    messages: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

/// A message without its content, which is its people's affair.
struct Row {
    id: String,
    url: String,
    sender: String,
    sender_url: String,
    conversation: String,
    conversation_url: String,
    kind: String,
    sent_at: Moment,
    state: &'static str,
}

#[derive(Template)]
#[template(path = "dashboard/message.html")]
struct MessagePage {
    page: Page,
    row: Row,
    receiver: String,
    /// Of a user; a group is its conversation.
    receiver_url: String,
    entries: Vec<Entry>,
    webhooks: Vec<WebhookShare>,
    event_is_gone: bool,
}

/// One thing that happened.
struct Entry {
    at: Moment,
    tone: &'static str,
    what: String,
    url: Option<String>,
}

/// What a webhook got of it.
struct WebhookShare {
    webhook: String,
    url: String,
    /// What `before_message` made of it.
    asked: Vec<AskedShare>,
    deliveries: Vec<Line>,
    nothing: Option<&'static str>,
}

struct AskedShare {
    did: String,
    took: String,
    silence: Option<Told>,
}

async fn list_messages(visit: Visit, Ids(app): Ids<String>, params: PageParams) -> Answer {
    let app = visit.app(&app).await?;
    let base = format!("{ROOT}/apps/{}/messages", app.id);
    if let Some(id) = params.text("id") {
        let id = message_id(id.trim())?;
        return Ok(Redirect::to(&format!("{base}/{id}")).into_response());
    }
    let before = MessageId(row_cursor(&params)?);
    let (found, last) = newest_first(&visit, &app, None, Some(before)).await?;
    render(&MessagesPage {
        page: visit.page_of(&app, Section::Messages, Section::Messages.label()).await?,
        messages: found.iter().map(|message| Row::of(&app, message)).collect(),
        first: params.text("cursor").map(|_| base.clone()),
        next: last.map(|id| format!("{base}?cursor={id}")),
    })
}

/// The messages of a page, of all conversations or of one, and the last of them where others follow.
pub async fn newest_first(
    visit: &Visit,
    app: &Arc<App>,
    conversation: Option<Key>,
    before: Option<MessageId>,
) -> Result<(Vec<Message>, Option<MessageId>), PageError> {
    // Who holds the management credentials sees what the system user sees.
    let operator = Caller { app: app.clone(), uid: Uid::system(), origin: Origin::Rest, session: None };
    let filter = |before, limit| MessageFilter {
        conversation: conversation.clone(),
        visible_to: None,
        before,
        after: None,
        limit,
    };
    let mut found = visit.engine().messages(&operator, filter(before, PER_PAGE)).await?;
    found.reverse();
    let last = found.last().map(|message| message.id);
    // A page may be short because its messages are large, so what follows is looked for and not counted.
    let has_more = last.is_some() && !visit.engine().messages(&operator, filter(last, 1)).await?.is_empty();
    Ok((found, last.filter(|_| has_more)))
}

async fn show_message(visit: Visit, Ids((app, id)): Ids<(String, String)>) -> Answer {
    let app = visit.app(&app).await?;
    let history = visit.engine().message_history(&app.id, message_id(&id)?).await?;
    let message = &history.message;
    let paths = Paths::of(&app);
    render(&MessagePage {
        page: visit.page_of(&app, Section::Messages, &format!("Message {}", message.id)).await?,
        row: Row::of(&app, message),
        receiver: format!("{} {}", message.receiver.kind(), message.receiver.id()),
        receiver_url: match &message.receiver {
            Receiver::User(uid) => paths.person(uid.as_str()),
            Receiver::Group(_) => paths.conversation(message.conversation.as_str()),
        },
        entries: entries(&app, &history),
        webhooks: history.owed.iter().map(|owed| WebhookShare::of(&app, &history, owed)).collect(),
        event_is_gone: history.event_is_gone,
    })
}

impl Row {
    fn of(app: &App, message: &Message) -> Self {
        let state = match (&message.deleted, &message.edited) {
            (Some(_), _) => "deleted",
            (None, Some(_)) => "edited",
            (None, None) => "",
        };
        let (paths, id) = (Paths::of(app), message.id.to_string());
        Self {
            url: paths.message(&id),
            id,
            sender: message.sender.to_string(),
            sender_url: paths.person(message.sender.as_str()),
            conversation: message.conversation.to_string(),
            conversation_url: paths.conversation(message.conversation.as_str()),
            kind: format!("{} {}", message.category.as_str(), message.kind),
            sent_at: Moment(message.sent_at),
            state,
        }
    }
}

impl WebhookShare {
    fn of(app: &App, history: &MessageHistory, owed: &OwedTo) -> Self {
        let calls = history.asked.iter().filter(|call| call.webhook == owed.webhook);
        let asked: Vec<AskedShare> = calls
            .map(|call| AskedShare {
                did: did(call.effect.as_ref(), &call.verdict, call.silence.is_some()),
                took: micros(call.took_us),
                silence: call.silence.as_deref().map(Told::of),
            })
            .collect();
        // To be asked is what it listened to.
        let why = owed.owed_nothing.as_deref().filter(|why| asked.is_empty() || *why != "no_trigger");
        Self {
            webhook: owed.webhook.to_string(),
            url: Paths::of(app).webhook(owed.webhook.as_str()),
            nothing: why.map(why_nothing),
            asked,
            deliveries: owed.deliveries.iter().map(|(one, _)| Line::of(app, &owed.webhook, one)).collect(),
        }
    }
}

/// Why a webhook got nothing, in a sentence.
fn why_nothing(reason: &str) -> &'static str {
    match reason {
        "no_trigger" => "It did not listen to this trigger at that time.",
        "disabled" => "It was disabled at that time.",
        "switched_off" => "It was switched off at that time.",
        "created_later" => "It was made after the message.",
        _ => "The record does not say: an earlier version wrote it.",
    }
}

/// In the order of time; what happened in the same millisecond stays in the order of its causes.
fn entries(app: &App, history: &MessageHistory) -> Vec<Entry> {
    let message = &history.message;
    let mut entries = Vec::new();
    let mut add = |at, tone, what: String, url: Option<String>| {
        entries.push(Entry { at: Moment(at), tone, what, url });
    };
    for call in &history.asked {
        let why =
            call.silence.as_ref().map(|cause| format!(" ({})", meaning(cause).says)).unwrap_or_default();
        let did = did(call.effect.as_ref(), &call.verdict, call.silence.is_some());
        let what = format!("before_message asked {}: {did}{why}, in {}", call.webhook, micros(call.took_us));
        let tone = if call.silence.is_some() { "warn" } else { "accent" };
        add(call.at, tone, what, None);
    }
    let accepted_at = history.accepted_at();
    add(accepted_at, "good", format!("accepted from {}", message.sender), None);
    if let Some(event) = &history.event {
        add(
            event.created_at.max(accepted_at),
            "plain",
            format!("event {} ({})", event.id, event.trigger.id()),
            None,
        );
    }
    for owed in &history.owed {
        for (delivery, attempts) in &owed.deliveries {
            let url = format!("{ROOT}/apps/{}/webhooks/{}/deliveries/{}", app.id, owed.webhook, delivery.id);
            let name = format!("{} ({})", owed.webhook, delivery.id);
            let owed_at = delivery.created_at.max(accepted_at);
            add(owed_at, "plain", format!("owed to {name}"), Some(url.clone()));
            for attempt in attempts {
                let detail = attempt.detail.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
                let what = format!("attempt {} at {name}: {}{detail}", attempt.attempt, attempt.outcome);
                let tone = if attempt.outcome.starts_with('2') { "good" } else { "bad" };
                add(attempt.started_at, tone, what, Some(url.clone()));
            }
            if let Some(at) = delivery.ended_at {
                add(at, "plain", format!("{} at {name}", delivery.status.as_str()), Some(url));
            }
        }
    }
    for (what, change) in [("edited", &message.edited), ("deleted", &message.deleted)] {
        if let Some((at, by)) = change {
            add(*at, "plain", format!("{what} by {by}"), None);
        }
    }
    for mark in &history.marks {
        for (what, at) in [("delivered to", mark.delivered_at), ("read by", mark.read_at)] {
            if let Some(at) = at {
                add(at, "good", format!("{what} {}", mark.uid), None);
            }
        }
    }
    entries.sort_by_key(|entry| entry.at.0);
    entries
}
