//! What `HttpEndpoints::post` costs beside a bare loop over the same HTTP and TLS libraries: POSTs of
//! about 700 bytes over TLS and kept-open connections, 64 in flight, to a sink in a process of its
//! own. Prints POST/s, the client's processor time for each and the ratios of alternating rounds.
//! `cargo bench -p chathook-adapters --bench post [-- SECONDS] [ours|bare]`

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chathook_adapters::endpoints::{HttpEndpoints, HttpEndpointsConfig};
use chathook_domain::address::OpenNetworks;
use chathook_domain::webhook::EndpointUrl;
use chathook_engine::ports::endpoints::{Destination, Endpoints as _, Headers, Post};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const IN_FLIGHT: usize = 64;
const BODY_BYTES: usize = 700;
const ROUNDS: usize = 5;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// What a delivery's request carries.
const HEADERS: [(&str, &str); 10] = [
    ("content-type", "application/json"),
    ("user-agent", "chathook/0.1.0"),
    ("webhook-id", "msg_0198c0de7b0c7d3c9b7a5a0d6b3f2e11"),
    ("webhook-timestamp", "1760000000"),
    ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
    ("authorization", "Basic Y2hhdGhvb2s6c2VjcmV0"),
    ("chathook-attempt", "1"),
    ("chathook-sequence", "123456"),
    ("chathook-settled", "123400"),
    ("chathook-key", "ana_user_ben"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "sink") {
        return runtime().block_on(sink());
    }
    let seconds = arguments.iter().find_map(|text| text.parse().ok()).unwrap_or(2);
    let (mut child, port, certificate) = start_sink();
    let length = Duration::from_secs(seconds);
    // For a profiler: nothing but the one.
    let alone = arguments.last().map_or("", String::as_str);
    if matches!(alone, "ours" | "bare") {
        let figures = runtime().block_on(async {
            match alone {
                "ours" => measure(length, ours(port, certificate)).await,
                _ => measure(length, bare(port, certificate)).await,
            }
        });
        println!("{alone} alone: {:.2} CPU us/POST, {} POSTs", figures.cpu_us(), figures.posts);
        return;
    }
    let mut sums = [Figures::default(); 2];
    for _ in 0..ROUNDS {
        sums[0].add(&runtime().block_on(measure(length, bare(port, certificate.clone()))));
        sums[1].add(&runtime().block_on(measure(length, ours(port, certificate.clone()))));
    }
    child.kill().expect("the sink runs");
    child.wait().expect("the sink ends");
    println!("{IN_FLIGHT} in flight, {BODY_BYTES} bytes, TLS, keep-alive; {ROUNDS} x {seconds} s each");
    for (name, figures) in ["bare hyper loop", "HttpEndpoints::post"].iter().zip(&sums) {
        println!("{name:<20} {:>9.0} POST/s {:>7.2} CPU us/POST", figures.rate(), figures.cpu_us());
    }
    let [bare, ours] = sums;
    println!(
        "ratio {:.3} of the bare loop's POST/s; {:+.2} CPU us/POST",
        ours.rate() / bare.rate(),
        ours.cpu_us() - bare.cpu_us()
    );
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

#[derive(Clone, Copy, Default)]
struct Figures {
    posts: f64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.posts += other.posts;
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
    }

    fn rate(&self) -> f64 {
        self.posts / self.seconds
    }

    fn cpu_us(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.posts
    }
}

/// What loops count, and what ends them.
#[derive(Default)]
struct Tally {
    posts: AtomicU64,
    is_over: AtomicBool,
}

impl Tally {
    /// Counts a POST; says whether another one should follow.
    fn goes_on(&self) -> bool {
        self.posts.fetch_add(1, Ordering::Relaxed);
        !self.is_over.load(Ordering::Relaxed)
    }
}

/// Lets the loops get going, then counts for the given time.
async fn measure(length: Duration, start: impl Future<Output = Arc<Tally>>) -> Figures {
    let tally = start.await;
    tokio::time::sleep(length / 5).await;
    let count = || tally.posts.load(Ordering::Relaxed);
    let (began, cpu, posts) = (Instant::now(), cpu_seconds(), count());
    tokio::time::sleep(length).await;
    let (posts, cpu_seconds) = (count() - posts, cpu_seconds() - cpu);
    let seconds = began.elapsed().as_secs_f64();
    tally.is_over.store(true, Ordering::Relaxed);
    #[allow(clippy::cast_precision_loss)]
    Figures { posts: posts as f64, seconds, cpu_seconds }
}

/// Processor time of all threads of this process so far, as the scheduler counts it.
fn cpu_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let of_thread = |path: std::path::PathBuf| -> Option<f64> {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    let nanoseconds: f64 = threads.filter_map(|thread| of_thread(thread.ok()?.path())).sum();
    nanoseconds / 1e9
}

async fn ours(port: u16, root: CertificateDer<'static>) -> Arc<Tally> {
    let config = HttpEndpointsConfig {
        open_networks: OpenNetworks::parse(["127.0.0.1"]).expect("a network"),
        extra_roots: vec![root],
        idle_connections_max: IN_FLIGHT,
        ..HttpEndpointsConfig::default()
    };
    let endpoints = Arc::new(HttpEndpoints::new(config).expect("built"));
    let tally = Arc::new(Tally::default());
    let url = EndpointUrl::parse("webhookURL", &format!("https://127.0.0.1:{port}/hook")).expect("a URL");
    let to = Destination::of(url);
    for _ in 0..IN_FLIGHT {
        let (endpoints, tally, to) = (endpoints.clone(), tally.clone(), to.clone());
        tokio::spawn(async move {
            loop {
                let exchange = endpoints.post(post(&to)).await;
                assert!(exchange.outcome.is_success(), "{exchange:?}");
                if !tally.goes_on() {
                    return;
                }
            }
        });
    }
    tally
}

/// As the engine does: three values are shared by all requests, the others written for each.
fn post(to: &Arc<Destination>) -> Post {
    let mut headers = Headers::new();
    for (name, value) in HEADERS {
        match name {
            "content-type" | "user-agent" | "authorization" => {
                headers.share(name, Bytes::from_static(value.as_bytes()));
            }
            _ => headers.write(name, value),
        }
    }
    Post {
        to: to.clone(),
        headers,
        body: "x".repeat(BODY_BYTES).into(),
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(10),
        answer_bytes_max: 65_536,
        idle_connections_max: IN_FLIGHT,
    }
}

async fn bare(port: u16, root: CertificateDer<'static>) -> Arc<Tally> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(tls));
    let tally = Arc::new(Tally::default());
    for _ in 0..IN_FLIGHT {
        tokio::spawn(bare_loop(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), tls.clone(), tally.clone()));
    }
    tally
}

async fn bare_loop(address: SocketAddr, tls: TlsConnector, tally: Arc<Tally>) {
    let tcp = TcpStream::connect(address).await.expect("connected");
    tcp.set_nodelay(true).expect("set");
    let name = ServerName::from(address.ip());
    let stream = tls.connect(name, tcp).await.expect("a handshake");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("started");
    tokio::spawn(connection);
    loop {
        let mut request = Request::builder().method(Method::POST).uri("/hook").header("host", "127.0.0.1");
        for (name, value) in HEADERS {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from("x".repeat(BODY_BYTES)));
        let request = request.body(body).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        assert!(response.status().is_success());
        response.into_body().collect().await.expect("a whole answer");
        if !tally.goes_on() {
            return;
        }
    }
}

/// Starts this program again as the sink; it tells its port and its certificate.
fn start_sink() -> (Child, u16, CertificateDer<'static>) {
    let program = std::env::current_exe().expect("this program's path");
    let child = Command::new(program).arg("sink").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("a sink");
    let mut told = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    told.read_line(&mut line).expect("a line");
    let (port, length) = line.trim().split_once(' ').expect("two numbers");
    let mut certificate = vec![0; length.parse().expect("a length")];
    told.read_exact(&mut certificate).expect("a certificate");
    (child, port.parse().expect("a port"), certificate.into())
}

/// Answers every request at once; ends with its standard input, so that it outlives nobody.
async fn sink() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let mut out = std::io::stdout();
    writeln!(out, "{port} {}", certificate.len()).expect("told");
    out.write_all(&certificate).expect("told");
    out.flush().expect("told");
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    loop {
        let (tcp, _) = listener.accept().await.expect("accepted");
        tcp.set_nodelay(true).expect("set");
        tokio::spawn(answer_all(acceptor.clone(), tcp));
    }
}

/// Every request of this bench ends with the last byte of a body of known length.
async fn answer_all(acceptor: TlsAcceptor, tcp: TcpStream) {
    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
    let (mut buffer, mut length) = (vec![0; 16 * 1024], 0);
    while let Ok(count @ 1..) = stream.read(&mut buffer[length..]).await {
        length += count;
        let head = buffer[..length].windows(4).position(|window| window == b"\r\n\r\n");
        if head.is_some_and(|head| length >= head + 4 + BODY_BYTES) {
            length = 0;
            if stream.write_all(ANSWER).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}
