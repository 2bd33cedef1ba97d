//! A server with a webhook that is asked before each message, and one that hears of what was sent.

use super::endpoint::{Answer, Endpoint};
use super::http::Reply;
use super::server::{App, TestServer};
use super::{Value, json, text_to};

/// A server whose app asks `gate`, and tells `audit` of what was sent.
pub struct Stage {
    pub server: TestServer,
    pub app: App,
    pub gate: Endpoint,
    pub audit: Endpoint,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(Value::Null).await
    }

    /// What the gate's silence means is `drop`.
    pub async fn closed() -> Self {
        Self::with(json!({"onFailure": "drop"})).await
    }

    pub async fn with(more: Value) -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let (gate, audit) = (Endpoint::start().await, Endpoint::start().await);
        server.webhook(&app, "gate", &gate, &["before_message"], more).await;
        server.webhook(&app, "audit", &audit, &["after_message"], Value::Null).await;
        Self { server, app, gate, audit }
    }

    pub async fn send(&self, text: &str) -> Reply {
        self.app.send_as("ana", text_to("ben", text)).await
    }

    pub async fn answered(&self, answer: Answer) -> Reply {
        self.gate.answer([answer]);
        self.send("hello").await
    }

    pub async fn passes_unchanged(&self, answer: Answer) {
        let sent = self.answered(answer).await;
        assert_eq!(sent.data()["data"]["text"], "hello");
        assert_eq!(sent.data()["data"].get("metadata"), None, "{}", sent.json);
        assert_eq!(self.audit.next().await.json["data"], *sent.data());
    }

    pub async fn is_blocked(&self, sent: &Reply) {
        sent.refused(403, "ERR_BLOCKED_BY_WEBHOOK");
        assert_eq!(self.app.texts("ana", "ben").await, Vec::<String>::new());
        // The first that the audit hears of is the next message: nothing was told of this one.
        self.gate.otherwise(Answer::json(&json!({})));
        self.app.call("POST", "/messages", text_to("ben", "marker")).await.data();
        assert_eq!(self.audit.next().await.text(), "marker");
    }
}
