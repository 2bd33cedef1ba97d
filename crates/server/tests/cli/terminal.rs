//! On a terminal: who asks, who colours, who shows progress.

use crate::desk::Desk;
use crate::support::*;

#[tokio::test]
async fn what_destroys_asks_and_a_no_changes_nothing() {
    let desk = Desk::new().await;
    let (code, out) = desk.shell.on_terminal("n\n", "chathook webhooks delete audit").await;
    assert!(code == 1 && out.contains("[y/N]") && out.contains("Nothing was done"), "{code}: {out}");
    desk.shell.run(&["webhooks", "show", "audit"]).await.done();
    let (code, out) = desk.shell.on_terminal("y\n", "chathook webhooks delete audit").await;
    assert!(code == 0, "{code}: {out}");
    desk.shell.run(&["webhooks", "show", "audit"]).await.refused(4);
}

#[tokio::test]
async fn a_password_is_typed_without_an_echo() {
    let desk = Desk::without_webhook().await;
    let command = format!("chathook webhooks create mine --url {} --username hook", desk.endpoint.url());
    let (code, out) = desk.shell.on_terminal("hushhush\n", &command).await;
    assert!(code == 0 && out.contains("Password"), "{code}: {out}");
    desk.shell.run(&["webhooks", "test", "mine"]).await.done();
    // "hook:hushhush"
    assert_eq!(desk.endpoint.next().await.header("authorization"), "Basic aG9vazpodXNoaHVzaA==");
}

#[tokio::test]
async fn progress_is_for_terminals() {
    let desk = Desk::new().await;
    let command = format!("chathook replay audit --since {NOW_S}");
    let (code, out) = desk.shell.on_terminal("", &command).await;
    assert!(code == 0 && out.contains("\r0 events seen, 0 deliveries made\u{1b}[K"), "{code}: {out:?}");
    let elsewhere = desk.shell.run(&["replay", "audit", "--since", &NOW_S.to_string()]).await;
    assert!(!elsewhere.done().contains('\r'));
}

#[tokio::test]
async fn colours_are_for_terminals_and_those_who_want_them() {
    let desk = Desk::new().await;
    let (_, coloured) = desk.shell.on_terminal("", "chathook webhooks list").await;
    assert!(coloured.contains("\u{1b}[32mon\u{1b}[0m"), "{coloured:?}");
    let (_, plain) = desk.shell.on_terminal("", "NO_COLOR=1 chathook webhooks list").await;
    assert!(plain.contains(" on ") && !plain.contains('\u{1b}'), "{plain:?}");
    let (_, json) = desk.shell.on_terminal("", "chathook webhooks list --json").await;
    assert!(!json.contains('\u{1b}'), "{json:?}");
    assert!(!desk.shell.run(&["webhooks", "list"]).await.done().contains('\u{1b}'));
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    // More than a pipe holds, so that the writer surely meets its end.
    let gone = "set -o pipefail; chathook completions bash | head -1 >/dev/null";
    let gone = Shell::bare().run_under(&["bash", "-c", gone], "").await;
    assert_eq!((gone.code, gone.err.as_str()), (0, ""));
}

#[tokio::test]
async fn where_nobody_can_read_what_went_wrong_the_code_still_says_it() {
    // Whatever is written there fails, as on a pipe whose reader has gone.
    let command = "chathook apps list --profile dev --server http://127.0.0.1:9 2>/dev/full";
    assert_eq!(Shell::bare().run_under(&["bash", "-c", command], "").await.code, 3);
}

#[tokio::test]
async fn a_password_is_asked_for_wherever_a_user_is_named() {
    let endpoint = Endpoint::start().await;
    let shell = Shell::bare();
    std::fs::write(shell.home().join("ca.pem"), crate::support::endpoint::ca().to_pem()).expect("written");
    let url = endpoint.url();
    let command = format!("chathook trigger after_message --to {url} --username hook --ca ca.pem");
    let (code, out) = shell.on_terminal("hushhush\n", &command).await;
    assert!(code == 0 && out.contains("Password"), "{code}: {out}");
    // "hook:hushhush"
    assert_eq!(endpoint.next().await.header("authorization"), "Basic aG9vazpodXNoaHVzaA==");
}
