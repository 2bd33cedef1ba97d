//! Who may ask chathook, and how: REST, socket, the development page, the command line, and the wiring.
//!
//! Imports run downwards: a module may use those above it in this list.

pub mod config;
pub mod limits;
pub mod doors;
pub mod tls;
pub mod api;
pub mod listen;
pub mod socket;
pub mod reference;
pub mod dashboard;
pub mod app;
pub mod serve;
pub mod dev;
pub mod cli;
