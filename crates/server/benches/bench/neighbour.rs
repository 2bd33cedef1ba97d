//! A webhook that hangs, and what the others notice of it.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::latency;
use crate::load::Load;
use crate::spread::{Spread, median};
use crate::tenant::{CONVERSATIONS, Tenant};

pub const DEFINITION: &str = "\
neighbour
  A healthy webhook gets 100 deliveries/s (as in `latency`), alone, and then beside a webhook of another
  app that gets as many messages at the same time and whose endpoint takes each POST and never answers.
  Five pairs, alone and beside, one after the other, on one server; 10 s each half (4 s in the short run).
  The neighbour's app is made anew for each pair and deleted after it. The figure is the median, over the
  pairs, of the healthy webhook's p99 of send → POST beside over alone; each p99 stands beside it.";

const PAIRS: usize = 5;
/// Conversations of the neighbour.
const NEIGHBOURS: usize = 64;

pub struct Pair {
    pub alone: Spread,
    pub beside: Spread,
}

impl Pair {
    pub fn ratio(&self) -> f64 {
        let [alone, beside] = [&self.alone, &self.beside].map(|times| Duration::from_micros(times.p99()));
        beside.as_secs_f64() / alone.as_secs_f64().max(f64::EPSILON)
    }
}

pub fn median_ratio(pairs: &[Pair]) -> f64 {
    median(pairs.iter().map(Pair::ratio).collect())
}

pub async fn measure(bench: &Bench) -> Result<Vec<Pair>> {
    let home = bench.home()?;
    let server = home.start().await?;
    let tenant = Tenant::make(server.address).await?;
    tenant.webhook("healthy", &bench.sink.url("/ok"), "after_message").await?;
    let healthy = Load::make(tenant, CONVERSATIONS).await?;
    let time = bench.lengths.neighbour;
    // The first connections and statements are nobody's fault.
    latency::paced(bench, &healthy, Duration::from_secs(1)).await?;
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let alone = latency::whole(&latency::paced(bench, &healthy, time).await?);
        let tenant = Tenant::make(server.address).await?;
        tenant.webhook("hanging", &bench.sink.url("/hang"), "after_message").await?;
        let hanging = Load::make(tenant, NEIGHBOURS).await?;
        let (beside, sent) =
            tokio::join!(latency::paced(bench, &healthy, time), hanging.pace(latency::RATE_PER_S, time));
        sent?;
        pairs.push(Pair { alone, beside: latency::whole(&beside?) });
        hanging.tenant.delete().await?;
    }
    Ok(pairs)
}
