//! What `before_message` costs, beside the round trip that it must cost.

use anyhow::{Context as _, Result};

use crate::bare_client::{self, Bare, Caught, Target};
use crate::bench::Bench;
use crate::load::Load;
use crate::sink::Memory;
use crate::spread::Spread;
use crate::tenant::{CONVERSATIONS, Tenant};

pub const DEFINITION: &str = "\
before-message
  8 callers as in `sends`, one webhook that listens to before_message, once with an endpoint that answers
  at once and once with one that waits 5 ms. Measured as the server records it for its users
  (`beforeMessage.tookUs` of the webhook's stats), and compared with the bare client on 8 connections, the
  same POST and the same sink: p50 at most 60 µs above it with the instant sink; p50 at most 1.05 × and p99
  at most 1.3 × of it with the other. Whole sends stand beside where the server records nothing.";

pub const CALLERS: usize = 8;
const HOOK: &str = "sink";

/// One kind of sink.
pub struct Asks {
    pub bare: Bare,
    /// `None` when the server tells nothing of its calls.
    pub recorded: Option<Recorded>,
    pub sends: Spread,
}

#[derive(Clone, Copy)]
pub struct Recorded {
    pub p50_us: u64,
    pub p99_us: u64,
}

pub async fn measure(bench: &Bench, caught: &Caught, path: &'static str) -> Result<Asks> {
    let to = Target { path, connections: CALLERS };
    let bare = bare_client::measure(bench, &caught.before_message, to, bench.lengths.ask).await?;
    let home = bench.home()?;
    let server = home.start().await?;
    let tenant = Tenant::make(server.address).await?;
    tenant.webhook(HOOK, &bench.sink.url(path), "before_message").await?;
    let load = Load::make(tenant, CONVERSATIONS).await?;
    bench.sink.begin(Memory::Counts).await?;
    let sent = load.callers(CALLERS, bench.lengths.ask).await?;
    let counts = bench.sink.counts().await?;
    anyhow::ensure!(counts.answered >= sent.count, "{} messages, {} asked", sent.count, counts.answered);
    Ok(Asks { bare, recorded: recorded(&load.tenant).await?, sends: sent.times })
}

/// The one place that knows where the server tells how long its calls took:
/// `GET /apps/{appId}/webhooks/{id}/stats`, in `beforeMessage.tookUs`, from the last minutes.
async fn recorded(tenant: &Tenant) -> Result<Option<Recorded>> {
    let Some(stats) = tenant.asked(&format!("/webhooks/{HOOK}/stats")).await? else { return Ok(None) };
    let took = &stats["beforeMessage"]["tookUs"];
    let (p50_us, p99_us) = took["p50"]
        .as_u64()
        .zip(took["p99"].as_u64())
        .with_context(|| format!("the server tells of its calls otherwise: {stats}"))?;
    Ok(Some(Recorded { p50_us, p99_us }))
}
