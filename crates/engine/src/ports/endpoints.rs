//! The port through which every HTTP request to a customer's endpoint goes.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chathook_domain::delivery::outcome_detail;
use chathook_domain::listener::Listener;
use chathook_domain::outcome::{Failure, Outcome};
use chathook_domain::webhook::EndpointUrl;

/// Where requests go: a URL taken apart once for each configuration of a webhook, and shared by all
/// of its requests, which are many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    url: EndpointUrl,
    authority: Bytes,
    request_target: Bytes,
}

impl Destination {
    #[must_use]
    pub fn of(url: EndpointUrl) -> Arc<Self> {
        let (authority, request_target) = (url.authority().into(), url.request_target().into());
        Arc::new(Self { url, authority, request_target })
    }

    #[must_use]
    pub fn url(&self) -> &EndpointUrl {
        &self.url
    }

    /// The `Host` header: host, and port where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> &Bytes {
        &self.authority
    }

    /// Path and query.
    #[must_use]
    pub fn request_target(&self) -> &Bytes {
        &self.request_target
    }
}

/// One POST to one endpoint.
#[derive(Clone)]
pub struct Post {
    pub to: Arc<Destination>,
    pub headers: Headers,
    pub body: Bytes,
    /// From the first look-up to the open TCP connection.
    pub connect_timeout: Duration,
    /// One clock over everything, the answer's body included.
    pub timeout: Duration,
    /// How many bytes of the answer's body are read; the rest is left unread.
    pub answer_bytes_max: usize,
    /// How many kept-open connections this endpoint may hold.
    pub idle_connections_max: usize,
}

impl fmt::Debug for Post {
    /// Neither headers nor body: they hold secrets, and what people wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("url", &self.to.url.as_str()).finish_non_exhaustive()
    }
}

/// The headers of one request; values are checked by their maker to be printable ASCII. What is
/// written for this request stands in one piece of memory, and each value is a part of it.
#[derive(Clone, Default)]
pub struct Headers {
    lines: Vec<(Cow<'static, str>, Bytes)>,
    room: BytesMut,
}

impl Headers {
    /// Room for a delivery's headers; more is made where it does not suffice.
    const LINES: usize = 12;
    const BYTES: usize = 512;

    #[must_use]
    pub fn new() -> Self {
        Self { lines: Vec::with_capacity(Self::LINES), room: BytesMut::with_capacity(Self::BYTES) }
    }

    /// Adds a value of this request. The name is in lower case.
    pub fn write(&mut self, name: &'static str, value: impl fmt::Display) {
        write!(self.room, "{value}").expect("writing to memory does not fail");
        self.lines.push((Cow::Borrowed(name), self.room.split().freeze()));
    }

    /// Adds a value that many requests share. The name is in lower case.
    pub fn share(&mut self, name: impl Into<Cow<'static, str>>, value: Bytes) {
        self.lines.push((name.into(), value));
    }

    #[must_use]
    pub fn lines(&self) -> &[(Cow<'static, str>, Bytes)] {
        &self.lines
    }
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

impl Phases {
    /// What an outcome says beyond its name, for people; of a time that was over, what it was waited for.
    #[must_use]
    pub fn detail_of(&self, outcome: &Outcome) -> Option<String> {
        match outcome {
            Outcome::Failed(Failure::Timeout) => Some(self.waited_in_vain()),
            Outcome::Failed(_) | Outcome::Answered(_) => outcome_detail(outcome),
        }
    }

    fn waited_in_vain(&self) -> String {
        let before: u64 = [self.resolve_us, self.connect_us, self.tls_us].into_iter().flatten().sum();
        let waited_us = self.total_us.saturating_sub(before);
        // A handshake that the clock ended leaves no time after it.
        let unfinished_us = self.tls_us.filter(|_| waited_us < self.total_us / 100);
        match self.first_byte_us {
            Some(_) => "The answer began, and was not complete when the time was over.".to_owned(),
            // The attempt died on our side, and nothing was measured.
            None if self.total_us == 0 => "No answer began.".to_owned(),
            None if let Some(tls_us) = unfinished_us => {
                format!("The TLS handshake did not end: waited for it {}.", seconds(tls_us))
            }
            None => format!("No answer began: waited for the first byte {}.", seconds(waited_us)),
        }
    }
}

fn seconds(us: u64) -> String {
    let tenths = us.div_ceil(1_000) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// What a POST came to, and how.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub outcome: Outcome,
    pub phases: Phases,
    /// The address that was checked and connected to; written out once for each connection.
    pub address: Option<Arc<str>>,
}

/// Sends POSTs to endpoints. Judges the address at each connection, never follows a redirect,
/// repeats once on a new connection when a kept-open one turns out dead before the first byte.
#[async_trait]
pub trait Endpoints: Send + Sync + 'static {
    async fn post(&self, post: Post) -> Exchange;

    /// Whether somebody holds a connection of this listener open, and so is its endpoint.
    fn is_listening(&self, _listener: &Listener) -> bool {
        false
    }
}
