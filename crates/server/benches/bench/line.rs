//! A kept-open HTTP/1.1 connection, plain or over TLS: the same for senders and for the bare client.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::http::response::Parts;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

pub struct Line {
    sender: http1::SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Line {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        Self::over(dial(address).await?).await
    }

    pub async fn open_tls(address: SocketAddr, tls: &TlsConnector) -> Result<Self> {
        let name = ServerName::from(address.ip());
        let stream = tls.connect(name, dial(address).await?).await.context("the TLS handshake failed")?;
        Self::over(stream).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What ends the connection is told to whoever waits for an answer.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { sender, task })
    }

    /// One exchange, its answer's body included.
    pub async fn call(&mut self, request: Request<Full<Bytes>>) -> Result<(Parts, Bytes)> {
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        Ok((parts, body.collect().await?.to_bytes()))
    }

    /// One exchange that must succeed: the `data` of its envelope.
    pub async fn data(&mut self, request: Request<Full<Bytes>>) -> Result<Value> {
        let path = request.uri().path().to_owned();
        let (parts, body) = self.call(request).await?;
        if parts.status != StatusCode::OK {
            bail!("{path} was answered with {}: {}", parts.status, String::from_utf8_lossy(&body));
        }
        let mut body: Value = serde_json::from_slice(&body)?;
        Ok(body["data"].take())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Trusts this authority and no other.
pub fn tls(ca_pem: &str) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn dial(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("{address} takes no one"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
