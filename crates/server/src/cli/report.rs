//! A report of findings: a line for each, with its cure below it, and a last one that sums up.

use std::io;

use anyhow::bail;
use chathook_domain::finding::{Finding, Grade, is_fit};
use serde_json::{Value, json};

use super::output::{Cell, Output, Reader, Tone};

/// Prints the report; the error is for a subject that is not fit, and says so with this name.
pub fn finish(out: &Output, subject: &str, findings: &[Finding]) -> anyhow::Result<()> {
    let list: Vec<Value> = findings.iter().map(Finding::to_json).collect();
    out.show(&json!({"fit": is_fit(findings), "findings": list}), |out| draw(out, findings))?;
    let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
    let (failures, warnings) = (count(Grade::Failure), count(Grade::Warning));
    if failures > 0 {
        bail!("{subject} is not fit (failures: {failures} of {} findings).", findings.len());
    }
    match (out.reader, warnings) {
        (Reader::Program, _) => {}
        (Reader::Person, 0) => out.say(&format!("{subject} is fit."))?,
        (Reader::Person, _) => out.say(&format!("{subject} is fit (warnings: {warnings})."))?,
    }
    Ok(())
}

fn draw(out: &Output, findings: &[Finding]) -> io::Result<()> {
    let width = findings.iter().map(|finding| finding.about.chars().count()).max().unwrap_or_default();
    for finding in findings {
        let tone = match finding.grade {
            Grade::Ok => Tone::Good,
            Grade::Note => Tone::Faint,
            Grade::Warning => Tone::Open,
            Grade::Failure => Tone::Bad,
        };
        let grade = Cell::toned(tone, &format!("{:4}", finding.grade.as_str()));
        let about = Cell::new(&format!("{:width$}", finding.about));
        out.line(&[grade, about, Cell::new(&finding.seen)])?;
        if let Some(cure) = &finding.cure {
            out.line(&[Cell::toned(Tone::Faint, &format!("{:4} {:width$} ->", "", "")), Cell::new(cure)])?;
        }
    }
    Ok(())
}
