//! The dashboard under `/dashboard`: server-rendered pages for who holds the management credentials.
//! A page holds no rule: it calls the engine's verbs, and reads forms with the parsers of the API.
//!
//! How to add a page stands at [`router`]. Imports run downwards: a module may use those above it in this list.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use chathook_domain::refusal::{Code, Refusal};
use futures_util::FutureExt as _;

use crate::api::Api;

pub mod failure;
pub mod flash;
pub mod moment;
pub mod assets;
pub mod form;
pub mod session;
pub mod page;
mod changes;
mod gate;
mod csrf;
mod log_in;
mod apps;
mod span;
mod told;
mod paths;
mod state;
mod waterfall;
mod deliveries;
mod delivery;
mod replays;
mod calls;
mod messages;
mod settings;
mod plot;
mod figures;
mod webhooks;
mod overview;
mod health;
mod people;
mod conversations;

use changes::Streams;
use failure::PageError;
use session::Sessions;

/// Where all of it is; the session's cookie goes nowhere else.
pub const ROOT: &str = "/dashboard";

/// Scripts, styles and forms from here only, and nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the pages share.
pub struct Dashboard {
    pub api: Arc<Api>,
    pub sessions: Sessions,
    pub streams: Streams,
    /// Whether its door speaks TLS, so that the cookie never goes over anything else.
    pub transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tls,
    /// For loopback, or behind a proxy that speaks TLS.
    Plain,
}

pub type Routes = Router<Arc<Dashboard>>;

/// All pages, to be merged beside the management API.
///
/// # How to add a page
///
/// 1. A module `src/dashboard/NAME.rs`, listed above, with `pub fn routes() -> Routes`; merge it in [`pages`].
///    Paths are below [`ROOT`]: `/apps/{app_id}/NAME`.
/// 2. A template `templates/dashboard/NAME.html` that begins with `{% extends "dashboard/layout.html" %}` and
///    `{% import "dashboard/parts.html" as parts %}`, and fills `{% block main %}`. Its struct has a field
///    `page: Page` and derives `askama::Template`.
/// 3. The handler takes [`page::Visit`] first (who is logged in), calls the engine, and renders:
///
///    ```ignore
///    async fn list_hooks(visit: Visit, Ids(app): Ids<String>, params: PageParams) -> Answer {
///        let app = visit.app(&app).await?;
///        let hooks = visit.engine().webhooks(&app.id).await?;
///        let page = visit.page_of(&app, Section::Webhooks, "Webhooks").await?;
///        render(&HooksPage { page, hooks })
///    }
///    ```
///
///    A `Refusal` returned by `?` becomes the error page with the API's status.
/// 4. To show it in the navigation, add its case to [`page::Section`] and to `Section::ALL`; give detail pages
///    `page.under("Parent", "/dashboard/…")` for the breadcrumbs.
/// 5. A POST takes [`form::Form`]: the token and the origin are checked before it is reached, so a template's
///    `<form method="post">` holds `{% call parts::token(page) %}{% endcall %}`, and nothing else is to do. It
///    answers `visit.done(path, "What was done.")` (a redirect with a message), or renders the form again
///    from a [`form::Filled`] with the refusal, which stands at its field.
/// 6. What is to follow the world goes into `<div {% call parts::live(page) %}{% endcall %}>`: when something of the
///    app has happened ([`changes`] tells), and every few seconds for what was not told, the same page is fetched and
///    that element morphed. Such fetches keep no session alive. Pages work without JavaScript.
/// 7. Ready-made: `parts.html` (field, checkbox, token, copy, empty, badge, pager, live: each with its arguments
///    explained), `{{ moment }}` of [`moment::Moment`] for times, and the classes of `assets/dashboard.css`
///    (`card`, `rows`, `facts`, `badge`, `button`, `num`, `muted`, `code`).
/// 8. `tests/browser/dashboard.test.mjs` visits each page with axe in light and dark: add yours to its list.
///
/// At most `streams_max` pages are told of changes at once.
pub fn router(api: Arc<Api>, transport: Transport, streams_max: usize) -> Router {
    let streams = Streams::bounded(streams_max);
    let dashboard = Arc::new(Dashboard { api, sessions: Sessions::default(), streams, transport });
    let guarded = pages()
        .fallback(nowhere)
        .layer(middleware::from_fn(csrf::require_token))
        .layer(middleware::from_fn_with_state(dashboard.clone(), gate::require));
    let open = Router::new()
        .route("/login", get(log_in::show_login).post(log_in::log_in))
        .route("/assets/{hash}/{name}", get(assets::get_asset));
    let all = open
        .merge(guarded)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(csrf::require_origin))
        .layer(middleware::from_fn(survive_panics))
        .layer(middleware::map_response(with_page_headers))
        .with_state(dashboard);
    let home = format!("{ROOT}/");
    Router::new().route(&home, get(async || Redirect::permanent(ROOT))).nest(ROOT, all)
}

/// Every page that wants a session.
fn pages() -> Routes {
    Router::new()
        .route("/logout", post(log_in::log_out))
        .merge(changes::routes())
        .merge(apps::routes())
        .merge(webhooks::routes())
        .merge(deliveries::routes())
        .merge(delivery::routes())
        .merge(replays::routes())
        .merge(calls::routes())
        .merge(messages::routes())
        .merge(settings::routes())
        .merge(overview::routes())
        .merge(health::routes())
        .merge(people::routes())
        .merge(conversations::routes())
}

async fn nowhere() -> PageError {
    Refusal::new(Code::ApiNotFound, "There is no such page.").into()
}

async fn wrong_method() -> PageError {
    Refusal::new(Code::MethodNotAllowed, "This page does not take this method.").into()
}

/// A mistake of ours costs its own page and no other.
async fn survive_panics(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        tracing::error!("a page of the dashboard panicked");
        PageError::from(Refusal::new(Code::Internal, "Something went wrong on our side.")).into_response()
    })
}

async fn with_page_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`, with which browsers send `Origin: null` for our own forms.
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
