//! Nobody else's page acts for who is logged in: what changes something comes from our own origin, and
//! carries its session's token. Both are checked before any handler, so that no page can forget them.
//! Why the log-in, which has no session yet, does with the first of the two stands at `log_in`.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chathook_domain::refusal::{Code, Refusal};
use subtle::ConstantTimeEq as _;

use super::form::Form;
use super::page::{PageError, Visit};
use crate::api::extract::read_body;

/// The field of every form that carries the session's token.
const FIELD: &str = "csrf";

/// Refuses what a page of another origin sends; a tool that says nothing of origins is let on.
pub async fn require_origin(request: Request, next: Next) -> Response {
    if is_safe(request.method()) || is_own_origin(request.headers()) {
        return next.run(request).await;
    }
    refuse("This form was sent from another site, so nothing was done.")
}

/// Reads the form, and refuses one without its session's token.
pub async fn require_token(request: Request, next: Next) -> Response {
    if is_safe(request.method()) {
        return next.run(request).await;
    }
    let csrf = request.extensions().get::<Visit>().map(|visit| visit.session.csrf.clone());
    let (parts, body) = request.into_parts();
    let form = match read_body(body, &parts.headers).await {
        Ok(bytes) => Form::parse(&bytes),
        Err(refusal) => return PageError::from(refusal).into_response(),
    };
    let is_ours = csrf.is_some_and(|csrf| bool::from(csrf.as_bytes().ct_eq(form.text(FIELD).as_bytes())));
    if !is_ours {
        return refuse("This form is too old, so nothing was done. Load the page again and repeat it.");
    }
    let mut request = Request::from_parts(parts, axum::body::Body::empty());
    request.extensions_mut().insert(form);
    next.run(request).await
}

fn is_safe(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// What browsers say of themselves goes first; what has only `Origin` must name the host it calls.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text("origin") else { return true };
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.is_some_and(|authority| text(header::HOST.as_str()).is_some_and(|host| host == authority))
}

fn refuse(sentence: &str) -> Response {
    let refusal = Refusal::new(Code::NoAccess, sentence);
    PageError::with_status(refusal, StatusCode::FORBIDDEN).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn is_let_on(pairs: &[(&'static str, &'static str)]) -> bool {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        is_own_origin(&pairs.iter().map(pair).collect())
    }

    #[test]
    fn only_our_own_pages_are_our_origin() {
        let host = ("host", "chat.example.org:8443");
        assert!(is_let_on(&[host]));
        assert!(is_let_on(&[host, ("origin", "https://chat.example.org:8443")]));
        assert!(is_let_on(&[host, ("sec-fetch-site", "same-origin")]));
        for origin in ["null", "https://chat.example.org", "https://evil.example", "chat.example.org:8443"] {
            assert!(!is_let_on(&[host, ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!is_let_on(&[host, ("sec-fetch-site", site)]), "{site}");
        }
    }
}
