//! The server's doors as its users know them: REST, management and the socket.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::server::{FAIL_SAFE, KEY, SECRET};
use crate::sink::{PASSWORD, USERNAME};

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The id of the message or app that it tells of.
    pub fn id(&self) -> String {
        self.body["data"]["id"].as_str().unwrap_or_else(|| panic!("no id: {}", self.body)).to_owned()
    }
}

/// One request on a connection of its own; an error means that no whole answer came.
pub async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> io::Result<Answer> {
    let exchange = async {
        let tcp = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request.header("content-type", "application/json").body(Full::new(bytes));
        let response = sender.send_request(request.expect("a request")).await.map_err(io::Error::other)?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    };
    timeout(FAIL_SAFE, exchange).await.expect("an answer or an error comes in time")
}

/// An app with users and one webhook.
#[derive(Clone)]
pub struct Tenant {
    app: String,
    api_key: String,
    tokens: BTreeMap<String, String>,
}

impl Tenant {
    pub async fn make(address: SocketAddr, hook_url: &str, uids: impl IntoIterator<Item = String>) -> Self {
        let body = json!({"name": "Crash", "region": "us", "skipSampleData": true});
        let app = manage(address, "/apps", &body).await;
        let keys = app["apiKeys"].as_object().expect("keys");
        let full = keys.values().find(|key| key["scope"] == "fullAccess").expect("a full key");
        let api_key = full["apiKey"].as_str().expect("a key").to_owned();
        let app = app["id"].as_str().expect("an id").to_owned();
        let mut tenant = Self { app, api_key, tokens: BTreeMap::new() };
        let triggers = ["after_message", "user_connection_status_change"];
        tenant.add_webhook(address, "sink", hook_url, &triggers).await;
        for uid in uids {
            let body = json!({"uid": uid, "name": uid, "withAuthToken": true});
            let made = call(address, "POST", "/v3/users", &[("apikey", &tenant.api_key)], Some(&body)).await;
            let made = made.expect("an answer");
            assert_eq!(made.status, StatusCode::OK, "{}", made.body);
            let token = made.body["data"]["authToken"].as_str().expect("a token").to_owned();
            tenant.tokens.insert(uid, token);
        }
        tenant
    }

    pub async fn add_webhook(&self, address: SocketAddr, id: &str, url: &str, triggers: &[&str]) {
        let body = json!({
            "id": id, "name": id, "webhookURL": url, "enabled": true,
            "useBasicAuth": true, "username": USERNAME, "password": PASSWORD,
        });
        manage(address, &format!("/apps/{}/webhooks", self.app), &body).await;
        let path = format!("/apps/{}/webhooks/{id}/triggers", self.app);
        manage(address, &path, &json!({"triggerIds": triggers})).await;
    }

    /// How many deliveries the webhook has ever been owed.
    pub async fn owed_count(&self, address: SocketAddr) -> usize {
        let path = format!("/apps/{}/webhooks/sink/deliveries?limit=100", self.app);
        let answer = call(address, "GET", &path, &[("key", KEY), ("secret", SECRET)], None).await;
        answer.expect("an answer").body["data"].as_array().expect("a list").len()
    }

    pub async fn send(
        &self,
        address: SocketAddr,
        from: &str,
        to: &str,
        muid: &str,
        text: &str,
    ) -> io::Result<Answer> {
        let body = json!({"receiver": to, "receiverType": "user", "muid": muid, "data": {"text": text}});
        let headers = [("apikey", self.api_key.as_str()), ("onBehalfOf", from)];
        call(address, "POST", "/v3/messages", &headers, Some(&body)).await
    }

    /// `muid` and id of each message between two, up to a thousand.
    pub async fn conversation(&self, address: SocketAddr, one: &str, other: &str) -> Vec<(String, String)> {
        let path = format!("/v3/users/{other}/messages?affix=append&limit=1000");
        let headers = [("apikey", self.api_key.as_str()), ("onBehalfOf", one)];
        let answer = call(address, "GET", &path, &headers, None).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let messages = answer.body["data"].as_array().expect("a list");
        let field = |message: &Value, name: &str| message[name].as_str().expect("a text").to_owned();
        messages.iter().map(|message| (field(message, "muid"), field(message, "id"))).collect()
    }

    /// Why the webhook is switched off, if it is.
    pub async fn switched_off(&self, address: SocketAddr) -> Option<String> {
        let path = format!("/apps/{}/webhooks/sink", self.app);
        let answer = call(address, "GET", &path, &[("key", KEY), ("secret", SECRET)], None).await;
        let body = answer.expect("an answer").body;
        body["data"]["switchedOff"].as_str().map(str::to_owned)
    }

    pub async fn status(&self, address: SocketAddr, uid: &str) -> String {
        let path = format!("/v3/users/{uid}");
        let answer =
            call(address, "GET", &path, &[("apikey", &self.api_key)], None).await.expect("an answer");
        answer.body["data"]["status"]
            .as_str()
            .unwrap_or_else(|| panic!("no status: {}", answer.body))
            .to_owned()
    }
}

async fn manage(address: SocketAddr, path: &str, body: &Value) -> Value {
    let answer = call(address, "POST", path, &[("key", KEY), ("secret", SECRET)], Some(body)).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.body["data"].clone()
}

/// A logged-in socket.
pub struct Socket {
    pub session: String,
    /// The end of the app's record at the log-in.
    pub cursor: String,
    frames: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// `None` when the server went away before it answered.
    pub async fn log_in(address: SocketAddr, tenant: &Tenant, uid: &str, device: &str) -> Option<Self> {
        Self::log_in_with(address, tenant, uid, json!({"deviceId": device})).await
    }

    /// Comes back to hear what it has missed.
    pub async fn log_in_after(address: SocketAddr, tenant: &Tenant, uid: &str, cursor: &str) -> Option<Self> {
        Self::log_in_with(address, tenant, uid, json!({"after": cursor})).await
    }

    async fn log_in_with(address: SocketAddr, tenant: &Tenant, uid: &str, mut params: Value) -> Option<Self> {
        let (mut frames, _) = connect_async(format!("ws://{address}/v3/socket")).await.ok()?;
        (params["appId"], params["authToken"]) = (json!(tenant.app), json!(tenant.tokens[uid]));
        let login = json!({"jsonrpc": "2.0", "id": 1, "method": "login", "params": params});
        frames.send(Message::text(login.to_string())).await.ok()?;
        let answer = frames.next().await?.ok()?.into_text().ok()?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        let session = answer["result"]["sessionId"].as_str();
        let session = session.unwrap_or_else(|| panic!("the log-in was refused: {answer}")).to_owned();
        let cursor = answer["result"]["cursor"].as_str().expect("a cursor").to_owned();
        Some(Self { session, cursor, frames })
    }

    /// What it is told next.
    pub async fn told(&mut self) -> Value {
        let frame = timeout(FAIL_SAFE, self.frames.next()).await.expect("it is told in time");
        let text = frame.expect("an open socket").expect("a frame").into_text().expect("a text");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Reads what comes, as a client does.
    pub async fn until_closed(mut self) {
        while let Some(Ok(_)) = self.frames.next().await {}
    }
}
