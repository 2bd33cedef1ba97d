//! What happened can be looked up: deliveries with their attempts, and what a person does about one (design 9).

mod support;

use chathook_domain::ids::{AppId, Time, WebhookId};
use support::http::Reply;
use support::*;

struct Desk {
    server: TestServer,
    app: App,
    endpoint: Endpoint,
}

impl Desk {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        server.webhook(&app, "audit", &endpoint, &["after_message"], Value::Null).await;
        Self { server, app, endpoint }
    }

    /// A call below the webhook.
    async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.server.manage(method, &format!("/apps/{}/webhooks/audit{path}", self.app.id), body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, Value::Null).await
    }

    async fn post(&self, path: &str) -> Reply {
        self.call("POST", path, Value::Null).await
    }

    async fn change(&self, body: Value) {
        self.call("PUT", "", body).await.data();
    }

    async fn send(&self, to: &str, text: &str) {
        self.app.send_as("ana", text_to(to, text)).await.data();
    }

    /// The next request, once its outcome is in the store.
    async fn next(&self) -> Received {
        let request = self.endpoint.next().await;
        self.server.settled().await;
        request
    }

    /// The ids of a list of deliveries.
    async fn ids(&self, query: &str) -> Vec<String> {
        let list = self.get(&format!("/deliveries{query}")).await;
        let items = list.data().as_array().expect("a list");
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    }
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_with_what_became_of_them() {
    let desk = Desk::new().await;
    desk.endpoint.answer_text("two", Answer::status(500));
    for (to, text) in [("ben", "one"), ("chloe", "two")] {
        desk.send(to, text).await;
        desk.next().await;
        desk.server.advance(1);
    }
    desk.send("chloe", "three").await;
    desk.server.settled().await;
    let list = desk.get("/deliveries").await;
    let event_of = |n: usize| list.data()[n]["eventId"].clone();
    let expected = json!([
        {"id": "3", "sequence": 3, "eventId": event_of(0), "trigger": "after_message", "key": "ana_user_chloe",
         "status": "waiting", "attempts": 0, "lastOutcome": null, "createdAt": NOW_S + 2,
         "heldBecause": "behind", "behind": "2",
         "waitsFor": {"kind": "lane", "behind": "2", "text": "Delivery 2 stands before it in its lane and keeps failing: \
                      what concerns one conversation or user goes one after the other."}},
        {"id": "2", "sequence": 2, "eventId": event_of(1), "trigger": "after_message", "key": "ana_user_chloe",
         "status": "waiting", "attempts": 1, "lastOutcome": "500", "createdAt": NOW_S + 1,
         "nextAttemptAt": NOW_S + 11,
         "waitsFor": {"kind": "time", "until": NOW_S + 11, "text": "Its last attempt failed, and it is tried again."}},
        {"id": "1", "sequence": 1, "eventId": event_of(2), "trigger": "after_message", "key": "ana_user_ben",
         "status": "delivered", "attempts": 1, "lastOutcome": "200", "createdAt": NOW_S, "endedAt": NOW_S},
    ]);
    assert_eq!(*list.data(), expected);
    assert_eq!(list.json["meta"], json!({"limit": 100, "count": 3, "isPartial": false}));
}

#[tokio::test]
async fn deliveries_are_found_by_status_key_trigger_and_time() {
    let desk = Desk::new().await;
    let body = json!({"triggerIds": ["message_read_receipt"]});
    desk.call("POST", "/triggers", body).await.data();
    desk.endpoint.answer_text("two", Answer::status(500));
    for (to, text) in [("ben", "one"), ("chloe", "two")] {
        desk.send(to, text).await;
        desk.next().await;
        desk.server.advance(10);
    }
    desk.app.call_as("ben", "POST", "/users/ana/conversation/read", json!({})).await.data();
    // The retry of the second, and the receipt.
    desk.next().await;
    desk.next().await;
    assert_eq!(desk.ids("").await, ["3", "2", "1"]);
    assert_eq!(desk.ids("?status=delivered&key=ana_user_chloe").await, ["2"]);
    assert_eq!(desk.ids("?key=ana_user_ben").await, ["3", "1"]);
    assert_eq!(desk.ids("?trigger=message_read_receipt").await, ["3"]);
    assert_eq!(desk.ids(&format!("?since={}", NOW_S + 10)).await, ["3", "2"]);
    assert_eq!(desk.ids(&format!("?until={}", NOW_S + 10)).await, ["1"]);
    assert!(desk.ids("?status=waiting").await.is_empty());
    assert!(desk.ids("?status=failed").await.is_empty());
    desk.change(json!({"enabled": false})).await;
    for (query, code, field) in [
        ("status=lost", "ERR_BAD_REQUEST", "status"),
        ("since=yesterday", "ERR_BAD_REQUEST", "since"),
        ("limit=0", "ERR_BAD_REQUEST", "limit"),
        ("limit=1001", "ERR_BAD_REQUEST", "limit"),
        ("cursor=x", "ERR_BAD_REQUEST", "cursor"),
    ] {
        desk.get(&format!("/deliveries?{query}")).await.refused_for(400, code, field);
    }
    desk.get("/deliveries?trigger=x").await.refused_for(404, "ERR_TRIGGER_NOT_FOUND", "trigger");
}

#[tokio::test]
async fn a_list_is_walked_by_its_cursor_tests_in_their_place_of_time() {
    let desk = Desk::new().await;
    for n in 0..5 {
        desk.send("ben", "hello").await;
        desk.next().await;
        desk.server.advance(1);
        if n == 2 {
            desk.call("POST", "/test", json!({"trigger": "after_message"})).await.data();
            desk.endpoint.next().await;
            desk.server.advance(1);
        }
    }
    let all = ["5", "4", "test-1", "3", "2", "1"];
    assert_eq!(desk.ids("").await, all);
    for limit in 1..=6 {
        let (mut walked, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = desk.get(&format!("/deliveries?limit={limit}{cursor}")).await;
            let items = page.data().as_array().expect("a list");
            assert!(items.len() <= limit);
            walked.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
            let Some(next) = page.json["meta"]["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(walked, all, "in pages of {limit}");
    }
}

#[tokio::test]
async fn one_delivery_shows_its_attempts_and_the_body_as_it_was_sent() {
    let desk = Desk::new().await;
    desk.endpoint.answer([Answer::Close, Answer::body(503, "come back")]);
    desk.send("ben", "hello").await;
    let sent = desk.next().await;
    desk.server.advance(10);
    desk.next().await;
    desk.server.advance(30);
    desk.next().await;
    let shown = desk.get("/deliveries/1").await.data().clone();
    assert_eq!(shown["body"].as_str().map(str::as_bytes), Some(sent.bytes.as_slice()));
    assert_eq!(shown["eventId"], sent.header("webhook-id"));
    assert_eq!((&shown["status"], &shown["lastOutcome"]), (&json!("delivered"), &json!("200")));
    let attempts = shown["attempts"].as_array().expect("attempts");
    let outcomes: Vec<_> = attempts.iter().map(|a| (a["attempt"].clone(), a["outcome"].clone())).collect();
    let expected = [(json!(1), json!("broken")), (json!(2), json!("503")), (json!(3), json!("200"))];
    assert_eq!(outcomes, expected);
    assert_eq!(attempts[1]["body"], "come back");
    assert!(attempts[0]["address"].as_str().is_some_and(|at| at.starts_with("127.0.0.1")), "{}", attempts[0]);
    assert!(attempts[0]["phases"]["totalUs"].as_u64().is_some_and(|us| us > 0));
    assert!(attempts[0]["phases"]["tlsUs"].is_u64());
    assert!(attempts[0]["detail"].is_string(), "{}", attempts[0]);
    assert_eq!(attempts[2]["startedAt"], NOW_S + 40);
    for unknown in ["2", "0", "x", "-1", "test-1"] {
        desk.get(&format!("/deliveries/{unknown}")).await.refused(404, "ERR_DELIVERY_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_waiting_delivery_is_tried_again_at_once_when_a_person_says_so() {
    let desk = Desk::new().await;
    desk.endpoint.answer([Answer::status(500), Answer::status(500)]);
    desk.send("ben", "hello").await;
    desk.next().await;
    desk.server.advance(1);
    let hurried = desk.post("/deliveries/1/retry").await.data().clone();
    assert_eq!(hurried["id"], "1");
    // No time passes.
    assert_eq!(desk.next().await.header("chathook-attempt"), "2");
    // The waits of the schedule that it had used stay used.
    assert_eq!(desk.get("/deliveries/1").await.data()["nextAttemptAt"], NOW_S + 31);
}

#[tokio::test]
async fn a_hurried_delivery_goes_out_though_the_process_dies_before() {
    let mut desk = Desk::new().await;
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("ben", "hello").await;
    desk.next().await;
    let (app, webhook) = (AppId::trusted(&desk.app.id), WebhookId::trusted("audit"));
    let hurried = desk.server.engine().store.hurry_delivery(&app, &webhook, 1, Time::from_ms(NOW_MS)).await;
    hurried.expect("it waits");
    assert_eq!(desk.get("/deliveries/1").await.data()["waitsFor"]["kind"], "place");
    desk.server.restart().await;
    assert_eq!(desk.next().await.header("chathook-attempt"), "2");
}

#[tokio::test]
async fn what_ended_unsent_is_owed_anew_and_what_was_delivered_is_not() {
    let desk = Desk::new().await;
    desk.change(json!({"retryOnFailure": false})).await;
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("ben", "hello").await;
    let first = desk.next().await;
    assert_eq!(desk.ids("?status=failed").await, ["1"]);
    let again = desk.post("/deliveries/1/retry").await.data().clone();
    assert_eq!((&again["id"], &again["replay"]), (&json!("2"), &json!("1")));
    let second = desk.next().await;
    assert_eq!((second.header("webhook-id"), &second.bytes), (first.header("webhook-id"), &first.bytes));
    assert_eq!((second.header("chathook-sequence"), second.header("chathook-replay")), ("2", "1"));
    assert_eq!(second.header("chathook-key"), first.header("chathook-key"));
    assert!(!first.headers.contains_key("chathook-replay"));
    let job = desk.get("/replays/1").await.data().clone();
    assert_eq!(
        (&job["status"], &job["made"], &job["wanted"]),
        (&json!("done"), &json!(1), &json!({"delivery": "1"}))
    );
    assert_eq!(desk.ids("?status=delivered").await, ["2"]);
    let refused = desk.post("/deliveries/2/retry").await;
    assert!(
        refused.refused(400, "ERR_DELIVERY_ENDED")["message"].as_str().is_some_and(|m| m.contains("replay"))
    );
    desk.post("/deliveries/9/retry").await.refused(404, "ERR_DELIVERY_NOT_FOUND");
    desk.change(json!({"enabled": false})).await;
    desk.post("/deliveries/1/retry").await.refused(400, "ERR_WEBHOOK_OFF");
}

#[tokio::test]
async fn a_cancelled_delivery_is_never_tried_again_and_counts_as_settled() {
    let desk = Desk::new().await;
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("ben", "one").await;
    desk.next().await;
    let cancelled = desk.post("/deliveries/1/cancel").await.data().clone();
    assert_eq!((&cancelled["status"], &cancelled["endedAt"]), (&json!("cancelled"), &json!(NOW_S)));
    let events = desk.get("/events").await;
    assert_eq!((&events.json["meta"]["settled"], &events.json["meta"]["last"]), (&json!(1), &json!(1)));
    assert_eq!(desk.get("/stats").await.data()["waiting"]["bytes"], 0);
    desk.post("/deliveries/1/cancel").await.refused(400, "ERR_DELIVERY_ENDED");
    desk.post("/deliveries/2/cancel").await.refused(404, "ERR_DELIVERY_NOT_FOUND");
}

#[tokio::test]
async fn cancelling_what_is_in_flight_lets_the_attempt_end_and_nothing_follow() {
    let desk = Desk::new().await;
    let gate = support::endpoint::Gate::default();
    desk.endpoint.answer([Answer::status(500).after(&gate)]);
    desk.send("ben", "one").await;
    desk.endpoint.next().await;
    desk.post("/deliveries/1/cancel").await.data();
    gate.open();
    desk.server.settled().await;
    let shown = desk.get("/deliveries/1").await.data().clone();
    assert_eq!(shown["status"], "cancelled");
    assert_eq!(shown["attempts"][0]["outcome"], "500");
    let listed = desk.get("/deliveries").await.data()[0].clone();
    assert_eq!((&listed["attempts"], &listed["lastOutcome"]), (&json!(1), &json!("500")));
}

#[tokio::test]
async fn what_waits_for_a_webhook_that_is_off_says_so() {
    let desk = Desk::new().await;
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("ben", "one").await;
    desk.next().await;
    desk.change(json!({"enabled": false})).await;
    assert_eq!(desk.get("/deliveries").await.data()[0]["heldBecause"], "webhook_off");
}

/// What is below a webhook.
const CALLS: [(&str, &str); 15] = [
    ("GET", "/deliveries"),
    ("GET", "/deliveries/1"),
    ("GET", "/deliveries/test-1"),
    ("POST", "/deliveries/1/retry"),
    ("POST", "/deliveries/1/cancel"),
    ("POST", "/replay"),
    ("GET", "/replays"),
    ("GET", "/replays/1"),
    ("POST", "/replays/1/cancel"),
    ("GET", "/events"),
    ("POST", "/test"),
    ("GET", "/stats"),
    ("GET", "/health"),
    ("GET", "/circuit"),
    ("GET", "/calls"),
];

#[tokio::test]
async fn nothing_of_another_app_can_be_reached() {
    let desk = Desk::new().await;
    desk.change(json!({"retryOnFailure": false})).await;
    desk.endpoint.answer([Answer::status(500)]);
    let sent = desk.app.send_as("ana", text_to("ben", "one")).await;
    let message = sent.data()["id"].as_str().expect("an id").to_owned();
    desk.next().await;
    desk.call("POST", "/test", json!({"trigger": "after_message"})).await.data();
    desk.call("POST", "/replay", json!({"since": 0})).await.data();
    // One app without a webhook, and one whose webhook has the same id.
    let (other, twin) = (desk.server.app().await, desk.server.app().await);
    let theirs = Endpoint::start().await;
    desk.server.webhook(&twin, "audit", &theirs, &["after_message"], Value::Null).await;
    let body = json!({"since": 0, "trigger": "after_message"});
    for (method, path) in CALLS {
        let path = |app: &str, webhook: &str| format!("/apps/{app}/webhooks/{webhook}{path}");
        let under_other = desk.server.manage(method, &path(&other.id, "audit"), body.clone()).await;
        under_other.refused(404, "ERR_WEBHOOK_NOT_FOUND");
        desk.server
            .manage(method, &path("nobody", "audit"), body.clone())
            .await
            .refused(404, "ERR_APP_NOT_FOUND");
    }
    for (method, path, code) in [
        ("GET", "/deliveries/1", "ERR_DELIVERY_NOT_FOUND"),
        ("GET", "/deliveries/test-1", "ERR_DELIVERY_NOT_FOUND"),
        ("POST", "/deliveries/1/retry", "ERR_DELIVERY_NOT_FOUND"),
        ("POST", "/deliveries/1/cancel", "ERR_DELIVERY_NOT_FOUND"),
        ("GET", "/replays/1", "ERR_REPLAY_NOT_FOUND"),
        ("POST", "/replays/1/cancel", "ERR_REPLAY_NOT_FOUND"),
    ] {
        let path = format!("/apps/{}/webhooks/audit{path}", twin.id);
        desk.server.manage(method, &path, body.clone()).await.refused(404, code);
    }
    for path in ["/deliveries", "/replays", "/events", "/circuit", "/calls"] {
        let path = format!("/apps/{}/webhooks/audit{path}", twin.id);
        assert_eq!(*desk.server.manage("GET", &path, Value::Null).await.data(), json!([]), "{path}");
    }
    let path = format!("/apps/{}/webhooks/audit/replay", twin.id);
    desk.server.manage("POST", &path, body).await.data();
    let path = format!("/apps/{}/webhooks/audit/replays/2", twin.id);
    until("their replay is over", async || {
        desk.server.manage("GET", &path, Value::Null).await.data()["status"] == "done"
    })
    .await;
    desk.server.settled().await;
    assert!(theirs.take_all().is_empty(), "a replay sends another app's events");
    let timeline = |app: &str| format!("/apps/{app}/messages/{message}/timeline");
    desk.server
        .manage("GET", &timeline(&other.id), Value::Null)
        .await
        .refused(404, "ERR_MESSAGE_ID_NOT_FOUND");
    desk.server.manage("GET", &timeline("nobody"), Value::Null).await.refused(404, "ERR_APP_NOT_FOUND");
    for path in ["notices", "stats"] {
        let path = format!("/apps/nobody/{path}");
        desk.server.manage("GET", &path, Value::Null).await.refused(404, "ERR_APP_NOT_FOUND");
    }
    desk.call("DELETE", "/deliveries", Value::Null).await.refused(405, "ERR_METHOD_NOT_ALLOWED");
    let nobody = desk.server.raw("GET", &format!("/apps/{}/notices", desk.app.id), &[], Vec::new()).await;
    nobody.refused(401, "AUTH_ERR_EMPTY_AUTH_HEADER");
}
