//! In with the management credentials, whose guesses are counted together with those at the API; and out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::form::Form;
use super::page::{Answer, PageParams, Visit, render, render_with};
use super::{Dashboard, ROOT, session};
use crate::api::extract::read_body;
use crate::api::management::peer;

#[derive(Template)]
#[template(path = "dashboard/login.html")]
struct LoginPage {
    next: String,
    error: Option<String>,
}

pub async fn show_login(params: PageParams) -> Answer {
    render(&LoginPage { next: own_path(params.text("next").unwrap_or(ROOT)).to_owned(), error: None })
}

/// Another site cannot log anybody in, although this form carries no token: `csrf::require_origin` stands before it.
/// Browsers say with every POST where it comes from, by `Sec-Fetch-Site` or, over plain HTTP, by `Origin` (`null` where
/// they may not tell), which a page cannot change; who says neither is no browser, so has nobody's cookies to set. A
/// token would need a cookie before the log-in and prove the same. And there is one account: whoever knew its
/// credentials would have nothing to gain by having others use it.
pub async fn log_in(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Answer {
    let address = peer(&request);
    let (parts, body) = request.into_parts();
    let form = Form::parse(&read_body(body, &parts.headers).await?);
    let next = own_path(form.text("next")).to_owned();
    let pair = Some((form.text("key"), form.text("secret")));
    if let Err(error) = dashboard.api.judge_management(address, pair) {
        let page = LoginPage { next, error: Some(error.refusal().message.clone()) };
        let mut response = render_with(error.status(), &page)?;
        if let Some(seconds) = error.retry_after_seconds() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        return Ok(response);
    }
    let engine = &dashboard.api.engine;
    let token = dashboard.sessions.begin(&*engine.dice, engine.clock.ticks());
    Ok(redirect_with(&next, session::cookie(&token, &parts.headers, dashboard.transport)))
}

pub async fn log_out(visit: Visit, headers: HeaderMap) -> Response {
    visit.dashboard.sessions.end(&visit.session);
    let cookie = session::ended_cookie(&headers, visit.dashboard.transport);
    redirect_with(&format!("{ROOT}/login"), cookie)
}

fn redirect_with(to: &str, cookie: String) -> Response {
    (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

/// Where to go after the log-in: a page of the dashboard, whatever the link said.
fn own_path(next: &str) -> &str {
    let is_own = next.strip_prefix(ROOT).is_some_and(|rest| {
        (rest.is_empty() || rest.starts_with('/') || rest.starts_with('?'))
            && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    });
    if is_own { next } else { ROOT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_leads_to_a_page_of_the_dashboard_only() {
        for own in ["/dashboard", "/dashboard/apps/a/webhooks?x=1", "/dashboard?a=b"] {
            assert_eq!(own_path(own), own);
        }
        for other in ["", "/", "//evil.example", "https://evil.example", "/dashboardx", "/dashboard/\r\nx: y"]
        {
            assert_eq!(own_path(other), ROOT);
        }
    }
}
