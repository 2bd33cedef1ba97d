//! How the world answers chathook: implementations of the engine's ports.
//!
//! Imports run downwards: a module may use those above it in this list.

pub mod system;
pub mod machine;
pub mod data_dir;
pub mod vault;
pub mod resolver;
pub mod certificates;
pub mod address_guard;
pub mod endpoints;
pub mod listen_wire;
pub mod listeners;
pub mod listen_client;
pub mod api_client;
pub mod local_bus;
pub mod sqlite;
