//! Who may ask chathook, and how: REST, socket, the development page, the command line, and the wiring.

pub mod api;
pub mod app;
pub mod config;
pub mod dev;
pub mod doors;
pub mod limits;
pub mod serve;
pub mod socket;
