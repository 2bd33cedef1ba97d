//! How commands find their server and its credentials, and what they say where they cannot.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

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
    assert!(shell.run(&["apps", "list"]).await.refused(5).contains("AUTH_ERR_NO_ACCESS"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_ends_with_code_3() {
    // A port that was just free and that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|on| on.local_addr()).expect("a free port").port();
    let server = format!("http://127.0.0.1:{port}");
    let told =
        Shell::bare().with("CHATHOOK_PROFILE", "dev").run(&["apps", "list", "--server", &server]).await;
    assert!(told.refused(3).contains(&server), "{}", told.err);
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
