//! The documents against the server: calls made from `/openapi.json` are answered as it says, and a real
//! session and real deliveries are as `/asyncapi.json` says.

mod conformance;
mod openapi;
mod pages;
mod requests;
mod schema;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod world;
