//! Figures of a span of time.

/// Of so many values, half, nine tenths and ninety-nine hundredths are at most these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
}

impl Percentiles {
    /// By the nearest rank: each is one of the values. `None` of no values.
    #[must_use]
    pub fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied()
        };
        Some(Self { p50: at(50)?, p90: at(90)?, p99: at(99)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_values_of_the_nearest_rank() {
        let of = |values: Vec<u64>| Percentiles::of(values).map(|p| (p.p50, p.p90, p.p99));
        assert_eq!(of(Vec::new()), None);
        assert_eq!(of(vec![7]), Some((7, 7, 7)));
        assert_eq!(of((1..=100).rev().collect()), Some((50, 90, 99)));
        assert_eq!(of(vec![1, 2]), Some((1, 2, 2)));
    }

    proptest! {
        #[test]
        fn so_many_values_are_at_most_a_percentile(values in proptest::collection::vec(0u64..1_000, 1..300)) {
            let p = Percentiles::of(values.clone()).expect("there are values");
            for (percent, bound) in [(50, p.p50), (90, p.p90), (99, p.p99)] {
                let within = values.iter().filter(|v| **v <= bound).count();
                let below = values.iter().filter(|v| **v < bound).count();
                prop_assert!(within * 100 >= percent * values.len());
                prop_assert!(below * 100 < percent * values.len());
            }
        }
    }
}
