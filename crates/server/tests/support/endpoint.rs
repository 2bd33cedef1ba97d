//! A customer's HTTPS endpoint, whose answers the test scripts and whose requests it reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::in_time;

/// The authority that signs every endpoint of a test.
pub struct Ca {
    pub der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// As files hold it.
    pub fn to_pem(&self) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(&self.der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).expect("ASCII")).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }
}

pub fn ca() -> &'static Ca {
    static CA: LazyLock<Ca> = LazyLock::new(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("a certificate").der().clone();
        Ca { der, issuer: Issuer::new(params, key) }
    });
    &CA
}

impl Ca {
    /// As programs are given it.
    pub fn pem(&self) -> String {
        use base64::Engine as _;
        let coded = base64::engine::general_purpose::STANDARD.encode(&self.der);
        let lines: Vec<&str> =
            coded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }
}

/// What the endpoint does with one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A whole answer.
    Full { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// As `Full`, once the gate is opened.
    Gated(Gate, Box<Answer>),
    /// Nothing, ever.
    Hang,
    /// The connection ends without a word.
    Close,
    /// A head that promises a body, of which the first byte is all that comes.
    Drip,
}

/// Closed until the test opens it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Notify>);

impl Gate {
    pub fn open(&self) {
        self.0.notify_one();
    }
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Full { status, headers: Vec::new(), body: Vec::new() }
    }

    pub fn json(body: &Value) -> Self {
        Self::body(200, body.to_string())
    }

    pub fn body(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Full { status, headers, body: body.into() }
    }

    pub fn redirect(to: &str) -> Self {
        Self::Full { status: 302, headers: vec![("location", to.to_owned())], body: Vec::new() }
    }

    pub fn after(self, gate: &Gate) -> Self {
        Self::Gated(gate.clone(), Box::new(self))
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub bytes: Vec<u8>,
    pub json: Value,
}

impl Received {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header '{name}' in {:?}", self.headers))
    }

    pub fn number(&self, name: &str) -> i64 {
        self.header(name).parse().expect("a number")
    }

    pub fn trigger(&self) -> &str {
        self.json["trigger"].as_str().expect("a trigger")
    }

    pub fn text(&self) -> &str {
        self.json["data"]["data"]["text"].as_str().unwrap_or_default()
    }
}

/// What the request is answered.
type Decides = Box<dyn FnMut(&Received) -> Answer + Send>;

#[derive(Default)]
struct Script {
    next: VecDeque<Answer>,
    of_text: HashMap<String, VecDeque<Answer>>,
    otherwise: Option<Answer>,
    decides: Option<Decides>,
}

impl Script {
    fn answer(&mut self, request: &Received) -> Answer {
        if let Some(decides) = &mut self.decides {
            return decides(request);
        }
        let own = self.of_text.get_mut(request.text()).and_then(VecDeque::pop_front);
        own.or_else(|| self.next.pop_front())
            .or_else(|| self.otherwise.clone())
            .unwrap_or_else(|| Answer::json(&json!({})))
    }
}

pub struct Endpoint {
    port: u16,
    script: Arc<Mutex<Script>>,
    arrived: tokio::sync::Mutex<mpsc::UnboundedReceiver<Received>>,
    listening: JoinHandle<()>,
}

impl Endpoint {
    /// Answers `200 {}` until told otherwise.
    pub async fn start() -> Self {
        Self::showing_at(0, acceptor()).await
    }

    /// The same at this port.
    pub async fn start_at(port: u16) -> Self {
        Self::showing_at(port, acceptor()).await
    }

    /// The same, with a certificate of the test's own.
    pub async fn showing(acceptor: TlsAcceptor) -> Self {
        Self::showing_at(0, acceptor).await
    }

    /// At this port; 0 is any that is free.
    async fn showing_at(port: u16, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let script = Arc::new(Mutex::new(Script::default()));
        let (sender, arrived) = mpsc::unbounded_channel();
        let listening = tokio::spawn(listen(listener, acceptor, script.clone(), sender));
        Self { port, script, arrived: tokio::sync::Mutex::new(arrived), listening }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/hook", self.port)
    }

    /// Does this with the next requests, in order.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.lock().expect("the script").next.extend(answers);
    }

    /// Does this with the next request whose message has this text.
    pub fn answer_text(&self, text: &str, answer: Answer) {
        self.script.lock().expect("the script").of_text.entry(text.to_owned()).or_default().push_back(answer);
    }

    /// Does this with all others.
    pub fn otherwise(&self, answer: Answer) {
        self.script.lock().expect("the script").otherwise = Some(answer);
    }

    /// Lets the request decide what it is answered.
    pub fn decide(&self, decides: impl FnMut(&Received) -> Answer + Send + 'static) {
        self.script.lock().expect("the script").decides = Some(Box::new(decides));
    }

    /// The next request that arrived.
    pub async fn next(&self) -> Received {
        let mut arrived = self.arrived.lock().await;
        in_time("the endpoint is called", arrived.recv()).await.expect("the endpoint listens")
    }

    /// What arrived and was not asked for yet.
    pub fn take_all(&self) -> Vec<Received> {
        let mut arrived = self.arrived.try_lock().expect("nobody waits for the next");
        std::iter::from_fn(|| arrived.try_recv().ok()).collect()
    }

    /// Listens no more: connections are refused.
    pub async fn shut(&self) {
        self.listening.abort();
        let port = self.port;
        super::until("the port is closed", async || TcpStream::connect(("127.0.0.1", port)).await.is_err())
            .await;
    }
}

pub fn acceptor() -> TlsAcceptor {
    acceptor_of(&params(), Signed::ByCa)
}

/// Who signs an endpoint's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    ByCa,
    ByItself,
}

/// A certificate for loopback; the test may change it.
pub fn params() -> CertificateParams {
    CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("names")
}

pub fn acceptor_of(params: &CertificateParams, signed: Signed) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let leaf = match signed {
        Signed::ByCa => params.signed_by(&key, &ca().issuer),
        Signed::ByItself => params.self_signed(&key),
    };
    let leaf = leaf.expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}

async fn listen(
    listener: TcpListener,
    tls: TlsAcceptor,
    script: Arc<Mutex<Script>>,
    arrived: mpsc::UnboundedSender<Received>,
) {
    // The connections end with the endpoint.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.expect("a connection");
        let (tls, script, arrived) = (tls.clone(), script.clone(), arrived.clone());
        connections.spawn(async move {
            if let Ok(stream) = tls.accept(tcp).await {
                serve(stream, script, arrived).await;
            }
        });
    }
}

async fn serve(
    mut stream: tokio_rustls::server::TlsStream<TcpStream>,
    script: Arc<Mutex<Script>>,
    arrived: mpsc::UnboundedSender<Received>,
) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        let mut answer = script.lock().expect("the script").answer(&request);
        if arrived.send(request).is_err() {
            return;
        }
        if let Answer::Gated(gate, inner) = answer {
            gate.0.notified().await;
            answer = *inner;
        }
        match answer {
            Answer::Full { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                head.push_str("\r\n");
                let whole = [head.into_bytes(), body].concat();
                if stream.write_all(&whole).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            Answer::Close => return,
            Answer::Drip => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
                let _ = stream.flush().await;
                return std::future::pending().await;
            }
            Answer::Hang | Answer::Gated(..) => return std::future::pending().await,
        }
    }
}

async fn read(
    stream: &mut tokio_rustls::server::TlsStream<TcpStream>,
    buffer: &mut Vec<u8>,
) -> Option<Received> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).expect("a head in ASCII");
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
    while buffer.len() < head_end + length {
        more(stream, buffer).await?;
    }
    let bytes = buffer[head_end..head_end + length].to_vec();
    buffer.drain(..head_end + length);
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Some(Received { method, path, headers, bytes, json })
}

async fn more(stream: &mut tokio_rustls::server::TlsStream<TcpStream>, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 8192];
    match stream.read(&mut chunk).await {
        Ok(count) if count > 0 => {
            buffer.extend_from_slice(&chunk[..count]);
            Some(())
        }
        _ => None,
    }
}
