//! One HTTP request on a connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::endpoint::ca;
use super::in_time;

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
    /// `Null` where the body is no JSON.
    pub json: Value,
}

impl Reply {
    /// The `data` of a success.
    #[track_caller]
    pub fn data(&self) -> &Value {
        assert_eq!(self.status, 200, "{}", self.json);
        &self.json["data"]
    }

    /// Asserts a refusal in the spec's envelope (spec 4.2), and gives its error object.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Value {
        let error = &self.json["error"];
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{}", self.json);
        assert_error_object(error);
        error
    }

    /// As [`Self::refused`], and the error names this field.
    #[track_caller]
    pub fn refused_for(&self, status: u16, code: &str, field: &str) {
        let error = self.refused(status, code);
        assert!(error["details"][field][0].is_string(), "no details of '{field}': {error}");
        assert!(error["message"].as_str().is_some_and(|m| m.contains(field)), "{error}");
    }
}

#[track_caller]
pub fn assert_error_object(error: &Value) {
    for name in ["message", "devMessage", "source", "code"] {
        assert!(error[name].as_str().is_some_and(|text| !text.is_empty()), "no '{name}' in {error}");
    }
}

pub async fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Reply {
    in_time(&format!("{method} {path}"), async {
        Answering::to(connect(to).await, to, (method, path), headers, body).await.whole().await
    })
    .await
}

/// The same over TLS, with the certificate authority of the tests.
pub async fn send_over_tls(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Reply {
    in_time(&format!("{method} {path}"), async {
        let name = ServerName::from(to.ip());
        let tls = connector().connect(name, connect(to).await).await.expect("a TLS handshake");
        Answering::to(tls, to, (method, path), headers, body).await.whole().await
    })
    .await
}

/// An answer whose body is still on its way; dropping it ends its connection.
pub struct Answering {
    pub status: u16,
    pub headers: HeaderMap,
    body: Incoming,
    driver: JoinHandle<hyper::Result<()>>,
}

impl Answering {
    pub async fn get(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::to(connect(to).await, to, ("GET", path), headers, Vec::new()).await
    }

    async fn to(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        host: SocketAddr,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Self {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(io)).await.expect("the server speaks HTTP");
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", host.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
        Self { status: head.status.as_u16(), headers: head.headers, body, driver }
    }

    async fn whole(mut self) -> Reply {
        let bytes = (&mut self.body).collect().await.expect("a whole answer").to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { status: self.status, headers: std::mem::take(&mut self.headers), bytes, json }
    }

    /// What comes next; nothing when the answer has come to its proper end.
    pub async fn next(&mut self) -> Option<String> {
        let frame = in_time("more of an answer, or its end", self.body.frame()).await?;
        let bytes = frame.expect("an answer that does not break off").into_data().expect("data");
        Some(String::from_utf8(bytes.to_vec()).expect("text"))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn connect(to: SocketAddr) -> TcpStream {
    TcpStream::connect(to).await.expect("the server listens")
}

fn connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(ca().der.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
