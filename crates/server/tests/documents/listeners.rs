//! A real connection of a listener, and every way in which it can be refused, held to both documents.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::requests::{UPGRADE, operations};
use crate::schema::Schemas;
use crate::support::http::Reply;
use crate::support::server::MANAGEMENT;
use crate::support::*;
use chathook_server::limits::Limits;
use chathook_server::reference::{asyncapi, openapi};

/// A receiver that speaks the connection's own words.
struct Listener {
    socket: WebSocketStream<TcpStream>,
}

impl Listener {
    async fn open(server: &TestServer, app: &App, query: &str) -> Self {
        let url = format!("ws://{}/apps/{}/listen?{query}", server.address, app.id);
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in MANAGEMENT {
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let tcp = TcpStream::connect(server.address).await.expect("the server listens");
        let (socket, _) = client_async(request, tcp).await.expect("it opens");
        Self { socket }
    }

    async fn next(&mut self) -> Message {
        loop {
            let message = in_time("the next message", self.socket.next()).await;
            match message.expect("the connection is open").expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    async fn words(&mut self) -> Value {
        let message = self.next().await;
        serde_json::from_str(message.to_text().expect("a text message")).expect("JSON")
    }

    /// The head and the body of the next request.
    async fn request(&mut self) -> (Value, Value) {
        let Message::Binary(bytes) = self.next().await else { panic!("a request is binary") };
        let end = bytes.iter().position(|byte| *byte == b'\n').expect("a line");
        let read = |part: &[u8]| serde_json::from_slice(part).expect("JSON");
        (read(&bytes[..end]), read(&bytes[end + 1..]))
    }

    async fn answer(&mut self, head: &Value, body: &str) {
        let message = Message::binary(format!("{head}\n{body}").into_bytes());
        self.socket.send(message).await.expect("it is taken");
    }
}

fn is_as_described(schemas: &Schemas<'_>, message: &str, part: &str, value: &Value) {
    let said = &schemas.document["components"]["messages"][message][part];
    assert!(said.is_object(), "the {part} of '{message}' are not described");
    assert_eq!(schemas.complaints(said, value), Vec::<String>::new(), "{message}: {value}");
}

#[tokio::test]
async fn a_listeners_connection_goes_as_the_document_says() {
    let document = asyncapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let app = server.app().await;
    let query = "name=desk&triggers=before_message&triggers=after_message";
    let mut desk = Listener::open(&server, &app, query).await;
    let welcome = desk.words().await;
    is_as_described(&schemas, "listener.welcome", "payload", &welcome);
    assert!(welcome["signingSecret"].is_string());
    let sending = {
        let app = app.clone();
        tokio::spawn(async move { app.send_as("ana", text_to("ben", "lunch?")).await })
    };
    let answers = [json!({"status": 200, "isCut": false}), json!({"failed": "timeout", "detail": "asleep"})];
    for (trigger, mut answer) in ["before_message", "after_message"].into_iter().zip(answers) {
        let (head, body) = desk.request().await;
        is_as_described(&schemas, "listener.request", "headers", &head);
        is_as_described(&schemas, &format!("{trigger}.webhook"), "payload", &body);
        answer["id"] = head["id"].clone();
        is_as_described(&schemas, "listener.answer", "headers", &answer);
        desk.answer(&answer, "{}").await;
    }
    sending.await.expect("it is sent").data();
    let path = format!("/apps/{}/webhooks/listen-desk/deliveries/1", app.id);
    until("the failure is told", async || {
        server.manage("GET", &path, Value::Null).await.data()["lastOutcome"] == "timeout"
    })
    .await;
    for (word, is_last) in [("again", false), ("goodbye", true)] {
        let said = json!({"say": word});
        is_as_described(&schemas, "listener.say", "payload", &said);
        desk.socket.send(Message::text(said.to_string())).await.expect("it is taken");
        if !is_last {
            let (head, _) = desk.request().await;
            assert!(
                head["headers"].as_array().is_some_and(|all| all.contains(&json!(["chathook-attempt", "2"])))
            );
        }
    }
    let Message::Close(Some(frame)) = desk.next().await else { panic!("it is closed") };
    let codes = &document["channels"]["listener"]["x-closeCodes"];
    assert_eq!(codes[u16::from(frame.code).to_string()], frame.reason.as_str());
    // The webhook is there again, and its secret is not shown again.
    let welcome = Listener::open(&server, &app, &format!("{query}&keep=true")).await.words().await;
    is_as_described(&schemas, "listener.welcome", "payload", &welcome);
}

#[test]
fn the_page_of_listeners_names_every_field_word_and_close_code() {
    let page = include_str!("../../../../docs/listen.md");
    let document = asyncapi::document();
    let schemas = &document["components"]["schemas"];
    for name in ["ListenerWelcome", "ListenerRequest", "ListenerAnswer"] {
        for field in schemas[name]["properties"].as_object().expect("fields").keys() {
            assert!(page.contains(&format!("`{field}`")), "{name}.{field}");
        }
    }
    for word in schemas["ListenerWord"]["enum"].as_array().expect("words") {
        assert!(page.contains(&format!("{{\"say\":{word}}}")), "{word}");
    }
    for code in document["channels"]["listener"]["x-closeCodes"].as_object().expect("codes").keys() {
        assert!(page.contains(&format!(" {code} ")), "{code}");
    }
}

/// Asks for the upgrade with these headers beside those of the management.
async fn ask(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> Reply {
    let all: Vec<(&str, &str)> = MANAGEMENT.iter().chain(headers).copied().collect();
    server.raw("GET", path, &all, Vec::new()).await
}

#[tokio::test]
async fn every_refusal_of_a_listener_is_in_the_document_and_takes_nobodys_place() {
    let document = openapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let all = operations(&document);
    let operation = all.iter().find(|operation| operation.id == "open_listener").expect("it is described");
    let (app, endpoint) = (server.app().await, Endpoint::start().await);
    server.webhook(&app, "listen-taken", &endpoint, &["after_message"], Value::Null).await;
    let mut desk = Listener::open(&server, &app, "name=desk&triggers=after_message").await;
    desk.words().await;
    let path = format!("/apps/{}/listen", app.id);
    let half = [&UPGRADE[..], &[("webhook-username", "hook")]].concat();
    let old = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "8")];
    let refused = |query: &str| format!("{path}?name=desk&{query}");
    for (path, headers, status, code, field) in [
        (refused(""), &half[..], 400, "ERR_BAD_REQUEST", Some("password")),
        (refused("keep=maybe"), &UPGRADE, 400, "ERR_BAD_REQUEST", Some("keep")),
        (refused("triggers=lunch"), &UPGRADE, 404, "ERR_TRIGGER_NOT_FOUND", Some("triggers")),
        (format!("{path}?name=a%20b"), &UPGRADE, 400, "ERR_BAD_REQUEST", Some("name")),
        (format!("{path}?name=taken"), &UPGRADE, 400, "ERR_WEBHOOK_ALREADY_EXISTS", Some("name")),
        ("/apps/nowhere/listen".to_owned(), &UPGRADE, 404, "ERR_APP_NOT_FOUND", None),
        (refused(""), &old, 400, "ERR_BAD_REQUEST", None),
    ] {
        let reply = ask(&server, &path, headers).await;
        match field {
            Some(field) => reply.refused_for(status, code, field),
            None => drop(reply.refused(status, code)),
        }
        assert_eq!(operation.complaints(&schemas, &reply), Vec::<String>::new(), "{path}");
        let is_no_upgrade = headers.iter().any(|(_, value)| *value == "8");
        assert_eq!(reply.headers.contains_key("sec-websocket-version"), is_no_upgrade, "{path}");
    }
    // The first one listens on.
    app.send_as("ana", text_to("ben", "still there?")).await.data();
    assert_eq!(desk.request().await.1["data"]["data"]["text"], "still there?");
    for number in 2..25 {
        server.webhook(&app, &format!("w{number}"), &endpoint, &["after_message"], Value::Null).await;
    }
    let reply = ask(&server, &path, &UPGRADE).await;
    reply.refused(400, "ERR_PLAN_QUOTA_RESTRICTION");
    assert_eq!(operation.complaints(&schemas, &reply), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_without_a_place_for_a_listener_says_so_as_documented() {
    let document = openapi::document();
    let schemas = Schemas::of(&document);
    let server = TestServer::within(Limits { listeners: 0, ..Limits::here() }).await;
    let app = server.app().await;
    let reply = ask(&server, &format!("/apps/{}/listen", app.id), &UPGRADE).await;
    reply.refused(503, "ERR_TOO_MANY_REQUESTS");
    assert!(reply.headers.contains_key("retry-after"));
    let all = operations(&document);
    let operation = all.iter().find(|operation| operation.id == "open_listener").expect("it is described");
    assert_eq!(operation.complaints(&schemas, &reply), Vec::<String>::new());
}
