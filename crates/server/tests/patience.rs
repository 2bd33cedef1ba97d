//! A delivery that keeps failing while others succeed holds its conversation for a while, and then no longer.

mod support;

use support::post::Post;
use support::*;

/// "bad" to Ben has failed twice by 10 s, and "meanwhile" to Chloe has succeeded since it first did.
async fn with_a_bad_head(more: Value) -> Post {
    let post = Post::with(more).await;
    for _ in 0..20 {
        post.endpoint.answer_text("bad", Answer::status(500));
    }
    post.send("ben", "bad").await;
    assert_eq!(post.next().await.text(), "bad");
    post.send("ben", "behind").await;
    post.server.advance(1);
    post.send("chloe", "meanwhile").await;
    assert_eq!(post.next().await.text(), "meanwhile");
    post.server.advance(9);
    assert_eq!(post.next().await.text(), "bad");
    post
}

#[tokio::test]
async fn after_60_seconds_it_steps_aside_and_goes_on_by_itself() {
    let post = with_a_bad_head(Value::Null).await;
    post.server.advance(30);
    assert_eq!(post.next().await.text(), "bad");
    post.server.advance(19);
    post.is_idle().await;
    post.server.advance(1);
    assert_eq!(post.next().await.text(), "behind");
    post.server.advance(99);
    post.is_idle().await;
    post.server.advance(1);
    let again = post.next().await;
    assert_eq!((again.text(), again.header("chathook-attempt")), ("bad", "4"));
}

#[tokio::test]
async fn one_that_has_stepped_aside_stays_aside_over_a_restart() {
    let mut post = with_a_bad_head(Value::Null).await;
    post.server.advance(30);
    post.next().await;
    post.server.advance(20);
    assert_eq!(post.next().await.text(), "behind");
    post.server.restart().await;
    post.app = post.server.moved(&post.app);
    post.send("ben", "later").await;
    assert_eq!(post.next().await.text(), "later");
    post.server.advance(100);
    assert_eq!(post.next().await.text(), "bad");
}

#[tokio::test]
async fn the_webhook_says_how_patient_it_is() {
    let post = with_a_bad_head(json!({"patienceSeconds": 20})).await;
    post.server.advance(9);
    post.is_idle().await;
    post.server.advance(1);
    assert_eq!(post.next().await.text(), "behind");
}

#[tokio::test]
async fn unlimited_patience_keeps_the_order_for_as_long_as_it_is_tried() {
    let post = with_a_bad_head(json!({"patienceSeconds": "unlimited"})).await;
    for wait_s in [30, 2 * 60, 10 * 60, 30 * 60] {
        post.server.advance(wait_s);
        post.send("chloe", "meanwhile").await;
        let mut texts = [post.next().await, post.next().await].map(|request| request.text().to_owned());
        texts.sort();
        assert_eq!(texts, ["bad", "meanwhile"]);
    }
    post.is_idle().await;
}

#[tokio::test]
async fn a_patience_of_0_lets_one_conversation_go_side_by_side() {
    let post = Post::with(json!({"patienceSeconds": 0})).await;
    post.endpoint.answer([Answer::Hang, Answer::Hang]);
    post.send("ben", "one").await;
    assert_eq!(post.endpoint.next().await.text(), "one");
    post.send("ben", "two").await;
    assert_eq!(post.endpoint.next().await.text(), "two");
}
