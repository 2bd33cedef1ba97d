//! Times, sorted, of which one asks for the middle and the tail.

/// Microseconds, in ascending order.
#[derive(Debug, Clone)]
pub struct Spread(Vec<u64>);

impl Spread {
    pub fn of(mut times_us: Vec<u64>) -> Self {
        times_us.sort_unstable();
        Self(times_us)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn p50(&self) -> u64 {
        self.at(50)
    }

    pub fn p99(&self) -> u64 {
        self.at(99)
    }

    pub fn max(&self) -> u64 {
        self.0.last().copied().unwrap_or(0)
    }

    /// The nearest rank: the smallest time that at least `percent` of all do not exceed.
    fn at(&self, percent: usize) -> u64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

/// The middle of an odd number of values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
