//! The listeners: bounded in connections by the places they are given, with TLS where it is set up.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::Service as _;

/// A connection on which nothing moves for this long gives its place back. Sockets are pinged and
/// streams send signs of life well within it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's head is whole this long after its connection began to wait for it, or the connection
/// ends. This is the time between two requests of a kept connection as well, so it is a minute, as
/// callers' pools expect.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// An open door: gives accepted connections, at most as many as there are places.
pub struct Door {
    accepted: mpsc::Receiver<(Stream, SocketAddr)>,
    address: SocketAddr,
}

impl Door {
    /// Opens a listener; connections past the places wait in the system's queue.
    pub async fn open(at: SocketAddr, tls: Option<TlsAcceptor>, places: Arc<Semaphore>) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let (sender, accepted) = mpsc::channel(64);
        tokio::spawn(accept_all(listener, tls, places, sender));
        Ok(Self { accepted, address })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves what comes in until the stop; then takes no more, and returns once every connection
    /// has finished what it was answering.
    pub async fn serve(mut self, router: Router, stopped: watch::Receiver<bool>) {
        let stopped = Stopped(stopped);
        let mut stop = pin!(stopped.clone().wait());
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                taken = self.accepted.recv() => {
                    let Some((stream, peer)) = taken else { break };
                    connections.spawn(serve_connection(stream, peer, router.clone(), stopped.clone()));
                }
                Some(_) = connections.join_next() => {}
                () = stop.as_mut() => break,
            }
        }
        drop(self);
        while connections.join_next().await.is_some() {}
    }
}

/// Turns true when the server goes away; every request carries it, for answers that would not end.
#[derive(Clone)]
pub struct Stopped(pub watch::Receiver<bool>);

impl Stopped {
    pub async fn wait(mut self) {
        // Without a sender there is no server left, either.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// Answers the requests of one connection, which upgrades may take over.
async fn serve_connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    stopped: Stopped,
) {
    let carried = stopped.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(carried.clone());
        router.clone().call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn accept_all(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    accepted: mpsc::Sender<(Stream, SocketAddr)>,
) {
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("this semaphore is never closed"),
            () = accepted.closed() => return,
        };
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            () = accepted.closed() => return,
        };
        let (tcp, peer) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                // Out of handles or memory: others' connections end in time, so wait and go on.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = tcp.set_nodelay(true);
        let accepted = accepted.clone();
        match tls.clone() {
            None => drop(accepted.send((Stream::new(Io::Plain(tcp), place), peer)).await),
            Some(tls) => drop(tokio::spawn(shake_hands(tls, tcp, peer, place, accepted))),
        }
    }
}

async fn shake_hands(
    tls: TlsAcceptor,
    tcp: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    accepted: mpsc::Sender<(Stream, SocketAddr)>,
) {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await {
        Ok(Ok(stream)) => {
            drop(accepted.send((Stream::new(Io::Tls(Box::new(stream)), place), peer)).await);
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// One accepted connection, which holds its place until it ends.
pub struct Stream {
    io: Io,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    fn new(io: Io, place: OwnedSemaphorePermit) -> Self {
        Self { io, idle: Box::pin(sleep(IDLE_TIMEOUT)), _place: place }
    }

    /// Something moved, so the clock starts anew; or nothing did, and it may have run out.
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
            return poll;
        }
        match self.idle.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        };
        self.watch(cx, poll)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
        };
        self.watch(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// A connection on which the server tells its peer's address, and what stops it.
    fn connect() -> (DuplexStream, watch::Sender<bool>) {
        let (ours, theirs) = duplex(1_024);
        let (stop, stopped) = watch::channel(false);
        let tell = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        let router = Router::new().route("/", get(tell));
        let peer = SocketAddr::from(([192, 0, 2, 1], 7));
        tokio::spawn(serve_connection(theirs, peer, router, Stopped(stopped)));
        (ours, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_ends_its_connection() {
        let (mut client, _stop) = connect();
        let began = Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\n").await.expect("a first line is taken");
        while client.write_all(b"a: b\r\n").await.is_ok() {
            assert!(began.elapsed() < HEAD_TIMEOUT * 2, "the connection still takes bytes");
            sleep(Duration::from_secs(1)).await;
        }
        assert!(began.elapsed() >= HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_answered_and_a_stop_ends_its_connection() {
        let (mut client, stop) = connect();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("a request is taken");
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
        let began = Instant::now();
        stop.send(true).expect("the connection listens");
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.expect("the rest of the answer");
        assert!(rest.ends_with("192.0.2.1:7"), "{rest}");
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}
