//! What pages say of trouble: one word for one state, silence apart from verdicts, causes with their cures, and links
//! to what helps.

mod support;

use support::browser::{Browser, between};
use support::post::Post;
use support::stage::Stage;
use support::*;

async fn manage(stage: &Stage, path: &str) -> Value {
    stage.server.manage("GET", &format!("/apps/{}{path}", stage.app.id), Value::Null).await.data().clone()
}

/// Waits for so many lines in the log of calls, and for their counts.
async fn asked(stage: &Stage, count: u64) {
    stage.server.asked(usize::try_from(count).expect("few")).await;
    until("the calls are counted", async || {
        let counts = manage(stage, "/webhooks/gate/health").await["total"]["beforeMessage"].clone();
        let sum: u64 = ["pass", "inject", "replace", "drop", "silent"]
            .iter()
            .map(|name| counts[*name].as_u64().unwrap_or_default())
            .sum();
        sum == count
    })
    .await;
}

#[tokio::test]
async fn silence_is_counted_apart_from_every_verdict() {
    for (on_failure, did) in [("propagate", "let through"), ("drop", "dropped")] {
        let stage = Stage::with(json!({"onFailure": on_failure})).await;
        stage.answered(Answer::json(&json!({}))).await.data();
        for _ in 0..2 {
            stage.answered(Answer::status(500)).await;
        }
        asked(&stage, 3).await;
        let counts = manage(&stage, "/webhooks/gate/health").await["total"]["beforeMessage"].clone();
        let counts = ["pass", "drop", "silent"].map(|name| counts[name].clone());
        assert_eq!(counts, [json!(1), json!(0), json!(2)]);
        let figures = manage(&stage, "/webhooks/gate/stats").await["beforeMessage"].clone();
        assert_eq!(figures["byVerdict"], json!({"pass": 1}));
        assert_eq!(figures["bySilence"], json!({"status_500": 2}));
        let passed = manage(&stage, "/webhooks/gate/calls?verdict=pass").await;
        assert_eq!(passed.as_array().map(Vec::len), Some(1), "{passed}");
        let dropped = manage(&stage, "/webhooks/gate/calls?verdict=drop").await;
        assert_eq!(dropped, json!([]));
        let mut browser = Browser::logged_in(&stage.server).await;
        let root = format!("/apps/{}", stage.app.id);
        for path in ["/overview", "/webhooks/gate/health"] {
            let html = browser.page(&format!("{root}{path}")).await;
            let plot = between(&html, "id=\"verdicts-title\"", "</figure>");
            assert!(plot.contains("Passed <b>1</b>") && plot.contains("Dropped <b>0</b>"), "{plot}");
            assert!(plot.contains("Silent <b>2</b>"), "{plot}");
            assert!(html.contains("before_message silent"), "{html}");
        }
        let calls = browser.page(&format!("{root}/before-message")).await;
        assert_eq!(calls.matches("badge warn\">silent").count(), 3, "two rows and a figure: {calls}");
        assert!(calls.contains(&format!("{did}, as silence means here")), "{calls}");
    }
}

#[tokio::test]
async fn a_silence_is_told_in_words_with_a_cure_and_its_code() {
    let stage = Stage::new().await;
    stage.answered(Answer::json(&json!({"action": "replace"}))).await.data();
    asked(&stage, 1).await;
    let mut browser = Browser::logged_in(&stage.server).await;
    let root = format!("/apps/{}", stage.app.id);
    let id = manage(&stage, "/webhooks/gate/calls").await[0]["id"].as_str().expect("an id").to_owned();
    let led = browser.get(&format!("{root}/before-message/{id}/message")).await;
    let message = led.headers["location"].to_str().expect("plain").to_owned();
    let message = message.strip_prefix("/dashboard").expect("a page of the dashboard").to_owned();
    for path in [format!("{root}/before-message"), message, format!("{root}/webhooks/gate/health")] {
        let html = browser.page(&path).await;
        for told in [
            "Its answer asks to replace and has no object &#39;data&#39;.",
            "Let it name the fields",
            "<code class=\"muted\">replacement_without_data</code>",
        ] {
            assert!(html.contains(told), "{path}: {told}: {html}");
        }
    }
}

#[tokio::test]
async fn the_health_of_one_that_is_only_asked_is_that_of_its_calls() {
    let stage = Stage::new().await;
    stage.gate.otherwise(Answer::Close);
    for _ in 0..5 {
        stage.send("hello").await.data();
    }
    asked(&stage, 5).await;
    until("the turn is written", async || {
        manage(&stage, "/webhooks/gate/circuit").await.as_array().map(Vec::len) == Some(1)
    })
    .await;
    let mut browser = Browser::logged_in(&stage.server).await;
    let html = browser.page(&format!("/apps/{}/webhooks/gate/health", stage.app.id)).await;
    let state = between(&html, "id=\"state-title\"", "</section>");
    assert!(state.contains("badge bad\">silent"), "{state}");
    assert!(state.contains("the connection broke before its answer was complete"), "{state}");
    assert!(state.contains("(since <time"), "{state}");
    assert!(state.contains("/before-message?webhook=gate&#38;verdict=silent"), "{state}");
    let circuit = between(&html, "id=\"hook-circuit-title\"", "</section>");
    assert!(circuit.contains("badge bad\">open") && circuit.contains("<time"), "{circuit}");
    let causes = between(&html, "id=\"silences-title\"", "</section>");
    assert!(causes.contains(">5<") && causes.contains(">broken<"), "{causes}");
    for foreign in ["id=\"circuit-title\"", "id=\"causes-title\"", "Success rate", "id=\"attempts-title\""] {
        assert!(!html.contains(foreign), "{foreign}: {html}");
    }
    assert_eq!(html.matches("<figure").count(), 2, "verdicts and times: {html}");
}

#[tokio::test]
async fn a_failing_webhook_is_called_failing_everywhere_and_its_cause_is_named() {
    let post = Post::with(json!({"patienceSeconds": 0})).await;
    post.endpoint.otherwise(Answer::status(503));
    for _ in 0..10 {
        post.send("ben", "one").await;
        post.next().await;
    }
    post.is_idle().await;
    let mut browser = Browser::logged_in(&post.server).await;
    let root = format!("/apps/{}", post.app.id);
    for path in ["/overview", "/webhooks", "/webhooks/audit", "/webhooks/audit/health"] {
        let html = browser.page(&format!("{root}{path}")).await;
        assert!(html.contains("badge bad\">failing"), "{path}: {html}");
        assert!(!html.contains(">circuit open<"), "{path}: {html}");
    }
    let html = browser.page(&format!("{root}/overview")).await;
    let needs = between(&html, "id=\"needs-title\"", "</section>");
    for told in [
        "it answered 503, a failure of its own.",
        "<code class=\"muted\">503</code>",
        "(since <time",
        &format!("{root}/deliveries?webhook=audit&#38;status=waiting"),
        &format!("{root}/webhooks/audit#test"),
    ] {
        assert!(needs.contains(told), "{told}: {needs}");
    }
}

#[tokio::test]
async fn the_pages_about_a_webhook_lead_to_each_other() {
    let stage = Stage::new().await;
    let mut browser = Browser::logged_in(&stage.server).await;
    let root = format!("/apps/{}", stage.app.id);
    let of_audit =
        ["webhooks/audit", "webhooks/audit/health", "deliveries?webhook=audit", "webhooks/audit/replays"];
    let of_gate =
        ["webhooks/gate", "webhooks/gate/health", "deliveries?webhook=gate", "before-message?webhook=gate"];
    for pages in [of_audit, of_gate] {
        for page in pages {
            let html = browser.page(&format!("{root}/{page}")).await;
            let links = between(&html, "class=\"hook-links\"", "</nav>");
            for other in pages {
                assert!(
                    links.contains(&format!("href=\"/dashboard{root}/{other}\"")),
                    "{page}: {other}: {links}"
                );
            }
            assert_eq!(links.matches("<a ").count(), pages.len(), "{page}: {links}");
            assert_eq!(links.matches("aria-current=\"page\"").count(), 1, "{page}: {links}");
        }
    }
}

#[tokio::test]
async fn a_call_leads_to_its_message_and_a_dropped_one_to_none() {
    let stage = Stage::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let sent = stage.answered(Answer::json(&json!({}))).await;
        ids.push(sent.data()["id"].as_str().expect("an id").to_owned());
    }
    stage.answered(Answer::json(&json!({"action": "do_not_propagate"}))).await;
    asked(&stage, 4).await;
    let mut browser = Browser::logged_in(&stage.server).await;
    let root = format!("/apps/{}", stage.app.id);
    let html = browser.page(&format!("{root}/before-message")).await;
    let links: Vec<&str> =
        html.split("/before-message/").skip(1).map(|rest| between(rest, "", "/message")).collect();
    assert_eq!(links.len(), 3, "{html}");
    for (row, id) in links.iter().zip(ids.iter().rev()) {
        let led = browser.get(&format!("{root}/before-message/{row}/message")).await;
        assert_eq!(led.headers["location"], *format!("/dashboard{root}/messages/{id}"));
    }
    let other = stage.server.app().await;
    for path in [
        format!("/apps/{}/before-message/{}/message", other.id, links[0]),
        format!("{root}/before-message/4/message"),
        format!("{root}/before-message/999/message"),
        format!("{root}/before-message/x/message"),
    ] {
        assert_eq!(browser.get(&path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_delivery_is_cancelled_only_after_a_question() {
    let post = Post::new().await;
    post.endpoint.otherwise(Answer::status(500));
    post.send("ben", "one").await;
    post.next().await;
    post.is_idle().await;
    let mut browser = Browser::logged_in(&post.server).await;
    let one = format!("/apps/{}/webhooks/audit/deliveries/1", post.app.id);
    let html = browser.page(&one).await;
    assert!(!html.contains(&format!("action=\"/dashboard{one}/cancel\"")), "{html}");
    assert!(html.contains(&format!("href=\"/dashboard{one}/cancel\"")), "{html}");
    let question = browser.page(&format!("{one}/cancel")).await;
    assert!(question.contains("Cancel delivery 1?"), "{question}");
    assert!(browser.page(&one).await.contains("waiting"));
    let after = browser.follow(&format!("{one}/cancel"), &[]).await;
    assert!(after.contains("badge plain\">cancelled"), "{after}");
    let unknown = format!("/apps/{}/webhooks/audit/deliveries/7/cancel", post.app.id);
    assert_eq!(browser.get(&unknown).await.status, 404);
}
