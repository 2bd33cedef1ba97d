//! The circuit of `before_message` (design 5), the bound on its calls, and the log of all of them.

mod support;

use support::endpoint::Gate;
use support::http::Reply;
use support::stage::Stage;
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Longer than the budget of a message.
const BUDGET_MS: i64 = 2_000;

/// Sends to a gate that hangs, and lets the budget run out.
async fn hang_once(stage: &Stage) -> Reply {
    let clock = async {
        stage.gate.next().await;
        stage.server.clock.advance(BUDGET_MS);
    };
    tokio::join!(stage.send("hello"), clock).0
}

/// A gate that hangs, and whose circuit is open.
async fn open(stage: &Stage) {
    stage.gate.otherwise(Answer::Hang);
    for _ in 0..5 {
        hang_once(stage).await;
    }
}

/// The message comes to its end although the gate hangs and the clock stands: nobody asked.
async fn is_not_asked(stage: &Stage) -> Reply {
    let sent = stage.send("hello").await;
    assert!(stage.gate.take_all().is_empty(), "the gate was called");
    sent
}

async fn silences(stage: &Stage, count: usize) -> Vec<String> {
    let lines = stage.server.asked(count).await;
    assert_eq!(lines.len(), count, "{lines:?}");
    lines.into_iter().map(|line| line.silence.unwrap_or_default()).collect()
}

#[tokio::test]
async fn after_five_timeouts_no_message_waits_any_more_and_each_says_why() {
    let stage = Stage::new().await;
    open(&stage).await;
    for _ in 0..3 {
        assert_eq!(is_not_asked(&stage).await.data()["data"]["text"], "hello");
    }
    let silences = silences(&stage, 8).await;
    assert_eq!(silences, [&["timeout"; 5][..], &["circuit_open"; 3]].concat());
}

#[tokio::test]
async fn an_open_circuit_drops_where_failure_drops() {
    let stage = Stage::closed().await;
    open(&stage).await;
    is_not_asked(&stage).await.refused(403, "ERR_BLOCKED_BY_WEBHOOK");
    assert_eq!(stage.app.texts("ana", "ben").await, Vec::<String>::new());
    let lines = stage.server.asked(6).await;
    assert_eq!((lines[5].verdict.as_str(), lines[5].silence.as_deref()), ("drop", Some("circuit_open")));
}

#[tokio::test]
async fn refused_and_broken_connections_open_it_as_well() {
    let stage = Stage::new().await;
    stage.gate.otherwise(Answer::Close);
    for _ in 0..3 {
        stage.send("hello").await.data();
    }
    stage.gate.shut().await;
    for _ in 0..3 {
        stage.send("hello").await.data();
    }
    let expected = ["broken", "broken", "broken", "not_connected", "not_connected", "circuit_open"];
    assert_eq!(silences(&stage, 6).await, expected);
}

#[tokio::test]
async fn one_message_probes_every_five_seconds_and_an_answer_closes_it() {
    let stage = Stage::new().await;
    open(&stage).await;
    stage.server.clock.advance(4_999);
    is_not_asked(&stage).await;
    stage.server.clock.advance(1);
    // This probe hangs as well; while it does, and until the next is due, others pass by.
    let others = async {
        stage.gate.next().await;
        is_not_asked(&stage).await;
        stage.server.clock.advance(BUDGET_MS);
    };
    tokio::join!(stage.send("hello"), others);
    stage.server.clock.advance(5_000 - BUDGET_MS - 1);
    is_not_asked(&stage).await;
    stage.server.clock.advance(1);
    stage.gate.otherwise(Answer::json(&json!({"lang": "en"})));
    for _ in 0..2 {
        let sent = stage.send("hello").await;
        let injected = &sent.data()["data"]["metadata"]["@injected"]["webhooks"]["gate"];
        assert_eq!(injected, &json!({"lang": "en"}), "the circuit is closed");
    }
}

#[tokio::test]
async fn an_answer_of_any_kind_is_no_silence() {
    let stage = Stage::new().await;
    let answers = [
        Answer::status(500),
        Answer::body(404, "<html>"),
        Answer::body(200, "garbage"),
        Answer::redirect("https://example.org/"),
        Answer::body(200, format!("\"{}\"", "x".repeat(1024 * 1024))),
        Answer::json(&json!({"action": "replace"})),
        Answer::status(503),
        Answer::json(&json!({"lang": "en"})),
    ];
    let count = answers.len();
    stage.gate.answer(answers);
    for _ in 0..count {
        stage.send("hello").await.data();
    }
    assert_eq!(stage.gate.take_all().len(), count, "each is asked about");
}

#[tokio::test]
async fn an_answer_among_silences_begins_the_row_anew() {
    let stage = Stage::new().await;
    for _ in 0..2 {
        stage.gate.answer([Answer::Hang, Answer::Hang, Answer::Hang, Answer::Hang, Answer::status(500)]);
        for _ in 0..4 {
            hang_once(&stage).await;
        }
        stage.send("hello").await.data();
        stage.gate.next().await;
    }
}

#[tokio::test]
async fn a_change_of_the_webhook_closes_its_circuit() {
    let stage = Stage::new().await;
    open(&stage).await;
    is_not_asked(&stage).await;
    let path = format!("/apps/{}/webhooks/gate", stage.app.id);
    stage.server.manage("PUT", &path, json!({"name": "Mended"})).await.data();
    hang_once(&stage).await;
}

#[tokio::test]
async fn what_a_call_from_before_a_change_comes_to_is_not_counted_after_it() {
    let stage = Stage::new().await;
    stage.gate.otherwise(Answer::Hang);
    for _ in 0..4 {
        hang_once(&stage).await;
    }
    let path = format!("/apps/{}/webhooks/gate", stage.app.id);
    let others = async {
        stage.gate.next().await;
        stage.server.manage("PUT", &path, json!({"name": "Mended"})).await.data();
        stage.server.clock.advance(BUDGET_MS);
    };
    tokio::join!(stage.send("hello"), others);
    for _ in 0..5 {
        hang_once(&stage).await;
    }
    is_not_asked(&stage).await;
}

#[tokio::test]
async fn a_webhook_made_again_begins_with_a_closed_circuit() {
    let stage = Stage::new().await;
    open(&stage).await;
    stage.server.manage("DELETE", &format!("/apps/{}/webhooks/gate", stage.app.id), Value::Null).await.data();
    stage.server.webhook(&stage.app, "gate", &stage.gate, &["before_message"], Value::Null).await;
    hang_once(&stage).await;
}

#[tokio::test]
async fn each_webhook_has_a_circuit_of_its_own() {
    let stage = Stage::new().await;
    open(&stage).await;
    let second = Endpoint::start().await;
    stage.server.webhook(&stage.app, "second", &second, &["before_message"], Value::Null).await;
    is_not_asked(&stage).await.data();
    assert_eq!(second.next().await.text(), "hello");
}

#[tokio::test]
async fn waiting_for_a_place_in_vain_is_no_silence_of_the_endpoint() {
    let stage = Stage::closed().await;
    stage.gate.otherwise(Answer::Hang);
    stage.server.set(&stage.app, json!({"beforeMessageBudgetMs": 5_000})).await;
    let in_flight: Vec<_> = (0..64)
        .map(|_| {
            let app = stage.app.clone();
            tokio::spawn(async move { app.send_as("ana", text_to("ben", "hello")).await })
        })
        .collect();
    for _ in 0..64 {
        stage.gate.next().await;
    }
    stage.server.set(&stage.app, json!({"beforeMessageBudgetMs": 100})).await;
    let sleepers = stage.server.clock.sleepers();
    for _ in 0..7 {
        let clock = async {
            until("the sender waits", async || stage.server.clock.sleepers() > sleepers).await;
            stage.server.clock.advance(100);
        };
        let (sent, ()) = tokio::join!(stage.send("hello"), clock);
        sent.refused(403, "ERR_BLOCKED_BY_WEBHOOK");
    }
    assert_eq!(silences(&stage, 7).await, ["no_place"; 7]);
    assert!(stage.gate.take_all().is_empty());
    in_flight.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_line_tells_the_verdict_the_event_and_the_time_of_a_call() {
    let stage = Stage::new().await;
    let open = Gate::default();
    stage.gate.answer([Answer::json(&json!({"lang": "en"})).after(&open)]);
    let clock = async {
        stage.gate.next().await;
        stage.server.clock.advance(300);
        open.open();
    };
    let (sent, ()) = tokio::join!(stage.send("hello"), clock);
    sent.data();
    let told = stage.audit.next().await;
    let lines = stage.server.asked(1).await;
    let [line] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!((line.webhook.as_str(), line.verdict.as_str(), &line.silence), ("gate", "inject", &None));
    assert_eq!(line.event, told.header("webhook-id"), "the event that the message caused");
    assert_eq!(line.took_us, 300_000);
}

#[tokio::test]
async fn the_call_about_an_edit_is_logged_with_the_edit_s_event() {
    let stage = Stage::new().await;
    stage.server.set(&stage.app, json!({"beforeMessageOnEdit": true})).await;
    let sent = stage.send("hello").await.data().clone();
    let path = format!("/messages/{}", sent["id"].as_str().expect("an id"));
    stage.app.call_as("ana", "PUT", &path, json!({"data": {"text": "hallo"}})).await.data();
    let told = [stage.audit.next().await, stage.audit.next().await];
    let lines = stage.server.asked(2).await;
    assert_eq!(lines[1].event, told[1].header("webhook-id"));
}

/// Puts a request on a connection that the caller may end.
async fn begin(stage: &Stage, method: &str, path: &str, body: Value) -> TcpStream {
    let body = body.to_string();
    let head = format!("{method} /v3{path} HTTP/1.1\r\nhost: x\r\napikey: {}\r\n", stage.app.key);
    let more = format!("onBehalfOf: ana\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut sender = TcpStream::connect(stage.server.address).await.expect("the server listens");
    sender.write_all((head + &more).as_bytes()).await.expect("sent");
    sender
}

#[tokio::test]
async fn a_message_goes_on_when_its_sender_hangs_up() {
    let stage = Stage::new().await;
    let open = Gate::default();
    stage.gate.answer([Answer::json(&json!({})).after(&open)]);
    let sender = begin(&stage, "POST", "/messages", text_to("ben", "hello")).await;
    stage.gate.next().await;
    drop(sender);
    open.open();
    assert_eq!(stage.audit.next().await.text(), "hello");
    assert_eq!(silences(&stage, 1).await, [""]);
}

#[tokio::test]
async fn a_call_about_an_edit_that_was_given_up_is_logged() {
    let stage = Stage::new().await;
    let sent = stage.send("hello").await.data().clone();
    stage.gate.next().await;
    stage.server.set(&stage.app, json!({"beforeMessageOnEdit": true})).await;
    stage.gate.otherwise(Answer::Hang);
    let path = format!("/messages/{}", sent["id"].as_str().expect("an id"));
    let editor = begin(&stage, "PUT", &path, json!({"data": {"text": "hallo"}})).await;
    stage.gate.next().await;
    drop(editor);
    let lines = stage.server.asked(2).await;
    assert_eq!((lines[1].verdict.as_str(), lines[1].silence.as_deref()), ("drop", Some("sender_gone")));
    assert_eq!(stage.app.texts("ana", "ben").await, ["hello"]);
}

#[tokio::test]
async fn a_stop_loses_no_line() {
    let mut stage = Stage::new().await;
    for _ in 0..20 {
        stage.send("hello").await.data();
    }
    stage.server.stop().await;
    assert_eq!(stage.server.asked(20).await.len(), 20);
}

#[tokio::test]
async fn a_call_that_ends_during_a_stop_is_logged() {
    let Stage { mut server, app, gate, audit: _audit } = Stage::new().await;
    let open = Gate::default();
    gate.answer([Answer::json(&json!({})).after(&open)]);
    let sending = tokio::spawn(async move { app.send_as("ana", text_to("ben", "hello")).await });
    gate.next().await;
    let address = server.address;
    let the_rest = async {
        until("the door is shut", async || TcpStream::connect(address).await.is_err()).await;
        open.open();
        sending.await.expect("the sender waits").data();
    };
    tokio::join!(server.stop(), the_rest);
    assert_eq!(server.asked(1).await.len(), 1);
}
