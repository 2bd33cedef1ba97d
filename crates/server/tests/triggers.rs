//! Each of the five triggers from each source, against one golden payload each (spec 1.3 to 1.7).

mod support;

use support::*;

const ALL: [&str; 5] = [
    "before_message",
    "after_message",
    "message_delivery_receipt",
    "message_read_receipt",
    "user_connection_status_change",
];

async fn heard(triggers: &[&str]) -> (TestServer, App, Endpoint, Value) {
    let server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    let more = json!({"useBasicAuth": true, "username": "cc", "password": "s3cret"});
    let webhook = server.webhook(&app, "audit", &endpoint, triggers, more).await;
    (server, app, endpoint, webhook)
}

fn envelope(trigger: &str, platform: &str, app: &App, data: Value) -> Value {
    json!({
        "trigger": trigger, "data": data, "appId": app.id, "origin": {"platform": platform},
        "chatAPIVersion": "3.0", "region": "us", "webhook": "audit",
    })
}

fn user(uid: &str, name: &str, status: &str) -> Value {
    let mut user = json!({"uid": uid, "name": name, "status": status, "role": "default", "createdAt": NOW_S});
    if status == "available" {
        user["lastActiveAt"] = json!(NOW_S);
    }
    user
}

fn ana_to_ben(text: &str, ana: &str) -> Value {
    let mut ben = user("ben", "Ben", "offline");
    ben["conversationId"] = json!("ana_user_ben");
    json!({
        "conversationId": "ana_user_ben", "sender": "ana", "receiverType": "user", "receiver": "ben",
        "category": "message", "type": "text",
        "data": {"text": text, "entities": {
            "sender": {"entity": user("ana", "Ana", ana), "entityType": "user"},
            "receiver": {"entity": ben, "entityType": "user"},
        }},
        "sentAt": NOW_S, "updatedAt": NOW_S,
    })
}

/// Headers of every request: Basic auth, and a signature that the reference library makes as well.
fn assert_signed(request: &Received, webhook: &Value) {
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/hook");
    assert_eq!(request.header("content-type"), "application/json");
    assert!(request.header("user-agent").starts_with("chathook/"));
    assert_eq!(request.header("authorization"), "Basic Y2M6czNjcmV0");
    let secret = webhook["signingSecret"].as_str().expect("create tells the secret");
    let reference = standardwebhooks::Webhook::new(secret).expect("a usable secret");
    let at = request.number("webhook-timestamp");
    let theirs = reference.sign(request.header("webhook-id"), at, &request.bytes).expect("signed");
    assert_eq!(request.header("webhook-signature"), theirs);
    assert_eq!(at, NOW_S);
}

fn assert_numbered(request: &Received, sequence: i64, key: &str) {
    assert_eq!(request.header("chathook-attempt"), "1");
    assert_eq!(request.number("chathook-sequence"), sequence);
    assert!(request.number("chathook-settled") < sequence);
    assert_eq!(request.header("chathook-key"), key);
}

#[tokio::test]
async fn a_message_over_rest_is_asked_about_and_told() {
    let (_server, app, endpoint, webhook) = heard(&["before_message", "after_message"]).await;
    let sent = app.send_as("ana", text_to("ben", "lunch?")).await.data().clone();
    let before = endpoint.next().await;
    assert_eq!(before.json, envelope("before_message", "API", &app, ana_to_ben("lunch?", "offline")));
    assert_signed(&before, &webhook);
    let after = endpoint.next().await;
    let mut message = ana_to_ben("lunch?", "offline");
    message["id"] = sent["id"].clone();
    assert_eq!(after.json, envelope("after_message", "API", &app, message.clone()));
    assert_signed(&after, &webhook);
    assert_numbered(&after, 1, "ana_user_ben");
    assert!(sent["id"].is_string());
    assert_eq!(sent, message);
}

#[tokio::test]
async fn a_message_over_the_socket_is_asked_about_and_told() {
    let (_server, app, endpoint, webhook) = heard(&["before_message", "after_message"]).await;
    let mut ana = Socket::of(&app, "ana").await;
    let mut body = text_to("ben", "lunch?");
    body["muid"] = json!("c-1");
    body["tags"] = json!(["food"]);
    let sent = ana.call("sendMessage", body).await.expect("sent");
    let mut message = ana_to_ben("lunch?", "available");
    message["muid"] = json!("c-1");
    message["tags"] = json!(["food"]);
    let before = endpoint.next().await;
    assert_eq!(before.json, envelope("before_message", "WEBSOCKET", &app, message.clone()));
    assert_signed(&before, &webhook);
    message["id"] = sent["id"].clone();
    let after = endpoint.next().await;
    assert_eq!(after.json, envelope("after_message", "WEBSOCKET", &app, message.clone()));
    assert_signed(&after, &webhook);
    assert_eq!(sent, message);
}

#[tokio::test]
async fn a_message_to_a_group_names_the_group() {
    let (_server, app, endpoint, _) = heard(&["after_message"]).await;
    app.send_as("ana", text_to_group("lounge", "all here?")).await.data();
    let told = endpoint.next().await;
    assert_numbered(&told, 1, "group_lounge");
    let data = &told.json["data"];
    assert_eq!(data["conversationId"], "group_lounge");
    assert_eq!((&data["receiverType"], &data["receiver"]), (&json!("group"), &json!("lounge")));
    let group = json!({
        "guid": "lounge", "name": "Lounge", "type": "public", "membersCount": 5,
        "conversationId": "group_lounge", "owner": "ana", "createdAt": NOW_S,
    });
    assert_eq!(data["data"]["entities"]["receiver"], json!({"entity": group, "entityType": "group"}));
}

#[tokio::test]
async fn media_and_custom_messages_are_told_with_their_content() {
    let (_server, app, endpoint, _) = heard(&["after_message"]).await;
    let file = json!({"url": "https://files.example.org/a.png", "name": "a.png", "mimeType": "image/png",
                      "extension": "png", "size": 9});
    let image = json!({"receiver": "ben", "receiverType": "user", "type": "image",
                       "data": {"attachments": [file], "text": "look"}});
    app.send_as("ana", image).await.data();
    let told = endpoint.next().await;
    assert_eq!(told.json["data"]["type"], "image");
    assert_eq!(told.json["data"]["data"]["attachments"], json!([file]));
    let custom = json!({"receiver": "ben", "receiverType": "user", "category": "custom", "type": "poll",
                        "data": {"customData": {"question": "tea?"}}});
    app.send_as("ana", custom).await.data();
    let told = endpoint.next().await;
    assert_eq!(
        (&told.json["data"]["category"], &told.json["data"]["type"]),
        (&json!("custom"), &json!("poll"))
    );
    assert_eq!(told.json["data"]["data"]["customData"], json!({"question": "tea?"}));
}

fn receipt(kind: &str, message: &Value) -> Value {
    let at = if kind == "read" { "readAt" } else { "deliveredAt" };
    json!({
        "messageId": message["id"], "receiptType": kind, at: NOW_S, "messageSender": "ana",
        "receiptSender": "ben", "receiptReceiver": "ana", "receiverType": "user",
    })
}

const RECEIPTS: [&str; 2] = ["message_delivery_receipt", "message_read_receipt"];

#[tokio::test]
async fn receipts_over_rest_are_told_once() {
    let (_server, app, endpoint, webhook) = heard(&RECEIPTS).await;
    let message = app.send_as("ana", text_to("ben", "lunch?")).await.data().clone();
    let id: i64 = message["id"].as_str().expect("an id").parse().expect("digits");
    for _ in 0..2 {
        let body = json!({"messageId": id});
        let marked = app.call_as("ben", "POST", "/users/ana/conversation/delivered", body).await;
        assert_eq!(marked.data()["success"], true);
        assert_eq!(marked.data()["Message"], marked.data()["message"]);
    }
    app.call_as("ben", "POST", "/users/ana/conversation/read", Value::Null).await.data();
    let delivered = endpoint.next().await;
    let data = receipt("delivered", &message);
    assert_eq!(delivered.json, envelope("message_delivery_receipt", "API", &app, data));
    assert_signed(&delivered, &webhook);
    assert_numbered(&delivered, 1, "ana_user_ben");
    let read = endpoint.next().await;
    assert_eq!(read.json, envelope("message_read_receipt", "API", &app, receipt("read", &message)));
    assert_signed(&read, &webhook);
    assert_eq!(read.number("chathook-sequence"), 2);
}

#[tokio::test]
async fn receipts_over_the_socket_are_told_and_reading_implies_delivery() {
    let (_server, app, endpoint, webhook) = heard(&RECEIPTS).await;
    let mut ana = Socket::of(&app, "ana").await;
    let mut ben = Socket::of(&app, "ben").await;
    let message = ana.call("sendMessage", text_to("ben", "lunch?")).await.expect("sent");
    assert_eq!(ben.notification("message").await["id"], message["id"]);
    let marked = ben.call("markRead", json!({"messageId": message["id"]})).await;
    assert_eq!(marked, Ok(json!({"messageId": message["id"], "readAt": NOW_S})));
    let delivered = endpoint.next().await;
    let data = receipt("delivered", &message);
    assert_eq!(delivered.json, envelope("message_delivery_receipt", "WEBSOCKET", &app, data));
    assert_signed(&delivered, &webhook);
    let read = endpoint.next().await;
    assert_eq!(read.json, envelope("message_read_receipt", "WEBSOCKET", &app, receipt("read", &message)));
    assert_signed(&read, &webhook);
    for kind in ["delivered", "read"] {
        let mut told = ana.notification("receipt").await;
        assert!(told.as_object_mut().expect("an object").remove("cursor").is_some());
        assert_eq!(told, receipt(kind, &message));
    }
}

#[tokio::test]
async fn a_receipt_in_a_group_has_a_lane_of_its_own() {
    let (_server, app, endpoint, _) = heard(&RECEIPTS).await;
    let message = app.send_as("ana", text_to_group("lounge", "hi")).await.data().clone();
    app.call_as("ben", "POST", "/groups/lounge/conversation/delivered", Value::Null).await.data();
    let told = endpoint.next().await;
    let mut data = receipt("delivered", &message);
    data["receiptReceiver"] = json!("lounge");
    data["receiverType"] = json!("group");
    assert_eq!(told.json, envelope("message_delivery_receipt", "API", &app, data));
    assert_numbered(&told, 1, "group_lounge/ben");
}

#[tokio::test]
async fn a_log_in_and_a_log_out_are_told_from_the_socket() {
    let (_server, app, endpoint, webhook) = heard(&["user_connection_status_change"]).await;
    let token = app.token("ana").await;
    let (mut ana, entry) = Socket::log_in(&app, &token, "phone").await;
    let connection = json!({
        "connected_at": NOW_MS, "cometchat_device_id": "phone", "session_id": entry["sessionId"], "platform": "web",
    });
    let told = endpoint.next().await;
    let data = json!({
        "user": {"uid": "ana", "status": "online", "status_updated": true, "status_updated_at": NOW_MS},
        "event": {"type": "connected", "at": NOW_MS, "event_for": connection},
        "connections": [connection],
    });
    assert_eq!(told.json, envelope("after_connection_status_changed", "WEBSOCKET", &app, data));
    assert_signed(&told, &webhook);
    assert_numbered(&told, 1, told.header("chathook-key"));
    assert!(told.header("chathook-key").contains("ana"));
    ana.call("logout", json!({})).await.expect("logged out");
    let told = endpoint.next().await;
    let data = json!({
        "user": {"uid": "ana", "status": "offline", "status_updated": true, "status_updated_at": NOW_MS},
        "event": {"type": "disconnected", "at": NOW_MS, "event_for": connection},
        "connections": [],
    });
    assert_eq!(told.json, envelope("after_connection_status_changed", "WEBSOCKET", &app, data));
    assert_signed(&told, &webhook);
}

#[tokio::test]
async fn connections_ended_over_rest_are_told_from_the_api() {
    let (_server, app, endpoint, _) = heard(&["user_connection_status_change"]).await;
    let mut ana = Socket::of(&app, "ana").await;
    let connected = endpoint.next().await;
    app.call("DELETE", "/users/ana/auth_tokens", Value::Null).await.data();
    assert_eq!(ana.closed().await, 4003);
    let told = endpoint.next().await;
    let data = json!({
        "user": {"uid": "ana", "status": "offline", "status_updated": true, "status_updated_at": NOW_MS},
        "event": {"type": "disconnected", "at": NOW_MS,
                  "event_for": connected.json["data"]["event"]["event_for"]},
        "connections": [],
    });
    assert_eq!(told.json, envelope("after_connection_status_changed", "API", &app, data));
}

#[tokio::test]
async fn an_edit_over_rest_is_told_as_an_action_message() {
    let (server, app, endpoint, _) = heard(&["after_message"]).await;
    let message = app.send_as("ana", text_to("ben", "lunhc?")).await.data().clone();
    endpoint.next().await;
    server.advance(5);
    let path = format!("/messages/{}", message["id"].as_str().expect("an id"));
    let action = app.call_as("ana", "PUT", &path, json!({"data": {"text": "lunch?"}})).await.data().clone();
    let told = endpoint.next().await;
    let mut on = ana_to_ben("lunch?", "offline");
    on["id"] = message["id"].clone();
    on["updatedAt"] = json!(NOW_S + 5);
    on["editedAt"] = json!(NOW_S + 5);
    on["editedBy"] = json!("ana");
    let expected = json!({
        "id": action["id"], "conversationId": "ana_user_ben", "sender": "ana", "receiverType": "user",
        "receiver": "ben", "category": "action", "type": "message",
        "data": {"action": "edited", "entities": {
            "by": {"entity": user("ana", "Ana", "offline"), "entityType": "user"},
            "on": {"entity": on, "entityType": "message"},
            "for": message["data"]["entities"]["receiver"],
        }},
        "sentAt": NOW_S + 5, "updatedAt": NOW_S + 5,
    });
    assert_eq!(told.json, envelope("after_message", "API", &app, expected));
    assert_ne!(action["id"], message["id"]);
    assert_eq!(app.call_as("ben", "GET", &path, Value::Null).await.data()["data"]["text"], "lunch?");
}

#[tokio::test]
async fn a_deletion_over_the_socket_is_told_as_an_action_message_without_the_content() {
    let (_server, app, endpoint, _) = heard(&["after_message"]).await;
    let mut ana = Socket::of(&app, "ana").await;
    let mut ben = Socket::of(&app, "ben").await;
    let message = ana.call("sendMessage", text_to("ben", "a secret")).await.expect("sent");
    endpoint.next().await;
    ana.call("deleteMessage", json!({"messageId": message["id"]})).await.expect("deleted");
    let told = endpoint.next().await;
    assert_eq!(told.json["origin"], json!({"platform": "WEBSOCKET"}));
    let data = &told.json["data"];
    assert_eq!((&data["category"], &data["type"]), (&json!("action"), &json!("message")));
    assert_eq!(data["data"]["action"], "deleted");
    let on = &data["data"]["entities"]["on"]["entity"];
    assert_eq!((&on["id"], &on["deletedBy"]), (&message["id"], &json!("ana")));
    assert!(!String::from_utf8_lossy(&told.bytes).contains("a secret"));
    assert_eq!(ben.notification("messageDeleted").await["id"], data["id"]);
}

#[tokio::test]
async fn edits_are_not_told_where_the_setting_is_off() {
    let (server, app, endpoint, _) = heard(&["after_message"]).await;
    server.set(&app, json!({"editsThroughAfterMessage": false})).await;
    let message = app.send_as("ana", text_to("ben", "one")).await.data().clone();
    endpoint.next().await;
    let path = format!("/messages/{}", message["id"].as_str().expect("an id"));
    app.call_as("ana", "PUT", &path, json!({"data": {"text": "two"}})).await.data();
    app.send_as("ana", text_to("ben", "three")).await.data();
    assert_eq!(endpoint.next().await.text(), "three");
}

#[tokio::test]
async fn membership_changes_reach_no_trigger() {
    let (_server, app, endpoint, _) = heard(&ALL).await;
    app.call("POST", "/users", json!({"uid": "fay", "name": "Fay"})).await.data();
    app.call("POST", "/groups/lounge/members", json!({"participants": ["fay"]})).await.data();
    app.call("DELETE", "/groups/lounge/members/fay", Value::Null).await.data();
    app.send_as("ana", text_to("ben", "next")).await.data();
    assert_eq!(endpoint.next().await.trigger(), "before_message");
    assert_eq!(endpoint.next().await.text(), "next");
}

#[tokio::test]
async fn private_metadata_of_a_user_is_in_no_payload() {
    let (_server, app, endpoint, _) = heard(&["before_message", "after_message"]).await;
    let metadata = json!({"@private": {"email": "ana@example.org"}, "team": "blue"});
    app.call("PUT", "/users/ana", json!({"metadata": metadata})).await.data();
    app.send_as("ana", text_to("ben", "hi")).await.data();
    for _ in 0..2 {
        let told = endpoint.next().await;
        let entity = &told.json["data"]["data"]["entities"]["sender"]["entity"];
        assert_eq!(entity["metadata"], json!({"team": "blue"}));
    }
}

#[tokio::test]
async fn a_repeated_muid_is_one_message_and_one_event() {
    let (_server, app, endpoint, _) = heard(&["after_message"]).await;
    let mut body = text_to("ben", "once");
    body["muid"] = json!("m-1");
    let first = app.send_as("ana", body.clone()).await.data().clone();
    let again = app.send_as("ana", body).await.data().clone();
    assert_eq!(first, again);
    app.send_as("ana", text_to("ben", "next")).await.data();
    assert_eq!(endpoint.next().await.text(), "once");
    assert_eq!(endpoint.next().await.text(), "next");
}

#[tokio::test]
async fn a_message_without_a_user_is_the_systems_and_is_not_asked_about() {
    let (_server, app, endpoint, _) = heard(&["before_message", "after_message"]).await;
    app.call("POST", "/messages", text_to("ben", "maintenance at noon")).await.data();
    let told = endpoint.next().await;
    assert_eq!(told.trigger(), "after_message");
    assert_eq!(told.json["data"]["sender"], "app_system");
}

#[tokio::test]
async fn a_sent_message_tells_how_long_it_waited_for_the_disk() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let sent = app.send_as("ana", text_to("ben", "hello")).await;
    sent.data();
    let told = sent.headers["server-timing"].to_str().expect("text");
    let wait_ms: f64 = told.strip_prefix("fsync;dur=").expect("one entry").parse().expect("milliseconds");
    assert!(wait_ms > 0.0, "{told}");
}
