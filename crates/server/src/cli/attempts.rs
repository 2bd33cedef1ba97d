//! Attempts as people see them: what came of each, and where its time went, drawn to scale.

use std::io;

use serde_json::Value;

use super::lists::items;
use super::output::{Cell, Output, Table, Tone};

/// Columns of a bar that stands for a whole attempt.
const BAR: u64 = 40;

/// What an outcome says: a status, or the name of a failure.
#[must_use]
pub fn outcome(value: &Value) -> Cell {
    match value.as_str() {
        None => Cell::of(&Value::Null),
        Some(text) if is_success(text) => Cell::toned(Tone::Good, text),
        Some(text) => Cell::toned(Tone::Bad, text),
    }
}

fn is_success(outcome: &str) -> bool {
    outcome.len() == 3 && outcome.starts_with('2')
}

/// How a delivery stands.
#[must_use]
pub fn status(value: &Value) -> Cell {
    let text = value.as_str().unwrap_or("-");
    let tone = match text {
        "delivered" => Tone::Good,
        "failed" | "expired" => Tone::Bad,
        "waiting" => Tone::Open,
        _ => Tone::Faint,
    };
    Cell::toned(tone, text)
}

/// Microseconds, in a unit that reads well.
#[must_use]
pub fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

/// As [`duration`], of JSON.
#[must_use]
pub fn took(us: &Value) -> Cell {
    us.as_u64().map_or_else(|| Cell::of(&Value::Null), |us| Cell::new(&duration(us)))
}

/// Each attempt with its phases.
pub fn draw(out: &Output, attempts: &Value) -> io::Result<()> {
    for attempt in items(attempts) {
        out.gap()?;
        draw_one(out, attempt)?;
    }
    Ok(())
}

pub fn draw_one(out: &Output, attempt: &Value) -> io::Result<()> {
    let phases = &attempt["phases"];
    out.line(&[
        Cell::toned(Tone::Heading, &format!("attempt {}", attempt["attempt"])),
        out.time_ms(&attempt["startedAtMs"]),
        outcome(&attempt["outcome"]),
        took(&phases["totalUs"]),
        Cell::toned(Tone::Faint, attempt["address"].as_str().unwrap_or_default()),
    ])?;
    if let Some(detail) = attempt["detail"].as_str() {
        out.line(&[Cell::new(" "), Cell::new(detail)])?;
    }
    let mut table = Table::bare();
    for phase in phases_of(phases) {
        let tone = if phase.name == "first byte" { Tone::Open } else { Tone::Faint };
        table.row(vec![
            Cell::new(&format!("  {}", phase.name)),
            Cell::new(&duration(phase.us)),
            Cell::toned(tone, &phase.bar),
        ]);
    }
    out.table(&table)?;
    if let Some(body) = attempt["body"].as_str().filter(|body| !body.is_empty()) {
        out.line(&[Cell::toned(Tone::Faint, "  answer "), Cell::new(body)])?;
    }
    Ok(())
}

/// What an answer to `before_message` would do; nothing of other triggers.
#[must_use]
pub fn verdict_fields(verdict: &Value) -> Vec<(&'static str, Cell)> {
    let names = ["verdict", "reason", "silence", "warning", "data"];
    let told = names.into_iter().filter(|name| !verdict[*name].is_null());
    told.map(|name| (name, Cell::of(&verdict[name]))).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Phase {
    name: &'static str,
    us: u64,
    bar: String,
}

/// The phases in their order, each drawn where it lies within the whole. One that was not reached,
/// or that a kept-open connection made unnecessary, is left out. What none accounts for is the answer's body, or the
/// wait that ended without a first byte; the dashboard calls them so too.
fn phases_of(phases: &Value) -> Vec<Phase> {
    let names = [
        ("resolve", "resolveUs"),
        ("connect", "connectUs"),
        ("TLS", "tlsUs"),
        // From the first byte of the request to the first of the answer.
        ("first byte", "firstByteUs"),
    ];
    let total = phases["totalUs"].as_u64().unwrap_or_default();
    let mut began = 0;
    let mut drawn = Vec::new();
    let named = names.into_iter().filter_map(|(name, field)| Some((name, phases[field].as_u64()?)));
    for (name, us) in named {
        drawn.push(Phase { name, us, bar: bar(began, us, total) });
        began += us;
    }
    let rest = total.saturating_sub(began);
    if rest > 0 {
        let name = if phases["firstByteUs"].is_null() { "no answer" } else { "body" };
        drawn.push(Phase { name, us: rest, bar: bar(began, rest, total) });
    }
    drawn
}

fn bar(began: u64, us: u64, total: u64) -> String {
    let column = |us: u64| usize::try_from(us.min(total) * BAR / total.max(1)).unwrap_or_default();
    let (from, to) = (column(began), column(began.saturating_add(us)));
    format!("{}{}", " ".repeat(from), "█".repeat((to - from).max(1)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn phases_are_drawn_where_they_lie() {
        let phases = json!({"resolveUs": 0, "connectUs": 1_000, "firstByteUs": 2_000, "totalUs": 4_000});
        let drawn = phases_of(&phases);
        let lines: Vec<(&str, usize, usize)> = drawn
            .iter()
            .map(|phase| {
                let blank = phase.bar.chars().take_while(|c| *c == ' ').count();
                (phase.name, blank, phase.bar.chars().count() - blank)
            })
            .collect();
        assert_eq!(lines, [("resolve", 0, 1), ("connect", 0, 10), ("first byte", 10, 20), ("body", 30, 10)]);
        let silent = phases_of(&json!({"totalUs": 10_000_000}));
        assert_eq!((silent[0].name, silent[0].us), ("no answer", 10_000_000), "over a kept-open connection");
        assert_eq!(phases_of(&json!({"totalUs": 0})), []);
    }

    #[test]
    fn durations_have_a_unit_that_reads_well() {
        assert_eq!(
            [999, 1_000, 12_340, 10_000_000].map(duration),
            ["999 µs", "1.0 ms", "12.3 ms", "10.00 s"]
        );
    }
}
