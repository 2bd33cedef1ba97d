//! An endpoint that is down is asked from time to time, and everything waits for it, in order.

mod support;

use support::post::Post;
use support::*;

/// Ten conversations.
const PAIRS: [(&str, &str); 10] = [
    ("ana", "ben"),
    ("ana", "chloe"),
    ("ana", "dev"),
    ("ana", "emma"),
    ("ben", "chloe"),
    ("ben", "dev"),
    ("ben", "emma"),
    ("chloe", "dev"),
    ("chloe", "emma"),
    ("dev", "emma"),
];
const HALF_A_DAY_S: i64 = 12 * 60 * 60;

async fn send_to_all(post: &Post, text: &str) {
    for (from, to) in PAIRS {
        post.app.send_as(from, text_to(to, text)).await.data();
    }
}

/// Ten failures in a row, of ten conversations.
async fn opened() -> Post {
    let post = Post::new().await;
    post.endpoint.otherwise(Answer::status(503));
    send_to_all(&post, "one").await;
    for _ in PAIRS {
        assert_eq!(post.next().await.text(), "one");
    }
    post
}

#[tokio::test]
async fn ten_failures_open_it_one_probe_goes_from_time_to_time_and_recovery_brings_all_in_order() {
    let post = opened().await;
    send_to_all(&post, "two").await;
    let mut probed = Vec::new();
    for wait_s in [10, 20] {
        post.server.advance(wait_s - 1);
        post.is_idle().await;
        post.server.advance(1);
        let probe = post.next().await;
        assert_eq!(probe.text(), "one");
        probed.push(probe.header("chathook-key").to_owned());
        post.is_idle().await;
    }
    assert_ne!(probed[0], probed[1], "the next probe is of another conversation");
    assert_eq!(post.notices().await, ["failing"]);
    post.endpoint.otherwise(Answer::status(200));
    post.server.advance(40);
    let mut texts = std::collections::BTreeMap::<String, Vec<String>>::new();
    for _ in 0..2 * PAIRS.len() {
        let request = post.endpoint.next().await;
        texts.entry(request.header("chathook-key").to_owned()).or_default().push(request.text().to_owned());
    }
    assert_eq!(texts.len(), PAIRS.len());
    assert!(texts.values().all(|texts| *texts == ["one", "two"]), "{texts:?}");
    post.is_idle().await;
    assert_eq!(post.notices().await, ["failing", "recovered"]);
}

#[tokio::test]
async fn a_probe_that_is_refused_for_what_it_is_closes_it() {
    let post = opened().await;
    post.endpoint.answer([Answer::status(422)]);
    post.endpoint.otherwise(Answer::status(200));
    post.server.advance(10);
    for _ in PAIRS {
        post.next().await;
    }
}

#[tokio::test]
async fn retry_after_pauses_all_conversations() {
    let post = Post::new().await;
    let headers = vec![("retry-after", "120".to_owned())];
    post.endpoint.answer([Answer::Full { status: 429, headers, body: Vec::new() }]);
    post.send("ben", "one").await;
    assert_eq!(post.next().await.text(), "one");
    post.send("chloe", "two").await;
    post.server.advance(119);
    post.is_idle().await;
    post.server.advance(1);
    let mut texts = [post.next().await, post.next().await].map(|request| request.text().to_owned());
    texts.sort();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test]
async fn a_webhook_that_fails_for_five_days_is_switched_off_and_a_person_is_told_before() {
    let post = Post::new().await;
    post.endpoint.otherwise(Answer::status(500));
    post.send("ben", "one").await;
    post.next().await;
    post.send("ben", "two").await;
    for half_days in 1..=10 {
        assert!(post.webhook().await.get("switchedOff").is_none(), "after {half_days} half days");
        post.server.advance(HALF_A_DAY_S);
        while post.next().await.number("webhook-timestamp") < NOW_S + half_days * HALF_A_DAY_S {}
        if half_days == 7 {
            assert_eq!(post.notices().await, ["failing"]);
        }
        if half_days == 8 {
            assert_eq!(post.notices().await, ["failing", "switching_off_soon"]);
        }
    }
    assert_eq!(post.notices().await, ["failing", "switching_off_soon", "switched_off"]);
    assert_eq!(post.webhook().await["switchedOff"], "failing");
    post.send("chloe", "to nobody").await;
    post.server.advance(HALF_A_DAY_S);
    post.is_idle().await;
}
