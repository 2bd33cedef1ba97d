//! `chathook listen`: a server on a laptop hears what any endpoint would hear, and answers.

use std::path::PathBuf;

use chathook_engine::upkeep::Upkeep;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::command::Going;
use crate::support::endpoint::ca;
use crate::support::server::MANAGEMENT;
use crate::support::*;

/// A server with an app, and a person at a laptop.
pub struct Desk {
    pub server: TestServer,
    pub app: App,
    /// What runs on the laptop.
    pub local: Endpoint,
    pub shell: Shell,
    ca: PathBuf,
}

impl Desk {
    pub async fn new() -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let shell = Shell::at(&server).with("CHATHOOK_WEBHOOK_PASSWORD", "s3cret");
        let ca_file = shell.home().join("ca.pem");
        std::fs::write(&ca_file, ca().to_pem()).expect("written");
        Self { server, app, local: Endpoint::start().await, shell, ca: ca_file }
    }

    /// Runs the command until it is connected; answers with what it said then.
    pub async fn listen(&self, more: &[&str]) -> (Going, Value) {
        self.listen_to(&self.local.url(), more).await
    }

    pub async fn listen_to(&self, url: &str, more: &[&str]) -> (Going, Value) {
        let mut going = self.start(url, more);
        let connected = said(&mut going).await;
        assert_eq!(connected["type"], "connected", "{connected}");
        (going, connected)
    }

    pub fn start(&self, url: &str, more: &[&str]) -> Going {
        let ca = self.ca.to_str().expect("a path in ASCII");
        self.shell.start(&[&["listen", "--json", "--ca", ca, "--forward", url], more].concat())
    }

    pub async fn send(&self, to: &str, text: &str) {
        self.app.send_as("ana", text_to(to, text)).await.data();
    }

    pub async fn webhooks(&self) -> Vec<Value> {
        let list = self.server.manage("GET", &format!("/apps/{}/webhooks", self.app.id), Value::Null).await;
        list.data().as_array().expect("a list").clone()
    }

    /// Returns when the server knows that nobody listens to this webhook.
    pub async fn until_absent(&self, id: &str) {
        until("the server sees that the connection is gone", async || {
            self.webhooks()
                .await
                .iter()
                .any(|webhook| webhook["id"] == id && webhook["listener"]["connected"] == json!(false))
        })
        .await;
    }
}

/// The next line of a command that prints JSON lines.
pub async fn said(going: &mut Going) -> Value {
    serde_json::from_str(&going.line().await).expect("a line of JSON")
}

#[tokio::test]
async fn events_arrive_at_a_local_server_as_at_any_endpoint() {
    let desk = Desk::new().await;
    let (mut going, connected) = desk.listen(&["--username", "hook"]).await;
    let secret = connected["signingSecret"].as_str().expect("shown when it is made");
    assert_eq!(connected["triggers"].as_array().map(Vec::len), Some(5));
    desk.send("ben", "lunch?").await;
    let asked = desk.local.next().await;
    assert_eq!(asked.trigger(), "before_message");
    let told = desk.local.next().await;
    assert_eq!((told.trigger(), told.text()), ("after_message", "lunch?"));
    assert_eq!(told.json["webhook"], connected["webhook"]);
    // `hook:s3cret`.
    assert_eq!(told.header("authorization"), "Basic aG9vazpzM2NyZXQ=");
    assert_eq!((told.header("content-type"), told.path.as_str()), ("application/json", "/hook"));
    assert_eq!((told.number("chathook-sequence"), told.number("chathook-attempt")), (1, 1));
    assert_eq!(told.header("chathook-key"), "ana_user_ben");
    for request in [&asked, &told] {
        let reference = standardwebhooks::Webhook::new(secret).expect("a usable secret");
        let at = request.number("webhook-timestamp");
        let theirs = reference.sign(request.header("webhook-id"), at, &request.bytes).expect("signed");
        assert_eq!(request.header("webhook-signature"), theirs);
    }
    assert_eq!(said(&mut going).await["trigger"], "before_message");
    let line = said(&mut going).await;
    let shown = ["type", "trigger", "key", "sequence", "attempt", "status"].map(|name| line[name].clone());
    let expected =
        [json!("request"), json!("after_message"), json!("ana_user_ben"), json!(1), json!(1), json!(200)];
    assert_eq!(shown, expected);
    assert_eq!(line["webhookId"], told.header("webhook-id"));
}

#[tokio::test]
async fn the_verdict_of_a_local_server_stops_and_changes_messages() {
    let desk = Desk::new().await;
    let (_going, _) = desk.listen(&["--trigger", "before_message"]).await;
    desk.local.answer([Answer::json(&json!({"action": "do_not_propagate", "reason": "not here"}))]);
    let stopped = desk.app.send_as("ana", text_to("ben", "spam")).await;
    stopped.refused(403, "ERR_BLOCKED_BY_WEBHOOK");
    assert_eq!(stopped.json["error"]["message"], "not here");
    desk.local.answer([Answer::json(&json!({"action": "replace", "data": {"text": "f***"}}))]);
    let changed = desk.app.send_as("ana", text_to("ben", "fish")).await;
    assert_eq!(changed.data()["data"]["text"], "f***");
}

#[tokio::test]
async fn the_silence_of_a_local_server_is_carried_back_with_its_cause() {
    let desk = Desk::new().await;
    let (mut going, connected) = desk.listen(&["--trigger", "before_message"]).await;
    let webhook = connected["webhook"].as_str().expect("an id");
    desk.local.answer([Answer::status(500), Answer::redirect("https://127.0.0.1:9/")]);
    for text in ["one", "two"] {
        desk.send("ben", text).await;
        assert_eq!(said(&mut going).await["trigger"], "before_message");
    }
    desk.local.shut().await;
    desk.send("ben", "three").await;
    assert_eq!(said(&mut going).await["failure"], "not_connected");
    desk.server.asked(3).await;
    let calls = desk.shell.run(&["webhooks", "calls", webhook, "--verdict", "silent", "--json"]).await.json();
    let causes: Vec<&Value> = calls.as_array().expect("a list").iter().map(|call| &call["silence"]).collect();
    assert_eq!(causes, ["not_connected", "status_302", "status_500"]);
    assert_eq!(desk.app.texts("ana", "ben").await, ["one", "two", "three"], "a silence lets messages pass");
}

#[tokio::test]
async fn an_answer_of_410_switches_the_webhook_off_and_ends_the_command() {
    let desk = Desk::new().await;
    let (mut going, _) = desk.listen(&["--trigger", "after_message"]).await;
    desk.local.answer([Answer::status(410)]);
    desk.send("ben", "hello").await;
    assert_eq!(said(&mut going).await["status"], 410);
    until("it is switched off", async || !desk.webhooks().await[0]["switchedOff"].is_null()).await;
    desk.server.advance(26);
    assert_eq!(going.ended().await, 1);
    let remarks = going.remarks().await;
    assert!(remarks.contains("ended the connection"), "{remarks}");
}

#[tokio::test]
async fn what_a_server_says_at_the_end_cannot_move_a_terminal() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let closes = async {
        for code in [1001, 4004] {
            let (tcp, _) = listener.accept().await.expect("a connection");
            let mut socket = tokio_tungstenite::accept_async(tcp).await.expect("a WebSocket");
            let welcome = json!({"webhook": "w", "name": "w", "resumed": true, "triggers": []});
            socket.send(Message::text(welcome.to_string())).await.expect("heard");
            let frame = CloseFrame { code: CloseCode::from(code), reason: "gone\u{1b}[2J".into() };
            socket.close(Some(frame)).await.expect("closed");
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let shell = Shell::bare().with("CHATHOOK_PROFILE", "dev");
    let server = format!("http://{address}");
    let arguments = ["listen", "--forward", "http://127.0.0.1:9/", "--server", &server, "--json"];
    let (ran, ()) = tokio::join!(shell.run(&arguments), closes);
    assert_eq!((ran.code, ran.err.matches("gone\\u{1b}[2J").count()), (1, 2), "{ran:?}");
}

#[tokio::test]
async fn a_local_server_that_is_down_hears_all_as_soon_as_it_is_up() {
    let mut desk = Desk::new().await;
    let url = desk.local.url();
    let port = url.split(':').nth(2).and_then(|rest| rest.split('/').next()).expect("a port");
    let port: u16 = port.parse().expect("a number");
    desk.local.shut().await;
    let (mut going, _) = desk.listen_to(&url, &["--trigger", "after_message"]).await;
    for text in ["one", "two", "three"] {
        desk.send("ben", text).await;
    }
    let failed = said(&mut going).await;
    assert_eq!((&failed["failure"], &failed["sequence"]), (&json!("not_connected"), &json!(1)));
    // The clock of the server stands still: nothing is tried again by its schedule.
    desk.local = Endpoint::start_at(port).await;
    for (text, attempt) in [("one", 2), ("two", 1), ("three", 1)] {
        let told = desk.local.next().await;
        assert_eq!((told.text(), told.number("chathook-attempt")), (text, attempt));
    }
}

#[tokio::test]
async fn two_listeners_hear_all_and_a_second_of_one_name_takes_the_place_of_the_first() {
    let desk = Desk::new().await;
    let other = Endpoint::start().await;
    let (_first, _) = desk.listen(&["--trigger", "after_message"]).await;
    let (mut second, _) = desk.listen_to(&other.url(), &["--trigger", "after_message", "--name", "b"]).await;
    desk.send("ben", "hello").await;
    assert_eq!((desk.local.next().await.text(), other.next().await.text()), ("hello", "hello"));
    assert_eq!(said(&mut second).await["sequence"], 1);
    let third = Endpoint::start().await;
    let (_third, again) = desk.listen_to(&third.url(), &["--trigger", "after_message", "--name", "b"]).await;
    assert_eq!((&again["resumed"], again.get("signingSecret")), (&json!(true), None));
    assert_eq!(second.ended().await, 1);
    desk.send("ben", "again").await;
    assert_eq!((desk.local.next().await.text(), third.next().await.text()), ("again", "again"));
    assert!(other.take_all().is_empty());
}

#[tokio::test]
async fn a_goodbye_removes_the_webhook_unless_it_has_a_name() {
    let desk = Desk::new().await;
    let (mut passing, connected) = desk.listen(&[]).await;
    let (mut kept, _) = desk.listen(&["--name", "laptop", "--trigger", "after_message"]).await;
    let listed = desk.webhooks().await;
    assert_eq!(listed[0]["id"], connected["webhook"]);
    assert_eq!(listed[0]["listener"], json!({"connected": true, "kept": false}));
    assert_eq!(listed[1]["listener"], json!({"connected": true, "kept": true}));
    passing.signal("-INT");
    kept.terminate();
    assert_eq!((passing.ended().await, kept.ended().await), (0, 0));
    desk.until_absent("listen-laptop").await;
    let ids: Vec<Value> = desk.webhooks().await.iter().map(|webhook| webhook["id"].clone()).collect();
    assert_eq!(ids, [json!("listen-laptop")]);
    // What happens meanwhile waits for the next time.
    for text in ["one", "two"] {
        desk.send("ben", text).await;
    }
    desk.server.settled().await;
    let (_going, again) = desk.listen(&["--name", "laptop", "--trigger", "after_message"]).await;
    assert_eq!(again["resumed"], true);
    assert_eq!([desk.local.next().await.text(), desk.local.next().await.text()], ["one", "two"]);
}

#[tokio::test]
async fn a_nameless_listener_that_is_gone_for_an_hour_is_removed_also_after_a_restart() {
    let mut desk = Desk::new().await;
    let (passing, connected) = desk.listen(&[]).await;
    let (kept, _) = desk.listen(&["--name", "kept"]).await;
    drop((passing, kept));
    let id = connected["webhook"].as_str().expect("an id").to_owned();
    desk.until_absent(&id).await;
    desk.until_absent("listen-kept").await;
    desk.server.restart().await;
    let mut upkeep = Upkeep::new(desk.server.engine().clone());
    let mut ids_after = async |minutes: i64| {
        desk.server.advance(minutes * 60);
        while upkeep.tick().await.expect("the store works") {}
        desk.webhooks().await.iter().map(|webhook| webhook["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids_after(0).await, [json!(id), json!("listen-kept")]);
    assert_eq!(ids_after(59).await, [json!(id), json!("listen-kept")]);
    assert_eq!(ids_after(2).await, [json!("listen-kept")]);
}

#[tokio::test]
async fn a_script_is_told_why_there_is_no_listening() {
    let desk = Desk::new().await;
    let url = desk.local.url();
    for (arguments, code) in [
        (vec!["listen"], 2),
        (vec!["listen", "--forward", "localhost:3000"], 2),
        (vec!["listen", "--forward", &url, "--trigger", "lunch"], 2),
        (vec!["listen", "--forward", &url, "--name", "no name"], 7),
        (vec!["listen", "--forward", &url, "--app", "nowhere"], 4),
        (vec!["listen", "--forward", &url, "--server", "http://127.0.0.1:9"], 3),
    ] {
        desk.shell.run(&arguments).await.refused(code);
    }
    desk.server.webhook(&desk.app, "listen-taken", &desk.local, &["after_message"], Value::Null).await;
    let told = desk.shell.run(&["listen", "--forward", &url, "--name", "taken"]).await;
    assert!(told.refused(6).contains("no listener"), "{}", told.err);
    let stranger = Shell::at(&desk.server).with("CHATHOOK_MANAGEMENT_SECRET", "guessed");
    stranger.run(&["listen", "--forward", &url, "--app", &desk.app.id]).await.refused(5);
}

#[tokio::test]
async fn a_webhook_that_is_removed_while_somebody_listens_ends_the_command() {
    let desk = Desk::new().await;
    let (mut going, connected) = desk.listen(&["--trigger", "after_message"]).await;
    let path = format!("/apps/{}/webhooks/{}", desk.app.id, connected["webhook"].as_str().expect("an id"));
    desk.server.manage("DELETE", &path, Value::Null).await.data();
    desk.server.advance(26);
    assert_eq!(going.ended().await, 1);
}

#[tokio::test]
async fn where_a_connection_takes_the_place_of_a_url_it_is_called_so() {
    let desk = Desk::new().await;
    let (_going, connected) = desk.listen(&["--trigger", "after_message"]).await;
    let id = connected["webhook"].as_str().expect("an id");
    for ask in [vec!["webhooks", "list"], vec!["webhooks", "show", id]] {
        let told = desk.shell.run(&ask).await;
        assert!(told.done().contains("chathook listen") && !told.out.contains(".invalid"), "{}", told.out);
    }
    let mut browser = Browser::logged_in(&desk.server).await;
    let all = format!("/apps/{}/webhooks", desk.app.id);
    let of = |below: &str| format!("{all}/{id}{below}");
    for path in [all.clone(), of(""), of("/health")] {
        let page = browser.page(&path).await;
        assert!(page.contains("chathook listen") && !page.contains(".invalid"), "{path}: {page}");
    }
    let edit = browser.page(&of("/edit")).await;
    assert!(!edit.contains("webhookURL") && !edit.contains(".invalid"), "{edit}");
    let url = desk.webhooks().await[0]["webhookURL"].clone();
    let fields = [
        ("name", "Laptop"),
        ("onFailure", "propagate"),
        ("timeoutMs", "9000"),
        ("patienceSeconds", "60"),
        ("triggerIds", "after_message"),
    ];
    browser.follow(&of("/edit"), &fields).await;
    let changed = desk.webhooks().await.remove(0);
    assert_eq!((&changed["name"], &changed["webhookURL"]), (&json!("Laptop"), &url));
}

#[tokio::test]
async fn no_other_webhook_is_pointed_at_somebodys_listener() {
    let desk = Desk::new().await;
    let (_going, connected) = desk.listen(&[]).await;
    let listed = desk.webhooks().await;
    let stolen = listed[0]["webhookURL"].as_str().expect("a URL").to_owned();
    let of = |path: &str| format!("/apps/{}/webhooks{path}", desk.app.id);
    let body = json!({"id": "thief", "name": "Thief", "webhookURL": stolen});
    desk.server.manage("POST", &of(""), body).await.refused_for(400, "ERR_BAD_REQUEST", "webhookURL");
    desk.server.webhook(&desk.app, "plain", &desk.local, &["after_message"], Value::Null).await;
    let body = json!({"webhookURL": stolen});
    desk.server.manage("PUT", &of("/plain"), body).await.refused_for(400, "ERR_BAD_REQUEST", "webhookURL");
    // Its own settings can be changed, as those of any webhook.
    let own = of(&format!("/{}", connected["webhook"].as_str().expect("an id")));
    let body = json!({"webhookURL": stolen, "timeoutMs": 5_000});
    assert_eq!(desk.server.manage("PUT", &own, body).await.data()["timeoutMs"], 5_000);
}

#[tokio::test]
async fn a_receiver_that_talks_nonsense_is_shown_out_and_hurts_nobody() {
    let desk = Desk::new().await;
    let nonsense = [
        Message::text("{\"say\":\"open sesame\"}"),
        Message::binary(b"no line of JSON".to_vec()),
        Message::binary(b"{\"id\":1,\"status\":99999}\n".to_vec()),
        Message::binary(vec![b' '; 2 * 1024 * 1024]),
    ];
    for message in nonsense {
        let url = format!("ws://{}/apps/{}/listen?name=x", desk.server.address, desk.app.id);
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in MANAGEMENT {
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let tcp = TcpStream::connect(desk.server.address).await.expect("the server listens");
        let (mut socket, _) = tokio_tungstenite::client_async(request, tcp).await.expect("it opens");
        // What was sent beyond the bound may break the connection before its close is read.
        let _ = socket.send(message).await;
        let ended = async {
            while let Some(Ok(message)) = socket.next().await {
                assert!(!message.is_binary(), "nothing is sent to it");
            }
        };
        in_time("the connection ends", ended).await;
        desk.until_absent("listen-x").await;
    }
    let (_going, _) = desk.listen(&["--trigger", "after_message"]).await;
    desk.send("ben", "hello").await;
    assert_eq!(desk.local.next().await.text(), "hello");
}
