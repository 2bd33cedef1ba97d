//! One endpoint that hangs, drips or refuses delays no other webhook (design 2.4).

mod support;

use support::*;

const APPS: usize = 40;
const MESSAGES: usize = 3;

#[tokio::test]
async fn of_forty_apps_a_tenth_whose_endpoints_are_bad_delay_none_of_the_others() {
    let server = TestServer::start().await;
    let (good, hangs, drips, refuses) =
        (Endpoint::start().await, Endpoint::start().await, Endpoint::start().await, Endpoint::start().await);
    hangs.otherwise(Answer::Hang);
    drips.otherwise(Answer::Drip);
    let mut apps = Vec::new();
    for n in 0..APPS {
        let endpoint = match n {
            0 | 1 => &hangs,
            2 => &drips,
            3 => &refuses,
            _ => &good,
        };
        let app = server.app().await;
        server.webhook(&app, "hook", endpoint, &["after_message"], json!({"timeoutMs": 30_000})).await;
        apps.push(app);
    }
    refuses.shut().await;
    for text in 0..MESSAGES {
        for app in &apps {
            for to in ["ben", "chloe", "dev", "emma"] {
                app.send_as("ana", text_to(to, &text.to_string())).await.data();
            }
        }
    }
    // No clock has moved, so whatever hangs still does.
    let mut told = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..(APPS - 4) * 4 * MESSAGES {
        let app = good.next().await.json["appId"].as_str().expect("an app").to_owned();
        *told.entry(app).or_default() += 1;
    }
    assert!(told.values().all(|count| *count == 4 * MESSAGES), "{told:?}");
    assert_eq!(told.len(), APPS - 4);
}
