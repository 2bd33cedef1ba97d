//! A moment as pages show it: a `<time>` in UTC, which `dashboard.js` turns into the reader's zone.

use std::fmt;

use askama::filters::HtmlSafe;
use chathook_domain::ids::Time;

const DAY_S: i64 = 86_400;

/// `{{ moment }}` in a template is the whole element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Time);

/// In the proleptic Gregorian calendar, in UTC.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
    ms: i64,
}

impl Moment {
    /// RFC 3339, to the millisecond.
    #[must_use]
    pub fn to_iso(self) -> String {
        let Civil { year, month, day, second_of_day: s, ms } = self.civil();
        let (h, m, s) = (s / 3_600, s / 60 % 60, s % 60);
        format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }

    /// For people who have no script: `2026-11-25 13:45:13 UTC`.
    #[must_use]
    pub fn to_text(self) -> String {
        let iso = self.to_iso();
        format!("{} {} UTC", &iso[..10], &iso[11..19])
    }

    /// Days are counted from 1 March of year 0, so that leap days stand at the end of their year.
    fn civil(self) -> Civil {
        const DAYS_TO_1970: i64 = 719_468;
        const DAYS_OF_400_YEARS: i64 = 146_097;
        let seconds = self.0.seconds();
        let days = seconds.div_euclid(DAY_S) + DAYS_TO_1970;
        let era = days.div_euclid(DAYS_OF_400_YEARS);
        let day_of_era = days.rem_euclid(DAYS_OF_400_YEARS);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Civil {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            second_of_day: seconds.rem_euclid(DAY_S),
            ms: self.0.ms.rem_euclid(1_000),
        }
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
