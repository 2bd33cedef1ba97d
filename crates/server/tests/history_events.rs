//! A webhook's events in order, tests by hand, and figures (design 9).

mod support;

use support::http::Reply;
use support::*;

struct Desk {
    server: TestServer,
    app: App,
    endpoint: Endpoint,
}

impl Desk {
    async fn new(triggers: &[&str], more: Value) -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        server.webhook(&app, "audit", &endpoint, triggers, more).await;
        Self { server, app, endpoint }
    }

    /// A call below the webhook.
    async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.server.manage(method, &format!("/apps/{}/webhooks/audit{path}", self.app.id), body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, Value::Null).await
    }

    async fn send(&self, to: &str, text: &str) -> Reply {
        self.app.send_as("ana", text_to(to, text)).await
    }

    async fn next(&self) -> Received {
        let request = self.endpoint.next().await;
        self.server.settled().await;
        request
    }

    /// Sends a test; answers with what came of it, and with the request as it arrived.
    async fn test(&self, trigger: &str) -> (Value, Received) {
        let tested = self.call("POST", "/test", json!({"trigger": trigger})).await.data().clone();
        (tested, self.endpoint.next().await)
    }
}

#[tokio::test]
async fn events_are_read_in_order_as_the_endpoint_would_get_them() {
    let desk = Desk::new(&["after_message"], Value::Null).await;
    desk.send("ben", "one").await.data();
    let told = desk.next().await;
    // Nobody answers: what waits is read as well.
    desk.endpoint.otherwise(Answer::status(500));
    for text in ["two", "three"] {
        desk.server.advance(1);
        desk.send("ben", text).await.data();
    }
    let all = desk.get("/events").await;
    let first = json!({
        "sequence": 1, "id": told.header("webhook-id"), "trigger": "after_message", "createdAt": NOW_S,
        "body": told.json,
    });
    assert_eq!(all.data()[0], first);
    let texts = |reply: &Reply| -> Vec<Value> {
        let events = reply.data().as_array().expect("a list");
        events.iter().map(|event| event["body"]["data"]["data"]["text"].clone()).collect()
    };
    assert_eq!(texts(&all), ["one", "two", "three"]);
    assert_eq!(all.json["meta"]["last"], 3);
    assert_eq!(all.json["meta"]["settled"], 1);
    let page = desk.get("/events?after=1&limit=1").await;
    assert_eq!(texts(&page), ["two"]);
    assert_eq!(
        (&page.json["meta"]["hasMore"], &page.json["meta"]["next"]),
        (&json!(true), &json!({"after": 2}))
    );
    let rest = desk.get("/events?after=2&limit=1").await;
    assert_eq!((texts(&rest), &rest.json["meta"]["hasMore"]), (vec![json!("three")], &json!(false)));
    assert!(texts(&desk.get("/events?after=3").await).is_empty());
    for query in ["after=-1", "after=x", "limit=0"] {
        let field = query.split('=').next().expect("a name");
        desk.get(&format!("/events?{query}")).await.refused_for(400, "ERR_BAD_REQUEST", field);
    }
}

#[tokio::test]
async fn a_test_takes_the_way_of_a_real_one_and_says_what_came_of_it() {
    let more = json!({"useBasicAuth": true, "username": "cc", "password": "s3cret"});
    let desk = Desk::new(&["message_read_receipt"], more).await;
    desk.call("PUT", "", json!({"enabled": false})).await.data();
    desk.endpoint.answer([Answer::body(201, "thanks")]);
    let (tested, request) = desk.test("after_message").await;
    assert_eq!(
        (&tested["id"], &tested["test"], &tested["success"]),
        (&json!("test-1"), &json!(true), &json!(true))
    );
    assert_eq!(
        (&tested["attempt"]["outcome"], &tested["attempt"]["body"]),
        (&json!("201"), &json!("thanks"))
    );
    assert!(tested["attempt"]["phases"]["totalUs"].as_u64().is_some_and(|us| us > 0));
    assert_eq!(tested["request"]["body"].as_str().map(str::as_bytes), Some(request.bytes.as_slice()));
    let headers = &tested["request"]["headers"];
    assert_eq!(headers["authorization"], "Basic ***");
    assert!(request.header("authorization").len() > 10);
    for name in ["webhook-id", "webhook-signature", "chathook-key", "content-type"] {
        assert_eq!(headers[name], request.header(name), "{name}");
    }
    assert_eq!(request.header("chathook-test"), "true");
    for name in ["chathook-sequence", "chathook-settled"] {
        assert!(!request.headers.contains_key(name), "{name}");
    }
    assert_eq!(request.text(), "This is a test event of chathook.");
    assert_eq!(request.json["webhook"], "audit");
    let kept = desk.get("/deliveries/test-1").await.data().clone();
    assert_eq!(
        (&kept["test"], &kept["status"], kept.get("sequence")),
        (&json!(true), &json!("delivered"), None)
    );
    assert_eq!((&kept["body"], &kept["attempts"][0]), (&tested["request"]["body"], &tested["attempt"]));
    assert_eq!(kept["eventId"], request.header("webhook-id"));
    // A test moves no number.
    assert_eq!(desk.get("/events").await.json["meta"]["last"], 0);
}

#[tokio::test]
async fn each_trigger_has_a_sample_with_the_fields_of_a_real_one() {
    let desk = Desk::new(&["message_read_receipt"], Value::Null).await;
    for (trigger, name, field) in [
        ("before_message", "before_message", "/data/data/text"),
        ("after_message", "after_message", "/data/id"),
        ("message_delivery_receipt", "message_delivery_receipt", "/data/deliveredAt"),
        ("message_read_receipt", "message_read_receipt", "/data/readAt"),
        ("user_connection_status_change", "after_connection_status_changed", "/data/user/uid"),
    ] {
        let (tested, request) = desk.test(trigger).await;
        assert_eq!((&tested["trigger"], request.trigger()), (&json!(trigger), name));
        assert!(request.json.pointer(field).is_some(), "{}", request.json);
        assert_eq!(tested.get("verdict").is_some(), trigger == "before_message");
    }
    let list = desk.get("/deliveries?trigger=message_read_receipt").await;
    assert_eq!(list.data().as_array().map(Vec::len), Some(1));
    let unknown = desk.call("POST", "/test", json!({"trigger": "x"})).await;
    unknown.refused_for(404, "ERR_TRIGGER_NOT_FOUND", "trigger");
    desk.call("POST", "/test", json!({})).await.refused_for(400, "ERR_BAD_REQUEST", "trigger");
}

#[tokio::test]
async fn a_test_of_before_message_shows_the_verdict_and_what_it_would_do() {
    let desk = Desk::new(&["message_read_receipt"], json!({"onFailure": "drop"})).await;
    let stop = json!({"action": "do_not_propagate", "reason": "no"});
    let replace = json!({"action": "replace", "data": {"text": "kinder"}});
    let unfit = json!({"action": "replace", "data": {"text": ""}});
    desk.endpoint.answer([
        Answer::json(&json!({})),
        Answer::json(&stop),
        Answer::json(&replace),
        Answer::json(&unfit),
        Answer::status(500),
    ]);
    let mut verdicts = Vec::new();
    for _ in 0..5 {
        verdicts.push(desk.test("before_message").await.0["verdict"].clone());
    }
    assert_eq!(
        verdicts[0],
        json!({"verdict": "pass", "data": {"text": "This is a test event of chathook."}})
    );
    assert_eq!(verdicts[1], json!({"verdict": "drop", "reason": "no"}));
    assert_eq!(verdicts[2], json!({"verdict": "replace", "data": {"text": "kinder"}}));
    assert_eq!((&verdicts[3]["verdict"], verdicts[3].get("data")), (&json!("drop"), None));
    assert!(
        verdicts[3]["silence"].as_str().is_some_and(|cause| cause.contains("replacement")),
        "{}",
        verdicts[3]
    );
    assert_eq!(verdicts[4], json!({"verdict": "drop", "reason": null, "silence": "status_500"}));
}

#[tokio::test]
async fn a_test_of_before_message_warns_of_an_action_that_is_none() {
    let desk = Desk::new(&["message_read_receipt"], Value::Null).await;
    desk.endpoint.answer([Answer::json(&json!({"action": "dropp"}))]);
    let verdict = desk.test("before_message").await.0["verdict"].clone();
    assert_eq!(verdict["verdict"], "inject");
    let warning = verdict["warning"].as_str().expect("a warning");
    assert!(warning.contains("'dropp'") && warning.contains("'do_not_propagate'"), "{warning}");
}

#[tokio::test]
async fn a_test_that_nobody_answers_names_the_failure() {
    let desk = Desk::new(&["message_read_receipt"], Value::Null).await;
    desk.endpoint.shut().await;
    let tested = desk.call("POST", "/test", json!({"trigger": "after_message"})).await.data().clone();
    assert_eq!((&tested["success"], &tested["attempt"]["outcome"]), (&json!(false), &json!("not_connected")));
    assert_eq!(desk.get("/deliveries?status=failed").await.data()[0]["id"], "test-1");
    // The guard is the same: an address that may not be called is not called.
    desk.call("PUT", "", json!({"webhookURL": "https://localhost.localdomain.invalid/"})).await.data();
    let tested = desk.call("POST", "/test", json!({"trigger": "after_message"})).await.data().clone();
    assert_eq!(tested["attempt"]["outcome"], "name_not_resolved");
}

#[tokio::test]
async fn stats_count_what_ended_what_was_tried_and_what_waits() {
    let desk = Desk::new(&["after_message"], Value::Null).await;
    desk.send("ben", "long ago").await.data();
    desk.next().await;
    desk.server.advance(3_600);
    desk.endpoint.answer_text("two", Answer::status(503));
    for text in ["one", "two"] {
        desk.send(if text == "one" { "ben" } else { "chloe" }, text).await.data();
        desk.next().await;
    }
    desk.send("chloe", "three").await.data();
    desk.server.advance(5);
    let stats = desk.get("/stats?minutes=10").await.data().clone();
    assert_eq!(stats["deliveries"], json!({"delivered": 1, "failed": 0, "cancelled": 0, "expired": 0}));
    assert_eq!(stats["attempts"]["byOutcome"], json!({"200": 1, "503": 1}));
    assert_eq!((&stats["attempts"]["count"], &stats["attempts"]["perMinute"]), (&json!(2), &json!(0.2)));
    let total = &stats["attempts"]["totalUs"];
    assert!(total["p50"].as_u64() > Some(0) && total["p99"].as_u64() >= total["p50"].as_u64(), "{total}");
    let waiting = &stats["waiting"];
    assert_eq!((&waiting["count"], &waiting["oldestSeconds"]), (&json!(2), &json!(5)));
    assert!(waiting["bytes"].as_u64() > Some(100), "{waiting}");
    assert_eq!(stats["isCut"], false);
    assert_eq!(desk.get("/stats?minutes=61").await.data()["deliveries"]["delivered"], 2);
    for query in ["minutes=0", "minutes=10081", "minutes=x"] {
        desk.get(&format!("/stats?{query}")).await.refused_for(400, "ERR_BAD_REQUEST", "minutes");
    }
}

#[tokio::test]
async fn stats_count_the_verdicts_of_before_message_and_its_silences() {
    let desk = Desk::new(&["before_message"], Value::Null).await;
    let stop = json!({"action": "do_not_propagate"});
    desk.endpoint.answer([Answer::json(&json!({})), Answer::json(&stop), Answer::status(500)]);
    for _ in 0..3 {
        desk.send("ben", "hello").await;
    }
    until("the calls are logged", async || {
        let stats = desk.get("/stats").await.data().clone();
        stats["beforeMessage"]["bySilence"] == json!({"status_500": 1})
    })
    .await;
    let asked = desk.get("/stats").await.data()["beforeMessage"].clone();
    assert_eq!(asked["byVerdict"], json!({"drop": 1, "pass": 1}), "a silence is no verdict");
    assert!(asked["tookUs"]["p50"].is_u64(), "{asked}");
}
