//! Spans of time as forms name them: `datetime-local` fields, in UTC, and what pages say of durations.

use chathook_domain::ids::Time;
use chathook_domain::refusal::{Code, Refusal};

const DAY_S: i64 = 86_400;

/// What a `datetime-local` field holds (`2026-11-25T13:45`, with or without seconds), taken as UTC.
/// `None` where it is empty.
pub fn parse(name: &str, text: &str) -> Result<Option<Time>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    seconds(text).map(|seconds| Some(Time::from_ms(seconds * 1_000))).ok_or_else(|| {
        Refusal::field(Code::BadRequest, name, "must be a time such as 2026-11-25T13:45, in UTC")
    })
}

/// For people: `340 µs`, `12.4 ms`, `3.20 s`.
#[must_use]
pub fn micros(us: u64) -> String {
    let whole = |us: u64, unit: u64| us / unit;
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..100_000 => format!("{}.{} ms", whole(us, 1_000), us % 1_000 / 100),
        100_000..1_000_000 => format!("{} ms", whole(us, 1_000)),
        _ => format!("{}.{:02} s", whole(us, 1_000_000), us % 1_000_000 / 10_000),
    }
}

/// Seconds since 1970 of a civil time in the proleptic Gregorian calendar.
fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', ' '])?;
    let date: Vec<i64> = numbers(date, '-', &[4, 2, 2])?;
    let time: Vec<i64> = numbers(time, ':', &[2, 2]).or_else(|| numbers(time, ':', &[2, 2, 2]))?;
    let (year, month, day) = (date[0], date[1], date[2]);
    let (hour, minute, second) = (time[0], time[1], time.get(2).copied().unwrap_or(0));
    let is_fit = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    is_fit.then(|| days_to(year, month, day) * DAY_S + hour * 3_600 + minute * 60 + second)
}

fn numbers(text: &str, between: char, digits: &[usize]) -> Option<Vec<i64>> {
    let parts: Vec<&str> = text.split(between).collect();
    let is_fit = parts.len() == digits.len()
        && parts
            .iter()
            .zip(digits)
            .all(|(part, digits)| part.len() == *digits && part.bytes().all(|byte| byte.is_ascii_digit()));
    is_fit.then(|| parts.iter().filter_map(|part| part.parse().ok()).collect())
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let days_of_years = before * 365 + before / 4 - before / 100 + before / 400;
    const DAYS_TO_1970: i64 = 719_162;
    let days_of_months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    days_of_years - DAYS_TO_1970 + days_of_months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_field_shows_is_read_as_the_same_minute() {
        for text in ["1970-01-01T00:00", "2000-02-29T23:59", "2026-11-25T13:45", "9999-12-31T00:00"] {
            let time = parse("since", text).expect("it is a time").expect("it is there");
            assert_eq!(&super::super::moment::Moment(time).to_iso()[..16], text);
        }
        let with_seconds = parse("since", "2025-10-09T08:53:20").expect("a time").expect("there");
        assert_eq!(with_seconds.seconds(), 1_760_000_000);
        assert_eq!(parse("since", ""), Ok(None));
    }

    #[test]
    fn what_is_no_time_is_refused_at_its_field() {
        for text in [
            "yesterday",
            "2026-02-30T00:00",
            "2026-13-01T00:00",
            "2026-1-1T0:00",
            "2026-11-25",
            "1969-12-31T00:00",
            "2026-11-25T24:00",
        ] {
            let refusal = parse("until", text).expect_err(text);
            assert_eq!(refusal.field.as_deref(), Some("until"), "{text}");
        }
    }

    #[test]
    fn durations_are_told_in_the_unit_that_suits_them() {
        let told = [0, 999, 1_000, 12_345, 99_999, 100_000, 999_999, 1_000_000, 10_050_000].map(micros);
        assert_eq!(
            told,
            ["0 µs", "999 µs", "1.0 ms", "12.3 ms", "99.9 ms", "100 ms", "999 ms", "1.00 s", "10.05 s"]
        );
    }
}
