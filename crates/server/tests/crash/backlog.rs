//! A server that is told how much may wait for one webhook.

use std::time::Duration;

use crate::caller::Tenant;
use crate::server::Start;
use crate::sink::Sink;
use crate::{STOP_MAX, load};

/// Bytes that each message brings, and more.
const MESSAGE_BYTES: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_for_which_more_waits_than_may_is_switched_off() {
    let sink = Sink::start(Duration::ZERO).await;
    sink.answer_after(STOP_MAX * 3);
    let data_dir = tempfile::tempdir().expect("a directory");
    let start = Start { webhook_backlog_max: Some("10KiB"), ..Start::new(data_dir.path(), &sink.ca_file) };
    let server = start.run().await;
    let tenant = Tenant::make(server.address, &sink.url(), load::USERS).await;
    let text = "x".repeat(MESSAGE_BYTES);
    let mut sent = 0;
    while tenant.switched_off(server.address).await.is_none() {
        let answer = tenant.send(server.address, "u0", "u1", &format!("m{sent}"), &text).await;
        assert_eq!(answer.expect("an answer").status.as_u16(), 200, "a sender never hears of it");
        sent += 1;
        assert!(sent * MESSAGE_BYTES <= 11 << 10, "more waits than may");
    }
    assert!(sent > 1, "one message fits");
    assert_eq!(tenant.switched_off(server.address).await.as_deref(), Some("backlog"));
}
