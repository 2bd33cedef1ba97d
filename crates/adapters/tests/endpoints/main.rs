//! Endpoints against real listeners on loopback: what customers' servers do, well or badly.

mod addresses;
mod answers;
mod certificates;
mod connections;
mod support;
