//! Deliveries from the caller's POST to the endpoint's answer, as many as the server can.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::bench::{Bench, CALLERS, DRAIN_MAX};
use crate::load::{Load, per_s};
use crate::machine;
use crate::sink::Memory;
use crate::spread::Spread;
use crate::tenant::{CONVERSATIONS, Tenant};

pub const DEFINITION: &str = "\
deliveries-1, deliveries-10
  Deliveries per second, end to end: 64 callers as in `sends`, with 1 or 10 webhooks that listen to
  after_message and whose HTTPS endpoint answers 200 at once. Counted are all POSTs answered, over the time
  from the first send until the last POST of what was sent is answered: a backlog that is left when the
  callers stop counts against the figure. Ratio: to the bare client. The bar of deliveries-1 is 20 % of the
  bare client, or 60 % of the bare loop where that is lower.
  CPU: seconds of user and kernel time that the server used meanwhile (/proc/PID/stat), per 10,000
  deliveries; taking in the messages is part of it.";

pub struct Deliveries {
    pub messages: u64,
    pub deliveries: u64,
    pub repeats: u64,
    pub took: Duration,
    pub sends: Spread,
    pub sends_per_s: f64,
    pub cpu: Cpu,
    /// TLS connections opened while it was measured.
    pub connections: u64,
}

/// CPU seconds of the three who share the machine.
pub struct Cpu {
    pub server_s: f64,
    pub sink_s: f64,
    pub senders_s: f64,
}

impl Deliveries {
    pub fn per_s(&self) -> f64 {
        per_s(self.deliveries, self.took)
    }

    pub fn cpu_s_per_10000(&self) -> f64 {
        self.cpu.server_s / (per_s(self.deliveries, Duration::from_secs(1)) / 10_000.0)
    }
}

pub async fn measure(bench: &Bench, webhooks: u64) -> Result<Deliveries> {
    let home = bench.home()?;
    let server = home.start().await?;
    let tenant = Tenant::make(server.address).await?;
    for nth in 0..webhooks {
        tenant
            .webhook(&format!("sink-{nth}"), &bench.sink.url(&format!("/ok/{nth}")), "after_message")
            .await?;
    }
    let load = Load::make(tenant, CONVERSATIONS).await?;
    // Connections are open and caches are warm before it counts.
    bench.sink.begin(Memory::Counts).await?;
    let warm = load.callers(CALLERS, Duration::from_millis(500)).await?;
    bench.sink.until_answered(warm.count * webhooks, DRAIN_MAX).await?;

    bench.sink.begin(Memory::Counts).await?;
    let before = cpu(bench, server.pid())?;
    let sent = load.callers(CALLERS, bench.lengths.throughput).await?;
    let deliveries = sent.count * webhooks;
    let counts = bench.sink.until_answered(deliveries, DRAIN_MAX).await?;
    let after = cpu(bench, server.pid())?;
    ensure!(counts.last_at_us > sent.began_us, "the clock of this machine was set back");
    Ok(Deliveries {
        messages: sent.count,
        deliveries,
        repeats: counts.answered - deliveries,
        took: Duration::from_micros(counts.last_at_us - sent.began_us),
        sends_per_s: sent.per_s(),
        sends: sent.times,
        cpu: Cpu {
            server_s: after.server_s - before.server_s,
            sink_s: after.sink_s - before.sink_s,
            senders_s: after.senders_s - before.senders_s,
        },
        connections: counts.connections,
    })
}

fn cpu(bench: &Bench, server: u32) -> Result<Cpu> {
    Ok(Cpu {
        server_s: machine::cpu_s(server)?,
        sink_s: machine::cpu_s(bench.sink.pid())?,
        senders_s: machine::cpu_s(std::process::id())?,
    })
}
