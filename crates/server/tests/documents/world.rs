//! An app in which something of everything has happened, so that every operation has what it asks for.

use crate::support::server::MANAGEMENT;
use crate::support::{Answer, App, Endpoint, Socket, TestServer, Value, json, text_to, text_to_group, until};

pub struct World {
    pub app: App,
    pub token: String,
    /// The first message that webhooks heard of.
    pub first: String,
    pub message: String,
    pub group_message: String,
    pub replay: String,
    pub test: String,
    /// Hears of everything.
    pub audit: Endpoint,
    /// One answers nothing but 500, one is gone for good.
    _others: [Endpoint; 2],
}

impl World {
    pub async fn new(server: &TestServer) -> Self {
        let app = server.app().await;
        let [audit, bad, off] = [Endpoint::start().await, Endpoint::start().await, Endpoint::start().await];
        bad.otherwise(Answer::body(500, "no"));
        off.otherwise(Answer::status(410));
        let all = ["before_message", "after_message", "message_read_receipt"];
        let basic = json!({"useBasicAuth": true, "username": "hook", "password": "secret"});
        server.webhook(&app, "audit", &audit, &all, basic).await;
        server.webhook(&app, "broken", &bad, &["after_message"], Value::Null).await;
        server.webhook(&app, "off", &off, &["after_message"], Value::Null).await;
        server.webhook(&app, "quiet", &audit, &["message_delivery_receipt"], Value::Null).await;
        // Nothing listens at port 1.
        let closed = json!({"webhookURL": "https://127.0.0.1:1/hook"});
        server.webhook(&app, "closed", &audit, &["after_message"], closed).await;
        let token = app.token("ana").await;
        let first = populate(&app).await;
        ask(&app, &audit).await;
        let sent = app.send_as("ana", text_to("ben", "lunch?")).await;
        let message = sent.data()["id"].as_str().expect("an id").to_owned();
        let sent = app.send_as("ana", text_to_group("lounge", "who eats?")).await;
        let group_message = sent.data()["id"].as_str().expect("an id").to_owned();
        server.settled().await;
        let replay = replayed(server, &app).await;
        let path = format!("/apps/{}/webhooks/audit/test", app.id);
        let tested = server.manage("POST", &path, json!({"trigger": "after_message"})).await;
        let test = tested.data()["id"].as_str().expect("an id").to_owned();
        let path = format!("/apps/{}/webhooks/closed/deliveries/1", app.id);
        server.manage("POST", &format!("{path}/cancel"), Value::Null).await.data();
        server.manage("POST", &format!("{path}/retry"), Value::Null).await.data();
        server.settled().await;
        Self { app, token, first, message, group_message, replay, test, audit, _others: [bad, off] }
    }

    /// What stands in the path for this name, in a call of this operation.
    pub fn value_of(&self, operation: &str, name: &str) -> String {
        let value = match (operation, name) {
            ("retry_delivery" | "cancel_delivery", "webhookId") => "broken",
            (_, "webhookId") => "audit",
            (_, "appId") => &self.app.id,
            ("mark_user_delivered" | "mark_user_read", "uid") => "ana",
            ("list_user_messages", "uid") => "ben",
            ("list_tokens" | "get_token" | "delete_token" | "flush_tokens", "uid") => "ana",
            ("kick_member", "uid") => "ben",
            ("get_user" | "update_user" | "delete_user" | "create_token", "uid") => "rich",
            ("get_group" | "update_group" | "delete_group" | "list_members", "guid") => "rich",
            (_, "guid") => "lounge",
            (_, "token") => &self.token,
            (_, "messageId") => &self.message,
            (_, "deliveryId") => "1",
            (_, "replayId") => &self.replay,
            (operation, name) => {
                panic!("{operation} has the parameter '{name}', of which this world has none")
            }
        };
        value.to_owned()
    }

    /// The message up to which an operation marks.
    pub fn boundary_of(&self, operation: &str) -> &str {
        match operation {
            "mark_group_delivered" | "mark_group_read" => &self.group_message,
            _ => &self.message,
        }
    }

    /// The user on whose behalf an operation is called, where it may be.
    pub fn actor(operation: &str) -> &'static str {
        match operation {
            "mark_user_delivered" | "mark_user_read" | "mark_group_delivered" | "mark_group_read" => "ben",
            _ => "ana",
        }
    }

    /// The headers of a caller who may, by what the operation asks for first.
    pub fn credentials(&self, operation: &str, security: &Value) -> Vec<(String, String)> {
        let own = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let Some(way) = security[0].as_object() else { return Vec::new() };
        if way.contains_key("apikey") {
            let mut headers: Vec<_> = own(&[("apikey", &self.app.key)]);
            if security.as_array().is_some_and(|ways| ways.len() > 1) {
                headers.push(("onBehalfOf".to_owned(), Self::actor(operation).to_owned()));
            }
            headers
        } else if way.contains_key("managementKey") {
            own(&MANAGEMENT)
        } else {
            // mk_test:ms_test
            own(&[("authorization", "Basic bWtfdGVzdDptc190ZXN0")])
        }
    }
}

/// One message for each thing that an answer to `before_message` may do.
async fn ask(app: &App, audit: &Endpoint) {
    let answers = [
        ("note", json!({"action": "rate", "score": 1}), 200),
        ("soften", json!({"action": "replace", "data": {"text": "softer"}}), 200),
        ("block", json!({"action": "do_not_propagate", "reason": "rude"}), 403),
    ];
    for (text, answer, status) in answers {
        audit.answer_text(text, Answer::json(&answer));
        assert_eq!(app.send_as("ana", text_to("ben", text)).await.status, status);
    }
}

/// A replay of all messages to `audit` that is done, and that job's id.
async fn replayed(server: &TestServer, app: &App) -> String {
    let path = format!("/apps/{}/webhooks/audit/replay", app.id);
    let begun = server.manage("POST", &path, json!({"since": 0, "triggers": ["after_message"]})).await;
    let id = begun.data()["id"].as_str().expect("an id").to_owned();
    let path = format!("/apps/{}/webhooks/audit/replays/{id}", app.id);
    until("the replay is done", async || {
        server.manage("GET", &path, Value::Null).await.data()["status"] == "done"
    })
    .await;
    server.settled().await;
    id
}

/// A user and a group with everything set, and one of each kind of message.
async fn populate(app: &App) -> String {
    let rich = json!({
        "uid": "rich", "name": "Rich", "avatar": "https://example.com/a.png", "link": "https://example.com",
        "role": "default", "statusMessage": "here", "metadata": {"@private": {"a": 1}}, "tags": ["vip"],
    });
    app.call("POST", "/users", rich).await.data();
    app.call("PUT", "/users/rich", json!({"name": "Rich"})).await.data();
    app.call("POST", "/users", json!({"uid": "gone", "name": "Gone"})).await.data();
    app.call("POST", "/groups/lounge/members", json!({"participants": ["gone"]})).await.data();
    app.call("DELETE", "/users/gone", Value::Null).await.data();
    app.call("DELETE", "/groups/lounge/members/gone", Value::Null).await.data();
    let mut socket = Socket::of(app, "rich").await;
    socket.call("logout", json!({})).await.expect("logged out");
    let group = json!({
        "guid": "rich", "name": "Rich", "type": "password", "password": "x", "icon": "https://example.com/i.png",
        "description": "All of it", "metadata": {"a": 1}, "tags": ["vip"],
        "members": {"admins": ["ana"], "moderators": ["ben"], "participants": ["rich"]},
    });
    app.call("POST", "/groups", group).await.data();
    app.call("PUT", "/groups/rich", json!({"name": "Rich"})).await.data();
    let custom = json!({
        "receiver": "ben", "receiverType": "user", "category": "custom", "type": "place",
        "data": {"customData": {"lat": 1}, "resource": "web", "metadata": {"a": 1}}, "muid": "m1", "tags": ["t"],
    });
    let first = app.send_as("ana", custom).await.data()["id"].as_str().expect("an id").to_owned();
    let media = json!({
        "receiver": "ben", "receiverType": "user", "type": "image",
        "data": {"url": "https://example.com/i.png", "attachments": [{"url": "https://example.com/i.png"}]},
    });
    app.send_as("ana", media).await.data();
    let edited = app.send_as("ana", text_to("ben", "diner?")).await;
    let path = format!("/messages/{}", edited.data()["id"].as_str().expect("an id"));
    app.call_as("ana", "PUT", &path, json!({"data": {"text": "dinner?"}})).await.data();
    let deleted = app.send_as("ana", text_to("ben", "oh")).await;
    let path = format!("/messages/{}", deleted.data()["id"].as_str().expect("an id"));
    app.call_as("ana", "DELETE", &path, Value::Null).await.data();
    app.call_as("ben", "POST", "/users/ana/conversation/read", Value::Null).await.data();
    app.call_as("ben", "DELETE", "/groups/lounge/members/ben", Value::Null).await.data();
    app.call("POST", "/groups/lounge/members", json!({"participants": ["ben"]})).await.data();
    first
}
