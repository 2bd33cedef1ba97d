//! One HTTP/1.1 connection to an endpoint: opened to a checked address, driven by whoever waits for
//! an answer on it, closed when dropped. Between two requests nobody drives it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use chathook_domain::address::Host;
use chathook_domain::outcome::Failure;
use chathook_domain::webhook::EndpointUrl;
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::{TrySendError, http1};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{DnsName, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls_failure;

/// Bounds the head of an answer and each piece of its body; hyper allows 100 header lines.
const READ_BUFFER_BYTES_MAX: usize = 32 * 1024;

pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Boxed, so that the pool moves a pointer; `None` once it is over.
    running: Option<Box<http1::Connection<TokioIo<Metered>, Full<Bytes>>>>,
    meter: Arc<Meter>,
    address: Arc<str>,
    opened_at: Instant,
}

/// Why a request has no answer.
pub enum NotAnswered {
    /// No byte of the request went out: the connection was dead before.
    Unsent,
    /// It went out, at least in part, and the connection ended without a byte of an answer.
    Silent(Failure),
    /// The answer began, and was cut off or is no HTTP.
    Broken(Failure),
}

impl Connection {
    /// Speaks HTTP over an open stream.
    pub async fn start(stream: Stream, address: SocketAddr) -> Result<Self, Failure> {
        let opened_at = Instant::now();
        let meter = Arc::new(Meter::default());
        let io = TokioIo::new(Metered { stream, meter: meter.clone(), opened_at });
        let (sender, running) = http1::Builder::new()
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .handshake::<_, Full<Bytes>>(io)
            .await
            .map_err(|error| Failure::Broken(describe(&error)))?;
        let (running, address) = (Some(Box::new(running)), address.to_string().into());
        Ok(Self { sender, running, meter, address, opened_at })
    }

    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    pub fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// Whether the last request and its answer are through and another one may follow.
    pub fn is_ready(&self) -> bool {
        self.running.is_some() && self.sender.is_ready()
    }

    /// Whether the other side has ended the connection, or spoken out of turn, since the last
    /// request. Nobody is woken for it: who keeps connections has to look.
    pub fn is_ended(&mut self) -> bool {
        self.run(&mut Context::from_waker(Waker::noop()));
        self.running.is_none()
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NotAnswered> {
        self.meter.reset();
        let answered = self.sender.try_send_request(request);
        let mut answered = std::pin::pin!(answered);
        let answered = self.drive(|cx| answered.as_mut().poll(cx)).await;
        answered.map_err(|error: TrySendError<_>| {
            if error.message().is_some() {
                return NotAnswered::Unsent;
            }
            let failure = Failure::Broken(describe(error.error()));
            match self.meter.first_byte_after(self.opened_at) {
                None => NotAnswered::Silent(failure),
                Some(_) => NotAnswered::Broken(failure),
            }
        })
    }

    /// The next piece of an answer's body; `None` at its end.
    pub async fn frame(&mut self, body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        self.drive(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    /// When the first byte after the last request came in; `None` if none did.
    pub fn first_byte_at(&self) -> Option<Instant> {
        self.meter.first_byte_after(self.opened_at)
    }

    /// Runs the connection until `part` of the exchange on it is done. In the task that waits: a task
    /// of its own would cost two wake-ups for each request. Only this connection moves the part,
    /// so the part itself needs no waker.
    async fn drive<T>(&mut self, mut part: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        poll_fn(|cx| {
            let mut quiet = Context::from_waker(Waker::noop());
            if let Poll::Ready(done) = part(&mut quiet) {
                return Poll::Ready(done);
            }
            self.run(cx);
            part(&mut quiet)
        })
        .await
    }

    /// Lets the connection go on. One that is over is dropped, and with it a request that it has not
    /// taken: only so does whoever waits for its answer hear. Its error reaches them as well.
    fn run(&mut self, cx: &mut Context<'_>) {
        if let Some(running) = &mut self.running
            && Pin::new(&mut **running).poll(cx).is_ready()
        {
            self.running = None;
        }
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
    stream
        .map(|stream| Stream::Tls(Box::new(stream)))
        .map_err(|error| Failure::Tls(tls_failure::sentence(&error)))
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

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Notes when the first byte of an answer comes in. hyper does not tell a connection that ended
/// in silence from one that ended within the head, and only the first may be repeated.
#[derive(Default)]
struct Meter {
    /// Nanoseconds from the opening of the connection; 0 is none.
    first_byte_ns: AtomicU64,
}

impl Meter {
    fn reset(&self) {
        self.first_byte_ns.store(0, Ordering::Relaxed);
    }

    fn mark(&self, opened_at: Instant) {
        if self.first_byte_ns.load(Ordering::Relaxed) == 0 {
            let since = u64::try_from(opened_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.first_byte_ns.store(since.max(1), Ordering::Relaxed);
        }
    }

    fn first_byte_after(&self, opened_at: Instant) -> Option<Instant> {
        let since = self.first_byte_ns.load(Ordering::Relaxed);
        (since > 0).then(|| opened_at + Duration::from_nanos(since))
    }
}

struct Metered {
    stream: Stream,
    meter: Arc<Meter>,
    opened_at: Instant,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        })?;
        if buffer.filled().len() > before {
            self.meter.mark(self.opened_at);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buffer),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Head and body leave in one call, and over TLS in one record.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
