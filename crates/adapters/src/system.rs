//! Time and chance: the real ones, and those that tests move by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use chathook_domain::ids::Time;
use chathook_engine::ports::clock::{Clock, Dice};
use tokio::sync::watch;

/// Longest single sleep: a timer's own bound is never met, since a longer wait sleeps again.
const SLEEP_MS_MAX: i64 = 24 * 60 * 60 * 1000;

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    started: Instant,
}

impl RealClock {
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this adapter is where time comes from")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for RealClock {
    #[allow(clippy::disallowed_methods, reason = "this adapter is where time comes from")]
    fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn ticks(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn ticks_us(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    async fn sleep_until(&self, tick: i64) {
        loop {
            let wait_ms = tick.saturating_sub(self.ticks()).min(SLEEP_MS_MAX);
            let Some(wait_ms) = u64::try_from(wait_ms).ok().filter(|ms| *ms > 0) else { return };
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}

/// The system's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDice;

impl Dice for RealDice {
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    fn roll(&self) -> f64 {
        let bits = getrandom::u64().expect("the system gives random bytes") >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }

    fn bits(&self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        u128::from_le_bytes(bytes)
    }
}

/// A clock that stands until a test moves it. Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    reading: watch::Sender<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    wall: Time,
    ticks: i64,
}

impl ManualClock {
    #[must_use]
    pub fn at(wall: Time) -> Self {
        Self { reading: watch::Sender::new(Reading { wall, ticks: 0 }) }
    }

    /// Time passes: wall and ticks move together, and due sleepers wake.
    pub fn advance(&self, ms: i64) {
        assert!(ms >= 0, "ticks never go back");
        self.reading.send_modify(|reading| {
            reading.wall = reading.wall.plus_ms(ms);
            reading.ticks += ms;
        });
    }

    /// How many wait for a tick.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.reading.receiver_count()
    }

    /// The wall clock jumps; ticks stand.
    pub fn set_wall(&self, wall: Time) {
        self.reading.send_modify(|reading| reading.wall = wall);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Time {
        self.reading.borrow().wall
    }

    fn ticks(&self) -> i64 {
        self.reading.borrow().ticks
    }

    async fn sleep_until(&self, tick: i64) {
        let mut readings = self.reading.subscribe();
        readings.wait_for(|reading| reading.ticks >= tick).await.expect("this clock holds the sender");
    }
}

/// Dice that always roll the same and count their bits up from 1.
#[derive(Debug)]
pub struct LoadedDice {
    roll: f64,
    bits: AtomicU64,
}

impl LoadedDice {
    #[must_use]
    pub const fn rolling(roll: f64) -> Self {
        Self { roll, bits: AtomicU64::new(0) }
    }
}

impl Dice for LoadedDice {
    fn roll(&self) -> f64 {
        self.roll
    }

    fn bits(&self) -> u128 {
        u128::from(self.bits.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_tick_is_reached_and_not_by_a_jump_of_the_wall() {
        let clock = ManualClock::at(Time::from_ms(1_000));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(50).await }
        });
        clock.set_wall(Time::from_ms(9_000));
        clock.advance(49);
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(1);
        sleeper.await.expect("wakes");
        assert_eq!((clock.now().ms, clock.ticks()), (9_050, 50));
    }

    #[test]
    fn dice_are_from_0_to_1() {
        assert!((0..1_000).map(|_| RealDice.roll()).all(|roll| (0.0..1.0).contains(&roll)));
        assert_ne!(RealDice.bits(), RealDice.bits());
    }
}
