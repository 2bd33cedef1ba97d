//! Time and chance.

use async_trait::async_trait;
use chathook_domain::ids::Time;

/// The wall clock, which may jump and only rows hold, and ticks, which never go back and waits use.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Time;

    /// Milliseconds since some moment of this process; never goes back.
    fn ticks(&self) -> i64;

    /// The same moment in microseconds, for measuring. A clock that counts no finer says milliseconds.
    fn ticks_us(&self) -> i64 {
        self.ticks() * 1_000
    }

    /// Returns when [`Self::ticks`] has reached `tick`.
    async fn sleep_until(&self, tick: i64);
}

pub trait Dice: Send + Sync + 'static {
    /// A fair number from 0 to 1.
    fn roll(&self) -> f64;

    /// 128 bits that nobody can guess.
    fn bits(&self) -> u128;
}
