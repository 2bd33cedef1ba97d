//! What the engine needs of the world: a clock, dice, a store, endpoints, and a bus to the sockets.

pub mod bus;
pub mod clock;
pub mod endpoints;
pub mod probe;
pub mod stored;
pub mod told;
pub mod history;
pub mod tallies;
pub mod people;
pub mod upkeep;
pub mod store;
