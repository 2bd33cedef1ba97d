//! Lets only those on who are logged in, and makes the error page of what went wrong behind it.

use std::sync::Arc;

use axum::extract::{OriginalUri, Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::failure::Failed;
use super::page::{Visit, show_failure};
use super::session::{Activity, token};
use super::{Dashboard, ROOT};

/// Others are shown the way to the log-in.
pub async fn require(State(dashboard): State<Arc<Dashboard>>, mut request: Request, next: Next) -> Response {
    let url = request.extensions().get::<OriginalUri>().map_or_else(|| request.uri(), |original| &original.0);
    let url = url.path_and_query().map_or(ROOT, |whole| whole.as_str()).to_owned();
    let is_fragment = request.headers().contains_key("hx-request");
    let activity =
        if is_fragment && request.method() == Method::GET { Activity::Poll } else { Activity::Person };
    let tick = dashboard.api.engine.clock.ticks();
    let session = token(request.headers()).and_then(|token| dashboard.sessions.enter(token, tick, activity));
    let Some(session) = session else {
        return send_to_log_in(if request.method() == Method::GET { &url } else { ROOT }, is_fragment);
    };
    let visit = Visit { dashboard, session, url, is_fragment };
    request.extensions_mut().insert(visit.clone());
    let response = next.run(request).await;
    match response.extensions().get::<Failed>() {
        Some(failed) => show_failure(&visit, failed).await,
        None => response,
    }
}

fn send_to_log_in(next: &str, is_fragment: bool) -> Response {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    let to = if next == ROOT { format!("{ROOT}/login") } else { format!("{ROOT}/login?{query}") };
    if !is_fragment {
        return Redirect::to(&to).into_response();
    }
    // A part of a page cannot become the log-in: htmx takes the whole page there.
    let to = HeaderValue::from_str(&to).expect("a query is written in plain ASCII");
    (StatusCode::UNAUTHORIZED, [("hx-redirect", to)]).into_response()
}
