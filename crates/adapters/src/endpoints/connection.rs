//! One HTTP/1.1 connection to an endpoint: opened to a checked address, closed when dropped.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use chathook_domain::address::Host;
use chathook_domain::outcome::Failure;
use chathook_domain::webhook::EndpointUrl;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{DnsName, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// Bounds the head of an answer and each piece of its body; hyper allows 100 header lines.
const READ_BUFFER_BYTES_MAX: usize = 32 * 1024;

/// Between two requests the connection needs only a turn of its own task to be ready again.
const READY_MAX: Duration = Duration::from_millis(50);

pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    task: AbortHandle,
    meter: Meter,
    address: SocketAddr,
    opened_at: Instant,
}

impl Connection {
    /// Speaks HTTP over an open stream.
    pub async fn start(stream: Stream, address: SocketAddr) -> Result<Self, Failure> {
        let meter = Meter::default();
        let io = TokioIo::new(Metered { stream, meter: meter.clone() });
        let (sender, running) = http1::Builder::new()
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .handshake::<_, Full<Bytes>>(io)
            .await
            .map_err(|error| Failure::Broken(describe(&error)))?;
        // Its errors also reach whoever waits for the answer; here they would be told twice.
        let task = tokio::spawn(async move { drop(running.await) }).abort_handle();
        Ok(Self { sender, task, meter, address, opened_at: Instant::now() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn opened_at(&self) -> Instant {
        self.opened_at
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether a kept-open connection can take another request.
    pub async fn is_ready(&mut self) -> bool {
        matches!(timeout(READY_MAX, self.sender.ready()).await, Ok(Ok(())))
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, hyper::Error> {
        self.meter.reset();
        self.sender.send_request(request).await
    }

    /// When the first byte after the last request came in; `None` if none did.
    pub fn first_byte_at(&self) -> Option<Instant> {
        self.meter.first_byte_at()
    }
}

impl Drop for Connection {
    /// hyper would choose when to leave a cut or timed-out answer; an aborted task closes now.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An open TCP connection to the first of `addresses` that takes one. Each gets an equal share
/// of what is left until `deadline`, so that one silent address does not use up all of it.
pub async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut failure = Failure::ConnectTimeout;
    for (index, &address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // The request goes out in one piece; waiting for more would only cost time.
                drop(stream.set_nodelay(true));
                return Ok((stream, address));
            }
            Ok(Err(error)) => failure = Failure::NotConnected(error.to_string()),
            Err(_) => failure = Failure::ConnectTimeout,
        }
    }
    Err(failure)
}

/// The TLS handshake, with the certificate held against the URL's host, not the address.
pub async fn secure(tls: &TlsConnector, url: &EndpointUrl, stream: TcpStream) -> Result<Stream, Failure> {
    let name = match url.host() {
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(address)),
        Host::Domain(name) => {
            // A name may be written with its root dot; certificates and SNI never are.
            let name = name.strip_suffix('.').unwrap_or(name).to_owned();
            let name = DnsName::try_from(name).map_err(|error| Failure::Tls(error.to_string()))?;
            ServerName::DnsName(name)
        }
    };
    let stream = tls.connect(name, stream).await;
    stream.map(|s| Box::new(s) as Stream).map_err(|error| Failure::Tls(error.to_string()))
}

/// An error with its causes, as one sentence.
pub fn describe(error: &hyper::Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        sentence = format!("{sentence}: {inner}");
        cause = inner.source();
    }
    sentence
}

/// Plain TCP, or TLS over it.
pub type Stream = Box<dyn Duplex>;

pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Notes when the first byte of an answer comes in. hyper does not tell a connection that ended
/// in silence from one that ended within the head, and only the first may be repeated.
#[derive(Clone, Default)]
struct Meter(Arc<Mutex<Option<Instant>>>);

impl Meter {
    fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn mark(&self) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(Instant::now);
    }

    fn first_byte_at(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Metered {
    stream: Stream,
    meter: Meter,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.meter.mark();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
