//! TLS: whose certificate is taken, what is resumed, and how requests leave in it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chathook_adapters::endpoints::{HttpEndpoints, HttpEndpointsConfig};
use chathook_domain::outcome::{Failure, Outcome};
use chathook_engine::ports::endpoints::Endpoints as _;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

#[tokio::test]
async fn the_certificate_is_held_against_the_name() {
    let (right, right_key) = certificate("hook.test");
    let (wrong, wrong_key) = certificate("other.test");
    let (unknown, unknown_key) = certificate("hook.test");
    let roots = vec![right.clone(), wrong.clone()];
    for (certificate, key, is_trusted) in
        [(right, right_key, true), (wrong, wrong_key, false), (unknown, unknown_key, false)]
    {
        let server = Server::tls(certificate, key).await;
        let config = HttpEndpointsConfig { extra_roots: roots.clone(), ..config(&["127.0.0.1"]) };
        let names = Names::lead_to([vec![[127, 0, 0, 1]]]);
        let endpoints = HttpEndpoints::with_resolver(config, names).expect("built");
        let exchange = endpoints.post(post(&format!("https://hook.test:{}/", server.port))).await;
        assert!(exchange.phases.tls_us.is_some());
        if is_trusted {
            assert_eq!(answer(&exchange).body, b"http/1.1 hook.test Full");
        } else {
            assert_failure(&exchange, "tls");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_taken_is_told_as_a_sentence_with_its_cure() {
    let authority = || {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(["hook.test".to_owned()]).expect("a name");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let made = params.self_signed(&key).expect("a certificate").der().clone();
        (made, PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    };
    let (named, other) = (certificate("hook.test"), certificate("other.test"));
    for ((certificate, key), is_root, said) in [
        (named, false, ["is signed by nobody who is trusted here", "--endpoint-ca"]),
        (other, true, ["does not name 'hook.test' but other.test", "names the host of the URL"]),
        (authority(), false, ["self-signed", "--endpoint-ca"]),
    ] {
        let server = Server::tls(certificate.clone(), key).await;
        let root = if is_root { certificate } else { self::certificate("root.test").0 };
        let exchange = trusting(root).post(post(&format!("https://hook.test:{}/", server.port))).await;
        let detail = exchange.phases.detail_of(&exchange.outcome).expect("a sentence");
        assert!(said.iter().all(|part| detail.contains(part)), "{detail}");
        assert!(!detail.contains("Other(") && detail.ends_with('.'), "{detail}");
    }
}

#[tokio::test]
async fn a_server_without_tls_fails_as_tls() {
    let server = Server::start(|_, mut stream| async move {
        stream.write_all(OK).await.expect("written");
    })
    .await;
    let url = server.url("/").replace("http:", "https:");
    assert_failure(&loopback().post(post(&url)).await, "tls");
}

#[tokio::test]
async fn a_certificate_outside_its_time_fails_as_tls() {
    for (from, until, why) in [(1975, 2000, "expired"), (4000, 4090, "not valid yet")] {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(["hook.test".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let made = params.self_signed(&key).expect("a certificate").der().clone();
        let server = Server::tls(made.clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into())).await;
        let endpoints = trusting(made);
        let exchange = endpoints.post(post(&format!("https://hook.test:{}/", server.port))).await;
        assert!(
            matches!(&exchange.outcome, Outcome::Failed(Failure::Tls(cause)) if cause.contains(why)),
            "{exchange:?}"
        );
    }
}

#[tokio::test]
async fn the_second_connection_resumes_the_session_of_the_first() {
    let (certificate, key) = certificate("hook.test");
    let server = Server::tls(certificate.clone(), key).await;
    let endpoints = trusting(certificate);
    for said in ["http/1.1 hook.test Full", "http/1.1 hook.test Resumed"] {
        let mut post = post(&format!("https://hook.test:{}/", server.port));
        post.idle_connections_max = 0;
        assert_eq!(String::from_utf8_lossy(&answer(&endpoints.post(post).await).body), said);
    }
}

#[tokio::test]
async fn a_handshake_without_end_ends_at_the_clock() {
    let server = Server::start(|_, stream| async move {
        stream.readable().await.expect("a greeting");
        std::future::pending().await
    })
    .await;
    let mut post = post(&server.url("/").replace("http:", "https:"));
    post.timeout = Duration::from_millis(300);
    let exchange = loopback().post(post).await;
    assert_failure(&exchange, "timeout");
    let detail = exchange.phases.detail_of(&exchange.outcome).expect("a sentence");
    assert!(detail.starts_with("The TLS handshake did not end"), "{detail}");
}

/// Counts what leaves in TLS records, on its way between the two.
#[tokio::test]
async fn head_and_body_leave_in_one_record() {
    let (certificate, key) = certificate("hook.test");
    let server = Server::tls_always(certificate.clone(), key).await;
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (port, seen) = (server.port, sent.clone());
    let relay = Server::start(move |_, stream| {
        let seen = seen.clone();
        async move {
            let (mut down, mut up) = stream.into_split();
            let there = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connected");
            let (mut from, mut to) = there.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from, &mut up).await });
            let mut piece = [0; 16_384];
            while let Ok(count @ 1..) = down.read(&mut piece).await {
                seen.lock().expect("not poisoned").extend_from_slice(&piece[..count]);
                to.write_all(&piece[..count]).await.expect("relayed");
            }
        }
    })
    .await;
    let records = || {
        let (sent, mut at, mut count) = (sent.lock().expect("not poisoned"), 0, 0);
        while at < sent.len() {
            at += 5 + usize::from(u16::from_be_bytes([sent[at + 3], sent[at + 4]]));
            count += 1;
        }
        count
    };
    let endpoints = trusting(certificate);
    let mut counts = Vec::new();
    for _ in 0..3 {
        let exchange = endpoints.post(post(&format!("https://hook.test:{}/", relay.port))).await;
        assert!(exchange.outcome.is_success(), "{exchange:?}");
        counts.push(records());
    }
    assert_eq!((counts[1] - counts[0], counts[2] - counts[1]), (1, 1));
    assert_eq!(server.connections(), 1);
}
