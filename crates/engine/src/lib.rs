//! What is done in chathook: async verbs and ticks over ports.
//!
//! Imports run downwards: a module may use those above it in this list.

pub mod apps;
pub mod ask;
pub mod asked_log;
pub mod caller;
pub mod connections;
pub mod dispatch;
pub mod engine;
pub mod groups;
pub mod hooks;
pub mod lines;
pub mod messages;
pub mod ports;
pub mod receipts;
pub mod request_headers;
pub mod send_message;
pub mod users;
pub mod webhooks;
