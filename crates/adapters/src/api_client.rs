//! A client of chathook's own REST API, for the command line: one HTTP/1.1 connection that is kept
//! open, plain or TLS, whose answers are read as the envelopes that the API writes. It follows no
//! redirect and knows no proxy.

mod stream;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chathook_domain::webhook::EndpointUrl;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;

pub use self::stream::ApiStream;
use self::stream::{Address, connector};
pub use self::target::Target;

/// Look-up, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A call whole; the longest are tests of an endpoint, which wait up to 30 s for it.
const CALL_TIMEOUT: Duration = Duration::from_secs(90);
/// An answer larger than this is not one of chathook's: a page of a list holds 1,000 events of 1 MiB at most,
/// and in practice far less.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a client shows the server to be let in.
#[derive(Clone)]
pub enum Access {
    /// For `/apps`.
    Management { key: String, secret: String },
    /// For `/v3`, as the customer's own server.
    App { api_key: String },
    /// For what everyone may ask, such as `/healthz`.
    Nothing,
}

impl Access {
    /// The headers that carry it, for who opens a connection of their own.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Management { key, secret } => vec![("key", key), ("secret", secret)],
            Self::App { api_key } => vec![("apikey", api_key)],
            Self::Nothing => Vec::new(),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(..)")
    }
}

/// Why a call has no answer that helps.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiError {
    /// What the client was made with is not right: a sentence that says what.
    Unfit(String),
    /// No answer came.
    Unreachable { server: String, why: String },
    /// The server answered that it does not do this.
    Refused(Box<Refused>),
    /// An answer came that is none of chathook's.
    NotUnderstood { server: String, why: String },
}

/// A refusal as the API tells it (spec 4.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    pub status: u16,
    /// Such as `ERR_WEBHOOK_NOT_FOUND`.
    pub code: String,
    pub message: String,
    /// The error object as it came.
    pub error: Value,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(sentence) => f.write_str(sentence),
            Self::Unreachable { server, why } => write!(f, "{server} cannot be reached: {why}."),
            Self::Refused(refused) => write!(f, "{} ({})", refused.message, refused.code),
            Self::NotUnderstood { server, why } => {
                write!(f, "What answers at {server} is not chathook: {why}.")
            }
        }
    }
}

impl std::error::Error for ApiError {}

/// A success as the API tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub data: Value,
    /// What lists say of themselves; null elsewhere.
    pub meta: Value,
}

/// A server, and what opens it. Clones share the connection.
#[derive(Clone)]
pub struct ApiClient {
    address: Arc<Address>,
    access: Access,
    connection: Arc<Mutex<Option<SendRequest<Full<Bytes>>>>>,
}

impl ApiClient {
    /// A client of the server at this URL, trusting the system's roots and `extra_roots`. Nothing is
    /// connected yet.
    pub fn new(
        server: &str,
        access: Access,
        extra_roots: &[CertificateDer<'static>],
    ) -> Result<Self, ApiError> {
        let url = EndpointUrl::parse("server", server)
            .ok()
            .filter(|url| url.url().query().is_none() && url.url().fragment().is_none());
        let url = url.ok_or_else(|| {
            let sentence =
                format!("'{server}' is no address of a server: write it as http://127.0.0.1:8080.");
            ApiError::Unfit(sentence)
        })?;
        for (name, text) in access.headers() {
            if text.is_empty() || HeaderValue::from_str(text).is_err() {
                return Err(ApiError::Unfit(format!(
                    "The {name} is empty or holds what no header can carry."
                )));
            }
        }
        let tls = if url.is_https() { Some(connector(extra_roots)?) } else { None };
        Ok(Self { address: Arc::new(Address { url, tls }), access, connection: Arc::default() })
    }

    /// The same server, opened by something else.
    #[must_use]
    pub fn with_access(&self, access: Access) -> Self {
        Self { access, ..self.clone() }
    }

    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The server's URL as it was given.
    #[must_use]
    pub fn server(&self) -> &str {
        self.address.url.as_str()
    }

    /// Whether what is said to the server can be read on the way: plain HTTP to somewhere else.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let url = &self.address.url;
        let is_here = url.literal_address().map_or_else(
            || url.url().host_str().is_some_and(|name| name.eq_ignore_ascii_case("localhost")),
            |address| address.is_loopback(),
        );
        !url.is_https() && !is_here
    }

    /// The `Host` of requests to the server.
    #[must_use]
    pub fn authority(&self) -> String {
        self.address.url.authority()
    }

    /// The request target of a call: the server's own path, if it stands below one, and the call's.
    #[must_use]
    pub fn request_target(&self, target: &Target) -> String {
        format!("{}{}", self.address.url.url().path().trim_end_matches('/'), target.as_str())
    }

    pub async fn get(&self, target: &Target) -> Result<Answer, ApiError> {
        self.call(Method::GET, target, None).await
    }

    pub async fn post(&self, target: &Target, body: &Value) -> Result<Answer, ApiError> {
        self.call(Method::POST, target, Some(body)).await
    }

    pub async fn put(&self, target: &Target, body: &Value) -> Result<Answer, ApiError> {
        self.call(Method::PUT, target, Some(body)).await
    }

    pub async fn delete(&self, target: &Target, body: Option<&Value>) -> Result<Answer, ApiError> {
        self.call(Method::DELETE, target, body).await
    }

    /// A whole JSON document that stands in no envelope.
    pub async fn document(&self, target: &Target) -> Result<Value, ApiError> {
        let (status, json) = self.exchange(Method::GET, target, None).await?;
        if (200..300).contains(&status) { Ok(json) } else { Err(self.refusal(status, json)) }
    }

    /// A stream of its own to the server, on which nothing has been said yet: for a WebSocket.
    pub async fn open_stream(&self) -> Result<ApiStream, ApiError> {
        match timeout(CONNECT_TIMEOUT, self.address.connect()).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(why)) => Err(self.unreachable(why)),
            Err(_) => Err(self.unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))),
        }
    }

    async fn call(&self, method: Method, target: &Target, body: Option<&Value>) -> Result<Answer, ApiError> {
        let (status, mut json) = self.exchange(method, target, body).await?;
        if !(200..300).contains(&status) {
            return Err(self.refusal(status, json));
        }
        let data = json.get_mut("data").map(Value::take);
        let meta = json.get_mut("meta").map(Value::take).unwrap_or_default();
        data.map(|data| Answer { data, meta })
            .ok_or_else(|| self.not_understood(format!("its answer {status} has no 'data'")))
    }

    async fn exchange(
        &self,
        method: Method,
        target: &Target,
        body: Option<&Value>,
    ) -> Result<(u16, Value), ApiError> {
        let exchange = async {
            let answer = self.send(&method, target, body).await?;
            let status = answer.status();
            let elsewhere = answer.headers().get(LOCATION).filter(|_| status.is_redirection());
            if let Some(to) = elsewhere {
                let to = String::from_utf8_lossy(to.as_bytes());
                return Err(
                    self.not_understood(format!("it sends elsewhere, to {to}: name that with --server"))
                );
            }
            let bytes = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let bytes = bytes.map_err(|error| self.unreachable(format!("its answer broke off ({error})")))?;
            let json = serde_json::from_slice(&bytes.to_bytes())
                .map_err(|_| self.not_understood(format!("its answer {status} is no JSON")))?;
            Ok((status.as_u16(), json))
        };
        let late = || self.unreachable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()));
        timeout(CALL_TIMEOUT, exchange).await.map_err(|_| late())?
    }

    /// Sends on the open connection if there is one. The server may have closed it meanwhile: a request
    /// that did not go out, or that changes nothing, then goes out once more on a new one.
    async fn send(
        &self,
        method: &Method,
        target: &Target,
        body: Option<&Value>,
    ) -> Result<Response<hyper::body::Incoming>, ApiError> {
        let mut kept = self.connection.lock().await;
        if let Some(mut sender) = kept.take().filter(SendRequest::is_ready) {
            match sender.try_send_request(self.request(method, target, body)?).await {
                Ok(answer) => {
                    *kept = Some(sender);
                    return Ok(answer);
                }
                Err(error) if error.message().is_some() || *method == Method::GET => {}
                Err(error) => return Err(self.unreachable(format!("no answer ({})", error.error()))),
            }
        }
        let stream = self.open_stream().await?;
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(|error| self.unanswered(&error))?;
        // It ends with its last sender; what goes wrong on it reaches whoever waits for an answer.
        tokio::spawn(connection);
        let answer = sender.send_request(self.request(method, target, body)?).await;
        let answer = answer.map_err(|error| self.unanswered(&error))?;
        *kept = Some(sender);
        Ok(answer)
    }

    fn request(
        &self,
        method: &Method,
        target: &Target,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, ApiError> {
        if let Some(stray) = target.stray() {
            return Err(ApiError::Unfit(format!("'{stray}' is no id.")));
        }
        let mut request = Request::builder()
            .method(method)
            .uri(self.request_target(target))
            .header(HOST, self.authority())
            .header(USER_AGENT, concat!("chathook/", env!("CARGO_PKG_VERSION")));
        for (name, value) in self.access.headers() {
            request = request.header(name, value);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        request
            .body(Full::new(bytes))
            .map_err(|error| ApiError::Unfit(format!("This is no request that can be sent: {error}.")))
    }

    fn refusal(&self, status: u16, mut json: Value) -> ApiError {
        let error = json.get_mut("error").map(Value::take).unwrap_or_default();
        match (error["code"].as_str(), error["message"].as_str()) {
            (Some(code), Some(message)) => {
                let (code, message) = (code.to_owned(), message.to_owned());
                ApiError::Refused(Box::new(Refused { status, code, message, error }))
            }
            _ => self.not_understood(format!("its answer {status} has no 'error'")),
        }
    }

    /// A server that speaks TLS answers a plain request with bytes that are no HTTP.
    fn unanswered(&self, error: &hyper::Error) -> ApiError {
        if error.is_parse() && self.address.tls.is_none() {
            let why =
                format!("its answer is no HTTP ({error}): where it speaks TLS, write --server with https://");
            return self.unreachable(why);
        }
        self.unreachable(format!("no answer ({error})"))
    }

    fn unreachable(&self, why: String) -> ApiError {
        ApiError::Unreachable { server: self.server().to_owned(), why }
    }

    fn not_understood(&self, why: String) -> ApiError {
        ApiError::NotUnderstood { server: self.server().to_owned(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_stand_below_a_path() {
        let access = Access::Management { key: "k".to_owned(), secret: "s".to_owned() };
        let client = ApiClient::new("http://127.0.0.1:1/chat/", access, &[]).expect("fit");
        assert_eq!(client.request_target(&Target::of(&["apps"])), "/chat/apps");
    }

    #[test]
    fn only_plain_http_to_elsewhere_is_exposed() {
        let is_exposed = |server: &str| {
            let access = Access::App { api_key: "k".to_owned() };
            ApiClient::new(server, access, &[]).expect("fit").is_exposed()
        };
        assert!(is_exposed("http://chat.example.com") && is_exposed("http://10.0.0.1:8080"));
        for here in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://LocalHost"] {
            assert!(!is_exposed(here), "{here}");
        }
    }
}
