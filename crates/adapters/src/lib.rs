//! How the world answers chathook: implementations of the engine's ports.

pub mod address_guard;
pub mod endpoints;
pub mod local_bus;
pub mod resolver;
pub mod sqlite;
pub mod system;
pub mod vault;
