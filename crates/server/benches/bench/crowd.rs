//! A group with thousands online, and what senders elsewhere notice of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::bench::Bench;
use crate::latency;
use crate::load::Load;
use crate::machine::now_us;
use crate::sockets::{self, Socket};
use crate::spread::{Spread, median};
use crate::tenant::{CONVERSATIONS, Tenant};

pub const DEFINITION: &str = "\
crowd
  Pairs of users send 100 messages/s (as in `latency`, no webhook), alone, and then beside a group of
  5,000 members, each online with one socket, that gets two messages/s. Five pairs, alone and beside, one
  after the other, on one server. The figure is the median, over the pairs, of the p99 of the wait for the
  answer beside over alone; each p99 stands beside it. Every frame is read: a member who misses one fails
  the scenario. To all: from the moment before a group's message is sent until the last of its members has
  read it. The members' sockets are read by the bench, on the same cores.";

const MEMBERS: usize = 5_000;
const PAIRS: usize = 5;
/// Two messages/s to the group.
const PAUSE: Duration = Duration::from_millis(500);
/// A message has reached everybody by then, or somebody is left out.
const REACH_MAX: Duration = Duration::from_secs(20);
const GUID: &str = "crowd";

pub struct Crowd {
    pub pairs: Vec<Pair>,
    /// From the sender to the last member.
    pub to_all: Spread,
}

pub struct Pair {
    pub alone: Spread,
    pub beside: Spread,
}

impl Crowd {
    pub fn median_ratio(&self) -> f64 {
        let ratio = |pair: &Pair| {
            let [alone, beside] =
                [&pair.alone, &pair.beside].map(|times| Duration::from_micros(times.p99()).as_secs_f64());
            beside / alone.max(f64::EPSILON)
        };
        median(self.pairs.iter().map(ratio).collect())
    }
}

/// Counts the frames that members read.
#[derive(Default)]
struct Readers {
    frames: AtomicU64,
    whole: Notify,
}

pub async fn measure(bench: &Bench) -> Result<Crowd> {
    sockets::need_handles(MEMBERS as u64)?;
    let home = bench.home()?;
    let server = home.start().await?;
    let group = Tenant::make(server.address).await?;
    let readers = Arc::new(Readers::default());
    let mut clients = gather(server.address, &group, &readers).await?;
    let load = Load::make(Tenant::make(server.address).await?, CONVERSATIONS).await?;
    let time = bench.lengths.neighbour;
    // The first connections and statements are nobody's fault.
    answers(&load, Duration::from_secs(1)).await?;
    let (mut pairs, mut to_all) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let alone = answers(&load, time).await?;
        let (beside, reached) = tokio::join!(answers(&load, time), talk(&group, &readers, time));
        to_all.extend(reached?);
        pairs.push(Pair { alone, beside: beside? });
    }
    ensure!(clients.try_join_next().is_none(), "a socket was closed\n{}", home.last_log_lines());
    Ok(Crowd { pairs, to_all: Spread::of(to_all) })
}

/// How long senders wait for their answers.
async fn answers(load: &Load, time: Duration) -> Result<Spread> {
    let paced = load.pace(latency::RATE_PER_S, time).await?;
    Ok(Spread::of(paced.iter().map(|paced| paced.answered_us - paced.sent_us).collect()))
}

/// Makes the group, with everybody online.
async fn gather(address: SocketAddr, tenant: &Arc<Tenant>, readers: &Arc<Readers>) -> Result<JoinSet<()>> {
    let logins = Arc::new(tenant.users(MEMBERS).await?);
    let uids: Vec<&str> = logins.iter().map(|login| login.uid.as_str()).collect();
    tenant.group(GUID, &uids).await?;
    let mut clients = JoinSet::new();
    for socket in sockets::open(address, &tenant.app, logins).await? {
        clients.spawn(read(socket, Arc::clone(readers)));
    }
    Ok(clients)
}

async fn read(mut socket: Socket, readers: Arc<Readers>) {
    while let Some(Ok(frame)) = socket.next().await {
        if matches!(frame, Message::Text(_))
            && (readers.frames.fetch_add(1, Ordering::AcqRel) + 1).is_multiple_of(MEMBERS as u64)
        {
            readers.whole.notify_one();
        }
    }
}

/// Sends to the group, one message after the other; answers with how long each took to reach everybody.
async fn talk(tenant: &Tenant, readers: &Readers, time: Duration) -> Result<Vec<u64>> {
    let mut line = tenant.line().await?;
    let mut reached = Vec::new();
    let mut ticks = tokio::time::interval(PAUSE);
    while u128::try_from(reached.len())? * PAUSE.as_millis() < time.as_millis() {
        ticks.tick().await;
        let sent_us = now_us();
        let (head, body) = line.call(tenant.message_to_group(GUID, reached.len())?).await?;
        if !head.status.is_success() {
            bail!("a group's message was answered with {}: {}", head.status, String::from_utf8_lossy(&body));
        }
        let everybody = tokio::time::timeout(REACH_MAX, readers.whole.notified()).await;
        ensure!(
            everybody.is_ok(),
            "{} frames were read, and no more",
            readers.frames.load(Ordering::Acquire)
        );
        reached.push(now_us() - sent_us);
    }
    Ok(reached)
}
