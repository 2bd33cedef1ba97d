//! A person at their desk: a server with one app, a webhook `audit` with its endpoint, and a shell.

use crate::support::*;

pub struct Desk {
    pub server: TestServer,
    pub app: App,
    pub endpoint: Endpoint,
    pub shell: Shell,
}

impl Desk {
    /// The webhook listens to `after_message`.
    pub async fn new() -> Self {
        let desk = Self::without_webhook().await;
        desk.server.webhook(&desk.app, "audit", &desk.endpoint, &["after_message"], Value::Null).await;
        desk
    }

    pub async fn without_webhook() -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        let shell = Shell::at(&server);
        Self { server, app, endpoint, shell }
    }

    /// The data that the API itself gives.
    pub async fn data(&self, below_app: &str) -> Value {
        let path = format!("/apps/{}{below_app}", self.app.id);
        self.server.manage("GET", &path, Value::Null).await.data().clone()
    }

    /// A message from Ana to Ben; returns its id once its first attempt is settled.
    pub async fn send(&self, text: &str) -> String {
        let sent = self.app.send_as("ana", text_to("ben", text)).await;
        self.endpoint.next().await;
        self.server.settled().await;
        sent.data()["id"].as_str().expect("an id").to_owned()
    }
}

/// The words of a line.
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The line that begins with this, without it.
#[track_caller]
pub fn field<'a>(out: &'a str, name: &str) -> &'a str {
    let line = out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no line '{name}' in\n{out}")).trim_start()
}

/// What speaks TLS and answers whatever the test says, and a shell that takes it for the server.
/// Its root certificate is in `ca.pem`.
pub async fn stranger() -> (Endpoint, Shell) {
    let endpoint = Endpoint::start().await;
    let shell = Shell::bare()
        .with("CHATHOOK_SERVER", endpoint.url().trim_end_matches("/hook"))
        .with("CHATHOOK_MANAGEMENT_KEY", "mk_test")
        .with("CHATHOOK_MANAGEMENT_SECRET", "ms_test");
    std::fs::write(shell.home().join("ca.pem"), crate::support::endpoint::ca().pem()).expect("written");
    (endpoint, shell)
}
