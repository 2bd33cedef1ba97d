//! POSTs to customers' endpoints over HTTP/1.1: guarded addresses, one clock, a capped answer,
//! no redirects, no proxies. Whether and when to post is the engine's question, not ours.

mod connection;
mod pool;
pub mod probe;
mod tls_failure;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chathook_domain::address::OpenNetworks;
use chathook_domain::fitness::answers::Head;
use chathook_domain::outcome::{Answer, Failure, Outcome};
use chathook_engine::ports::endpoints::{Endpoints, Exchange, Phases, Post};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HOST, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, Uri};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use self::connection::{Connection, NotAnswered, Stream, connect, describe, secure};
use self::pool::{Origin, Pool};
use crate::address_guard::AddressGuard;
use crate::resolver::{Resolver, SystemResolver};

/// How much of a redirect's address is kept: what a person reads.
const LOCATION_CHARS_MAX: usize = 500;

/// What the operator decides about calls to endpoints.
#[derive(Debug, Clone, Default)]
pub struct HttpEndpointsConfig {
    pub open_networks: OpenNetworks,
    /// Plain `http` into `open_networks`; never elsewhere.
    pub allow_http: bool,
    pub extra_roots: Vec<CertificateDer<'static>>,
    pub use_system_roots: bool,
    /// Kept-open connections over all endpoints; a share of the process' file handles.
    pub idle_connections_max: usize,
}

/// Endpoints reached over the network. Needs a tokio runtime when it posts.
pub struct HttpEndpoints {
    guard: AddressGuard,
    tls: TlsConnector,
    pool: Pool,
}

impl HttpEndpoints {
    /// Resolves names as the operating system does.
    ///
    /// # Errors
    /// A sentence: the root certificates could not be had.
    pub fn new(config: HttpEndpointsConfig) -> Result<Self, String> {
        Self::with_resolver(config, Arc::new(SystemResolver::new()))
    }

    /// Resolves names by the given resolver; its answers are judged all the same.
    ///
    /// # Errors
    /// A sentence: the root certificates could not be had.
    pub fn with_resolver(config: HttpEndpointsConfig, resolver: Arc<dyn Resolver>) -> Result<Self, String> {
        let tls = tls_config(&config)?;
        Ok(Self::with_tls(config, tls, resolver))
    }

    fn with_tls(config: HttpEndpointsConfig, tls: ClientConfig, resolver: Arc<dyn Resolver>) -> Self {
        let tls = TlsConnector::from(Arc::new(tls));
        let pool = Pool::new(config.idle_connections_max);
        let guard = AddressGuard::new(config.open_networks, config.allow_http, resolver);
        Self { guard, tls, pool }
    }

    async fn exchange(&self, post: &Post, trace: &mut Trace) -> Result<Answer, Failure> {
        let origin = Origin::of(&post.to);
        while let Some(mut kept) = self.pool.take(&origin) {
            match send(&mut kept, post, trace).await {
                Ok(response) => return self.finish(post, origin, kept, response, trace).await,
                // The other side ended it while it waited. Nothing went out, so the next may try.
                Err(NotAnswered::Unsent) => {}
                // It ended in silence, so this says nothing about the endpoint: once more, on
                // a new connection. A repeated request is no harm, deliveries carry their id.
                Err(NotAnswered::Silent(_)) => break,
                Err(NotAnswered::Broken(failure)) => return Err(failure),
            }
        }
        // Boxed, because most requests need none of it.
        let mut fresh = Box::pin(self.open(post, trace)).await?;
        match send(&mut fresh, post, trace).await {
            Ok(response) => self.finish(post, origin, fresh, response, trace).await,
            Err(NotAnswered::Silent(failure) | NotAnswered::Broken(failure)) => Err(failure),
            Err(NotAnswered::Unsent) => Err(Failure::Broken("the new connection ended at once".to_owned())),
        }
    }

    /// A new connection: the name is resolved once, and only checked addresses are tried.
    async fn open(&self, post: &Post, trace: &mut Trace) -> Result<Connection, Failure> {
        let url = post.to.url();
        trace.is_connecting = true;
        let began = Instant::now();
        let deadline = began + post.connect_timeout;
        let resolved = timeout_at(deadline, self.guard.callable_addresses(url)).await;
        trace.phases.resolve_us = Some(micros(began.elapsed()));
        let no_answer = "no answer within the connect clock";
        let addresses = resolved.map_err(|_| Failure::NameNotResolved(no_answer.to_owned()))??;

        let began = Instant::now();
        let connected = connect(&addresses, deadline).await;
        trace.phases.connect_us = Some(micros(began.elapsed()));
        trace.is_connecting = false;
        let (stream, address) = connected?;
        trace.address = Some(address.to_string().into());

        let stream = if url.is_https() {
            let began = Instant::now();
            trace.securing_since = Some(began);
            let secured = secure(&self.tls, url, stream).await;
            trace.securing_since = None;
            trace.phases.tls_us = Some(micros(began.elapsed()));
            secured?
        } else {
            Stream::Plain(stream)
        };
        Connection::start(stream, address).await
    }

    /// Reads the answer, and keeps the connection if the answer was read to its end.
    async fn finish(
        &self,
        post: &Post,
        origin: Origin,
        mut connection: Connection,
        response: Response<Incoming>,
        trace: &mut Trace,
    ) -> Result<Answer, Failure> {
        if let Heads::Kept(head) = &mut trace.heads {
            *head = Some(probe::head_of(&response));
        }
        let status = response.status().as_u16();
        let retry_after_s = retry_after_s(&response);
        let location = response.status().is_redirection().then(|| location(&response)).flatten();
        let (body, is_cut) = read_body(&mut connection, response.into_body(), post.answer_bytes_max).await?;
        if !is_cut {
            self.pool.put(origin, connection, post.idle_connections_max);
        }
        Ok(Answer { status, retry_after_s, body, is_cut, location })
    }
}

#[async_trait]
impl Endpoints for HttpEndpoints {
    async fn post(&self, post: Post) -> Exchange {
        self.post_traced(&post, &mut Trace::default()).await
    }
}

impl HttpEndpoints {
    async fn post_traced(&self, post: &Post, trace: &mut Trace) -> Exchange {
        let began = Instant::now();
        let result = match timeout(post.timeout, self.exchange(post, trace)).await {
            Ok(result) => result,
            // The connect clock may be the longer one; what did not happen is the same.
            Err(_) if trace.is_connecting => Err(Failure::ConnectTimeout),
            Err(_) => Err(Failure::Timeout),
        };
        if let Some(began) = trace.securing_since.take() {
            trace.phases.tls_us = Some(micros(began.elapsed()));
        }
        trace.phases.total_us = micros(began.elapsed());
        let outcome = result.map_or_else(Outcome::Failed, Outcome::Answered);
        Exchange { outcome, phases: std::mem::take(&mut trace.phases), address: trace.address.take() }
    }
}

/// What is known of a request so far; outlives the request when the clock ends it.
#[derive(Default)]
struct Trace {
    phases: Phases,
    address: Option<Arc<str>>,
    is_connecting: bool,
    /// A handshake that the clock ended took its time all the same.
    securing_since: Option<Instant>,
    heads: Heads,
}

/// Whether somebody wants to see the head of the answer. Deliveries go by the status alone.
#[derive(Default)]
enum Heads {
    #[default]
    Passed,
    Kept(Option<Head>),
}

/// Sends the request; the first byte's time counts from here.
async fn send(
    connection: &mut Connection,
    post: &Post,
    trace: &mut Trace,
) -> Result<Response<Incoming>, NotAnswered> {
    trace.address = Some(connection.address().clone());
    let request = request_of(post).map_err(NotAnswered::Broken)?;
    let began = Instant::now();
    let sent = connection.send(request).await;
    let first_byte_at = connection.first_byte_at();
    trace.phases.first_byte_us = first_byte_at.map(|at| micros(at.duration_since(began)));
    sent
}

/// The body up to `bytes_max`, and whether there was more. The rest is never read.
async fn read_body(
    connection: &mut Connection,
    mut body: Incoming,
    bytes_max: usize,
) -> Result<(Vec<u8>, bool), Failure> {
    let mut bytes = Vec::new();
    while !body.is_end_stream()
        && let Some(frame) = connection.frame(&mut body).await
    {
        let frame = frame.map_err(|error| Failure::Broken(describe(&error)))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = bytes_max - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

fn request_of(post: &Post) -> Result<Request<Full<Bytes>>, Failure> {
    // What is parsed here was checked when it was configured: a mistake is ours.
    let target = PathAndQuery::from_maybe_shared(post.to.request_target().clone());
    let host = HeaderValue::from_maybe_shared(post.to.authority().clone());
    let mut request = Request::new(Full::new(post.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from(target.map_err(|_| Failure::Internal)?);
    let headers = request.headers_mut();
    // The last place is for hyper's `content-length`.
    headers.reserve(post.headers.lines().len() + 2);
    headers.insert(HOST, host.map_err(|_| Failure::Internal)?);
    for (name, value) in post.headers.lines() {
        let value = HeaderValue::from_maybe_shared(value.clone()).map_err(|_| Failure::Internal)?;
        let name = match name {
            Cow::Borrowed(name) => HeaderName::from_static(name),
            Cow::Owned(name) => HeaderName::try_from(name).map_err(|_| Failure::Internal)?,
        };
        headers.insert(name, value);
    }
    Ok(request)
}

fn retry_after_s<B>(response: &Response<B>) -> Option<u64> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    // `parse` alone would also take a leading plus.
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

fn location<B>(response: &Response<B>) -> Option<String> {
    let value = response.headers().get(LOCATION)?;
    let text = String::from_utf8_lossy(value.as_bytes());
    Some(text.chars().filter(|c| !c.is_control()).take(LOCATION_CHARS_MAX).collect())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn tls_config(config: &HttpEndpointsConfig) -> Result<ClientConfig, String> {
    let roots = trusted_roots(config)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

fn trusted_roots(config: &HttpEndpointsConfig) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for root in &config.extra_roots {
        let added = roots.add(root.clone());
        added.map_err(|error| format!("an extra root certificate is unusable: {error}"))?;
    }
    if config.use_system_roots {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            return Err(format!("this system has no root certificates{why}"));
        }
    }
    Ok(roots)
}
