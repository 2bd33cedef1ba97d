//! The signing secret of a webhook: shown once, rotated with an overlap in which both secrets sign.

mod support;

use chathook_adapters::system::RealClock;
use chathook_engine::ports::clock::Clock;
use standardwebhooks::Webhook;
use support::http::Reply;
use support::*;

/// A webhook that hears of messages, and is asked about them.
struct Stage {
    server: TestServer,
    app: App,
    hook: Endpoint,
    first_secret: String,
}

impl Stage {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let hook = Endpoint::start().await;
        let made =
            server.webhook(&app, "hook", &hook, &["before_message", "after_message"], Value::Null).await;
        Self { first_secret: secret_of(&made), server, app, hook }
    }

    async fn rotate(&self, body: Value) -> Reply {
        let path = format!("/apps/{}/webhooks/hook/secret/rotate", self.app.id);
        self.server.manage("POST", &path, body).await
    }

    /// The request that asks about a message, and the delivery that tells of it.
    async fn requests(&self) -> [Received; 2] {
        self.app.send_as("ana", text_to("ben", "hello")).await.data();
        [self.hook.next().await, self.hook.next().await]
    }

    /// Every request is signed by these secrets, in this order, and by no other.
    async fn is_signed_by(&self, secrets: &[&String]) {
        for request in self.requests().await {
            let header = request.header("webhook-signature");
            let expected: Vec<String> = secrets.iter().map(|secret| signature(secret, &request)).collect();
            assert_eq!(header, expected.join(" "));
        }
    }
}

fn secret_of(object: &Value) -> String {
    let secret = object["signingSecret"].as_str().expect("the secret is shown");
    assert!(secret.starts_with("whsec_"), "{secret}");
    secret.to_owned()
}

/// What the reference library signs the request with.
fn signature(secret: &str, request: &Received) -> String {
    let reference = Webhook::new(secret).expect("a usable secret");
    let at = request.number("webhook-timestamp");
    reference.sign(request.header("webhook-id"), at, &request.bytes).expect("signed")
}

#[tokio::test]
async fn both_secrets_sign_during_the_overlap_and_only_the_new_one_afterwards() {
    let stage = Stage::new().await;
    stage.is_signed_by(&[&stage.first_secret]).await;
    let rotated = stage.rotate(json!({"overlapSeconds": 600})).await.data().clone();
    let second = secret_of(&rotated);
    assert_eq!(rotated, json!({"signingSecret": second, "previousValidUntil": NOW_S + 600}));
    assert_ne!(second, stage.first_secret);
    stage.is_signed_by(&[&second, &stage.first_secret]).await;
    stage.server.advance(599);
    stage.is_signed_by(&[&second, &stage.first_secret]).await;
    stage.server.advance(1);
    stage.is_signed_by(&[&second]).await;
}

#[tokio::test]
async fn a_receiver_with_either_secret_verifies_what_it_gets_during_the_overlap() {
    let stage = Stage::new().await;
    // The reference library holds the timestamp against the machine's clock.
    stage.server.clock.set_wall(RealClock::new().now());
    let second = secret_of(stage.rotate(json!({})).await.data());
    for request in stage.requests().await {
        let mut headers = axum::http::HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, request.header(name).parse().expect("a header"));
        }
        for secret in [&second, &stage.first_secret] {
            let receiver = Webhook::new(secret).expect("a usable secret");
            receiver.verify(&request.bytes, &headers).expect("it is ours");
        }
        let stranger = Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").expect("usable");
        assert!(stranger.verify(&request.bytes, &headers).is_err());
    }
}

#[tokio::test]
async fn the_overlap_is_a_day_unless_said_otherwise_and_a_week_at_most() {
    let stage = Stage::new().await;
    assert_eq!(stage.rotate(Value::Null).await.data()["previousValidUntil"], NOW_S + 86_400);
    let week = stage.rotate(json!({"overlapSeconds": 604_800})).await;
    assert_eq!(week.data()["previousValidUntil"], NOW_S + 604_800);
    for overlap in [json!(-1), json!(604_801), json!("long")] {
        let refused = stage.rotate(json!({"overlapSeconds": overlap})).await;
        refused.refused_for(400, "ERR_BAD_REQUEST", "overlapSeconds");
    }
}

#[tokio::test]
async fn without_overlap_the_old_secret_ends_at_once() {
    let stage = Stage::new().await;
    let rotated = stage.rotate(json!({"overlapSeconds": 0})).await.data().clone();
    assert_eq!(rotated["previousValidUntil"], Value::Null);
    stage.is_signed_by(&[&secret_of(&rotated)]).await;
}

#[tokio::test]
async fn a_second_rotation_during_an_overlap_ends_the_oldest_secret() {
    let stage = Stage::new().await;
    let second = secret_of(stage.rotate(json!({})).await.data());
    let third = secret_of(stage.rotate(json!({})).await.data());
    stage.is_signed_by(&[&third, &second]).await;
}

#[tokio::test]
async fn an_overlap_outlives_a_restart_and_a_change_of_the_webhook() {
    let mut stage = Stage::new().await;
    let second = secret_of(stage.rotate(json!({"overlapSeconds": 600})).await.data());
    let path = format!("/apps/{}/webhooks/hook", stage.app.id);
    stage.server.manage("PUT", &path, json!({"name": "Renamed"})).await.data();
    stage.is_signed_by(&[&second, &stage.first_secret]).await;
    stage.server.settled().await;
    stage.server.restart().await;
    stage.app = stage.server.moved(&stage.app);
    stage.is_signed_by(&[&second, &stage.first_secret]).await;
}

#[tokio::test]
async fn no_other_call_shows_a_secret() {
    let stage = Stage::new().await;
    stage.rotate(json!({})).await.data();
    let path = format!("/apps/{}/webhooks/hook", stage.app.id);
    let shown = stage.server.manage("GET", &path, Value::Null).await;
    assert!(!shown.json.to_string().contains("whsec_"), "{}", shown.json);
    assert!(shown.data().get("signingSecret").is_none());
}

#[tokio::test]
async fn the_secret_of_another_app_s_webhook_cannot_be_rotated() {
    let stage = Stage::new().await;
    let other = stage.server.app().await;
    let path = format!("/apps/{}/webhooks/hook/secret/rotate", other.id);
    stage.server.manage("POST", &path, json!({})).await.refused(404, "ERR_WEBHOOK_NOT_FOUND");
    let path = "/apps/nobody/webhooks/hook/secret/rotate";
    stage.server.manage("POST", path, json!({})).await.refused(404, "ERR_APP_NOT_FOUND");
    stage.is_signed_by(&[&stage.first_secret]).await;
}
