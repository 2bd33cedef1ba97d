//! `chathook deliveries tail`: what comes is told as it comes.

use crate::desk::{Desk, stranger, words};
use crate::support::*;

/// More than one page of the tail's.
const NEWER: usize = 201;

fn json_of(line: &str) -> Value {
    serde_json::from_str(line).expect("a JSON document on a line")
}

#[tokio::test]
async fn a_tail_tells_the_past_then_what_comes_and_how_it_goes_on() {
    let desk = Desk::new().await;
    for text in ["one", "two", "three"] {
        desk.send(text).await;
    }
    let mut tail = desk.shell.start(&["deliveries", "tail", "audit", "--lines", "2"]);
    for id in ["2", "3"] {
        let line = tail.line().await;
        assert_eq!(words(&line)[2..], [id, "after_message", "ana_user_ben", "delivered", "1", "200"]);
    }
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("four").await;
    // It may be seen before its first attempt is settled, and after.
    let mut line = tail.line().await;
    if words(&line)[6] == "0" {
        line = tail.line().await;
    }
    assert_eq!(words(&line)[2..], ["4", "after_message", "ana_user_ben", "waiting", "1", "500"]);
    desk.server.advance(10);
    assert_eq!(
        words(&tail.line().await)[2..],
        ["4", "after_message", "ana_user_ben", "delivered", "2", "200"]
    );
}

#[tokio::test]
async fn a_tail_of_one_status_tells_also_of_what_no_page_shows_any_more() {
    let desk = Desk::new().await;
    desk.send("first").await;
    let mut tail =
        desk.shell.start(&["deliveries", "tail", "audit", "--status", "delivered", "--lines", "1", "--json"]);
    assert_eq!(json_of(&tail.line().await)["id"], "1");
    desk.endpoint.answer_text("late", Answer::status(500));
    desk.send("late").await;
    for number in 0..NEWER {
        desk.app.send_as("ben", text_to("chloe", &number.to_string())).await.data();
    }
    for number in 0..NEWER {
        assert_eq!(json_of(&tail.line().await)["id"], (number + 3).to_string());
    }
    desk.shell.run(&["deliveries", "retry", "audit", "2"]).await.done();
    let told = json_of(&tail.line().await);
    assert_eq!(
        (&told["id"], &told["status"], &told["attempts"]),
        (&json!("2"), &json!("delivered"), &json!(2))
    );
}

#[tokio::test]
async fn a_tail_goes_on_where_the_server_was_away() {
    let (server, shell) = stranger().await;
    let list = |ids: &[&str]| {
        let items: Vec<Value> =
            ids.iter().map(|id| json!({"id": id, "status": "delivered", "attempts": 1})).collect();
        Answer::json(&json!({"data": items, "meta": {}}))
    };
    // One look fails on the connection that was kept, and on a new one; one meets a proxy alone.
    let gateway = Answer::Full { status: 502, headers: Vec::new(), body: b"<html>".to_vec() };
    server.answer([list(&["1"]), list(&["1"]), Answer::Close, Answer::Close, gateway]);
    server.otherwise(list(&["2", "1"]));
    let mut tail = shell.start(&["deliveries", "tail", "audit", "--app", "a", "--json", "--ca", "ca.pem"]);
    for id in ["1", "2"] {
        assert_eq!(json_of(&tail.line().await)["id"], id);
    }
}

#[tokio::test]
async fn a_tail_begins_with_as_many_of_the_past_as_were_asked_for() {
    let (server, shell) = stranger().await;
    let shell = shell.with("CHATHOOK_CA", "ca.pem").with("CHATHOOK_APP", "a");
    let item = |id: u32| json!({"id": id.to_string(), "status": "failed", "attempts": 1});
    let page = |ids: &mut dyn Iterator<Item = u32>, cursor: Value| {
        Answer::json(&json!({"data": ids.map(item).collect::<Vec<_>>(), "meta": {"cursor": cursor}}))
    };
    let newest = || page(&mut (101..=300).rev(), json!("101"));
    server.answer([
        newest(),
        page(&mut (51..=300).rev(), json!("51")),
        page(&mut (1..=50).rev(), Value::Null),
    ]);
    server.otherwise(newest());
    let mut tail =
        shell.start(&["deliveries", "tail", "audit", "--status", "failed", "--lines", "300", "--json"]);
    for id in 1..=300 {
        assert_eq!(json_of(&tail.line().await)["id"], id.to_string());
    }
    let asked: Vec<String> = server.take_all().into_iter().map(|request| request.path).take(3).collect();
    let list = "/apps/a/webhooks/audit/deliveries";
    assert_eq!(
        asked,
        [
            format!("{list}?limit=200"),
            format!("{list}?status=failed&limit=300"),
            format!("{list}?status=failed&limit=50&cursor=51")
        ]
    );
}

#[tokio::test]
async fn a_tail_that_is_told_to_stop_has_done_what_was_asked() {
    let desk = Desk::new().await;
    desk.send("one").await;
    for signal in ["-TERM", "-INT"] {
        let mut tail = desk.shell.start(&["deliveries", "tail", "audit"]);
        tail.line().await;
        tail.signal(signal);
        assert_eq!((tail.ended().await, tail.remarks().await.as_str()), (0, ""), "{signal}");
    }
}

#[tokio::test]
async fn a_tail_of_what_is_not_there_ends_with_code_4() {
    let desk = Desk::without_webhook().await;
    desk.shell.run(&["deliveries", "tail", "audit"]).await.refused(4);
}
