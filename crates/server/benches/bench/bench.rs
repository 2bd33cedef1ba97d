//! What all scenarios share: the sink, the server's binary, and how long each measures.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::server::Home;
use crate::sink::Sink;

pub struct Bench {
    pub sink: Sink,
    pub binary: PathBuf,
    pub lengths: Lengths,
}

impl Bench {
    /// An empty place for a server.
    pub fn home(&self) -> Result<Home> {
        Home::make(&self.binary, &self.sink.ca_pem)
    }
}

pub struct Lengths {
    pub bare: Duration,
    pub throughput: Duration,
    pub pace: Duration,
    pub ask: Duration,
    /// One half of a pair of the neighbour's.
    pub neighbour: Duration,
    pub kills: u64,
}

impl Lengths {
    pub const SHORT: Self = Self {
        bare: Duration::from_secs(3),
        throughput: Duration::from_secs(5),
        pace: Duration::from_secs(10),
        ask: Duration::from_secs(3),
        neighbour: Duration::from_secs(4),
        kills: 2,
    };
    pub const FULL: Self = Self {
        bare: Duration::from_secs(10),
        throughput: Duration::from_secs(20),
        pace: Duration::from_secs(40),
        ask: Duration::from_secs(10),
        neighbour: Duration::from_secs(10),
        kills: 5,
    };
}

/// Callers of the figures of throughput.
pub const CALLERS: usize = 64;
/// What was sent is delivered by then, or it is lost.
pub const DRAIN_MAX: Duration = Duration::from_secs(90);
