//! What came of one attempt: an answer, or a named failure. Never an error of ours.

/// What one HTTP request to an endpoint came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered, with whatever status.
    Answered(Answer),
    /// It did not; the failure has a name.
    Failed(Failure),
}

/// A complete HTTP answer, its body cut at what the caller asked to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The `Retry-After` header in seconds, where it holds a plain number.
    pub retry_after_s: Option<u64>,
    /// At most the bytes that the caller asked for.
    pub body: Vec<u8>,
    /// The endpoint had more to say than `body` holds.
    pub is_cut: bool,
}

/// Why there is no answer. The names are shown in attempts listings and never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The address guard refused: the address that was not public.
    AddressRefused(String),
    /// The URL's scheme is not allowed here.
    SchemeRefused,
    /// The name did not resolve.
    NameNotResolved(String),
    /// No TCP connection: refused, unreachable.
    NotConnected(String),
    /// No TCP connection within the connect clock.
    ConnectTimeout,
    /// The TLS handshake or the certificate failed.
    Tls(String),
    /// The whole-attempt clock ended before the answer, or its body, was complete.
    Timeout,
    /// The connection ended, or spoke no HTTP, before a complete answer.
    Broken(String),
    /// Our own attempt died.
    Internal,
}

impl Failure {
    /// The stable name of this failure.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddressRefused(_) => "address_refused",
            Self::SchemeRefused => "scheme_refused",
            Self::NameNotResolved(_) => "name_not_resolved",
            Self::NotConnected(_) => "not_connected",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls(_) => "tls",
            Self::Timeout => "timeout",
            Self::Broken(_) => "broken",
            Self::Internal => "internal",
        }
    }
}

impl Outcome {
    /// Any 2xx is success, also when the body was longer than we read.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered(a) if (200..300).contains(&a.status))
    }
}
