//! Open pages of the dashboard are told that something of their app has happened.

mod support;

use std::time::Duration;

use chathook_server::limits::Limits;
use support::*;

const CHANGE: &str = "event: change\ndata:\n\n";
const SIGN: &str = ":\n\n";
/// Between two looks of a stream.
const LOOK_MS: i64 = 500;

fn changes(app: &App) -> String {
    format!("/apps/{}/changes", app.id)
}

#[tokio::test]
async fn a_page_is_told_of_what_happens_in_its_app_and_in_no_other() {
    let server = TestServer::start().await;
    let (app, other) = (server.app().await, server.app().await);
    let browser = Browser::logged_in(&server).await;
    let mut stream = browser.follow_changes(&changes(&app)).await;
    assert_eq!(
        (stream.status, stream.headers["content-type"].to_str().ok()),
        (200, Some("text/event-stream"))
    );
    assert_eq!(stream.next().await.as_deref(), Some(CHANGE), "what happened before the stream was open");

    other.send_as("ana", text_to("ben", "elsewhere")).await.data();
    server.advance(25);
    assert_eq!(stream.next().await.as_deref(), Some(SIGN), "nothing happened here");

    app.send_as("ana", text_to("ben", "hello")).await.data();
    server.clock.advance(LOOK_MS);
    assert_eq!(stream.next().await.as_deref(), Some(CHANGE), "a message");
    server.clock.advance(LOOK_MS);
    assert_eq!(stream.next().await.as_deref(), Some(CHANGE), "once more, when what it caused is written");
    server.advance(25);
    assert_eq!(stream.next().await.as_deref(), Some(SIGN), "and then no more");

    server.set(&app, json!({"beforeMessageBudgetMs": 900})).await;
    server.clock.advance(LOOK_MS);
    assert_eq!(stream.next().await.as_deref(), Some(CHANGE), "a setting");
}

#[tokio::test]
async fn an_attempt_at_an_endpoint_is_told() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    server.webhook(&app, "audit", &endpoint, &["after_message"], Value::Null).await;
    endpoint.otherwise(Answer::status(503));
    app.send_as("ana", text_to("ben", "hello")).await.data();
    endpoint.next().await;
    server.settled().await;
    let browser = Browser::logged_in(&server).await;
    let mut stream = browser.follow_changes(&changes(&app)).await;
    assert_eq!(stream.next().await.as_deref(), Some(CHANGE));
    // The retry, of which nobody but the server knows.
    server.advance(10);
    endpoint.next().await;
    server.settled().await;
    server.clock.advance(LOOK_MS);
    assert_eq!(stream.next().await.as_deref(), Some(CHANGE));
}

#[tokio::test]
async fn without_a_session_there_is_no_stream_and_with_it_the_stream_ends() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let stranger = Browser::new(&server);
    assert_eq!(stranger.follow_changes(&changes(&app)).await.status, 401);

    let mut browser = Browser::logged_in(&server).await;
    let mut stream = browser.follow_changes(&changes(&app)).await;
    assert_eq!(stream.next().await.as_deref(), Some(CHANGE));
    browser.page("").await;
    browser.submit("/logout", &[]).await;
    server.clock.advance(LOOK_MS);
    assert_eq!(stream.next().await, None, "whoever logged out is told no more");

    let browser = Browser::logged_in(&server).await;
    let mut stream = browser.follow_changes(&changes(&app)).await;
    assert_eq!(stream.next().await.as_deref(), Some(CHANGE));
    server.advance(12 * 60 * 60);
    assert_eq!(stream.next().await, None, "a stream has kept an idle session alive");
    assert_eq!(browser.get("").await.status, 303);
}

#[tokio::test]
async fn streams_are_bounded_for_a_session_and_their_places_come_back() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let browser = Browser::logged_in(&server).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(browser.follow_changes(&changes(&app)).await);
    }
    assert!(streams.iter().all(|stream| stream.status == 200));
    assert_eq!(browser.follow_changes(&changes(&app)).await.status, 429);
    let other = Browser::logged_in(&server).await;
    assert_eq!(other.follow_changes(&changes(&app)).await.status, 200, "another's session has its own");
    streams.pop();
    until("the place is free", async || browser.follow_changes(&changes(&app)).await.status == 200).await;
}

#[tokio::test]
async fn streams_are_bounded_in_all_so_that_pages_still_find_a_connection() {
    let server = TestServer::within(Limits { connections: 16, ..Limits::here() }).await;
    let app = server.app().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let browser = Browser::logged_in(&server).await;
        streams.push(browser.follow_changes(&changes(&app)).await);
    }
    assert!(streams.iter().all(|stream| stream.status == 200), "an eighth of the connections");
    let browser = Browser::logged_in(&server).await;
    assert_eq!(browser.follow_changes(&changes(&app)).await.status, 429);
    assert_eq!(browser.get(&format!("/apps/{}/overview", app.id)).await.status, 200);
}

#[tokio::test]
async fn a_stop_ends_the_streams_at_once() {
    let mut server = TestServer::start().await;
    let app = server.app().await;
    let cookie = Browser::logged_in(&server).await.cookie().expect("logged in").to_owned();
    let mut stream = Browser::with_cookie(&server, &cookie).follow_changes(&changes(&app)).await;
    assert_eq!(stream.next().await.as_deref(), Some(CHANGE));
    // A stop that waits for them in vain takes nine seconds.
    tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("a prompt stop");
    assert_eq!(stream.next().await, None, "the answer came to its proper end");
}
