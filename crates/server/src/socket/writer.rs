//! The writing half of a socket: what was missed, then what the outbox holds, and pings.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes};
use chathook_adapters::local_bus::Outgoing;
use futures_util::SinkExt;
use serde_json::json;

use super::end::{End, Sink};
use super::frames::{cursor_of, notification};
use super::live::Live;
use super::log_in::Greeting;

const PING_EVERY_MS: i64 = 25_000;
/// Pings without a sign of life before the socket is closed.
const SILENT_PINGS: i64 = 2;
/// How often a write that waits looks after its queue.
const LOOK_EVERY_MS: i64 = 1_000;

/// Writes until the socket ends.
pub(super) async fn write(live: &Live, sink: &mut Sink, greeting: Box<Greeting>) -> End {
    let Err(end) = run(live, sink, greeting).await;
    end
}

async fn run(live: &Live, sink: &mut Sink, greeting: Box<Greeting>) -> Result<Infallible, End> {
    // Boxed, so that an idle socket does not hold the room of its greeting.
    Box::pin(greet(live, sink, greeting)).await?;
    let clock = &live.engine.clock;
    let mut next_ping = clock.ticks() + PING_EVERY_MS;
    loop {
        tokio::select! {
            outgoing = live.outbox().next() => match outgoing {
                Outgoing::Frame(frame) if is_known(live, &frame) => {}
                Outgoing::Frame(frame) => send(live, sink, text(&frame)).await?,
                Outgoing::Overflowed => return Err(End::TooSlow),
                Outgoing::Ended => return Err(ended(live).await),
            },
            () = clock.sleep_until(next_ping) => {
                if is_silent(live) {
                    return Err(End::Gone);
                }
                next_ping = clock.ticks() + PING_EVERY_MS;
                send(live, sink, Message::Ping(Bytes::new())).await?;
            }
        }
    }
}

async fn greet(live: &Live, sink: &mut Sink, greeting: Box<Greeting>) -> Result<(), End> {
    let Greeting { answer, missed } = *greeting;
    send(live, sink, Message::text(answer)).await?;
    for mut recorded in missed {
        if let Some(params) = recorded.params.as_object_mut() {
            params.shift_remove("cursor");
            params.insert("cursor".to_owned(), json!(recorded.cursor.to_string()));
        }
        let frame = notification(&recorded.method, &recorded.params);
        send(live, sink, Message::text(frame)).await?;
    }
    Ok(())
}

/// Writes what is queued already, as far as it goes.
pub(super) async fn drain(live: &Live, sink: &mut Sink) -> Result<(), End> {
    while let Some(Outgoing::Frame(frame)) = live.outbox().take() {
        if !is_known(live, &frame) {
            send(live, sink, text(&frame)).await?;
        }
    }
    Ok(())
}

/// Sends one frame; a reader who takes so long that the queue overflows loses the socket.
pub(super) async fn send(live: &Live, sink: &mut Sink, message: Message) -> Result<(), End> {
    let clock = &live.engine.clock;
    let mut sending = sink.send(message);
    loop {
        tokio::select! {
            biased;
            sent = &mut sending => return sent.map_err(|_| End::Gone),
            () = clock.sleep_until(clock.ticks() + LOOK_EVERY_MS) => {
                if live.outbox().is_overflowed() {
                    return Err(End::TooSlow);
                }
                if live.outbox().is_ended() {
                    return Err(ended(live).await);
                }
                if is_silent(live) {
                    return Err(End::Gone);
                }
            }
        }
    }
}

fn text(frame: &str) -> Message {
    Message::Text(Utf8Bytes::from(frame))
}

/// Whether a notice tells what the log-in knew or the replay has told.
fn is_known(live: &Live, frame: &str) -> bool {
    cursor_of(frame).is_some_and(|cursor| cursor <= live.known_up_to)
}

/// A client that was not read from, since its calls were under way, is not silent.
fn is_silent(live: &Live) -> bool {
    let silent_ms = live.engine.clock.ticks() - live.heard_at.load(Ordering::Relaxed);
    silent_ms > SILENT_PINGS * PING_EVERY_MS && live.places.available_permits() > 0
}

/// A log-out ends its own socket too, and is answered first.
async fn ended(live: &Live) -> End {
    if live.is_leaving.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    End::Ended
}
