//! What endpoints say, well or badly: bodies, clocks, caps, and what is no HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chathook_domain::outcome::{Failure, Outcome};
use chathook_engine::ports::endpoints::Endpoints as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

use crate::support::*;

#[tokio::test]
async fn an_answer_is_told_with_its_body_and_where_the_time_went() {
    let server = Server::start(|_, mut stream| async move {
        while let Some(request) = read_request(&mut stream).await {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.len());
            stream.write_all((answer + &request).as_bytes()).await.expect("written");
        }
    })
    .await;
    let endpoints = loopback();
    let url = server.url("/hook?a=b");

    let first = endpoints.post(post(&url)).await;
    let said = String::from_utf8(answer(&first).body.clone()).expect("text");
    assert!(said.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{said}");
    assert!(said.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{said}");
    assert!(said.contains("webhook-id: msg_1\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\n{\"a\":1}"), "{said}");
    assert!(first.phases.connect_us.is_some() && first.phases.first_byte_us.is_some());
    assert_eq!(first.address.as_deref(), Some(format!("127.0.0.1:{}", server.port).as_str()));

    let second = endpoints.post(post(&url)).await;
    assert!(second.outcome.is_success());
    assert_eq!((second.phases.resolve_us, second.phases.connect_us), (None, None));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Server::always(OK).await;
    let location = elsewhere.url("/");
    let server = Server::start(move |_, mut stream| {
        let location = location.clone();
        async move {
            read_request(&mut stream).await;
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    })
    .await;
    let exchange = loopback().post(post(&server.url("/"))).await;
    assert_eq!(answer(&exchange).status, 302);
    assert!(!exchange.outcome.is_success());
    let detail = exchange.phases.detail_of(&exchange.outcome).expect("a sentence");
    let points_to = format!("Redirects are not followed. It points to {}:", elsewhere.url("/"));
    assert!(detail.starts_with(&points_to), "{detail}");
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_body_that_drips_for_ever_ends_at_the_clock() {
    let server = Server::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n";
        stream.write_all(head).await.expect("written");
        // The drip is the behaviour under test; nothing waits for it.
        let mut drip = tokio::time::interval(Duration::from_millis(10));
        while stream.write_all(b".").await.is_ok() {
            drip.tick().await;
        }
    })
    .await;
    let mut post = post(&server.url("/"));
    post.timeout = Duration::from_millis(300);
    let exchange = loopback().post(post).await;
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::Timeout));
    assert!(exchange.phases.first_byte_us.is_some());
    assert!((300_000..2_000_000).contains(&exchange.phases.total_us));
    let detail = exchange.phases.detail_of(&exchange.outcome);
    assert_eq!(detail.as_deref(), Some("The answer began, and was not complete when the time was over."));
}

#[tokio::test]
async fn an_endless_answer_is_a_success_and_is_cut() {
    let (told, written) = oneshot::channel();
    let told = Arc::new(Mutex::new(Some(told)));
    let server = Server::start(move |_, mut stream| {
        let told = told.lock().expect("not poisoned").take();
        async move {
            read_request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
            stream.write_all(head).await.expect("written");
            let (piece, mut sum) = ([b'x'; 65_536], 0_usize);
            while let Ok(bytes) = stream.write(&piece).await {
                sum += bytes;
            }
            told.expect("one connection").send(sum).expect("the test listens");
        }
    })
    .await;
    let exchange = loopback().post(post(&server.url("/"))).await;
    let answer = answer(&exchange);
    assert_eq!((answer.status, answer.body.len(), answer.is_cut), (200, 65_536, true));
    assert!(exchange.outcome.is_success());
    // The connection is closed at once; what went out is what the sockets' buffers hold.
    assert!(written.await.expect("the server saw the end") < 16_000_000);
    assert!(exchange.phases.total_us < 2_000_000, "{:?}", exchange.phases);
}

#[tokio::test]
async fn a_body_of_exactly_the_cap_is_whole() {
    let server = Server::always(OK).await;
    let mut post = post(&server.url("/"));
    post.answer_bytes_max = 2;
    let exchange = loopback().post(post).await;
    assert_eq!(answer(&exchange).body, b"ok");
    assert!(!answer(&exchange).is_cut);
}

#[tokio::test]
async fn what_is_no_http_is_broken() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(100_000));
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk".to_owned();
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_owned();
    let cut = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n".to_owned();
    let odd = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n".to_owned();
    let lines = [
        "\0\u{1}SSH-2.0",
        "HTTP/1.1 99 a",
        "HTTP/1.1 2000 a",
        "HTTP/1.1 abc a",
        "HTTP/2 200 a",
        "ICY 200 a",
        "200",
    ];
    let lines = lines.map(|line| format!("{line}\r\ncontent-length: 2\r\n\r\nok"));
    for said in [many, long, twice, short, cut, odd].into_iter().chain(lines) {
        let server = Server::start(move |_, mut stream| {
            let said = said.clone();
            async move {
                read_request(&mut stream).await;
                // It may be refused half-way, which is fine.
                drop(stream.write_all(said.as_bytes()).await);
            }
        })
        .await;
        assert_failure(&loopback().post(post(&server.url("/"))).await, "broken");
    }
}

#[tokio::test]
async fn retry_after_is_told_where_it_is_a_number() {
    for (header, seconds) in [("120", Some(120)), ("+5", None), ("Wed, 21 Oct", None), ("", None)] {
        let server = Server::start(move |_, mut stream| async move {
            read_request(&mut stream).await;
            let answer = format!("HTTP/1.1 503 No\r\nretry-after: {header}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("written");
        })
        .await;
        let exchange = loopback().post(post(&server.url("/"))).await;
        assert_eq!(answer(&exchange).retry_after_s, seconds, "{header}");
    }
}

#[tokio::test]
async fn every_path_that_a_url_may_have_is_sent() {
    let server = Server::always(OK).await;
    let endpoints = loopback();
    for path in ["/a|b^c`d{e}f[g]\"h'i", "/?a|b^c`d{e}f[g]\"h'i<>", "/ü/%00?ü=%zz", "?x#y", "//"] {
        let exchange = endpoints.post(post(&server.url(path))).await;
        assert!(exchange.outcome.is_success(), "{path}: {exchange:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_or_drips_its_head_ends_at_the_clock() {
    for (begun, piece) in [("", ""), ("HTTP/1.1 200 OK\r\na: ", "x")] {
        let server = Server::start(move |_, mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(begun.as_bytes()).await.expect("written");
            // The drip is the behaviour under test; nothing waits for it.
            let mut drip = tokio::time::interval(Duration::from_millis(10));
            while stream.write_all(piece.as_bytes()).await.is_ok() && stream.try_read(&mut [0]).is_err() {
                drip.tick().await;
            }
        })
        .await;
        let mut post = post(&server.url("/"));
        post.timeout = Duration::from_millis(300);
        let exchange = loopback().post(post).await;
        assert_eq!(exchange.outcome, Outcome::Failed(Failure::Timeout));
        assert!((300_000..2_000_000).contains(&exchange.phases.total_us));
        if begun.is_empty() {
            let detail = exchange.phases.detail_of(&exchange.outcome).expect("a sentence");
            assert!(detail.starts_with("No answer began: waited for the first byte 0."), "{detail}");
        }
    }
}

#[tokio::test]
async fn informational_answers_are_passed_over() {
    let server = Server::saying(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let endpoints = loopback();
    for _ in 0..2 {
        let exchange = endpoints.post(post(&server.url("/"))).await;
        assert_eq!((answer(&exchange).status, answer(&exchange).body.as_slice()), (200, b"ok".as_slice()));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn informational_answers_without_end_end_at_the_clock() {
    let server = Server::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {}
    })
    .await;
    let mut post = post(&server.url("/"));
    post.timeout = Duration::from_millis(300);
    assert_failure(&loopback().post(post).await, "timeout");
}

#[tokio::test]
async fn a_change_of_protocols_is_an_answer_and_ends_the_connection() {
    let server =
        Server::saying("HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\nconnection: upgrade\r\n\r\n").await;
    let endpoints = loopback();
    for connections in 1..=2 {
        let exchange = endpoints.post(post(&server.url("/"))).await;
        assert!(!exchange.outcome.is_success());
        assert_eq!(answer(&exchange).status, 101);
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn a_body_in_chunks_is_whole_and_its_connection_is_kept() {
    let server = Server::start(|_, mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            for piece in [
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "2;a=b\r\nok",
                "\r\n3\r\n, a\r\n",
                "0\r\nb: c\r\n\r\n",
            ] {
                stream.write_all(piece.as_bytes()).await.expect("written");
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let endpoints = loopback();
    for _ in 0..2 {
        let exchange = endpoints.post(post(&server.url("/"))).await;
        assert_eq!(answer(&exchange).body, b"ok, a");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_of_http_1_0_ends_with_its_connection() {
    let server = Server::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nok, ").await.expect("written");
        tokio::task::yield_now().await;
        stream.write_all(b"and more").await.expect("written");
    })
    .await;
    let endpoints = loopback();
    for connections in 1..=2 {
        assert_eq!(answer(&endpoints.post(post(&server.url("/"))).await).body, b"ok, and more");
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_request_is_told() {
    let server = Server::start(|_, mut stream| async move {
        // The body is more than the sockets' buffers hold, and nobody reads it.
        stream.readable().await.expect("the request begins");
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await.expect("written");
        std::future::pending().await
    })
    .await;
    let endpoints = loopback();
    for connections in 1..=2 {
        let mut post = post(&server.url("/"));
        post.body = vec![b'x'; 32 * 1024 * 1024].into();
        assert_eq!(answer(&endpoints.post(post).await).status, 413);
        assert_eq!(server.connections(), connections, "a half-sent request leaves no connection to keep");
    }
}
