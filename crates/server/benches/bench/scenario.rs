//! The scenarios by name: what each means, in which order they run, and what each adds to the measured.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::bare_client::{self, Bare, Caught, Target};
use crate::bench::{Bench, CALLERS};
use crate::rows::Measured;
use crate::{
    asks, bare_loop, crowd, deliveries, kill, latency, neighbour, pages, sends, sockets, start, waiting,
};

/// No scenario takes so long, unless something hangs.
const SCENARIO_MAX: Duration = Duration::from_secs(240);

/// In the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    Start,
    #[value(name = "deliveries-1")]
    Deliveries1,
    #[value(name = "deliveries-10")]
    Deliveries10,
    Sends,
    Latency,
    BeforeMessage,
    Neighbour,
    Crowd,
    Sockets,
    Kill,
    Waiting,
    Pages,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

impl Scenario {
    /// Its figures are parts of what the bare client reaches on 64 connections.
    pub fn needs_bare_client(self) -> bool {
        match self {
            Self::Deliveries1 | Self::Deliveries10 => true,
            Self::Start
            | Self::Sends
            | Self::Latency
            | Self::BeforeMessage
            | Self::Neighbour
            | Self::Crowd
            | Self::Sockets
            | Self::Kill
            | Self::Waiting
            | Self::Pages => false,
        }
    }

    /// It takes long to begin.
    pub fn needs_a_million(self) -> bool {
        match self {
            Self::Waiting | Self::Pages => true,
            Self::Start
            | Self::Deliveries1
            | Self::Deliveries10
            | Self::Sends
            | Self::Latency
            | Self::BeforeMessage
            | Self::Neighbour
            | Self::Sockets
            | Self::Crowd
            | Self::Kill => false,
        }
    }

    /// Measures, within bounds.
    pub async fn run(self, bench: &Bench, caught: &Caught, measured: &mut Measured) -> Result<()> {
        let run = self.measure(bench, caught, measured);
        tokio::time::timeout(SCENARIO_MAX, run).await.context("it came to no end")?
    }

    async fn measure(self, bench: &Bench, caught: &Caught, measured: &mut Measured) -> Result<()> {
        match self {
            Self::Start => measured.start = Some(start::measure(bench).await?),
            Self::Deliveries1 => {
                need_bare_loop(bench, measured).await?;
                measured.one = Some(deliveries::measure(bench, 1).await?);
            }
            Self::Deliveries10 => measured.ten = Some(deliveries::measure(bench, 10).await?),
            Self::Sends => {
                need_bare_loop(bench, measured).await?;
                measured.sends = Some(sends::measure(bench).await?);
            }
            Self::Latency => measured.latency = Some(latency::measure(bench).await?),
            Self::BeforeMessage => {
                measured.asks_instant = Some(asks::measure(bench, caught, "/ok").await?);
                measured.asks_waiting = Some(asks::measure(bench, caught, "/wait5").await?);
            }
            Self::Neighbour => measured.pairs = Some(neighbour::measure(bench).await?),
            Self::Crowd => measured.crowd = Some(crowd::measure(bench).await?),
            Self::Sockets => measured.sockets = Some(sockets::measure(bench).await?),
            Self::Kill => {
                let kills = measured.kills.insert(kill::measure(bench).await?);
                let missing: usize = kills.iter().map(|kill| kill.missing).sum();
                anyhow::ensure!(missing == 0, "{missing} messages or numbers are missing after kill -9");
            }
            Self::Waiting => measured.waiting = Some(waiting::measure(bench).await?),
            Self::Pages => measured.pages = Some(pages::measure(bench).await?),
        }
        Ok(())
    }
}

async fn need_bare_loop(bench: &Bench, measured: &mut Measured) -> Result<()> {
    if measured.bare_loop.is_none() {
        measured.bare_loop = Some(bare_loop::measure(bench).await?);
    }
    Ok(())
}

/// The machine's limit for requests, now.
pub async fn bare_client(bench: &Bench, caught: &Caught) -> Result<Bare> {
    let to = Target { path: "/ok", connections: CALLERS };
    bare_client::measure(bench, &caught.after_message, to, bench.lengths.bare).await
}

/// What every figure means, for the help.
pub fn definitions() -> String {
    let definitions = [
        ABOUT,
        bare_client::DEFINITION,
        bare_loop::DEFINITION,
        deliveries::DEFINITION,
        sends::DEFINITION,
        latency::DEFINITION,
        asks::DEFINITION,
        neighbour::DEFINITION,
        crowd::DEFINITION,
        sockets::DEFINITION,
        start::DEFINITION,
        waiting::DEFINITION,
        pages::DEFINITION,
        kill::DEFINITION,
    ];
    definitions.join("\n\n")
}

const ABOUT: &str = "\
What is measured
  Each scenario starts the server's real release binary with its default settings on an empty data
  directory of the disk on which the build lies, with an HTTPS endpoint (the sink: hyper over rustls) in a
  process of its own and the senders in the bench. All of them share the cores of this machine. Payloads
  have about 700 bytes. Times are nearest ranks of all that was measured, nothing is left out.
  A figure that is not reached is told and is no failure; the exit code is 1 when a scenario could not run
  or something was lost.";
