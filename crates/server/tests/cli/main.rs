//! The command line against a real server: what people see, what programs read, how scripts are told.

#[path = "../support/mod.rs"]
mod support;

mod desk;
mod reach;
mod apps;
mod users;
mod webhooks;
mod deliveries;
mod tail;
mod history;
mod papers;
mod terminal;
mod listen;
mod listen_breaks;
mod trigger;
mod serving;
