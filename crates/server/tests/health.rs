//! What a person and a load balancer ask of a running server.

mod support;

use support::*;

async fn metrics(server: &TestServer, credentials: &str) -> support::http::Reply {
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::STANDARD.encode(credentials);
    let header = format!("Basic {coded}");
    server.raw("GET", "/metrics", &[("authorization", &header)], Vec::new()).await
}

#[tokio::test]
async fn a_server_says_that_it_lives_and_is_ready() {
    let server = TestServer::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.raw("GET", path, &[], Vec::new()).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn metrics_count_messages_and_attempts_for_who_holds_the_credentials() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    server.webhook(&app, "audit", &endpoint, &["after_message"], Value::Null).await;
    app.send_as("ana", text_to("ben", "counted")).await.data();
    endpoint.next().await;
    server.settled().await;
    let page = metrics(&server, "mk_test:ms_test").await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.bytes.to_vec()).expect("text");
    for line in ["chathook_messages_total{origin=\"API\"} 1", "chathook_attempts_total{outcome=\"200\"} 1"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn metrics_are_shown_to_nobody_else() {
    let server = TestServer::start().await;
    server.raw("GET", "/metrics", &[], Vec::new()).await.refused(401, "AUTH_ERR_EMPTY_AUTH_HEADER");
    metrics(&server, "mk_test:guessed").await.refused(401, "AUTH_ERR_NO_ACCESS");
}
