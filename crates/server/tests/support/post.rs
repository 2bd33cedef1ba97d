//! A server with one webhook that hears of what was sent.

use super::endpoint::{Endpoint, Received};
use super::server::{App, TestServer};
use super::{Value, json, text_to};

pub struct Post {
    pub server: TestServer,
    pub app: App,
    pub endpoint: Endpoint,
}

impl Post {
    pub async fn new() -> Self {
        Self::with(Value::Null).await
    }

    pub async fn with(more: Value) -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        server.webhook(&app, "audit", &endpoint, &["after_message"], more).await;
        Self { server, app, endpoint }
    }

    pub async fn send(&self, to: &str, text: &str) {
        self.app.send_as("ana", text_to(to, text)).await.data();
    }

    /// The next request, once its outcome is settled in the store.
    pub async fn next(&self) -> Received {
        let request = self.endpoint.next().await;
        self.server.settled().await;
        request
    }

    pub async fn is_idle(&self) {
        self.server.settled().await;
        assert!(self.endpoint.take_all().is_empty());
    }

    pub async fn webhook(&self) -> Value {
        let path = format!("/apps/{}/webhooks/audit", self.app.id);
        self.server.manage("GET", &path, Value::Null).await.data().clone()
    }

    pub async fn change(&self, body: Value) {
        self.server.manage("PUT", &format!("/apps/{}/webhooks/audit", self.app.id), body).await.data();
    }

    /// The kinds of the app's notices, oldest first.
    pub async fn notices(&self) -> Vec<String> {
        let list = self.server.manage("GET", &format!("/apps/{}/notices", self.app.id), Value::Null).await;
        let kind = |notice: &Value| notice["kind"].as_str().expect("a kind").to_owned();
        list.data().as_array().expect("a list").iter().rev().map(kind).collect()
    }
}
