//! The listeners: bounded in connections by the file-handle limit, with TLS where it is set up.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// File handles kept for the store, endpoints and all else.
const HANDLES_KEPT: usize = 512;
/// A connection on which nothing moves for this long gives its place back. Sockets are pinged and
/// streams send signs of life well within it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections the process may take, from its file-handle limit.
#[must_use]
pub fn connections_max() -> usize {
    let limit = std::fs::read_to_string("/proc/self/limits").ok().and_then(|limits| {
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?.to_owned();
        line.split_whitespace().nth(3)?.parse::<usize>().ok()
    });
    // Where the system does not tell, the smallest usual limit is taken.
    let limit = limit.unwrap_or(1_024);
    limit.saturating_sub(HANDLES_KEPT).max(64)
}

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
}

async fn accept_all(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    accepted: mpsc::Sender<(Stream, SocketAddr)>,
) {
    loop {
        let place = places.clone().acquire_owned().await.expect("this semaphore is never closed");
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

impl Listener for Door {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(taken) => taken,
            // The accepting task ends only after this door is closed.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// The other side of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(*stream.remote_addr())
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
