//! The files of the tree, and Rust text without what is not code.

use std::path::{Path, PathBuf};

/// What people write, from the root; build products and the like are not.
const PLACES: [&str; 6] = [".ci", "crates", "docs", "scripts", "tests", "."];
const SKIPPED: [&str; 3] = ["node_modules", "target", ".git"];

/// One file of the tree.
pub struct File {
    /// From the root, with slashes.
    pub path: String,
    pub text: String,
}

/// All text files below these places whose names end so.
pub fn files(ends: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    for place in PLACES {
        collect(&root().join(place), place != ".", &mut found);
    }
    found.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("it is below the root").to_str()?.replace('\\', "/");
        let name = name.trim_start_matches("./").to_owned();
        let fits = ends.iter().any(|end| name.ends_with(end));
        // What is no text (pictures) has no rules.
        fits.then(|| std::fs::read_to_string(&path).ok().map(|text| File { path: name, text })).flatten()
    };
    let files: Vec<File> = found.into_iter().filter_map(read).collect();
    assert!(!files.is_empty(), "the tree holds no file that ends with any of {ends:?}");
    files
}

pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn collect(dir: &Path, deep: bool, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("the tree can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if SKIPPED.contains(&name) {
            continue;
        }
        if path.is_file() {
            found.push(path);
        } else if deep {
            collect(&path, deep, found);
        }
    }
}

impl File {
    /// The crate's name, where this is one of its sources.
    pub fn source_of(&self) -> Option<&str> {
        let (name, rest) = self.path.strip_prefix("crates/")?.split_once('/')?;
        (rest.starts_with("src/") && !rest.ends_with("/tests.rs")).then_some(name)
    }

    /// The file's text up to its inline test module.
    pub fn without_tests(&self) -> &str {
        let start = self.text.match_indices("#[cfg(test)]\n").find(|(at, mark)| {
            let module = self.text[at + mark.len()..].lines().next().unwrap_or_default();
            module.trim_start_matches("pub ").starts_with("mod ") && module.ends_with('{')
        });
        start.map_or(self.text.as_str(), |(at, _)| &self.text[..at])
    }

    /// [`Self::without_tests`] with comments and texts blanked; lines stay where they are.
    pub fn code(&self) -> String {
        blanked(self.without_tests())
    }
}

/// The line of an offset, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Offsets of a word: not inside a longer name.
pub fn places_of(text: &str, word: &str) -> Vec<usize> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone = |at: &usize| {
        !text[..*at].ends_with(is_name)
            && (word.ends_with(':') || !text[at + word.len()..].starts_with(is_name))
    };
    text.match_indices(word).map(|(at, _)| at).filter(stands_alone).collect()
}

fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (kept, skipped) = next_piece(rest);
        out.push_str(&rest[..kept]);
        out.extend(rest[kept..kept + skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[kept + skipped..];
    }
    out
}

/// How many bytes of code come first, and how many after them are a comment or a text.
fn next_piece(text: &str) -> (usize, usize) {
    let starts = ["//", "/*", "r\"", "r#", "\"", "'"];
    let first = starts.iter().filter_map(|start| text.find(start).map(|at| (at, *start))).min();
    let Some((at, start)) = first else { return (text.len(), 0) };
    let rest = &text[at..];
    let length = match start {
        "//" => rest.find('\n').unwrap_or(rest.len()),
        "/*" => rest.find("*/").map_or(rest.len(), |end| end + 2),
        "r\"" | "r#" => raw_text(rest),
        "\"" => quoted(rest),
        _ => character(rest),
    };
    if length == 0 { (at + 1, 0) } else { (at, length) }
}

/// `r"…"` or `r#"…"#`; 0 for a raw name.
fn raw_text(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len())
}

fn quoted(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'` or `'\n'`; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |at| at + 4),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

#[test]
fn comments_and_texts_are_no_code() {
    let text = "let a = \"b // \\\" c\"; // d\nr#\"e\"f\"#; /* g\n h */ i('\"', '\\'', &'j k); \"l\"";
    assert_eq!(blanked(text), "let a = ; \n; \n i(, , &'j k); ");
}
