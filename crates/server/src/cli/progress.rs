//! How far long work is: one line on a terminal that is written over, and nothing elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::output::shown;

/// How long one look at the work is after the other.
pub const PAUSE: Duration = Duration::from_millis(250);

/// The line; it is gone when this is dropped.
pub struct Progress {
    is_shown: bool,
}

impl Progress {
    pub fn begin() -> Self {
        let is_plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { is_shown: std::io::stderr().is_terminal() && !is_plain }
    }

    pub fn tell(&self, text: &str) {
        self.write(&format!("\r{}\x1b[K", shown(text)));
    }

    /// That a terminal has gone is no reason to stop.
    fn write(&self, text: &str) {
        if self.is_shown {
            let mut terminal = std::io::stderr();
            drop(terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.write("\r\x1b[K");
    }
}

/// Waits for the work and tells meanwhile how far it is; `tell` is given how long it has been waited for.
pub async fn during<T>(work: impl Future<Output = T>, tell: impl Fn(Duration) -> String) -> T {
    let progress = Progress::begin();
    let (mut work, mut look, mut waited) = (pin!(work), interval(PAUSE), Duration::ZERO);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // The first tick comes at once.
        tokio::select! {
            biased;
            _ = look.tick() => {
                progress.tell(&tell(waited));
                waited += PAUSE;
            }
            done = &mut work => return done,
        }
    }
}
