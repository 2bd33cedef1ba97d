//! Plots drawn here, as SVG with classes for its colours. What a plot shows stands beside it as a table for who
//! does not see it; the axis is of HTML, so that its times are the reader's and its type keeps its size.

use std::fmt::Write as _;

use chathook_domain::ids::Time;

use super::moment::Moment;

/// The drawing's own measures; pages stretch it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 150.0;
/// Times below a plot.
const TICKS: usize = 4;
/// Layers that have a colour of their own.
pub const LAYERS_MAX: usize = 6;

/// What is drawn, ready for `plot.html`.
pub struct Plot {
    pub id: &'static str,
    pub title: &'static str,
    /// What it comes to, in one sentence.
    pub summary: String,
    pub layers: Vec<Layer>,
    /// The greatest, the middle and the least of the upright axis.
    pub marks: [String; 3],
    pub ticks: Vec<Moment>,
    pub rows: Vec<Row>,
}

/// One line, or one colour of the bars.
pub struct Layer {
    pub name: String,
    /// From 1, for its colour.
    pub number: usize,
    pub shape: Shape,
    pub path: String,
    /// What stands in the legend beside the name.
    pub note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Line,
    Bars,
}

impl Shape {
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Bars => "bars",
        }
    }
}

/// A step in which something happened.
pub struct Row {
    pub at: Moment,
    pub cells: Vec<String>,
}

/// The steps of a plot, from the first to the present one.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    pub since: Time,
    pub step_ms: i64,
    pub count: usize,
}

/// Values of one layer, one for each step; none where there is nothing to draw.
pub struct Values {
    pub name: String,
    pub note: String,
    /// Its colour, where that is not its place among the layers.
    pub colour: Option<usize>,
    pub values: Vec<Option<f64>>,
}

/// How far up a value stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// From nothing to this.
    Linear { max: f64 },
    /// Between powers of ten: what is measured differs a thousandfold.
    Powers { least: i32, greatest: i32 },
}

impl Scale {
    /// From nothing to a round number that holds all.
    #[must_use]
    pub fn linear(greatest: f64) -> Self {
        if greatest <= 0.0 {
            return Self::Linear { max: 1.0 };
        }
        let power = 10_f64.powf(greatest.log10().floor());
        let round = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power);
        Self::Linear { max: round.into_iter().find(|max| *max >= greatest).unwrap_or(greatest) }
    }

    /// Powers of ten around all that is more than nothing.
    #[must_use]
    pub fn powers(values: impl Iterator<Item = f64>) -> Self {
        let powers = values.filter(|value| *value > 0.0).map(f64::log10);
        let (least, greatest) =
            powers.fold((f64::MAX, f64::MIN), |(least, most), power| (least.min(power), most.max(power)));
        if least > greatest {
            return Self::Powers { least: 3, greatest: 5 };
        }
        #[allow(clippy::cast_possible_truncation, reason = "powers of what fits in 64 bits are small")]
        let (least, greatest) = (least.floor() as i32, greatest.ceil() as i32);
        Self::Powers { least, greatest: greatest.max(least + 1) }
    }

    /// From 0 at the bottom to 1 at the top.
    fn part(self, value: f64) -> f64 {
        match self {
            Self::Linear { max } => value / max,
            Self::Powers { least, greatest } => {
                let (least, greatest) = (f64::from(least), f64::from(greatest));
                (value.max(f64::MIN_POSITIVE).log10() - least) / (greatest - least)
            }
        }
        .clamp(0.0, 1.0)
    }

    /// The values at the top, in the middle, and at the bottom.
    fn marks(self) -> [f64; 3] {
        match self {
            Self::Linear { max } => [max, max / 2.0, 0.0],
            Self::Powers { least, greatest } => {
                [f64::from(greatest), f64::from(least + greatest) / 2.0, f64::from(least)]
                    .map(|power| 10_f64.powf(power))
            }
        }
    }

    fn y(self, value: f64) -> f64 {
        HEIGHT - self.part(value) * HEIGHT
    }
}

impl Axis {
    fn at(&self, n: usize) -> Moment {
        Moment(self.since.plus_ms(i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(self.step_ms)))
    }

    fn ticks(&self) -> Vec<Moment> {
        (0..TICKS).map(|tick| self.at(tick * (self.count - 1) / (TICKS - 1))).collect()
    }

    fn width(&self) -> f64 {
        WIDTH / steps(self.count)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a plot has a few hundred steps at most")]
fn steps(n: usize) -> f64 {
    n as f64
}

/// Lines beside one another; `show` writes a value for people.
pub fn lines(
    (id, title, summary): (&'static str, &'static str, String),
    axis: Axis,
    layers: Vec<Values>,
    scale: Scale,
    show: impl Fn(f64) -> String,
) -> Plot {
    let paths = layers.iter().map(|layer| line(axis, scale, &layer.values)).collect();
    assembled((id, title, summary), axis, layers, (scale, Shape::Line, paths), show)
}

/// Bars, one colour upon the other.
pub fn stacked(
    (id, title, summary): (&'static str, &'static str, String),
    axis: Axis,
    layers: Vec<Values>,
    show: impl Fn(f64) -> String,
) -> Plot {
    let mut below = vec![0.0; axis.count];
    let sums = (0..axis.count).map(|n| layers.iter().filter_map(|layer| layer.values[n]).sum::<f64>());
    let scale = Scale::linear(sums.fold(0.0, f64::max));
    let paths = layers.iter().map(|layer| bars(axis, scale, &layer.values, &mut below)).collect();
    assembled((id, title, summary), axis, layers, (scale, Shape::Bars, paths), show)
}

fn assembled(
    (id, title, summary): (&'static str, &'static str, String),
    axis: Axis,
    layers: Vec<Values>,
    (scale, shape, paths): (Scale, Shape, Vec<String>),
    show: impl Fn(f64) -> String,
) -> Plot {
    let has_some = |n: &usize| layers.iter().any(|layer| layer.values[*n].is_some_and(|value| value > 0.0));
    let row = |n: usize| Row {
        at: axis.at(n),
        cells: layers.iter().map(|layer| layer.values[n].map_or_else(|| "–".to_owned(), &show)).collect(),
    };
    let rows = (0..axis.count).filter(has_some).map(row).collect();
    let drawn = layers.into_iter().zip(paths).enumerate().map(|(n, (layer, path))| Layer {
        name: layer.name,
        number: layer.colour.unwrap_or(n + 1),
        shape,
        path,
        note: layer.note,
    });
    let layers = drawn.collect();
    Plot { id, title, summary, layers, marks: scale.marks().map(show), ticks: axis.ticks(), rows }
}

/// A line through the middle of each step, broken where there is no value. A value that stands alone is a short line.
fn line(axis: Axis, scale: Scale, values: &[Option<f64>]) -> String {
    let (mut path, mut is_down) = (String::new(), false);
    for (n, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_down = false;
            continue;
        };
        let (x, y) = (axis.width() * (steps(n) + 0.5), scale.y(*value));
        let is_alone = !is_down && values.get(n + 1).copied().flatten().is_none();
        let written = if is_alone {
            write!(path, "M{:.1} {y:.1}h{:.1}", x - axis.width() / 2.0, axis.width())
        } else {
            write!(path, "{}{x:.1} {y:.1}", if is_down { 'L' } else { 'M' })
        };
        written.expect("a String takes all");
        is_down = true;
    }
    path
}

fn bars(axis: Axis, scale: Scale, values: &[Option<f64>], below: &mut [f64]) -> String {
    let mut path = String::new();
    let gap = axis.width() * 0.15;
    for (n, (value, below)) in values.iter().zip(below).enumerate() {
        let Some(value) = value.filter(|value| *value > 0.0) else { continue };
        let (bottom, top) = (scale.y(*below), scale.y(*below + value));
        *below += value;
        let (x, width) = (axis.width() * steps(n) + gap / 2.0, axis.width() - gap);
        write!(path, "M{x:.1} {bottom:.1}V{top:.1}h{width:.1}V{bottom:.1}z").expect("a String takes all");
    }
    path
}

/// A count or a rate, short.
#[must_use]
pub fn number(value: f64) -> String {
    match value {
        value if value >= 10_000_000.0 => format!("{:.0} M", value / 1_000_000.0),
        value if value >= 1_000_000.0 => format!("{:.1} M", value / 1_000_000.0),
        value if value >= 10_000.0 => format!("{:.0} k", value / 1_000.0),
        value if value >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value if value >= 0.095 => format!("{value:.1}"),
        value if value > 0.0 => "< 0.1".to_owned(),
        _ => "0".to_owned(),
    }
}

/// Microseconds, in the unit that suits them.
#[must_use]
pub fn duration(us: f64) -> String {
    match us {
        us if us < 995.0 => format!("{us:.0} µs"),
        us if us < 9_950.0 => format!("{:.1} ms", us / 1e3),
        us if us < 999_500.0 => format!("{:.0} ms", us / 1e3),
        us if us < 9_950_000.0 => format!("{:.1} s", us / 1e6),
        us if us < 120e6 => format!("{:.0} s", us / 1e6),
        us if us < 7_200e6 => format!("{:.0} min", us / 60e6),
        us => format!("{:.0} h", us / 3_600e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXIS: Axis = Axis { since: Time::from_ms(0), step_ms: 60_000, count: 4 };

    fn layer(name: &str, values: [Option<f64>; 4]) -> Values {
        Values { name: name.to_owned(), note: String::new(), colour: None, values: values.to_vec() }
    }

    fn about() -> (&'static str, &'static str, String) {
        ("rates", "Rates", "Four minutes.".to_owned())
    }

    #[test]
    fn a_line_breaks_where_nothing_was_measured_and_one_value_alone_is_seen() {
        let values = [Some(10.0), Some(5.0), None, Some(0.0)];
        let plot = lines(about(), AXIS, vec![layer("a", values)], Scale::linear(9.0), number);
        assert_eq!(plot.layers[0].path, "M75.0 0.0L225.0 75.0M450.0 150.0h150.0");
        assert_eq!(plot.marks, ["10", "5", "0"]);
        let cells: Vec<_> = plot.rows.iter().map(|row| row.cells.join(" ")).collect();
        assert_eq!(cells, ["10", "5"]);
    }

    #[test]
    fn bars_stand_upon_those_below_them() {
        let layers = vec![
            layer("a", [Some(1.0), None, Some(2.0), None]),
            layer("b", [Some(1.0), Some(1.0), None, Some(0.0)]),
        ];
        let plot = stacked(about(), AXIS, layers, number);
        assert_eq!(plot.layers[1].path, "M11.2 75.0V0.0h127.5V75.0zM161.2 150.0V75.0h127.5V150.0z");
        assert_eq!(plot.rows.len(), 3);
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (greatest, max) in [(0.0, 1.0), (1.0, 1.0), (1.1, 2.0), (4.0, 5.0), (620.0, 1_000.0)] {
            assert_eq!(Scale::linear(greatest), Scale::Linear { max });
        }
        let powers = Scale::powers([2_500.0, 0.0, 71_000.0].into_iter());
        assert_eq!(powers, Scale::Powers { least: 3, greatest: 5 });
        assert_eq!(powers.marks().map(duration), ["100 ms", "10 ms", "1.0 ms"]);
        assert_eq!(Scale::powers(std::iter::once(1_000.0)), Scale::Powers { least: 3, greatest: 4 });
    }

    #[test]
    fn numbers_are_short_and_durations_in_the_unit_that_suits_them() {
        let numbers = [0.0, 0.01, 0.26, 3.0, 12.4, 9_999.0, 12_345.0, 1_234_567.0].map(number);
        assert_eq!(numbers, ["0", "< 0.1", "0.3", "3", "12", "9999", "12 k", "1.2 M"]);
        let durations = [700.0, 1_200.0, 45_000.0, 1.5e6, 45e6, 600e6, 8e9].map(duration);
        assert_eq!(durations, ["700 µs", "1.2 ms", "45 ms", "1.5 s", "45 s", "10 min", "2 h"]);
    }
}
