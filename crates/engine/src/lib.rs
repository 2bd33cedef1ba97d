//! What is done in chathook: async verbs and ticks over ports.
//!
//! Imports run downwards: a module may use those above it in this list.

pub mod ports;
pub mod caller;
pub mod request_headers;
mod places;
pub mod lines;
pub mod tallies;
pub mod means;
mod settlements;
pub mod dispatch;
mod hook_places;
mod hooks;
mod asked_log;
mod muids;
mod live;
pub mod engine;
pub mod listeners;
pub mod upkeep;
pub mod apps;
pub mod users;
pub mod groups;
pub mod webhooks;
pub mod ask;
mod attempts;
pub mod send_message;
pub mod messages;
pub mod receipts;
pub mod connections;
pub mod history;
pub mod health;
pub mod condition;
pub mod people;
pub mod replay;
pub mod test_event;
pub mod check;
