//! A whole server in this process, on a free port and a data directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chathook_adapters::sqlite::Options;
use chathook_adapters::system::{ManualClock, RealDice};
use chathook_domain::address::OpenNetworks;
use chathook_domain::ids::Time;
use chathook_engine::engine::Engine;
use chathook_engine::ports::clock::Dice;
use chathook_server::api::ManagementCredentials;
use chathook_server::app::{Parts, Running, build};
use chathook_server::limits::Limits;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::endpoint::{Endpoint, acceptor, ca};
use super::http::{self, Reply};
use super::{in_time, until};

/// The wall time at which every test begins.
pub const NOW_MS: i64 = 1_760_000_000_000;
pub const NOW_S: i64 = NOW_MS / 1_000;

pub const MANAGEMENT: [(&str, &str); 2] = [("key", "mk_test"), ("secret", "ms_test")];

/// Ids are as random as ever; jitter never adds.
struct NoJitter;

impl Dice for NoJitter {
    fn roll(&self) -> f64 {
        0.0
    }

    fn bits(&self) -> u128 {
        RealDice.bits()
    }
}

pub struct TestServer {
    running: Option<Running>,
    pub address: SocketAddr,
    /// The door of management alone, where there is one.
    pub admin_address: Option<SocketAddr>,
    pub clock: ManualClock,
    limits: Limits,
    dir: TempDir,
}

/// A line of the log of `before_message` calls, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedLine {
    pub webhook: String,
    pub event: String,
    pub verdict: String,
    pub silence: Option<String>,
    pub took_us: i64,
}

/// An app with its sample users and keys.
#[derive(Debug, Clone)]
pub struct App {
    pub id: String,
    pub key: String,
    pub auth_key: String,
    address: SocketAddr,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::within(Limits::here()).await
    }

    pub async fn within(limits: Limits) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = ManualClock::at(Time::from_ms(NOW_MS));
        let running = run(dir.path().to_owned(), clock.clone(), limits).await;
        Self { address: running.address, admin_address: None, running: Some(running), clock, limits, dir }
    }

    /// A server that takes management calls at a door of their own.
    pub async fn with_admin_door() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = ManualClock::at(Time::from_ms(NOW_MS));
        let limits = Limits::here();
        let mut parts = parts(dir.path().to_owned(), clock.clone(), limits);
        parts.admin_listen = Some(parts.listen);
        let running = build(parts).await.expect("it starts").open(|router| router).await.expect("free ports");
        let (address, admin_address) = (running.address, running.admin_address);
        Self { address, admin_address, running: Some(running), clock, limits, dir }
    }

    /// A server whose door speaks TLS; [`http::send_over_tls`] calls it.
    pub async fn with_tls() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = ManualClock::at(Time::from_ms(NOW_MS));
        let limits = Limits::here();
        let parts = Parts { tls: Some(acceptor()), ..parts(dir.path().to_owned(), clock.clone(), limits) };
        let running =
            build(parts).await.expect("it starts").open(|router| router).await.expect("a free port");
        Self { address: running.address, admin_address: None, running: Some(running), clock, limits, dir }
    }

    /// Stops the server and starts another on the same data directory; its address is another.
    pub async fn restart(&mut self) {
        self.stop().await;
        let running = run(self.dir.path().to_owned(), self.clock.clone(), self.limits).await;
        self.address = running.address;
        self.running = Some(running);
    }

    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            in_time("the server stops", running.stop()).await;
        }
    }

    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn engine(&self) -> &Arc<Engine> {
        &self.running.as_ref().expect("the server runs").engine
    }

    /// The lines of the log of `before_message` calls, once there are this many.
    pub async fn asked(&self, count: usize) -> Vec<AskedLine> {
        let file = self.dir.path().join("chathook.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = Connection::open_with_flags(file, flags).expect("the store's file");
        let read = || {
            let mut query = db
                .prepare("SELECT webhook, event, verdict, silence, took_us FROM asked ORDER BY row")
                .expect("the log's columns");
            let lines = query.query_map([], |row| {
                let (webhook, event) = (row.get(0)?, row.get(1)?);
                Ok(AskedLine {
                    webhook,
                    event,
                    verdict: row.get(2)?,
                    silence: row.get(3)?,
                    took_us: row.get(4)?,
                })
            });
            lines.expect("lines").collect::<Result<Vec<_>, _>>().expect("lines")
        };
        until(&format!("{count} calls are logged"), async || read().len() >= count).await;
        read()
    }

    /// Lets time pass for the server.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(seconds * 1_000);
    }

    /// Returns when every attempt made is settled in the store.
    pub async fn settled(&self) {
        until("all attempts are settled", async || self.engine().dispatch.under_way() == 0).await;
    }

    pub async fn manage(&self, method: &str, path: &str, body: Value) -> Reply {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.raw(method, path, &MANAGEMENT, bytes).await
    }

    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        http::send(self.address, method, path, headers, body).await
    }

    /// A new app with the sample users.
    pub async fn app(&self) -> App {
        let made =
            self.manage("POST", "/apps", json!({"name": "Test", "region": "us", "version": "3"})).await;
        let data = made.data();
        let key_of = |scope: &str| {
            let keys = data["apiKeys"].as_object().expect("keys");
            let key = keys.values().find(|key| key["scope"] == scope).expect("a key of each scope");
            key["apiKey"].as_str().expect("a key").to_owned()
        };
        App {
            id: data["id"].as_str().expect("an id").to_owned(),
            key: key_of("fullAccess"),
            auth_key: key_of("authOnly"),
            address: self.address,
        }
    }

    /// The app again, after a restart.
    pub fn moved(&self, app: &App) -> App {
        App { address: self.address, ..app.clone() }
    }

    pub async fn set(&self, app: &App, settings: Value) {
        self.manage("PUT", &format!("/apps/{}/settings", app.id), settings).await.data();
    }

    /// Makes a webhook that listens; `more` adds to its fields.
    pub async fn webhook(&self, app: &App, id: &str, to: &Endpoint, triggers: &[&str], more: Value) -> Value {
        let mut body = json!({"id": id, "name": id, "webhookURL": to.url()});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let made = self.manage("POST", &format!("/apps/{}/webhooks", app.id), body).await;
        let webhook = made.data().clone();
        let path = format!("/apps/{}/webhooks/{id}/triggers", app.id);
        self.manage("POST", &path, json!({"triggerIds": triggers})).await.data();
        webhook
    }
}

impl App {
    /// A call with the `fullAccess` key, for the customer's own server.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.with(method, path, &[("apikey", &self.key)], body).await
    }

    /// The same on behalf of a user.
    pub async fn call_as(&self, uid: &str, method: &str, path: &str, body: Value) -> Reply {
        self.with(method, path, &[("apikey", &self.key), ("onBehalfOf", uid)], body).await
    }

    pub async fn with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        http::send(self.address, method, &format!("/v3{path}"), headers, bytes).await
    }

    pub async fn send_as(&self, uid: &str, body: Value) -> Reply {
        self.call_as(uid, "POST", "/messages", body).await
    }

    /// A fresh auth token of this user.
    pub async fn token(&self, uid: &str) -> String {
        let made = self.call("POST", &format!("/users/{uid}/auth_tokens"), json!({"force": true})).await;
        made.data()["authToken"].as_str().expect("a token").to_owned()
    }

    /// The texts of the user's conversation with another, oldest first.
    pub async fn texts(&self, uid: &str, other: &str) -> Vec<String> {
        let list = self.call_as(uid, "GET", &format!("/users/{other}/messages"), Value::Null).await;
        let items = list.data().as_array().expect("a list");
        items.iter().map(|m| m["data"]["text"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn run(data_dir: PathBuf, clock: ManualClock, limits: Limits) -> Running {
    in_time("the server starts", async {
        loop {
            match build(parts(data_dir.clone(), clock.clone(), limits)).await {
                Ok(built) => return built.open(|router| router).await.expect("a free port"),
                // The server before has stopped, and its last task lets go of the directory in a moment.
                Err(error) if error.to_string().contains("uses this data directory") => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("the server does not start: {error:#}"),
            }
        }
    })
    .await
}

fn parts(data_dir: PathBuf, clock: ManualClock, limits: Limits) -> Parts {
    Parts {
        data_dir,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin_listen: None,
        tls: None,
        open_networks: OpenNetworks::parse(["127.0.0.0/8"]).expect("a network"),
        allow_http: false,
        extra_roots: vec![ca().der.clone()],
        use_system_roots: false,
        management: ManagementCredentials {
            key: MANAGEMENT[0].1.to_owned(),
            secret: MANAGEMENT[1].1.to_owned(),
        },
        master_key: None,
        store: Options::default(),
        limits,
        clock: Arc::new(clock),
        dice: Arc::new(NoJitter),
    }
}
