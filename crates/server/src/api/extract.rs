//! Reads what a request carries, within bounds; whatever is wrong with it is the caller's refusal.

use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use chathook_domain::fields::{DEPTH_MAX, is_shallow};
use chathook_domain::ids::{AppId, MessageId, Uid, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::ApiError;

/// Largest request body (design 8).
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// A body is whole within this time, however its bytes drip.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON body that must be there.
pub struct JsonBody(pub Value);

/// A JSON body that may be left out, which reads as `{}`.
pub struct OptionalJsonBody(pub Value);

/// The parts of the path, percent-decoded.
pub struct Ids<T>(pub T);

/// The query's names and values. Lists come as `a=1,2`, `a=1&a=2` or `a[]=1&a[]=2` (spec 4.1).
pub struct Params(Vec<(String, String)>);

/// The wish to go on as a WebSocket.
pub struct Upgrade(pub WebSocketUpgrade);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_body(body, &parts.headers).await?;
        if bytes.trim_ascii().is_empty() {
            return Err(bad("The body is empty; it must be a JSON object.").into());
        }
        Ok(Self(parse_json(&bytes)?))
    }
}

impl<S: Sync> FromRequest<S> for OptionalJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_body(body, &parts.headers).await?;
        let value = if bytes.trim_ascii().is_empty() { json!({}) } else { parse_json(&bytes)? };
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Ids<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let Path(ids) = path.map_err(|_| bad("The path holds bytes that are not UTF-8."))?;
        Ok(Self(ids))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = query.map_err(|_| bad("The query string cannot be read."))?;
        Ok(Self(pairs))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        WebSocketUpgrade::from_request_parts(parts, state).await.map(Self).map_err(|_| {
            let sentence = "This path is a WebSocket: open it with an upgrade of version 13.";
            let mut answer = ApiError::from(bad(sentence)).into_response();
            // Which versions are spoken (RFC 6455, 4.4).
            answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            answer
        })
    }
}

impl Params {
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        value.filter(|text| !text.is_empty())
    }

    /// All values of a list, in whichever way it is written.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<&str> {
        let is_named = |known: &str| known.strip_suffix("[]").unwrap_or(known) == name;
        let values =
            self.0.iter().filter(|(known, _)| is_named(known)).flat_map(|(_, value)| value.split(','));
        values.filter(|value| !value.is_empty()).collect()
    }

    pub fn number(&self, name: &str, min: i64, max: i64) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|n| (min..=max).contains(n));
        let complaint = || format!("must be a whole number from {min} to {max}");
        number.map(Some).ok_or_else(|| Refusal::field(Code::BadRequest, name, &complaint()))
    }
}

/// A header's text; `None` where it is absent, blank or no plain text.
#[must_use]
pub fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// The id of an app in a path; one that no app can have names none.
pub fn app_id(text: &str) -> Result<AppId, Refusal> {
    let is_fit = (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_fit {
        Ok(AppId::trusted(text))
    } else {
        Err(Refusal::new(Code::AppNotFound, "There is no app with this id."))
    }
}

/// The ids of an app and one of its webhooks in a path.
pub fn webhook_ids(app: &str, webhook: &str) -> Result<(AppId, WebhookId), Refusal> {
    Ok((app_id(app)?, WebhookId::parse("webhookId", webhook)?))
}

/// The uid of a person in a path: the system user is not one of the app's users.
pub fn person(text: &str) -> Result<Uid, Refusal> {
    let uid = Uid::parse("uid", text)?;
    if uid.is_system() {
        return Err(Refusal::new(Code::UidNotFound, "The system user is not one of the app's users."));
    }
    Ok(uid)
}

/// A message's id in a path; a text that is no number names no message.
pub fn message_id(text: &str) -> Result<MessageId, Refusal> {
    MessageId::parse(text).ok_or_else(|| {
        Refusal::new(Code::MessageNotFound, "There is no message with this id; ids are whole numbers.")
    })
}

fn bad(sentence: impl Into<String>) -> Refusal {
    Refusal::new(Code::BadRequest, sentence)
}

/// A whole body, within the bounds of size and time.
pub async fn read_body(body: Body, headers: &HeaderMap) -> Result<Vec<u8>, Refusal> {
    let announced = header_text(headers, header::CONTENT_LENGTH.as_str());
    if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|n| n > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, gather(body)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(bad(format!("The body did not arrive within {} s.", BODY_TIMEOUT.as_secs()))),
    }
}

async fn gather(body: Body) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| bad("The body ended before it was complete."))?;
        if bytes.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large() -> Refusal {
    Refusal::new(Code::PayloadTooLarge, format!("The body has more than {BODY_BYTES_MAX} bytes."))
}

fn parse_json(bytes: &[u8]) -> Result<Value, Refusal> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| bad(format!("The body is not valid UTF-8 after {} bytes.", e.valid_up_to())))?;
    if !is_shallow(bytes) {
        return Err(bad(format!("The body nests deeper than {DEPTH_MAX} levels.")));
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|e| bad(format!("The body is not valid JSON: line {}, column {}.", e.line(), e.column())))?;
    if value.is_object() { Ok(value) } else { Err(bad("The body must be a JSON object.")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_is_refused_with_its_place() {
        let refusal = parse_json(b"{\n  \"a\": }").unwrap_err();
        assert_eq!(refusal.message, "The body is not valid JSON: line 2, column 8.");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert!(parse_json(b"{\"a\":\"\xff\"}").unwrap_err().message.contains("UTF-8"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("{}{}", "{\"a\":[".repeat(40), "]}".repeat(40));
        assert!(parse_json(deep.as_bytes()).unwrap_err().message.contains("levels"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_refused() {
        let drips = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::convert::Infallible>(" "), ()))
        });
        let refusal = read_body(Body::from_stream(drips), &HeaderMap::new()).await.unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest);
        assert_eq!(refusal.message, "The body did not arrive within 30 s.");
    }

    #[tokio::test]
    async fn a_body_over_the_bound_is_too_large() {
        let body = Body::from(vec![b' '; BODY_BYTES_MAX + 1]);
        assert_eq!(gather(body).await.unwrap_err().code, Code::PayloadTooLarge);
    }
}
