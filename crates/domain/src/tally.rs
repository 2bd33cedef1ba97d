//! What happened in a span of time, counted: of an app, or of one of its webhooks. Tallies of spans that follow one
//! another merge into that of the whole. Memory is fixed, whatever is counted; each number has a cell of its own, by
//! which a store writes only those that are not zero.

use crate::ids::Time;
use crate::outcome::{Failure, Outcome};

pub use self::histogram::{Histogram, RELATIVE_ERROR_MAX};

mod histogram;

/// Spans for which tallies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Minute,
    TenMinutes,
}

impl Step {
    pub const ALL: [Self; 2] = [Self::Minute, Self::TenMinutes];

    #[must_use]
    pub const fn ms(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::TenMinutes => 600_000,
        }
    }

    /// A day and a week, and what is needed to show them whole at any moment.
    #[must_use]
    pub const fn kept_ms(self) -> i64 {
        match self {
            Self::Minute => 25 * 60 * 60_000,
            Self::TenMinutes => 8 * 24 * 60 * 60_000,
        }
    }

    /// The beginning of the step that a moment lies in.
    #[must_use]
    pub const fn begin_of(self, at: Time) -> Time {
        Time::from_ms(at.ms - at.ms.rem_euclid(self.ms()))
    }

    /// What a span of so many minutes is shown in, unless asked otherwise: up to three hours by the minute.
    #[must_use]
    pub const fn of_span(minutes: i64) -> Self {
        if minutes <= 180 { Self::Minute } else { Self::TenMinutes }
    }
}

/// What is counted. The order is the order of the cells, so new ones come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Messages stored.
    Messages,
    Delivered,
    /// Deliveries whose schedule ended.
    Unsent,
    /// Attempts that were answered with 2xx.
    Succeeded,
    /// Calls of `before_message`, by the verdict of an answer.
    Passed,
    Injected,
    Replaced,
    Dropped,
    /// Those without a usable answer, whatever their silence meant to the message.
    Silent,
}

impl Count {
    pub const ALL: [Self; 9] = [
        Self::Messages,
        Self::Delivered,
        Self::Unsent,
        Self::Succeeded,
        Self::Passed,
        Self::Injected,
        Self::Replaced,
        Self::Dropped,
        Self::Silent,
    ];
}

/// Why an attempt failed, coarse enough to be drawn. The order is the order of the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    AddressRefused,
    SchemeRefused,
    NameNotResolved,
    NotConnected,
    ConnectTimeout,
    Tls,
    Timeout,
    Broken,
    Internal,
    Redirect,
    Unauthorized,
    NotFound,
    TooMany,
    Gone,
    ClientError,
    ServerError,
    /// A status below 200, or above 599.
    Strange,
}

impl Cause {
    pub const ALL: [Self; 17] = [
        Self::AddressRefused,
        Self::SchemeRefused,
        Self::NameNotResolved,
        Self::NotConnected,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Timeout,
        Self::Broken,
        Self::Internal,
        Self::Redirect,
        Self::Unauthorized,
        Self::NotFound,
        Self::TooMany,
        Self::Gone,
        Self::ClientError,
        Self::ServerError,
        Self::Strange,
    ];

    /// `None` of a success.
    #[must_use]
    pub const fn of(outcome: &Outcome) -> Option<Self> {
        let cause = match outcome {
            Outcome::Answered(answer) => match answer.status {
                200..=299 => return None,
                300..=399 => Self::Redirect,
                401 | 403 => Self::Unauthorized,
                404 => Self::NotFound,
                410 => Self::Gone,
                429 => Self::TooMany,
                400..=499 => Self::ClientError,
                500..=599 => Self::ServerError,
                _ => Self::Strange,
            },
            Outcome::Failed(failure) => match failure {
                Failure::AddressRefused(_) => Self::AddressRefused,
                Failure::SchemeRefused => Self::SchemeRefused,
                Failure::NameNotResolved(_) => Self::NameNotResolved,
                Failure::NotConnected(_) => Self::NotConnected,
                Failure::ConnectTimeout => Self::ConnectTimeout,
                Failure::Tls(_) => Self::Tls,
                Failure::Timeout => Self::Timeout,
                Failure::Broken(_) => Self::Broken,
                Failure::Internal => Self::Internal,
            },
        };
        Some(cause)
    }

    /// A failure's own name, or the statuses that are meant.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddressRefused => "address_refused",
            Self::SchemeRefused => "scheme_refused",
            Self::NameNotResolved => "name_not_resolved",
            Self::NotConnected => "not_connected",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Internal => "internal",
            Self::Redirect => "3xx",
            Self::Unauthorized => "401_403",
            Self::NotFound => "404",
            Self::TooMany => "429",
            Self::Gone => "410",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::Strange => "other",
        }
    }
}

/// What is measured, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// From the message's coming in to the answer that took the delivery, all attempts and waits between included.
    ToDelivered,
    /// One attempt, from its beginning to the end of the answer.
    Attempt,
    /// What one `before_message` webhook cost its sender.
    Asked,
}

impl Span {
    pub const ALL: [Self; 3] = [Self::ToDelivered, Self::Attempt, Self::Asked];
}

/// Users online.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Online {
    pub peak: u64,
    pub last: u64,
}

/// Where the cells of causes begin, of those who are online, and of each histogram.
const CAUSES: u32 = 64;
const ONLINE_PEAK: u32 = 128;
const ONLINE_LAST: u32 = 129;
const HISTOGRAMS: u32 = 1_000;
const CELLS_OF_HISTOGRAM: u32 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    counts: [u64; Count::ALL.len()],
    causes: [u64; Cause::ALL.len()],
    spans: [Histogram; Span::ALL.len()],
    online: Option<Online>,
}

impl Tally {
    pub fn count(&mut self, what: Count) {
        let count = &mut self.counts[what as usize];
        *count = count.saturating_add(1);
    }

    pub fn measure(&mut self, span: Span, us: u64) {
        self.spans[span as usize].add(us);
    }

    /// An attempt was made, and took so long.
    pub fn attempted(&mut self, outcome: &Outcome, us: u64) {
        match Cause::of(outcome) {
            None => self.count(Count::Succeeded),
            Some(cause) => self.causes[cause as usize] += 1,
        }
        self.measure(Span::Attempt, us);
    }

    /// So many users are online now.
    pub fn is_online(&mut self, now: u64) {
        let peak = self.online.map_or(now, |online| online.peak.max(now));
        self.online = Some(Online { peak, last: now });
    }

    #[must_use]
    pub fn of(&self, what: Count) -> u64 {
        self.counts[what as usize]
    }

    /// Calls of `before_message`.
    #[must_use]
    pub fn asked(&self) -> u64 {
        let all = [Count::Passed, Count::Injected, Count::Replaced, Count::Dropped, Count::Silent];
        all.into_iter().map(|what| self.of(what)).sum()
    }

    /// Failed attempts by cause, those that there were.
    pub fn failures(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().zip(self.causes).filter(|(_, count)| *count > 0)
    }

    #[must_use]
    pub fn failed(&self) -> u64 {
        self.causes.iter().sum()
    }

    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.failed() + self.of(Count::Succeeded)
    }

    #[must_use]
    pub fn span(&self, span: Span) -> &Histogram {
        &self.spans[span as usize]
    }

    #[must_use]
    pub fn online(&self) -> Option<Online> {
        self.online
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells().next().is_none()
    }

    /// Adds what happened later, or at the same time.
    pub fn merge(&mut self, later: &Self) {
        self.counts
            .iter_mut()
            .zip(later.counts)
            .for_each(|(count, more)| *count = count.saturating_add(more));
        self.causes
            .iter_mut()
            .zip(later.causes)
            .for_each(|(count, more)| *count = count.saturating_add(more));
        self.spans.iter_mut().zip(&later.spans).for_each(|(span, more)| span.merge(more));
        self.online = match (self.online, later.online) {
            (Some(before), Some(after)) => {
                Some(Online { peak: before.peak.max(after.peak), last: after.last })
            }
            (before, after) => after.or(before),
        };
    }

    /// Every number that is there, by its cell, in the order of the cells. A cell's meaning never changes.
    pub fn cells(&self) -> impl Iterator<Item = (u32, u64)> {
        let counts = (0..).zip(self.counts);
        let causes = (CAUSES..).zip(self.causes);
        // One more than they are, so that nobody online is something as well.
        let online = self.online.into_iter();
        let online = online.flat_map(|o| [(ONLINE_PEAK, o.peak + 1), (ONLINE_LAST, o.last + 1)]);
        let spans = (0..).zip(&self.spans).flat_map(|(n, span)| {
            let begin = HISTOGRAMS + n * CELLS_OF_HISTOGRAM;
            span.buckets().map(move |(bucket, count)| (begin + bucket, count))
        });
        counts.chain(causes).chain(online).chain(spans).filter(|(_, value)| *value > 0)
    }

    /// The tally of cells; one that is not known, as of a later version, is passed over.
    #[must_use]
    pub fn from_cells(cells: impl IntoIterator<Item = (u32, u64)>) -> Self {
        let mut tally = Self::default();
        for (cell, value) in cells {
            tally.set_cell(cell, value);
        }
        tally
    }

    fn set_cell(&mut self, cell: u32, value: u64) {
        let online = self.online.unwrap_or(Online { peak: 0, last: 0 });
        match cell {
            ONLINE_PEAK => self.online = Some(Online { peak: value.saturating_sub(1), ..online }),
            ONLINE_LAST => self.online = Some(Online { last: value.saturating_sub(1), ..online }),
            HISTOGRAMS.. => {
                let (n, bucket) =
                    ((cell - HISTOGRAMS) / CELLS_OF_HISTOGRAM, (cell - HISTOGRAMS) % CELLS_OF_HISTOGRAM);
                if let Some(span) = self.spans.get_mut(n as usize) {
                    span.set_bucket(bucket, value);
                }
            }
            CAUSES.. => {
                if let Some(count) = self.causes.get_mut((cell - CAUSES) as usize) {
                    *count = value;
                }
            }
            _ => {
                if let Some(count) = self.counts.get_mut(cell as usize) {
                    *count = value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::Answer;

    fn answered(status: u16) -> Outcome {
        Outcome::Answered(Answer {
            status,
            retry_after_s: None,
            body: Vec::new(),
            is_cut: false,
            location: None,
        })
    }

    #[derive(Debug, Clone)]
    enum Deed {
        Counted(usize),
        Attempted(u16, u64),
        Measured(usize, u64),
        Online(u64),
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            (0..Count::ALL.len()).prop_map(Deed::Counted),
            (100u16..700, any::<u32>()).prop_map(|(status, us)| Deed::Attempted(status, us.into())),
            (0..Span::ALL.len(), any::<u64>()).prop_map(|(n, us)| Deed::Measured(n, us)),
            (0u64..50).prop_map(Deed::Online),
        ]
    }

    fn tally_of(deeds: &[Deed]) -> Tally {
        let mut tally = Tally::default();
        for deed in deeds {
            match deed {
                Deed::Counted(n) => tally.count(Count::ALL[*n]),
                Deed::Attempted(status, us) => tally.attempted(&answered(*status), *us),
                Deed::Measured(n, us) => tally.measure(Span::ALL[*n], *us),
                Deed::Online(now) => tally.is_online(*now),
            }
        }
        tally
    }

    proptest! {
        #[test]
        fn tallies_of_parts_merge_into_that_of_the_whole(
            deeds in proptest::collection::vec(deed(), 0..60), cut in 0usize..60
        ) {
            let (first, second) = deeds.split_at(cut.min(deeds.len()));
            let mut merged = tally_of(first);
            merged.merge(&tally_of(second));
            prop_assert_eq!(merged, tally_of(&deeds));
        }

        #[test]
        fn a_tally_is_the_same_after_it_was_written_in_cells(
            deeds in proptest::collection::vec(deed(), 0..60)
        ) {
            let tally = tally_of(&deeds);
            let cells: Vec<_> = tally.cells().collect();
            prop_assert!(cells.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert_eq!(cells.is_empty(), tally.is_empty());
            prop_assert_eq!(Tally::from_cells(cells), tally);
        }
    }

    #[test]
    fn cells_of_a_later_version_are_passed_over() {
        assert!(Tally::from_cells([(63, 1), (127, 1), (130, 1), (1_999, 1), (90_000, 1)]).is_empty());
    }

    #[test]
    fn a_name_is_one_causes_own_and_each_stands_where_it_is_counted() {
        for (n, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, n);
            assert_eq!(Cause::ALL.iter().filter(|other| other.name() == cause.name()).count(), 1);
        }
        assert!(Count::ALL.into_iter().enumerate().all(|(n, count)| count as usize == n));
    }

    #[test]
    fn a_step_begins_at_a_whole_multiple_of_itself() {
        let at = Time::from_ms(1_760_000_123_456);
        assert_eq!(Step::Minute.begin_of(at).ms, 1_760_000_100_000);
        assert_eq!(Step::TenMinutes.begin_of(at).ms, 1_759_999_800_000);
    }
}
