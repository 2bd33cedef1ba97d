//! What the overview and the health of an endpoint draw of a series: rates, failures by cause, latencies.

use std::collections::BTreeMap;

use chathook_domain::needs::Need;
use chathook_domain::tally::{Cause, Count, Span, Step, Tally};
use chathook_engine::health::{Series, Window};

use super::moment::Moment;
use super::page::{PageError, PageParams};
use super::plot::{Axis, LAYERS_MAX, Plot, Scale, Values, duration, lines, number, stacked};

/// The two spans that pages show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Hour,
    Day,
}

impl Shown {
    pub fn of(params: &PageParams) -> Self {
        match params.text("span") {
            Some("day") => Self::Day,
            Some(_) | None => Self::Hour,
        }
    }

    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    pub fn window(self) -> Result<Window, PageError> {
        let minutes = match self {
            Self::Hour => 60,
            Self::Day => 24 * 60,
        };
        Ok(Window::of(minutes, None)?)
    }
}

/// One figure with its name.
pub struct Tile {
    pub name: &'static str,
    pub value: String,
    pub note: String,
    /// Worth a look.
    pub is_bad: bool,
}

impl Tile {
    #[must_use]
    pub fn new(name: &'static str, value: String, note: &str) -> Self {
        Self { name, value, note: note.to_owned(), is_bad: false }
    }

    #[must_use]
    pub fn bad_if(self, is_bad: bool) -> Self {
        Self { is_bad, ..self }
    }
}

/// A webhook that needs a person, as a page shows it.
pub struct NeedLine {
    pub webhook: String,
    pub url: String,
    pub word: &'static str,
    pub sentence: String,
    pub cure: &'static str,
    pub is_mild: bool,
    pub since: Option<Moment>,
}

impl NeedLine {
    #[must_use]
    pub fn of(need: &Need, app_url: &str) -> Self {
        Self {
            webhook: need.webhook.to_string(),
            url: health_url(app_url, need.webhook.as_str()),
            word: word_of(need),
            sentence: need.sentence.clone(),
            cure: need.cure,
            is_mild: need.kind.is_mild(),
            since: need.since.map(Moment),
        }
    }
}

#[must_use]
pub fn health_url(app_url: &str, webhook: &str) -> String {
    format!("{app_url}/webhooks/{webhook}/health")
}

fn word_of(need: &Need) -> &'static str {
    use chathook_domain::needs::NeedKind;
    match need.kind {
        NeedKind::SwitchedOff => "switched off",
        NeedKind::Backlog => "backlog",
        NeedKind::Failing => "failing",
        NeedKind::CircuitOpen => "circuit open",
        NeedKind::BeforeMessage => "silent",
        NeedKind::Unsent => "unsent",
        NeedKind::WaitsLong => "waits long",
        NeedKind::WaitsWhileDisabled => "disabled",
        NeedKind::Rotation => "rotating",
    }
}

/// A series laid out by steps.
pub struct Chart<'a> {
    series: &'a Series,
    axis: Axis,
}

impl<'a> Chart<'a> {
    #[must_use]
    pub fn of(series: &'a Series) -> Self {
        let step_ms = series.step.ms();
        let steps = (series.until.ms - series.since.ms).max(0) / step_ms + 1;
        let count = usize::try_from(steps).unwrap_or(1).max(2);
        Self { series, axis: Axis { since: series.since, step_ms, count } }
    }

    fn minutes_of_step(&self) -> f64 {
        match self.series.step {
            Step::Minute => 1.0,
            Step::TenMinutes => 10.0,
        }
    }

    fn values(&self, empty: Option<f64>, value: impl Fn(&Tally) -> Option<f64>) -> Vec<Option<f64>> {
        let mut values = vec![empty; self.axis.count];
        for (at, tally) in &self.series.points {
            let n = (at.ms - self.series.since.ms) / self.axis.step_ms;
            if let Some(place) = usize::try_from(n).ok().and_then(|n| values.get_mut(n)) {
                *place = value(tally).or(empty);
            }
        }
        values
    }

    /// A rate per minute, nothing where nothing was counted.
    fn rate(&self, name: &str, count: impl Fn(&Tally) -> u64) -> Values {
        let total = count(&self.series.total);
        let per_minute = self.minutes_of_step();
        let values = self.values(Some(0.0), |tally| Some(float(count(tally)) / per_minute));
        Values { name: name.to_owned(), note: number(float(total)), colour: None, values }
    }

    #[must_use]
    pub fn rates(&self) -> Plot {
        let layers = vec![
            self.rate("Messages", |tally| tally.of(Count::Messages)),
            self.rate("Delivered", |tally| tally.of(Count::Delivered)),
        ];
        let total = &self.series.total;
        let summary = format!(
            "{} messages and {} deliveries; per minute.",
            total.of(Count::Messages),
            total.of(Count::Delivered)
        );
        let scale = Scale::linear(greatest(&layers));
        lines(("rates", "Messages and deliveries per minute", summary), self.axis, layers, scale, number)
    }

    /// Attempts, those that succeeded and those that failed by cause.
    #[must_use]
    pub fn attempts(&self) -> Plot {
        let mut by_cause: BTreeMap<Cause, u64> = self.series.total.failures().collect();
        let mut most: Vec<(Cause, u64)> = by_cause.clone().into_iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let named = LAYERS_MAX - 2;
        let shown: Vec<Cause> = most.iter().take(named).map(|(cause, _)| *cause).collect();
        by_cause.retain(|cause, _| !shown.contains(cause));
        let mut layers = vec![self.rate("Succeeded", |tally| tally.of(Count::Succeeded))];
        layers.extend(shown.iter().map(|cause| self.rate(said(*cause), |tally| count_of(tally, *cause))));
        if !by_cause.is_empty() {
            layers.push(self.rate("Other failures", |tally| {
                tally.failures().filter(|(cause, _)| by_cause.contains_key(cause)).map(|(_, n)| n).sum()
            }));
        }
        let total = &self.series.total;
        let summary =
            format!("{} attempts, {} of them failed; per minute.", total.attempts(), total.failed());
        stacked(("attempts", "Attempts per minute, by what came of them", summary), self.axis, layers, number)
    }

    /// What a verdict is, per minute.
    #[must_use]
    pub fn verdicts(&self) -> Plot {
        let layers = vec![
            self.rate("Passed", |tally| tally.of(Count::Passed)),
            Values { colour: Some(5), ..self.rate("Injected", |tally| tally.of(Count::Injected)) },
            Values { colour: Some(4), ..self.rate("Replaced", |tally| tally.of(Count::Replaced)) },
            Values { colour: Some(2), ..self.rate("Dropped", |tally| tally.of(Count::Dropped)) },
        ];
        let silent = self.series.total.of(Count::Silent);
        let summary = format!("Calls of before_message by verdict, per minute; {silent} without an answer.");
        stacked(("verdicts", "Verdicts of before_message per minute", summary), self.axis, layers, number)
    }

    #[must_use]
    pub fn latency(&self, span: Span) -> Plot {
        let (id, title) = match span {
            Span::ToDelivered => ("to-delivered", "From message to delivery"),
            Span::Attempt => ("attempt-time", "Time of an attempt"),
            Span::Asked => ("asked-time", "Time that before_message took"),
        };
        let total = self.series.total.span(span).percentiles();
        let layer = |name: &str, of: fn(chathook_domain::stats::Percentiles) -> u64| Values {
            name: name.to_owned(),
            note: total.map_or_else(String::new, |p| duration(float(of(p)))),
            colour: None,
            values: self.values(None, |tally| tally.span(span).percentiles().map(|p| float(of(p)))),
        };
        let layers = vec![layer("p50", |p| p.p50), layer("p90", |p| p.p90), layer("p99", |p| p.p99)];
        let summary = match total {
            None => "Nothing was measured.".to_owned(),
            Some(p) => format!(
                "Half took at most {}, ninety-nine of a hundred at most {}.",
                duration(float(p.p50)),
                duration(float(p.p99))
            ),
        };
        let scale = Scale::powers(layers.iter().flat_map(|layer| layer.values.iter().flatten().copied()));
        lines((id, title, summary), self.axis, layers, scale, duration)
    }

    /// At their peak in each step.
    #[must_use]
    pub fn online(&self) -> Plot {
        let peak = self.series.total.online().map_or(0, |online| online.peak);
        let values = self.values(Some(0.0), |tally| tally.online().map(|online| float(online.peak)));
        let layers = vec![Values {
            name: "Users online".to_owned(),
            note: format!("at most {peak}"),
            colour: None,
            values,
        }];
        let scale = Scale::linear(float(peak));
        let summary = format!("At most {peak} users were online at once.");
        lines(("online", "Users online", summary), self.axis, layers, scale, number)
    }
}

fn count_of(tally: &Tally, cause: Cause) -> u64 {
    tally.failures().find(|(found, _)| *found == cause).map_or(0, |(_, count)| count)
}

fn greatest(layers: &[Values]) -> f64 {
    layers.iter().flat_map(|layer| layer.values.iter().flatten().copied()).fold(0.0, f64::max)
}

/// The failure as a person says it.
#[must_use]
pub const fn said(cause: Cause) -> &'static str {
    match cause {
        Cause::AddressRefused => "Address refused",
        Cause::SchemeRefused => "Scheme refused",
        Cause::NameNotResolved => "Name not found",
        Cause::NotConnected => "No connection",
        Cause::ConnectTimeout => "Connecting took too long",
        Cause::Tls => "TLS failed",
        Cause::Timeout => "No answer in time",
        Cause::Broken => "Connection broke",
        Cause::Internal => "Our own failure",
        Cause::Redirect => "3xx redirect",
        Cause::Unauthorized => "401 or 403",
        Cause::NotFound => "404",
        Cause::TooMany => "429",
        Cause::Gone => "410",
        Cause::ClientError => "Other 4xx",
        Cause::ServerError => "5xx",
        Cause::Strange => "Other status",
    }
}

/// `99.2 %`, or a dash of nothing.
#[must_use]
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let percent = float(part) * 100.0 / float(whole);
    // What is not all is not shown as all.
    let shown = if part < whole { percent.min(99.9) } else { percent };
    if part == whole || part == 0 { format!("{shown:.0} %") } else { format!("{shown:.1} %") }
}

#[allow(clippy::cast_precision_loss, reason = "drawn for people")]
#[must_use]
pub const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_all_is_not_shown_as_all() {
        let shares =
            [(0, 0), (0, 3), (1, 3), (99_999, 100_000), (3, 3)].map(|(part, whole)| share(part, whole));
        assert_eq!(shares, ["–", "0 %", "33.3 %", "99.9 %", "100 %"]);
    }
}
