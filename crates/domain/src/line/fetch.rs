//! What a line needs from the store, one thing at a time, and what it makes of the answers.

use super::{ASIDE_MAX, Line};
use crate::delivery::Owed;
use crate::ids::{Now, Time};
use crate::lane::{Fetch, Fetched};
use crate::retry;

/// What is needed from the store; one fetch is under way at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineFetch {
    Live(Fetch),
    Replays(Fetch),
    /// Deliveries that have stepped aside and are due until then, the first to be due first.
    Aside {
        until: Time,
        count_max: usize,
    },
}

/// A fetch with its number, which its answer names: what was asked for may be forgotten meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedFetch {
    pub number: u64,
    pub fetch: LineFetch,
}

/// The store's answer to a [`LineFetch`].
#[derive(Debug, Clone)]
pub enum LineFetched {
    Lanes(Fetched),
    /// What is due, and when the next is.
    Aside {
        owed: Vec<Owed>,
        next: Option<Owed>,
    },
}

impl Line {
    /// What to ask the store for, where nothing is being asked.
    pub fn next_fetch(&mut self, now: Now) -> Option<AskedFetch> {
        if self.fetching.is_some() || !self.unwritten_and_forgotten.is_empty() {
            return None;
        }
        let (out, unwritten) = (&self.out, &self.unwritten);
        let is_written = |sequence| !out.contains_key(&sequence) && !unwritten.contains_key(&sequence);
        let fetch = match self.live.next_fetch(now.tick, &is_written) {
            Some(fetch) => LineFetch::Live(fetch),
            None => match self.replays.next_fetch(now.tick, &is_written) {
                Some(fetch) => LineFetch::Replays(fetch),
                None => self.fetch_of_asides(now)?,
            },
        };
        self.fetches += 1;
        let asked = AskedFetch { number: self.fetches, fetch };
        self.fetching = Some(asked.clone());
        Some(asked)
    }

    /// The answer to the fetch of this number.
    pub fn fetched(&mut self, number: u64, fetched: LineFetched, now: Now) {
        let Some(AskedFetch { fetch, .. }) = self.fetching.take_if(|asked| asked.number == number) else {
            return;
        };
        let overtaken = std::mem::take(&mut self.overtaken);
        let (out, unwritten) = (&self.out, &self.unwritten);
        let is_hidden = |sequence: i64| {
            out.contains_key(&sequence) || unwritten.contains_key(&sequence) || overtaken.contains(&sequence)
        };
        match (fetch, fetched) {
            (LineFetch::Live(fetch), LineFetched::Lanes(answer)) => {
                self.live.fetched(&fetch, answer, now, &is_hidden);
            }
            (LineFetch::Replays(fetch), LineFetched::Lanes(answer)) => {
                self.replays.fetched(&fetch, answer, now, &is_hidden);
            }
            (LineFetch::Aside { .. }, LineFetched::Aside { owed, next }) => {
                self.asides.extend(owed.into_iter().filter(|owed| !is_hidden(owed.sequence)));
                if let Some(next) = next {
                    let due = next.due.unwrap_or(now.wall);
                    let ahead_ms = (due.ms - now.wall.ms).clamp(0, retry::longest_wait_ms(next.steps));
                    self.look_for_asides_at(now.tick + ahead_ms, due);
                }
            }
            (LineFetch::Live(_) | LineFetch::Replays(_), LineFetched::Aside { .. })
            | (LineFetch::Aside { .. }, LineFetched::Lanes(_)) => {
                panic!("a fetch is answered in its own kind")
            }
        }
    }

    /// The store refused: it is asked again when [`Self::next_fetch`] is.
    pub fn fetch_failed(&mut self, number: u64, now: Now) {
        let Some(AskedFetch { fetch, .. }) = self.fetching.take_if(|asked| asked.number == number) else {
            return;
        };
        self.overtaken.clear();
        match fetch {
            LineFetch::Live(fetch) => self.live.fetch_failed(&fetch),
            LineFetch::Replays(fetch) => self.replays.fetch_failed(&fetch),
            LineFetch::Aside { until, .. } => self.look_for_asides_at(now.tick, until),
        }
    }

    fn fetch_of_asides(&mut self, now: Now) -> Option<LineFetch> {
        let (tick, due) = self.next_aside?;
        if tick > now.tick || !self.asides.is_empty() {
            return None;
        }
        self.next_aside = None;
        // Where the wall clock was set back, what was due by ticks is due all the same.
        let until = now.wall.max(due);
        // What is out or not written yet may still be shown, and is left out.
        let count_max = ASIDE_MAX + self.out.len() + self.unwritten.len();
        Some(LineFetch::Aside { until, count_max })
    }
}
