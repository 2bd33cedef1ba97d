//! The papers name few files, and those that they name exist.

use std::path::Path;

use crate::assert_none;
use crate::tree::{files, line_of, root};

const PAPERS: [&str; 6] =
    ["README.md", "ARCHITECTURE.md", "STYLE.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
/// A path in a paper begins with one of these, after a backtick, a bracket or a space.
const BEGINNINGS: [&str; 5] = [".ci/", "crates/", "docs/", "scripts/", "tests/"];

#[test]
fn the_papers_are_there() {
    for paper in PAPERS {
        assert!(root().join(paper).is_file(), "{paper} is missing");
    }
}

#[test]
fn every_file_that_the_papers_name_exists() {
    let mut breaks = Vec::new();
    for file in files(&[".md"]) {
        let dir = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        for (at, path) in paths_in(&file.text) {
            if !root().join(path).exists() {
                breaks.push(format!("{}:{}: {path}", file.path, line_of(&file.text, at)));
            }
        }
        for (at, target) in links_in(&file.text) {
            if !root().join(dir).join(target).exists() {
                breaks.push(format!("{}:{}: the link to {target}", file.path, line_of(&file.text, at)));
            }
        }
    }
    assert_none("A paper names a file that is not there.", &breaks);
}

fn paths_in(text: &str) -> Vec<(usize, &str)> {
    let mut paths = Vec::new();
    for beginning in BEGINNINGS {
        for (at, _) in text.match_indices(beginning) {
            if text[..at].ends_with(|c: char| c == '`' || c == '(' || c.is_whitespace()) {
                let length = text[at..].find(|c: char| !is_of_path(c)).unwrap_or(text.len() - at);
                paths.push((at, text[at..at + length].trim_end_matches('.')));
            }
        }
    }
    paths
}

/// Targets of Markdown links that are files, without their fragment.
fn links_in(text: &str) -> Vec<(usize, &str)> {
    let link = |(at, _): (usize, &str)| {
        let target = text[at + 2..].split([')', '#', ' ']).next().unwrap_or_default();
        (!target.is_empty() && !target.contains(':')).then_some((at, target))
    };
    text.match_indices("](").filter_map(link).collect()
}

fn is_of_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_./-".contains(c)
}
