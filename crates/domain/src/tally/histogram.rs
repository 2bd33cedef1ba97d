//! How often how much: values in buckets that grow with them, eight to each doubling. What is read from it is off by
//! no more than `RELATIVE_ERROR_MAX`, however many values there are.

use crate::stats::Percentiles;

/// A bucket of width w begins at 8w or above, and the value that stands for it is off by the same part of its least
/// and its greatest: at most w / (2 × 8w + w).
pub const RELATIVE_ERROR_MAX: f64 = 1.0 / 17.0;

/// Each doubling has so many buckets, as a power of two; values below that have one each.
const BITS: u32 = 3;
const PER_DOUBLING: u64 = 1 << BITS;
/// Values from here on count as this: twelve days in microseconds, longer than any schedule.
const VALUE_MAX: u64 = (1 << 40) - 1;
const BUCKETS: usize = bucket_of(VALUE_MAX) + 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS] }
    }
}

const fn bucket_of(value: u64) -> usize {
    let value = if value > VALUE_MAX { VALUE_MAX } else { value };
    if value < PER_DOUBLING {
        return value as usize;
    }
    let doublings = value.ilog2() - BITS;
    // The leading bit and the three after it: from 8 to 15.
    let top = value >> doublings;
    (doublings as u64 * PER_DOUBLING + top) as usize
}

/// The value that stands for a bucket: its least and its greatest are off from it by the same part.
fn value_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PER_DOUBLING {
        return bucket;
    }
    let doublings = bucket / PER_DOUBLING - 1;
    let (top, width) = (bucket % PER_DOUBLING + PER_DOUBLING, 1 << doublings);
    // The harmonic mean of the bucket's ends, top × width and (top + 1) × width.
    top * width + top * width / (2 * top + 1)
}

impl Histogram {
    pub fn add(&mut self, value: u64) {
        let count = &mut self.buckets[bucket_of(value)];
        *count = count.saturating_add(1);
    }

    pub fn merge(&mut self, other: &Self) {
        self.buckets
            .iter_mut()
            .zip(other.buckets)
            .for_each(|(count, more)| *count = count.saturating_add(more));
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    /// By the nearest rank, each off by at most `RELATIVE_ERROR_MAX`; `None` of no values.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let total = self.count();
        let at = |percent: u64| {
            let rank = (total * percent).div_ceil(100).max(1);
            let mut below = 0;
            let bucket = self.buckets.iter().position(|count| {
                below += u64::from(*count);
                below >= rank
            });
            bucket.map(value_of)
        };
        Some(Percentiles { p50: at(50)?, p90: at(90)?, p99: at(99)? })
    }

    /// Those that hold something.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (u32, u64)> {
        (0..).zip(self.buckets).filter(|(_, count)| *count > 0).map(|(n, count)| (n, u64::from(count)))
    }

    pub(super) fn set_bucket(&mut self, bucket: u32, count: u64) {
        if let Some(kept) = self.buckets.get_mut(bucket as usize) {
            *kept = u32::try_from(count).unwrap_or(u32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_close(read: u64, exact: u64) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "the values are below 2^40")]
        let (read, exact) = (read as f64, exact as f64);
        (read - exact).abs() <= exact * RELATIVE_ERROR_MAX + 1e-9
    }

    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = (0u32..40, any::<u64>()).prop_map(|(bits, noise)| (1 << bits) - 1 + noise % (1 << bits));
        proptest::collection::vec(value, 1..200)
    }

    proptest! {
        #[test]
        fn percentiles_are_off_by_no_more_than_promised(values in values()) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            let exact = Percentiles::of(values.clone()).expect("there are values");
            let read = histogram.percentiles().expect("there are values");
            prop_assert_eq!(histogram.count(), values.len() as u64);
            for (read, exact) in [(read.p50, exact.p50), (read.p90, exact.p90), (read.p99, exact.p99)] {
                prop_assert!(is_close(read, exact), "{} for {}", read, exact);
            }
        }

        #[test]
        fn a_greater_value_is_in_no_lower_bucket(a in any::<u64>(), b in any::<u64>()) {
            prop_assert!(bucket_of(a.min(b)) <= bucket_of(a.max(b)));
        }
    }

    #[test]
    fn the_promise_is_six_hundredths_and_no_values_have_no_percentiles() {
        const { assert!(RELATIVE_ERROR_MAX <= 0.06) };
        assert_eq!(Histogram::default().percentiles(), None);
    }

    #[test]
    fn values_beyond_all_measure_are_counted_at_the_end() {
        let mut histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert!(histogram.percentiles().is_some_and(|p| is_close(p.p50, VALUE_MAX)));
    }
}
