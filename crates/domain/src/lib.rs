//! What is true in chathook: types, payloads, rules and state machines.
//!
//! No async, no clock, no dice, no I/O: time and chance are arguments.
//! Imports run downwards: a module may use those above it in this list.

pub mod address;
pub mod ids;
pub mod outcome;
pub mod refusal;
pub mod fields;
pub mod trigger;
pub mod app;
pub mod user;
pub mod group;
pub mod connection;
pub mod message;
pub mod receipt;
pub mod event;
pub mod webhook;
pub mod verdict;
pub mod retry;
pub mod signature;
pub mod delivery;
pub mod lane;
