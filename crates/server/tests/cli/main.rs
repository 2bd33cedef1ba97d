//! The command line against a real server: what people see, what programs read, how scripts are told.

#[path = "../support/mod.rs"]
mod support;

mod reach;
mod apps;
mod webhooks;
mod listen;
mod listen_breaks;
mod trigger;
