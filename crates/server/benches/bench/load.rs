//! Senders: callers who send the next message as soon as the last is acknowledged, and a steady pace.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hyper::HeaderMap;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::line::Line;
use crate::machine::now_us;
use crate::spread::Spread;
use crate::tenant::{Conversation, Tenant};

/// Who sends, and in which conversations.
#[derive(Clone)]
pub struct Load {
    pub tenant: Arc<Tenant>,
    pub conversations: Arc<[Conversation]>,
}

pub struct Sent {
    pub count: u64,
    pub began_us: u64,
    pub took: Duration,
    pub times: Spread,
}

impl Sent {
    pub fn per_s(&self) -> f64 {
        per_s(self.count, self.took)
    }
}

/// One message of a steady pace.
pub struct Paced {
    pub number: u64,
    pub sent_us: u64,
    pub answered_us: u64,
    /// What the server recorded of its wait for the disk, where it does.
    pub fsync_us: Option<u64>,
}

pub fn per_s(count: u64, took: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
    let count = count as f64;
    count / took.as_secs_f64().max(f64::EPSILON)
}

impl Load {
    pub async fn make(tenant: Arc<Tenant>, conversations: usize) -> Result<Self> {
        let conversations = tenant.conversations(conversations).await?;
        Ok(Self { tenant, conversations })
    }

    /// A closed loop: each caller has one message under way at a time, in the next of its conversations.
    pub async fn callers(&self, callers: usize, time: Duration) -> Result<Sent> {
        let (began, began_us) = (Instant::now(), now_us());
        let number = Arc::new(AtomicU64::new(1));
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let (load, number) = (self.clone(), number.clone());
            tasks.spawn(async move {
                let mut line = load.tenant.line().await?;
                let mut times = Vec::new();
                for conversation in load.conversations.iter().skip(caller).step_by(callers).cycle() {
                    if began.elapsed() >= time {
                        break;
                    }
                    let sent = Instant::now();
                    load.send(&mut line, conversation, number.fetch_add(1, Ordering::Relaxed)).await?;
                    times.push(u64::try_from(sent.elapsed().as_micros())?);
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(done) = tasks.join_next().await {
            times.extend(done??);
        }
        let times = Spread::of(times);
        Ok(Sent { count: times.count() as u64, began_us, took: began.elapsed(), times })
    }

    /// As [`Self::callers`], until the server goes away; answers with the acknowledged numbers.
    pub async fn callers_until_cut(&self, callers: usize, first: u64) -> Result<BTreeSet<u64>> {
        let number = Arc::new(AtomicU64::new(first));
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let (load, number) = (self.clone(), number.clone());
            tasks.spawn(async move {
                let mut acknowledged = BTreeSet::new();
                let Ok(mut line) = load.tenant.line().await else { return acknowledged };
                for conversation in load.conversations.iter().skip(caller).step_by(callers).cycle() {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    if load.send(&mut line, conversation, number).await.is_err() {
                        break;
                    }
                    acknowledged.insert(number);
                }
                acknowledged
            });
        }
        let mut acknowledged = BTreeSet::new();
        while let Some(done) = tasks.join_next().await {
            acknowledged.extend(done?);
        }
        Ok(acknowledged)
    }

    /// An open loop: messages begin at their times, whether or not those before are answered.
    pub async fn pace(&self, rate_per_s: u32, time: Duration) -> Result<Vec<Paced>> {
        let lines: Arc<Mutex<Vec<Line>>> = Arc::default();
        for _ in 0..8 {
            give_back(&lines, self.tenant.line().await?);
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate_per_s);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let messages = u64::from(rate_per_s) * time.as_secs();
        let mut tasks = JoinSet::new();
        for number in 1..=messages {
            ticks.tick().await;
            let (load, lines) = (self.clone(), lines.clone());
            tasks.spawn(async move {
                let nth = usize::try_from(number)? % load.conversations.len();
                let kept = lines.lock().expect("no one panics while holding this lock").pop();
                let mut line = match kept {
                    Some(line) => line,
                    None => load.tenant.line().await?,
                };
                let sent_us = now_us();
                let headers = load.send(&mut line, &load.conversations[nth], number).await?;
                give_back(&lines, line);
                anyhow::Ok(Paced { number, sent_us, answered_us: now_us(), fsync_us: fsync_us(&headers) })
            });
        }
        let mut paced = Vec::new();
        while let Some(done) = tasks.join_next().await {
            paced.push(done??);
        }
        Ok(paced)
    }

    async fn send(&self, line: &mut Line, conversation: &Conversation, number: u64) -> Result<HeaderMap> {
        let (head, body) = line.call(self.tenant.message(conversation, number)?).await?;
        if !head.status.is_success() {
            bail!("a message was answered with {}: {}", head.status, String::from_utf8_lossy(&body));
        }
        Ok(head.headers)
    }
}

/// The one place that knows how the server tells of its wait for the disk: the member `fsync` of the
/// header `Server-Timing` (W3C), in milliseconds. A server that tells nothing gives `None`.
fn fsync_us(headers: &HeaderMap) -> Option<u64> {
    let told = headers.get("server-timing")?.to_str().ok()?;
    let fsync = told.split(',').find_map(|entry| entry.trim().strip_prefix("fsync;dur="))?;
    let ms: f64 = fsync.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a short positive time")]
    Some((ms * 1_000.0) as u64)
}

fn give_back(lines: &Mutex<Vec<Line>>, line: Line) {
    lines.lock().expect("no one panics while holding this lock").push(line);
}
