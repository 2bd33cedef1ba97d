//! What is done in chathook: async verbs and ticks over ports.
//!
//! Imports run downwards: a module may use those above it in this list.

pub mod apps;
pub mod ask;
pub mod caller;
pub mod connections;
pub mod dispatch;
pub mod engine;
pub mod groups;
pub mod history;
pub mod lines;
pub mod messages;
pub mod ports;
pub mod receipts;
pub mod replay;
pub mod send_message;
pub mod test_event;
pub mod users;
pub mod webhooks;
