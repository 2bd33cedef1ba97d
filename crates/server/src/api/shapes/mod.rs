//! The objects of the domain as the API documents describe them. The domain writes their JSON; that it is
//! as described here is what the tests of the documents hold. Shapes of one handler stand beside it.

pub mod people;
pub mod messages;
pub mod hooks;

use std::collections::BTreeMap;

use chathook_domain::refusal::Code;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::error::status_of;

/// Where an operation names its refusals until the document is finished.
pub const REFUSALS: &str = "x-refusals";

/// Marks a field that may be `null` although it may be left out; others are left out instead.
pub const NULL: &str = "x-null";

/// The refusals of an operation beside those of its whole family: status and code of each.
#[must_use]
pub fn refuses(codes: &[Code]) -> Value {
    codes.iter().map(|code| json!([status_of(*code).as_u16(), code.as_str()])).collect()
}

/// A refused call.
#[derive(ToSchema)]
pub struct Refused {
    pub error: Error,
}

/// Why a call was refused. `code` is stable; the sentences are for people and may change.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Error {
    /// A sentence that says what to do about it, and names the field at fault where there is one.
    pub message: String,
    /// The same sentence; clients made for other servers read it here.
    pub dev_message: String,
    /// `chat-api`.
    pub source: String,
    #[schema(example = "ERR_BAD_REQUEST")]
    pub code: String,
    /// The field at fault with its sentence, and what the caller needs to go on, such as `oldest`.
    pub details: Option<BTreeMap<String, Vec<String>>>,
}
