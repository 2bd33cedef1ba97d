//! The table, what stands under it, and the same as JSON.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bare_client::Bare;
use crate::deliveries::Deliveries;
use crate::rows::{Measured, Row, ms};

/// A difference between the two runs of the bare client that makes the figures doubtful.
const NOISE_MAX: f64 = 0.15;

pub struct Report<'a> {
    pub machine: &'a Value,
    pub measured: &'a Measured,
    /// Scenarios that could not run or lost something.
    pub failures: &'a [String],
    pub took_s: u64,
}

impl Report<'_> {
    pub fn print(&self) {
        println!();
        print_table(&self.measured.rows());
        println!();
        for note in self.notes() {
            println!("{note}");
        }
        for failure in self.failures {
            println!("FAILED: {failure}");
        }
    }

    pub fn write_json(&self, path: &Path) -> Result<()> {
        let whole = json!({
            "machine": self.machine,
            "tookS": self.took_s,
            "figures": self.measured.rows(),
            "limits": {
                "bareClientBefore": self.measured.bare_before.as_ref().map(bare_json),
                "bareClientAfter": self.measured.bare_after.as_ref().map(bare_json),
                "bareLoopPerS": self.measured.bare_loop.as_ref().map(|bare| bare.per_s.round()),
            },
            "notes": self.notes(),
            "failures": self.failures,
        });
        let text = serde_json::to_string_pretty(&whole)?;
        std::fs::write(path, text + "\n").with_context(|| format!("{} cannot be written", path.display()))
    }

    fn notes(&self) -> Vec<String> {
        let measured = self.measured;
        let mut notes = vec![format!("machine: {}", self.machine)];
        notes.extend(measured.bare_before.as_ref().map(|bare| bare_note("before", bare)));
        notes.extend(measured.bare_after.as_ref().map(|bare| bare_note("after", bare)));
        if let (Some(before), Some(after)) = (&measured.bare_before, &measured.bare_after) {
            let noise = (after.per_s - before.per_s).abs() / before.per_s.max(after.per_s);
            let verdict = if noise > NOISE_MAX { ": the machine was busy, measure again" } else { "" };
            notes.push(format!("noise between them: {:.0} %{verdict}", noise * 100.0));
        }
        notes.extend(measured.bare_loop.as_ref().map(|bare| {
            let (p50, p99) = (ms(bare.times.p50()), ms(bare.times.p99()));
            format!("bare loop: {:.0} commits/s, p50 {p50}, p99 {p99}", bare.per_s)
        }));
        notes.extend(measured.sends.as_ref().map(|sends| {
            let (p50, p99) = (ms(sends.times.p50()), ms(sends.times.p99()));
            format!("sends, no webhook: p50 {p50}, p99 {p99}")
        }));
        notes.extend(measured.one.as_ref().map(|one| deliveries_note("one webhook", one)));
        notes.extend(measured.ten.as_ref().map(|ten| deliveries_note("ten webhooks", ten)));
        notes.extend(measured.pages.iter().flatten().map(|page| {
            let (p50, worst) = (ms(page.times.p50()), ms(page.times.max()));
            format!("page {}: p50 {p50}, worst {worst}, first look {}", page.name, ms(page.first_us))
        }));
        notes.push(format!("took {} s", self.took_s));
        notes
    }
}

fn bare_note(when: &str, bare: &Bare) -> String {
    let (p50, p99) = (ms(bare.times.p50()), ms(bare.times.p99()));
    format!("bare client {when}: {:.0} POST/s, p50 {p50}, p99 {p99}", bare.per_s)
}

fn bare_json(bare: &Bare) -> Value {
    json!({"perS": bare.per_s.round(), "p50Us": bare.times.p50(), "p99Us": bare.times.p99()})
}

fn deliveries_note(name: &str, figure: &Deliveries) -> String {
    format!(
        "{name}: {} messages at {:.0}/s (p50 {}, p99 {}, longest {}), all delivered after {:.1} s, {} repeats, \
         {} connections opened; CPU: server {:.1} s, sink {:.1} s, senders {:.1} s",
        figure.messages,
        figure.sends_per_s,
        ms(figure.sends.p50()),
        ms(figure.sends.p99()),
        ms(figure.sends.max()),
        figure.took.as_secs_f64(),
        figure.repeats,
        figure.connections,
        figure.cpu.server_s,
        figure.cpu.sink_s,
        figure.cpu.senders_s,
    )
}

fn print_table(rows: &[Row]) {
    let head = ["figure", "measured", "bar", "ratio", "ok?"].map(str::to_owned);
    let cells: Vec<[String; 5]> = std::iter::once(head).chain(rows.iter().map(cells_of)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 5] = std::array::from_fn(width);
    for (nth, row) in cells.iter().enumerate() {
        let padded: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        println!("| {} |", padded.join(" | "));
        if nth == 0 {
            println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
}

fn cells_of(row: &Row) -> [String; 5] {
    let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let verdict = match row.is_reached {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    [row.figure.clone(), row.measured.clone(), row.bar.clone(), ratio, verdict.to_owned()]
}
