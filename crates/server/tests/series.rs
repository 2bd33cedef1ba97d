//! What is counted over time is what happened, survives a restart, and goes in time; circuits tell their history.

mod support;

use support::endpoint::Gate;
use support::post::Post;
use support::stage::Stage;
use support::*;

const MINUTE_S: i64 = 60;
/// The beginning of the minute in which every test begins.
const MINUTE_0: i64 = NOW_S - NOW_S % MINUTE_S;

async fn health(post: &Post, query: &str) -> Value {
    let path = format!("/apps/{}/webhooks/audit/health{query}", post.app.id);
    post.server.manage("GET", &path, Value::Null).await.data().clone()
}

async fn stats_of(server: &TestServer, app: &App, query: &str) -> Value {
    let path = format!("/apps/{}/stats{query}", app.id);
    server.manage("GET", &path, Value::Null).await.data().clone()
}

async fn stats(post: &Post, query: &str) -> Value {
    stats_of(&post.server, &post.app, query).await
}

/// The beginnings of the steps with what was counted in each.
fn points(series: &Value, what: &str) -> Vec<(i64, i64)> {
    let points = series["series"].as_array().expect("a series").iter();
    let number = |value: &Value| value.as_i64().expect("a number");
    points.map(|point| (number(&point["at"]), number(point.pointer(what).expect(what)))).collect()
}

async fn deliver(post: &Post, count: usize) {
    for _ in 0..count {
        post.send("ben", "hello").await;
        post.next().await;
    }
}

/// Waits until the minutes that are over are in the store.
async fn minutes_are_kept(server: &TestServer, count: i64) {
    until("the minutes are in the store", async || {
        kept(server, "tally", "step = 60 AND webhook = ''") >= count
    })
    .await;
}

fn kept(server: &TestServer, table: &str, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) || '' FROM {table} WHERE {condition}");
    texts(server, &sql)[0].parse().expect("a count")
}

/// What the store would hold after a kill.
fn texts(server: &TestServer, sql: &str) -> Vec<String> {
    let file = server.data_dir().join("chathook.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = rusqlite::Connection::open_with_flags(file, flags).expect("the store's file");
    let mut query = db.prepare(sql).expect("a fit query");
    let found = query.query_map([], |row| row.get(0)).expect("it is read");
    found.map(|text| text.expect("a text")).collect()
}

#[tokio::test]
async fn counts_equal_what_was_sent_minute_by_minute() {
    let post = Post::with(json!({"patienceSeconds": 0})).await;
    deliver(&post, 3).await;
    post.server.advance(MINUTE_S);
    post.endpoint.answer([Answer::status(500), Answer::redirect("/"), Answer::status(404)]);
    deliver(&post, 5).await;
    let answer = health(&post, "").await;
    assert_eq!(answer["stepSeconds"], 60);
    assert_eq!(points(&answer, "/delivered"), [(MINUTE_0, 3), (MINUTE_0 + MINUTE_S, 2)]);
    assert_eq!(points(&answer, "/attempts/count"), [(MINUTE_0, 3), (MINUTE_0 + MINUTE_S, 5)]);
    assert_eq!(answer["total"]["attempts"]["failures"], json!({"5xx": 1, "3xx": 1, "404": 1}));
    assert_eq!(answer["total"]["attempts"]["succeeded"], 5);
    assert!(answer["total"]["attempts"]["totalUs"]["p99"].as_u64().is_some_and(|us| us > 0));
    assert_eq!((&answer["waiting"]["count"], &answer["circuit"]["failuresInRow"]), (&json!(3), &json!(0)));
    let of_app = stats(&post, "").await;
    assert_eq!(points(&of_app, "/messages"), [(MINUTE_0, 3), (MINUTE_0 + MINUTE_S, 5)]);
    assert_eq!(of_app["total"]["delivered"], 5);
    assert_eq!(of_app["total"]["attempts"], answer["total"]["attempts"]);
    assert_eq!((&of_app["now"]["waiting"], &of_app["now"]["online"]), (&json!(3), &json!(0)));
    // The one minute that we are in.
    assert_eq!(points(&health(&post, "?minutes=1").await, "/delivered"), [(MINUTE_0 + MINUTE_S, 2)]);
}

#[tokio::test]
async fn the_time_from_a_message_to_its_delivery_holds_the_waits_between_attempts() {
    let post = Post::new().await;
    post.endpoint.answer([Answer::status(500)]);
    post.send("ben", "late").await;
    post.next().await;
    post.server.advance(10);
    post.next().await;
    let p50 = health(&post, "").await["total"]["toDeliveredUs"]["p50"].as_u64().expect("a percentile");
    // Ten seconds, and what the attempt took, read with an error of at most six hundredths.
    assert!((9_400_000..11_500_000).contains(&p50), "{p50}");
}

#[tokio::test]
async fn what_was_counted_survives_a_restart_in_the_middle_of_a_minute() {
    let mut post = Post::new().await;
    deliver(&post, 2).await;
    post.server.advance(MINUTE_S);
    deliver(&post, 1).await;
    post.server.restart().await;
    post.app = post.server.moved(&post.app);
    deliver(&post, 4).await;
    let answer = health(&post, "").await;
    assert_eq!(points(&answer, "/delivered"), [(MINUTE_0, 2), (MINUTE_0 + MINUTE_S, 5)]);
    let of_app = stats(&post, "?step=600").await;
    assert_eq!(of_app["stepSeconds"], 600);
    assert_eq!((&of_app["total"]["messages"], &of_app["total"]["delivered"]), (&json!(7), &json!(7)));
    post.server.restart().await;
    assert_eq!(health(&post, "?minutes=600").await["total"]["delivered"], 7);
}

#[tokio::test]
async fn what_was_counted_is_in_the_store_after_ten_seconds_and_a_minute_is_one_row_all_the_same() {
    let post = Post::new().await;
    deliver(&post, 2).await;
    assert_eq!(kept(&post.server, "tally", "step = 60"), 0);
    post.server.advance(MINUTE_0 + MINUTE_S - NOW_S);
    minutes_are_kept(&post.server, 1).await;
    let cells = "SELECT hex(cells) FROM tally WHERE webhook = 'audit' AND step = 60";
    for _ in 0..2 {
        let before = texts(&post.server, cells);
        deliver(&post, 1).await;
        post.server.advance(10);
        until("it is in the store", async || texts(&post.server, cells) != before).await;
    }
    assert_eq!(kept(&post.server, "tally", "step = 60 AND webhook = 'audit'"), 2);
    assert_eq!(kept(&post.server, "tally", "step = 600 AND webhook = ''"), 1);
    assert_eq!(health(&post, "").await["total"]["delivered"], 4);
}

#[tokio::test]
async fn a_webhook_made_again_counts_anew_also_beside_an_attempt_for_the_one_before() {
    let post = Post::new().await;
    let gate = Gate::default();
    post.endpoint.answer([Answer::status(200), Answer::status(200).after(&gate)]);
    deliver(&post, 1).await;
    post.send("ben", "under way").await;
    post.endpoint.next().await;
    let path = format!("/apps/{}/webhooks/audit", post.app.id);
    post.server.manage("DELETE", &path, Value::Null).await.data();
    post.server.webhook(&post.app, "audit", &post.endpoint, &["after_message"], Value::Null).await;
    gate.open();
    until("the app has made both attempts", async || {
        stats(&post, "").await["total"]["attempts"]["count"] == 2
    })
    .await;
    for _ in 0..2 {
        assert_eq!(health(&post, "").await["total"]["attempts"]["count"], 0);
        post.server.advance(MINUTE_S);
        minutes_are_kept(&post.server, 1).await;
    }
    assert_eq!(kept(&post.server, "tally", "webhook = 'audit'"), 0);
    assert_eq!(stats(&post, "").await["total"]["attempts"]["count"], 2);
}

#[tokio::test]
async fn minutes_go_after_a_day_and_tens_of_minutes_after_a_week() {
    let post = Post::new().await;
    deliver(&post, 1).await;
    post.server.advance(MINUTE_S);
    minutes_are_kept(&post.server, 1).await;
    let removed = async |condition: &str| {
        until("what is old is removed", async || {
            post.server.advance(MINUTE_S);
            kept(&post.server, "tally", condition) == 0
        })
        .await;
    };
    // A jump of the clock holds removal up for an hour.
    post.server.advance(26 * 60 * MINUTE_S);
    removed("step = 60 AND webhook = 'audit'").await;
    assert_eq!(kept(&post.server, "tally", "step = 600 AND webhook = 'audit'"), 1);
    assert_eq!(health(&post, "?minutes=2880").await["total"]["delivered"], 1);
    post.server.advance(8 * 24 * 60 * MINUTE_S);
    removed("step = 600 AND webhook = 'audit'").await;
}

#[tokio::test]
async fn what_was_counted_goes_with_its_webhook_and_with_its_app() {
    let post = Post::new().await;
    deliver(&post, 2).await;
    post.server.advance(MINUTE_S);
    minutes_are_kept(&post.server, 1).await;
    deliver(&post, 1).await;
    let path = format!("/apps/{}/webhooks/audit", post.app.id);
    post.server.manage("DELETE", &path, Value::Null).await.data();
    assert_eq!(kept(&post.server, "tally", "webhook = 'audit'"), 0);
    post.server.advance(MINUTE_S);
    minutes_are_kept(&post.server, 2).await;
    assert_eq!(kept(&post.server, "tally", "webhook = 'audit'"), 0);
    assert_eq!(stats(&post, "").await["total"]["delivered"], 3, "the app has delivered them all the same");
    post.server.manage("DELETE", &format!("/apps/{}", post.app.id), Value::Null).await.data();
    assert_eq!(kept(&post.server, "tally", "1"), 0);
}

#[tokio::test]
async fn the_history_of_a_circuit_tells_how_it_opened_was_probed_and_closed() {
    let post = Post::with(json!({"patienceSeconds": 0})).await;
    post.endpoint.otherwise(Answer::status(503));
    for _ in 0..10 {
        post.send("ben", "one").await;
        post.next().await;
    }
    post.is_idle().await;
    let answer = health(&post, "").await;
    let expected = json!({"state": "open", "probeAt": NOW_S + 10, "pausedUntil": null, "failuresInRow": 10,
                          "inFlightMax": 1});
    assert_eq!(answer["circuit"], expected);
    assert_eq!(answer["needs"][0]["kind"], "failing");
    post.server.advance(10);
    post.next().await;
    post.is_idle().await;
    post.endpoint.otherwise(Answer::status(200));
    post.server.advance(20);
    for _ in 0..10 {
        post.next().await;
    }
    let turns = |answer: &Value| -> Vec<Value> {
        let history = answer.as_array().expect("a history").iter();
        history.map(|turn| json!([turn["turn"], turn["cause"], turn["at"]])).collect()
    };
    let expected = [
        json!(["closed", "200", NOW_S + 30]),
        json!(["probe_failed", "503", NOW_S + 10]),
        json!(["opened", "503", NOW_S]),
    ];
    let answer = health(&post, "").await;
    assert_eq!(turns(&answer["circuitHistory"]), expected);
    assert_eq!(answer["circuit"]["state"], "closed");
    let path = format!("/apps/{}/webhooks/audit/circuit?limit=2", post.app.id);
    let page = post.server.manage("GET", &path, Value::Null).await;
    assert_eq!(turns(page.data()), expected[..2]);
    let cursor = page.json["meta"]["cursor"].as_str().expect("a cursor");
    let rest = post.server.manage("GET", &format!("{path}&cursor={cursor}"), Value::Null).await;
    assert_eq!(turns(rest.data()), expected[2..]);
}

#[tokio::test]
async fn a_pause_that_was_asked_for_is_shown_with_its_end() {
    let post = Post::new().await;
    let headers = vec![("retry-after", "120".to_owned())];
    post.endpoint.answer([Answer::Full { status: 429, headers, body: Vec::new() }]);
    post.send("ben", "one").await;
    post.next().await;
    post.is_idle().await;
    let answer = health(&post, "").await;
    assert_eq!(answer["circuit"]["pausedUntil"], NOW_S + 120);
    assert_eq!(answer["circuitHistory"][0]["turn"], "paused");
    post.server.advance(120);
    post.next().await;
    assert_eq!(health(&post, "").await["circuit"]["pausedUntil"], Value::Null);
}

#[tokio::test]
async fn being_switched_off_is_part_of_the_history_and_comes_first_among_the_needs() {
    let post = Post::new().await;
    post.endpoint.answer([Answer::status(410)]);
    post.send("ben", "one").await;
    post.next().await;
    post.is_idle().await;
    let answer = health(&post, "").await;
    assert_eq!(answer["circuitHistory"][0]["turn"], "switched_off");
    assert_eq!(answer["circuitHistory"][0]["cause"], "gone");
    let needs = stats(&post, "").await["needs"].clone();
    assert_eq!((&needs[0]["kind"], &needs[0]["webhook"]), (&json!("switched_off"), &json!("audit")));
}

#[tokio::test]
async fn verdicts_and_the_circuit_of_before_message_are_counted_and_told() {
    let stage = Stage::new().await;
    stage.answered(Answer::json(&json!({"action": "do_not_propagate"}))).await;
    stage.answered(Answer::json(&json!({"seen": true}))).await.data();
    stage.gate.otherwise(Answer::Close);
    for _ in 0..5 {
        stage.send("hello").await.data();
    }
    stage.server.asked(7).await;
    let path = format!("/apps/{}/webhooks/gate/health", stage.app.id);
    let get = async || stage.server.manage("GET", &path, Value::Null).await.data().clone();
    until("the turn is written", async || !get().await["circuitHistory"].as_array().unwrap().is_empty())
        .await;
    let answer = get().await;
    let counts = answer["total"]["beforeMessage"].clone();
    assert_eq!((&counts["drop"], &counts["inject"], &counts["silent"]), (&json!(1), &json!(1), &json!(5)));
    assert_eq!(answer["beforeMessageCircuit"], json!({"state": "open", "probeAt": NOW_S + 5}));
    assert_eq!(answer["circuitHistory"][0]["circuit"], "before_message");
    assert_eq!(answer["circuitHistory"][0]["cause"], "broken");
    assert!(answer["needs"].as_array().unwrap().iter().any(|need| need["kind"] == "before_message"));
    let of_app = stats_of(&stage.server, &stage.app, "").await;
    assert_eq!(of_app["total"]["beforeMessage"]["drop"], 1);
    assert_eq!(of_app["total"]["messages"], 6);
}

#[tokio::test]
async fn probes_that_fail_one_after_the_other_are_one_turn_of_the_history() {
    let stage = Stage::new().await;
    let path = format!("/apps/{}/webhooks/gate", stage.app.id);
    let health = format!("{path}/health");
    let history = async || {
        let answer = stage.server.manage("GET", &health, Value::Null).await.data().clone();
        let turns = answer["circuitHistory"].as_array().expect("a history").iter();
        let told =
            |turn: &Value| json!([turn["turn"], turn["cause"], turn["at"], turn["times"], turn["lastAt"]]);
        turns.map(told).collect::<Vec<_>>()
    };
    let tells = async |expected: Value| {
        until("the turns are written", async || json!(history().await) == expected).await;
    };
    stage.gate.otherwise(Answer::Close);
    for _ in 0..5 {
        stage.send("hello").await.data();
    }
    let opened = json!(["opened", "broken", NOW_S, 1, null]);
    tells(json!([opened])).await;
    stage.server.advance(5);
    stage.send("hello").await.data();
    tells(json!([["probe_failed", "broken", NOW_S + 5, 1, null], opened])).await;
    for _ in 0..2 {
        stage.server.advance(5);
        stage.send("hello").await.data();
        stage.send("passes by").await.data();
    }
    let probes = json!(["probe_failed", "broken", NOW_S + 5, 3, NOW_S + 15]);
    tells(json!([probes, opened])).await;
    stage.server.manage("PUT", &path, json!({"name": "Mended"})).await.data();
    tells(json!([["closed", "changed", NOW_S + 15, 1, null], probes, opened])).await;
}

#[tokio::test]
async fn users_online_are_counted_at_their_peak_and_at_last_also_when_nothing_changes() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let ana = Socket::of(&app, "ana").await;
    let ben = Socket::of(&app, "ben").await;
    drop(ben);
    until("ben is offline", async || stats_of(&server, &app, "").await["now"]["online"] == 1).await;
    let online = async || stats_of(&server, &app, "").await["total"]["online"].clone();
    until("it is counted", async || online().await == json!({"peak": 2, "last": 1})).await;
    server.advance(MINUTE_0 + MINUTE_S - NOW_S);
    until("the next minute is looked at", async || {
        points(&stats_of(&server, &app, "?minutes=1").await, "/online/last") == [(MINUTE_0 + MINUTE_S, 1)]
    })
    .await;
    drop(ana);
}

#[tokio::test]
async fn a_span_or_step_that_is_not_kept_is_refused() {
    let post = Post::new().await;
    for (query, field) in [
        ("minutes=0", "minutes"),
        ("minutes=10081", "minutes"),
        ("step=61", "step"),
        ("minutes=1501&step=60", "step"),
    ] {
        for path in ["stats", "webhooks/audit/health"] {
            let path = format!("/apps/{}/{path}?{query}", post.app.id);
            let refused = post.server.manage("GET", &path, Value::Null).await;
            refused.refused_for(400, "ERR_BAD_REQUEST", field);
        }
    }
    let path = "/apps/nobody/stats";
    post.server.manage("GET", path, Value::Null).await.refused(404, "ERR_APP_NOT_FOUND");
}
