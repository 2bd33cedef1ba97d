//! `chathook trigger`: a sample of each trigger, signed, from this machine to any URL.

use std::net::TcpListener;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::support::endpoint::ca;
use crate::support::*;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const TRIGGERS: [&str; 5] = [
    "before_message",
    "after_message",
    "message_delivery_receipt",
    "message_read_receipt",
    "user_connection_status_change",
];

/// A person who trusts the endpoints of the test.
fn shell() -> Shell {
    let shell = Shell::bare();
    let file = shell.home().join("ca.pem");
    std::fs::write(&file, ca().to_pem()).expect("written");
    shell.with("CHATHOOK_CA", file.to_str().expect("a path in ASCII"))
}

fn verify(request: &Received, secret: &str) {
    let header = |(name, value): (&String, &String)| {
        (name.parse::<HeaderName>().expect("a name"), value.parse::<HeaderValue>().expect("a value"))
    };
    let headers: HeaderMap = request.headers.iter().map(header).collect();
    let receiver = standardwebhooks::Webhook::new(secret).expect("a usable secret");
    receiver.verify(&request.bytes, &headers).expect("it is signed, now");
}

#[tokio::test]
async fn a_sample_of_each_trigger_is_verified_by_its_receiver() {
    let endpoint = Endpoint::start().await;
    let shell = shell().with("CHATHOOK_SIGNING_SECRET", SECRET);
    for trigger in TRIGGERS {
        let ran = shell.run(&["trigger", trigger, "--to", &endpoint.url(), "--json"]).await.json();
        let request = endpoint.next().await;
        verify(&request, SECRET);
        let named = if trigger == "user_connection_status_change" {
            "after_connection_status_changed"
        } else {
            trigger
        };
        assert_eq!((request.trigger(), request.header("chathook-test")), (named, "true"));
        assert_eq!((&ran["success"], &ran["attempt"]["status"]), (&json!(true), &json!(200)));
        assert_eq!(ran["request"]["body"].as_str().map(str::as_bytes), Some(request.bytes.as_slice()));
        assert_eq!(ran.get("signingSecret"), None);
    }
}

#[tokio::test]
async fn without_a_secret_one_is_made_and_told() {
    let endpoint = Endpoint::start().await;
    let ran = shell().run(&["trigger", "after_message", "--to", &endpoint.url(), "--json"]).await.json();
    verify(&endpoint.next().await, ran["signingSecret"].as_str().expect("it is told"));
}

#[tokio::test]
async fn fields_credentials_and_the_webhooks_id_are_the_persons_to_set() {
    let endpoint = Endpoint::start().await;
    let shell = shell().with("CHATHOOK_WEBHOOK_PASSWORD", "s3cret");
    let arguments = ["trigger", "after_message", "--to", &endpoint.url(), "--webhook", "mine"];
    let more = ["--set", "data.text=lunch?", "--set", "data.metadata.order=7", "--username", "hook"];
    let shown = shell.run(&[&arguments[..], &more].concat()).await;
    assert!(!shown.done().contains("s3cret") && shown.out.contains("200"), "{}", shown.out);
    let request = endpoint.next().await;
    assert_eq!((request.text(), &request.json["webhook"]), ("lunch?", &json!("mine")));
    assert_eq!(request.json["data"]["data"]["metadata"], json!({"order": 7}));
    assert_eq!(request.header("authorization"), "Basic aG9vazpzM2NyZXQ=");
}

#[tokio::test]
async fn what_an_answer_to_before_message_would_do_is_told() {
    let endpoint = Endpoint::start().await;
    let replaced = json!({"action": "replace", "data": {"text": "f***"}});
    endpoint.answer([
        Answer::json(&json!({"action": "do_not_propagate", "reason": "rude"})),
        Answer::json(&replaced),
        Answer::json(&replaced),
        Answer::json(&json!({"action": "dropp"})),
    ]);
    let ask = ["trigger", "before_message", "--to", &endpoint.url()];
    let of = async || shell().run(&[&ask[..], &["--json"]].concat()).await.json()["verdict"].clone();
    assert_eq!(of().await, json!({"verdict": "drop", "reason": "rude"}));
    assert_eq!(of().await, json!({"verdict": "replace", "data": {"text": "f***"}}));
    let told = shell().run(&ask).await;
    assert!(told.done().contains("replace") && told.out.contains("f***"), "{}", told.out);
    let warned = shell().run(&ask).await;
    assert!(warned.done().contains("The action 'dropp' is unknown"), "{}", warned.out);
}

#[tokio::test]
async fn anything_but_2xx_ends_with_code_1() {
    let endpoint = Endpoint::start().await;
    for status in [302, 404, 500] {
        endpoint.answer([Answer::status(status)]);
        let ran = shell().run(&["trigger", "after_message", "--to", &endpoint.url()]).await;
        assert_eq!(ran.code, 1);
        assert!(ran.out.contains(&status.to_string()), "{}", ran.out);
    }
    // A port that was just free and that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|on| on.local_addr()).expect("a free port").port();
    let url = format!("http://127.0.0.1:{port}/");
    let ran = shell().run(&["trigger", "after_message", "--to", &url]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("not_connected"), "{}", ran.out);
}

#[tokio::test]
async fn what_is_not_right_on_the_command_line_ends_with_code_2() {
    let url = "http://127.0.0.1:9/";
    for arguments in [
        vec!["trigger", "after_message"],
        vec!["trigger", "lunch", "--to", url],
        vec!["trigger", "after_message", "--to", "ftp://127.0.0.1/"],
        vec!["trigger", "after_message", "--to", url, "--set", "data.text"],
        vec!["trigger", "after_message", "--to", url, "--set", "data.text.more=1"],
        vec!["trigger", "after_message", "--to", url, "--username", "hook"],
    ] {
        shell().run(&arguments).await.refused(2);
    }
    let wrong = shell().with("CHATHOOK_SIGNING_SECRET", "secret");
    wrong.run(&["trigger", "after_message", "--to", url]).await.refused(2);
}
