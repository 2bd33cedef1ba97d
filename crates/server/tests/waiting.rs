//! What a delivery that waits waits for, and what an order to try it now comes to: everywhere the same truth.

mod support;

use support::endpoint::Gate;
use support::post::Post;
use support::*;

/// Ten failures in a row open the circuit; the tenth is of the last of these.
const OTHERS: [(&str, &str); 10] = [
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

/// Deliveries 1 to 10 have failed, 11 stands behind 1.
async fn opened() -> Post {
    let post = Post::new().await;
    post.endpoint.otherwise(Answer::status(500));
    for (from, to) in OTHERS {
        post.app.send_as(from, text_to(to, "one")).await.data();
        post.next().await;
    }
    post.send("ben", "two").await;
    post.is_idle().await;
    post
}

async fn deliveries(post: &Post, method: &str, below: &str) -> Value {
    let path = format!("/apps/{}/webhooks/audit/deliveries/{below}", post.app.id);
    post.server.manage(method, &path, Value::Null).await.data().clone()
}

async fn retried(post: &Post, id: &str) -> (String, String) {
    let retried = &deliveries(post, "POST", &format!("{id}/retry")).await["retried"];
    let text = |name: &str| retried[name].as_str().expect("a text").to_owned();
    (text("kind"), text("text"))
}

#[tokio::test]
async fn while_the_circuit_is_open_the_next_probe_is_told_and_not_a_time_that_has_passed() {
    let post = opened().await;
    post.server.advance(9);
    let first = deliveries(&post, "GET", "1").await;
    assert_eq!(first["nextAttemptAt"], NOW_S + 10, "{first}");
    assert_eq!(
        (&first["waitsFor"]["kind"], &first["waitsFor"]["until"]),
        (&json!("circuit"), &json!(NOW_S + 10))
    );
    let behind = deliveries(&post, "GET", "11").await;
    assert_eq!(behind.get("nextAttemptAt"), None, "{behind}");
    assert_eq!(
        (&behind["waitsFor"]["behind"], &behind["waitsFor"]["until"]),
        (&json!("1"), &json!(NOW_S + 10))
    );
    assert!(
        behind["waitsFor"]["text"]
            .as_str()
            .is_some_and(|text| text.contains("circuit") && text.contains("lane"))
    );
    // The first probe fails, and the next goes 20 s later, whatever the schedule of each says.
    post.server.advance(1);
    post.next().await;
    for id in ["1", "5"] {
        assert_eq!(deliveries(&post, "GET", id).await["nextAttemptAt"], NOW_S + 30);
    }
}

#[tokio::test]
async fn an_order_to_try_it_now_goes_as_the_probe_and_brings_all_when_the_endpoint_works() {
    let post = opened().await;
    assert_eq!(retried(&post, "7").await, ("tried_now".to_owned(), "It is tried now.".to_owned()));
    assert_eq!(post.next().await.header("chathook-sequence"), "7");
    post.is_idle().await;
    // It failed, and is one more than the probes by the clock.
    assert_eq!(deliveries(&post, "GET", "7").await["nextAttemptAt"], NOW_S + 10);
    post.endpoint.otherwise(Answer::status(200));
    assert_eq!(retried(&post, "7").await.0, "tried_now");
    let mut sequences = Vec::new();
    for _ in 0..11 {
        sequences.push(post.endpoint.next().await.number("chathook-sequence"));
    }
    assert_eq!(sequences[0], 7);
    let place = |sequence| sequences.iter().position(|other| *other == sequence);
    assert!(place(1) < place(11), "{sequences:?}");
}

#[tokio::test]
async fn an_order_overtakes_nothing_in_its_lane_and_no_probe_and_says_so() {
    let post = opened().await;
    let (kind, text) = retried(&post, "11").await;
    assert_eq!(kind, "waits_on");
    assert!(text.starts_with("It cannot go yet.") && text.contains("Delivery 1 stands before it"), "{text}");
    post.is_idle().await;
    let gate = Gate::default();
    post.endpoint.answer([Answer::status(500).after(&gate)]);
    assert_eq!(retried(&post, "2").await.0, "tried_now");
    post.endpoint.next().await;
    assert_eq!(retried(&post, "2").await.0, "under_way");
    assert_eq!(deliveries(&post, "GET", "2").await["waitsFor"]["kind"], "answer");
    let (kind, text) = retried(&post, "3").await;
    assert!(kind == "waits_on" && text.contains("being tried"), "{kind}: {text}");
    gate.open();
    post.is_idle().await;
    // It stands first among those that wait for the circuit.
    post.server.advance(10);
    assert_eq!(post.next().await.header("chathook-sequence"), "3");
}

#[tokio::test]
async fn a_pause_that_the_endpoint_asked_for_is_kept_and_named() {
    let post = Post::new().await;
    let headers = vec![("retry-after", "120".to_owned())];
    post.endpoint.answer([Answer::Full { status: 429, headers, body: Vec::new() }]);
    post.send("ben", "one").await;
    post.next().await;
    let shown = deliveries(&post, "GET", "1").await;
    assert_eq!((&shown["waitsFor"]["kind"], &shown["nextAttemptAt"]), (&json!("pause"), &json!(NOW_S + 120)));
    let (kind, text) = retried(&post, "1").await;
    assert!(kind == "waits_on" && text.contains("Retry-After"), "{text}");
    post.is_idle().await;
}

#[tokio::test]
async fn the_command_line_and_the_dashboard_tell_the_same() {
    let post = opened().await;
    let shell = Shell::at(&post.server);
    let shown = shell.run(&["deliveries", "show", "audit", "1"]).await;
    assert!(shown.done().contains("circuit is open"), "{}", shown.out);
    assert!(
        shown.out.lines().any(|line| line.starts_with("next try") && line.contains("13:53:30")),
        "{}",
        shown.out
    );
    let behind = shell.run(&["deliveries", "show", "audit", "11"]).await;
    assert!(behind.done().lines().any(|line| line.starts_with("next probe")), "{}", behind.out);
    let list = shell.run(&["deliveries", "list", "audit"]).await;
    assert!(
        list.done().lines().nth(1).is_some_and(|line| line.trim_end().ends_with("behind 1")),
        "{}",
        list.out
    );
    let retried = shell.run(&["deliveries", "retry", "audit", "11"]).await;
    assert!(
        retried.done().starts_with("It cannot go yet.") && retried.out.lines().count() == 1,
        "{}",
        retried.out
    );
    let mut browser = Browser::logged_in(&post.server).await;
    let one = format!("/apps/{}/webhooks/audit/deliveries", post.app.id);
    let page = browser.page(&format!("{one}/11")).await;
    assert!(page.contains("<dt>Next probe</dt>") && page.contains("Delivery 1 stands before it"), "{page}");
    let told = browser.follow(&format!("{one}/11/retry"), &[]).await;
    assert!(told.contains("It cannot go yet."), "{told}");
    let tried = browser.follow(&format!("{one}/2/retry"), &[]).await;
    assert!(tried.contains("It is tried now."), "{tried}");
}
