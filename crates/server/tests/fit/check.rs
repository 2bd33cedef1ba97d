//! `chathook check` against endpoints that are fit, and those that are not.

use std::collections::HashSet;

use rcgen::{DnType, date_time_ymd};
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

use crate::support::command::Ran;
use crate::support::endpoint::{Signed, acceptor_of, ca, params};
use crate::support::*;
use crate::{Report, pem, shown};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// `hook` and `right`.
const AUTHORIZATION: &str = "Basic aG9vazpyaWdodA==";

/// A person at a machine whose server may call loopback and trusts the tests' authority.
fn shell() -> Shell {
    let shell = Shell::bare();
    let ca = pem(&shell.home(), "ca.pem", "CERTIFICATE", &ca().der);
    let ca = shown(&ca).to_owned();
    shell.with("CHATHOOK_ENDPOINT_CAS", &ca).with("CHATHOOK_ALLOW_NETWORKS", "127.0.0.0/8")
}

fn with_secrets(shell: Shell) -> Shell {
    shell
        .with("CHATHOOK_CHECK_USERNAME", "hook")
        .with("CHATHOOK_CHECK_PASSWORD", "right")
        .with("CHATHOOK_CHECK_SECRET", SECRET)
}

async fn check(shell: &Shell, endpoint: &Endpoint, more: &[&str]) -> Report {
    Report::of(&check_raw(shell, endpoint, more).await)
}

async fn check_raw(shell: &Shell, endpoint: &Endpoint, more: &[&str]) -> Ran {
    let url = endpoint.url();
    shell.run(&[&["check", url.as_str(), "--json"], more].concat()).await
}

fn has_right_credentials(request: &Received) -> bool {
    request.headers.get("authorization").is_some_and(|given| given == AUTHORIZATION)
}

fn is_signed(request: &Received) -> bool {
    let at = request.number("webhook-timestamp");
    let webhook = Webhook::new(SECRET).expect("a usable secret");
    let expected = webhook.sign(request.header("webhook-id"), at, &request.bytes).expect("signed");
    request.header("webhook-signature") == expected
}

/// Lets in who may come in, and takes what it has seen before.
async fn good() -> Endpoint {
    let endpoint = Endpoint::start().await;
    endpoint.decide(|request| {
        let is_let_in = has_right_credentials(request) && is_signed(request);
        if is_let_in { Answer::json(&json!({})) } else { Answer::status(401) }
    });
    endpoint
}

#[tokio::test]
async fn a_good_endpoint_is_fit_and_all_it_gets_is_marked_as_a_test() {
    let endpoint = good().await;
    let report = check(&with_secrets(shell()), &endpoint, &[]).await;
    assert_eq!(report.code, 0, "{:?}", report.findings);
    assert_eq!(report.graded("ok").len(), report.findings.len(), "{:?}", report.findings);
    report.says("credentials", "ok", "401 without, 401 with wrong ones");
    report.says("signature", "ok", "verified");
    report.says("before_message verdict", "ok", "goes on as it is");
    report.says("kept-open connection", "ok", "second request");
    let requests = endpoint.take_all();
    assert!(requests.iter().all(|request| request.header("chathook-test") == "true"));
    let triggers: HashSet<&str> = requests.iter().map(Received::trigger).collect();
    assert_eq!(triggers.len(), 5, "a sample of each trigger: {triggers:?}");
    let ids: Vec<&str> = requests.iter().map(|request| request.header("webhook-id")).collect();
    let distinct: HashSet<&str> = ids.iter().copied().collect();
    assert_eq!(distinct.len() + 1, ids.len(), "one of them came twice");
}

#[tokio::test]
async fn an_endpoint_that_lets_everyone_in_is_not_fit() {
    let endpoint = Endpoint::start().await;
    let report = check(&shell(), &endpoint, &["--trigger", "after_message"]).await;
    assert_eq!(report.graded("fail"), ["credentials"]);
    report.says("credentials", "fail", "whoever knows the URL");
    report.says("signature", "note", "not verified");
    assert!(endpoint.take_all().iter().all(|request| request.trigger() == "after_message"));
}

#[tokio::test]
async fn an_endpoint_that_only_verifies_signatures_is_fit() {
    let endpoint = Endpoint::start().await;
    endpoint.decide(|request| Answer::status(if is_signed(request) { 204 } else { 401 }));
    let shell = shell().with("CHATHOOK_CHECK_SECRET", SECRET);
    let report = check(&shell, &endpoint, &["--trigger", "after_message"]).await;
    assert_eq!(report.code, 0, "{:?}", report.findings);
    report.says("credentials", "note", "the signature is verified");
}

#[tokio::test]
async fn an_endpoint_that_is_merely_busy_has_refused_nobody() {
    let endpoint = Endpoint::start().await;
    let mut taken = 0;
    endpoint.decide(move |_| {
        taken += 1;
        // The sample and its repeat.
        Answer::status(if taken <= 2 { 200 } else { 429 })
    });
    let report = check(&with_secrets(shell()), &endpoint, &["--trigger", "after_message"]).await;
    report.says("credentials", "warn", "429 without, 429 with wrong ones");
    report.says("signature", "warn", "not known: 429");
}

#[tokio::test]
async fn any_password_is_not_a_password() {
    let endpoint = Endpoint::start().await;
    let is_given = |request: &Received| request.headers.contains_key("authorization");
    endpoint.decide(move |request| Answer::status(if is_given(request) { 200 } else { 401 }));
    let report = check(&with_secrets(shell()), &endpoint, &["--trigger", "after_message"]).await;
    report.says("credentials", "fail", "a wrong password was taken");
}

#[tokio::test]
async fn missing_credentials_are_named_as_the_cure() {
    let endpoint = good().await;
    let report = check(&shell(), &endpoint, &["--trigger", "after_message"]).await;
    report.says("after_message", "fail", "answers 401");
    let cure = &report.find("after_message").expect("told")["cure"];
    assert!(cure.as_str().expect("a cure").contains("CHATHOOK_CHECK_USERNAME"), "{cure}");
    report.says("not looked at", "note", "takes no sample");
}

#[tokio::test]
async fn a_redirect_is_told_and_never_followed() {
    let (endpoint, elsewhere) = (Endpoint::start().await, Endpoint::start().await);
    endpoint.otherwise(Answer::redirect(&elsewhere.url()));
    let report = check(&shell(), &endpoint, &["--trigger", "after_message"]).await;
    report.says("after_message", "fail", &format!("a redirect to {}", elsewhere.url()));
    assert!(elsewhere.take_all().is_empty(), "the redirect was followed");
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_time_is_given_up() {
    let endpoint = Endpoint::start().await;
    endpoint.otherwise(Answer::Hang);
    let report = check(&shell(), &endpoint, &["--answer-ms", "50"]).await;
    report.says("connection", "fail", "no whole answer in time");
    assert_eq!(endpoint.take_all().len(), 1, "one that hangs is not asked again");
}

#[tokio::test]
async fn a_repeat_that_is_refused_is_told() {
    let endpoint = Endpoint::start().await;
    let mut seen = HashSet::new();
    endpoint.decide(move |request| {
        let is_new = seen.insert(request.header("webhook-id").to_owned());
        Answer::status(if is_new { 200 } else { 409 })
    });
    let report = check(&shell(), &endpoint, &["--trigger", "message_read_receipt"]).await;
    report.says("repeat", "fail", "409");
}

#[tokio::test]
async fn a_connection_that_is_closed_after_each_answer_is_warned_of() {
    let endpoint = Endpoint::start().await;
    let headers = vec![("connection", "close".to_owned())];
    endpoint.otherwise(Answer::Full { status: 200, headers, body: Vec::new() });
    let report = check(&shell(), &endpoint, &["--trigger", "after_message"]).await;
    report.says("kept-open connection", "warn", "closed after an answer");
}

#[tokio::test]
async fn what_before_message_would_do_is_said_in_words() {
    let endpoint = Endpoint::start().await;
    let cases = [
        (json!({"label": "spam"}), "ok", "annotated with 'label'"),
        (json!({"action": "replace", "data": {"text": "hi"}}), "ok", "with 'text' replaced"),
        (json!({"action": "do_not_propagate", "reason": "rude"}), "warn", "'rude'"),
        (json!({"action": "replace"}), "fail", "cannot be used"),
    ];
    for (answer, grade, words) in cases {
        endpoint.otherwise(Answer::json(&answer));
        let report = check(&shell(), &endpoint, &["--trigger", "before_message"]).await;
        report.says("before_message verdict", grade, words);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_warned_of() {
    let endpoint = Endpoint::start().await;
    let headers = vec![("content-type", "text/html".to_owned())];
    endpoint.otherwise(Answer::Full { status: 200, headers, body: b"<html>".to_vec() });
    let report = check(&shell(), &endpoint, &["--trigger", "after_message"]).await;
    report.says("content type", "warn", "text/html");
}

#[tokio::test]
async fn a_certificate_is_judged_by_its_signer_and_its_time() {
    let mut expired = params();
    (expired.not_before, expired.not_after) = (date_time_ymd(1999, 1, 1), date_time_ymd(2001, 2, 3));
    let mut own = params();
    own.distinguished_name.push(DnType::CommonName, "hook.test");
    for (params, signed, words) in [
        (expired, Signed::ByCa, "expired"),
        (own, Signed::ByItself, "hook.test, by hook.test: signed by itself"),
    ] {
        let endpoint = Endpoint::showing(acceptor_of(&params, signed)).await;
        let report = check(&shell(), &endpoint, &[]).await;
        assert_eq!(report.graded("fail"), ["certificate"]);
        report.says("certificate", "fail", words);
        assert!(endpoint.take_all().is_empty(), "a request went out over a connection that is not trusted");
    }
}

#[tokio::test]
async fn an_address_inside_is_refused_before_anything_is_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    for (host, cure) in
        [("127.0.0.1", "--allow-network 127.0.0.1"), ("[::ffff:127.0.0.1]", "--allow-network")]
    {
        let url = format!("https://{host}:{port}/hook");
        let report = Report::of(&Shell::bare().run(&["check", &url, "--json"]).await);
        report.says("address", "fail", "not a public address");
        assert!(report.findings[0]["cure"].as_str().expect("a cure").contains(cure));
    }
    assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none(), "somebody connected");
}

#[tokio::test]
async fn plain_http_wants_the_flag_that_serve_wants() {
    let url = "http://127.0.0.1:1/hook";
    let report = Report::of(&shell().run(&["check", url, "--json"]).await);
    report.says("scheme", "fail", "plain http is not called");
    let report = Report::of(&shell().run(&["check", url, "--json", "--allow-http-endpoints"]).await);
    report.says("connection", "fail", "no TCP connection");
}

#[tokio::test]
async fn people_read_a_line_for_each_finding_and_its_cure_below() {
    let endpoint = Endpoint::start().await;
    let url = endpoint.url();
    let ran = shell().run(&["check", &url, "--trigger", "after_message"]).await;
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.out.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("fail credentials")).expect("the failure");
    assert!(lines[at + 1].trim_start().starts_with("-> Answer 401"), "{}", ran.out);
    assert!(lines.iter().any(|line| line.starts_with("ok   certificate")), "{}", ran.out);
    assert_eq!(ran.err.trim_end(), "chathook: The endpoint is not fit (failures: 1 of 9 findings).");
}

#[tokio::test]
async fn what_cannot_be_asked_ends_with_code_2() {
    let url = "https://hook.example.com/";
    for arguments in [["--trigger", "after_massage"], ["--answer-ms", "0"], ["--allow-network", "inside"]] {
        shell().run(&[&["check", url][..], &arguments].concat()).await.refused(2);
    }
    shell().run(&["check", "hook.example.com"]).await.refused(2);
    let told = shell().with("CHATHOOK_CHECK_PASSWORD", "x").run(&["check", url]).await;
    assert!(told.refused(2).contains("CHATHOOK_CHECK_USERNAME"));
    let told = shell().run(&["check", url, "--username", "hook"]).await;
    assert!(told.refused(2).contains("CHATHOOK_CHECK_PASSWORD"));
    shell().with("CHATHOOK_CHECK_SECRET", "!").run(&["check", url]).await.refused(2);
    let told = shell().with("CHATHOOK_ENDPOINT_CAS", "nothing.pem").run(&["check", url]).await;
    assert!(told.refused(2).contains("--endpoint-ca"));
}
