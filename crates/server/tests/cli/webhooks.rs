//! `chathook webhooks` against a real server and real endpoints.

use crate::desk::{Desk, field, stranger, words};
use crate::support::*;

#[tokio::test]
async fn webhooks_are_listed_for_people_and_for_programs() {
    let desk = Desk::new().await;
    desk.server
        .webhook(&desk.app, "quiet", &desk.endpoint, &["after_message"], json!({"enabled": false}))
        .await;
    let out = desk.shell.run(&["webhooks", "list"]).await;
    let lines: Vec<&str> = out.done().lines().collect();
    assert_eq!(words(lines[0]), ["ID", "NAME", "URL", "STATE", "CREATED"]);
    assert_eq!(words(lines[1])[..4], ["audit", "audit", &desk.endpoint.url(), "on"]);
    assert_eq!(words(lines[2])[3], "disabled");
    assert_eq!(desk.shell.run(&["webhooks", "list", "--json"]).await.json(), desk.data("/webhooks").await);
}

#[tokio::test]
async fn a_webhook_is_made_with_its_triggers_and_its_password_from_standard_input() {
    let desk = Desk::without_webhook().await;
    let url = desk.endpoint.url();
    let arguments = [
        "webhooks",
        "create",
        "mine",
        "--url",
        &url,
        "--username",
        "hook",
        "--password-stdin",
        "--trigger",
        "before_message,after_message",
        "--on-failure",
        "drop",
        "--timeout-ms",
        "3000",
        "--patience",
        "unlimited",
    ];
    let out = desk.shell.run_with("s3cret\n", &arguments).await;
    assert!(field(out.done(), "signing secret").starts_with("whsec_"), "{}", out.out);
    assert_eq!(field(&out.out, "triggers"), "before_message, after_message");
    assert!(!out.out.contains("s3cret"), "the password is shown to nobody");
    let made = desk.data("/webhooks/mine").await;
    let expected = json!({"name": "mine", "onFailure": "drop", "timeoutMs": 3_000, "patienceSeconds": "unlimited",
        "useBasicAuth": true, "username": "hook", "enabled": true});
    for (name, value) in expected.as_object().expect("fields") {
        assert_eq!(&made[name], value, "{name}");
    }
    desk.app.send_as("ana", text_to("ben", "hello")).await.data();
    // "hook:s3cret"
    assert_eq!(desk.endpoint.next().await.header("authorization"), "Basic aG9vazpzM2NyZXQ=");
}

#[tokio::test]
async fn an_id_that_is_taken_ends_with_code_6() {
    let desk = Desk::new().await;
    let told = desk.shell.run(&["webhooks", "create", "audit", "--url", &desk.endpoint.url()]).await;
    assert!(told.refused(6).contains("ERR_WEBHOOK_ALREADY_EXISTS"), "{}", told.err);
}

#[tokio::test]
async fn the_state_of_a_webhook_is_the_word_that_the_dashboard_has() {
    let desk = Desk::new().await;
    desk.endpoint.otherwise(Answer::status(500));
    let path = format!("/apps/{}/webhooks/audit", desk.app.id);
    desk.server.manage("PUT", &path, json!({"patienceSeconds": "unlimited"})).await.data();
    desk.send("hello").await;
    // The schedule's waits with the most that chance adds to them.
    for wait in [11, 33, 132] {
        desk.server.advance(wait);
        desk.endpoint.next().await;
        desk.server.settled().await;
    }
    let list = desk.shell.run(&["webhooks", "list"]).await;
    assert_eq!(words(list.done().lines().nth(1).expect("a line"))[3], "failing");
    let shown = desk.shell.run(&["webhooks", "show", "audit"]).await;
    assert_eq!(field(shown.done(), "state"), "failing");
    assert_eq!(desk.data("/webhooks/audit").await["state"], "failing");
    let mut browser = Browser::logged_in(&desk.server).await;
    let page = browser.page(&format!("/apps/{}/webhooks", desk.app.id)).await;
    assert!(page.contains(">failing<"), "{page}");
}

#[tokio::test]
async fn a_signing_secret_is_shown_whatever_becomes_of_the_triggers() {
    let (server, shell) = stranger().await;
    let shell = shell.with("CHATHOOK_CA", "ca.pem").with("CHATHOOK_APP", "a");
    let made = Answer::json(&json!({"data": {"id": "mine", "signingSecret": "whsec_once"}}));
    server.answer([made]);
    server.otherwise(Answer::Close);
    let arguments =
        ["webhooks", "create", "mine", "--url", "https://a.example", "--trigger", "after_message"];
    let told = shell.run(&arguments).await;
    assert_eq!((told.code, field(&told.out, "signing secret")), (3, "whsec_once"), "{told:?}");
    assert!(told.err.contains("listens to nothing"), "{}", told.err);
}

#[tokio::test]
async fn where_nobody_can_type_a_password_the_ways_to_give_it_are_told() {
    let desk = Desk::without_webhook().await;
    let url = desk.endpoint.url();
    let arguments = ["webhooks", "create", "mine", "--url", &url, "--username", "hook"];
    let told = desk.shell.run(&arguments).await;
    assert!(told.refused(2).contains("CHATHOOK_WEBHOOK_PASSWORD") && told.err.contains("--password-stdin"));
    let shell = Shell::at(&desk.server).with("CHATHOOK_WEBHOOK_PASSWORD", "from-env");
    let made = shell.run(&arguments).await;
    assert_eq!(field(made.done(), "Basic auth as"), "hook");
    assert!(made.out.contains("webhooks triggers mine --add"), "{}", made.out);
}

#[tokio::test]
async fn an_unfit_webhook_is_refused_with_the_reason() {
    let desk = Desk::new().await;
    let metadata = ["webhooks", "create", "bad", "--url", "https://169.254.169.254/"];
    assert!(desk.shell.run(&metadata).await.refused(7).contains("webhookURL"));
    desk.shell.run(&["webhooks", "create", "bad"]).await.refused(2);
    desk.shell.run(&["webhooks", "create", "bad", "--url", "https://a", "--trigger", "x"]).await.refused(2);
    desk.shell.run(&["webhooks", "show", "bad"]).await.refused(4);
    for stray in ["..", "."] {
        desk.shell.run(&["webhooks", "delete", stray, "--yes"]).await.refused(2);
    }
}

#[tokio::test]
async fn an_update_changes_what_is_given_and_nothing_else() {
    let desk = Desk::new().await;
    let before = desk.data("/webhooks/audit").await;
    desk.server.advance(5);
    let changed = desk
        .shell
        .run(&["webhooks", "update", "audit", "--name", "Audit", "--retry", "false", "--json"])
        .await;
    let mut expected = before.clone();
    expected["name"] = json!("Audit");
    expected["retryOnFailure"] = json!(false);
    expected["updatedAt"] = json!(NOW_S + 5);
    assert_eq!(changed.json(), expected);
    assert_eq!(desk.data("/webhooks/audit").await, expected);
    assert!(desk.shell.run(&["webhooks", "update", "audit"]).await.refused(2).contains("--help"));
    desk.shell.run(&["webhooks", "update", "nothing", "--name", "x"]).await.refused(4);
}

#[tokio::test]
async fn a_webhook_is_disabled_enabled_and_deleted() {
    let desk = Desk::new().await;
    assert_eq!(field(desk.shell.run(&["webhooks", "disable", "audit"]).await.done(), "state"), "disabled");
    assert_eq!(desk.data("/webhooks/audit").await["enabled"], false);
    assert_eq!(field(desk.shell.run(&["webhooks", "enable", "audit"]).await.done(), "state"), "on");
    assert!(desk.shell.run(&["webhooks", "delete", "audit"]).await.refused(2).contains("--yes"));
    assert_eq!(desk.data("/webhooks/audit").await["enabled"], true);
    desk.shell.run(&["webhooks", "delete", "audit", "--yes"]).await.done();
    desk.shell.run(&["webhooks", "show", "audit"]).await.refused(4);
    desk.shell.run(&["webhooks", "delete", "audit"]).await.refused(4);
}

#[tokio::test]
async fn triggers_are_listed_added_and_removed() {
    let desk = Desk::new().await;
    let out = desk.shell.run(&["webhooks", "triggers", "audit"]).await;
    assert_eq!(words(out.done().lines().nth(1).expect("a row"))[0], "after_message");
    let changed = ["webhooks", "triggers", "audit", "--add", "after_connection_status_changed"];
    let changed = [changed.as_slice(), &["--remove", "after_message", "--json"]].concat();
    let triggers = desk.shell.run(&changed).await.json();
    assert_eq!(triggers, desk.data("/webhooks/audit/triggers").await);
    assert_eq!(triggers[0]["id"], "user_connection_status_change");
    assert_eq!(triggers.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_test_shows_request_and_answer_and_fails_where_the_endpoint_does() {
    let desk = Desk::new().await;
    desk.endpoint.answer([Answer::json(&json!({"note": "seen"})), Answer::status(500)]);
    let passed = desk.shell.run(&["webhooks", "test", "audit"]).await;
    let sent = desk.endpoint.next().await;
    for part in
        [desk.endpoint.url().as_str(), sent.header("webhook-id"), "attempt 1", "200", "first byte", "seen"]
    {
        assert!(passed.done().contains(part), "{part} is not in\n{}", passed.out);
    }
    let failed = desk.shell.run(&["webhooks", "test", "audit", "before_message", "--json"]).await;
    assert_eq!((failed.code, failed.err.contains("500")), (1, true), "{failed:?}");
    let shown: Value = serde_json::from_str(&failed.out).expect("the API's data");
    assert_eq!((&shown["success"], &shown["attempt"]["outcome"]), (&json!(false), &json!("500")));
}

#[tokio::test]
async fn a_rotated_secret_is_shown_and_the_old_one_ends_when_it_says() {
    let desk = Desk::new().await;
    let out = desk.shell.run(&["webhooks", "rotate", "audit", "--overlap", "60"]).await;
    assert!(field(out.done(), "signing secret").starts_with("whsec_"));
    assert_eq!(field(&out.out, "old one until"), "2025-10-09 13:54:20");
    let rotated = desk.shell.run(&["webhooks", "rotate", "audit", "--json"]).await.json();
    assert_eq!(rotated["previousValidUntil"], NOW_S + 86_400);
}

#[tokio::test]
async fn what_was_made_of_messages_before_they_were_sent_is_listed() {
    let desk = Desk::without_webhook().await;
    desk.server.webhook(&desk.app, "gate", &desk.endpoint, &["before_message"], Value::Null).await;
    desk.endpoint.answer([
        Answer::json(&json!({})),
        Answer::json(&json!({"action": "do_not_propagate", "reason": "rude"})),
    ]);
    desk.app.send_as("ana", text_to("ben", "hello")).await.data();
    desk.app.send_as("ana", text_to("ben", "you!")).await.refused(403, "ERR_BLOCKED_BY_WEBHOOK");
    desk.server.asked(2).await;
    let out = desk.shell.run(&["webhooks", "calls", "gate"]).await;
    let lines: Vec<&str> = out.done().lines().collect();
    assert_eq!(words(lines[1])[2..6], ["ana_user_ben", "ana", "drop", "-"]);
    assert!(lines[1].contains("rude") && words(lines[2])[4] == "pass", "{}", out.out);
    let passed = ["webhooks", "calls", "gate", "--verdict", "pass", "--json"];
    assert_eq!(desk.shell.run(&passed).await.json(), desk.data("/webhooks/gate/calls?verdict=pass").await);
}
