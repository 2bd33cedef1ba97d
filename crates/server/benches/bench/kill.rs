//! kill -9 in the middle of everything.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Result;
use chathook_domain::webhook::IN_FLIGHT_MAX;

use crate::bench::{Bench, CALLERS, DRAIN_MAX};
use crate::load::Load;
use crate::sink::{Memory, Sighting};
use crate::tenant::{CONVERSATIONS, Tenant};

pub const DEFINITION: &str = "\
kill
  64 callers as in `sends`, one webhook; after 2 s the server is killed with SIGKILL and started again on
  the same data. Missing: messages that were acknowledged and have not arrived at the sink when all is
  quiet (no POST for 3 s), and gaps in the webhook's numbers. Repeats: POSTs beyond the first with the same
  webhook-id. Of several kills, the one with the most is shown; the bar is the bound on attempts in flight
  (64) and one settlement batch (500).";

/// Settlements of one transaction, which a kill may lose together (design 4).
const SETTLEMENT_BATCH_MAX: usize = 500;
pub const REPEATS_MAX: usize = IN_FLIGHT_MAX + SETTLEMENT_BATCH_MAX;
const LOADED: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(3);

pub struct Kill {
    pub acknowledged: usize,
    pub missing: usize,
    pub repeats: usize,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Kill>> {
    let mut kills = Vec::new();
    for _ in 0..bench.lengths.kills {
        kills.push(kill_once(bench).await?);
    }
    Ok(kills)
}

async fn kill_once(bench: &Bench) -> Result<Kill> {
    let home = bench.home()?;
    let server = home.start().await?;
    let tenant = Tenant::make(server.address).await?;
    tenant.webhook("sink", &bench.sink.url("/ok"), "after_message").await?;
    let load = Load::make(tenant, CONVERSATIONS).await?;
    bench.sink.begin(Memory::Sightings).await?;
    let sending = tokio::spawn(async move { load.callers_until_cut(CALLERS, 1).await });
    tokio::time::sleep(LOADED).await;
    server.kill()?;
    let acknowledged = sending.await??;
    let _server = home.start().await?;
    until_quiet(bench).await?;
    let sightings = bench.sink.sightings().await?;
    Ok(judge(&acknowledged, &sightings))
}

/// Returns when no POST has come for a while.
async fn until_quiet(bench: &Bench) -> Result<()> {
    let wait = async {
        let mut last = bench.sink.counts().await?.answered;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = bench.sink.counts().await?.answered;
            if now == last {
                return anyhow::Ok(());
            }
            last = now;
        }
    };
    // What goes on for longer is judged as it is then.
    tokio::time::timeout(DRAIN_MAX, wait).await.unwrap_or(Ok(()))
}

fn judge(acknowledged: &BTreeSet<u64>, sightings: &[Sighting]) -> Kill {
    let arrived: BTreeSet<u64> = sightings.iter().map(|sighting| sighting.number).collect();
    let numbers: BTreeSet<u64> = sightings.iter().map(|sighting| sighting.sequence).collect();
    let highest = numbers.last().copied().unwrap_or(0);
    let gaps = (1..=highest).filter(|number| !numbers.contains(number)).count();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for sighting in sightings {
        *seen.entry(&sighting.id).or_default() += 1;
    }
    Kill {
        acknowledged: acknowledged.len(),
        missing: acknowledged.difference(&arrived).count() + gaps,
        repeats: seen.values().map(|count| count - 1).sum(),
    }
}
