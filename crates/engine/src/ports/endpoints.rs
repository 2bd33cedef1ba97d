//! The port through which every HTTP request to a customer's endpoint goes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chathook_domain::outcome::Outcome;
use chathook_domain::webhook::EndpointUrl;

/// One POST to one endpoint.
#[derive(Debug, Clone)]
pub struct Post {
    pub url: EndpointUrl,
    /// Names in lower case; values already checked to be printable ASCII.
    pub headers: Vec<(&'static str, String)>,
    pub body: Arc<str>,
    /// From the first look-up to the open TCP connection.
    pub connect_timeout: Duration,
    /// One clock over everything, the answer's body included.
    pub timeout: Duration,
    /// How many bytes of the answer's body are read; the rest is left unread.
    pub answer_bytes_max: usize,
    /// How many kept-open connections this endpoint may hold.
    pub idle_connections_max: usize,
}

/// Where the time of one request went, in microseconds; absent where the phase was not reached
/// or a kept-open connection made it unnecessary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phases {
    pub resolve_us: Option<u64>,
    pub connect_us: Option<u64>,
    pub tls_us: Option<u64>,
    pub first_byte_us: Option<u64>,
    pub total_us: u64,
}

/// What a POST came to, and how.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub outcome: Outcome,
    pub phases: Phases,
    /// The address that was checked and connected to.
    pub address: Option<String>,
}

/// Sends POSTs to endpoints. Judges the address at each connection, never follows a redirect,
/// repeats once on a new connection when a kept-open one turns out dead before the first byte.
#[async_trait]
pub trait Endpoints: Send + Sync + 'static {
    async fn post(&self, post: Post) -> Exchange;
}
