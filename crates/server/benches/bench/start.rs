//! A server with nothing to do: how soon it is ready, and how much memory it takes.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::spread::Spread;

pub const DEFINITION: &str = "\
start
  Start to ready: from the start of the process on an empty data directory to the first 200 of /readyz,
  the median of five. Memory idle: VmRSS of the last of them, 2 s later.";

const STARTS: usize = 5;
const SETTLE: Duration = Duration::from_secs(2);

pub struct Start {
    pub ready_us: u64,
    pub idle_kib: u64,
}

pub async fn measure(bench: &Bench) -> Result<Start> {
    let mut times = Vec::new();
    let mut idle_kib = 0;
    for nth in 1..=STARTS {
        let home = bench.home()?;
        let server = home.start().await?;
        times.push(u64::try_from(server.ready_after.as_micros())?);
        if nth == STARTS {
            tokio::time::sleep(SETTLE).await;
            idle_kib = server.resident_kib()?;
        }
    }
    Ok(Start { ready_us: Spread::of(times).p50(), idle_kib })
}
