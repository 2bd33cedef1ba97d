//! `chathook users` against a real server.

use crate::desk::{Desk, field, words};
use crate::support::*;

#[tokio::test]
async fn users_are_listed_and_searched() {
    let desk = Desk::without_webhook().await;
    let out = desk.shell.run(&["users", "list", "--search", "ana"]).await;
    let lines: Vec<&str> = out.done().lines().collect();
    assert_eq!(words(lines[0]), ["UID", "NAME", "ROLE", "STATUS", "CREATED"]);
    assert_eq!(words(lines[1])[..4], ["ana", "Ana", "default", "offline"]);
    assert_eq!(lines.len(), 2);
    let all = desk.app.call("GET", "/users", Value::Null).await.data().clone();
    assert_eq!(desk.shell.run(&["users", "list", "--json"]).await.json(), all);
}

#[tokio::test]
async fn a_user_is_made_shown_given_a_token_and_deleted() {
    let desk = Desk::without_webhook().await;
    let made = ["users", "create", "zoe", "--name", "Zoë", "--role", "default", "--json"];
    assert_eq!(desk.shell.run(&made).await.json()["uid"], "zoe");
    assert!(desk.shell.run(&made).await.refused(6).contains("ERR_UID_ALREADY_EXISTS"));
    assert_eq!(field(desk.shell.run(&["users", "show", "zoe"]).await.done(), "name"), "Zoë");

    let token = desk.shell.run(&["users", "token", "zoe"]).await.done().trim().to_owned();
    let me = desk.app.with("GET", "/users/zoe", &[("authToken", &token)], Value::Null).await;
    assert_eq!(me.data()["uid"], "zoe");
    assert_eq!(desk.shell.run(&["users", "token", "zoe"]).await.done().trim(), token);
    let other = desk.shell.run(&["users", "token", "zoe", "--new", "--json"]).await.json();
    assert_ne!(other["authToken"], token);

    assert!(desk.shell.run(&["users", "delete", "zoe"]).await.refused(2).contains("--yes"));
    assert!(desk.shell.run(&["users", "delete", "zoe", "--yes"]).await.done().contains("deactivated"));
    assert!(
        desk.shell.run(&["users", "delete", "ben", "--permanent", "--yes"]).await.done().contains("deleted")
    );
    desk.shell.run(&["users", "show", "ben"]).await.refused(4);
    desk.shell.run(&["users", "show", "nobody"]).await.refused(4);
}

#[tokio::test]
async fn what_people_call_themselves_cannot_move_a_terminal() {
    let desk = Desk::without_webhook().await;
    let body = json!({"uid": "eve", "name": "Eve\u{1b}[2J\nana  Ana"});
    desk.app.call("POST", "/users", body).await.data();
    let out = desk.shell.run(&["users", "list", "--search", "eve"]).await;
    assert!(!out.done().contains('\u{1b}') && out.out.lines().count() == 2, "{:?}", out.out);
}
