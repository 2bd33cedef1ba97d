//! The first call of a socket, which must come in time.

use axum::extract::ws::Message;
use chathook_adapters::local_bus::Subscription;
use chathook_domain::event::Origin;
use chathook_domain::fields::Fields;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::View;
use chathook_engine::caller::Caller;
use chathook_engine::connections::{LogIn, LoggedIn};
use chathook_engine::ports::store::Recorded;
use futures_util::SinkExt;
use serde_json::{Value, json};

use super::Sockets;
use super::end::{End, Incoming, Sink, Stream, going_away, next};
use super::frames::{BadFrame, Call, Failure, answered, parse};
use super::live::BAD_FRAMES_MAX;
use super::methods::Method;

const IN_TIME_MS: i64 = 10_000;

/// A socket that is logged in, and what it is told first.
pub(super) struct Entry {
    pub caller: Caller,
    pub subscription: Subscription,
    pub token_hash: Vec<u8>,
    pub greeting: Box<Greeting>,
    /// What has this cursor, or an earlier one, is known to the client or told in the greeting.
    pub known_up_to: i64,
}

/// What the client is told before all else.
pub(super) struct Greeting {
    pub answer: String,
    pub missed: Vec<Recorded>,
}

pub(super) async fn log_in(
    sockets: &Sockets,
    sink: &mut Sink,
    stream: &mut Stream,
    origin: Option<String>,
) -> Result<Box<Entry>, End> {
    let clock = &sockets.engine.clock;
    let deadline = clock.ticks() + IN_TIME_MS;
    let mut shutdown = sockets.shutdown.clone();
    let mut bad_frames = 0;
    loop {
        let incoming = tokio::select! {
            biased;
            () = clock.sleep_until(deadline) => return Err(End::NotLoggedIn),
            () = going_away(&mut shutdown) => return Err(End::GoingAway),
            incoming = next(stream) => incoming,
        };
        let call = match incoming {
            Incoming::Text(text) => parse(&text),
            Incoming::Binary => Err(BadFrame::binary()),
            Incoming::Sign => continue,
            Incoming::Over(end) => return Err(end),
        };
        let (answer, end) = match call {
            Err(bad) => {
                bad_frames += 1;
                (bad.to_text(), (bad_frames > BAD_FRAMES_MAX).then_some(End::BadFrames))
            }
            Ok(call) if call.method == Method::Login.name() => {
                match enter(sockets, &call, origin.as_deref()).await {
                    Ok(entry) => return Ok(entry),
                    Err((failure, end)) => (answered(&call.id, &Err(failure)), end),
                }
            }
            Ok(call) => {
                let refusal = Refusal::new(Code::SocketNotLoggedIn, "The first call must be 'login'.");
                (answered(&call.id, &Err(refusal.into())), None)
            }
        };
        tokio::select! {
            sent = sink.send(Message::text(answer)) => sent.map_err(|_| End::Gone)?,
            () = clock.sleep_until(deadline) => return Err(End::NotLoggedIn),
        }
        if let Some(end) = end {
            return Err(end);
        }
    }
}

async fn enter(
    sockets: &Sockets,
    call: &Call,
    origin: Option<&str>,
) -> Result<Box<Entry>, (Failure, Option<End>)> {
    let (said, after) = params(&call.params).map_err(|refusal| (Failure::params(refusal), None))?;
    let engine = &sockets.engine;
    let session = engine.new_session_id();
    // The place on the bus is taken before the connection is opened, so that nothing falls between.
    let known =
        engine.caller_of_token(&said.auth_token).await.ok().filter(|c| c.app.id.as_str() == said.app_id);
    if let (Some(origin), Some(known)) = (origin, &known)
        && !known.app.settings.allows_origin(origin)
    {
        return Err(origin_refused());
    }
    let early = known.map(|known| sockets.bus.subscribe(&known.app.id, &known.uid, &session));
    // Without a place there is no such token: the engine says what is wrong, in its words.
    let Some(subscription) = early else {
        let refused = engine.log_in_as(said, session.clone()).await;
        let refusal = match refused {
            Err(refusal) => refusal,
            Ok(opened) => {
                // The token came to be between two reads; the client is asked to come again.
                close(sockets, &opened).await;
                Refusal::unavailable()
            }
        };
        return Err((refusal.into(), None));
    };
    let logged_in =
        engine.log_in_as(said, session.clone()).await.map_err(|refusal| (refusal.into(), None))?;
    let caller = Caller {
        app: logged_in.app.clone(),
        uid: logged_in.user.uid.clone(),
        origin: Origin::Socket,
        session: Some(session),
    };
    Ok(Box::new(entry(sockets, call, after, caller, logged_in, subscription).await))
}

async fn entry(
    sockets: &Sockets,
    call: &Call,
    after: Option<i64>,
    caller: Caller,
    logged_in: LoggedIn,
    subscription: Subscription,
) -> Entry {
    let mut result = json!({
        "user": logged_in.user.to_json(View::Public),
        "sessionId": logged_in.connection.session_id.as_str(),
        "deviceId": logged_in.connection.device_id.as_str(),
        "connectedAt": logged_in.connection.connected_at.ms,
        "cursor": logged_in.cursor.to_string(),
    });
    let mut missed = Vec::new();
    if let Some(after) = after {
        match sockets.engine.missed(&caller, after).await {
            Ok(found) if !found.is_truncated && after <= logged_in.cursor => missed = found.recorded,
            _ => result["truncated"] = json!(true),
        }
    }
    let known_up_to = missed.last().map_or(logged_in.cursor, |last| last.cursor.max(logged_in.cursor));
    let greeting = Box::new(Greeting { answer: answered(&call.id, &Ok(result)), missed });
    Entry { caller, subscription, token_hash: logged_in.token_hash, greeting, known_up_to }
}

async fn close(sockets: &Sockets, opened: &LoggedIn) {
    super::live::close_connection(&sockets.engine, &opened.app, &opened.connection.session_id).await;
}

fn origin_refused() -> (Failure, Option<End>) {
    let refusal = Refusal::new(Code::NoAccess, "Pages of this origin may not connect to this app.");
    (refusal.into(), Some(End::OriginRefused))
}

fn params(params: &Value) -> Result<(LogIn, Option<i64>), Refusal> {
    let fields = Fields::of(params)?;
    let after = match fields.text("after", 30)? {
        None => None,
        Some(cursor) => Some(parse_cursor(&cursor)?),
    };
    let log_in = LogIn {
        app_id: fields.text("appId", 100)?.unwrap_or_default(),
        auth_token: fields.text("authToken", 200)?.unwrap_or_default(),
        device_id: fields.text("deviceId", 200)?,
        platform: fields.text("platform", 20)?,
    };
    Ok((log_in, after))
}

fn parse_cursor(text: &str) -> Result<i64, Refusal> {
    let is_decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let cursor = is_decimal.then(|| text.parse().ok()).flatten();
    cursor.ok_or_else(|| Refusal::field(Code::BadRequest, "after", "must be a cursor that this server gave"))
}
