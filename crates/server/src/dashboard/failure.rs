//! Why there is no such page: a refusal on its way to the error page.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chathook_domain::refusal::Refusal;

use crate::api::ApiError;
use crate::api::error::status_of;

/// Why there is no such page; the error page says it, with the API's status.
#[derive(Debug)]
pub struct PageError(Failed);

/// What a response carries that is to become the error page.
#[derive(Debug, Clone)]
pub struct Failed {
    pub refusal: Refusal,
    pub status: StatusCode,
}

impl PageError {
    #[must_use]
    pub const fn with_status(refusal: Refusal, status: StatusCode) -> Self {
        Self(Failed { refusal, status })
    }
}

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> Self {
        Self::with_status(refusal.clone(), status_of(refusal.code))
    }
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self::with_status(error.refusal().clone(), error.status())
    }
}

impl IntoResponse for PageError {
    /// By itself a sentence, for who is not logged in; the gate makes a page of it.
    fn into_response(self) -> Response {
        let Self(failed) = self;
        let mut response = (failed.status, failed.refusal.message.clone()).into_response();
        response.extensions_mut().insert(failed);
        response
    }
}
