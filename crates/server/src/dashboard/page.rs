//! What every page is given (who visits, the navigation, the message left by the last deed), and how it answers.

use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chathook_domain::app::App;
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::engine::Engine;

use super::failure::Failed;
use super::session::Session;
use super::{Dashboard, ROOT};
use crate::api::extract::app_id;

pub use super::failure::PageError;
pub use super::flash::{Flash, Tone};
/// The query of a page; a broken one shows the error page.
pub use crate::api::extract::Params as PageParams;

/// What a handler answers with.
pub type Answer = Result<Response, PageError>;

/// Who is there, and which page they asked for. Every handler of a page takes it first.
#[derive(Clone)]
pub struct Visit {
    pub dashboard: Arc<Dashboard>,
    pub session: Session,
    /// Path and query as they were asked for.
    pub url: String,
    /// Whether a page asks, for a part of itself or for a stream.
    pub is_fragment: bool,
}

/// A part of an app's navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Overview,
    Webhooks,
    Deliveries,
    BeforeMessage,
    Messages,
    People,
    Conversations,
    Settings,
}

impl Section {
    /// In the order of the navigation.
    pub const ALL: [Self; 8] = [
        Self::Overview,
        Self::Webhooks,
        Self::Deliveries,
        Self::BeforeMessage,
        Self::Messages,
        Self::People,
        Self::Conversations,
        Self::Settings,
    ];

    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Webhooks => "Webhooks",
            Self::Deliveries => "Deliveries",
            Self::BeforeMessage => "before_message",
            Self::Messages => "Messages",
            Self::People => "People",
            Self::Conversations => "Conversations",
            Self::Settings => "Settings",
        }
    }

    /// Below the app's path.
    const fn path(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Webhooks => "webhooks",
            Self::Deliveries => "deliveries",
            Self::BeforeMessage => "before-message",
            Self::Messages => "messages",
            Self::People => "people",
            Self::Conversations => "conversations",
            Self::Settings => "settings",
        }
    }
}

/// What `layout.html` shows around every page.
pub struct Page {
    pub title: String,
    pub section: Option<Section>,
    /// The app that the page is about.
    pub app: Option<AppLink>,
    /// All apps, for the switcher.
    pub apps: Vec<AppLink>,
    pub crumbs: Vec<Crumb>,
    pub flash: Option<Flash>,
    pub csrf: Arc<str>,
    pub url: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppLink {
    pub id: String,
    pub name: String,
}

/// A page above this one.
pub struct Crumb {
    pub label: String,
    pub url: String,
}

impl Visit {
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.dashboard.api.engine
    }

    /// The app that a path names.
    pub async fn app(&self, id: &str) -> Result<Arc<App>, PageError> {
        Ok(self.engine().app(&app_id(id)?).await?)
    }

    /// A page that belongs to no app.
    pub async fn page(&self, title: &str) -> Result<Page, PageError> {
        let apps = self.engine().apps().await?;
        let apps = apps.iter().map(AppLink::to).collect();
        let flash = if self.is_fragment { None } else { self.dashboard.sessions.take_flash(&self.session) };
        Ok(Page {
            title: title.to_owned(),
            section: None,
            app: None,
            apps,
            crumbs: Vec::new(),
            flash,
            csrf: self.session.csrf.clone(),
            url: self.url.clone(),
        })
    }

    /// A page of an app; titles other than the section's own stand under it in the breadcrumbs.
    pub async fn page_of(&self, app: &App, section: Section, title: &str) -> Result<Page, PageError> {
        let mut page = self.page(title).await?;
        page.section = Some(section);
        page.app = Some(AppLink::to(app));
        if title != section.label() {
            let url = page.section_url(&section);
            page = page.under(section.label(), &url);
        }
        Ok(page)
    }

    /// Goes on to another page, which shows this message once.
    pub fn leave(&self, to: &str, flash: Flash) -> Answer {
        self.dashboard.sessions.tell(&self.session, flash);
        Ok(Redirect::to(to).into_response())
    }

    /// A deed that went well: on to another page, which says so.
    pub fn done(&self, to: &str, text: &str) -> Answer {
        self.leave(to, Flash::good(text))
    }
}

impl AppLink {
    #[must_use]
    pub fn to(app: &App) -> Self {
        Self { id: app.id.to_string(), name: app.name.clone() }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("{ROOT}/apps/{}", self.id)
    }

    #[must_use]
    pub fn section_url(&self, section: Section) -> String {
        format!("{}/{}", self.url(), section.path())
    }
}

impl Page {
    /// The same page with one more above it.
    #[must_use]
    pub fn under(mut self, label: &str, url: &str) -> Self {
        self.crumbs.push(Crumb { label: label.to_owned(), url: url.to_owned() });
        self
    }

    #[must_use]
    pub fn sections(&self) -> &'static [Section] {
        &Section::ALL
    }

    /// The path of the page's app, of the whole dashboard where it has none.
    #[must_use]
    pub fn app_url(&self) -> String {
        self.app.as_ref().map_or_else(|| ROOT.to_owned(), AppLink::url)
    }

    /// Where the page hears that something of its app has happened.
    #[must_use]
    pub fn changes_url(&self) -> String {
        format!("{}/changes", self.app_url())
    }

    #[must_use]
    pub fn section_url(&self, section: &Section) -> String {
        format!("{}/{}", self.app_url(), section.path())
    }

    #[must_use]
    pub fn is_about(&self, app: &AppLink) -> bool {
        self.app.as_ref() == Some(app)
    }

    #[must_use]
    pub fn is_here(&self, section: &Section) -> bool {
        self.section == Some(*section)
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| Refusal::new(Code::Internal, "Something went wrong on our side.").into())
    }
}

pub fn render(template: &impl Template) -> Answer {
    render_with(StatusCode::OK, template)
}

pub fn render_with(status: StatusCode, template: &impl Template) -> Answer {
    let html = template.render().map_err(|error| {
        tracing::error!(%error, "a template could not be rendered");
        Refusal::new(Code::Internal, "Something went wrong on our side.")
    })?;
    Ok((status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response())
}

#[derive(Template)]
#[template(path = "dashboard/error.html")]
struct ErrorPage<'a> {
    page: Page,
    status: u16,
    refusal: &'a Refusal,
}

/// The error page, inside the navigation as far as that can be had.
pub async fn show_failure(visit: &Visit, failed: &Failed) -> Response {
    let Failed { refusal, status } = failed;
    let page = match visit.page("Something is not right").await {
        Ok(page) => page,
        Err(_) => Page {
            title: "Something is not right".to_owned(),
            section: None,
            app: None,
            apps: Vec::new(),
            crumbs: Vec::new(),
            flash: None,
            csrf: visit.session.csrf.clone(),
            url: visit.url.clone(),
        },
    };
    let shown = render_with(*status, &ErrorPage { page, status: status.as_u16(), refusal });
    shown.unwrap_or_else(IntoResponse::into_response)
}
