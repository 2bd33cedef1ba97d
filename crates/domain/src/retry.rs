//! When a failed delivery is tried again (design 6).

/// Waits after the first, second, ... failed attempt, in seconds. The first two are the documented ones.
pub const WAITS_S: [i64; 10] = [10, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400];

/// The wait before the next attempt in milliseconds, or `None` when the schedule has ended.
///
/// `attempts` counts those made. `roll` is a fair number from 0 to 1: jitter only ever adds, up to 10 %.
#[must_use]
pub fn wait_ms(attempts: u32, retry_on_failure: bool, roll: f64) -> Option<i64> {
    if !retry_on_failure {
        return None;
    }
    let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let base_ms = WAITS_S.get(index)? * 1_000;
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    let jitter_ms = (base_ms as f64 * 0.1 * roll.clamp(0.0, 1.0)) as i64;
    Some(base_ms + jitter_ms)
}

/// The longest that the wait after so many used ones can be, in milliseconds.
#[must_use]
pub fn longest_wait_ms(steps: u32) -> i64 {
    let last = WAITS_S.len() - 1;
    let index = usize::try_from(steps.saturating_sub(1)).unwrap_or(last).min(last);
    WAITS_S[index] * 1_100
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_two_waits_are_the_documented_ones() {
        assert_eq!(wait_ms(1, true, 0.0), Some(10_000));
        assert_eq!(wait_ms(2, true, 0.0), Some(30_000));
    }

    #[test]
    fn without_retry_one_attempt_is_all() {
        assert_eq!(wait_ms(1, false, 0.0), None);
    }

    #[test]
    fn the_schedule_ends_after_the_last_wait() {
        assert_eq!(wait_ms(11, true, 0.0), None);
    }

    proptest! {
        #[test]
        fn jitter_only_adds_and_at_most_a_tenth(attempts in 1u32..=10, roll in 0.0f64..=1.0) {
            let base = wait_ms(attempts, true, 0.0).expect("inside the schedule");
            let wait = wait_ms(attempts, true, roll).expect("inside the schedule");
            prop_assert!(wait >= base && wait <= base + base / 10);
        }

        #[test]
        fn waits_never_shrink(attempts in 1u32..10, roll in 0.0f64..=1.0) {
            prop_assert!(wait_ms(attempts, true, roll) < wait_ms(attempts + 1, true, 0.0));
        }
    }
}
