//! `chathook replay`, `stats`, `message` and `notices` against a real server and a real endpoint.

use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::replay::Wanted;
use chathook_domain::trigger::Trigger;

use crate::desk::{Desk, field, stranger, words};
use crate::support::command::Going;
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
async fn replays_are_listed_newest_first_and_shown() {
    let desk = Desk::new().await;
    assert!(desk.shell.run(&["replays", "list", "audit"]).await.done().contains("chathook replay audit"));
    desk.send("one").await;
    desk.server.advance(1);
    for more in [["--until", "2025-10-10"], ["--status", "failed"]] {
        desk.shell.run(&[&["replay", "audit", "--since", "2025-10-09"], &more[..]].concat()).await.done();
    }
    let out = desk.shell.run(&["replays", "list", "audit"]).await;
    let lines: Vec<Vec<&str>> = out.done().lines().skip(1).map(words).collect();
    assert_eq!(lines[0][..6], ["2", "2025-10-09", "13:53:21", "done", "1", "0"]);
    assert!(lines[0].ends_with(&["only", "failed"]), "{}", out.out);
    assert_eq!(
        lines[1][3..],
        [
            "done",
            "1",
            "1",
            "since",
            "2025-10-09",
            "00:00:00,",
            "until",
            "2025-10-10",
            "00:00:00,",
            "after_message"
        ]
    );
    let listed = desk.shell.run(&["replays", "list", "audit", "--json"]).await.json();
    assert_eq!(listed, desk.data("/webhooks/audit/replays").await);
    assert_eq!(desk.shell.run(&["replays", "list", "audit", "--limit", "1", "--json"]).await.json(), {
        json!([listed[0]])
    });
    let shown = desk.shell.run(&["replays", "show", "audit", "1"]).await;
    assert_eq!((field(shown.done(), "status"), field(&shown.out, "deliveries made")), ("done", "1"));
    assert_eq!(desk.shell.run(&["replays", "show", "audit", "1", "--json"]).await.json(), listed[1]);
    desk.shell.run(&["replays", "show", "audit", "99"]).await.refused(4);
    desk.shell.run(&["replays", "list", "nothing"]).await.refused(4);
}

#[tokio::test]
async fn a_replay_is_cancelled_with_a_yes_and_only_while_it_runs() {
    let desk = Desk::new().await;
    desk.send("one").await;
    // Nobody is told of this job, so it runs and gets no further.
    let (app, webhook) = (AppId::trusted(&desk.app.id), WebhookId::trusted("audit"));
    let wanted = Wanted::parse(&json!({"since": 0}), &[Trigger::AfterMessage]).expect("it is fit");
    let store = &desk.server.engine().store;
    store.begin_replay(&app, &webhook, wanted, Time::from_ms(NOW_MS)).await.expect("it begins");
    assert!(desk.shell.run(&["replays", "cancel", "audit", "1"]).await.refused(2).contains("--yes"));
    assert_eq!(desk.data("/webhooks/audit/replays/1").await["status"], "running");
    let out = desk.shell.run(&["replays", "cancel", "audit", "1", "--yes"]).await;
    assert_eq!(field(out.done(), "status"), "cancelled");
    assert_eq!(desk.data("/webhooks/audit/replays/1").await["status"], "cancelled");
    desk.shell.run(&["replay", "audit", "--since", "2025-10-09"]).await.done();
    let late = desk.shell.run(&["replays", "cancel", "audit", "2", "--yes"]).await;
    assert!(late.refused(6).contains("had ended before"), "{}", late.err);
    desk.shell.run(&["replays", "cancel", "audit", "99"]).await.refused(4);
}

fn job(status: &str) -> Answer {
    Answer::json(&json!({"data": {"id": "7", "status": status, "seen": 1, "made": 1}}))
}

/// A replay of a server that answers what the test says.
fn replay_in(shell: &Shell) -> Going {
    let of = ["--app", "a", "--ca", "ca.pem"];
    shell.start(&[&["replay", "audit", "--since", "1h", "--json"], of.as_slice()].concat())
}

#[tokio::test]
async fn a_replay_is_waited_for_over_a_restart_of_the_server() {
    let (server, shell) = stranger().await;
    let gateway = Answer::Full { status: 502, headers: Vec::new(), body: b"<html>".to_vec() };
    // One look fails on the connection that was kept, and on a new one; one meets a proxy alone.
    server.answer([job("running"), Answer::Close, Answer::Close, gateway, job("done")]);
    let mut going = replay_in(&shell);
    let remarks = going.remarks().await;
    assert_eq!((going.ended().await, remarks.matches("Trying again").count()), (0, 1), "{remarks}");
}

#[tokio::test]
async fn who_stops_waiting_for_a_replay_is_told_that_it_goes_on() {
    let (server, shell) = stranger().await;
    server.otherwise(job("running"));
    let mut going = replay_in(&shell);
    for method in ["POST", "GET"] {
        assert_eq!(server.next().await.method, method);
    }
    going.terminate();
    let remarks = going.remarks().await;
    assert!(remarks.contains("chathook replays cancel audit 7"), "{remarks}");
    assert_eq!(going.ended().await, 1);
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
