//! Who looks at the dashboard as a browser does: keeps the cookie, and sends each form with its page's token.

use super::TestServer;
use super::http::{Answering, Reply};
use super::server::MANAGEMENT;

pub struct Browser<'a> {
    server: &'a TestServer,
    cookie: Option<String>,
    csrf: String,
}

impl<'a> Browser<'a> {
    /// Somebody who is not logged in.
    pub fn new(server: &'a TestServer) -> Self {
        Self { server, cookie: None, csrf: String::new() }
    }

    pub async fn logged_in(server: &'a TestServer) -> Self {
        let mut browser = Self::new(server);
        let [(_, key), (_, secret)] = MANAGEMENT;
        let reply = browser.log_in(key, secret).await;
        assert_eq!(reply.status, 303, "{}", text(&reply));
        browser
    }

    pub async fn log_in(&mut self, key: &str, secret: &str) -> Reply {
        let reply = self.send("POST", "/login", &[], &[("key", key), ("secret", secret)]).await;
        if let Some(set) = reply.headers.get("set-cookie") {
            let set = set.to_str().expect("plain");
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        reply
    }

    /// A page that is there, as HTML. Its token goes with the forms sent from now on.
    pub async fn page(&mut self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", text(&reply));
        let html = text(&reply);
        self.csrf = between(&html, "name=\"csrf\" value=\"", "\"").to_owned();
        html
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], &[]).await
    }

    /// Sends a form of the last page.
    pub async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let mut fields = fields.to_vec();
        fields.push(("csrf", &self.csrf));
        self.send("POST", path, &[("sec-fetch-site", "same-origin")], &fields).await
    }

    /// The same, and the page that follows.
    pub async fn follow(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let reply = self.submit(path, fields).await;
        assert_eq!(reply.status, 303, "{path}: {}", text(&reply));
        let to = reply.headers["location"].to_str().expect("plain").to_owned();
        self.page(to.strip_prefix("/dashboard").expect("a page of the dashboard")).await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Reply {
        let mut headers = headers.to_vec();
        if let Some(cookie) = &self.cookie {
            headers.push(("cookie", cookie));
        }
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.server.raw(method, &format!("/dashboard{path}"), &headers, body.finish().into_bytes()).await
    }

    /// Asks for an answer that goes on, as `EventSource` does.
    pub async fn follow_changes(&self, path: &str) -> Answering {
        let cookie = self.cookie.as_deref().unwrap_or_default();
        let headers = [("cookie", cookie), ("accept", "text/event-stream")];
        Answering::get(self.server.address, &format!("/dashboard{path}"), &headers).await
    }

    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    pub fn with_cookie(server: &'a TestServer, cookie: &str) -> Self {
        Self { server, cookie: Some(cookie.to_owned()), csrf: String::new() }
    }
}

pub fn text(reply: &Reply) -> String {
    String::from_utf8(reply.bytes.to_vec()).expect("pages are UTF-8")
}

/// The text between the first `start` and the `end` after it.
#[track_caller]
pub fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no '{start}' in {text}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no '{end}' after '{start}'")).0
}
