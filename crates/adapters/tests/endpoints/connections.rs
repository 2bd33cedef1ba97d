//! How connections end, and which are kept: repeats, resets, the pool's bounds, a host in silence.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chathook_adapters::endpoints::{HttpEndpoints, HttpEndpointsConfig};
use chathook_engine::ports::endpoints::Endpoints as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore, mpsc, oneshot};

use crate::support::*;

#[tokio::test]
async fn a_kept_connection_that_ends_in_silence_is_replaced_within_the_attempt() {
    let server = Server::start(|connection, mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(OK).await.expect("written");
            if connection == 0 {
                // The second request is read and the connection ended without an answer.
                read_request(&mut stream).await;
                return;
            }
        }
    })
    .await;
    let endpoints = loopback();
    for _ in 0..2 {
        assert!(endpoints.post(post(&server.url("/"))).await.outcome.is_success());
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_request_is_repeated_only_once() {
    let server = Server::start(|connection, mut stream| async move {
        read_request(&mut stream).await;
        if connection == 0 {
            stream.write_all(OK).await.expect("written");
            read_request(&mut stream).await;
        }
    })
    .await;
    let endpoints = loopback();
    assert!(endpoints.post(post(&server.url("/"))).await.outcome.is_success());
    assert_failure(&endpoints.post(post(&server.url("/"))).await, "broken");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_ends_within_the_head_is_broken_and_not_repeated() {
    let server = Server::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(OK).await.expect("written");
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 20").await.expect("written");
    })
    .await;
    let endpoints = loopback();
    assert!(endpoints.post(post(&server.url("/"))).await.outcome.is_success());
    assert_failure(&endpoints.post(post(&server.url("/"))).await, "broken");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_new_connection_that_is_reset_is_broken_and_not_repeated() {
    let server = Server::start(|_, stream| async move {
        // Closing with the request unread makes the kernel send a reset.
        stream.readable().await.expect("the request comes");
    })
    .await;
    assert_failure(&loopback().post(post(&server.url("/"))).await, "broken");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_the_server_would() {
    let (told, ended) = oneshot::channel();
    let told = Arc::new(Mutex::new(Some(told)));
    let server = Server::start(move |_, mut stream| {
        let told = told.lock().expect("not poisoned").take();
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(OK).await.expect("written");
            }
            told.expect("one connection").send(()).expect("the test listens");
        }
    })
    .await;
    let endpoints = loopback();
    assert!(endpoints.post(post(&server.url("/"))).await.outcome.is_success());
    let closed = tokio::time::timeout(Duration::from_secs(5), ended).await;
    assert!(closed.is_ok(), "closed after 4 s, before the usual 5");
}

#[tokio::test]
async fn no_more_connections_are_kept_than_the_webhook_asks_for() {
    let server = Server::always(OK).await;
    let endpoints = loopback();
    for _ in 0..3 {
        let mut post = post(&server.url("/"));
        post.idle_connections_max = 0;
        assert!(endpoints.post(post).await.outcome.is_success());
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn nobody_listening_is_not_connected() {
    let gone = Server::always(OK).await;
    let url = gone.url("/");
    gone.stop().await;
    assert_failure(&loopback().post(post(&url)).await, "not_connected");
}

#[tokio::test]
async fn a_reset_within_head_or_body_is_broken_and_not_repeated() {
    for said in [
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok",
    ] {
        for is_kept in [false, true] {
            let server = Server::start(move |_, mut stream| async move {
                if is_kept {
                    read_request(&mut stream).await;
                    stream.write_all(OK).await.expect("written");
                }
                read_request(&mut stream).await;
                stream.write_all(said.as_bytes()).await.expect("written");
                reset(stream);
            })
            .await;
            let endpoints = loopback();
            if is_kept {
                assert!(endpoints.post(post(&server.url("/"))).await.outcome.is_success());
            }
            assert_failure(&endpoints.post(post(&server.url("/"))).await, "broken");
            assert_eq!(server.connections(), 1);
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_reset_in_silence_is_replaced_within_the_attempt() {
    let server = Server::start(|connection, mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(OK).await.expect("written");
            if connection == 0 {
                read_request(&mut stream).await;
                return reset(stream);
            }
        }
    })
    .await;
    let endpoints = loopback();
    for _ in 0..2 {
        assert!(endpoints.post(post(&server.url("/"))).await.outcome.is_success());
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn connections_that_were_closed_while_they_waited_cost_no_attempt() {
    // Some servers say why they close a connection that waits; it is no answer to the next request.
    for farewell in ["", "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n"] {
        let (both, closing) = (Arc::new(Barrier::new(2)), Arc::new(Semaphore::new(0)));
        let close = closing.clone();
        let (told, mut closed) = mpsc::unbounded_channel();
        let server = Server::start(move |connection, mut stream| {
            let (both, close, told) = (both.clone(), close.clone(), told.clone());
            async move {
                read_request(&mut stream).await;
                if connection < 2 {
                    both.wait().await;
                }
                stream.write_all(OK).await.expect("written");
                if connection < 2 {
                    close.acquire().await.expect("open").forget();
                    stream.write_all(farewell.as_bytes()).await.expect("written");
                    drop(stream);
                    told.send(()).expect("the test listens");
                }
            }
        })
        .await;
        let endpoints = loopback();
        let url = server.url("/");
        let (one, two) = tokio::join!(endpoints.post(post(&url)), endpoints.post(post(&url)));
        assert!(one.outcome.is_success() && two.outcome.is_success());
        closing.add_permits(2);
        for _ in 0..2 {
            closed.recv().await.expect("closed");
        }
        // A whole exchange with another server: by then the runtime has heard of the ends.
        let other = Server::always(OK).await;
        assert!(endpoints.post(post(&other.url("/"))).await.outcome.is_success());
        let exchange = endpoints.post(post(&url)).await;
        assert!(exchange.outcome.is_success(), "{exchange:?}");
        assert_eq!(server.connections(), 3);
    }
}

#[tokio::test]
async fn a_full_pool_takes_from_the_origin_that_holds_most() {
    let config = HttpEndpointsConfig { idle_connections_max: 3, ..config(&["127.0.0.0/8"]) };
    let endpoints = HttpEndpoints::new(config).expect("built");
    let all = Arc::new(Barrier::new(3));
    let busy = Server::start(move |_, mut stream| {
        let all = all.clone();
        async move {
            while read_request(&mut stream).await.is_some() {
                all.wait().await;
                stream.write_all(OK).await.expect("written");
            }
        }
    })
    .await;
    let quiet = Server::always(OK).await;
    let fill = || async {
        let url = busy.url("/");
        tokio::join!(endpoints.post(post(&url)), endpoints.post(post(&url)), endpoints.post(post(&url)));
    };
    fill().await;
    for _ in 0..2 {
        assert!(endpoints.post(post(&quiet.url("/"))).await.outcome.is_success());
    }
    assert_eq!((busy.connections(), quiet.connections()), (3, 1), "the newcomer's is kept");
    fill().await;
    assert_eq!(busy.connections(), 4, "the busy one gave one up, and no more");
    assert!(endpoints.post(post(&quiet.url("/"))).await.outcome.is_success());
    assert_eq!(quiet.connections(), 1, "who holds least keeps it");
}

#[tokio::test]
async fn a_host_that_swallows_connections_ends_at_the_connect_clock() {
    // A listener that accepts nobody: once its queue is full, further calls get no answer.
    let listener = tokio::net::TcpSocket::new_v4().expect("a socket");
    listener.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let listener = listener.listen(1).expect("listens");
    let address = listener.local_addr().expect("bound");
    let mut held = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        held.push(stream.expect("a connection or silence"));
        assert!(held.len() < 64, "the queue never fills");
    }
    let mut post = post(&format!("http://{address}/"));
    post.connect_timeout = Duration::from_millis(300);
    let exchange = loopback().post(post).await;
    assert_failure(&exchange, "connect_timeout");
    assert!((300_000..2_000_000).contains(&exchange.phases.total_us), "{exchange:?}");
}
