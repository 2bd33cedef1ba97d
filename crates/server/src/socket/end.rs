//! How sockets end.

use axum::Error;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use chathook_engine::ports::clock::Clock;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};

pub(super) type Sink = SplitSink<WebSocket, Message>;
pub(super) type Stream = SplitStream<WebSocket>;

/// How long the client may take over the goodbye.
const GOODBYE_MS: i64 = 2_000;
/// The same for one who is too slow, and has much to read before it.
const SLOW_GOODBYE_MS: i64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client went, or answers no pings.
    Gone,
    LoggedOut,
    GoingAway,
    OriginRefused,
    FrameTooLarge,
    NotLoggedIn,
    /// The token ended, or the same device came again.
    Ended,
    TooSlow,
    BadFrames,
}

/// The close codes with which the server ends sockets, and the reasons that go with them.
pub fn close_codes() -> impl Iterator<Item = (u16, &'static str)> {
    End::ALL.into_iter().filter_map(End::close)
}

impl End {
    const ALL: [Self; 9] = [
        Self::Gone,
        Self::LoggedOut,
        Self::GoingAway,
        Self::OriginRefused,
        Self::FrameTooLarge,
        Self::NotLoggedIn,
        Self::Ended,
        Self::TooSlow,
        Self::BadFrames,
    ];

    const fn close(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone => None,
            Self::LoggedOut => Some((1000, "logged out")),
            Self::GoingAway => Some((1001, "the server is going away")),
            Self::OriginRefused => Some((1008, "this origin is not allowed")),
            Self::FrameTooLarge => Some((1009, "a frame has at most 1 MiB")),
            Self::NotLoggedIn => Some((4001, "not logged in in time")),
            Self::Ended => Some((4003, "the token ended, or this device connected again")),
            Self::TooSlow => Some((4008, "too slow a reader")),
            Self::BadFrames => Some((4009, "too many bad frames")),
        }
    }
}

/// What a client sent.
pub(super) enum Incoming {
    Text(Utf8Bytes),
    Binary,
    /// A ping or pong.
    Sign,
    Over(End),
}

/// Loses nothing when it is cancelled.
pub(super) async fn next(stream: &mut Stream) -> Incoming {
    match stream.next().await {
        Some(Ok(Message::Text(text))) => Incoming::Text(text),
        Some(Ok(Message::Binary(_))) => Incoming::Binary,
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::Sign,
        Some(Ok(Message::Close(_))) | None => Incoming::Over(End::Gone),
        Some(Err(error)) if is_too_large(&error) => Incoming::Over(End::FrameTooLarge),
        Some(Err(_)) => Incoming::Over(End::Gone),
    }
}

/// The WebSocket library's name for a frame beyond the bounds; its type is not ours to name.
fn is_too_large(error: &Error) -> bool {
    error.to_string().contains("Space limit exceeded")
}

/// Says why, and waits a little for the client's own goodbye, so that it can read ours.
pub(super) async fn finish(clock: &dyn Clock, end: End, sink: &mut Sink, stream: &mut Stream) {
    let deadline = clock.ticks() + if end == End::TooSlow { SLOW_GOODBYE_MS } else { GOODBYE_MS };
    let goodbye = async {
        if let Some((code, reason)) = end.close() {
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            if sink.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = stream.next().await {}
            }
        } else {
            // Answers the client's own close frame, where it sent one.
            let _ = sink.close().await;
        }
    };
    tokio::select! {
        () = goodbye => {}
        () = clock.sleep_until(deadline) => {}
    }
}

/// Returns when the server goes away.
pub(super) async fn going_away(shutdown: &mut tokio::sync::watch::Receiver<bool>) {
    if shutdown.wait_for(|is_over| *is_over).await.is_err() {
        // Nobody can say so any more.
        std::future::pending::<()>().await;
    }
}
