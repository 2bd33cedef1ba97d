//! A moment as pages show it: a `<time>` in UTC, which `dashboard.js` turns into the reader's zone.

use std::fmt;

use askama::filters::HtmlSafe;
use chathook_domain::ids::Time;
use jiff::Timestamp;

/// `{{ moment }}` in a template is the whole element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Time);

impl Moment {
    /// RFC 3339, to the millisecond.
    #[must_use]
    pub fn to_iso(self) -> String {
        format!("{:.3}", self.timestamp())
    }

    /// For people who have no script: `2026-11-25 13:45:13 UTC`.
    #[must_use]
    pub fn to_text(self) -> String {
        self.timestamp().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    }

    /// What is beyond the calendar's ends is shown as its end.
    fn timestamp(self) -> Timestamp {
        let end = if self.0.ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_millisecond(self.0.ms).unwrap_or(end)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iso = self.to_iso();
        write!(f, "<time datetime=\"{iso}\" title=\"{iso}\">{}</time>", self.to_text())
    }
}

impl HtmlSafe for Moment {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc() {
        for (ms, iso) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_799_000, "2024-02-28T23:59:59.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (1_760_000_000_000, "2025-10-09T08:53:20.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Moment(Time::from_ms(ms)).to_iso(), iso);
        }
        assert_eq!(Moment(Time::from_ms(1_760_000_000_000)).to_text(), "2025-10-09 08:53:20 UTC");
    }
}
