//! What is left behind by accident: stubs, notes to oneself, paths of somebody's machine.

use crate::assert_none;
use crate::tree::{File, files, line_of, places_of};

const WORDS: [&str; 6] = ["todo!", "unimplemented!", "dbg!", "TODO", "FIXME", "XXX"];
/// The beginnings of paths that exist on one machine only.
const PATHS: [&str; 4] = ["/work/", "/home/", "/root/", "/Users/"];
/// This file names what it looks for.
const OWN: &str = "crates/server/tests/tidy/leftovers.rs";

#[test]
fn nothing_is_left_behind() {
    let mut breaks = Vec::new();
    for file in files(&[""]).iter().filter(|file| file.path != OWN) {
        let words =
            WORDS.iter().flat_map(|word| places_of(&file.text, word).into_iter().map(move |at| (at, word)));
        breaks.extend(words.map(|(at, word)| told(file, at, word)));
        let paths =
            PATHS.iter().flat_map(|path| file.text.match_indices(path).map(move |(at, _)| (at, path)));
        // Part of a longer path, or of a URL, it is nobody's.
        let is_root =
            |at: usize| !file.text[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c));
        breaks.extend(paths.filter(|(at, _)| is_root(*at)).map(|(at, path)| told(file, at, path)));
    }
    assert_none("This does not reach main.", &breaks);
}

fn told(file: &File, at: usize, what: &str) -> String {
    format!("{}:{}: {what}", file.path, line_of(&file.text, at))
}
