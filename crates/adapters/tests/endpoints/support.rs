//! What the tests of endpoints rest on: real listeners on loopback, names that lead where a test says.

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
use chathook_domain::outcome::{Answer, Outcome};
use chathook_domain::webhook::EndpointUrl;
use chathook_engine::ports::endpoints::{Destination, Exchange, Headers, Post};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
pub const OK_AND_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

/// A listener on loopback that counts who comes.
pub struct Server {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start<F, Fut>(handle: F) -> Self
    where
        F: Fn(usize, TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::bind((Ipv4Addr::LOCALHOST, 0), handle).await
    }

    pub async fn bind<F, Fut>(at: (Ipv4Addr, u16), handle: F) -> Self
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

    pub async fn always(answer: &'static [u8]) -> Self {
        Self::start(move |_, mut stream| async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(answer).await.expect("written");
            }
        })
        .await
    }

    /// Answers with the protocol and the name that the client asked for.
    pub async fn tls(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        let acceptor = acceptor(certificate, key);
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
                let kind = tls.handshake_kind().expect("hands were shaken");
                let said = format!("{protocol} {} {kind:?}", tls.server_name().unwrap_or_default());
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", said.len());
                stream.write_all((head + &said).as_bytes()).await.expect("written");
                stream.flush().await.expect("flushed");
                // Holds the connection until the client ends it.
                read_request(&mut stream).await;
            }
        })
        .await
    }

    /// Says the same to every request.
    pub async fn saying(said: &'static str) -> Self {
        Self::always(said.as_bytes()).await
    }

    /// Answers as `OK` does.
    pub async fn tls_always(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        let acceptor = acceptor(certificate, key);
        Self::start(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.expect("a handshake");
                while read_request(&mut stream).await.is_some() {
                    stream.write_all(OK).await.expect("written");
                    stream.flush().await.expect("flushed");
                }
            }
        })
        .await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub async fn stop(self) {
        self.task.abort();
        self.task.await.expect_err("aborted");
    }
}

/// Answers look-ups from a list, and keeps to its last entry.
pub struct Names {
    answers: Mutex<VecDeque<Vec<[u8; 4]>>>,
    pub asked: AtomicUsize,
}

impl Names {
    pub fn lead_to<const N: usize>(answers: [Vec<[u8; 4]>; N]) -> Arc<Self> {
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
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
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

pub fn certificate(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    (made.cert.der().clone(), key)
}

fn acceptor(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

/// Ends a connection as a crashed host does: what is unread is lost, and the other side hears at once.
pub fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("set");
}

/// Endpoints that trust this certificate, and to whom every name is loopback.
pub fn trusting(root: CertificateDer<'static>) -> HttpEndpoints {
    let config = HttpEndpointsConfig { extra_roots: vec![root], ..config(&["127.0.0.1"]) };
    HttpEndpoints::with_resolver(config, Names::lead_to([vec![[127, 0, 0, 1]]])).expect("built")
}

pub fn config(networks: &[&str]) -> HttpEndpointsConfig {
    HttpEndpointsConfig {
        open_networks: OpenNetworks::parse(networks).expect("networks"),
        allow_http: true,
        extra_roots: Vec::new(),
        use_system_roots: false,
        idle_connections_max: 64,
    }
}

pub fn loopback() -> HttpEndpoints {
    HttpEndpoints::new(config(&["127.0.0.0/8"])).expect("built")
}

pub fn named(names: Arc<Names>, networks: &[&str]) -> HttpEndpoints {
    HttpEndpoints::with_resolver(config(networks), names).expect("built")
}

pub fn endpoint_url(url: &str) -> Option<EndpointUrl> {
    EndpointUrl::parse("webhookURL", url).ok()
}

pub fn post(url: &str) -> Post {
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

pub fn answer(exchange: &Exchange) -> &Answer {
    match &exchange.outcome {
        Outcome::Answered(answer) => answer,
        Outcome::Failed(failure) => panic!("no answer: {failure:?}"),
    }
}

pub fn assert_failure(exchange: &Exchange, name: &str) {
    match &exchange.outcome {
        Outcome::Answered(answer) => panic!("answered: {answer:?}"),
        Outcome::Failed(failure) => assert_eq!(failure.name(), name, "{failure:?}"),
    }
}
