//! Replays: what was owed is owed again, and what was never owed for the first time (design 9).

mod support;

use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::replay::Wanted;
use chathook_domain::trigger::Trigger;
use support::http::Reply;
use support::*;

struct Desk {
    server: TestServer,
    app: App,
    endpoint: Endpoint,
}

impl Desk {
    /// An app with a webhook `audit` of these triggers.
    async fn new(triggers: &[&str]) -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        if !triggers.is_empty() {
            server.webhook(&app, "audit", &endpoint, triggers, json!({"retryOnFailure": false})).await;
        }
        Self { server, app, endpoint }
    }

    /// A call below the webhook.
    async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.server.manage(method, &format!("/apps/{}/webhooks/audit{path}", self.app.id), body).await
    }

    async fn send(&self, to: &str, text: &str) {
        self.app.send_as("ana", text_to(to, text)).await.data();
    }

    /// Begins a replay and returns its id.
    async fn replay(&self, body: Value) -> String {
        let job = self.call("POST", "/replay", body).await.data().clone();
        assert_eq!(job["status"], "running");
        job["id"].as_str().expect("an id").to_owned()
    }

    async fn job(&self, id: &str) -> Value {
        self.call("GET", &format!("/replays/{id}"), Value::Null).await.data().clone()
    }

    /// The job, once it is over.
    async fn done(&self, id: &str) -> Value {
        until("the replay is over", async || self.job(id).await["status"] != "running").await;
        self.job(id).await
    }

    async fn texts(&self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.endpoint.next().await.text().to_owned());
        }
        self.server.settled().await;
        texts
    }
}

#[tokio::test]
async fn a_new_webhook_is_told_its_past_in_order_under_numbers_of_its_own() {
    let mut desk = Desk::new(&[]).await;
    for text in ["one", "two", "three"] {
        desk.send("ben", text).await;
    }
    desk.server.advance(60);
    desk.server.webhook(&desk.app, "audit", &desk.endpoint, &["after_message"], Value::Null).await;
    let id = desk.replay(json!({"since": NOW_S})).await;
    for (number, text) in (1..).zip(["one", "two", "three"]) {
        let told = desk.endpoint.next().await;
        assert_eq!(told.text(), text);
        assert_eq!(told.header("chathook-replay"), id);
        assert_eq!(told.header("chathook-key"), "ana_user_ben");
        assert_eq!(told.number("chathook-sequence"), number);
    }
    desk.server.settled().await;
    let job = desk.done(&id).await;
    let expected = json!({
        "id": id, "status": "done", "wanted": {"since": NOW_S, "triggers": ["after_message"]},
        "seen": 3, "made": 3, "createdAt": NOW_S + 60, "endedAt": NOW_S + 60,
    });
    assert_eq!(job, expected);
    desk.server.restart().await;
    desk.server.settled().await;
    assert!(desk.endpoint.take_all().is_empty(), "a job that is over goes on after a restart");
}

#[tokio::test]
async fn a_replay_by_status_owes_again_only_what_ended_so_and_only_once() {
    let desk = Desk::new(&["after_message"]).await;
    desk.endpoint.answer_text("bad", Answer::status(500));
    for text in ["good", "bad", "fine"] {
        desk.send("ben", text).await;
    }
    assert_eq!(desk.texts(3).await, ["good", "bad", "fine"]);
    let id = desk.replay(json!({"since": 0, "status": "failed"})).await;
    let told = desk.endpoint.next().await;
    assert_eq!((told.text(), told.number("chathook-sequence")), ("bad", 4));
    desk.server.settled().await;
    let job = desk.done(&id).await;
    assert_eq!((&job["seen"], &job["made"]), (&json!(3), &json!(1)));
    // Its last delivery did not fail.
    let id = desk.replay(json!({"since": 0, "status": "failed"})).await;
    assert_eq!(desk.done(&id).await["made"], 0);
    assert!(desk.endpoint.take_all().is_empty());
}

#[tokio::test]
async fn a_replay_takes_the_span_and_the_triggers_that_are_named() {
    let desk = Desk::new(&["after_message"]).await;
    for text in ["early", "middle", "late"] {
        desk.send("ben", text).await;
        desk.texts(1).await;
        desk.server.advance(10);
    }
    desk.app.call_as("ben", "POST", "/users/ana/conversation/read", json!({})).await.data();
    let id = desk.replay(json!({"since": NOW_S + 10, "until": NOW_S + 20})).await;
    assert_eq!(desk.texts(1).await, ["middle"]);
    assert_eq!(desk.done(&id).await["made"], 1);
    // The webhook never listened to receipts.
    let id = desk.replay(json!({"since": 0, "triggers": ["message_read_receipt"]})).await;
    assert_eq!(desk.endpoint.next().await.trigger(), "message_read_receipt");
    assert_eq!(desk.done(&id).await["made"], 1);
    desk.server.settled().await;
    assert!(desk.endpoint.take_all().is_empty());
}

#[tokio::test]
async fn what_still_waits_is_not_owed_twice() {
    let desk = Desk::new(&["after_message"]).await;
    let gate = support::endpoint::Gate::default();
    desk.endpoint.answer_text("one", Answer::status(200).after(&gate));
    desk.send("ben", "one").await;
    desk.endpoint.next().await;
    desk.send("ben", "two").await;
    let id = desk.replay(json!({"since": 0})).await;
    let job = desk.done(&id).await;
    assert_eq!((&job["seen"], &job["made"]), (&json!(2), &json!(0)));
    gate.open();
    assert_eq!(desk.texts(1).await, ["two"]);
}

#[tokio::test]
async fn a_replay_that_was_begun_before_a_restart_goes_on_after_it() {
    let mut desk = Desk::new(&["after_message"]).await;
    for text in ["one", "two"] {
        desk.send("ben", text).await;
    }
    desk.texts(2).await;
    // As if the process had died right after the answer: nobody is told of the job.
    let (app, webhook) = (AppId::trusted(&desk.app.id), WebhookId::trusted("audit"));
    let wanted = Wanted::parse(&json!({"since": 0}), &[Trigger::AfterMessage]).expect("it is fit");
    let begun = desk.server.engine().store.begin_replay(&app, &webhook, wanted, Time::from_ms(NOW_MS)).await;
    let id = begun.expect("it begins").row.to_string();
    assert_eq!(desk.job(&id).await["status"], "running");
    desk.server.restart().await;
    desk.app = desk.server.moved(&desk.app);
    assert_eq!(desk.texts(2).await, ["one", "two"]);
    assert_eq!(desk.done(&id).await["made"], 2);
}

#[tokio::test]
async fn a_cancelled_replay_makes_nothing_more_and_a_deleted_webhook_ends_its_replays() {
    let desk = Desk::new(&["after_message"]).await;
    desk.send("ben", "one").await;
    desk.texts(1).await;
    // Nobody is told of these jobs, so they run and get no further.
    let (app, webhook) = (AppId::trusted(&desk.app.id), WebhookId::trusted("audit"));
    let wanted = Wanted::parse(&json!({"since": 0}), &[Trigger::AfterMessage]).expect("it is fit");
    let mut running = Vec::new();
    for _ in 0..2 {
        let store = &desk.server.engine().store;
        let begun = store.begin_replay(&app, &webhook, wanted.clone(), Time::from_ms(NOW_MS)).await;
        running.push(begun.expect("it begins").row.to_string());
    }
    let cancelled = desk.call("POST", &format!("/replays/{}/cancel", running[0]), Value::Null).await;
    assert_eq!(cancelled.data()["status"], "cancelled");
    desk.call("DELETE", "", Value::Null).await.data();
    desk.server.webhook(&desk.app, "audit", &desk.endpoint, &["after_message"], Value::Null).await;
    assert_eq!(desk.job(&running[1]).await["status"], "cancelled");
    let id = desk.replay(json!({"since": 0, "triggers": ["message_read_receipt"]})).await;
    let done = desk.done(&id).await;
    assert_eq!(done["status"], "done");
    // What is over stays as it is.
    let path = format!("/replays/{id}/cancel");
    assert_eq!(*desk.call("POST", &path, Value::Null).await.data(), done);
    desk.call("POST", "/replays/99/cancel", Value::Null).await.refused(404, "ERR_REPLAY_NOT_FOUND");
    desk.call("GET", "/replays/x", Value::Null).await.refused(404, "ERR_REPLAY_NOT_FOUND");
    desk.server.settled().await;
    assert!(desk.endpoint.take_all().is_empty());
}

#[tokio::test]
async fn replays_are_listed_newest_first() {
    let desk = Desk::new(&["after_message"]).await;
    for _ in 0..3 {
        let id = desk.replay(json!({"since": 0})).await;
        desk.done(&id).await;
    }
    let first = desk.call("GET", "/replays?limit=2", Value::Null).await;
    let ids = |reply: &Reply| -> Vec<Value> {
        reply.data().as_array().expect("a list").iter().map(|job| job["id"].clone()).collect()
    };
    assert_eq!(ids(&first), ["3", "2"]);
    let cursor = first.json["meta"]["cursor"].as_str().expect("a cursor");
    let second = desk.call("GET", &format!("/replays?limit=2&cursor={cursor}"), Value::Null).await;
    assert_eq!(ids(&second), ["1"]);
    assert_eq!(second.json["meta"].get("cursor"), None);
}

#[tokio::test]
async fn a_replay_that_cannot_be_is_refused_with_the_field() {
    let desk = Desk::new(&["before_message"]).await;
    for (body, code, field) in [
        (json!({}), 400, "since"),
        (json!({"since": "2026-01-01"}), 400, "since"),
        (json!({"since": 5, "until": 5}), 400, "until"),
        (json!({"since": NOW_S + 1, "triggers": ["after_message"]}), 400, "since"),
        (json!({"since": 0, "status": "waiting", "triggers": ["after_message"]}), 400, "status"),
        (json!({"since": 0, "triggers": ["before_message"]}), 400, "triggers"),
        (json!({"since": 0, "triggers": []}), 400, "triggers"),
        (json!({"since": 0}), 400, "triggers"),
    ] {
        desk.call("POST", "/replay", body).await.refused_for(code, "ERR_BAD_REQUEST", field);
    }
    let unknown = desk.call("POST", "/replay", json!({"since": 0, "triggers": ["x"]})).await;
    unknown.refused_for(404, "ERR_TRIGGER_NOT_FOUND", "triggers");
    desk.call("PUT", "", json!({"enabled": false})).await.data();
    let off = desk.call("POST", "/replay", json!({"since": 0, "triggers": ["after_message"]})).await;
    off.refused(400, "ERR_WEBHOOK_OFF");
}
