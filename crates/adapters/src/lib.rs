//! How the world answers chathook: implementations of the engine's ports.
//!
//! Imports run downwards: a module may use those above it in this list.

pub mod system;
pub mod vault;
pub mod resolver;
pub mod address_guard;
pub mod endpoints;
pub mod api_client;
pub mod local_bus;
pub mod sqlite;
