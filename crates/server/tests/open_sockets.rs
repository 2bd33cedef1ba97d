//! What a socket that has been open for a while sees: the settings of now, its own conversations,
//! and no more of what it missed than one read may hold.

mod support;

use support::*;

async fn sent_by(socket: &mut Socket, text: &str) -> Value {
    socket.call("sendMessage", text_to("ben", text)).await.expect("sent")
}

#[tokio::test]
async fn edits_of_an_open_socket_follow_a_change_of_the_settings() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let (gate, audit) = (Endpoint::start().await, Endpoint::start().await);
    server.set(&app, json!({"beforeMessageOnEdit": false, "editsThroughAfterMessage": true})).await;
    server.webhook(&app, "audit", &audit, &["after_message"], Value::Null).await;
    let mut ana = Socket::of(&app, "ana").await;
    let id = sent_by(&mut ana, "one").await["id"].clone();
    assert_eq!(audit.next().await.text(), "one");

    server.webhook(&app, "gate", &gate, &["before_message"], Value::Null).await;
    server.set(&app, json!({"beforeMessageOnEdit": true, "editsThroughAfterMessage": false})).await;
    gate.otherwise(Answer::json(&json!({})));
    let edit = json!({"messageId": id, "data": {"text": "two"}});
    ana.call("editMessage", edit).await.expect("edited");
    assert_eq!(gate.next().await.text(), "two");
    sent_by(&mut ana, "three").await;
    assert_eq!(audit.next().await.text(), "three", "the audit is not told of the edit");
}

#[tokio::test]
async fn the_budget_of_an_open_socket_is_the_one_of_now() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let gate = Endpoint::start().await;
    server.set(&app, json!({"beforeMessageBudgetMs": 5_000})).await;
    server.webhook(&app, "gate", &gate, &["before_message"], Value::Null).await;
    let mut ana = Socket::of(&app, "ana").await;
    server.set(&app, json!({"beforeMessageBudgetMs": 100})).await;
    gate.answer([Answer::Hang]);
    let sending = sent_by(&mut ana, "one");
    let clock = async {
        gate.next().await;
        server.clock.advance(100);
    };
    let (sent, ()) = tokio::join!(sending, clock);
    assert_eq!(sent["data"]["text"], "one");
}

#[tokio::test]
async fn both_users_see_what_the_system_did_in_their_conversation() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let sent = app.send_as("ana", text_to("ben", "one")).await;
    let path = format!("/messages/{}", sent.data()["id"].as_str().expect("an id"));
    let action = app.call("PUT", &path, json!({"data": {"text": "two"}})).await.data().clone();
    let path = format!("/messages/{}", action["id"].as_str().expect("an id"));
    for uid in ["ana", "ben"] {
        let seen = app.call_as(uid, "GET", &path, Value::Null).await;
        assert_eq!(seen.data()["id"], action["id"], "{uid} sees it");
    }
    app.call_as("chloe", "GET", &path, Value::Null).await.refused(404, "ERR_MESSAGE_ID_NOT_FOUND");
}

#[tokio::test]
async fn who_missed_more_bytes_than_one_read_holds_is_told_to_fetch() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let text = "x".repeat(50_000);
    for _ in 0..180 {
        app.send_as("ana", text_to("ben", &text)).await.data();
    }
    let token = app.token("ben").await;
    let mut ben = Socket::open(&app).await;
    let params = json!({"appId": app.id, "authToken": token, "platform": "web", "after": "0"});
    let login = ben.call("login", params).await.expect("logged in");
    assert_eq!(login["truncated"], true, "{login}");
}

#[tokio::test]
async fn a_crowd_hears_each_message_in_its_order_beside_who_hears_some_alone() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let token = app.token("ben").await;
    let mut crowd = Vec::new();
    for device in 0..100 {
        crowd.push(Socket::log_in(&app, &token, &format!("device-{device}")).await.0);
    }
    for text in ["one", "two", "three"] {
        app.send_as("ana", text_to("ben", text)).await.data();
    }
    for socket in &mut crowd {
        for text in ["one", "two", "three"] {
            assert_eq!(socket.notification("message").await["data"]["text"], text);
        }
    }
}
