//! What commands print: tables and sentences for people, the API's own JSON for programs. What came
//! from elsewhere never reaches a terminal as anything but text.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

/// Blanks between two columns.
const GAP: usize = 2;

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Person,
    Program,
}

/// What a text means, told by its colour where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Heading,
    Good,
    Bad,
    /// Not yet good or bad.
    Open,
    /// Of less interest.
    Faint,
}

impl Tone {
    /// SGR codes (ECMA-48).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "1",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Open => "33",
            Self::Faint => "2",
        }
    }
}

/// A piece of text with its meaning. Control characters are shown, never sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::toned(Tone::Plain, text)
    }

    #[must_use]
    pub fn toned(tone: Tone, text: &str) -> Self {
        Self { text: shown(text), tone }
    }

    /// What JSON holds: texts as they are, nothing as a dash.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::toned(Tone::Faint, "-"),
            Value::Bool(true) => Self::new("yes"),
            Value::Bool(false) => Self::new("no"),
            Value::String(text) => Self::new(text),
            Value::Number(_) | Value::Array(_) | Value::Object(_) => Self::new(&value.to_string()),
        }
    }

    /// The text alone, to be part of another.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// Rows below headings, each column as wide as its widest cell.
#[derive(Debug, Clone, Default)]
pub struct Table {
    headings: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
    /// What to say, and do next, where there is no row.
    empty: String,
}

impl Table {
    #[must_use]
    pub fn new(headings: &[&str], empty: &str) -> Self {
        let headings = headings.iter().map(|text| Cell::toned(Tone::Heading, text)).collect();
        Self { headings, rows: Vec::new(), empty: empty.to_owned() }
    }

    /// Rows without headings; nothing is said where there is none.
    #[must_use]
    pub fn bare() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }
}

/// Where a command prints, and how.
pub struct Output {
    pub reader: Reader,
    has_colours: bool,
    zone: TimeZone,
}

impl Output {
    #[must_use]
    pub fn for_reader(reader: Reader) -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let has_colours = reader == Reader::Person && io::stdout().is_terminal() && !is_plain;
        Self { reader, has_colours, zone: TimeZone::system() }
    }

    /// The data of an answer as it came for programs; for people what `draw` makes of it.
    pub fn show(&self, data: &Value, draw: impl FnOnce(&Self) -> io::Result<()>) -> io::Result<()> {
        match self.reader {
            Reader::Program => self.json(data),
            Reader::Person => draw(self),
        }
    }

    /// A JSON document.
    pub fn json(&self, value: &Value) -> io::Result<()> {
        writeln!(io::stdout(), "{value:#}")
    }

    /// A JSON document on a line of its own, one of many.
    pub fn json_line(&self, value: &Value) -> io::Result<()> {
        writeln!(io::stdout(), "{value}")
    }

    pub fn table(&self, table: &Table) -> io::Result<()> {
        if table.rows.is_empty() {
            return if table.empty.is_empty() { Ok(()) } else { self.line(&[Cell::new(&table.empty)]) };
        }
        let headings = (!table.headings.is_empty()).then_some(&table.headings);
        let lines = || headings.into_iter().chain(&table.rows);
        let width_of = |column: usize| lines().filter_map(|line| line.get(column)).map(Cell::width).max();
        let widths: Vec<usize> = (0..).map_while(width_of).collect();
        let text: String = lines().map(|line| self.padded(line, &widths)).collect();
        io::stdout().write_all(text.as_bytes())
    }

    /// Names and values, one pair a line.
    pub fn fields(&self, fields: &[(&str, Cell)]) -> io::Result<()> {
        let width = fields.iter().map(|(name, _)| name.width()).max().unwrap_or_default();
        let line = |(name, value): &(&str, Cell)| {
            self.padded(&[Cell::toned(Tone::Faint, name), value.clone()], &[width, 0])
        };
        io::stdout().write_all(fields.iter().map(line).collect::<String>().as_bytes())
    }

    /// One line.
    pub fn line(&self, cells: &[Cell]) -> io::Result<()> {
        let text: Vec<String> = cells.iter().map(|cell| self.painted(cell)).collect();
        writeln!(io::stdout(), "{}", text.join(" "))
    }

    /// Room between two parts.
    pub fn gap(&self) -> io::Result<()> {
        writeln!(io::stdout())
    }

    /// A line whose cells stand in columns of these widths; the last may be wider.
    pub fn columns(&self, cells: &[Cell], widths: &[usize]) -> io::Result<()> {
        io::stdout().write_all(self.padded(cells, widths).as_bytes())
    }

    /// A JSON document as people read it, line by line.
    pub fn document(&self, value: &Value) -> io::Result<()> {
        let text = format!("{value:#}");
        text.lines().try_for_each(|line| writeln!(io::stdout(), "{}", shown(line)))
    }

    /// A sentence; in between answers for people, nothing for programs.
    pub fn say(&self, sentence: &str) -> io::Result<()> {
        match self.reader {
            Reader::Person => self.line(&[Cell::new(sentence)]),
            Reader::Program => Ok(()),
        }
    }

    /// A time in seconds since 1970, in the zone of whoever reads.
    #[must_use]
    pub fn time(&self, seconds: &Value) -> Cell {
        seconds.as_i64().and_then(|seconds| seconds.checked_mul(1_000)).map_or_else(
            || Cell::of(&Value::Null),
            |ms| Cell::new(self.moment(ms).split('.').next().unwrap_or_default()),
        )
    }

    /// A time in milliseconds since 1970, to the millisecond.
    #[must_use]
    pub fn time_ms(&self, ms: &Value) -> Cell {
        ms.as_i64().map_or_else(|| Cell::of(&Value::Null), |ms| Cell::new(&self.moment(ms)))
    }

    fn moment(&self, ms: i64) -> String {
        Timestamp::from_millisecond(ms).map_or_else(
            |_| format!("{ms} ms"),
            |at| at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S.%3f").to_string(),
        )
    }

    fn padded(&self, cells: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            line.push_str(&self.painted(cell));
            if index + 1 < cells.len() {
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + GAP));
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    fn painted(&self, cell: &Cell) -> String {
        match cell.tone.code() {
            "" => cell.text.clone(),
            code if self.has_colours => format!("\x1b[{code}m{}\x1b[0m", cell.text),
            _ => cell.text.clone(),
        }
    }
}

/// A sentence beside what is printed, on standard error. A server may say anything: a terminal is to show it,
/// not to obey it. That nobody reads it is no reason to stop.
pub fn remark(sentence: &str) {
    let _ = writeln!(io::stderr(), "chathook: {}", shown(sentence));
}

/// The text with everything spelled out that would move a terminal's cursor or turn its writing round.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            write!(out, "{}", c.escape_default()).expect("a String takes everything");
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn output() -> Output {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        Output { reader: Reader::Person, has_colours: false, zone }
    }

    #[test]
    fn what_would_move_a_terminal_is_spelled_out() {
        assert_eq!(shown("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\nc\\u{202e}d");
        assert_eq!(shown("Grüße, 日本"), "Grüße, 日本");
    }

    #[test]
    fn columns_are_as_wide_as_they_look() {
        let cells = |a: &str| vec![Cell::new(a), Cell::new("x")];
        let padded = |a: &str| output().padded(&cells(a), &[4, 1]);
        assert_eq!([padded("日本"), padded("ab")], ["日本  x\n", "ab    x\n"]);
    }

    #[test]
    fn times_are_of_the_readers_zone() {
        assert_eq!(output().time(&json!(1_760_000_000)), Cell::new("2025-10-09 10:53:20"));
        assert_eq!(output().time_ms(&json!(1_760_000_000_042_i64)), Cell::new("2025-10-09 10:53:20.042"));
        assert_eq!(output().time(&Value::Null).text, "-");
        assert_eq!(output().time(&json!(i64::MAX)).text, "-");
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        let cell = Cell::toned(Tone::Bad, "500");
        assert_eq!(output().painted(&cell), "500");
        assert_eq!(Output { has_colours: true, ..output() }.painted(&cell), "\x1b[31m500\x1b[0m");
    }
}
