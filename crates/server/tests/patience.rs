//! A delivery that keeps failing holds its lane for a time; an endpoint that is down keeps everything (design 2.3, 6).

mod support;

use support::*;

/// The texts of the next requests, in the order in which they came.
async fn texts(endpoint: &Endpoint, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(endpoint.next().await.text().to_owned());
    }
    texts
}

struct Post {
    server: TestServer,
    app: App,
    endpoint: Endpoint,
}

impl Post {
    async fn with(more: Value) -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        server.webhook(&app, "audit", &endpoint, &["after_message"], more).await;
        Self { server, app, endpoint }
    }

    async fn send(&self, to: &str, text: &str) {
        self.app.send_as("ana", text_to(to, text)).await.data();
    }

    async fn advance(&self, seconds: i64) {
        self.server.settled().await;
        self.server.advance(seconds);
    }

    async fn is_idle(&self) {
        self.server.settled().await;
        assert!(self.endpoint.take_all().is_empty());
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/apps/{}{path}", self.app.id);
        self.server.manage("GET", &path, Value::Null).await.data().clone()
    }
}

#[tokio::test]
async fn a_delivery_that_keeps_failing_steps_aside_after_its_patience_while_others_succeed() {
    let post = Post::with(json!({})).await;
    for _ in 0..3 {
        post.endpoint.answer_text("bad", Answer::status(500));
    }
    post.send("ben", "bad").await;
    assert_eq!(texts(&post.endpoint, 1).await, ["bad"]);
    post.server.settled().await;
    post.send("ben", "behind").await;
    post.send("chloe", "meanwhile").await;
    assert_eq!(texts(&post.endpoint, 1).await, ["meanwhile"]);
    for (seconds, expected) in [(10, "bad"), (30, "bad")] {
        post.advance(seconds).await;
        assert_eq!(texts(&post.endpoint, 1).await, [expected]);
    }
    post.advance(19).await;
    post.is_idle().await;
    post.advance(1).await;
    assert_eq!(texts(&post.endpoint, 1).await, ["behind"], "a minute after the first failure");
    // Two minutes after its third attempt it is tried by itself.
    post.advance(100).await;
    assert_eq!(texts(&post.endpoint, 1).await, ["bad"]);
}

#[tokio::test]
async fn without_end_of_patience_the_order_is_strict_and_with_none_there_is_no_order() {
    for (patience, expected) in [(json!("unlimited"), 0), (json!(0), 1)] {
        let post = Post::with(json!({"patienceSeconds": patience})).await;
        post.endpoint.answer_text("bad", Answer::status(500));
        post.send("ben", "bad").await;
        assert_eq!(texts(&post.endpoint, 1).await, ["bad"]);
        post.server.settled().await;
        post.send("chloe", "meanwhile").await;
        post.send("ben", "behind").await;
        assert_eq!(texts(&post.endpoint, 1).await, ["meanwhile"]);
        assert_eq!(texts(&post.endpoint, expected).await, vec!["behind"; expected]);
        post.advance(9).await;
        post.is_idle().await;
    }
}

#[tokio::test]
async fn an_endpoint_that_is_down_keeps_all_in_order_until_a_probe_gets_through() {
    let post = Post::with(json!({})).await;
    let people = ["ben", "chloe", "dev", "emma"];
    post.endpoint.otherwise(Answer::status(503));
    for person in people {
        post.send(person, "first").await;
    }
    for seconds in [10, 30, 0] {
        texts(&post.endpoint, people.len()).await;
        post.advance(seconds).await;
    }
    // Twelve failures in a row: only a probe goes now, however much waits.
    for person in people {
        post.send(person, "second").await;
    }
    post.advance(9).await;
    post.is_idle().await;
    post.endpoint.otherwise(Answer::status(200));
    post.advance(1).await;
    let told = texts(&post.endpoint, 2 * people.len()).await;
    post.is_idle().await;
    assert_eq!(told.iter().filter(|text| *text == "first").count(), people.len());
    assert_eq!(told[0], "first");
    let deliveries = post.get("/webhooks/audit/deliveries").await;
    let all = deliveries.as_array().expect("a list");
    assert!(all.iter().all(|delivery| delivery["status"] == "delivered"), "{deliveries}");
    assert_eq!(all.len(), 8);
}

#[tokio::test]
async fn an_endpoint_that_asks_for_a_pause_gets_it() {
    let post = Post::with(json!({})).await;
    let busy =
        Answer::Full { status: 429, headers: vec![("retry-after", "120".to_owned())], body: Vec::new() };
    post.endpoint.answer([busy]);
    post.send("ben", "one").await;
    assert_eq!(texts(&post.endpoint, 1).await, ["one"]);
    post.server.settled().await;
    post.send("chloe", "two").await;
    post.advance(119).await;
    post.is_idle().await;
    post.advance(1).await;
    let mut told = texts(&post.endpoint, 2).await;
    told.sort_unstable();
    assert_eq!(told, ["one", "two"]);
}

#[tokio::test]
async fn a_webhook_that_fails_for_five_days_is_switched_off_after_a_warning() {
    const DAY: i64 = 24 * 60 * 60;
    let post = Post::with(json!({})).await;
    post.endpoint.otherwise(Answer::status(500));
    post.send("ben", "one").await;
    for days in [4, 1, 1] {
        assert_eq!(texts(&post.endpoint, 1).await, ["one"]);
        post.advance(days * DAY).await;
    }
    post.is_idle().await;
    assert!(post.get("/webhooks/audit").await["switchedOff"].is_string());
    let notices = post.get("/notices").await;
    let kinds: Vec<&str> =
        notices.as_array().expect("a list").iter().filter_map(|n| n["kind"].as_str()).collect();
    assert!(kinds.contains(&"switching_off_soon") && kinds[0] == "switched_off", "{notices}");
}
