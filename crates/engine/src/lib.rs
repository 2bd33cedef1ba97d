//! What is done in chathook: async verbs and ticks over ports.
//!
//! Imports run downwards: a module may use those above it in this list.

pub mod apps;
pub mod ask;
mod attempts;
pub mod caller;
pub mod connections;
pub mod dispatch;
pub mod engine;
pub mod groups;
pub mod lines;
pub mod messages;
mod places;
pub mod ports;
pub mod receipts;
pub mod send_message;
mod settlements;
pub mod users;
pub mod webhooks;
