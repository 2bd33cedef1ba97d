//! One endpoint that hangs, drips or refuses delays nobody else's deliveries.

mod support;

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
