//! What `docs/errors.md` says of each code, for the documents that programs and people read.

use std::sync::LazyLock;

/// A code with its meaning and its cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorText {
    pub code: &'static str,
    /// Begins with the status.
    pub meaning: &'static str,
    pub cure: &'static str,
}

/// All codes, in the order of the page.
pub static ERRORS: LazyLock<Vec<ErrorText>> =
    LazyLock::new(|| sections(include_str!("../../../../../docs/errors.md")));

/// What a code means, its status aside.
#[must_use]
pub fn meaning_of(code: &str) -> &'static str {
    let found = ERRORS.iter().find(|error| error.code == code);
    let meaning = found.map_or("", |error| error.meaning);
    meaning.split_once(". ").map_or(meaning, |(_, rest)| rest)
}

fn sections(page: &'static str) -> Vec<ErrorText> {
    let section = |text: &'static str| {
        let (code, rest) = text.split_once('\n')?;
        let (meaning, cure) = rest.split_once("**Cure:**")?;
        Some(ErrorText { code: code.trim(), meaning: meaning.trim(), cure: cure.trim() })
    };
    page.split("\n## ").skip(1).filter_map(section).collect()
}
