//! What is true in chathook: types, payloads, rules and state machines.
//!
//! No async, no clock, no dice, no I/O: time and chance are arguments.
//! Imports run downwards: a module may use those above it in this list.

pub mod address;
pub mod app;
pub mod connection;
pub mod delivery;
pub mod event;
pub mod fields;
pub mod group;
pub mod history;
pub mod ids;
pub mod lane;
pub mod message;
pub mod outcome;
pub mod receipt;
pub mod refusal;
pub mod replay;
pub mod retry;
pub mod sample;
pub mod signature;
pub mod stats;
pub mod trigger;
pub mod user;
pub mod verdict;
pub mod webhook;
