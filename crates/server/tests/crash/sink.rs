//! An HTTPS endpoint that remembers everything it ever received; it outlives the servers.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::FAIL_SAFE;

pub const USERNAME: &str = "sink";
pub const PASSWORD: &str = "s3cret";

/// One request, as it arrived.
#[derive(Clone)]
pub struct Sighting {
    pub id: String,
    pub sequence: u64,
    pub key: String,
    pub attempt: String,
    pub body: Bytes,
    pub json: Value,
}

pub struct Sink {
    address: SocketAddr,
    pub ca_file: PathBuf,
    shared: Arc<Shared>,
    _dir: tempfile::TempDir,
}

struct Shared {
    authorization: String,
    sightings: Mutex<Vec<Sighting>>,
    count: watch::Sender<usize>,
    answer_after: watch::Sender<Duration>,
    /// What is answered.
    status: Mutex<StatusCode>,
    /// How often it was asked before a message.
    asked: watch::Sender<usize>,
    strangers: AtomicUsize,
}

impl Sink {
    /// Every request is answered so much later.
    pub async fn start(answer_after: Duration) -> Self {
        let (ca_pem, config) = identity();
        let dir = tempfile::tempdir().expect("a directory");
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, ca_pem).expect("written");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            authorization: format!("Basic {}", STANDARD.encode(format!("{USERNAME}:{PASSWORD}"))),
            sightings: Mutex::default(),
            count: watch::Sender::new(0),
            answer_after: watch::Sender::new(answer_after),
            status: Mutex::new(StatusCode::OK),
            asked: watch::Sender::new(0),
            strangers: AtomicUsize::new(0),
        });
        let app = Router::new().route("/hook", post(receive)).route("/ask", post(be_asked));
        let app = app.with_state(shared.clone());
        let (give, accepted) = mpsc::channel(64);
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), give));
        let door = Door { accepted, address };
        tokio::spawn(async move { axum::serve(door, app).await });
        Self { address, ca_file, shared, _dir: dir }
    }

    pub fn url(&self) -> String {
        format!("https://{}/hook", self.address)
    }

    /// Counts for requests that wait for their answer, too.
    pub fn answer_after(&self, wait: Duration) {
        self.shared.answer_after.send_replace(wait);
    }

    /// Where it is to be asked before a message is sent.
    pub fn ask_url(&self) -> String {
        format!("https://{}/ask", self.address)
    }

    pub async fn was_asked(&self, times: usize) {
        let mut asked = self.shared.asked.subscribe();
        let waited = timeout(FAIL_SAFE, asked.wait_for(|asked| *asked == times)).await;
        waited.expect("it is asked in time").expect("the sink lives");
    }

    /// Requests are answered with this status from now on.
    pub fn answer_with(&self, status: StatusCode) {
        *self.shared.status.lock().expect("no one panics while holding this lock") = status;
    }

    pub fn strangers(&self) -> usize {
        self.shared.strangers.load(Ordering::SeqCst)
    }

    pub fn sightings(&self) -> Vec<Sighting> {
        self.shared.sightings.lock().expect("no one panics while holding this lock").clone()
    }

    /// Looks again at each arrival until the claim holds; then what was seen up to then.
    pub async fn wait_until(&self, claim: &str, holds: impl Fn(&[Sighting]) -> bool) -> Vec<Sighting> {
        let mut count = self.shared.count.subscribe();
        let waiting = async {
            loop {
                count.mark_unchanged();
                let seen = self.sightings();
                if holds(&seen) {
                    return seen;
                }
                count.changed().await.expect("the sink lives");
            }
        };
        let waited = timeout(FAIL_SAFE, waiting).await;
        waited.unwrap_or_else(|_| panic!("never came true: {claim}; {}", self.account()))
    }

    /// Everything that arrived, once that is so many events, repeats aside.
    pub async fn wait_for_events(&self, wanted: usize) -> Vec<Sighting> {
        let mut count = self.shared.count.subscribe();
        let waiting = async {
            let mut enough = wanted;
            loop {
                // Looked at only when they can be enough: a look costs as much as all that arrived.
                count.wait_for(|count| *count >= enough).await.expect("the sink lives");
                let seen = self.sightings();
                let events = seen.iter().map(|one| &one.id).collect::<BTreeSet<_>>().len();
                if events >= wanted {
                    return seen;
                }
                enough = seen.len() + wanted - events;
            }
        };
        let waited = timeout(FAIL_SAFE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{wanted} events never came; {}", self.account()))
    }

    /// What was seen, for a person who asks what is missing.
    fn account(&self) -> String {
        let seen = self.sightings();
        let numbers: BTreeSet<u64> = seen.iter().map(|one| one.sequence).collect();
        let last = numbers.last().copied().unwrap_or(0);
        let missing: Vec<u64> = (1..=last).filter(|number| !numbers.contains(number)).collect();
        format!("requests seen: {}, highest number: {last}, missing numbers: {missing:?}", seen.len())
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if text(header::AUTHORIZATION.as_str()) != shared.authorization {
        shared.strangers.fetch_add(1, Ordering::SeqCst);
        return StatusCode::UNAUTHORIZED;
    }
    let sighting = Sighting {
        id: text("webhook-id"),
        sequence: text("chathook-sequence").parse().unwrap_or(0),
        key: text("chathook-key"),
        attempt: text("chathook-attempt"),
        json: serde_json::from_slice(&body).unwrap_or_default(),
        body,
    };
    shared.sightings.lock().expect("no one panics while holding this lock").push(sighting);
    shared.count.send_modify(|count| *count += 1);
    shared.answer().await
}

async fn be_asked(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.asked.send_modify(|asked| *asked += 1);
    shared.answer().await
}

impl Shared {
    async fn answer(&self) -> StatusCode {
        let mut answer_after = self.answer_after.subscribe();
        loop {
            let wait = *answer_after.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep(wait) => break,
                _ = answer_after.changed() => {}
            }
        }
        *self.status.lock().expect("no one panics while holding this lock")
    }
}

/// Connections whose handshake is done.
struct Door {
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Listener for Door {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    give: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    while let Ok((tcp, peer)) = listener.accept().await {
        let (tls, give) = (tls.clone(), give.clone());
        tokio::spawn(async move {
            // Who is killed in the middle of a handshake leaves an error here.
            if let Ok(stream) = tls.accept(tcp).await {
                let _ = give.send((stream, peer)).await;
            }
        });
    }
}

/// A CA as PEM, and a server with a certificate that it signed.
fn identity() -> (String, ServerConfig) {
    let mut ca_params = CertificateParams::default();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca_params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_key = KeyPair::generate().expect("a key");
    let ca = ca_params.self_signed(&ca_key).expect("a certificate");
    let issuer = Issuer::new(ca_params, ca_key);
    let leaf_params = CertificateParams::new([Ipv4Addr::LOCALHOST.to_string()]).expect("a name");
    let leaf_key = KeyPair::generate().expect("a key");
    let leaf = leaf_params.signed_by(&leaf_key, &issuer).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("the key is the certificate's");
    (ca.pem(), config)
}
