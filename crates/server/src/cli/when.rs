//! Moments as people type them: so long ago, a date and time of their own zone, or seconds since 1970.

use chathook_adapters::system::RealClock;
use chathook_domain::ids::Time;
use chathook_engine::ports::clock::Clock as _;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A moment, in whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When(i64);

impl When {
    /// As the API takes it.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }
}

/// Reads a moment of the command line.
pub fn when(text: &str) -> Result<When, String> {
    read(text, RealClock::new().now(), &TimeZone::system())
}

fn read(text: &str, now: Time, zone: &TimeZone) -> Result<When, String> {
    let seconds = ago(text).map(|ago| now.seconds().saturating_sub(ago));
    let seconds = seconds.or_else(|| text.parse().ok().filter(|seconds| *seconds >= 0));
    let seconds = seconds.or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_second));
    let seconds = seconds.or_else(|| {
        let date = || text.parse::<Date>().ok().map(|date| date.to_datetime(jiff::civil::Time::midnight()));
        let local = text.parse::<DateTime>().ok().or_else(date)?;
        zone.to_timestamp(local).ok().map(Timestamp::as_second)
    });
    seconds.map(When).ok_or_else(|| {
        "write it as 90s, 30m, 6h or 2d (ago), 2025-10-09 or '2025-10-09 10:30', \
         2025-10-09T08:30:00Z, or seconds since 1970"
            .to_owned()
    })
}

/// The seconds of `30m` and its like.
fn ago(text: &str) -> Option<i64> {
    const UNITS: [(char, i64); 5] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
    let (unit, seconds) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    let count = text.strip_suffix(unit)?;
    let is_digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    count.parse::<i64>().ok().filter(|_| is_digits)?.checked_mul(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_is_meant() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let read = |text| read(text, Time::from_ms(1_760_000_000_999), &zone).map(When::seconds);
        let cases = [
            ("0s", 1_760_000_000),
            ("30m", 1_759_998_200),
            ("2d", 1_759_827_200),
            ("1760000000", 1_760_000_000),
            ("2025-10-09T08:53:20Z", 1_760_000_000),
            ("2025-10-09 10:53:20", 1_760_000_000),
            ("2025-10-09T10:53", 1_759_999_980),
            ("2025-10-09", 1_759_960_800),
        ];
        for (text, seconds) in cases {
            assert_eq!(read(text), Ok(seconds), "{text}");
        }
        for unfit in ["", "m", "-5m", "yesterday", "99999999999999999999d", "-1", "2025-13-01"] {
            assert!(read(unfit).is_err(), "{unfit}");
        }
    }
}
