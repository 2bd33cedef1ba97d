//! Holds the house: what STYLE.md and ARCHITECTURE.md promise of the tree itself, as far as a machine can see.
//! Each rule is a table at the head of its file; each test names every place that breaks it.

mod imports;
mod leftovers;
mod papers;
mod purity;
mod shape;
mod tree;

/// Fails with all places that break a rule, one a line.
fn assert_none(rule: &str, breaks: &[String]) {
    assert!(breaks.is_empty(), "{rule}\n  {}\n", breaks.join("\n  "));
}
