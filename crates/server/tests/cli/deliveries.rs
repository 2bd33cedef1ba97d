//! `chathook deliveries` against a real server and a real endpoint.

use crate::desk::{Desk, field, words};
use crate::support::*;

#[tokio::test]
async fn deliveries_are_listed_newest_first_and_filtered() {
    let desk = Desk::new().await;
    desk.send("one").await;
    desk.server.advance(60);
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("two").await;
    let out = desk.shell.run(&["deliveries", "list", "audit"]).await;
    let lines: Vec<&str> = out.done().lines().collect();
    assert!(lines[0].starts_with("ID") && lines[0].ends_with("NEXT TRY"), "{}", lines[0]);
    let two =
        ["2", "2025-10-09", "13:54:20", "after_message", "ana_user_ben", "waiting", "1", "500", "2025-10-09"];
    assert_eq!(words(lines[1])[..9], two);
    assert_eq!(words(lines[2])[5..8], ["delivered", "1", "200"]);

    let ids = async |filter: &[&str]| {
        let arguments = [&["deliveries", "list", "audit", "--json"], filter].concat();
        let list = desk.shell.run(&arguments).await.json();
        let items = list.as_array().expect("a list").clone();
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]).await, ["2", "1"]);
    assert_eq!(ids(&["--status", "delivered"]).await, ["1"]);
    assert_eq!(ids(&["--key", "somebody"]).await, [""; 0]);
    assert_eq!(ids(&["--trigger", "message_read_receipt"]).await, [""; 0]);
    // In the zone of the shell.
    assert_eq!(ids(&["--since", "2025-10-09 13:54"]).await, ["2"]);
    assert_eq!(ids(&["--until", "2025-10-09T08:54:00Z"]).await, ["1"]);
    assert_eq!(desk.shell.run(&["deliveries", "list", "audit", "--json"]).await.json(), {
        desk.data("/webhooks/audit/deliveries").await
    });
    desk.shell.run(&["deliveries", "list", "audit", "--since", "lately"]).await.refused(2);
    desk.shell.run(&["deliveries", "list", "audit", "--status", "lost"]).await.refused(2);
    desk.shell.run(&["deliveries", "list", "nothing"]).await.refused(4);
}

#[tokio::test]
async fn a_list_is_followed_over_its_pages() {
    let desk = Desk::new().await;
    for text in ["one", "two", "three"] {
        desk.send(text).await;
    }
    let cut = desk.shell.run(&["deliveries", "list", "audit", "--limit", "2"]).await;
    assert_eq!((cut.code, cut.out.lines().count(), cut.err.contains("--limit")), (0, 3, true), "{cut:?}");
    assert_eq!(
        desk.shell.run(&["deliveries", "list", "audit", "--limit", "3"]).await.done().lines().count(),
        4
    );
}

#[tokio::test]
async fn a_delivery_is_shown_with_its_attempts_and_its_payload() {
    let desk = Desk::new().await;
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("hello").await;
    desk.server.advance(10);
    desk.endpoint.next().await;
    desk.server.settled().await;
    let out = desk.shell.run(&["deliveries", "show", "audit", "1"]).await;
    assert_eq!(field(out.done(), "status"), "delivered");
    let attempts: Vec<&str> = out.out.lines().filter(|line| line.starts_with("attempt ")).collect();
    assert_eq!(words(attempts[0])[..5], ["attempt", "1", "2025-10-09", "13:53:20.000", "500"]);
    assert_eq!(words(attempts[1])[..5], ["attempt", "2", "2025-10-09", "13:53:30.000", "200"]);
    assert!(out.out.contains("█") && out.out.contains("first byte"), "{}", out.out);
    assert!(out.out.contains("\"text\": \"hello\""), "{}", out.out);
    let data = desk.data("/webhooks/audit/deliveries/1").await;
    assert_eq!(desk.shell.run(&["deliveries", "show", "audit", "1", "--json"]).await.json(), data);
    desk.shell.run(&["deliveries", "show", "audit", "99"]).await.refused(4);
}

#[tokio::test]
async fn a_delivery_is_retried_now() {
    let desk = Desk::new().await;
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("hello").await;
    assert_eq!(desk.shell.run(&["deliveries", "retry", "audit", "1"]).await.done(), "It is tried now.\n");
    desk.endpoint.next().await;
    desk.server.settled().await;
    assert_eq!(desk.data("/webhooks/audit/deliveries/1").await["status"], "delivered");
}

#[tokio::test]
async fn a_delivery_is_cancelled_once_and_only_with_a_yes() {
    let desk = Desk::new().await;
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("hello").await;
    assert!(desk.shell.run(&["deliveries", "cancel", "audit", "1"]).await.refused(2).contains("--yes"));
    assert_eq!(desk.data("/webhooks/audit/deliveries/1").await["status"], "waiting");
    let out = desk.shell.run(&["deliveries", "cancel", "audit", "1", "--yes"]).await;
    assert_eq!(field(out.done(), "status"), "cancelled");
    let again = desk.shell.run(&["deliveries", "cancel", "audit", "1", "--yes"]).await;
    assert!(again.refused(6).contains("ERR_DELIVERY_ENDED"));
}
