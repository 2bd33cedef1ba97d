//! What happened, as people look it up: the names of deliveries, and how the runs that a listing is made of
//! (numbered deliveries and tests, of one webhook or of several) become one.

use std::collections::VecDeque;
use std::fmt;

use crate::ids::Time;

/// What the API calls a delivery: its number, or `test-` and the number of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryId {
    Numbered(i64),
    Test(i64),
}

impl DeliveryId {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("test-") {
            Some(row) => decimal(row).map(Self::Test),
            None => decimal(text).map(Self::Numbered),
        }
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered(sequence) => sequence.fmt(f),
            Self::Test(row) => write!(f, "test-{row}"),
        }
    }
}

/// Where a listing goes on: below these numbers, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub sequence: i64,
    pub test: i64,
}

impl Place {
    /// Before everything.
    pub const START: Self = Self { sequence: i64::MAX, test: i64::MAX };

    /// Reads a cursor as [`Self::to_text`] wrote it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, test) = text.split_once('.')?;
        Some(Self { sequence: decimal(sequence)?, test: decimal(test)? })
    }

    #[must_use]
    pub fn to_text(self) -> String {
        format!("{}.{}", self.sequence, self.test)
    }
}

/// One of the two runs of a listing, newest first, as far as it was looked at.
#[derive(Debug, Clone)]
pub struct Run<T> {
    /// Each with its number and the time by which it is merged.
    pub items: VecDeque<(i64, Time, T)>,
    /// Where the look ended before the run did: the number and the time of the last row looked at.
    pub edge: Option<(i64, Time)>,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged<T> {
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end of both runs.
    pub next: Option<Place>,
    /// What comes next is at most so young; `None` at the end.
    pub reach: Option<Time>,
}

/// Merges two runs by time, each keeping its own order. Beyond the edge of one run nothing of the other
/// is given that may come after what was not looked at, so a page may hold less than `limit`.
#[must_use]
pub fn merge<T>(mut numbered: Run<T>, mut tests: Run<T>, from: Place, limit: usize) -> Merged<T> {
    let mut next = from;
    let mut items = Vec::new();
    while items.len() < limit {
        let is_number_next = match (numbered.reach(), tests.reach()) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(number), Some(test)) => number >= test,
        };
        let (run, place) =
            if is_number_next { (&mut numbered, &mut next.sequence) } else { (&mut tests, &mut next.test) };
        // The run whose turn it is was not looked at any further.
        let Some((number, _, item)) = run.items.pop_front() else { break };
        *place = number;
        items.push(item);
    }
    for (run, place) in [(&numbered, &mut next.sequence), (&tests, &mut next.test)] {
        if run.items.is_empty() {
            // Below the first number there is nothing.
            *place = run.edge.map_or(0, |(number, _)| number);
        }
    }
    let is_end = numbered.is_over() && tests.is_over();
    let reach = [numbered.reach(), tests.reach()].into_iter().flatten().max();
    Merged { items, next: (!is_end).then_some(next), reach }
}

impl<T> Run<T> {
    /// The time of what comes next in it, or may come.
    fn reach(&self) -> Option<Time> {
        self.items.front().map(|(_, at, _)| *at).or(self.edge.map(|(_, at)| at))
    }

    fn is_over(&self) -> bool {
        self.items.is_empty() && self.edge.is_none()
    }
}

/// Where a listing over several others goes on: each by its number with its place; one that is not named is at its
/// end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(pub Vec<(i64, Place)>);

impl Places {
    /// Reads a cursor as [`Self::to_text`] wrote it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let place = |one: &str| {
            let (number, place) = one.split_once('.')?;
            Some((decimal(number)?, Place::parse(place)?))
        };
        text.split('_').map(place).collect::<Option<Vec<_>>>().map(Self)
    }

    #[must_use]
    pub fn to_text(&self) -> String {
        let texts: Vec<_> =
            self.0.iter().map(|(number, place)| format!("{number}.{}", place.to_text())).collect();
        texts.join("_")
    }
}

/// A page of one of several listings, and where it began.
#[derive(Debug, Clone)]
pub struct Part<T> {
    /// The listing's number.
    pub of: i64,
    pub from: Place,
    pub page: Merged<T>,
}

/// One page of several listings, newest first, each item with the number of its listing; `name` tells its id and time.
/// Beyond what was looked at of one nothing older of another is given, so a page may hold less than `limit`.
#[must_use]
pub fn merge_all<T>(
    parts: Vec<Part<T>>,
    limit: usize,
    name: impl Fn(&T) -> (DeliveryId, Time),
) -> (Vec<(i64, T)>, Places) {
    let mut parts: Vec<(Part<T>, VecDeque<T>)> = parts
        .into_iter()
        .map(|mut part| {
            let items = std::mem::take(&mut part.page.items).into();
            (part, items)
        })
        .collect();
    let mut given = Vec::new();
    while given.len() < limit {
        let reach = |(part, items): &(Part<T>, VecDeque<T>)| match items.front() {
            Some(item) => Some((name(item).1, true)),
            None => part.page.reach.map(|at| (at, false)),
        };
        // Of one time what is there comes first, and the first listing before the others.
        let next = (0..parts.len()).rev().filter_map(|at| Some((reach(&parts[at])?, at)));
        let Some((_, at)) = next.max_by_key(|(reach, _)| *reach) else { break };
        let (part, items) = &mut parts[at];
        let Some(item) = items.pop_front() else { break };
        match name(&item).0 {
            DeliveryId::Numbered(sequence) => part.from.sequence = sequence,
            DeliveryId::Test(row) => part.from.test = row,
        }
        given.push((part.of, item));
    }
    let places = parts.into_iter().filter_map(|(part, items)| {
        let place = if items.is_empty() { part.page.next? } else { part.from };
        Some((part.of, place))
    });
    (given, Places(places.collect()))
}

/// The `stream:sequence` pairs of an event's `owed`.
pub fn owed_pairs(owed: &str) -> impl Iterator<Item = (i64, i64)> {
    owed.split_ascii_whitespace().filter_map(|pair| {
        let (stream, sequence) = pair.split_once(':')?;
        Some((stream.parse().ok()?, sequence.parse().ok()?))
    })
}

/// The `webhook:reason` pairs of an event's `passed_over`.
pub fn passed_over_pairs(passed_over: &str) -> impl Iterator<Item = (&str, &str)> {
    passed_over.split_ascii_whitespace().filter_map(|pair| pair.split_once(':'))
}

fn decimal(text: &str) -> Option<i64> {
    let is_decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_decimal.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What one request sees of a run: `looked` rows below a number, of which those divisible by `step`
    /// are what was asked for.
    fn look(all: &[(i64, i64)], below: i64, looked: usize, step: i64) -> Run<i64> {
        let seen: Vec<_> = all.iter().rev().filter(|(n, _)| *n < below).take(looked).collect();
        let rest = all.iter().rev().filter(|(n, _)| *n < below).count();
        let edge = (rest > looked).then(|| seen.last().map(|(n, at)| (*n, Time::from_ms(*at)))).flatten();
        let fit = seen.iter().filter(|(n, _)| n % step == 0);
        Run { items: fit.map(|(n, at)| (*n, Time::from_ms(*at), *at)).collect(), edge }
    }

    fn run() -> impl Strategy<Value = Vec<(i64, i64)>> {
        proptest::collection::vec(0i64..3, 0..40).prop_map(|gaps| {
            let mut at = 0;
            let times = gaps.iter().map(|gap| {
                at += gap;
                at
            });
            (1..).zip(times).collect()
        })
    }

    proptest! {
        #[test]
        fn page_after_page_gives_everything_once_and_newest_first(
            numbered in run(), tests in run(), looked in 1usize..9, limit in 1usize..9, step in 1i64..4,
        ) {
            let (mut given, mut place, mut pages) = (Vec::new(), Place::START, 0);
            loop {
                let runs = (look(&numbered, place.sequence, looked, step), look(&tests, place.test, looked, step));
                let page = merge(runs.0, runs.1, place, limit);
                prop_assert!(page.items.len() <= limit);
                given.extend(page.items);
                pages += 1;
                prop_assert!(pages < 500, "it goes on and on");
                let Some(next) = page.next else { break };
                place = Place::parse(&next.to_text()).expect("a cursor reads back");
            }
            let mut expected: Vec<i64> =
                numbered.iter().chain(&tests).filter(|(n, _)| n % step == 0).map(|(_, at)| *at).collect();
            expected.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
            prop_assert_eq!(given, expected);
        }
    }

    proptest! {
        #[test]
        fn several_listings_page_after_page_give_everything_once_and_newest_first(
            listings in proptest::collection::vec((run(), run()), 1..4), looked in 1usize..9, limit in 1usize..9,
            step in 1i64..4,
        ) {
            let named = |run: Run<i64>, id: fn(i64) -> DeliveryId| Run {
                items: run.items.into_iter().map(|(n, at, _)| (n, at, (id(n), at))).collect(),
                edge: run.edge,
            };
            let mut places = Places((0..).zip(&listings).map(|(of, _)| (of, Place::START)).collect());
            let (mut given, mut pages) = (Vec::new(), 0);
            while !places.0.is_empty() {
                let parts = places.0.iter().map(|(of, from)| {
                    let (numbered, tests) = &listings[usize::try_from(*of).expect("small")];
                    let numbered = named(look(numbered, from.sequence, looked, step), DeliveryId::Numbered);
                    let tests = named(look(tests, from.test, looked, step), DeliveryId::Test);
                    Part { of: *of, from: *from, page: merge(numbered, tests, *from, limit) }
                });
                let (items, next) = merge_all(parts.collect(), limit, |(id, at)| (*id, *at));
                prop_assert!(items.len() <= limit);
                given.extend(items.into_iter().map(|(of, (id, at))| (at, of, id)));
                pages += 1;
                prop_assert!(pages < 1_000, "it goes on and on");
                places = if next.0.is_empty() { next } else { Places::parse(&next.to_text()).expect("it reads back") };
            }
            prop_assert!(given.is_sorted_by_key(|(at, _, _)| std::cmp::Reverse(*at)));
            let all = listings.iter().flat_map(|(numbered, tests)| numbered.iter().chain(tests));
            prop_assert_eq!(given.len(), all.filter(|(n, _)| n % step == 0).count());
            let unique: std::collections::HashSet<_> =
                given.iter().map(|(_, of, id)| format!("{of} {id}")).collect();
            prop_assert_eq!(unique.len(), given.len());
        }
    }

    #[test]
    fn ids_and_cursors_that_nobody_gave_are_not_taken() {
        assert_eq!(DeliveryId::parse("12"), Some(DeliveryId::Numbered(12)));
        assert_eq!(DeliveryId::parse("test-3"), Some(DeliveryId::Test(3)));
        for text in ["", "test-", "-1", "+1", "1.0", "99999999999999999999", "test-x"] {
            assert_eq!(DeliveryId::parse(text), None, "{text}");
        }
        for text in ["", "1", "1.", ".1", "1.2.3", "a.b"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
        for text in ["", "1.2", "1.2.3_", "_1.2.3", "1.2.3.4", "1.2.3 1.2.3"] {
            assert_eq!(Places::parse(text), None, "{text}");
        }
    }
}
