//! What goes over a listener's connection, as `/asyncapi.json` describes it. A real connection is held to it by
//! a test.

use utoipa::ToSchema;

use crate::api::shapes::hooks::Trigger;

/// Which webhook the connection is of.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ListenerWelcome {
    /// The id of the listener's webhook.
    pub webhook: String,
    /// The query's `name` when the connection is to be opened again.
    pub name: String,
    /// The webhook was there before: what waited for it comes now.
    pub resumed: bool,
    pub triggers: Vec<Trigger>,
    /// Shown once, when the webhook is made.
    pub signing_secret: Option<String>,
}

/// A request for the receiver to make, but for its body.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ListenerRequest {
    /// The answer names it.
    pub id: u64,
    /// Each a name and its value.
    pub headers: Vec<Vec<String>>,
    pub connect_timeout_ms: u64,
    /// After that nobody waits for the answer.
    pub timeout_ms: u64,
    /// What is read of the answer's body.
    pub answer_bytes_max: u64,
}

/// What a request came to: an answer with its status, or a failure. It has either `status` or `failed`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ListenerAnswer {
    pub id: u64,
    #[schema(minimum = 100, maximum = 999)]
    pub status: Option<u16>,
    /// The seconds of `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// The body goes on beyond what was read.
    pub is_cut: Option<bool>,
    pub failed: Option<ListenerFailure>,
    /// The failure in words, of which 300 characters are kept.
    pub detail: Option<String>,
}

/// Why there is no answer. Another word counts as `broken`.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ListenerFailure {
    NameNotResolved,
    NotConnected,
    ConnectTimeout,
    Tls,
    Timeout,
    Broken,
}

/// What a receiver says beside its answers.
#[derive(ToSchema)]
pub struct ListenerSaid {
    pub say: ListenerWord,
}

/// `goodbye`: it listens no more. `again`: it works again, so what waits is to come at once.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ListenerWord {
    Goodbye,
    Again,
}
