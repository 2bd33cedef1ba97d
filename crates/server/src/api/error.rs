//! A refusal as HTTP tells it: the status of each code, and the envelope of spec 4.2.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chathook_domain::refusal::{Code, Refusal};
use serde_json::{Value, json};

/// How long a caller should wait when the store refuses writes.
const STORE_RETRY_AFTER_SECONDS: i64 = 5;
/// How long a caller should wait who called too often, where nobody knows better.
const RATE_RETRY_AFTER_SECONDS: i64 = 60;

/// A refusal on its way to the caller.
#[derive(Debug)]
pub struct ApiError {
    refusal: Refusal,
    status: StatusCode,
    retry_after_seconds: Option<i64>,
}

impl ApiError {
    /// The refusal with another status than its code has by itself.
    #[must_use]
    pub fn with_status(refusal: Refusal, status: StatusCode) -> Self {
        Self { status, ..Self::from(refusal) }
    }

    #[must_use]
    pub fn too_many_requests(message: &str, retry_after_seconds: i64) -> Self {
        let refusal = Refusal::new(Code::TooManyRequests, message);
        Self { retry_after_seconds: Some(retry_after_seconds), ..Self::from(refusal) }
    }

    #[must_use]
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    #[must_use]
    pub const fn retry_after_seconds(&self) -> Option<i64> {
        self.retry_after_seconds
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let retry_after_seconds = match refusal.code {
            Code::StoreUnavailable => Some(STORE_RETRY_AFTER_SECONDS),
            Code::TooManyRequests => Some(RATE_RETRY_AFTER_SECONDS),
            _ => None,
        };
        Self { status: status_of(refusal.code), refusal, retry_after_seconds }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": to_json(&self.refusal)}));
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The spec's error object; sockets carry it as `data` of their errors.
#[must_use]
pub fn to_json(refusal: &Refusal) -> Value {
    let mut object = json!({
        "message": refusal.message,
        "devMessage": refusal.message,
        "source": "chat-api",
        "code": refusal.code.as_str(),
    });
    if let Some(field) = &refusal.field {
        object["details"] = json!({field.as_str(): [refusal.message]});
    }
    for (name, text) in &refusal.details {
        match object["details"][name.as_str()].as_array_mut() {
            Some(told) => told.push(json!(text)),
            None => object["details"][name.as_str()] = json!([text]),
        }
    }
    object
}

/// The HTTP status of a code (spec 4.2).
#[must_use]
pub const fn status_of(code: Code) -> StatusCode {
    match code {
        Code::BadRequest
        | Code::UidAlreadyExists
        | Code::GuidAlreadyExists
        | Code::AlreadyJoined
        | Code::EmptyGroupPassword
        | Code::EmptyReceiver
        | Code::InvalidReceiverType
        | Code::InvalidMessageCategory
        | Code::InvalidMessageType
        | Code::EmptyMessageText
        | Code::InvalidMessageText
        | Code::InvalidMediaMessage
        | Code::EmptyCustomData
        | Code::InvalidCustomData
        | Code::InvalidMetadata
        | Code::MessageActionNotAllowed
        | Code::WebhookAlreadyExists
        | Code::WebhookLimit
        | Code::WebhookOff
        | Code::DeliveryEnded
        | Code::WebhookVersionUnsupported
        | Code::SocketAlreadyLoggedIn => StatusCode::BAD_REQUEST,
        Code::EmptyAppId
        | Code::InvalidAppId
        | Code::EmptyApiKey
        | Code::ApiKeyNotFound
        | Code::EmptyAuthHeader
        | Code::EmptyAuthToken
        | Code::AuthTokenNotFound
        | Code::GroupNotJoined
        | Code::SocketNotLoggedIn => StatusCode::UNAUTHORIZED,
        Code::NoAccess | Code::GroupNoClearance | Code::MessageNotASender | Code::BlockedByWebhook => {
            StatusCode::FORBIDDEN
        }
        Code::AppNotFound
        | Code::UidNotFound
        | Code::GuidNotFound
        | Code::AuthTokenUnknown
        | Code::NotAMember
        | Code::MessageNotFound
        | Code::WebhookNotFound
        | Code::TriggerNotFound
        | Code::DeliveryNotFound
        | Code::ReplayNotFound
        | Code::ApiNotFound => StatusCode::NOT_FOUND,
        Code::EventsGone => StatusCode::GONE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Code::StoreUnavailable | Code::StartSuperseded => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_section_with_its_status_in_the_error_document() {
        let document = include_str!("../../../../docs/errors.md");
        for code in Code::ALL {
            let (text, status) = (code.as_str(), status_of(*code).as_u16());
            let heading = format!("\n## {text}\n\nStatus {status}");
            assert!(document.contains(&heading), "docs/errors.md lacks '{}'", heading.trim());
        }
        for heading in document.lines().filter_map(|line| line.strip_prefix("## ")) {
            let is_known = Code::ALL.iter().any(|code| code.as_str() == heading);
            assert!(is_known, "docs/errors.md explains '{heading}', which is never sent");
        }
    }

    #[test]
    fn a_field_at_fault_is_named_in_the_details() {
        let object = to_json(&Refusal::field(Code::BadRequest, "name", "is required"));
        assert_eq!(object["details"], json!({"name": ["The field 'name' is required."]}));
        assert_eq!(object["code"], "ERR_BAD_REQUEST");
        assert_eq!(object["source"], "chat-api");
    }

    #[test]
    fn every_field_at_fault_is_named_in_the_details() {
        let of = |field, complaint| Refusal::field(Code::BadRequest, field, complaint);
        let object = to_json(&of("a", "is required").and(of("b", "is odd")).and(of("b", "is long")));
        let b = ["The field 'b' is odd.", "The field 'b' is long."];
        assert_eq!(object["details"], json!({"a": ["The field 'a' is required."], "b": b}));
        assert_eq!(object["message"], "The field 'a' is required.");
    }

    #[test]
    fn a_value_that_its_sender_needs_stands_in_the_details() {
        let refusal = Refusal::new(Code::EventsGone, "Gone.").with_fact("oldest", 12);
        assert_eq!(to_json(&refusal)["details"], json!({"oldest": ["12"]}));
        assert_eq!(ApiError::from(refusal).into_response().status(), StatusCode::GONE);
    }

    #[test]
    fn an_unwritable_store_says_when_to_come_back() {
        let response = ApiError::from(Refusal::unavailable()).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
    }
}
