//! A code with what it says to a person and what helps, for `meaning.html`. The sentences are the domain's.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chathook_domain::meaning::meaning;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// A sentence.
    pub says: String,
    /// Another, or nothing.
    pub cure: &'static str,
    pub code: String,
}

impl Told {
    #[must_use]
    pub fn of(code: &str) -> Self {
        let meaning = meaning(code);
        Self { says: meaning.sentence(), cure: meaning.cure, code: code.to_owned() }
    }

    /// What was counted by code, the most frequent first.
    #[must_use]
    pub fn of_counts(counts: &BTreeMap<String, u64>) -> Vec<(Self, u64)> {
        let mut told: Vec<_> = counts.iter().map(|(code, count)| (Self::of(code), *count)).collect();
        told.sort_by_key(|(_, count)| Reverse(*count));
        told
    }
}
