//! One endpoint that hangs, drips or refuses delays nobody else's deliveries, and holds up nobody else's messages.

mod support;

use chathook_server::limits::Limits;
use futures_util::future::join_all;
use support::*;

const APPS: usize = 40;
/// Every tenth is bad, each in its own way.
const BAD_EVERY: usize = 10;
const MESSAGES: usize = 30;
const USERS: [&str; 4] = ["ben", "chloe", "dev", "emma"];

struct Tenant {
    app: App,
    endpoint: Endpoint,
    is_bad: bool,
}

impl Tenant {
    async fn new(server: &TestServer, nth: usize) -> Self {
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        server.webhook(&app, "audit", &endpoint, &["after_message"], Value::Null).await;
        let is_bad = nth.is_multiple_of(BAD_EVERY);
        match (is_bad, nth / BAD_EVERY) {
            (false, _) => {}
            (true, 0) => endpoint.otherwise(Answer::Hang),
            (true, 1) => endpoint.otherwise(Answer::Drip),
            (true, 2) => endpoint.otherwise(Answer::Close),
            (true, _) => endpoint.shut().await,
        }
        Self { app, endpoint, is_bad }
    }

    async fn send_all(&self) {
        for nth in 0..MESSAGES {
            let to = USERS[nth % USERS.len()];
            self.app.send_as("ana", text_to(to, &nth.to_string())).await.data();
        }
    }

    async fn hears_all_in_order(&self) {
        let mut heard = vec![Vec::new(); USERS.len()];
        for _ in 0..MESSAGES {
            let nth: usize = self.endpoint.next().await.text().parse().expect("a number");
            heard[nth % USERS.len()].push(nth);
        }
        assert!(heard.iter().all(|of_one| of_one.is_sorted()), "{heard:?}");
    }
}

#[tokio::test]
async fn what_is_owed_to_healthy_webhooks_arrives_while_others_hang_drip_and_refuse() {
    let server = TestServer::start().await;
    let tenants = join_all((0..APPS).map(|nth| Tenant::new(&server, nth))).await;
    let (bad, healthy): (Vec<_>, Vec<_>) = tenants.into_iter().partition(|tenant| tenant.is_bad);
    // The bad ones have all that they can have before anyone else has anything; the clock stands still, so that
    // nothing of theirs ends by its own clock.
    join_all(bad.iter().map(Tenant::send_all)).await;
    join_all(healthy.iter().map(Tenant::send_all)).await;
    join_all(healthy.iter().map(Tenant::hears_all_in_order)).await;
}

#[tokio::test]
async fn gates_of_one_app_that_hang_and_have_all_places_stop_no_message_of_another() {
    let server = TestServer::within(Limits { hook_calls: 8, ..Limits::here() }).await;
    let (bad, good) = (server.app().await, server.app().await);
    // A call ends by the wall as well, and what is still to be asked has its share: so long, and with few gates.
    server.set(&bad, json!({"beforeMessageBudgetMs": 5_000})).await;
    let gates = join_all((0..2).map(|_| Endpoint::start())).await;
    for (nth, gate) in gates.iter().enumerate() {
        server.webhook(&bad, &format!("gate{nth}"), gate, &["before_message"], Value::Null).await;
        gate.otherwise(Answer::Hang);
    }
    // The first lets through what is to hang at the second.
    (0..4).for_each(|_| gates[0].answer_text("1", Answer::status(200)));
    let gate = Endpoint::start().await;
    server.webhook(&good, "gate", &gate, &["before_message"], Value::Null).await;
    let mut hanging = Vec::new();
    for (at, sent) in [(1, 4), (0, 6)] {
        for _ in 0..sent {
            let app = bad.clone();
            let text = at.to_string();
            hanging.push(tokio::spawn(async move { app.send_as("ana", text_to("ben", &text)).await }));
        }
        for _ in 0..4 {
            while gates[at].next().await.text() != at.to_string() {}
        }
    }
    for nth in 0..3 {
        good.send_as("ana", text_to("ben", &nth.to_string())).await.data();
        assert_eq!(gate.next().await.text(), nth.to_string());
    }
    let in_vain: Vec<String> = gates[0].take_all().iter().map(|call| call.text().to_owned()).collect();
    assert!(in_vain.is_empty(), "all eight places are taken: {in_vain:?}");
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}
