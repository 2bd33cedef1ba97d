//! The socket from outside, over a real store and bus.

#[path = "support/socket_client.rs"]
mod socket_client;

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Waker};

use chathook_adapters::endpoints::{HttpEndpoints, HttpEndpointsConfig};
use chathook_adapters::local_bus::LocalBus;
use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::system::{RealClock, RealDice};
use chathook_adapters::vault::Vault;
use chathook_domain::address::OpenNetworks;
use chathook_domain::app::AppDraft;
use chathook_domain::event::Origin;
use chathook_domain::ids::{AppId, Time, Uid};
use chathook_domain::message::Draft;
use chathook_domain::user::AuthToken;
use chathook_engine::caller::Caller;
use chathook_engine::engine::{EndpointRules, Engine, Ports};
use chathook_engine::lines::Lines;
use chathook_server::socket::{Sockets, router};
use serde_json::{Value, json};
use socket_client::SocketClient;
use tokio::sync::watch;

struct Server {
    authority: String,
    app: AppId,
    stop: watch::Sender<bool>,
    engine: Arc<Engine>,
    _dir: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let lines = Arc::new(Lines::default());
        let vault = Vault::from_env_or_file(None, dir.path()).expect("a vault");
        let store =
            Sqlite::open(dir.path(), Arc::new(vault), lines.clone(), Options::default()).expect("a store");
        let open_networks = OpenNetworks::parse(Vec::<String>::new()).expect("none");
        let config = HttpEndpointsConfig {
            open_networks,
            allow_http: true,
            extra_roots: Vec::new(),
            use_system_roots: false,
            idle_connections_max: 64,
        };
        let bus = Arc::new(LocalBus::default());
        let ports = Ports {
            store: Arc::new(store),
            clock: Arc::new(RealClock::new()),
            dice: Arc::new(RealDice),
            endpoints: Arc::new(HttpEndpoints::new(config).expect("endpoints")),
            bus: bus.clone(),
            dispatch: lines,
        };
        let rules = EndpointRules { allow_http: true, judge_literal: Arc::new(|_: &IpAddr| Ok(())) };
        let engine = Arc::new(Engine::new(ports, rules, 64));
        engine.begin().await.expect("a start");
        let draft = AppDraft { name: "t".into(), region: "eu".into(), with_sample_data: true };
        let (app, _) = engine.create_app(draft).await.expect("an app");
        for uid in ["ana", "ben"] {
            let token = AuthToken {
                token: format!("{uid}-token"),
                uid: Uid::trusted(uid),
                created_at: Time::from_ms(0),
            };
            engine.add_token(&app.id, token).await.expect("a token");
        }
        let (stop, shutdown) = watch::channel(false);
        let router = router(Arc::new(Sockets { engine: engine.clone(), bus, shutdown }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { authority, app: app.id, stop, engine, _dir: dir }
    }

    fn login(&self, uid: &str) -> Value {
        json!({"appId": self.app.as_str(), "authToken": format!("{uid}-token"), "deviceId": format!("{uid}-phone")})
    }

    async fn enter(&self, uid: &str) -> (SocketClient, Value) {
        SocketClient::logged_in(&self.authority, self.login(uid)).await
    }
}

fn hello(text: &str) -> Value {
    json!({"receiver": "ben", "receiverType": "user", "type": "text", "data": {"text": text}})
}

#[tokio::test]
async fn messages_reach_the_other_live_and_by_cursor_after_a_gap() {
    let server = Server::start().await;
    let (mut ana, _) = server.enter("ana").await;
    let (mut ben, login) = server.enter("ben").await;
    let sent = ana.call("sendMessage", hello("one")).await.expect("sent");
    let told = ben.notification().await;
    assert_eq!(told["method"], "message");
    assert_eq!(told["params"]["id"], sent["id"]);
    let read = ben.call("markRead", json!({"messageId": sent["id"]})).await.expect("marked");
    assert!(read["readAt"].is_i64(), "{read}");
    assert_eq!(ana.notification().await["params"]["receiptType"], "delivered");
    assert_eq!(ana.notification().await["params"]["receiptType"], "read");
    ana.call("editMessage", json!({"messageId": sent["id"], "data": {"text": "two"}})).await.expect("edited");
    assert_eq!(ben.notification().await["method"], "messageEdited");
    let page =
        ben.call("fetchMessages", json!({"receiver": "ana", "receiverType": "user"})).await.expect("a page");
    assert_eq!(page["messages"][0]["data"]["text"], "two");
    drop(ben);
    ana.call("sendMessage", hello("three")).await.expect("sent");
    let mut again = server.login("ben");
    again["after"] = login["cursor"].clone();
    let (mut ben, login) = SocketClient::logged_in(&server.authority, again).await;
    assert!(login.get("truncated").is_none());
    let mut methods = Vec::new();
    for _ in 0..3 {
        let told = ben.notification().await;
        methods.push(told["method"].as_str().expect("a method").to_owned());
    }
    assert_eq!(methods, ["message", "receipt", "receipt"]);
}

#[tokio::test]
async fn pipelined_messages_keep_their_order() {
    let server = Server::start().await;
    let (mut ana, _) = server.enter("ana").await;
    let (mut ben, _) = server.enter("ben").await;
    for i in 0..100 {
        ana.begin("sendMessage", hello(&i.to_string())).await;
    }
    for i in 0..100 {
        assert_eq!(ben.notification().await["params"]["data"]["text"], i.to_string());
    }
}

#[tokio::test]
async fn sockets_are_told_in_the_order_of_the_commits_whichever_caller_comes_back_first() {
    let server = Server::start().await;
    let (mut ben, _) = server.enter("ben").await;
    let app = server.engine.app(&server.app).await.expect("the app");
    let ana = Caller { app, uid: Uid::trusted("ana"), origin: Origin::Rest, session: None };
    let send = |text: &str| {
        let draft = Draft::parse(&hello(text)).expect("a draft");
        Box::pin(server.engine.send_message(&ana, draft))
    };
    // From now on all that a message reads is in memory, so that one look at it brings it to its commit.
    send("warm").await.expect("sent");
    let (mut first, mut second) = (send("first"), send("second"));
    let mut look = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut look).is_pending() && second.as_mut().poll(&mut look).is_pending());
    second.await.expect("sent");
    first.await.expect("sent");
    for text in ["warm", "first", "second"] {
        assert_eq!(ben.notification().await["params"]["data"]["text"], text);
    }
}

#[tokio::test]
async fn the_same_muid_sent_again_and_again_on_one_socket_is_one_message() {
    let server = Server::start().await;
    let (mut ana, _) = server.enter("ana").await;
    for round in 0..20 {
        let mut twice = hello("once");
        twice["muid"] = json!(format!("m{round}"));
        ana.begin("sendMessage", twice.clone()).await;
        let again = ana.call("sendMessage", twice.clone());
        let again = tokio::time::timeout(std::time::Duration::from_secs(20), again).await;
        again.expect("neither waits for the other for ever").expect("sent");
    }
    let page =
        ana.call("fetchMessages", json!({"receiver": "ben", "receiverType": "user"})).await.expect("a page");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(20));
}

#[tokio::test]
async fn sockets_end_with_their_codes() {
    let server = Server::start().await;
    let (mut ana, _) = server.enter("ana").await;
    let states = ana.call("subscribePresence", json!({"uids": ["ben"]})).await.expect("states");
    assert_eq!(states["ben"], "offline");
    let (mut first, _) = server.enter("ben").await;
    assert_eq!(ana.notification().await["params"]["status"], "online");
    let (mut second, _) = server.enter("ben").await;
    assert_eq!(first.close_code().await, Some(4003));
    assert_eq!(second.call("logout", json!({})).await, Ok(json!({})));
    assert_eq!(second.close_code().await, Some(1000));
    assert_eq!(ana.notification().await["params"]["status"], "offline");
    for _ in 0..11 {
        ana.send_text("[]").await;
    }
    assert_eq!(ana.close_code().await, Some(4009));
    let mut late = SocketClient::connect(&server.authority).await;
    assert_eq!(
        late.call("ping", json!({})).await.expect_err("refused")["data"]["code"],
        "ERR_WS_NOT_LOGGED_IN"
    );
    let (mut ana, _) = server.enter("ana").await;
    assert_eq!(ana.call("nothing", json!({})).await.expect_err("refused")["code"], -32_601);
    ana.send_text(&format!("\"{}\"", "x".repeat(1 << 20))).await;
    assert_eq!(ana.close_code().await, Some(1009));
    let (mut ana, _) = server.enter("ana").await;
    server.stop.send(true).expect("heard");
    assert_eq!(ana.close_code().await, Some(1001));
    drop(late);
    let online = server.engine.presence_of(&server.app, &[Uid::trusted("ana")]).await.expect("states");
    // A stop is no log-out: who comes back within the grace of the next start does not flicker.
    assert_eq!(online, [Uid::trusted("ana")]);
}

#[tokio::test]
async fn a_reader_who_is_too_slow_loses_the_socket_and_no_message() {
    let server = Server::start().await;
    let (mut ana, _) = server.enter("ana").await;
    let (mut ben, _) = server.enter("ben").await;
    let text = "x".repeat(60_000);
    // More than the kernel and the queue hold, and in time for the server's goodbye.
    for _ in 0..6 {
        for _ in 0..25 {
            ana.begin("sendMessage", hello(&text)).await;
        }
        for _ in 0..25 {
            assert!(ana.notification().await["result"].is_object(), "sent");
        }
    }
    assert_eq!(ben.close_code().await, Some(4008));
    let asked = json!({"receiver": "ana", "receiverType": "user", "limit": 100});
    let (mut ben, _) = server.enter("ben").await;
    let page = ben.call("fetchMessages", asked).await.expect("a page");
    let count = page["messages"].as_array().expect("a list").len();
    assert!(
        (10..100).contains(&count) && page["cursor"].is_string(),
        "{count}: cut to what an answer may hold"
    );
}
