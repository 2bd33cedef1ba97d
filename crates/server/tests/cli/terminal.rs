//! On a terminal: who asks, who colours, who shows progress. `script` of the distribution makes the
//! terminal, as each has it.

use crate::desk::Desk;
use crate::support::*;

/// The command on a terminal of its own, with this typed.
async fn on_terminal(shell: &Shell, typed: &str, command: &str) -> (i32, String) {
    let ran =
        shell.run_under(&["script", "--quiet", "--return", "--command", command, "/dev/null"], typed).await;
    (ran.code, ran.out)
}

#[tokio::test]
async fn what_destroys_asks_and_a_no_changes_nothing() {
    let desk = Desk::new().await;
    let (code, out) = on_terminal(&desk.shell, "n\n", "chathook webhooks delete audit").await;
    assert!(code == 1 && out.contains("[y/N]") && out.contains("Nothing was done"), "{code}: {out}");
    desk.shell.run(&["webhooks", "show", "audit"]).await.done();
    let (code, out) = on_terminal(&desk.shell, "y\n", "chathook webhooks delete audit").await;
    assert!(code == 0, "{code}: {out}");
    desk.shell.run(&["webhooks", "show", "audit"]).await.refused(4);
}

#[tokio::test]
async fn a_password_is_typed_without_an_echo() {
    let desk = Desk::without_webhook().await;
    let command = format!("chathook webhooks create mine --url {} --username hook", desk.endpoint.url());
    let (code, out) = on_terminal(&desk.shell, "hushhush\n", &command).await;
    assert!(code == 0 && out.contains("Password"), "{code}: {out}");
    desk.shell.run(&["webhooks", "test", "mine"]).await.done();
    // "hook:hushhush"
    assert_eq!(desk.endpoint.next().await.header("authorization"), "Basic aG9vazpodXNoaHVzaA==");
}

#[tokio::test]
async fn progress_is_for_terminals() {
    let desk = Desk::new().await;
    let command = format!("chathook replay audit --since {NOW_S}");
    let (code, out) = on_terminal(&desk.shell, "", &command).await;
    assert!(code == 0 && out.contains("\r0 events seen, 0 deliveries made\u{1b}[K"), "{code}: {out:?}");
    let elsewhere = desk.shell.run(&["replay", "audit", "--since", &NOW_S.to_string()]).await;
    assert!(!elsewhere.done().contains('\r'));
}

#[tokio::test]
async fn colours_are_for_terminals_and_those_who_want_them() {
    let desk = Desk::new().await;
    let (_, coloured) = on_terminal(&desk.shell, "", "chathook webhooks list").await;
    assert!(coloured.contains("\u{1b}[32menabled\u{1b}[0m"), "{coloured:?}");
    let (_, plain) = on_terminal(&desk.shell, "", "NO_COLOR=1 chathook webhooks list").await;
    assert!(plain.contains("enabled") && !plain.contains('\u{1b}'), "{plain:?}");
    let (_, json) = on_terminal(&desk.shell, "", "chathook webhooks list --json").await;
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
