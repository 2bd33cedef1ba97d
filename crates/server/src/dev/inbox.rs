//! The inbox: an HTTPS endpoint on loopback that receives webhooks, keeps the newest of them for
//! the try-it page, and answers `before_message` as that page chose.
//! Its CA lives in this process only; whoever should trust it takes `ca_der` and nothing else.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// How many webhooks the inbox remembers.
const RECORDED_MAX: usize = 500;
/// How many live webhooks a page may lag behind before it has to come back and read the record.
const LIVE_BUFFER: usize = 256;
/// Far above the largest `before_message` budget (5 s, design 5), so that the caller gives up first.
const HANG_MAX: Duration = Duration::from_secs(30);

/// The wall clock in milliseconds, passed in because only the Clock port may read it.
pub type NowMs = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a webhook must send as HTTP Basic to be let in.
#[derive(Clone)]
pub struct BasicCredentials {
    pub username: String,
    pub password: String,
}

/// What the inbox answers to `before_message`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Pass,
    Inject,
    Drop,
    Replace,
    Hang,
    Error,
}

/// What was answered; both are null when the caller left before there was an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub status: Option<u16>,
    pub body: Option<Value>,
}

/// One webhook as it arrived, in the shape the page reads.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// In order of arrival, from 1. Gaps are webhooks that are still being answered.
    pub n: u64,
    pub trigger: String,
    /// Wall time in milliseconds.
    pub received_at: i64,
    pub headers: serde_json::Map<String, Value>,
    pub payload: Value,
    pub answer: Answer,
    pub duration_ms: u64,
}

/// A running inbox; it stops listening when dropped.
pub struct Inbox {
    address: SocketAddr,
    ca: CertificateDer<'static>,
    desk: Arc<Desk>,
    handle: Handle<SocketAddr>,
}

impl Inbox {
    /// Listens on a free loopback port with a certificate made for this run.
    pub async fn start(credentials: BasicCredentials, now: NowMs) -> anyhow::Result<Inbox> {
        let identity = Identity::make().context("making the inbox's certificate")?;
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("opening the inbox's port")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk::new(&credentials, now));
        let app = Router::new().route("/webhooks", post(receive)).with_state(Arc::clone(&desk));
        let tls = RustlsConfig::from_config(Arc::new(identity.server));
        let handle = Handle::new();
        let server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle.clone());
        tokio::spawn(async move {
            if let Err(error) = server.serve(app.into_make_service()).await {
                tracing::error!(%error, "the inbox has stopped");
            }
        });
        Ok(Inbox { address, ca: identity.ca, desk, handle })
    }

    /// The endpoint that a webhook should be pointed at.
    pub fn url(&self) -> String {
        format!("https://{}/webhooks", self.address)
    }

    /// The only certificate that vouches for this inbox.
    pub fn ca_der(&self) -> CertificateDer<'static> {
        self.ca.clone()
    }

    pub fn mode(&self) -> Mode {
        self.desk.lock().mode
    }

    pub fn set_mode(&self, mode: Mode) {
        self.desk.lock().mode = mode;
    }

    /// What was recorded up to now and everything after it, without a gap or a repeat between.
    pub fn subscribe(&self) -> (Vec<Arc<Recorded>>, broadcast::Receiver<Arc<Recorded>>) {
        let tray = self.desk.lock();
        (tray.recorded.iter().cloned().collect(), self.desk.live.subscribe())
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

/// What the endpoint's requests share.
struct Desk {
    authorization: String,
    now: NowMs,
    tray: Mutex<Tray>,
    live: broadcast::Sender<Arc<Recorded>>,
}

#[derive(Default)]
struct Tray {
    mode: Mode,
    arrived: u64,
    recorded: VecDeque<Arc<Recorded>>,
}

impl Desk {
    fn new(credentials: &BasicCredentials, now: NowMs) -> Desk {
        let pair = format!("{}:{}", credentials.username, credentials.password);
        Desk {
            authorization: format!("Basic {}", STANDARD.encode(pair)),
            now,
            tray: Mutex::default(),
            live: broadcast::channel(LIVE_BUFFER).0,
        }
    }

    /// A poisoned tray is still a whole one: nothing that can panic runs while it is held.
    fn lock(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_enter(&self, headers: &HeaderMap) -> bool {
        headers
            .get(header::AUTHORIZATION)
            .is_some_and(|given| given.as_bytes().ct_eq(self.authorization.as_bytes()).into())
    }

    fn keep(&self, recorded: Recorded) {
        let recorded = Arc::new(recorded);
        let mut tray = self.lock();
        if tray.recorded.len() == RECORDED_MAX {
            tray.recorded.pop_front();
        }
        tray.recorded.push_back(Arc::clone(&recorded));
        // Nobody listening is the usual case while no page is open.
        let _ = self.live.send(recorded);
    }
}

/// A webhook that has arrived and is recorded once answered, or dropped with its caller gone:
/// the server drops the handler when the connection ends, and a hang should still be seen.
struct Arrival {
    desk: Arc<Desk>,
    since: Instant,
    recorded: Option<Recorded>,
}

impl Arrival {
    fn new(desk: Arc<Desk>, headers: &HeaderMap, payload: Value) -> (Arrival, Mode) {
        let received_at = (desk.now)();
        let (n, mode) = {
            let mut tray = desk.lock();
            tray.arrived += 1;
            (tray.arrived, tray.mode)
        };
        let recorded = Recorded {
            n,
            trigger: payload["trigger"].as_str().unwrap_or("unknown").to_owned(),
            received_at,
            headers: readable(headers),
            payload,
            answer: Answer { status: None, body: None },
            duration_ms: 0,
        };
        (Arrival { desk, since: Instant::now(), recorded: Some(recorded) }, mode)
    }

    fn payload(&self) -> &Value {
        self.recorded.as_ref().map_or(&Value::Null, |recorded| &recorded.payload)
    }

    fn is_before_message(&self) -> bool {
        self.recorded.as_ref().is_some_and(|recorded| recorded.trigger == "before_message")
    }

    fn answered(mut self, status: StatusCode, body: Value) -> Response {
        if let Some(recorded) = &mut self.recorded {
            recorded.answer = Answer { status: Some(status.as_u16()), body: Some(body.clone()) };
        }
        (status, axum::Json(body)).into_response()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if let Some(mut recorded) = self.recorded.take() {
            recorded.duration_ms = self.since.elapsed().as_millis() as u64;
            self.desk.keep(recorded);
        }
    }
}

async fn receive(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    if !desk.may_enter(&headers) {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"chathook inbox\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    let payload = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    let (arrival, mode) = Arrival::new(desk, &headers, payload);
    if !arrival.is_before_message() {
        return arrival.answered(StatusCode::OK, json!({}));
    }
    if mode == Mode::Hang {
        tokio::time::sleep(HANG_MAX).await;
    }
    let (status, body) = before_message_answer(mode, arrival.payload());
    arrival.answered(status, body)
}

/// The answers of design 5, one for each thing a person may want to see happen.
fn before_message_answer(mode: Mode, payload: &Value) -> (StatusCode, Value) {
    match mode {
        Mode::Pass | Mode::Hang => (StatusCode::OK, json!({})),
        Mode::Inject => (StatusCode::OK, json!({"seenBy": "inbox"})),
        Mode::Drop => {
            (StatusCode::OK, json!({"action": "do_not_propagate", "reason": "Dropped by the try-it page"}))
        }
        Mode::Replace => {
            let original = payload["data"]["data"]["text"].as_str().unwrap_or("");
            let text = format!("{original} (changed by the inbox)");
            (StatusCode::OK, json!({"action": "replace", "data": {"text": text}}))
        }
        Mode::Error => {
            (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "The try-it page asked for this answer."}))
        }
    }
}

/// Headers as a page may show them: the password stays out of screenshots.
fn readable(headers: &HeaderMap) -> serde_json::Map<String, Value> {
    let mut shown = serde_json::Map::new();
    for (name, value) in headers {
        let text = if name == header::AUTHORIZATION {
            "Basic …".to_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        shown.insert(name.to_string(), Value::String(text));
    }
    shown
}

/// A CA of this run and a server configuration with a leaf that it signed.
struct Identity {
    ca: CertificateDer<'static>,
    server: rustls::ServerConfig,
}

impl Identity {
    fn make() -> anyhow::Result<Identity> {
        let mut ca_params = CertificateParams::default();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca_params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca_params.distinguished_name.push(DnType::CommonName, "chathook dev inbox CA");
        let ca_key = KeyPair::generate()?;
        let ca = ca_params.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca_params, ca_key);

        let names = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
        let mut leaf_params = CertificateParams::new(names)?;
        leaf_params.distinguished_name.push(DnType::CommonName, "chathook dev inbox");
        let leaf_key = KeyPair::generate()?;
        let leaf = leaf_params.signed_by(&leaf_key, &issuer)?;

        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Identity { ca: ca.der().clone(), server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_has_the_answer_that_the_page_promises() {
        let payload = json!({"data": {"data": {"text": "lunch?"}}});
        let body = |mode| before_message_answer(mode, &payload).1;
        assert_eq!(body(Mode::Pass), json!({}));
        assert_eq!(body(Mode::Inject), json!({"seenBy": "inbox"}));
        assert_eq!(body(Mode::Drop)["action"], "do_not_propagate");
        assert_eq!(body(Mode::Replace)["data"]["text"], "lunch? (changed by the inbox)");
        assert_eq!(before_message_answer(Mode::Error, &payload).0, 500);
    }

    #[test]
    fn the_record_keeps_only_the_newest() {
        let credentials = BasicCredentials { username: "u".into(), password: "p".into() };
        let desk = Arc::new(Desk::new(&credentials, Arc::new(|| 7)));
        for _ in 0..RECORDED_MAX + 3 {
            drop(Arrival::new(Arc::clone(&desk), &HeaderMap::new(), json!({})));
        }
        let tray = desk.lock();
        assert_eq!(tray.recorded.len(), RECORDED_MAX);
        assert_eq!(tray.recorded[0].n, 4);
    }

    #[test]
    fn a_caller_that_leaves_unanswered_is_recorded_without_an_answer() {
        let credentials = BasicCredentials { username: "u".into(), password: "p".into() };
        let desk = Arc::new(Desk::new(&credentials, Arc::new(|| 7)));
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Basic c2VjcmV0".parse().expect("a header value"));
        drop(Arrival::new(Arc::clone(&desk), &headers, json!({"trigger": "before_message"})));
        let tray = desk.lock();
        assert_eq!(tray.recorded[0].answer, Answer { status: None, body: None });
        assert_eq!(tray.recorded[0].headers["authorization"], "Basic …");
    }
}
