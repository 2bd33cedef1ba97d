//! `chathook apps` against a real server.

use crate::desk::{field, words};
use crate::support::*;

#[tokio::test]
async fn apps_are_listed_for_people_and_for_programs() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let shell = Shell::at(&server);
    let out = shell.run(&["apps", "list"]).await;
    let lines: Vec<&str> = out.done().lines().collect();
    assert_eq!(words(lines[0]), ["ID", "NAME", "REGION", "CREATED"]);
    // 2025-10-09 08:53:20 in Greenwich.
    assert_eq!(words(lines[1]), [&app.id, "Test", "us", "2025-10-09", "13:53:20"]);
    let data = server.manage("GET", "/apps", Value::Null).await.data().clone();
    assert_eq!(shell.run(&["apps", "list", "--json"]).await.json(), data);
}

#[tokio::test]
async fn a_list_longer_than_the_limit_says_so() {
    let server = TestServer::start().await;
    for _ in 0..3 {
        server.app().await;
    }
    let shell = Shell::at(&server);
    let cut = shell.run(&["apps", "list", "--limit", "2"]).await;
    assert_eq!((cut.code, cut.out.lines().count()), (0, 3));
    assert!(cut.err.contains("--limit"), "{}", cut.err);
    let cut = shell.run(&["apps", "list", "--limit", "2", "--json"]).await.json();
    assert_eq!(cut.as_array().map(Vec::len), Some(2));
    assert_eq!(shell.run(&["apps", "list", "--limit", "3"]).await.done().lines().count(), 4);
}

#[tokio::test]
async fn an_app_is_made_shown_and_deleted() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server);
    let made = shell.run(&["apps", "create", "Shop", "--region", "eu", "--empty", "--json"]).await.json();
    let id = made["id"].as_str().expect("an id");
    let out = shell.run(&["apps", "show"]).await;
    assert_eq!((field(out.done(), "name"), field(&out.out, "region")), ("Shop", "eu"));
    let keys = made["apiKeys"].as_object().expect("keys");
    assert!(keys.keys().all(|key| out.out.contains(key.as_str())), "{}", out.out);
    assert_eq!(shell.run(&["apps", "show", id, "--json"]).await.json(), made);
    assert_eq!(shell.run(&["users", "list", "--json"]).await.json(), json!([]));

    assert!(shell.run(&["apps", "delete", id]).await.refused(2).contains("--yes"));
    shell.run(&["apps", "show", id]).await.done();
    assert!(shell.run(&["apps", "delete", id, "--yes"]).await.done().contains("Deleted"));
    shell.run(&["apps", "show", id]).await.refused(4);
    shell.run(&["apps", "delete", id]).await.refused(4);
}

#[tokio::test]
async fn settings_are_shown_and_changed() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let shell = Shell::at(&server);
    let out = shell.run(&["apps", "settings"]).await;
    assert_eq!(field(out.done(), "beforeMessageBudgetMs"), "2000");
    assert_eq!(field(&out.out, "retention.messages"), "for ever");
    let changes = ["--set", "beforeMessageBudgetMs=500", "--set", "retention.events=30"];
    let arguments = [&["apps", "settings", &app.id, "--json"], changes.as_slice()].concat();
    let changed = shell.run(&arguments).await.json();
    assert_eq!(
        (&changed["beforeMessageBudgetMs"], &changed["retention"]["events"]),
        (&json!(500), &json!(30))
    );
    let path = format!("/apps/{}/settings", app.id);
    assert_eq!(server.manage("GET", &path, Value::Null).await.data(), &changed);
    let unfit = shell.run(&["apps", "settings", "--set", "beforeMessageBudgetMs=1"]).await;
    assert!(unfit.refused(7).contains("beforeMessageBudgetMs"));
    shell.run(&["apps", "settings", "--set", "nothing"]).await.refused(2);
}
