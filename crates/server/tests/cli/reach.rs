//! How commands find their server and its credentials, and what they say where they cannot.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, date_time_ymd};

use crate::desk::stranger;
use crate::support::endpoint::{Signed, acceptor_of, params};
use crate::support::*;

#[tokio::test]
async fn without_credentials_a_command_says_where_they_may_come_from() {
    let told = Shell::bare().run(&["apps", "list"]).await;
    let sentence = told.refused(2);
    for cure in ["CHATHOOK_MANAGEMENT_KEY", "--profile", "--data-dir"] {
        assert!(sentence.contains(cure), "{sentence}");
    }
}

#[tokio::test]
async fn wrong_credentials_end_with_code_5() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server).with("CHATHOOK_MANAGEMENT_SECRET", "guessed");
    let told = shell.run(&["apps", "list"]).await;
    assert!(told.refused(5).contains("AUTH_ERR_NO_ACCESS") && told.err.contains("--profile"), "{}", told.err);
}

#[tokio::test]
async fn at_the_door_of_the_chat_api_the_door_of_the_management_api_is_named() {
    let server = TestServer::with_admin_door().await;
    let told = Shell::at(&server).run(&["apps", "list"]).await;
    assert!(told.refused(4).contains("--admin-listen"), "{}", told.err);
}

#[tokio::test]
async fn a_server_that_does_not_answer_ends_with_code_3() {
    // A port that was just free and that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|on| on.local_addr()).expect("a free port").port();
    let server = format!("http://127.0.0.1:{port}");
    let told =
        Shell::bare().with("CHATHOOK_PROFILE", "dev").run(&["apps", "list", "--server", &server]).await;
    assert!(told.refused(3).contains(&server) && told.err.contains("nothing listens there"), "{}", told.err);
}

#[tokio::test]
async fn an_address_that_is_not_quite_right_is_told_with_the_cure() {
    let server = TestServer::start().await;
    let (endpoint, shell) = stranger().await;
    let secure = endpoint.url().trim_end_matches("/hook").to_owned();
    let named = CertificateParams::new(vec!["chat.example.com".to_owned()]).expect("names");
    let other = Endpoint::showing(acceptor_of(&named, Signed::ByCa)).await;
    let mut expired = params();
    (expired.not_before, expired.not_after) = (date_time_ymd(1999, 1, 1), date_time_ymd(2001, 2, 3));
    let expired = Endpoint::showing(acceptor_of(&expired, Signed::ByCa)).await;
    endpoint.answer([Answer::redirect("https://chat.example.com/")]);
    for (address, ca, cure) in [
        (format!("https://{}", server.address), "ca.pem", "with http://"),
        (secure.replace("https", "http"), "ca.pem", "with https://"),
        (secure.clone(), "", "its root with --ca"),
        (other.url(), "ca.pem", "not for '127.0.0.1'"),
        (expired.url(), "ca.pem", "has expired"),
        (secure, "ca.pem", "sends elsewhere, to https://chat.example.com/"),
        ("http://nowhere.invalid".to_owned(), "", "'nowhere.invalid' is not found"),
    ] {
        let told = shell.run(&["apps", "list", "--server", &address, "--ca", ca]).await;
        assert!(told.code == 3 && told.err.contains(cure), "{address}: {}", told.err);
    }
}

#[tokio::test]
async fn credentials_that_are_not_right_are_not_shown() {
    let shell = Shell::bare();
    std::fs::write(shell.home().join("credentials.toml"), "management_secret = ms_hush\"\n")
        .expect("written");
    let told = shell.run(&["apps", "list", "--data-dir", "."]).await;
    assert!(told.refused(2).contains("credentials.toml") && !told.err.contains("hush"), "{}", told.err);
}

#[tokio::test]
async fn a_variable_that_is_set_to_nothing_counts_as_unset() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server);
    let names = ["CHATHOOK_CA", "CHATHOOK_DATA_DIR", "CHATHOOK_APP", "CHATHOOK_PROFILE"];
    names.iter().fold(shell, |shell, name| shell.with(name, "")).run(&["apps", "list"]).await.done();
    let endpoint = "http://127.0.0.1:9/";
    let sent =
        Shell::bare().with("CHATHOOK_CA", "").run(&["trigger", "after_message", "--to", endpoint]).await;
    assert_eq!(sent.code, 1, "{}", sent.err);
}

#[tokio::test]
async fn an_own_root_certificate_opens_tls_and_nothing_else_does() {
    let (server, shell) = stranger().await;
    server.otherwise(Answer::json(&json!({"data": [], "meta": {}})));
    let told = shell.run(&["apps", "list", "--json"]).await;
    assert!(told.refused(3).contains("TLS"), "{}", told.err);
    assert_eq!(shell.run(&["apps", "list", "--json", "--ca", "ca.pem"]).await.json(), json!([]));
    assert_eq!(server.next().await.header("key"), "mk_test");
    assert!(shell.run(&["apps", "list", "--ca", "nothing.pem"]).await.refused(2).contains("--ca"));
}

#[tokio::test]
async fn what_is_not_chathook_is_told_apart() {
    let (server, shell) = stranger().await;
    let page = |status| Answer::Full { status, headers: Vec::new(), body: b"<html>".to_vec() };
    server.answer([page(200), page(502), Answer::json(&json!([])), Answer::redirect("https://example.com/")]);
    for _ in 0..4 {
        let told = shell.run(&["apps", "list", "--ca", "ca.pem"]).await;
        assert!(told.refused(3).contains("not chathook"), "{}", told.err);
    }
}

#[tokio::test]
async fn what_a_server_says_cannot_move_a_terminal() {
    let (server, shell) = stranger().await;
    let error = json!({"error": {"code": "ERR_APP_NOT_FOUND", "message": "gone\u{1b}[2J"}});
    server.answer([Answer::body(404, error.to_string())]);
    let told = shell.run(&["apps", "list", "--ca", "ca.pem"]).await;
    assert_eq!(told.refused(4), "chathook: gone\\u{1b}[2J (ERR_APP_NOT_FOUND)\n");
}

#[tokio::test]
async fn secrets_are_not_sent_in_the_clear_unnoticed() {
    let shell = Shell::bare().with("CHATHOOK_PROFILE", "dev");
    // A name that no resolver knows (RFC 6761).
    let told = shell.run(&["apps", "list", "--server", "http://nowhere.invalid"]).await;
    assert_eq!(told.code, 3);
    assert!(told.err.contains("unencrypted"), "{}", told.err);
}

#[tokio::test]
async fn an_unknown_flag_ends_with_code_2() {
    Shell::bare().run(&["apps", "list", "--colour"]).await.refused(2);
}

#[tokio::test]
async fn a_profile_of_the_file_names_server_credentials_and_app() {
    let server = TestServer::start().await;
    let app = server.app().await;
    server.app().await;
    let shell = Shell::bare();
    let dir = shell.home().join(".config/chathook");
    std::fs::create_dir_all(&dir).expect("made");
    let profile = format!(
        "[profiles.mine]\nserver = \"http://{}\"\napp = \"{}\"\n\
         management_key = \"mk_test\"\nmanagement_secret = \"ms_test\"\n",
        server.address, app.id
    );
    let file = dir.join("profiles.toml");
    std::fs::write(&file, profile).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("ours");
    assert_eq!(shell.run(&["webhooks", "list", "--profile", "mine", "--json"]).await.json(), json!([]));
}

#[tokio::test]
async fn where_an_app_must_be_chosen_they_are_named() {
    let server = TestServer::start().await;
    let shell = Shell::at(&server);
    assert!(shell.run(&["webhooks", "list"]).await.refused(2).contains("apps create"));
    let first = server.app().await;
    assert!(shell.run(&["webhooks", "list"]).await.done().contains("webhooks create"));
    let second = server.app().await;
    let told = shell.run(&["webhooks", "list"]).await;
    assert!(told.refused(2).contains(&first.id) && told.err.contains(&second.id), "{}", told.err);
    shell.run(&["webhooks", "list", "--app", &second.id]).await.done();
    shell.run(&["webhooks", "list", "--app", "nowhere"]).await.refused(4);
}

#[tokio::test]
async fn a_server_on_this_machine_is_reached_by_its_data_directory() {
    let server = TestServer::start().await;
    let file = "management_key = \"mk_test\"\nmanagement_secret = \"ms_test\"\n";
    std::fs::write(server.data_dir().join("credentials.toml"), file).expect("written");
    let dir = server.data_dir().to_str().expect("a path in ASCII").to_owned();
    let at = format!("http://{}", server.address);
    Shell::bare().run(&["apps", "list", "--data-dir", &dir, "--server", &at]).await.done();
}

#[tokio::test]
async fn a_question_is_asked_again_where_the_connection_was_dead_and_a_deed_is_not_done_twice() {
    let (server, shell) = stranger().await;
    let shell = shell.with("CHATHOOK_CA", "ca.pem");
    let apps = || Answer::json(&json!({"data": [{"id": "a"}]}));
    server.answer([apps(), Answer::Close, Answer::json(&json!({"data": [], "meta": {}}))]);
    shell.run(&["webhooks", "list"]).await.done();
    assert_eq!(server.take_all().len(), 3);

    server.answer([apps(), Answer::Close]);
    shell.run(&["webhooks", "create", "mine", "--url", "https://example.com"]).await.refused(3);
    let methods: Vec<String> = server.take_all().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET", "POST"]);
}

#[tokio::test]
async fn lists_are_followed_to_their_end() {
    let (server, shell) = stranger().await;
    let shell = shell.with("CHATHOOK_CA", "ca.pem").with("CHATHOOK_APP", "a");
    // A page may be empty and the list still go on.
    let pages = [
        json!({"data": [], "meta": {"cursor": "9.9", "isPartial": true}}),
        json!({"data": [{"id": "8"}], "meta": {"cursor": "8.8", "isPartial": true}}),
        json!({"data": [{"id": "7"}], "meta": {}}),
    ];
    server.answer(pages.iter().map(Answer::json));
    let found = shell.run(&["notices", "--limit", "50", "--json"]).await.json();
    assert_eq!(found, json!([{"id": "8"}, {"id": "7"}]));
    let asked: Vec<String> = server.take_all().into_iter().map(|request| request.path).collect();
    assert_eq!(
        asked,
        [
            "/apps/a/notices?limit=50",
            "/apps/a/notices?limit=50&cursor=9.9",
            "/apps/a/notices?limit=49&cursor=8.8"
        ]
    );

    let page = |count: usize| {
        let items = vec![json!({"id": "x"}); count];
        Answer::json(&json!({"data": items, "meta": {"pagination": {"total": 1_500}}}))
    };
    server.answer([page(1_000), page(500)]);
    let found = shell.run(&["apps", "list", "--limit", "2000", "--json"]).await.json();
    assert_eq!(found.as_array().map(Vec::len), Some(1_500));
    let asked: Vec<String> = server.take_all().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/apps?perPage=1000&page=1", "/apps?perPage=1000&page=2"]);
}
