//! What the tests of the public door rest on: a real server, real endpoints, real sockets, and a clock that they move.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]

pub mod browser;
pub mod command;
pub mod endpoint;
pub mod http;
pub mod passage;
pub mod post;
pub mod presence_ledger;
pub mod server;
pub mod socket;
pub mod stage;

use std::future::Future;
use std::time::Duration;

pub use browser::Browser;
pub use command::Shell;
pub use endpoint::{Answer, Endpoint, Received};
pub use serde_json::{Value, json};
pub use server::{App, NOW_MS, NOW_S, TestServer};
pub use socket::Socket;

/// No test waits this long unless the product is broken.
const FAIL_SAFE: Duration = Duration::from_secs(60);

/// The future's value, or a failed test that says what did not happen.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(FAIL_SAFE, future).await {
        Ok(value) => value,
        Err(_) => panic!("this did not happen in {FAIL_SAFE:?}: {what}"),
    }
}

/// Returns as soon as the condition holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    in_time(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// The body of a text message to a user.
pub fn text_to(uid: &str, text: &str) -> Value {
    json!({"receiver": uid, "receiverType": "user", "data": {"text": text}})
}

/// The body of a text message to a group.
pub fn text_to_group(guid: &str, text: &str) -> Value {
    json!({"receiver": guid, "receiverType": "group", "data": {"text": text}})
}
