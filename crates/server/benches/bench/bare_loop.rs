//! The limit of the store on this disk: commits without HTTP, JSON or rules around them.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use crate::bench::Bench;
use crate::load::per_s;
use crate::spread::Spread;
use crate::stock::{Stock, Until};

pub const DEFINITION: &str = "\
bare loop
  The limit of the store on this disk. 64 tasks in one process, each awaiting `commit_message` of the
  server's own store, one after the other, in 1,024 conversations, with no webhook: the same commits
  through the same writer thread as a durable send, without HTTP, JSON or rules.";

#[derive(Clone)]
pub struct BareLoop {
    pub per_s: f64,
    pub times: Spread,
}

pub async fn measure(bench: &Bench) -> Result<BareLoop> {
    let home = bench.home()?;
    let stock = Arc::new(Stock::make(&home.data_dir()).await?);
    let began = Instant::now();
    let times = stock.commit(Until::Over(bench.lengths.throughput)).await?;
    Ok(BareLoop { per_s: per_s(times.count() as u64, began.elapsed()), times })
}
