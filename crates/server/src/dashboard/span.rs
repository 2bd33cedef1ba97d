//! Moments as forms name them, and what pages say of durations.

use chathook_domain::ids::Time;
use chathook_domain::refusal::{Code, Refusal};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// What a form holds of a moment: an instant (`2026-11-25T12:45:00.000Z`), as `dashboard.js` makes it of what was
/// typed in the reader's zone; or, without scripts, what a `datetime-local` field says (`2026-11-25T13:45`), as UTC.
/// `None` where it is empty.
pub fn parse(name: &str, text: &str) -> Result<Option<Time>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let complaint = || Refusal::field(Code::BadRequest, name, "must be a time such as 2026-11-25T13:45");
    instant(text).map(|at| Some(Time::from_ms(at.as_millisecond()))).ok_or_else(complaint)
}

/// The same as a `datetime-local` field takes it, in UTC; what is no time as it was typed.
#[must_use]
pub fn as_field(text: &str) -> String {
    let civil = instant(text).map(|at| TimeZone::UTC.to_datetime(at));
    civil.map_or_else(|| text.to_owned(), |civil| format!("{civil:.0}"))
}

fn instant(text: &str) -> Option<Timestamp> {
    let as_utc = |civil: DateTime| TimeZone::UTC.to_timestamp(civil).ok();
    text.parse().ok().or_else(|| text.parse().ok().and_then(as_utc))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_exact_and_what_a_field_says_is_utc() {
        let ms = |text| parse("since", text).expect("it is a time").expect("it is there").ms;
        assert_eq!(ms("2025-10-09T08:53:20"), 1_760_000_000_000);
        assert_eq!(ms("2025-10-09T08:53"), 1_759_999_980_000);
        assert_eq!(ms("2025-10-09T08:53:20.042Z"), 1_760_000_000_042);
        assert_eq!(ms("2025-10-09T10:53:20+02:00"), 1_760_000_000_000);
        assert_eq!(parse("since", ""), Ok(None));
    }

    #[test]
    fn a_field_shows_again_what_was_sent() {
        assert_eq!(as_field("2025-10-09T08:53"), "2025-10-09T08:53:00");
        assert_eq!(as_field("2025-10-09T08:53:00.000Z"), "2025-10-09T08:53:00");
        assert_eq!(as_field("soon"), "soon");
    }

    #[test]
    fn what_is_no_time_is_refused_at_its_field() {
        for text in ["yesterday", "2026-02-30T00:00", "2026-13-01T00:00", "2026-1-1T0:00", "2026-11-25T24:00"]
        {
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
