//! Where names lead, and where nobody may be called.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chathook_adapters::endpoints::{HttpEndpoints, HttpEndpointsConfig};
use chathook_adapters::resolver::{Resolved, Resolver};
use chathook_domain::outcome::{Failure, Outcome};
use chathook_engine::ports::endpoints::{Destination, Endpoints as _, Post};
use tokio::io::AsyncWriteExt as _;

use crate::support::*;

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let server = Server::always(OK).await;
    let endpoints = named(Names::lead_to([vec![[127, 0, 0, 3], [127, 0, 0, 1]]]), &["127.0.0.0/8"]);
    let url = format!("http://hook.test:{}/", server.port);
    let exchange = endpoints.post(post(&url)).await;
    assert!(exchange.outcome.is_success(), "{exchange:?}");
    assert_eq!(exchange.address.as_deref(), Some(format!("127.0.0.1:{}", server.port).as_str()));
}

#[tokio::test]
async fn a_look_up_without_end_ends_at_the_connect_clock() {
    struct Silent;
    #[async_trait]
    impl Resolver for Silent {
        async fn resolve(&self, _: &str) -> Resolved {
            std::future::pending().await
        }
    }
    let endpoints = HttpEndpoints::with_resolver(config(&[]), Arc::new(Silent)).expect("built");
    let mut post = post("https://hook.test/");
    post.connect_timeout = Duration::from_millis(50);
    assert_failure(&endpoints.post(post.clone()).await, "name_not_resolved");
    post.timeout = Duration::from_millis(10);
    assert_failure(&endpoints.post(post).await, "connect_timeout");
}

#[tokio::test]
async fn every_way_to_write_loopback_is_refused_and_nothing_connects() {
    let server = Server::always(OK).await;
    let endpoints = HttpEndpoints::new(config(&[])).expect("built");
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "localhost",
    ] {
        // Creating such a webhook is refused already; this is what holds if that did not.
        let Some(url) = endpoint_url(&format!("https://{host}:{}/", server.port)) else {
            continue;
        };
        let exchange = endpoints.post(Post { to: Destination::of(url), ..post("https://hook.test/") }).await;
        assert_failure(&exchange, "address_refused");
        assert_eq!(exchange.address, None);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_moves_to_a_closed_address_is_refused_at_the_next_connection() {
    let inside = Server::always(OK).await;
    let outside = Server::bind((Ipv4Addr::new(127, 0, 0, 2), inside.port), |_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(OK_AND_CLOSE).await.expect("written");
    })
    .await;
    let names = Names::lead_to([vec![[127, 0, 0, 2]], vec![[127, 0, 0, 1]]]);
    let endpoints = named(Arc::clone(&names), &["127.0.0.2/32"]);
    let url = format!("http://hook.test:{}/", inside.port);
    assert!(endpoints.post(post(&url)).await.outcome.is_success());
    assert_failure(&endpoints.post(post(&url)).await, "address_refused");
    assert_eq!((outside.connections(), inside.connections()), (1, 0));
    assert_eq!(names.asked.load(Ordering::SeqCst), 2, "once per connection");
}

#[tokio::test]
async fn of_a_name_with_mixed_addresses_only_the_callable_ones_are_tried() {
    let inside = Server::always(OK).await;
    let names = Names::lead_to([vec![[127, 0, 0, 1], [169, 254, 169, 254], [127, 0, 0, 2]]]);
    let endpoints = named(names, &["127.0.0.2/32"]);
    let exchange = endpoints.post(post(&format!("https://hook.test:{}/", inside.port))).await;
    // Nobody listens on the second address, and the first is not a way out.
    assert_failure(&exchange, "not_connected");
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn plain_http_needs_leave_and_an_opened_network() {
    let server = Server::always(OK).await;
    let closed = HttpEndpointsConfig { allow_http: false, ..config(&["127.0.0.0/8"]) };
    let endpoints = HttpEndpoints::new(closed).expect("built");
    assert_failure(&endpoints.post(post(&server.url("/"))).await, "scheme_refused");

    let public = named(Names::lead_to([vec![[1, 1, 1, 1]]]), &["127.0.0.0/8"]);
    assert_failure(&public.post(post("http://hook.test/")).await, "scheme_refused");

    let elsewhere = HttpEndpoints::new(config(&["10.0.0.0/8"])).expect("built");
    assert_failure(&elsewhere.post(post(&server.url("/"))).await, "address_refused");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_stops_resolving_fails_as_such() {
    struct Once(AtomicUsize);
    #[async_trait]
    impl Resolver for Once {
        async fn resolve(&self, _: &str) -> Resolved {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => Ok([IpAddr::V4(Ipv4Addr::LOCALHOST)].into()),
                _ => Err("no such name".to_owned()),
            }
        }
    }
    let server = Server::always(OK_AND_CLOSE).await;
    let names = Arc::new(Once(AtomicUsize::new(0)));
    let endpoints = HttpEndpoints::with_resolver(config(&["127.0.0.1"]), names).expect("built");
    let url = format!("http://hook.test:{}/", server.port);
    assert!(endpoints.post(post(&url)).await.outcome.is_success());
    let exchange = endpoints.post(post(&url)).await;
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::NameNotResolved("no such name".to_owned())));
    assert_eq!(server.connections(), 1);
}
