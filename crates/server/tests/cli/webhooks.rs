//! `chathook webhooks` against a real server and real endpoints.

use crate::support::*;

#[tokio::test]
async fn webhooks_are_listed_for_people_and_for_programs() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    server.webhook(&app, "audit", &endpoint, &["after_message"], Value::Null).await;
    server.webhook(&app, "quiet", &endpoint, &["after_message"], json!({"enabled": false})).await;
    let shell = Shell::at(&server);
    let out = shell.run(&["webhooks", "list"]).await;
    let lines: Vec<&str> = out.done().lines().collect();
    assert!(lines[0].starts_with("ID     NAME   URL"), "{out:?}");
    assert!(lines[1].contains("audit") && lines[1].contains("enabled"), "{out:?}");
    assert!(lines[2].contains("quiet") && lines[2].contains("disabled"), "{out:?}");
    let data = server.manage("GET", &format!("/apps/{}/webhooks", app.id), Value::Null).await.data().clone();
    assert_eq!(shell.run(&["webhooks", "list", "--json"]).await.json(), data);
}
