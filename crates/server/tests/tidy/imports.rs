//! Imports run downwards: in a list of modules that says so, each uses only those above it.

use crate::assert_none;
use crate::tree::{File, files, line_of, places_of};

/// What a list says of itself in its file's header.
const PROMISE: &str = "Imports run downwards";

/// Every crate's list must make the promise; deeper ones may.
const CRATES: [&str; 4] = ["domain", "engine", "adapters", "server"];

#[test]
fn imports_run_downwards() {
    let files = files(&[".rs"]);
    let lists: Vec<List> = files.iter().filter_map(List::of).collect();
    for name in CRATES {
        let dir = format!("crates/{name}/src");
        assert!(lists.iter().any(|list| list.dir == dir), "{dir}/lib.rs does not say '{PROMISE}'");
    }
    let mut breaks = Vec::new();
    for (list, file) in lists.iter().flat_map(|list| files.iter().map(move |file| (list, file))) {
        for (line, own, other) in list.breaks_in(file) {
            breaks.push(format!("{}:{line}: '{own}' uses '{other}', which stands below it", file.path));
        }
    }
    assert_none("Imports run downwards: move the module in its list, or what it needs.", &breaks);
}

/// Modules in the order in which their file names them.
struct List {
    dir: String,
    modules: Vec<String>,
}

impl List {
    fn of(file: &File) -> Option<Self> {
        let dir = file.path.strip_suffix("/lib.rs").or_else(|| file.path.strip_suffix("/mod.rs"))?;
        file.source_of()?;
        file.text.lines().take_while(|line| line.starts_with("//!")).find(|line| line.contains(PROMISE))?;
        let code = file.code();
        let module = |line: &str| {
            let (_, name) = line.split_once("mod ").filter(|(before, _)| {
                before.is_empty() || *before == "pub " || *before == "pub(crate) " || *before == "pub(super) "
            })?;
            name.strip_suffix(';').map(str::to_owned)
        };
        Some(Self { dir: dir.to_owned(), modules: code.lines().filter_map(module).collect() })
    }

    /// Line, own module and the one that it may not use.
    fn breaks_in(&self, file: &File) -> Vec<(usize, String, String)> {
        let Some(inside) = file.path.strip_prefix(&format!("{}/", self.dir)) else { return Vec::new() };
        let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
        let own = inside.split('/').next().unwrap_or_default();
        let Some(own_at) = self.modules.iter().position(|module| module == own) else { return Vec::new() };
        if file.source_of().is_none() {
            return Vec::new();
        }
        let code = file.code();
        let from_crate = self.dir.split_once("/src").map_or("", |(_, below)| below.trim_start_matches('/'));
        let absolute = match from_crate {
            "" => "crate::".to_owned(),
            below => format!("crate::{}::", below.replace('/', "::")),
        };
        let relative = "super::".repeat(inside.split('/').count());
        let uses = uses_after(&code, &absolute).into_iter().chain(uses_after(&code, &relative));
        uses.filter(|(_, other)| self.modules.iter().position(|module| module == other) > Some(own_at))
            .map(|(at, other)| (line_of(&code, at), own.to_owned(), other))
            .collect()
    }
}

/// The names that follow a path, one or a group of them.
fn uses_after(code: &str, path: &str) -> Vec<(usize, String)> {
    let mut uses = Vec::new();
    for at in places_of(code, path) {
        // The last of several `super` belongs to a longer path.
        if code[..at].ends_with("::") {
            continue;
        }
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => uses.extend(first_names(group).into_iter().map(|name| (at, name))),
            None => uses.push((at, first_name(rest))),
        }
    }
    uses
}

/// Of `a::b, c::{d, e}}` the names `a` and `c`.
fn first_names(group: &str) -> Vec<String> {
    let mut names = vec![first_name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(first_name(&group[at + 1..])),
            _ => {}
        }
    }
    names
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let code = "use crate::{a::{b, c}, d::e};\nuse crate::f;\nlet g = crate::h::i();\nuse other_crate::j;";
    let names: Vec<String> = uses_after(code, "crate::").into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "d", "f", "h"]);
    let code = "use super::a;\nuse super::super::b;";
    let names = |path| uses_after(code, path).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names("super::super::"), ["b"]);
    assert_eq!(names("super::"), ["a", "super"]);
}
