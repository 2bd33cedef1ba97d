//! Virtual time: ticks are the runtime's paused clock, and the wall jumps when the story says so.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chathook_domain::ids::{Now, Time};
use chathook_engine::ports::clock::{Clock, Dice};
use tokio::time::Instant;

const BEGINNING_MS: i64 = 1_760_000_000_000;

pub struct VirtualClock {
    began: Instant,
    wall_ahead_ms: AtomicI64,
}

impl VirtualClock {
    pub fn start() -> Self {
        Self { began: Instant::now(), wall_ahead_ms: AtomicI64::new(BEGINNING_MS) }
    }

    pub fn jump(&self, ms: i64) {
        self.wall_ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn both(&self) -> Now {
        Now { wall: self.now(), tick: self.ticks() }
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Time {
        Time::from_ms(self.wall_ahead_ms.load(Ordering::Relaxed) + self.ticks())
    }

    fn ticks(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).expect("stories are short")
    }

    async fn sleep_until(&self, tick: i64) {
        let wait_ms = u64::try_from(tick - self.ticks()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
}

/// Jitter is no part of any promise that the simulation looks at.
pub struct NoJitter;

impl Dice for NoJitter {
    fn roll(&self) -> f64 {
        0.0
    }

    fn bits(&self) -> u128 {
        0
    }
}
