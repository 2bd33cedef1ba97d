//! How long a message takes from its sender to the endpoint when the server has time.

use std::collections::HashMap;

use anyhow::{Context as _, Result};

use crate::bench::{Bench, DRAIN_MAX};
use crate::load::{Load, Paced};
use crate::sink::Memory;
use crate::spread::Spread;
use crate::tenant::{CONVERSATIONS, Tenant};

pub const DEFINITION: &str = "\
latency
  send → POST at 100 messages/s, one webhook, in 1,024 conversations; messages begin at their times,
  whether or not those before are answered. The whole time runs from the moment before the sender writes
  its request to the moment when the sink has read the POST to its end, by the clock of the machine, which
  both processes share. Outside fsync: of each message, the whole time less what the server itself recorded
  as its wait for the disk (`Server-Timing: fsync;dur=<ms>` of the answer to the send). After the answer:
  from the sender having its answer, which comes after the commit, to the POST having arrived; it is below
  zero where the POST is quicker, and counts as zero then.";

pub const RATE_PER_S: u32 = 100;

pub struct Latency {
    pub whole: Spread,
    /// `None` when the server records no wait.
    pub outside_fsync: Option<Spread>,
    pub after_answer: Spread,
    pub answer: Spread,
}

pub async fn measure(bench: &Bench) -> Result<Latency> {
    let home = bench.home()?;
    let server = home.start().await?;
    let tenant = Tenant::make(server.address).await?;
    tenant.webhook("sink", &bench.sink.url("/ok"), "after_message").await?;
    let load = Load::make(tenant, CONVERSATIONS).await?;
    let paced = paced(bench, &load, bench.lengths.pace).await?;
    let after_answer = |(paced, at_us): &(Paced, u64)| at_us.saturating_sub(paced.answered_us);
    let outside =
        |(paced, at_us): &(Paced, u64)| Some((at_us - paced.sent_us).saturating_sub(paced.fsync_us?));
    let outside: Option<Vec<u64>> = paced.iter().map(outside).collect();
    Ok(Latency {
        whole: whole(&paced),
        outside_fsync: outside.map(Spread::of),
        after_answer: Spread::of(paced.iter().map(after_answer).collect()),
        answer: Spread::of(paced.iter().map(|(paced, _)| paced.answered_us - paced.sent_us).collect()),
    })
}

/// Sends at the pace, and waits for each message at the sink: with the time of its arrival.
pub async fn paced(bench: &Bench, load: &Load, time: std::time::Duration) -> Result<Vec<(Paced, u64)>> {
    bench.sink.begin(Memory::Sightings).await?;
    let paced = load.pace(RATE_PER_S, time).await?;
    bench.sink.until_answered(paced.len() as u64, DRAIN_MAX).await?;
    let mut arrivals = HashMap::new();
    for sighting in bench.sink.sightings().await? {
        arrivals.entry(sighting.number).or_insert(sighting.at_us);
    }
    let arrived = |paced: Paced| {
        let at_us = arrivals.get(&paced.number).context("a message has not arrived")?;
        Ok((paced, *at_us))
    };
    paced.into_iter().map(arrived).collect()
}

/// Send → POST.
pub fn whole(paced: &[(Paced, u64)]) -> Spread {
    Spread::of(paced.iter().map(|(paced, at_us)| at_us.saturating_sub(paced.sent_us)).collect())
}
