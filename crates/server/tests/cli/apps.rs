//! `chathook apps` against a real server.

use crate::support::*;

#[tokio::test]
async fn apps_are_listed_for_people_and_for_programs() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let shell = Shell::at(&server);
    let out = shell.run(&["apps", "list"]).await;
    let lines: Vec<&str> = out.done().lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["ID", "NAME", "REGION", "CREATED"]);
    // 2025-10-09 08:53:20 in Greenwich.
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        [&app.id, "Test", "us", "2025-10-09", "13:53:20"]
    );
    let data = server.manage("GET", "/apps", Value::Null).await.data().clone();
    assert_eq!(shell.run(&["apps", "list", "--json"]).await.json(), data);
}
