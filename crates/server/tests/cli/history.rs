//! `chathook replay`, `stats`, `message` and `notices` against a real server and a real endpoint.

use crate::desk::{Desk, field, words};
use crate::support::*;

#[tokio::test]
async fn a_replay_is_waited_for_and_tells_what_it_made() {
    let desk = Desk::new().await;
    for text in ["one", "two"] {
        desk.send(text).await;
    }
    desk.server.advance(1);
    let out = desk.shell.run(&["replay", "audit", "--since", &NOW_S.to_string()]).await;
    assert_eq!(
        [field(out.done(), "status"), field(&out.out, "events seen"), field(&out.out, "deliveries made")],
        ["done", "2", "2"]
    );
    for text in ["one", "two"] {
        let told = desk.endpoint.next().await;
        assert_eq!((told.text(), told.header("chathook-replay")), (text, field(&out.out, "replay")));
    }
}

#[tokio::test]
async fn a_replay_takes_only_what_is_asked_for() {
    let desk = Desk::new().await;
    desk.send("one").await;
    desk.server.advance(1);
    let since = ["replay", "audit", "--since", "2025-10-09", "--json"];
    let failed = desk.shell.run(&[&since[..], &["--status", "failed"]].concat()).await.json();
    assert_eq!((&failed["status"], &failed["made"]), (&json!("done"), &json!(0)));
    let begun = [&since[..], &["--until", "2025-10-10", "--trigger", "after_message", "--no-wait"]].concat();
    let begun = desk.shell.run(&begun).await.json();
    let wanted = json!({"since": 1_759_950_000, "triggers": ["after_message"], "until": 1_760_036_400});
    assert_eq!((&begun["wanted"], &begun["status"]), (&wanted, &json!("running")));
    desk.endpoint.next().await;
    desk.shell.run(&["replay", "audit"]).await.refused(2);
    desk.shell.run(&["webhooks", "disable", "audit"]).await.done();
    assert!(desk.shell.run(&since).await.refused(6).contains("ERR_WEBHOOK_OFF"));
}

#[tokio::test]
async fn figures_are_told_in_words_and_as_json() {
    let desk = Desk::new().await;
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("one").await;
    let out = desk.shell.run(&["stats", "audit", "--minutes", "10"]).await;
    assert_eq!(field(out.done(), "attempts"), "1, 0.1 a minute");
    assert!(field(&out.out, "waiting").starts_with("1, "), "{}", out.out);
    assert_eq!(field(&out.out, "500"), "1");
    let data = desk.data("/webhooks/audit/stats?minutes=10").await;
    assert_eq!(desk.shell.run(&["stats", "audit", "--minutes", "10", "--json"]).await.json(), data);
    desk.shell.run(&["stats", "audit", "--minutes", "999999"]).await.refused(7);
}

#[tokio::test]
async fn a_message_tells_its_time_line_and_why_a_webhook_got_nothing() {
    let desk = Desk::new().await;
    desk.server.webhook(&desk.app, "deaf", &desk.endpoint, &["message_read_receipt"], Value::Null).await;
    let id = desk.send("hello").await;
    let out = desk.shell.run(&["message", "show", &id]).await;
    assert_eq!(field(out.done(), "conversation"), "ana_user_ben");
    let entries: Vec<Vec<&str>> =
        out.out.lines().filter(|line| line.starts_with("2025")).map(words).collect();
    let whats: Vec<&str> = entries.iter().map(|entry| entry[2]).collect();
    assert_eq!(whats, ["accepted", "event", "owed", "attempt", "ended"]);
    assert_eq!(entries[3][3..], ["audit", "1", "of", "1:", "200"]);
    assert_eq!(words(field(&out.out, "audit")), ["delivered", "1"]);
    assert!(field(&out.out, "deaf").contains("does not listen"), "{}", out.out);
    let data = desk.data(&format!("/messages/{id}/timeline")).await;
    assert_eq!(desk.shell.run(&["message", "show", &id, "--json"]).await.json(), data);
    desk.shell.run(&["message", "show", "999"]).await.refused(4);
}

#[tokio::test]
async fn notices_are_listed_newest_first() {
    let desk = Desk::new().await;
    assert!(desk.shell.run(&["notices"]).await.done().contains("nothing to tell"));
    desk.endpoint.answer([Answer::status(410)]);
    desk.send("gone").await;
    until("it is switched off", async || desk.data("/notices").await != json!([])).await;
    let out = desk.shell.run(&["notices"]).await;
    assert_eq!(words(out.done().lines().nth(1).expect("a row"))[2..4], ["audit", "switched_off"]);
    assert_eq!(desk.shell.run(&["notices", "--json"]).await.json(), desk.data("/notices").await);
    let shown = desk.shell.run(&["webhooks", "show", "audit"]).await;
    assert!(field(shown.done(), "state").starts_with("switched off"));
}
