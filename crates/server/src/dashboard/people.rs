//! The users of an app: who is there, who is online and on what, and what they are part of.

use askama::Template;
use axum::routing::get;
use chathook_domain::ids::{Key, Uid};
use chathook_domain::user::User;
use chathook_engine::ports::people::{ConversationLine, ConversationOf, PeopleFilter, Presence};

use super::Routes;
use super::moment::Moment;
use super::page::{Answer, Page, PageParams, Section, Visit, render};
use crate::api::extract::{Ids, person};
use crate::api::lists::search_text;

const SHOWN: usize = 50;

pub fn routes() -> Routes {
    Routes::new()
        .route("/apps/{app_id}/people", get(list_people))
        .route("/apps/{app_id}/people/{uid}", get(show_person))
}

#[derive(Template)]
#[template(path = "dashboard/people.html")]
struct PeoplePage {
    page: Page,
    app_url: String,
    search: String,
    is_online_only: bool,
    people: Vec<PersonLine>,
    /// There is nobody at all, so that no search would find anybody.
    is_empty_app: bool,
    first: Option<String>,
    next: Option<String>,
}

struct PersonLine {
    uid: String,
    name: String,
    url: String,
    is_online: bool,
    is_deactivated: bool,
    last_active_at: Option<Moment>,
    created_at: Moment,
}

#[derive(Template)]
#[template(path = "dashboard/person.html")]
struct PersonPage {
    page: Page,
    person: PersonLine,
    role: Option<String>,
    status_message: Option<String>,
    tags: Vec<String>,
    deactivated_at: Option<Moment>,
    devices: Vec<DeviceLine>,
    conversations: Vec<ConversationRow>,
    first: Option<String>,
    next: Option<String>,
}

struct DeviceLine {
    device: String,
    platform: &'static str,
    since: Moment,
    session: String,
}

/// A conversation in a list.
pub struct ConversationRow {
    pub url: String,
    pub name: String,
    pub kind: &'static str,
    pub last: Option<(String, Moment)>,
}

impl PersonLine {
    fn of(user: &User, app_url: &str) -> Self {
        Self {
            uid: user.uid.to_string(),
            name: user.profile.name.clone(),
            url: format!("{app_url}/people/{}", user.uid),
            is_online: user.is_online,
            is_deactivated: user.deactivated_at.is_some(),
            last_active_at: user.last_active_at.map(Moment),
            created_at: Moment(user.created_at),
        }
    }
}

impl ConversationRow {
    /// `me`: whose list it is, so that the other of two is named.
    pub fn of(line: &ConversationLine, app_url: &str, me: Option<&Uid>) -> Self {
        let (name, kind) = match &line.members {
            ConversationOf::Two(a, b) if Some(a) == me => (b.to_string(), "two users"),
            ConversationOf::Two(a, b) if Some(b) == me => (a.to_string(), "two users"),
            ConversationOf::Two(a, b) => (format!("{a} and {b}"), "two users"),
            ConversationOf::Group(guid) => (guid.clone(), "group"),
        };
        Self {
            url: format!("{app_url}/conversations/{}", line.id),
            name,
            kind,
            last: line.last.map(|(id, at)| (id.to_string(), Moment(at))),
        }
    }
}

async fn list_people(visit: Visit, Ids(app): Ids<String>, params: PageParams) -> Answer {
    let app = visit.app(&app).await?;
    let search = search_text(&params, "search")?.map(str::trim).filter(|text| !text.is_empty());
    let search = search.map(str::to_owned);
    let is_online_only = params.text("online").is_some();
    let presence = if is_online_only { Presence::Online } else { Presence::Any };
    let after = params.text("after").map(|text| Uid::parse("after", text)).transpose()?;
    let filter = PeopleFilter { search: search.clone(), presence, limit: SHOWN };
    let found = visit.engine().people(&app.id, filter, after.clone()).await?;
    let page = visit.page_of(&app, Section::People, "People").await?;
    let app_url = page.app_url();
    let people: Vec<PersonLine> = found.items.iter().map(|user| PersonLine::of(user, &app_url)).collect();
    let mut query = form_urlencoded::Serializer::new(format!("{app_url}/people?"));
    if let Some(search) = &search {
        query.append_pair("search", search);
    }
    if is_online_only {
        query.append_pair("online", "on");
    }
    let base = query.finish();
    let join = if base.ends_with('?') { "" } else { "&" };
    let next = found.next.map(|uid| format!("{base}{join}after={uid}"));
    render(&PeoplePage {
        app_url,
        is_empty_app: people.is_empty() && search.is_none() && !is_online_only && after.is_none(),
        search: search.unwrap_or_default(),
        is_online_only,
        people,
        first: after.map(|_| base),
        next,
        page,
    })
}

async fn show_person(visit: Visit, Ids((app, uid)): Ids<(String, String)>, params: PageParams) -> Answer {
    let app = visit.app(&app).await?;
    let uid = person(&uid)?;
    let (user, connections) = visit.engine().person(&app.id, &uid).await?;
    let after = params.text("after").map(Key::trusted);
    let is_first = after.is_none();
    let found = visit.engine().conversations(&app.id, Some(&uid), after, SHOWN).await?;
    let page = visit.page_of(&app, Section::People, &user.profile.name).await?;
    let app_url = page.app_url();
    let person = PersonLine::of(&user, &app_url);
    let devices = connections.iter().map(|connection| DeviceLine {
        device: connection.device_id.to_string(),
        platform: connection.platform.as_str(),
        since: Moment(connection.connected_at),
        session: connection.session_id.to_string(),
    });
    render(&PersonPage {
        devices: devices.collect(),
        conversations: found
            .items
            .iter()
            .map(|line| ConversationRow::of(line, &app_url, Some(&uid)))
            .collect(),
        first: (!is_first).then(|| person.url.clone()),
        next: found.next.map(|key| after_link(&person.url, &key)),
        role: user.profile.role.clone(),
        status_message: user.profile.status_message.clone(),
        tags: user.profile.tags.clone(),
        deactivated_at: user.deactivated_at.map(Moment),
        person,
        page,
    })
}

/// The link to what follows a conversation.
pub fn after_link(base: &str, key: &Key) -> String {
    let mut query = form_urlencoded::Serializer::new(format!("{base}?"));
    query.append_pair("after", key.as_str());
    query.finish()
}
