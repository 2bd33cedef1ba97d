//! What is done in chathook: async verbs and ticks over ports.
//!
//! Imports run downwards: a module may use those above it in this list.

pub mod ports;
