//! Sizes, headers and names of files (STYLE.md). Functions are held to their ceiling by clippy.

use crate::assert_none;
use crate::tree::files;

/// Lines of a source, its inline test module aside.
const LINES_MAX: usize = 500;
/// Lines of the header that says what a file is for.
const HEADER_LINES_MAX: usize = 5;
/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "helpers", "common", "manager", "misc"];

#[test]
fn no_file_is_longer_than_its_ceiling() {
    let is_test = |path: &str| path.contains("/tests/") || path.ends_with("/tests.rs");
    let mut breaks = Vec::new();
    for file in files(&[".rs"]).iter().filter(|file| !is_test(&file.path)) {
        let lines = file.without_tests().lines().count();
        if lines > LINES_MAX {
            breaks.push(format!("{}: {lines} lines", file.path));
        }
    }
    assert_none(&format!("A file has at most {LINES_MAX} lines, tests aside."), &breaks);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut breaks = Vec::new();
    for file in files(&[".rs"]) {
        let lines = file.text.lines().take_while(|line| line.starts_with("//!")).count();
        if !(1..=HEADER_LINES_MAX).contains(&lines) {
            breaks.push(format!("{}: {lines} lines of //!", file.path));
        }
    }
    assert_none(&format!("A file opens with one to {HEADER_LINES_MAX} lines of //!."), &breaks);
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let is_empty =
        |path: &str| path.trim_end_matches(".rs").split('/').any(|part| EMPTY_NAMES.contains(&part));
    let breaks: Vec<String> =
        files(&[".rs"]).into_iter().map(|file| file.path).filter(|path| is_empty(path)).collect();
    assert_none("Where no good name comes, the idea is not clear yet.", &breaks);
}
