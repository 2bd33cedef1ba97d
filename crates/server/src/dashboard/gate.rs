//! Lets only those on who are logged in, and makes the error page of what went wrong behind it.

use std::sync::Arc;

use axum::extract::{OriginalUri, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::changes::EVENT_STREAM;
use super::failure::Failed;
use super::page::{Visit, show_failure};
use super::session::{Activity, token};
use super::{Dashboard, ROOT};

/// Others are shown the way to the log-in.
pub async fn require(State(dashboard): State<Arc<Dashboard>>, mut request: Request, next: Next) -> Response {
    let url = request.extensions().get::<OriginalUri>().map_or_else(|| request.uri(), |original| &original.0);
    let url = url.path_and_query().map_or(ROOT, |whole| whole.as_str()).to_owned();
    let asker = Asker::of(&request);
    let activity = match asker {
        Asker::Person => Activity::Person,
        Asker::Part if request.method() == Method::GET => Activity::Poll,
        Asker::Part => Activity::Person,
        Asker::Stream => Activity::Poll,
    };
    let tick = dashboard.api.engine.clock.ticks();
    let session = token(request.headers()).and_then(|token| dashboard.sessions.enter(token, tick, activity));
    let Some(session) = session else {
        return send_to_log_in(if request.method() == Method::GET { &url } else { ROOT }, asker);
    };
    let visit = Visit { dashboard, session, url, is_fragment: asker != Asker::Person };
    request.extensions_mut().insert(visit.clone());
    let response = next.run(request).await;
    match response.extensions().get::<Failed>() {
        Some(failed) => show_failure(&visit, failed).await,
        None => response,
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Person,
    /// A page, for a part of itself.
    Part,
    /// A page, for news of changes.
    Stream,
}

impl Asker {
    fn of(request: &Request) -> Self {
        let headers = request.headers();
        if headers.contains_key("hx-request") {
            Self::Part
        } else if headers.get(header::ACCEPT).is_some_and(|accept| accept == EVENT_STREAM) {
            Self::Stream
        } else {
            Self::Person
        }
    }
}

fn send_to_log_in(next: &str, asker: Asker) -> Response {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    let to = if next == ROOT { format!("{ROOT}/login") } else { format!("{ROOT}/login?{query}") };
    match asker {
        Asker::Person => Redirect::to(&to).into_response(),
        // A part of a page cannot become the log-in: htmx takes the whole page there.
        Asker::Part => {
            let to = HeaderValue::from_str(&to).expect("a query is written in plain ASCII");
            (StatusCode::UNAUTHORIZED, [("hx-redirect", to)]).into_response()
        }
        // Browsers do not come back after this. The page's next look by itself leads to the log-in.
        Asker::Stream => StatusCode::UNAUTHORIZED.into_response(),
    }
}
