//! What is remembered of names: whether the last look-up was slow, and where the name led.
//! Bounded, and forgotten with the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{Addresses, Resolved};

/// How many names are remembered: those that were looked up last.
const NAMES_MAX: usize = 16_384;

/// How long the last answer of a name may stand in for one that does not come. RFC 8767 allows days to
/// a resolver that serves stale answers; an address that changes hands is a reason for less.
pub(super) const ANSWER_AGE_MAX: Duration = Duration::from_hours(1);

/// How a look-up went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Quick,
    Slow,
}

#[derive(Default)]
pub(super) struct KnownNames {
    names: HashMap<String, Known>,
    /// From when it was noted, counted, to the name.
    order: BTreeMap<u64, String>,
    noted: u64,
}

struct Known {
    pace: Pace,
    answer: Option<Answer>,
    noted: u64,
}

struct Answer {
    addresses: Addresses,
    at: Duration,
}

impl KnownNames {
    /// How the name's last look-up went; `None` where there was none that is remembered.
    pub(super) fn pace(&self, name: &str) -> Option<Pace> {
        self.names.get(name).map(|known| known.pace)
    }

    /// Where the name led when it last led somewhere, while that is not too long ago.
    pub(super) fn last_answer(&self, name: &str, now: Duration) -> Option<Addresses> {
        let answer = self.names.get(name)?.answer.as_ref()?;
        (now.saturating_sub(answer.at) <= ANSWER_AGE_MAX).then(|| Arc::clone(&answer.addresses))
    }

    pub(super) fn note(&mut self, name: &str, pace: Pace, resolved: &Resolved, at: Duration) {
        let before = self.names.remove(name);
        let before = before.and_then(|known| {
            self.order.remove(&known.noted);
            known.answer
        });
        let answer = match (resolved, pace) {
            (Ok(addresses), _) => Some(Answer { addresses: Arc::clone(addresses), at }),
            // Who says quickly that there is no such name knows it.
            (Err(_), Pace::Quick) => None,
            // Who says so after a long silence has found nobody to ask.
            (Err(_), Pace::Slow) => before,
        };
        self.noted += 1;
        self.names.insert(name.to_owned(), Known { pace, answer, noted: self.noted });
        self.order.insert(self.noted, name.to_owned());
        while self.names.len() > NAMES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.names.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    fn address() -> Addresses {
        [IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)].into()
    }

    fn nowhere() -> Resolved {
        Err("no such name".to_owned())
    }

    #[test]
    fn only_the_names_looked_up_last_are_remembered() {
        let mut known = KnownNames::default();
        known.note("first", Pace::Slow, &nowhere(), NOW);
        known.note("again", Pace::Slow, &nowhere(), NOW);
        for index in 0..NAMES_MAX - 1 {
            known.note(&index.to_string(), Pace::Slow, &nowhere(), NOW);
            known.note("again", Pace::Quick, &nowhere(), NOW);
        }
        assert_eq!(known.pace("first"), None);
        assert_eq!((known.pace("0"), known.pace("again")), (Some(Pace::Slow), Some(Pace::Quick)));
        assert_eq!((known.names.len(), known.order.len()), (NAMES_MAX, NAMES_MAX));
    }

    #[test]
    fn an_answer_stands_in_for_an_hour() {
        let mut known = KnownNames::default();
        known.note("a.test", Pace::Quick, &Ok(address()), NOW);
        assert_eq!(known.last_answer("a.test", NOW + ANSWER_AGE_MAX), Some(address()));
        assert_eq!(known.last_answer("a.test", NOW + ANSWER_AGE_MAX + Duration::from_secs(1)), None);
    }

    #[test]
    fn a_name_that_is_gone_is_forgotten_and_one_that_nobody_could_ask_about_is_not() {
        let mut known = KnownNames::default();
        known.note("a.test", Pace::Quick, &Ok(address()), NOW);
        known.note("a.test", Pace::Slow, &nowhere(), NOW);
        assert_eq!(known.last_answer("a.test", NOW), Some(address()));
        known.note("a.test", Pace::Quick, &nowhere(), NOW);
        assert_eq!(known.last_answer("a.test", NOW), None);
    }
}
