//! What is owed is sent, in order, until it is answered (design 6).

mod support;

use support::post::Post;
use support::*;

#[tokio::test]
async fn a_failing_delivery_holds_its_conversation_and_no_other() {
    let post = Post::new().await;
    post.endpoint.answer_text("one", Answer::status(500));
    post.send("ben", "one").await;
    assert_eq!(post.next().await.text(), "one");
    post.send("ben", "two").await;
    post.send("chloe", "meanwhile").await;
    post.send("ben", "three").await;
    assert_eq!(post.next().await.text(), "meanwhile");
    post.is_idle().await;
    post.server.advance(10);
    let texts = [post.next().await, post.next().await, post.next().await].map(|r| r.text().to_owned());
    assert_eq!(texts, ["one", "two", "three"]);
}

#[tokio::test]
async fn one_conversation_is_told_one_message_after_the_other() {
    let post = Post::new().await;
    let gate = support::endpoint::Gate::default();
    post.endpoint.answer_text("one", Answer::status(200).after(&gate));
    post.send("ben", "one").await;
    assert_eq!(post.endpoint.next().await.text(), "one");
    post.send("ben", "two").await;
    post.send("chloe", "meanwhile").await;
    assert_eq!(post.endpoint.next().await.text(), "meanwhile");
    assert!(post.endpoint.take_all().is_empty());
    gate.open();
    assert_eq!(post.endpoint.next().await.text(), "two");
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_after_10_and_then_30_seconds() {
    let post = Post::new().await;
    post.endpoint.answer([Answer::status(500), Answer::status(503)]);
    post.send("ben", "hello").await;
    let first = post.next().await;
    assert_eq!(first.header("chathook-attempt"), "1");
    post.server.advance(9);
    post.is_idle().await;
    post.server.advance(1);
    let second = post.next().await;
    assert_eq!(second.header("chathook-attempt"), "2");
    post.server.advance(29);
    post.is_idle().await;
    post.server.advance(1);
    let third = post.next().await;
    assert_eq!(third.header("chathook-attempt"), "3");
    for repeat in [&second, &third] {
        assert_eq!(repeat.bytes, first.bytes);
        for name in ["webhook-id", "chathook-sequence", "chathook-key"] {
            assert_eq!(repeat.header(name), first.header(name));
        }
        assert_ne!(repeat.header("webhook-signature"), first.header("webhook-signature"));
    }
    assert_eq!(second.number("webhook-timestamp"), NOW_S + 10);
    post.server.advance(24 * 60 * 60);
    post.is_idle().await;
}

#[tokio::test]
async fn no_answer_at_all_is_repeated_too() {
    let post = Post::new().await;
    // A kept-open connection that ends is tried on a new one at once: none is kept open here.
    post.endpoint.answer([Answer::Close]);
    post.send("ben", "hello").await;
    assert_eq!(post.next().await.header("chathook-attempt"), "1");
    post.server.advance(10);
    assert_eq!(post.next().await.header("chathook-attempt"), "2");
}

#[tokio::test]
async fn an_attempt_that_hangs_ends_with_its_clock() {
    let post = Post::with(json!({"timeoutMs": 30_000})).await;
    post.endpoint.answer([Answer::Hang, Answer::Drip]);
    post.send("ben", "hello").await;
    for attempt in ["1", "2", "3"] {
        assert_eq!(post.endpoint.next().await.header("chathook-attempt"), attempt);
        if attempt != "3" {
            // A little more than its 30 s: the sender's own clock, which is real, goes first.
            post.server.advance(31);
            post.server.settled().await;
            post.server.advance(30);
        }
    }
}

#[tokio::test]
async fn without_retries_one_attempt_is_all() {
    let post = Post::with(json!({"retryOnFailure": false})).await;
    post.endpoint.answer([Answer::status(500)]);
    post.send("ben", "one").await;
    assert_eq!(post.next().await.text(), "one");
    post.server.advance(60);
    post.send("ben", "two").await;
    assert_eq!(post.next().await.text(), "two");
    post.is_idle().await;
}

#[tokio::test]
async fn any_2xx_is_success_and_a_4xx_is_retried() {
    let post = Post::new().await;
    for status in [201, 202, 204, 299] {
        post.endpoint.answer([Answer::status(status)]);
        post.send("ben", &status.to_string()).await;
        assert_eq!(post.next().await.text(), status.to_string());
    }
    post.endpoint.answer([Answer::status(400)]);
    post.send("ben", "last").await;
    assert_eq!(post.next().await.text(), "last");
    post.server.advance(10);
    let repeat = post.next().await;
    assert_eq!((repeat.text(), repeat.header("chathook-attempt")), ("last", "2"));
}

#[tokio::test]
async fn a_success_with_an_answer_beyond_the_cap_is_a_success() {
    let post = Post::new().await;
    post.endpoint.answer([Answer::body(200, "x".repeat(300 * 1024))]);
    post.send("ben", "one").await;
    assert_eq!(post.next().await.text(), "one");
    post.server.advance(60);
    post.send("ben", "two").await;
    assert_eq!(post.next().await.text(), "two");
}

#[tokio::test]
async fn a_410_switches_the_webhook_off_and_nothing_more_is_owed() {
    let post = Post::new().await;
    post.endpoint.answer([Answer::status(410)]);
    post.send("ben", "one").await;
    assert_eq!(post.next().await.text(), "one");
    let webhook = post.webhook().await;
    assert_eq!(webhook["enabled"], false);
    assert!(webhook["switchedOff"].is_string(), "{webhook}");
    post.send("ben", "nobody listens").await;
    post.server.advance(60);
    post.is_idle().await;
    // Switched on by a person, what waited goes out, and what came meanwhile was never owed.
    post.change(json!({"enabled": true})).await;
    assert_eq!(post.webhook().await["enabled"], true);
    let again = post.next().await;
    assert_eq!((again.text(), again.header("chathook-attempt")), ("one", "2"));
    post.send("ben", "three").await;
    let three = post.next().await;
    assert_eq!((three.text(), three.number("chathook-sequence")), ("three", 2));
}

#[tokio::test]
async fn a_change_that_does_not_say_enabled_revives_no_webhook() {
    let post = Post::new().await;
    post.endpoint.answer([Answer::status(410)]);
    post.send("ben", "one").await;
    post.next().await;
    assert!(post.webhook().await["switchedOff"].is_string());
    for body in [json!({"name": "Renamed"}), json!({"enabled": null}), json!({"enabled": false})] {
        post.change(body).await;
        let webhook = post.webhook().await;
        assert_eq!(webhook["enabled"], false);
        assert!(webhook["switchedOff"].is_string(), "{webhook}");
    }
    post.server.advance(60);
    post.is_idle().await;
    post.change(json!({"enabled": true})).await;
    assert!(post.webhook().await.get("switchedOff").is_none());
    assert_eq!(post.next().await.text(), "one");
}

#[tokio::test]
async fn a_disabled_webhook_is_owed_nothing_new_and_keeps_what_waits() {
    let post = Post::new().await;
    post.endpoint.answer([Answer::status(500)]);
    post.send("ben", "one").await;
    post.next().await;
    post.change(json!({"enabled": false})).await;
    post.send("ben", "two").await;
    post.server.advance(10);
    post.is_idle().await;
    post.change(json!({"enabled": true})).await;
    assert_eq!(post.next().await.text(), "one");
    post.send("ben", "three").await;
    assert_eq!(post.next().await.text(), "three");
}

#[tokio::test]
async fn sequence_numbers_have_no_gaps_and_outlive_the_webhook() {
    let post = Post::new().await;
    for n in 1..=3 {
        post.send("ben", &n.to_string()).await;
    }
    for n in 1..=3 {
        let told = post.next().await;
        assert_eq!((told.text(), told.number("chathook-sequence")), (n.to_string().as_str(), n));
    }
    let path = format!("/apps/{}/webhooks/audit", post.app.id);
    post.server.manage("DELETE", &path, Value::Null).await.data();
    post.server.webhook(&post.app, "audit", &post.endpoint, &["after_message"], Value::Null).await;
    post.send("ben", "4").await;
    assert_eq!(post.next().await.number("chathook-sequence"), 4);
}

#[tokio::test]
async fn each_webhook_has_a_sequence_of_its_own() {
    let post = Post::new().await;
    post.send("ben", "one").await;
    assert_eq!(post.next().await.number("chathook-sequence"), 1);
    let second = Endpoint::start().await;
    post.server.webhook(&post.app, "second", &second, &["after_message"], Value::Null).await;
    post.send("ben", "two").await;
    assert_eq!(post.next().await.number("chathook-sequence"), 2);
    let told = second.next().await;
    assert_eq!((told.number("chathook-sequence"), told.json["webhook"].as_str()), (1, Some("second")));
}

#[tokio::test]
async fn settled_tells_up_to_where_everything_is_answered() {
    let post = Post::new().await;
    post.endpoint.answer_text("one", Answer::status(500));
    post.send("ben", "one").await;
    assert_eq!(post.next().await.number("chathook-settled"), 0);
    post.send("chloe", "two").await;
    assert_eq!(post.next().await.number("chathook-settled"), 0);
    post.server.advance(10);
    assert_eq!(post.next().await.number("chathook-sequence"), 1);
    post.send("chloe", "three").await;
    assert_eq!(post.next().await.number("chathook-settled"), 2);
}

#[tokio::test]
async fn what_waits_goes_out_after_a_restart_with_the_same_id_and_bytes() {
    let mut post = Post::new().await;
    post.endpoint.answer([Answer::status(500)]);
    post.send("ben", "one").await;
    let first = post.next().await;
    post.send("ben", "two").await;
    post.server.restart().await;
    post.app = post.server.moved(&post.app);
    post.is_idle().await;
    post.server.advance(10);
    let again = post.next().await;
    assert_eq!(again.bytes, first.bytes);
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(again.header("chathook-attempt"), "2");
    let two = post.next().await;
    assert_eq!((two.text(), two.number("chathook-sequence")), ("two", 2));
    post.send("ben", "three").await;
    assert_eq!(post.next().await.number("chathook-sequence"), 3);
}

#[tokio::test]
async fn what_was_delivered_is_not_sent_again_after_a_restart() {
    let mut post = Post::new().await;
    post.send("ben", "one").await;
    post.next().await;
    post.server.restart().await;
    post.app = post.server.moved(&post.app);
    post.send("ben", "two").await;
    assert_eq!(post.next().await.text(), "two");
    post.is_idle().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_is_a_failure() {
    let post = Post::new().await;
    let elsewhere = Endpoint::start().await;
    post.endpoint.answer([Answer::redirect(&elsewhere.url())]);
    post.send("ben", "hello").await;
    post.next().await;
    post.server.advance(10);
    let again = post.next().await;
    assert_eq!((again.text(), again.header("chathook-attempt")), ("hello", "2"));
    assert!(elsewhere.take_all().is_empty());
}

#[tokio::test]
async fn a_retry_goes_to_the_url_and_with_the_credentials_that_hold_then() {
    let post = Post::new().await;
    let moved = Endpoint::start().await;
    post.endpoint.answer([Answer::status(500)]);
    post.send("ben", "hello").await;
    let first = post.next().await;
    let body = json!({"webhookURL": moved.url(), "useBasicAuth": true, "username": "u", "password": "p"});
    post.change(body).await;
    post.server.advance(10);
    let second = moved.next().await;
    assert_eq!(second.bytes, first.bytes);
    assert_eq!(second.header("authorization"), "Basic dTpw");
    assert_eq!(second.header("chathook-attempt"), "2");
    post.is_idle().await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_delays_no_other_webhook_and_no_sender() {
    let post = Post::new().await;
    let second = Endpoint::start().await;
    post.server.webhook(&post.app, "second", &second, &["after_message"], Value::Null).await;
    post.endpoint.otherwise(Answer::Hang);
    for n in 0..80 {
        let to = ["ben", "chloe", "dev", "emma"][n % 4];
        post.send(to, &n.to_string()).await;
    }
    for _ in 0..80 {
        second.next().await;
    }
}

#[tokio::test]
async fn a_webhook_hears_only_of_its_triggers_and_only_of_its_app() {
    let post = Post::new().await;
    let other = post.server.app().await;
    other.send_as("ana", text_to("ben", "elsewhere")).await.data();
    post.app.call_as("ben", "POST", "/users/ana/conversation/read", Value::Null).await.data();
    post.send("ben", "here").await;
    let told = post.next().await;
    assert_eq!((told.text(), told.json["appId"].as_str()), ("here", Some(post.app.id.as_str())));
    post.is_idle().await;
}

#[tokio::test]
async fn a_deleted_webhook_is_called_no_more() {
    let post = Post::new().await;
    post.endpoint.answer([Answer::status(500)]);
    post.send("ben", "one").await;
    post.next().await;
    post.server.manage("DELETE", &format!("/apps/{}/webhooks/audit", post.app.id), Value::Null).await.data();
    post.server.advance(60);
    post.is_idle().await;
}

#[tokio::test]
async fn a_lane_longer_than_memory_holds_keeps_its_order() {
    let post = Post::new().await;
    post.endpoint.answer_text("0", Answer::status(500));
    post.send("ben", "0").await;
    post.next().await;
    for n in 1..150 {
        post.send("ben", &n.to_string()).await;
    }
    post.server.advance(10);
    for n in 0..150 {
        let told = post.endpoint.next().await;
        assert_eq!((told.text(), told.number("chathook-sequence")), (n.to_string().as_str(), n + 1));
    }
}
