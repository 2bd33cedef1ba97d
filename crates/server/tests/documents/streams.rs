//! A real session over the socket, and real deliveries and sample events, held to `/asyncapi.json`.

use std::collections::BTreeSet;

use chathook_domain::app::{App as DomainApp, Settings};
use chathook_domain::event::{Origin, body_for, envelope};
use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::outcome::{self, Outcome};
use chathook_domain::sample::sample;
use chathook_domain::trigger::Trigger;
use chathook_domain::verdict::judge;
use chathook_domain::webhook::OnFailure;
use chathook_server::reference::asyncapi;
use chathook_server::socket::methods::Method;

use crate::schema::Schemas;
use crate::support::{
    Answer, App, Endpoint, NOW_MS, Received, Socket, TestServer, Value, json, text_to, text_to_group,
};

fn is_as_described(schemas: &Schemas<'_>, message: &str, part: &str, value: &Value) {
    let message_said = &schemas.document["components"]["messages"][message];
    assert!(message_said.is_object(), "'{message}' is not described");
    let wrong = schemas.complaints(&message_said[part], value);
    assert!(wrong.is_empty(), "{message}: {}\n{value}", wrong.join("\n"));
}

#[tokio::test]
async fn the_server_serves_the_document_of_its_streams() {
    let server = TestServer::start().await;
    let served = server.raw("GET", "/asyncapi.json", &[], Vec::new()).await;
    assert_eq!((served.status, &served.json), (200, &asyncapi::document()));
    assert_eq!(served.json["asyncapi"], "3.0.0");
}

/// A socket whose frames are checked as they come.
struct Talk<'a> {
    schemas: &'a Schemas<'a>,
    socket: Socket,
    called: BTreeSet<&'static str>,
}

impl Talk<'_> {
    async fn call(&mut self, method: Method, params: Value) -> Value {
        let name = method.name();
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": name, "params": params});
        is_as_described(self.schemas, &format!("{name}.call"), "payload", &call);
        self.called.insert(name);
        self.socket.send_text(&call.to_string());
        let answer = self.socket.next_answer().await;
        is_as_described(self.schemas, &format!("{name}.answer"), "payload", &answer);
        answer["result"].clone()
    }

    async fn is_told(&mut self, method: &str) -> Value {
        let params = self.socket.notification(method).await;
        let frame = json!({"jsonrpc": "2.0", "method": method, "params": params});
        is_as_described(self.schemas, &format!("{method}.notification"), "payload", &frame);
        params
    }
}

#[tokio::test]
async fn every_method_is_answered_as_the_document_says() {
    let document = asyncapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let app = server.app().await;
    let mut ana = Talk { schemas: &schemas, socket: Socket::open(&app).await, called: BTreeSet::new() };
    let token = app.token("ana").await;
    let log_in = json!({"appId": app.id, "authToken": token, "platform": "ios", "after": "0"});
    let logged_in = ana.call(Method::Login, log_in).await;
    assert!(logged_in["sessionId"].is_string());
    ana.call(Method::Ping, json!({})).await;
    let sent = ana.call(Method::SendMessage, text_to("ben", "lunch?")).await;
    let id = json!({"messageId": sent["id"]});
    ana.call(Method::EditMessage, json!({"messageId": sent["id"], "data": {"text": "dinner?"}})).await;
    ana.call(Method::Typing, json!({"receiver": "ben", "receiverType": "user", "active": false})).await;
    ana.call(Method::SubscribePresence, json!({"uids": ["ben", "chloe"]})).await;
    let theirs = app.send_as("ben", text_to("ana", "yes")).await.data()["id"].clone();
    ana.call(Method::MarkDelivered, json!({"messageId": theirs})).await;
    ana.call(Method::MarkRead, json!({"messageId": theirs})).await;
    let wanted = json!({"receiver": "ben", "receiverType": "user", "limit": 1});
    let page = ana.call(Method::FetchMessages, wanted).await;
    assert!(page["cursor"].is_string());
    ana.call(Method::DeleteMessage, id).await;
    ana.call(Method::LeaveGroup, json!({"guid": "lounge"})).await;
    ana.call(Method::Logout, json!({})).await;
    let all: BTreeSet<&str> = Method::ALL.into_iter().map(Method::name).collect();
    assert_eq!(ana.called, all);
}

#[tokio::test]
async fn every_notification_is_as_the_document_says() {
    let document = asyncapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let app = server.app().await;
    let mut ana = Talk { schemas: &schemas, socket: Socket::of(&app, "ana").await, called: BTreeSet::new() };
    ana.call(Method::SubscribePresence, json!({"uids": ["ben"]})).await;
    let mut ben = Socket::of(&app, "ben").await;
    ana.is_told("presence").await;
    let sent = ben.call("sendMessage", text_to("ana", "lunch?")).await.expect("sent");
    ana.is_told("message").await;
    let slip = ben.call("sendMessage", text_to("ana", "oh")).await.expect("sent");
    ben.call("editMessage", json!({"messageId": sent["id"], "data": {"text": "dinner?"}}))
        .await
        .expect("edited");
    ana.is_told("messageEdited").await;
    ben.call("typing", json!({"receiver": "ana", "receiverType": "user"})).await.expect("typing");
    ana.is_told("typing").await;
    let mine = ana.socket.call("sendMessage", text_to("ben", "yes")).await.expect("sent");
    ben.call("markRead", json!({"messageId": mine["id"]})).await.expect("marked");
    assert_eq!(ana.is_told("receipt").await["receiptType"], "delivered");
    assert_eq!(ana.is_told("receipt").await["receiptType"], "read");
    ben.call("deleteMessage", json!({"messageId": slip["id"]})).await.expect("deleted");
    ana.is_told("messageDeleted").await;
    ben.call("leaveGroup", json!({"guid": "lounge"})).await.expect("left");
    ana.is_told("memberChanged").await;
    ben.call("logout", json!({})).await.expect("logged out");
    assert!(ana.is_told("presence").await["lastActiveAt"].is_number());
    // What was missed is told once more, in the same shapes.
    let token = app.token("ana").await;
    let mut again = Talk { schemas: &schemas, socket: Socket::open(&app).await, called: BTreeSet::new() };
    again.call(Method::Login, json!({"appId": app.id, "authToken": token, "after": "0"})).await;
    for method in ["message", "messageEdited", "messageDeleted", "receipt", "memberChanged"] {
        again.is_told(method).await;
    }
}

#[tokio::test]
async fn every_failure_is_as_the_document_says() {
    let document = asyncapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let app = server.app().await;
    let mut socket = Socket::of(&app, "ana").await;
    let frames = [
        ("{".to_owned(), -32_700),
        ("[]".to_owned(), -32_600),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "dance"}).to_string(), -32_601),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "markRead", "params": {}}).to_string(), -32_602),
        (
            json!({"jsonrpc": "2.0", "id": 1, "method": "markRead", "params": {"messageId": "9"}})
                .to_string(),
            -32_000,
        ),
    ];
    let said =
        schemas.document["components"]["schemas"]["RpcError"]["properties"]["code"]["description"].as_str();
    for (frame, code) in frames {
        socket.send_text(&frame);
        let answer = socket.next_answer().await;
        is_as_described(&schemas, "error", "payload", &answer);
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert!(said.is_some_and(|said| said.contains(&code.to_string())), "{code} is not described");
    }
}

fn is_delivered_as_described(schemas: &Schemas<'_>, trigger: &str, request: &Received) {
    let message = format!("{trigger}.webhook");
    is_as_described(schemas, &message, "payload", &request.json);
    is_as_described(schemas, &message, "headers", &json!(request.headers));
    let known = &schemas.document["components"]["messages"][&message]["headers"]["properties"];
    let ours = |name: &&String| name.starts_with("chathook-") || name.starts_with("webhook-");
    for name in request.headers.keys().filter(ours) {
        assert!(known.get(name).is_some(), "{trigger}: the header '{name}' is not described");
    }
}

#[tokio::test]
async fn every_trigger_is_delivered_as_the_document_says() {
    let document = asyncapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let (app, endpoint) = (server.app().await, Endpoint::start().await);
    let basic = json!({"useBasicAuth": true, "username": "hook", "password": "secret"});
    for trigger in Trigger::ALL {
        server.webhook(&app, trigger.id(), &endpoint, &[trigger.id()], basic.clone()).await;
    }
    let hear = async |trigger: &str| {
        let request = endpoint.next().await;
        is_delivered_as_described(&schemas, trigger, &request);
        assert_eq!(request.json["webhook"], trigger);
    };
    endpoint.answer([Answer::json(&json!({"seen": true}))]);
    let sent = app.send_as("ana", text_to("ben", "lunch?")).await.data()["id"].clone();
    hear("before_message").await;
    hear("after_message").await;
    app.call_as("ana", "DELETE", &format!("/messages/{}", sent.as_str().expect("an id")), Value::Null)
        .await
        .data();
    hear("after_message").await;
    app.call_as("ben", "POST", "/users/ana/conversation/delivered", Value::Null).await.data();
    hear("message_delivery_receipt").await;
    app.call_as("ben", "POST", "/users/ana/conversation/read", Value::Null).await.data();
    hear("message_read_receipt").await;
    app.send_as("ana", text_to_group("lounge", "who eats?")).await.data();
    hear("before_message").await;
    hear("after_message").await;
    let mut socket = Socket::of(&app, "ana").await;
    hear("user_connection_status_change").await;
    socket.call("logout", json!({})).await.expect("logged out");
    hear("user_connection_status_change").await;
    tested_and_replayed(&server, &app, &endpoint, &schemas).await;
}

/// Tests by hand and replays have headers of their own.
async fn tested_and_replayed(server: &TestServer, app: &App, endpoint: &Endpoint, schemas: &Schemas<'_>) {
    let of_after = format!("/apps/{}/webhooks/after_message", app.id);
    server.manage("POST", &format!("{of_after}/replay"), json!({"since": 0})).await.data();
    let replayed = endpoint.next().await;
    is_delivered_as_described(schemas, "after_message", &replayed);
    assert!(replayed.headers.contains_key("chathook-replay"));
    for trigger in Trigger::ALL {
        let request = sample_of(trigger);
        is_as_described(schemas, &format!("{}.webhook", trigger.id()), "payload", &request);
    }
}

/// The sample event of a trigger, as a test by hand sends it.
fn sample_of(trigger: Trigger) -> Value {
    let app = DomainApp {
        id: AppId::trusted("dev"),
        name: "Dev".to_owned(),
        region: "us".to_owned(),
        settings: Settings::default(),
        created_at: Time::from_ms(NOW_MS),
    };
    let data = sample(trigger, Time::from_ms(NOW_MS)).data;
    let body = body_for(&envelope(trigger, &data, Origin::Rest, &app), &WebhookId::trusted("audit"));
    serde_json::from_str(&body).expect("a payload is JSON")
}

#[test]
fn an_answer_to_before_message_means_what_the_document_says() {
    let document = asyncapi::document();
    let schemas = Schemas::of(&document);
    let reply = &document["components"]["messages"]["before_message.reply"];
    let examples = reply["examples"].as_array().expect("examples");
    assert_eq!(examples.len(), 4);
    for example in examples {
        assert_eq!(schemas.complaints(&reply["payload"], &example["payload"]), Vec::<String>::new());
        let body = example["payload"].to_string().into_bytes();
        let answer =
            outcome::Answer { status: 200, retry_after_s: None, body, is_cut: false, location: None };
        let judgement = judge(&Outcome::Answered(answer), OnFailure::Propagate);
        assert_eq!(judgement.verdict.name(), example["name"], "{example}");
    }
}

#[test]
fn the_page_of_the_socket_names_every_method_notification_close_code_and_number() {
    let page = include_str!("../../../../docs/socket.md");
    let document = asyncapi::document();
    let names = document["channels"]["socket"]["messages"].as_object().expect("messages").keys();
    for name in names.filter_map(|name| name.strip_suffix(".call").or(name.strip_suffix(".notification"))) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    for (code, why) in document["channels"]["socket"]["x-closeCodes"].as_object().expect("codes") {
        assert!(page.contains(&format!("| {code} | ")), "{code}: {why}");
    }
    for number in ["-32700", "-32600", "-32601", "-32602", "-32000"] {
        assert!(page.contains(number), "{number}");
    }
}
