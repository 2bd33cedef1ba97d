//! A start with a million deliveries waiting.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::sink::Memory;
use crate::stock::{Stock, Until};

pub const DEFINITION: &str = "\
waiting (--full only)
  Start to first delivery with 1,000,000 waiting: from the start of the process to the first POST having
  arrived at the sink. The store holds 100,000 messages of 1,024 conversations, each owed to 10 webhooks
  and never tried. They were written by the server's own store before, without a server.";

const WEBHOOKS: u64 = 10;
const MESSAGES: u64 = 100_000;

pub struct Waiting {
    pub first_delivery_us: u64,
    pub ready_us: u64,
    pub resident_kib: u64,
}

pub async fn measure(bench: &Bench) -> Result<Waiting> {
    let home = bench.home()?;
    let stock = Arc::new(Stock::make(&home.data_dir()).await?);
    for nth in 0..WEBHOOKS {
        stock.webhook(&format!("sink-{nth}"), &bench.sink.url(&format!("/ok/{nth}"))).await?;
    }
    let committed = stock.commit(Until::Count(MESSAGES)).await?;
    ensure!(committed.count() as u64 == MESSAGES, "only {} messages were written", committed.count());
    // Closing the store takes its log into the database, as a server's stop does.
    drop(stock);
    bench.sink.begin(Memory::Counts).await?;
    let server = home.start().await?;
    let counts = bench.sink.until_answered(1, Duration::from_secs(60)).await?;
    Ok(Waiting {
        first_delivery_us: counts.first_at_us.saturating_sub(server.began_us),
        ready_us: u64::try_from(server.ready_after.as_micros())?,
        resident_kib: server.resident_kib()?,
    })
}
