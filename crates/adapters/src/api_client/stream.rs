//! The way to a server: its address, a stream to it in the clear or over TLS, and in words why there is none,
//! with the cure.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use chathook_domain::webhook::EndpointUrl;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ApiError;

pub(super) struct Address {
    pub url: EndpointUrl,
    /// `None` where the server is spoken to in the clear.
    pub tls: Option<TlsConnector>,
}

impl Address {
    pub async fn connect(&self) -> Result<ApiStream, String> {
        let host = self.url.url().host_str().unwrap_or_default();
        // A literal IPv6 address stands in brackets in a URL and nowhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<SocketAddr> = match lookup_host((host, self.url.port())).await {
            Ok(found) => found.collect(),
            Err(error) => {
                return Err(format!("the name '{host}' is not found ({error}): check its spelling"));
            }
        };
        let tcp = TcpStream::connect(found.as_slice()).await.map_err(|error| why_no_tcp(&error))?;
        drop(tcp.set_nodelay(true));
        let Some(tls) = &self.tls else { return Ok(ApiStream(Carrier::Plain(tcp))) };
        let name = ServerName::try_from(host.trim_end_matches('.').to_owned())
            .map_err(|error| format!("'{host}' stands in no certificate ({error})"))?;
        let stream = tls.connect(name, tcp).await.map_err(|error| why_no_tls(&error, host))?;
        Ok(ApiStream(Carrier::Tls(Box::new(stream))))
    }
}

fn why_no_tcp(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return "nothing listens there: start the server, or name another with --server".to_owned();
    }
    error.to_string()
}

fn why_no_tls(error: &io::Error, host: &str) -> String {
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let why = match of_tls {
        Some(rustls::Error::InvalidMessage(_)) => {
            "what answers does not speak TLS: write --server with http://".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => why_not_trusted(why, host),
        // The library's errors are many, and not ours to list.
        Some(_) | None => error.to_string(),
    };
    format!("TLS failed: {why}")
}

fn why_not_trusted(why: &CertificateError, host: &str) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "the certificate is of no authority that is known here: name its root with --ca".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate is not for '{host}' ({why}): name the server in --server as it does")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate has expired ({why}): renew it on the server")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate is not valid yet ({why}): check the clocks of both machines")
        }
        other => format!("the certificate is refused ({other})"),
    }
}

/// How TLS is spoken; trusts the system's roots and these.
pub(super) fn connector(extra_roots: &[CertificateDer<'static>]) -> Result<TlsConnector, ApiError> {
    let unfit = |why: String| ApiError::Unfit(format!("TLS cannot be spoken here: {why}."));
    let mut roots = RootCertStore::empty();
    for root in extra_roots {
        roots.add(root.clone()).map_err(|error| unfit(error.to_string()))?;
    }
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(unfit("this machine has no root certificates; name one with --ca".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An open stream to the server.
pub struct ApiStream(Carrier);

enum Carrier {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for ApiStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Carrier::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Carrier::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for ApiStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Carrier::Plain(stream) => Pin::new(stream).poll_write(cx, buffer),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(cx, buffer),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Carrier::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Carrier::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
