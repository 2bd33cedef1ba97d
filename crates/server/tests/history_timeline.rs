//! Why did this not arrive? The timeline of a message, and notices (design 2.8 and 9).

mod support;

use support::*;

async fn timeline(server: &TestServer, app: &App, message: &Value) -> Value {
    let id = message["id"].as_str().expect("an id");
    let path = format!("/apps/{}/messages/{id}/timeline", app.id);
    server.manage("GET", &path, Value::Null).await.data().clone()
}

/// What happened, without the times.
fn whats(timeline: &Value) -> Vec<String> {
    let entries = timeline["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry["what"].as_str().expect("a word").to_owned()).collect()
}

fn webhook<'a>(timeline: &'a Value, id: &str) -> &'a Value {
    let webhooks = timeline["webhooks"].as_array().expect("webhooks");
    webhooks
        .iter()
        .find(|webhook| webhook["webhook"] == id)
        .unwrap_or_else(|| panic!("no '{id}': {timeline}"))
}

#[tokio::test]
async fn a_timeline_tells_a_message_from_accept_to_the_last_attempt_and_who_acknowledged_it() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    server.webhook(&app, "audit", &endpoint, &["after_message"], Value::Null).await;
    endpoint.answer([Answer::status(500)]);
    let message = app.send_as("ana", text_to("ben", "hello")).await.data().clone();
    let told = endpoint.next().await;
    server.settled().await;
    server.advance(10);
    endpoint.next().await;
    server.settled().await;
    server.advance(5);
    app.call_as("ben", "POST", "/users/ana/conversation/read", json!({})).await.data();
    server.advance(5);
    let id = message["id"].as_str().expect("an id");
    let edit = json!({"data": {"text": "hallo"}});
    app.call_as("ana", "PUT", &format!("/messages/{id}"), edit).await.data();
    let seen = timeline(&server, &app, &message).await;
    let expected = [
        "accepted",
        "event",
        "owed",
        "attempt",
        "attempt",
        "ended",
        "receipt_delivered",
        "receipt_read",
        "edited",
    ];
    assert_eq!(whats(&seen), expected);
    let entries = seen["entries"].as_array().expect("entries");
    let at: Vec<_> = entries.iter().map(|entry| entry["at"].as_i64().expect("a time") - NOW_S).collect();
    assert_eq!(at, [0, 0, 0, 0, 10, 10, 15, 15, 20]);
    assert_eq!((&entries[0]["by"], &entries[0]["platform"]), (&json!("ana"), &json!("API")));
    assert_eq!(entries[1]["event"], told.header("webhook-id"));
    assert_eq!((&entries[3]["outcome"], &entries[4]["outcome"]), (&json!("500"), &json!("200")));
    assert_eq!((&entries[5]["status"], &entries[5]["webhook"]), (&json!("delivered"), &json!("audit")));
    assert_eq!((&entries[7]["by"], &entries[8]["by"]), (&json!("ben"), &json!("ana")));
    let delivery = &webhook(&seen, "audit")["deliveries"][0];
    assert_eq!((&delivery["id"], &delivery["status"]), (&json!("1"), &json!("delivered")));
    assert_eq!(delivery["attempts"].as_array().map(Vec::len), Some(2));
    assert_eq!(seen["message"]["conversationId"], "ana_user_ben");
    assert!(!seen.to_string().contains("hello"), "a timeline does not repeat what people wrote");
}

#[tokio::test]
async fn what_a_message_owes_comes_after_the_webhooks_that_were_asked_about_it() {
    let stage = support::stage::Stage::new().await;
    stage.server.set(&stage.app, json!({"beforeMessageBudgetMs": 5_000})).await;
    let gate = support::endpoint::Gate::default();
    stage.gate.answer([Answer::json(&json!({})).after(&gate)]);
    let two_seconds = async {
        stage.gate.next().await;
        stage.server.advance(2);
        gate.open();
    };
    let (sent, ()) = tokio::join!(stage.send("hello"), two_seconds);
    assert_eq!(sent.data()["sentAt"], NOW_S, "the message keeps the time at which it came in");
    stage.server.asked(1).await;
    stage.audit.next().await;
    stage.server.settled().await;
    let seen = timeline(&stage.server, &stage.app, sent.data()).await;
    assert_eq!(whats(&seen), ["before_message", "accepted", "event", "owed", "attempt", "ended"]);
    let entries = seen["entries"].as_array().expect("entries");
    let at: Vec<_> = entries.iter().map(|entry| entry["at"].as_i64().expect("a time") - NOW_S).collect();
    assert_eq!(at, [0, 2, 2, 2, 2, 2]);
    let mut browser = Browser::logged_in(&stage.server).await;
    let id = sent.data()["id"].as_str().expect("an id");
    let page = browser.page(&format!("/apps/{}/messages/{id}", stage.app.id)).await;
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no '{text}': {page}"));
    assert!(place("before_message asked gate") < place("accepted from ana"));
    assert!(place("accepted from ana") < place("owed to audit"));
}

#[tokio::test]
async fn a_timeline_says_why_a_webhook_got_nothing() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    server.webhook(&app, "receipts", &endpoint, &["message_read_receipt"], Value::Null).await;
    server.webhook(&app, "disabled", &endpoint, &["after_message"], json!({"enabled": false})).await;
    server.webhook(&app, "gone", &endpoint, &["after_message"], Value::Null).await;
    endpoint.answer([Answer::status(410)]);
    app.send_as("ana", text_to("ben", "before")).await.data();
    endpoint.next().await;
    server.settled().await;
    let message = app.send_as("ana", text_to("ben", "hello")).await.data().clone();
    server.advance(1);
    server.webhook(&app, "later", &endpoint, &["after_message"], Value::Null).await;
    let seen = timeline(&server, &app, &message).await;
    for (id, reason) in [
        ("receipts", "no_trigger"),
        ("disabled", "disabled"),
        ("gone", "switched_off"),
        ("later", "created_later"),
    ] {
        let expected = json!({"webhook": id, "deliveries": [], "owedNothingBecause": reason});
        assert_eq!(*webhook(&seen, id), expected);
    }
    assert_eq!(whats(&seen), ["accepted", "event"]);
    // A replay owes it after all; why it was owed nothing at first stays to be seen.
    let path = format!("/apps/{}/webhooks/later/replay", app.id);
    server.manage("POST", &path, json!({"since": NOW_S})).await.data();
    endpoint.next().await;
    endpoint.next().await;
    server.settled().await;
    let seen = timeline(&server, &app, &message).await;
    let later = webhook(&seen, "later");
    assert_eq!(later["deliveries"][0]["replay"], "1");
    assert_eq!(whats(&seen), ["accepted", "event", "owed", "attempt", "ended"]);
}

#[tokio::test]
async fn a_timeline_outlives_the_webhook_and_knows_group_members_by_their_marks() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    server.webhook(&app, "audit", &endpoint, &["after_message"], Value::Null).await;
    let groups = app.call("GET", "/groups", Value::Null).await.data().clone();
    let guid = groups[0]["guid"].as_str().expect("a sample group").to_owned();
    let message = app.send_as("ana", text_to_group(&guid, "hello")).await.data().clone();
    endpoint.next().await;
    server.settled().await;
    server.advance(5);
    app.call_as("ben", "POST", &format!("/groups/{guid}/conversation/delivered"), json!({})).await.data();
    let path = format!("/apps/{}/webhooks/audit", app.id);
    server.manage("DELETE", &path, Value::Null).await.data();
    let seen = timeline(&server, &app, &message).await;
    assert_eq!(whats(&seen), ["accepted", "event", "owed", "attempt", "ended", "receipt_delivered"]);
    assert_eq!(webhook(&seen, "audit")["deliveries"][0]["status"], "delivered");
    let path = format!("/apps/{}/messages/999/timeline", app.id);
    server.manage("GET", &path, Value::Null).await.refused(404, "ERR_MESSAGE_ID_NOT_FOUND");
}

#[tokio::test]
async fn notices_are_listed_newest_first() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    endpoint.otherwise(Answer::status(410));
    for id in ["one", "two", "three"] {
        server.webhook(&app, id, &endpoint, &["after_message"], Value::Null).await;
        app.send_as("ana", text_to("ben", "hello")).await.data();
        endpoint.next().await;
        server.settled().await;
    }
    let path = format!("/apps/{}/notices", app.id);
    let page = server.manage("GET", &format!("{path}?limit=2"), Value::Null).await;
    let of = |reply: &support::http::Reply| -> Vec<Value> {
        reply.data().as_array().expect("a list").iter().map(|notice| notice["webhook"].clone()).collect()
    };
    assert_eq!(of(&page), ["three", "two"]);
    let newest = &page.data()[0];
    assert_eq!((&newest["kind"], &newest["createdAt"]), (&json!("switched_off"), &json!(NOW_S)));
    assert!(newest["text"].as_str().is_some_and(|text| text.contains("410")), "{newest}");
    let cursor = page.json["meta"]["cursor"].as_str().expect("a cursor");
    let rest = server.manage("GET", &format!("{path}?limit=2&cursor={cursor}"), Value::Null).await;
    assert_eq!(of(&rest), ["one"]);
    assert_eq!(rest.json["meta"], json!({"limit": 2, "count": 1, "isPartial": false}));
    let other = server.app().await;
    let theirs = server.manage("GET", &format!("/apps/{}/notices", other.id), Value::Null).await;
    assert_eq!(*theirs.data(), json!([]));
    server.manage("GET", &format!("{path}?cursor=x"), Value::Null).await.refused_for(
        400,
        "ERR_BAD_REQUEST",
        "cursor",
    );
}
