//! What an endpoint may answer to `before_message`, and what its silence means (design 5).

mod support;

use support::endpoint::Gate;
use support::http::Reply;
use support::stage::Stage;
use support::*;

fn injected(message: &Value) -> &Value {
    &message["data"]["metadata"]["@injected"]["webhooks"]
}

#[tokio::test]
async fn an_empty_answer_lets_the_message_go_on() {
    Stage::new().await.passes_unchanged(Answer::status(200)).await;
}

#[tokio::test]
async fn no_content_lets_the_message_go_on() {
    Stage::new().await.passes_unchanged(Answer::status(204)).await;
}

#[tokio::test]
async fn an_empty_object_lets_the_message_go_on() {
    Stage::new().await.passes_unchanged(Answer::json(&json!({}))).await;
}

#[tokio::test]
async fn an_answer_that_is_no_json_lets_the_message_go_on_even_where_failure_drops() {
    Stage::closed().await.passes_unchanged(Answer::body(200, "<html>OK</html>")).await;
}

#[tokio::test]
async fn an_array_or_scalar_lets_the_message_go_on() {
    Stage::closed().await.passes_unchanged(Answer::body(200, "[1,2]")).await;
    Stage::closed().await.passes_unchanged(Answer::body(201, "42")).await;
}

#[tokio::test]
async fn an_object_without_an_action_is_injected() {
    let stage = Stage::new().await;
    let sent = stage.answered(Answer::json(&json!({"lang": "en"}))).await;
    assert_eq!(injected(sent.data()), &json!({"gate": {"lang": "en"}}));
    assert_eq!(stage.audit.next().await.json["data"], *sent.data());
}

#[tokio::test]
async fn an_unknown_action_is_injected_as_it_is() {
    let stage = Stage::new().await;
    let answer = json!({"action": "celebrate", "level": 3});
    let sent = stage.answered(Answer::json(&answer)).await;
    assert_eq!(injected(sent.data())["gate"], answer);
}

#[tokio::test]
async fn what_is_injected_stands_beside_the_senders_metadata() {
    let stage = Stage::new().await;
    stage.gate.answer([Answer::json(&json!({"lang": "en"}))]);
    let mut body = text_to("ben", "hello");
    body["data"]["metadata"] = json!({"theme": "dark"});
    let sent = stage.app.send_as("ana", body).await;
    let metadata = json!({"theme": "dark", "@injected": {"webhooks": {"gate": {"lang": "en"}}}});
    assert_eq!(sent.data()["data"]["metadata"], metadata);
}

#[tokio::test]
async fn a_dropped_message_is_not_stored_and_reaches_nobody() {
    let stage = Stage::new().await;
    let mut ben = Socket::of(&stage.app, "ben").await;
    let later = Endpoint::start().await;
    stage.server.webhook(&stage.app, "later", &later, &["before_message"], Value::Null).await;
    let answer = json!({"action": "do_not_propagate", "reason": "No swearing, please."});
    let sent = stage.answered(Answer::json(&answer)).await;
    let error = sent.refused(403, "ERR_BLOCKED_BY_WEBHOOK");
    assert_eq!(error["message"], "No swearing, please.");
    stage.is_blocked(&sent).await;
    assert!(later.take_all().is_empty(), "no further webhook is asked");
    assert_eq!(ben.notification("message").await["data"]["text"], "marker");
}

#[tokio::test]
async fn a_drop_without_a_reason_says_that_a_webhook_did_it() {
    let stage = Stage::new().await;
    let sent = stage.answered(Answer::json(&json!({"action": "do_not_propagate"}))).await;
    stage.is_blocked(&sent).await;
}

#[tokio::test]
async fn a_drop_refuses_the_socket_call_too() {
    let stage = Stage::new().await;
    stage.gate.answer([Answer::json(&json!({"action": "do_not_propagate", "reason": "No."}))]);
    let mut ana = Socket::of(&stage.app, "ana").await;
    let refused = ana.call("sendMessage", text_to("ben", "hello")).await.expect_err("dropped");
    assert_eq!(
        (&refused["message"], &refused["data"]["code"]),
        (&json!("No."), &json!("ERR_BLOCKED_BY_WEBHOOK"))
    );
}

#[tokio::test]
async fn a_replacement_takes_the_place_of_what_the_sender_wrote() {
    let stage = Stage::new().await;
    let answer = json!({"action": "replace", "data": {"text": "h***o", "metadata": {"clean": true}},
                        "inject": {"score": 0.9}});
    let sent = stage.answered(Answer::json(&answer)).await;
    assert_eq!(sent.data()["data"]["text"], "h***o");
    let metadata = json!({"clean": true, "@injected": {"webhooks": {"gate": {"score": 0.9}}}});
    assert_eq!(sent.data()["data"]["metadata"], metadata);
    assert_eq!(stage.audit.next().await.text(), "h***o");
    assert_eq!(stage.app.texts("ben", "ana").await, ["h***o"]);
}

#[tokio::test]
async fn custom_data_and_attachments_can_be_replaced() {
    let stage = Stage::new().await;
    let file = json!([{"url": "https://files.example.org/clean.png"}]);
    stage.gate.answer([
        Answer::json(&json!({"action": "replace", "data": {"customData": {"safe": true}}})),
        Answer::json(&json!({"action": "replace", "data": {"attachments": file}})),
    ]);
    let custom = json!({"receiver": "ben", "receiverType": "user", "category": "custom", "type": "poll",
                        "data": {"customData": {"safe": false}}});
    let sent = stage.app.send_as("ana", custom).await;
    assert_eq!(sent.data()["data"]["customData"], json!({"safe": true}));
    let image = json!({"receiver": "ben", "receiverType": "user", "type": "image",
                       "data": {"attachments": [{"url": "https://files.example.org/raw.png"}]}});
    let sent = stage.app.send_as("ana", image).await;
    assert_eq!(sent.data()["data"]["attachments"], file);
}

#[tokio::test]
async fn a_replacement_that_a_sender_could_not_send_counts_as_failure() {
    for data in [json!({"text": ""}), json!({"text": 7}), json!({"metadata": "x"})] {
        let answer = json!({"action": "replace", "data": data});
        Stage::new().await.passes_unchanged(Answer::json(&answer)).await;
        let stage = Stage::closed().await;
        let sent = stage.answered(Answer::json(&answer)).await;
        stage.is_blocked(&sent).await;
    }
}

#[tokio::test]
async fn a_replacement_over_the_size_of_a_message_counts_as_failure() {
    let answer = json!({"action": "replace", "data": {"text": "x".repeat(70_000)}});
    Stage::new().await.passes_unchanged(Answer::json(&answer)).await;
}

#[tokio::test]
async fn a_replacement_without_data_counts_as_failure() {
    let stage = Stage::closed().await;
    let sent = stage.answered(Answer::json(&json!({"action": "replace"}))).await;
    stage.is_blocked(&sent).await;
}

/// Each answer that is none: the message passes or is dropped, as `onFailure` says.
async fn is_a_failure(answer: impl Fn(&Endpoint) -> Answer) {
    let stage = Stage::new().await;
    let answered = answer(&stage.gate);
    stage.passes_unchanged(answered).await;
    let stage = Stage::closed().await;
    let answered = answer(&stage.gate);
    // A kept-open connection that ends is replaced once, so the same is said twice.
    stage.gate.otherwise(answered);
    let sent = stage.send("hello").await;
    stage.is_blocked(&sent).await;
}

#[tokio::test]
async fn a_500_passes_or_drops_as_the_webhook_says() {
    is_a_failure(|_| Answer::body(500, r#"{"action":"do_not_propagate"}"#)).await;
}

#[tokio::test]
async fn a_4xx_passes_or_drops_as_the_webhook_says() {
    is_a_failure(|_| Answer::body(403, r#"{"action":"do_not_propagate"}"#)).await;
}

#[tokio::test]
async fn a_redirect_passes_or_drops_as_the_webhook_says() {
    is_a_failure(|gate| Answer::redirect(&gate.url())).await;
}

#[tokio::test]
async fn an_answer_over_1_mib_passes_or_drops_as_the_webhook_says() {
    is_a_failure(|_| Answer::body(200, format!("{{\"a\":\"{}\"}}", "x".repeat(1024 * 1024)))).await;
}

#[tokio::test]
async fn an_injected_object_over_16_kib_passes_or_drops_as_the_webhook_says() {
    is_a_failure(|_| Answer::json(&json!({"a": "x".repeat(16 * 1024)}))).await;
}

#[tokio::test]
async fn an_injected_object_of_exactly_16_kib_is_taken() {
    let stage = Stage::closed().await;
    let filler = 16 * 1024 - json!({"a": ""}).to_string().len();
    let sent = stage.answered(Answer::json(&json!({"a": "x".repeat(filler)}))).await;
    assert_eq!(injected(sent.data())["gate"]["a"].as_str().map(str::len), Some(filler));
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_passes_or_drops_as_the_webhook_says() {
    let stage = Stage::new().await;
    stage.gate.otherwise(Answer::Close);
    assert_eq!(stage.send("hello").await.data()["data"]["text"], "hello");
    let stage = Stage::closed().await;
    stage.gate.otherwise(Answer::Close);
    let sent = stage.send("hello").await;
    stage.is_blocked(&sent).await;
}

#[tokio::test]
async fn a_refused_connection_passes_or_drops_as_the_webhook_says() {
    let stage = Stage::new().await;
    stage.gate.shut().await;
    assert_eq!(stage.send("hello").await.data()["data"]["text"], "hello");
    let stage = Stage::closed().await;
    stage.gate.shut().await;
    let sent = stage.send("hello").await;
    stage.is_blocked(&sent).await;
}

/// Sends, waits until the gate is asked, and lets the budget run out.
async fn out_of_time(stage: &Stage, answer: Answer) -> Reply {
    stage.gate.answer([answer]);
    let sending = stage.send("hello");
    let clock = async {
        stage.gate.next().await;
        stage.server.clock.advance(2_000);
    };
    tokio::join!(sending, clock).0
}

#[tokio::test]
async fn a_hanging_endpoint_costs_the_budget_and_no_more() {
    let stage = Stage::new().await;
    let sent = out_of_time(&stage, Answer::Hang).await;
    assert_eq!(sent.data()["data"]["text"], "hello");
    let stage = Stage::closed().await;
    let sent = out_of_time(&stage, Answer::Hang).await;
    stage.is_blocked(&sent).await;
}

#[tokio::test]
async fn an_endpoint_that_drips_its_body_costs_the_budget_and_no_more() {
    let stage = Stage::closed().await;
    let sent = out_of_time(&stage, Answer::Drip).await;
    stage.is_blocked(&sent).await;
}

#[tokio::test]
async fn two_webhooks_are_asked_in_order_and_the_second_sees_what_the_first_left() {
    let stage = Stage::new().await;
    let second = Endpoint::start().await;
    stage.server.webhook(&stage.app, "alpha", &second, &["before_message"], Value::Null).await;
    let answer = json!({"action": "replace", "data": {"text": "changed"}, "inject": {"n": 1}});
    second.answer([Answer::json(&json!({"n": 2}))]);
    let sent = stage.answered(Answer::json(&answer)).await;
    assert_eq!(stage.gate.next().await.text(), "hello");
    let seen = second.next().await;
    assert_eq!(seen.text(), "changed");
    assert_eq!(injected(&seen.json["data"]), &json!({"gate": {"n": 1}}));
    assert_eq!(seen.json["webhook"], "alpha");
    assert_eq!(injected(sent.data()), &json!({"gate": {"n": 1}, "alpha": {"n": 2}}));
}

#[tokio::test]
async fn the_budget_is_divided_among_those_still_to_be_asked() {
    let stage = Stage::new().await;
    stage.server.set(&stage.app, json!({"beforeMessageBudgetMs": 5_000})).await;
    let second = Endpoint::start().await;
    stage.server.webhook(&stage.app, "second", &second, &["before_message"], Value::Null).await;
    stage.gate.answer([Answer::Hang]);
    second.answer([Answer::Hang]);
    let sending = stage.send("hello");
    let clock = async {
        stage.gate.next().await;
        // The first has half of 5 s; the second then has the other half.
        stage.server.clock.advance(2_500);
        second.next().await;
        stage.server.clock.advance(2_500);
    };
    let (sent, ()) = tokio::join!(sending, clock);
    assert_eq!(sent.data()["data"]["text"], "hello");
}

#[tokio::test]
async fn what_a_quick_webhook_leaves_of_the_budget_goes_to_the_next() {
    let stage = Stage::new().await;
    stage.server.set(&stage.app, json!({"beforeMessageBudgetMs": 5_000})).await;
    let second = Endpoint::start().await;
    stage.server.webhook(&stage.app, "second", &second, &["before_message"], Value::Null).await;
    let open = Gate::default();
    second.answer([Answer::json(&json!({"late": true})).after(&open)]);
    let sending = stage.send("hello");
    let clock = async {
        second.next().await;
        // Beyond an even half, but inside what is left.
        stage.server.clock.advance(4_900);
        open.open();
    };
    let (sent, ()) = tokio::join!(sending, clock);
    assert_eq!(injected(sent.data())["second"], json!({"late": true}));
}

#[tokio::test]
async fn a_sender_cannot_forge_what_webhooks_inject() {
    let stage = Stage::new().await;
    let mut body = text_to("ben", "hello");
    body["data"]["metadata"] = json!({"theme": "dark", "@injected": {"webhooks": {"gate": {"ok": true}}}});
    let sent = stage.app.send_as("ana", body).await;
    assert_eq!(sent.data()["data"]["metadata"], json!({"theme": "dark"}));
    assert_eq!(stage.gate.next().await.json["data"]["data"]["metadata"], json!({"theme": "dark"}));
}

#[tokio::test]
async fn an_edit_is_not_asked_about_and_loses_what_was_injected() {
    let stage = Stage::new().await;
    let sent = stage.answered(Answer::json(&json!({"lang": "en"}))).await.data().clone();
    stage.gate.next().await;
    let path = format!("/messages/{}", sent["id"].as_str().expect("an id"));
    stage.app.call_as("ana", "PUT", &path, json!({"data": {"text": "hallo"}})).await.data();
    stage.app.call_as("ana", "DELETE", &path, Value::Null).await.data();
    stage.audit.next().await;
    let edit = stage.audit.next().await;
    let on = &edit.json["data"]["data"]["entities"]["on"]["entity"];
    assert_eq!(on["data"]["text"], "hallo");
    assert_eq!(on["data"]["metadata"]["@injected"], Value::Null);
    stage.send("next").await.data();
    assert_eq!(stage.gate.next().await.text(), "next");
}

#[tokio::test]
async fn an_edit_is_asked_about_where_the_setting_is_on() {
    let stage = Stage::new().await;
    stage.server.set(&stage.app, json!({"beforeMessageOnEdit": true})).await;
    let sent = stage.send("hello").await.data().clone();
    stage.gate.next().await;
    let path = format!("/messages/{}", sent["id"].as_str().expect("an id"));
    stage.gate.answer([
        Answer::json(&json!({"action": "replace", "data": {"text": "clean"}})),
        Answer::json(&json!({"action": "do_not_propagate", "reason": "No."})),
    ]);
    stage.app.call_as("ana", "PUT", &path, json!({"data": {"text": "dirty"}})).await.data();
    assert_eq!(stage.gate.next().await.text(), "dirty");
    assert_eq!(stage.app.texts("ana", "ben").await[0], "clean");
    let refused = stage.app.call_as("ana", "PUT", &path, json!({"data": {"text": "worse"}})).await;
    refused.refused(403, "ERR_BLOCKED_BY_WEBHOOK");
    assert_eq!(stage.app.texts("ana", "ben").await[0], "clean");
}

#[tokio::test]
async fn a_webhook_that_is_off_is_not_asked() {
    let stage = Stage::closed().await;
    let path = format!("/apps/{}/webhooks/gate", stage.app.id);
    stage.server.manage("PUT", &path, json!({"enabled": false})).await.data();
    assert_eq!(stage.send("hello").await.data()["data"]["text"], "hello");
    assert!(stage.gate.take_all().is_empty());
}

#[tokio::test]
async fn calls_of_one_connection_are_asked_side_by_side_and_take_effect_in_order() {
    let stage = Stage::new().await;
    let mut ana = Socket::of(&stage.app, "ana").await;
    let open = Gate::default();
    stage.gate.answer_text("one", Answer::json(&json!({"n": 1})).after(&open));
    let first = ana.begin("sendMessage", text_to("ben", "one"));
    let second = ana.begin("sendMessage", text_to("ben", "two"));
    // Both are asked although the first is not answered yet.
    let asked = [stage.gate.next().await, stage.gate.next().await];
    let mut texts = asked.iter().map(Received::text).collect::<Vec<_>>();
    texts.sort_unstable();
    assert_eq!(texts, ["one", "two"]);
    open.open();
    ana.answer(second).await.expect("sent");
    ana.answer(first).await.expect("sent");
    assert_eq!(stage.app.texts("ana", "ben").await, ["one", "two"]);
    assert_eq!(stage.audit.next().await.text(), "one");
    assert_eq!(stage.audit.next().await.text(), "two");
}

#[tokio::test]
async fn a_message_that_may_not_be_sent_is_not_asked_about() {
    let stage = Stage::new().await;
    stage.app.send_as("ana", text_to("nobody", "hello")).await.refused(404, "ERR_UID_NOT_FOUND");
    stage.send("next").await.data();
    assert_eq!(stage.gate.next().await.text(), "next");
}
