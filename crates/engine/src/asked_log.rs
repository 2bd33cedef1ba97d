//! The log of `before_message` calls. Its lines wait in memory and are written many at a time, off the
//! path of the senders. Every call is logged, so a line's place is taken before the call is made. There is
//! none only when the store has written nothing for thousands of calls: then the message is refused as one
//! that the store cannot take, which at that time it could not, and nobody waits and nothing piles up.

use std::sync::Mutex;
use std::time::Duration;

use chathook_domain::refusal::Refusal;
use chathook_domain::verdict::Judgement;
use tokio::sync::mpsc::{self, Permit, PermitIterator};
use tokio::sync::watch;

use crate::ports::clock::Clock;
use crate::ports::store::{Asked, SharedStore, StoreError};
use crate::tallies::{SENDER_GONE, Tallies};

/// Lines in memory at most: a few MiB.
const LINES_MAX: usize = 16_384;
/// Lines of one write at most.
const BATCH_MAX: usize = 500;
/// How long lines gather after a write. Nobody waits for them, and the disk is others' too.
const GATHER: Duration = Duration::from_millis(25);
/// How long a store that refuses is left alone before it is asked again.
const STORE_WAIT_MS: i64 = 1_000;
/// How often a stop looks whether the last calls have ended.
const STOP_LOOK: Duration = Duration::from_millis(10);

pub(crate) struct AskedLog {
    lines: mpsc::Sender<Asked>,
    waiting: Mutex<Option<mpsc::Receiver<Asked>>>,
}

impl Default for AskedLog {
    fn default() -> Self {
        let (lines, waiting) = mpsc::channel(LINES_MAX);
        Self { lines, waiting: Mutex::new(Some(waiting)) }
    }
}

impl AskedLog {
    /// Places for the lines of this many calls; those that are not used are given back.
    pub fn places(&self, calls: usize) -> Result<PermitIterator<'_, Asked>, Refusal> {
        self.lines.try_reserve_many(calls).map_err(|_| {
            tracing::warn!("before_message calls can no longer be logged; the message is refused");
            Refusal::unavailable()
        })
    }

    /// Every line is taken out, and no call is under way that would add one.
    fn is_idle(&self) -> bool {
        self.lines.capacity() == LINES_MAX
    }
}

/// The line of a call that was begun. One that never ends, because whoever edits hung up and the call
/// was dropped with them, is logged as well.
pub(crate) struct Line<'a> {
    place: Option<Permit<'a, Asked>>,
    clock: &'a dyn Clock,
    began_us: i64,
    asked: Asked,
}

impl<'a> Line<'a> {
    /// Begins the line of a call that begins now. Verdict and silence are those of a sender who hangs up
    /// until [`Self::end`] says otherwise.
    pub fn begin(clock: &'a dyn Clock, place: Permit<'a, Asked>, asked: Asked) -> Self {
        let asked = Asked { verdict: "drop", silence: Some(SENDER_GONE.to_owned()), ..asked };
        Self { place: Some(place), clock, began_us: clock.ticks_us(), asked }
    }

    /// The call ended, with this judgement.
    pub fn end(mut self, judgement: &Judgement) {
        self.asked.verdict = judgement.verdict.name();
        self.asked.silence.clone_from(&judgement.silence);
        self.asked.effect = judgement.verdict.effect();
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        self.asked.took_us = (self.clock.ticks_us() - self.began_us).max(0).cast_unsigned();
        place.send(self.asked.clone());
    }
}

/// Writes what is logged until `stop` is told and the last call has ended.
pub(crate) async fn write_asked(
    log: &AskedLog,
    tallies: &Tallies,
    store: &SharedStore,
    clock: &dyn Clock,
    stop: watch::Receiver<bool>,
) {
    let waiting = log.waiting.lock().expect("no one panics while holding this lock").take();
    let mut waiting = waiting.expect("one task writes this log");
    loop {
        let is_stopping = is_told(&stop);
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            _ = waiting.recv_many(&mut batch, BATCH_MAX) => {
                batch.iter().for_each(|asked| tallies.asked(asked));
                write(store, clock, &batch, &stop).await;
            }
            () = told(&stop), if !is_stopping => {}
            () = tokio::time::sleep(STOP_LOOK), if is_stopping => {
                if log.is_idle() {
                    return;
                }
            }
        }
        tokio::select! {
            // Nothing that anyone sees depends on this wait, so it is the runtime's and not the clock's.
            () = tokio::time::sleep(GATHER) => {}
            () = told(&stop) => {}
        }
    }
}

/// Whether the server is to stop; nobody left to say so is the end as well.
fn is_told(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Returns once [`is_told`] is true.
async fn told(stop: &watch::Receiver<bool>) {
    let _ = stop.clone().wait_for(|stop| *stop).await;
}

/// Returns when the lines are written, can never be, or the server stops while the store refuses.
async fn write(store: &SharedStore, clock: &dyn Clock, batch: &[Asked], stop: &watch::Receiver<bool>) {
    loop {
        match store.log_asked(batch.to_vec()).await {
            Ok(()) => return,
            Err(StoreError::Unavailable(cause)) => {
                tracing::warn!(cause, count = batch.len(), "before_message calls wait to be logged");
                if is_told(stop) {
                    return;
                }
                let wait = clock.sleep_until(clock.ticks() + STORE_WAIT_MS);
                tokio::select! {
                    () = wait => {}
                    () = told(stop) => {}
                }
            }
            Err(StoreError::Fault(cause)) => {
                return tracing::error!(cause, count = batch.len(), "before_message calls cannot be logged");
            }
            Err(StoreError::Refused(refusal)) => {
                let cause = refusal.message;
                return tracing::error!(cause, count = batch.len(), "before_message calls cannot be logged");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chathook_domain::refusal::Code;

    use super::*;

    #[test]
    fn a_call_that_could_not_be_logged_is_refused_until_there_is_room_again() {
        let log = AskedLog::default();
        let all = log.places(LINES_MAX).expect("an empty log has room");
        assert_eq!(log.places(1).map(drop).expect_err("no room").code, Code::StoreUnavailable);
        drop(all);
        assert!(log.places(25).is_ok());
        assert!(log.is_idle(), "places that are not used are given back");
    }
}
