//! An app with its users and webhooks, made through the public API.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::line::Line;
use crate::server::{KEY, SECRET};

/// Conversations of every load, each between two users of its own.
pub const CONVERSATIONS: usize = 1_024;
/// Text beside the number, such that a POST of `after_message` has about 700 bytes.
const WORDS: &str = "Lunch at noon?";
/// Calls at once that make users.
const MAKERS: usize = 32;
/// As many members as a call may add.
const ADDED_AT_ONCE: usize = 25;

pub struct Tenant {
    pub app: String,
    api_key: String,
    address: SocketAddr,
}

/// Who writes to whom.
#[derive(Clone)]
pub struct Conversation {
    pub from: String,
    pub to: String,
}

pub struct Login {
    pub uid: String,
    pub token: String,
}

impl Tenant {
    pub async fn make(address: SocketAddr) -> Result<Arc<Self>> {
        let body = json!({"name": "Bench", "region": "us", "skipSampleData": true});
        let app = Line::open(address).await?.data(manage("POST", "/apps", Some(&body))?).await?;
        let keys = app["apiKeys"].as_object().context("the app has keys")?;
        let key = keys.values().find(|key| key["scope"] == "fullAccess").context("a full key")?;
        let api_key = text(key, "apiKey")?;
        Ok(Arc::new(Self { app: text(&app, "id")?, api_key, address }))
    }

    /// A webhook with nothing set but its endpoint and its trigger.
    pub async fn webhook(&self, id: &str, url: &str, trigger: &str) -> Result<()> {
        let mut line = Line::open(self.address).await?;
        let hooks = format!("/apps/{}/webhooks", self.app);
        let body = json!({"id": id, "name": id, "webhookURL": url, "enabled": true});
        line.data(manage("POST", &hooks, Some(&body))?).await?;
        let body = json!({"triggerIds": [trigger]});
        line.data(manage("POST", &format!("{hooks}/{id}/triggers"), Some(&body))?).await?;
        Ok(())
    }

    /// An answer of the management API about this app, if there is one at this path.
    pub async fn asked(&self, path: &str) -> Result<Option<Value>> {
        let request = manage("GET", &format!("/apps/{}{path}", self.app), None)?;
        let (head, body) = Line::open(self.address).await?.call(request).await?;
        if !head.status.is_success() {
            return Ok(None);
        }
        let mut body: Value = serde_json::from_slice(&body)?;
        Ok(Some(body["data"].take()))
    }

    pub async fn delete(&self) -> Result<()> {
        let request = manage("DELETE", &format!("/apps/{}", self.app), None)?;
        Line::open(self.address).await?.data(request).await?;
        Ok(())
    }

    /// Makes two users for each.
    pub async fn conversations(self: &Arc<Self>, count: usize) -> Result<Arc<[Conversation]>> {
        let logins = self.users(count * 2).await?;
        let pairs = logins.chunks_exact(2);
        Ok(pairs.map(|pair| Conversation { from: pair[0].uid.clone(), to: pair[1].uid.clone() }).collect())
    }

    pub async fn users(self: &Arc<Self>, count: usize) -> Result<Vec<Login>> {
        let mut makers = JoinSet::new();
        for maker in 0..MAKERS {
            let tenant = self.clone();
            makers.spawn(async move {
                let mut line = Line::open(tenant.address).await?;
                let mut logins = Vec::new();
                for nth in (maker..count).step_by(MAKERS) {
                    logins.push(tenant.user(&mut line, &format!("user-{nth:05}")).await?);
                }
                anyhow::Ok(logins)
            });
        }
        let mut logins = Vec::with_capacity(count);
        while let Some(made) = makers.join_next().await {
            logins.extend(made??);
        }
        logins.sort_by(|one: &Login, other| one.uid.cmp(&other.uid));
        Ok(logins)
    }

    /// A sender's connection.
    pub async fn line(&self) -> Result<Line> {
        Line::open(self.address).await
    }

    /// `POST /v3/messages`, its number first in the text.
    pub fn message(&self, conversation: &Conversation, number: u64) -> Result<Request<Full<Bytes>>> {
        let body = json!({
            "receiver": conversation.to, "receiverType": "user", "category": "message", "type": "text",
            "data": {"text": format!("#{number} {WORDS}")},
        });
        self.post("/v3/messages", Some(&conversation.from), &body)
    }

    /// A group that everybody may join, with these members; the first of them owns it.
    pub async fn group(&self, guid: &str, uids: &[&str]) -> Result<()> {
        let mut line = self.line().await?;
        let body = json!({"guid": guid, "name": guid, "type": "public", "owner": uids.first()});
        line.data(self.post("/v3/groups", None, &body)?).await?;
        for some in uids.chunks(ADDED_AT_ONCE) {
            let members = format!("/v3/groups/{guid}/members");
            line.data(self.post(&members, None, &json!({"participants": some}))?).await?;
        }
        Ok(())
    }

    /// To a group, by the app itself.
    pub fn message_to_group(&self, guid: &str, number: usize) -> Result<Request<Full<Bytes>>> {
        let body = json!({
            "receiver": guid, "receiverType": "group", "category": "message", "type": "text",
            "data": {"text": format!("#{number} {WORDS}")},
        });
        self.post("/v3/messages", None, &body)
    }

    async fn user(&self, line: &mut Line, uid: &str) -> Result<Login> {
        let body = json!({"uid": uid, "name": uid, "withAuthToken": true});
        let user = line.data(self.post("/v3/users", None, &body)?).await?;
        Ok(Login { uid: uid.to_owned(), token: text(&user, "authToken")? })
    }

    fn post(&self, path: &str, on_behalf_of: Option<&str>, body: &Value) -> Result<Request<Full<Bytes>>> {
        let request = Request::post(path)
            .header("host", "bench")
            .header("content-type", "application/json")
            .header("apikey", &self.api_key);
        let request = match on_behalf_of {
            Some(uid) => request.header("onBehalfOf", uid),
            None => request,
        };
        Ok(request.body(Full::new(Bytes::from(body.to_string())))?)
    }
}

fn manage(method: &str, path: &str, body: Option<&Value>) -> Result<Request<Full<Bytes>>> {
    let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "bench")
        .header("content-type", "application/json")
        .header("key", KEY)
        .header("secret", SECRET);
    Ok(request.body(Full::new(bytes))?)
}

fn text(object: &Value, field: &str) -> Result<String> {
    let text = object[field].as_str().with_context(|| format!("no '{field}' in {object}"))?;
    Ok(text.to_owned())
}
