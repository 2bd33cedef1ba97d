//! Endpoints against real listeners on loopback: what customers' servers do, well or badly.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chathook_adapters::endpoints::{HttpEndpoints, HttpEndpointsConfig};
use chathook_adapters::resolver::{Resolved, Resolver};
use chathook_domain::address::OpenNetworks;
use chathook_domain::outcome::{Answer, Failure, Outcome};
use chathook_domain::webhook::EndpointUrl;
use chathook_engine::ports::endpoints::{Destination, Endpoints, Exchange, Headers, Post};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const OK_AND_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

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
    assert!(written.await.expect("the server saw the end") < 100_000_000);
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
async fn what_is_no_http_is_broken() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(100_000));
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk".to_owned();
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_owned();
    for said in ["\0\u{1}SSH-2.0\r\n\r\n".to_owned(), many, long, twice, short] {
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
async fn every_path_that_a_url_may_have_is_sent() {
    let server = Server::always(OK).await;
    let endpoints = loopback();
    for path in ["/a|b^c`d{e}f[g]\"h'i", "/?a|b^c`d{e}f[g]\"h'i<>", "/ü/%00?ü=%zz", "?x#y", "//"] {
        let exchange = endpoints.post(post(&server.url(path))).await;
        assert!(exchange.outcome.is_success(), "{path}: {exchange:?}");
    }
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
            assert_eq!(answer(&exchange).body, b"http/1.1 hook.test");
        } else {
            assert_failure(&exchange, "tls");
        }
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

/// A listener on loopback that counts who comes.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start<F, Fut>(handle: F) -> Self
    where
        F: Fn(usize, TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::bind((Ipv4Addr::LOCALHOST, 0), handle).await
    }

    async fn bind<F, Fut>(at: (Ipv4Addr, u16), handle: F) -> Self
    where
        F: Fn(usize, TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let index = counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(handle(index, stream));
            }
        });
        Self { port, connections, task }
    }

    async fn always(answer: &'static [u8]) -> Self {
        Self::start(move |_, mut stream| async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(answer).await.expect("written");
            }
        })
        .await
    }

    /// Answers with the protocol and the name that the client asked for.
    async fn tls(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        Self::start(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                if read_request(&mut stream).await.is_none() {
                    return;
                }
                let tls = stream.get_ref().1;
                let protocol = String::from_utf8_lossy(tls.alpn_protocol().unwrap_or_default());
                let said = format!("{protocol} {}", tls.server_name().unwrap_or_default());
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", said.len());
                stream.write_all((head + &said).as_bytes()).await.expect("written");
                stream.flush().await.expect("flushed");
                // Holds the connection until the client ends it.
                read_request(&mut stream).await;
            }
        })
        .await
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn stop(self) {
        self.task.abort();
        self.task.await.expect_err("aborted");
    }
}

/// Answers look-ups from a list, and keeps to its last entry.
struct Names {
    answers: Mutex<VecDeque<Vec<[u8; 4]>>>,
    asked: AtomicUsize,
}

impl Names {
    fn lead_to<const N: usize>(answers: [Vec<[u8; 4]>; N]) -> Arc<Self> {
        let answers = Mutex::new(VecDeque::from(answers));
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, _: &str) -> Resolved {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().expect("not poisoned");
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Ok(answer.unwrap_or_default().into_iter().map(IpAddr::from).collect())
    }
}

/// One request with its body; `None` when the client is done.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_some_and(|length| length.parse() == Ok(body.len())) {
            return Some(text.into_owned());
        }
    }
}

fn certificate(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    (made.cert.der().clone(), key)
}

fn config(networks: &[&str]) -> HttpEndpointsConfig {
    HttpEndpointsConfig {
        open_networks: OpenNetworks::parse(networks).expect("networks"),
        allow_http: true,
        extra_roots: Vec::new(),
        use_system_roots: false,
        idle_connections_max: 64,
    }
}

fn loopback() -> HttpEndpoints {
    HttpEndpoints::new(config(&["127.0.0.0/8"])).expect("built")
}

fn named(names: Arc<Names>, networks: &[&str]) -> HttpEndpoints {
    HttpEndpoints::with_resolver(config(networks), names).expect("built")
}

fn endpoint_url(url: &str) -> Option<EndpointUrl> {
    EndpointUrl::parse("webhookURL", url).ok()
}

fn post(url: &str) -> Post {
    let mut headers = Headers::new();
    headers.share("content-type", "application/json".into());
    headers.write("webhook-id", "msg_1");
    Post {
        to: Destination::of(endpoint_url(url).expect("the test wrote a URL")),
        headers,
        body: "{\"a\":1}".into(),
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(10),
        answer_bytes_max: 65_536,
        idle_connections_max: 4,
    }
}

fn answer(exchange: &Exchange) -> &Answer {
    match &exchange.outcome {
        Outcome::Answered(answer) => answer,
        Outcome::Failed(failure) => panic!("no answer: {failure:?}"),
    }
}

fn assert_failure(exchange: &Exchange, name: &str) {
    match &exchange.outcome {
        Outcome::Answered(answer) => panic!("answered: {answer:?}"),
        Outcome::Failed(failure) => assert_eq!(failure.name(), name, "{failure:?}"),
    }
}
