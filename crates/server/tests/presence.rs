//! Who is online, told by webhooks, from the first log-in to the end of a killed start.

mod support;

use support::*;

const CONNECTION: &str = "user_connection_status_change";

/// A server, an app, and an endpoint that hears of connections.
async fn heard() -> (TestServer, App, Endpoint) {
    let server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    server.webhook(&app, "audit", &endpoint, &[CONNECTION], Value::Null).await;
    (server, app, endpoint)
}

fn event(request: &Received) -> (&str, &str, bool) {
    let data = &request.json["data"];
    (
        data["event"]["type"].as_str().expect("a type"),
        data["user"]["status"].as_str().expect("a status"),
        data["user"]["status_updated"].as_bool().expect("a flag"),
    )
}

async fn status(app: &App, uid: &str) -> Value {
    app.call("GET", &format!("/users/{uid}"), Value::Null).await.data()["status"].clone()
}

#[tokio::test]
async fn a_lost_connection_is_told_as_disconnected_with_nobody_left() {
    let (server, app, endpoint) = heard().await;
    let token = app.token("ana").await;
    let (socket, entry) = Socket::log_in(&app, &token, "phone").await;
    endpoint.next().await;
    server.advance(7);
    drop(socket);
    let told = endpoint.next().await;
    let end_ms = NOW_MS + 7_000;
    let expected = json!({
        "user": {"uid": "ana", "status": "offline", "status_updated": true, "status_updated_at": end_ms},
        "event": {"type": "disconnected", "at": end_ms, "event_for": {
            "connected_at": NOW_MS, "cometchat_device_id": "phone",
            "session_id": entry["sessionId"], "platform": "web"}},
        "connections": [],
    });
    assert_eq!(told.json["data"], expected);
    assert_eq!(told.json["origin"], json!({"platform": "WEBSOCKET"}));
    assert_eq!(status(&app, "ana").await, "offline");
}

#[tokio::test]
async fn a_second_device_changes_nothing_of_the_users_status() {
    let (_server, app, endpoint) = heard().await;
    let (phone_token, laptop_token) = (app.token("ana").await, app.token("ana").await);
    let (phone, _) = Socket::log_in(&app, &phone_token, "phone").await;
    assert_eq!(event(&endpoint.next().await), ("connected", "online", true));
    let (laptop, _) = Socket::log_in(&app, &laptop_token, "laptop").await;
    let second = endpoint.next().await;
    assert_eq!(event(&second), ("connected", "online", false));
    assert_eq!(second.json["data"]["connections"].as_array().map(Vec::len), Some(2));
    drop(phone);
    let first_gone = endpoint.next().await;
    assert_eq!(event(&first_gone), ("disconnected", "online", false));
    assert_eq!(first_gone.json["data"]["connections"][0]["cometchat_device_id"], "laptop");
    drop(laptop);
    assert_eq!(event(&endpoint.next().await), ("disconnected", "offline", true));
}

#[tokio::test]
async fn the_same_device_with_the_same_token_replaces_its_older_connection() {
    let (_server, app, endpoint) = heard().await;
    let token = app.token("ana").await;
    let (mut old, old_entry) = Socket::log_in(&app, &token, "phone").await;
    endpoint.next().await;
    let (mut new, _) = Socket::log_in(&app, &token, "phone").await;
    assert_eq!(old.closed().await, 4003);
    assert_eq!(event(&endpoint.next().await), ("connected", "online", false));
    let gone = endpoint.next().await;
    assert_eq!(event(&gone), ("disconnected", "online", false));
    assert_eq!(gone.json["data"]["event"]["event_for"]["session_id"], old_entry["sessionId"]);
    new.call("ping", json!({})).await.expect("the new connection lives");
    assert_eq!(status(&app, "ana").await, "available");
}

#[tokio::test]
async fn a_logout_ends_the_token_and_the_connection_once() {
    let (_server, app, endpoint) = heard().await;
    let token = app.token("ana").await;
    let (mut socket, _) = Socket::log_in(&app, &token, "phone").await;
    endpoint.next().await;
    assert_eq!(socket.call("logout", json!({})).await, Ok(json!({})));
    socket.closed().await;
    assert_eq!(event(&endpoint.next().await), ("disconnected", "offline", true));
    let mut again = Socket::open(&app).await;
    let refused = again.call("login", json!({"appId": app.id, "authToken": token})).await;
    assert_eq!(refused.expect_err("the token has ended")["data"]["code"], "AUTH_ERR_AUTH_TOKEN_NOT_FOUND");
    // The next thing told is another user's: the log-out was told once.
    let _ben = Socket::of(&app, "ben").await;
    assert_eq!(endpoint.next().await.json["data"]["user"]["uid"], "ben");
}

#[tokio::test]
async fn a_deleted_token_closes_its_socket_from_the_api() {
    let (_server, app, endpoint) = heard().await;
    let token = app.token("ana").await;
    let (mut socket, _) = Socket::log_in(&app, &token, "phone").await;
    endpoint.next().await;
    app.call("DELETE", &format!("/users/ana/auth_tokens/{token}"), Value::Null).await.data();
    assert_eq!(socket.closed().await, 4003);
    let told = endpoint.next().await;
    assert_eq!(event(&told), ("disconnected", "offline", true));
    assert_eq!(told.json["origin"], json!({"platform": "API"}));
}

#[tokio::test]
async fn users_who_come_back_after_a_restart_do_not_flicker() {
    let (mut server, app, endpoint) = heard().await;
    let token = app.token("ana").await;
    let (mut socket, old) = Socket::log_in(&app, &token, "phone").await;
    assert_eq!(event(&endpoint.next().await), ("connected", "online", true));
    server.settled().await;
    server.restart().await;
    assert_eq!(socket.closed().await, 1001);
    let app = server.moved(&app);
    assert_eq!(status(&app, "ana").await, "available");
    server.advance(29);
    let (_socket, _) = Socket::log_in(&app, &token, "phone").await;
    let back = endpoint.next().await;
    assert_eq!(event(&back), ("connected", "online", false));
    let replaced = endpoint.next().await;
    assert_eq!(event(&replaced), ("disconnected", "online", false));
    assert_eq!(replaced.json["data"]["event"]["event_for"]["session_id"], old["sessionId"]);
    server.advance(10);
    let _ben = Socket::of(&app, "ben").await;
    assert_eq!(endpoint.next().await.json["data"]["user"]["uid"], "ben");
    assert_eq!(status(&app, "ana").await, "available");
}

#[tokio::test]
async fn users_who_stay_away_after_a_restart_end_once_each_after_the_grace() {
    let (mut server, app, endpoint) = heard().await;
    let mut sockets = Vec::new();
    for uid in ["ana", "ben", "chloe"] {
        sockets.push(Socket::of(&app, uid).await);
        endpoint.next().await;
    }
    server.settled().await;
    server.restart().await;
    let app = server.moved(&app);
    assert_eq!(status(&app, "ben").await, "available");
    server.advance(30);
    let mut gone = Vec::new();
    for _ in 0..3 {
        let told = endpoint.next().await;
        assert_eq!(event(&told), ("disconnected", "offline", true));
        gone.push(told.json["data"]["user"]["uid"].as_str().expect("a uid").to_owned());
    }
    gone.sort();
    assert_eq!(gone, ["ana", "ben", "chloe"]);
    server.settled().await;
    server.restart().await;
    server.advance(31);
    let app = server.moved(&app);
    let _dev = Socket::of(&app, "dev").await;
    assert_eq!(endpoint.next().await.json["data"]["user"]["uid"], "dev");
    assert_eq!(status(&app, "ben").await, "offline");
}

#[tokio::test]
async fn watchers_are_told_when_a_user_comes_and_goes() {
    let (_server, app, _endpoint) = heard().await;
    let mut ben = Socket::of(&app, "ben").await;
    let states = ben.call("subscribePresence", json!({"uids": ["ana", "chloe"]})).await;
    assert_eq!(states, Ok(json!({"ana": "offline", "chloe": "offline"})));
    let ana = Socket::of(&app, "ana").await;
    assert_eq!(ben.notification("presence").await, json!({"uid": "ana", "status": "online"}));
    drop(ana);
    let gone = ben.notification("presence").await;
    assert_eq!(gone, json!({"uid": "ana", "status": "offline", "lastActiveAt": NOW_S}));
}

#[tokio::test]
async fn a_user_was_last_active_when_a_connection_of_theirs_opened_or_ended() {
    let (server, app, _endpoint) = heard().await;
    let active = async || {
        let ana = app.call("GET", "/users/ana", Value::Null).await.data().clone();
        ana.get("lastActiveAt").cloned()
    };
    assert_eq!(active().await, None);
    let phone = Socket::of(&app, "ana").await;
    assert_eq!(active().await, Some(json!(NOW_S)));
    let mut browser = Browser::logged_in(&server).await;
    let person = browser.page(&format!("/apps/{}/people/ana", app.id)).await;
    assert!(person.contains("<dt>Last active</dt><dd>now</dd>"), "{person}");
    server.advance(5);
    let desk = Socket::of(&app, "ana").await;
    assert_eq!(active().await, Some(json!(NOW_S + 5)));
    server.advance(5);
    drop(phone);
    until("the end of one of two counts", async || active().await == Some(json!(NOW_S + 10))).await;
    drop(desk);
}

#[tokio::test]
async fn a_socket_that_does_not_log_in_within_ten_seconds_is_closed() {
    let (server, app, _endpoint) = heard().await;
    let mut socket = Socket::open(&app).await;
    // An answer proves that its clock runs.
    socket.call("ping", json!({})).await.expect_err("not logged in");
    server.advance(10);
    assert_eq!(socket.closed().await, 4001);
}
