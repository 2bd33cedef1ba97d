//! The conversations of an app, and the messages of one, each of which leads to its timeline.

use askama::Template;
use axum::routing::get;
use chathook_domain::ids::Key;
use chathook_domain::message::Message;

use super::Routes;
use super::messages::newest_first;
use super::moment::Moment;
use super::page::{Answer, Page, PageParams, Section, Visit, render};
use super::people::{ConversationRow, after_link};
use crate::api::extract::{Ids, message_id};

const SHOWN: usize = 50;

pub fn routes() -> Routes {
    Routes::new()
        .route("/apps/{app_id}/conversations", get(list_conversations))
        .route("/apps/{app_id}/conversations/{key}", get(show_conversation))
}

#[derive(Template)]
#[template(path = "dashboard/conversations.html")]
struct ConversationsPage {
    page: Page,
    app_url: String,
    conversations: Vec<ConversationRow>,
    first: Option<String>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "dashboard/conversation.html")]
struct ConversationPage {
    page: Page,
    app_url: String,
    messages: Vec<MessageLine>,
    first: Option<String>,
    next: Option<String>,
}

struct MessageLine {
    id: String,
    url: String,
    sender: String,
    kind: String,
    sent_at: Moment,
}

async fn list_conversations(visit: Visit, Ids(app): Ids<String>, params: PageParams) -> Answer {
    let app = visit.app(&app).await?;
    let after = params.text("after").map(Key::trusted);
    let is_first = after.is_none();
    let found = visit.engine().conversations(&app.id, None, after, SHOWN).await?;
    let page = visit.page_of(&app, Section::Conversations, "Conversations").await?;
    let app_url = page.app_url();
    let base = format!("{app_url}/conversations");
    render(&ConversationsPage {
        conversations: found.items.iter().map(|line| ConversationRow::of(line, &app_url, None)).collect(),
        next: found.next.map(|key| after_link(&base, &key)),
        first: (!is_first).then_some(base),
        app_url,
        page,
    })
}

/// Newest first.
async fn show_conversation(
    visit: Visit,
    Ids((app, key)): Ids<(String, String)>,
    params: PageParams,
) -> Answer {
    let app = visit.app(&app).await?;
    let before = params.text("before").map(message_id).transpose()?;
    let (messages, last) = newest_first(&visit, &app, Some(Key::trusted(&key)), before).await?;
    let page = visit.page_of(&app, Section::Conversations, &key).await?;
    let app_url = page.app_url();
    let base = format!("{app_url}/conversations/{key}");
    render(&ConversationPage {
        messages: messages.iter().map(|message| MessageLine::of(message, &app_url)).collect(),
        next: last.map(|id| format!("{base}?before={id}")),
        first: before.map(|_| base),
        app_url,
        page,
    })
}

impl MessageLine {
    fn of(message: &Message, app_url: &str) -> Self {
        let value = message.to_json();
        Self {
            id: message.id.to_string(),
            url: format!("{app_url}/messages/{}", message.id),
            sender: value["sender"].as_str().unwrap_or_default().to_owned(),
            kind: value["type"].as_str().unwrap_or_default().to_owned(),
            sent_at: Moment(message.sent_at),
        }
    }
}
