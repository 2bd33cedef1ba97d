//! Presence when thousands come and go at once, and when the wall clock jumps: every event that is
//! owed, once each, in each user's order.

mod support;

use std::collections::BTreeSet;

use chathook_engine::ports::clock::Clock;
use futures_util::{StreamExt, stream};
use support::presence_ledger::Ledger;
use support::*;

const CONNECTION: &str = "user_connection_status_change";
const DEVICES: usize = 4;
/// Log-ins under way at once.
const AT_ONCE: usize = 16;

/// Users with one token each, on an app whose endpoint hears of connections.
struct Crowd {
    server: TestServer,
    app: App,
    endpoint: Endpoint,
    tokens: Vec<String>,
    ledger: Ledger,
}

/// An open socket with its session.
type Online = (Socket, String);

impl Crowd {
    async fn of(users: usize) -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        // Everything here is one busy thread, and what an attempt waits for is real time.
        let patient = json!({"timeoutMs": 30_000});
        server.webhook(&app, "audit", &endpoint, &[CONNECTION], patient).await;
        let tokens = stream::iter(0..users).map(|nth| token(&app, nth)).buffered(AT_ONCE).collect().await;
        Self { server, app, endpoint, tokens, ledger: Ledger::default() }
    }

    /// Each of these users comes with every device; a device that comes again is the same one.
    async fn log_in(&self, users: impl Iterator<Item = usize>) -> Vec<Online> {
        let devices = users.flat_map(|user| (0..DEVICES).map(move |device| (user, device)));
        let entries = stream::iter(devices).map(async |(user, device)| {
            let (socket, entry) =
                Socket::log_in(&self.app, &self.tokens[user], &format!("device-{device}")).await;
            (socket, entry["sessionId"].as_str().expect("a session").to_owned())
        });
        entries.buffer_unordered(AT_ONCE).collect().await
    }

    /// Reads events until so many have been told in all, and enters each.
    async fn hear(&mut self, connected: usize, disconnected: usize) {
        while self.ledger.connected_count() < connected || self.ledger.disconnected_count() < disconnected {
            self.ledger.enter(&self.endpoint.next().await.json["data"]);
        }
    }

    /// Nothing more is told, and those are online who should be.
    async fn assert_over(&mut self, online: &[Online]) {
        self.server.settled().await;
        let extra = self.endpoint.take_all();
        assert!(extra.is_empty(), "told without need: {extra:?}");
        let online: BTreeSet<String> = online.iter().map(|(_, session)| session.clone()).collect();
        assert_eq!(self.ledger.open(), online);
    }

    async fn assert_online(&self, users: impl Iterator<Item = usize>) {
        let statuses = stream::iter(users).map(async |user| {
            let found = self.app.call("GET", &format!("/users/user-{user}"), Value::Null).await;
            found.data()["status"].clone()
        });
        let statuses: Vec<Value> = statuses.buffer_unordered(AT_ONCE).collect().await;
        assert!(statuses.iter().all(|status| status == "available"), "somebody flickered");
    }

    async fn restart(&mut self) {
        self.server.settled().await;
        self.server.restart().await;
        self.app = self.server.moved(&self.app);
    }
}

async fn token(app: &App, nth: usize) -> String {
    let uid = format!("user-{nth}");
    let body = json!({"uid": uid, "name": uid, "withAuthToken": true});
    let made = app.call("POST", "/users", body).await;
    made.data()["authToken"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_five_thousand_that_are_cut_at_once_half_come_back_and_every_end_and_beginning_is_told_once() {
    let users = 1_250;
    let sockets = users * DEVICES;
    let mut crowd = Crowd::of(users).await;
    let all = crowd.log_in(0..users).await;
    crowd.server.advance(1);
    drop(all);
    crowd.server.advance(1);
    let back = crowd.log_in(0..users / 2).await;
    crowd.hear(sockets + sockets / 2, sockets).await;
    crowd.assert_over(&back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thousands_that_a_start_leaves_behind_those_who_stay_away_end_once_after_the_grace() {
    let users = 500;
    let sockets = users * DEVICES;
    let mut crowd = Crowd::of(users).await;
    let left_behind = crowd.log_in(0..users).await;
    crowd.hear(sockets, 0).await;
    crowd.restart().await;
    drop(left_behind);
    crowd.server.advance(10);
    let back = crowd.log_in(0..users / 2).await;
    // Who is back has an old session replaced by the new one, so that they never were offline.
    crowd.hear(sockets + sockets / 2, sockets / 2).await;
    crowd.assert_online(0..users).await;
    crowd.server.advance(20);
    crowd.hear(sockets + sockets / 2, sockets).await;
    crowd.assert_over(&back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_is_set_back_an_hour_changes_no_order_and_holds_nothing_up() {
    let users = 50;
    let sockets = users * DEVICES;
    let mut crowd = Crowd::of(users).await;
    let mut all = crowd.log_in(0..users).await;
    set_back_an_hour(&crowd);
    all.truncate(sockets / 2);
    crowd.hear(sockets, sockets / 2).await;
    crowd.restart().await;
    drop(all);
    set_back_an_hour(&crowd);
    let back = crowd.log_in(0..users).await;
    crowd.server.advance(30);
    crowd.hear(sockets * 2, sockets).await;
    crowd.assert_over(&back).await;
}

fn set_back_an_hour(crowd: &Crowd) {
    let clock = &crowd.server.clock;
    clock.set_wall(clock.now().plus_ms(-3_600_000));
}
