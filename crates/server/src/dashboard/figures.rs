//! What the overview and the health of an endpoint draw of a series: rates, failures by cause, latencies.

use std::collections::BTreeMap;

use chathook_domain::delivery::Status;
use chathook_domain::needs::{Need, NeedKind};
use chathook_domain::tally::{Cause, Count, Span, Step, Tally};
use chathook_engine::health::{Series, Window};

use super::moment::Moment;
use super::page::{PageError, PageParams};
use super::paths::Paths;
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
    pub cure: String,
    /// The code of the outcome or silence behind it, as logs and documents have it.
    pub cause: Option<String>,
    pub is_mild: bool,
    /// Since when, or of a rotation until when.
    pub when: Option<(&'static str, Moment)>,
    /// Pages that help.
    pub links: Vec<NeedLink>,
}

pub struct NeedLink {
    pub label: &'static str,
    pub url: String,
}

impl NeedLine {
    #[must_use]
    pub fn of(need: &Need, paths: &Paths) -> Self {
        let word_of_time = if need.kind == NeedKind::Rotation { "until" } else { "since" };
        Self {
            webhook: need.webhook.to_string(),
            url: paths.health(need.webhook.as_str()),
            word: word_of(need),
            sentence: need.sentence.clone(),
            cure: need.cure.clone(),
            cause: need.cause.clone(),
            is_mild: need.kind.is_mild(),
            when: need.since.map(|at| (word_of_time, Moment(at))),
            links: links_of(need, paths),
        }
    }
}

/// Where the cause is seen, and where it is cured.
fn links_of(need: &Need, paths: &Paths) -> Vec<NeedLink> {
    let id = need.webhook.as_str();
    let link = |label, url| NeedLink { label, url };
    let waiting = || link("What waits", paths.deliveries(id, Some(Status::Waiting)));
    let test = || link("Send a test", format!("{}#test", paths.webhook(id)));
    let change = |label| link(label, paths.webhook(id));
    match need.kind {
        NeedKind::SwitchedOff => vec![change("Enable it"), waiting(), test()],
        NeedKind::Failing | NeedKind::CircuitOpen => vec![waiting(), test()],
        NeedKind::Backlog | NeedKind::WaitsLong => vec![waiting()],
        NeedKind::BeforeMessage => vec![link("Silent calls", paths.silent_calls(id)), test()],
        NeedKind::Unsent => {
            let failed = link("What failed", paths.deliveries(id, Some(Status::Failed)));
            vec![failed, link("Replay", paths.replays(id))]
        }
        NeedKind::WaitsWhileDisabled => vec![change("Enable it"), waiting()],
        NeedKind::Rotation => vec![link("Its secret", format!("{}#secret", paths.webhook(id)))],
    }
}

fn word_of(need: &Need) -> &'static str {
    match need.kind {
        NeedKind::SwitchedOff => "switched off",
        NeedKind::Backlog => "backlog",
        NeedKind::Failing | NeedKind::CircuitOpen => "failing",
        NeedKind::BeforeMessage => "silent",
        NeedKind::Unsent => "unsent",
        NeedKind::WaitsLong => "waits long",
        NeedKind::WaitsWhileDisabled => "disabled",
        NeedKind::Rotation => "rotating",
    }
}

/// How often `before_message` got no usable answer, where it was asked.
#[must_use]
pub fn silence_tile(total: &Tally) -> Option<Tile> {
    let (asked, silent) = (total.asked(), total.of(Count::Silent));
    let note = format!("of {} calls got no usable answer", number(float(asked)));
    let tile = Tile::new("before_message silent", number(float(silent)), &note);
    (asked > 0).then(|| tile.bad_if(silent * 20 > asked))
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
        let layers: Vec<Values> = [
            self.rate("Messages", |tally| tally.of(Count::Messages)),
            self.rate("Delivered", |tally| tally.of(Count::Delivered)),
        ]
        .map(without_unfinished)
        .into();
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
            Values { colour: Some(3), ..self.rate("Silent", |tally| tally.of(Count::Silent)) },
        ];
        let (asked, silent) = (self.series.total.asked(), self.series.total.of(Count::Silent));
        let summary =
            format!("{asked} calls of before_message, {silent} of them without a usable answer; per minute.");
        stacked(
            ("verdicts", "before_message per minute, by what came of it", summary),
            self.axis,
            layers,
            number,
        )
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

/// The step that we are in has not got all of its count yet: a line ends before it, unless it is above already.
fn without_unfinished(mut layer: Values) -> Values {
    if let [.., before, last] = &mut *layer.values
        && *last < *before
    {
        *last = None;
    }
    layer
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
    fn a_line_does_not_dive_in_the_step_that_is_not_over() {
        let drawn = |values: [f64; 3]| {
            let values = values.map(Some).to_vec();
            let layer = Values { name: String::new(), note: String::new(), colour: None, values };
            without_unfinished(layer).values[2]
        };
        assert_eq!(drawn([5.0, 5.0, 1.0]), None);
        assert_eq!(drawn([0.0, 0.0, 3.0]), Some(3.0));
        assert_eq!(drawn([0.0, 0.0, 0.0]), Some(0.0));
    }

    #[test]
    fn what_is_not_all_is_not_shown_as_all() {
        let shares =
            [(0, 0), (0, 3), (1, 3), (99_999, 100_000), (3, 3)].map(|(part, whole)| share(part, whole));
        assert_eq!(shares, ["–", "0 %", "33.3 %", "99.9 %", "100 %"]);
    }
}
