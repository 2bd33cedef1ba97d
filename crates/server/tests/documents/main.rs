//! The documents against the server: calls made from `/openapi.json` are answered as it says, and a real
//! session, real deliveries and a real listener are as `/asyncapi.json` says.

mod conformance;
mod listeners;
mod openapi;
mod pages;
mod papers;
mod requests;
mod schema;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod world;
