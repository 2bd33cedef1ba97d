//! A logged-in socket: reads calls, has them done, and sees to its own end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use axum::extract::ws::Message;
use chathook_adapters::local_bus::{Outbox, Subscription};
use chathook_domain::app::App;
use chathook_domain::ids::SessionId;
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::caller::Caller;
use chathook_engine::engine::Engine;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::end::{End, Incoming, Sink, Stream, finish, going_away, next};
use super::frames::{BadFrame, Call, Failure, answered, parse};
use super::log_in::Entry;
use super::methods::Method;
use super::turns::Turns;
use super::{Sockets, calls, writer};

pub(super) const BAD_FRAMES_MAX: u32 = 10;
/// Calls of one connection under way (design 4).
const CALLS_MAX: u32 = 32;
/// How long calls under way may take when the server goes away, and queued answers when a socket ends.
const LAST_CALLS_MS: i64 = 5_000;
const CLOSE_WAIT_MS: i64 = 100;
const CLOSE_WAIT_MS_MAX: i64 = 30_000;

/// What the halves of a socket and its calls share.
pub(super) struct Live {
    pub engine: Arc<Engine>,
    pub caller: Caller,
    pub subscription: Subscription,
    /// Names the token that a log-out ends.
    pub token_hash: Vec<u8>,
    /// See [`Entry::known_up_to`].
    pub known_up_to: i64,
    pub places: Arc<Semaphore>,
    /// The tick of the client's last frame.
    pub heard_at: AtomicI64,
    pub is_leaving: AtomicBool,
}

impl Live {
    pub fn outbox(&self) -> &Outbox {
        self.subscription.outbox()
    }

    /// Returns when no call is under way; none begins after.
    async fn finish_calls(&self) {
        if let Ok(all) = self.places.acquire_many(CALLS_MAX).await {
            all.forget();
        }
    }

    fn hear(&self) {
        self.heard_at.store(self.engine.clock.ticks(), Ordering::Relaxed);
    }
}

/// From the answered log-in to the end, which is told to the engine in any case.
pub(super) fn live(
    sockets: Arc<Sockets>,
    entry: Entry,
    mut sink: Sink,
    mut stream: Stream,
) -> impl Future<Output = ()> + Send + 'static {
    let Entry { caller, subscription, token_hash, greeting, known_up_to } = entry;
    let live = Arc::new(Live {
        heard_at: AtomicI64::new(sockets.engine.clock.ticks()),
        engine: Arc::clone(&sockets.engine),
        caller,
        subscription,
        token_hash,
        known_up_to,
        places: Arc::new(Semaphore::new(CALLS_MAX as usize)),
        is_leaving: AtomicBool::new(false),
    });
    // A block, which holds once what an async function would hold as its arguments and its locals.
    async move {
        let mut logged_out = None;
        let halves = async {
            tokio::select! {
                end = read(&live, &mut stream, &mut logged_out) => end,
                end = writer::write(&live, &mut sink, greeting) => end,
                end = last_calls(&live, &sockets) => end,
            }
        };
        let end = AssertUnwindSafe(halves).catch_unwind().await.unwrap_or(End::Gone);
        // Boxed, so that an idle socket does not hold the room of its end.
        Box::pin(leave(&live, end, logged_out, &mut sink, &mut stream)).await;
    }
}

/// Says goodbye, and meanwhile writes down that the connection ended.
async fn leave(live: &Live, end: End, logged_out: Option<String>, sink: &mut Sink, stream: &mut Stream) {
    let goodbye = async {
        if matches!(end, End::LoggedOut | End::BadFrames | End::GoingAway) {
            say_last(live, sink, logged_out).await;
        }
        finish(&*live.engine.clock, end, sink, stream).await;
    };
    let written = async {
        // A log-out has ended the connection itself. When the server goes, its connections count as
        // open until the grace of the next start is over, so that who comes back does not flicker.
        let is_kept = matches!(end, End::LoggedOut | End::GoingAway);
        if let (false, Some(session)) = (is_kept, &live.caller.session) {
            close_connection(&live.engine, &live.caller.app, session).await;
        }
    };
    tokio::join!(goodbye, written);
}

async fn last_calls(live: &Live, sockets: &Sockets) -> End {
    let mut shutdown = sockets.shutdown.clone();
    going_away(&mut shutdown).await;
    let clock = &live.engine.clock;
    tokio::select! {
        () = live.finish_calls() => {}
        () = clock.sleep_until(clock.ticks() + LAST_CALLS_MS) => {}
    }
    End::GoingAway
}

/// What is queued, and the answer of a log-out.
async fn say_last(live: &Live, sink: &mut Sink, logged_out: Option<String>) {
    let clock = &live.engine.clock;
    let deadline = clock.ticks() + LAST_CALLS_MS;
    let words = async {
        if writer::drain(live, sink).await.is_ok()
            && let Some(answer) = logged_out
        {
            let _ = writer::send(live, sink, Message::text(answer)).await;
        }
    };
    tokio::select! {
        () = words => {}
        () = clock.sleep_until(deadline) => {}
    }
}

/// Tries until it is written: a lost disconnect would leave the user online for good.
pub(super) async fn close_connection(engine: &Engine, app: &App, session: &SessionId) {
    let mut wait_ms = CLOSE_WAIT_MS;
    while engine.close_connection(app, session).await.is_err() {
        engine.clock.sleep_until(engine.clock.ticks() + wait_ms).await;
        wait_ms = (wait_ms * 2).min(CLOSE_WAIT_MS_MAX);
    }
}

/// Reads calls until the socket ends.
async fn read(live: &Arc<Live>, stream: &mut Stream, logged_out: &mut Option<String>) -> End {
    let mut talk = Talk::default();
    loop {
        let incoming = next(stream).await;
        // Boxed, so that an idle socket does not hold the room of a call.
        if let Some(end) = Box::pin(talk.take(live, incoming, logged_out)).await {
            return end;
        }
    }
}

/// What the reader keeps between two frames.
#[derive(Default)]
struct Talk {
    turns: Turns,
    bad_frames: u32,
}

impl Talk {
    /// Answers a frame, or sees to it that it will be answered. Gives the end that it brings.
    async fn take(
        &mut self,
        live: &Arc<Live>,
        incoming: Incoming,
        logged_out: &mut Option<String>,
    ) -> Option<End> {
        live.hear();
        let call = match incoming {
            Incoming::Text(text) => parse(&text),
            Incoming::Binary => Err(BadFrame::binary()),
            Incoming::Sign => return None,
            Incoming::Over(end) => return Some(end),
        };
        match call {
            Err(bad) => {
                live.outbox().push(Arc::from(bad.to_text()));
                self.bad_frames += 1;
                return (self.bad_frames > BAD_FRAMES_MAX).then_some(End::BadFrames);
            }
            Ok(call) if call.method == Method::Logout.name() => match log_out(live).await {
                Ok(()) => {
                    *logged_out = Some(answered(&call.id, &Ok(json!({}))));
                    return Some(End::LoggedOut);
                }
                Err(_) if live.outbox().is_ended() => return Some(End::Ended),
                Err(refusal) => answer(live, &call.id, &Err(refusal.into())),
            },
            Ok(call) if call.method == Method::Login.name() => {
                let refusal = Refusal::new(Code::SocketAlreadyLoggedIn, "This socket is logged in already.");
                answer(live, &call.id, &Err(refusal.into()));
            }
            Ok(call) => begin(live, call, &mut self.turns).await,
        }
        // With all places taken nothing is read, and TCP holds the client back.
        drop(live.places.acquire().await);
        live.hear();
        None
    }
}

/// The calls before it are done first. The token's sockets close with it, this one included.
async fn log_out(live: &Live) -> Result<(), Refusal> {
    let all = live.places.acquire_many(CALLS_MAX).await;
    live.is_leaving.store(true, Ordering::Relaxed);
    let ended = live.engine.log_out(&live.caller.app, live.token_hash.clone()).await;
    if ended.is_err() {
        live.is_leaving.store(false, Ordering::Relaxed);
    }
    drop(all);
    ended
}

/// Gives a call its place in order, and has it done beside the others.
async fn begin(live: &Arc<Live>, call: Call, turns: &mut Turns) {
    let Ok(place) = Arc::clone(&live.places).acquire_owned().await else { return };
    let Call { id, method, params } = call;
    let work = match calls::begin(live, &method, &params, turns).await {
        Ok(work) => work,
        Err(failure) => return answer(live, &id, &Err(failure)),
    };
    let live = Arc::clone(live);
    tokio::spawn(async move {
        let result = AssertUnwindSafe(work).catch_unwind().await;
        let result = result.unwrap_or_else(|_| {
            Err(Refusal::new(Code::Internal, "Something went wrong on our side.").into())
        });
        answer(&live, &id, &result);
        drop(place);
    });
}

fn answer(live: &Live, id: &Value, result: &Result<Value, Failure>) {
    live.outbox().push(Arc::from(answered(id, result)));
}
