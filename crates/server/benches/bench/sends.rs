//! Durable sends over REST, with nothing to be delivered.

use anyhow::Result;

use crate::bench::{Bench, CALLERS};
use crate::load::{Load, Sent};
use crate::tenant::{CONVERSATIONS, Tenant};

pub const DEFINITION: &str = "\
sends
  Durable sends per second over REST: 64 callers, each on a kept-open plain HTTP/1.1 connection with one
  `POST /v3/messages` under way at a time, in 1,024 conversations, no webhook. Ratio: to the bare loop.";

pub async fn measure(bench: &Bench) -> Result<Sent> {
    let home = bench.home()?;
    let server = home.start().await?;
    let load = Load::make(Tenant::make(server.address).await?, CONVERSATIONS).await?;
    load.callers(CALLERS, bench.lengths.throughput).await
}
