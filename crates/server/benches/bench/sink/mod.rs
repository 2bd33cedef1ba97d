//! The HTTPS endpoint of every scenario, as a process of its own, so that its CPU time is not the senders'.
//!
//! It answers by path: `/ok…` at once, `/wait5…` after 5 ms, `/hang…` never. The bench steers it over
//! a plain connection, a line of JSON each way; when that connection ends, so does the process.

mod endpoint;
mod link;
mod process;

use serde::{Deserialize, Serialize};

pub use link::Sink;
pub use process::run;

/// The hidden argument that makes this binary the sink.
pub const WORD: &str = "sink-process";

/// The first line of a sink.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    endpoint: std::net::SocketAddr,
    control: std::net::SocketAddr,
    ca_pem: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Order {
    /// Forgets everything; from now on each POST is remembered, or only counted.
    Begin(Memory),
    Counts,
    Sightings,
    LastPost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Memory {
    Counts,
    /// Each POST to `/ok…` with its time of arrival.
    Sightings,
}

/// What the endpoint has seen since the last `Begin`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Counts {
    /// POSTs answered, at once or after 5 ms.
    pub answered: u64,
    pub hung: u64,
    /// TLS connections that were opened.
    pub connections: u64,
    /// When the first POST had arrived and when the last was answered; 0 for never.
    pub first_at_us: u64,
    pub last_at_us: u64,
}

/// One POST.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sighting {
    /// The number that the sender wrote into the text of the message.
    pub number: u64,
    /// When it had arrived as a whole.
    pub at_us: u64,
    pub id: String,
    pub sequence: u64,
}

/// A request as it arrived, for the bare client to send the same.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Post {
    pub headers: Vec<(String, String)>,
    pub body: String,
}
