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
    /// Where a redirect points, cut at what a person reads.
    pub location: Option<String>,
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

impl Answer {
    /// What it says beyond its status, for people.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match (self.status, &self.location, self.retry_after_s) {
            (300..=399, Some(to), _) => Some(format!(
                "Redirects are not followed. It points to {to}: if that is the endpoint, make it the webhook's URL."
            )),
            (300..=399, None, _) => Some("Redirects are not followed.".to_owned()),
            (410, _, _) => Some("The endpoint wants no more, for good.".to_owned()),
            (429 | 503, _, Some(pause_s)) => {
                Some(format!("It asked for a pause of {pause_s} s (Retry-After)."))
            }
            _ => None,
        }
    }
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

/// Of what an outcome speaks (design 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// It went well.
    Nobody,
    /// The endpoint is down, busy, or not the one that was meant.
    Endpoint,
    /// The endpoint works and does not want this one.
    Delivery,
    /// Our own attempt died: it says nothing of either.
    Us,
}

impl Outcome {
    /// Whether this counts against the endpoint: no answer, TLS, 3xx, 401, 403, 404, 407, 408, 429 and 5xx do. Any
    /// other 4xx speaks of the delivery.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Failed(Failure::Internal) => Blame::Us,
            Self::Failed(_) => Blame::Endpoint,
            Self::Answered(answer) => match answer.status {
                200..=299 => Blame::Nobody,
                401 | 403 | 404 | 407 | 408 | 429 => Blame::Endpoint,
                400..=499 => Blame::Delivery,
                _ => Blame::Endpoint,
            },
        }
    }

    /// No answer came at all.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Answered(_) => false,
            Self::Failed(failure) => *failure != Failure::Internal,
        }
    }

    /// 410: the endpoint wants no more, for good.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Answered(answer) if answer.status == 410)
    }

    /// The pause that the endpoint asked for, in seconds: `Retry-After` counts with 429 and 503.
    #[must_use]
    pub fn asked_pause_s(&self) -> Option<u64> {
        match self {
            Self::Answered(answer) if matches!(answer.status, 429 | 503) => answer.retry_after_s,
            Self::Answered(_) | Self::Failed(_) => None,
        }
    }

    /// Any 2xx is success, also when the body was longer than we read.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered(a) if (200..300).contains(&a.status))
    }
}
