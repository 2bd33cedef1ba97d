//! The record of `before_message` calls: what each did to its message, also to one that was dropped.

mod support;

use support::http::Reply;
use support::*;

/// What a test looks up of an app's `gate`.
async fn calls(server: &TestServer, app: &App, query: &str) -> Reply {
    server.manage("GET", &format!("/apps/{}/webhooks/gate/calls{query}", app.id), Value::Null).await
}

async fn asked(answers: Vec<Answer>) -> (TestServer, App) {
    let server = TestServer::start().await;
    let app = server.app().await;
    let gate = Endpoint::start().await;
    server.webhook(&app, "gate", &gate, &["before_message"], Value::Null).await;
    let count = answers.len();
    gate.answer(answers);
    for n in 0..count {
        app.send_as("ana", text_to("ben", &format!("message {n}"))).await;
    }
    until("the calls are logged", async || {
        calls(&server, &app, "").await.data().as_array().map(Vec::len) == Some(count)
    })
    .await;
    (server, app)
}

fn column<'a>(reply: &'a Reply, name: &str) -> Vec<&'a Value> {
    reply.data().as_array().expect("a list").iter().map(|call| &call[name]).collect()
}

#[tokio::test]
async fn each_call_tells_what_it_did_to_the_message_the_newest_first() {
    let replace = json!({"action": "replace", "data": {"text": "mild"}, "inject": {"score": 1}});
    let (server, app) = asked(vec![
        Answer::json(&json!({})),
        Answer::json(&json!({"lang": "en"})),
        Answer::json(&replace),
        Answer::json(&json!({"action": "dropp"})),
        Answer::json(&json!({"action": "do_not_propagate", "reason": "spam"})),
        Answer::status(500),
    ])
    .await;
    let listed = calls(&server, &app, "").await;
    assert_eq!(column(&listed, "verdict"), ["pass", "drop", "inject", "replace", "inject", "pass"]);
    let effects = [
        Value::Null,
        json!({"reason": "spam"}),
        json!({"injected": ["action"], "unknownAction": "dropp"}),
        json!({"replaced": ["text"], "injected": ["score"]}),
        json!({"injected": ["lang"]}),
        Value::Null,
    ];
    assert_eq!(column(&listed, "effect"), effects.iter().collect::<Vec<_>>());
    assert_eq!(listed.data()[0]["silence"], "status_500");
    let dropped = &listed.data()[1];
    assert_eq!((&dropped["sender"], &dropped["conversationId"]), (&json!("ana"), &json!("ana_user_ben")));
    assert!(dropped["tookUs"].is_u64() && dropped["atMs"].is_i64(), "{dropped}");
}

#[tokio::test]
async fn calls_are_listed_by_verdict_and_page_by_page() {
    let stop = json!({"action": "do_not_propagate"});
    let (server, app) =
        asked(vec![Answer::json(&stop), Answer::status(503), Answer::json(&stop), Answer::json(&json!({}))])
            .await;
    assert_eq!(column(&calls(&server, &app, "?verdict=drop").await, "verdict"), ["drop", "drop"]);
    assert_eq!(column(&calls(&server, &app, "?verdict=silent").await, "silence"), ["status_503"]);
    let first = calls(&server, &app, "?limit=3").await;
    assert_eq!(column(&first, "verdict"), ["pass", "drop", "pass"]);
    let cursor = first.json["meta"]["cursor"].as_str().expect("more follow");
    let rest = calls(&server, &app, &format!("?limit=3&cursor={cursor}")).await;
    assert_eq!(column(&rest, "verdict"), ["drop"]);
    assert_eq!(rest.json["meta"].get("cursor"), None);
    calls(&server, &app, "?verdict=maybe").await.refused_for(400, "ERR_BAD_REQUEST", "verdict");
}

#[tokio::test]
async fn another_apps_calls_are_not_shown() {
    let (server, _) = asked(vec![Answer::json(&json!({}))]).await;
    let other = server.app().await;
    calls(&server, &other, "").await.refused(404, "ERR_WEBHOOK_NOT_FOUND");
}
