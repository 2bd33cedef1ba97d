//! What is true in chathook: types, payloads, rules and state machines.
//!
//! No async, no clock, no dice, no I/O: time and chance are arguments.
//! Imports run downwards: a module may use those above it in this list.

pub mod refusal;
pub mod finding;
pub mod ids;
pub mod fields;
pub mod retention;
pub mod address;
pub mod trigger;
pub mod outcome;
pub mod meaning;
pub mod retry;
pub mod user;
pub mod group;
pub mod app;
pub mod connection;
pub mod message;
pub mod receipt;
pub mod signature;
pub mod webhook;
pub mod listener;
pub mod verdict;
pub mod event;
pub mod delivery;
pub mod lane;
pub mod circuit;
pub mod turn;
pub mod hook_circuit;
pub mod failing;
pub mod waiting;
pub mod line;
pub mod history;
pub mod replay;
pub mod sample;
pub mod fitness;
pub mod checkup;
pub mod stats;
pub mod tally;
pub mod needs;
