//! The door of `chathook listen`: a WebSocket down which a listener's requests go, and up which their
//! answers come. What goes down is the affair of dispatch; here a connection begins, lives and ends.

pub mod shapes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Router, middleware};
use chathook_adapters::listen_wire::{ANSWER_MESSAGE_BYTES_MAX, Said, Told, Welcome, Word, close};
use chathook_adapters::listeners::{Answers, Connection, Listeners, Questions};
use chathook_domain::listener::{Keep, Listener, Wish};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::trigger::Trigger;
use chathook_engine::engine::Engine;
use chathook_engine::listeners::{Found, OpenedListener, Standing};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::extract::{Ids, Params, Upgrade, app_id, header_text};
use crate::api::management::require_management;
use crate::api::shapes::{hooks, refuses};
use crate::api::{Api, ApiError, survive_panics};
use crate::doors::Stopped;

const PING_EVERY_MS: i64 = 25_000;
/// Pings without a sign of life before the connection is closed.
const SILENT_PINGS: u32 = 2;
/// A receiver that does not take a frame for so long is too slow.
const WRITE_MS_MAX: i64 = 20_000;
/// How long the other side may take over the goodbye.
const GOODBYE_MS: i64 = 2_000;
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Above the largest request.
const WRITE_BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What all listeners share.
pub struct Listening {
    pub api: Arc<Api>,
    pub listeners: Listeners,
}

/// `GET /apps/{appId}/listen`, to be merged with the management API.
pub fn router(listening: Arc<Listening>) -> Router {
    let api = listening.api.clone();
    Router::from(routes())
        .route_layer(middleware::from_fn_with_state(api, require_management))
        .layer(middleware::from_fn(survive_panics))
        .with_state(listening)
}

/// The route with its description.
pub fn routes() -> OpenApiRouter<Arc<Listening>> {
    OpenApiRouter::default().routes(routes!(open_listener))
}

/// What is to be heard, and under which name.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListenQuery {
    /// What to listen to: all unless given.
    #[param(inline)]
    pub triggers: Option<Vec<hooks::Trigger>>,
    /// Its webhook is `listen-` and this; a name of its own where it is left out.
    #[param(pattern = "^[A-Za-z0-9_-]{1,43}$")]
    pub name: Option<String>,
    /// `true` keeps the webhook when nobody listens: what happens waits.
    #[param(inline)]
    pub keep: Option<Flag>,
}

#[derive(utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Flag {
    True,
    False,
}

/// The refusals of the upgrade beside those of its family. The places have a status of their own.
fn refusals() -> Value {
    let mut all = refuses(&[Code::TriggerNotFound, Code::WebhookAlreadyExists, Code::WebhookLimit]);
    let full = json!([StatusCode::SERVICE_UNAVAILABLE.as_u16(), Code::TooManyRequests.as_str()]);
    all.as_array_mut().expect("a list").push(full);
    all
}

/// Opens a connection down which the app's webhooks are delivered
///
/// A WebSocket, for `chathook listen`. What goes down it and up again is described in `/asyncapi.json`.
#[utoipa::path(
    get, path = "/apps/{appId}/listen", tag = "streams",
    params(
        ListenQuery,
        ("webhook-username" = Option<String>, Header,
         description = "Basic auth of the requests, with `webhook-password`."),
        ("webhook-password" = Option<String>, Header, description = "With `webhook-username`."),
    ),
    responses((status = 101, description = "The connection is open")),
    extensions(("x-refusals" = json!(refusals()))),
)]
async fn open_listener(
    State(listening): State<Arc<Listening>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(stopped): Extension<Stopped>,
    Upgrade(upgrade): Upgrade,
    Ids(app): Ids<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wish = wish(&params, &headers)?;
    let engine = &listening.api.engine;
    let listener = engine.listener(&app_id(&app)?, params.text("name"), keep(&params)?, &wish).await?;
    // The connection is there before its webhook points to it, so that nothing is tried in vain.
    let connection = listening.listeners.attach(&listener, &peer.to_string()).map_err(|_| no_place())?;
    let opened = engine.open_listener(&listener, &wish).await?;
    tracing::info!(webhook.id = %listener.webhook, app = %listener.app, "a listener has connected");
    let engine = engine.clone();
    Ok(upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(ANSWER_MESSAGE_BYTES_MAX)
        .max_frame_size(ANSWER_MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            let live = Live { engine, listener, stopped };
            live.run(socket, connection, welcome(&live.listener, &opened)).await;
        }))
}

fn wish(params: &Params, headers: &HeaderMap) -> Result<Wish, Refusal> {
    let named = params.list("triggers");
    let parse = |id: &&str| {
        Trigger::parse(id).ok_or_else(|| {
            Refusal::field(Code::TriggerNotFound, "triggers", &format!("names no trigger: '{id}'"))
        })
    };
    let triggers = named.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    // Not in the query, which others may log.
    let header = |name| header_text(headers, name).map(str::to_owned);
    Ok(Wish {
        triggers: if triggers.is_empty() { Trigger::ALL.to_vec() } else { triggers },
        username: header("webhook-username"),
        password: header("webhook-password"),
    })
}

fn keep(params: &Params) -> Result<Keep, Refusal> {
    match params.text("keep") {
        Some("true") => Ok(Keep::Kept),
        Some("false") | None => Ok(Keep::Passing),
        Some(_) => Err(Refusal::field(Code::BadRequest, "keep", "must be 'true' or 'false'")),
    }
}

fn no_place() -> ApiError {
    let refusal = Refusal::new(Code::TooManyRequests, "As many listen as this server has places for.");
    ApiError::with_status(refusal, StatusCode::SERVICE_UNAVAILABLE)
}

fn welcome(listener: &Listener, opened: &OpenedListener) -> Welcome {
    let OpenedListener { webhook, found } = opened;
    Welcome {
        webhook: listener.webhook.to_string(),
        name: listener.name().to_owned(),
        resumed: *found == Found::Webhook,
        triggers: webhook.triggers.iter().map(|trigger| trigger.id().to_owned()).collect(),
        signing_secret: (*found == Found::Nothing).then(|| webhook.secrets.present.to_text()),
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The receiver went, or answers no pings.
    Gone,
    /// It said goodbye.
    Goodbye,
    GoingAway,
    Replaced,
    Removed,
    SwitchedOff,
    TooSlow,
    BadFrame,
}

/// The close codes with which the server ends listeners' connections, and the reasons that go with them.
pub fn close_codes() -> impl Iterator<Item = (u16, &'static str)> {
    End::ALL.into_iter().filter_map(End::close)
}

impl End {
    const ALL: [Self; 8] = [
        Self::Gone,
        Self::Goodbye,
        Self::GoingAway,
        Self::Replaced,
        Self::Removed,
        Self::SwitchedOff,
        Self::TooSlow,
        Self::BadFrame,
    ];

    const fn close(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone => None,
            Self::Goodbye => Some((close::GOODBYE, "goodbye")),
            Self::GoingAway => Some((close::GOING_AWAY, "the server is going away")),
            Self::Replaced => Some((close::REPLACED, "another connection has taken this listener")),
            Self::Removed => Some((close::REMOVED, "the listener's webhook was removed")),
            Self::SwitchedOff => Some((close::SWITCHED_OFF, "the listener's webhook was switched off")),
            Self::TooSlow => Some((close::TOO_SLOW, "too slow a reader")),
            Self::BadFrame => Some((close::BAD_FRAME, "a frame that is no answer")),
        }
    }
}

type Sink = SplitSink<WebSocket, Message>;
type Stream = SplitStream<WebSocket>;

/// One connection.
struct Live {
    engine: Arc<Engine>,
    listener: Listener,
    stopped: Stopped,
}

impl Live {
    async fn run(&self, socket: WebSocket, connection: Connection, welcome: Welcome) {
        let (mut sink, mut stream) = socket.split();
        let Connection { questions, answers, replaced } = connection;
        let unanswered = AtomicU32::new(0);
        let end = tokio::select! {
            end = self.read(&answers, &unanswered, &mut stream) => end,
            end = self.write(welcome, questions, &unanswered, &mut sink) => end,
            () = replaced.notified() => End::Replaced,
            () = self.stopped.clone().wait() => End::GoingAway,
        };
        // The requests under way have ended with the half that wrote them. A receiver whose goodbye comes
        // to nothing hears another word, and may remove the webhook itself.
        let end = match end {
            End::Goodbye if self.engine.close_listener(&self.listener).await.is_err() => End::GoingAway,
            other => other,
        };
        tracing::info!(webhook.id = %self.listener.webhook, ?end, "a listener's connection has ended");
        self.finish(end, &mut sink, &mut stream).await;
    }

    /// Writes requests and pings until the connection ends.
    async fn write(
        &self,
        welcome: Welcome,
        mut questions: Questions,
        unanswered: &AtomicU32,
        sink: &mut Sink,
    ) -> End {
        let clock = &self.engine.clock;
        let mut next_ping = clock.ticks() + PING_EVERY_MS;
        let mut message = text(&welcome);
        loop {
            tokio::select! {
                sent = sink.send(message) => if sent.is_err() { return End::Gone },
                () = clock.sleep_until(clock.ticks() + WRITE_MS_MAX) => return End::TooSlow,
            }
            message = tokio::select! {
                request = questions.next() => match request {
                    Some(request) => Message::Binary(request.to_message()),
                    None => return End::Replaced,
                },
                () = clock.sleep_until(next_ping) => {
                    if unanswered.fetch_add(1, Ordering::Relaxed) >= SILENT_PINGS {
                        return End::Gone;
                    }
                    if let Some(end) = self.end_of_webhook().await {
                        return end;
                    }
                    next_ping = clock.ticks() + PING_EVERY_MS;
                    Message::Ping(Bytes::new())
                }
            };
        }
    }

    /// Reads answers until the connection ends.
    async fn read(&self, answers: &Answers, unanswered: &AtomicU32, stream: &mut Stream) -> End {
        loop {
            let message = stream.next().await;
            unanswered.store(0, Ordering::Relaxed);
            match message {
                Some(Ok(Message::Binary(bytes))) => match Told::parse(&bytes) {
                    Ok(told) => answers.take(told),
                    Err(_) => return End::BadFrame,
                },
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(Said { say: Word::Goodbye }) => return End::Goodbye,
                    Ok(Said { say: Word::Again }) => self.again().await,
                    Err(_) => return End::BadFrame,
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
            }
        }
    }

    async fn again(&self) {
        if let Err(refusal) = self.engine.hurry_listener(&self.listener).await {
            let why = refusal.message;
            tracing::warn!(webhook.id = %self.listener.webhook, why, "what waits is not hurried");
        }
    }

    /// What is heard of changes elsewhere is a hint; the store is asked from time to time.
    async fn end_of_webhook(&self) -> Option<End> {
        match self.engine.standing_of(&self.listener).await {
            Ok(Standing::Gone) => Some(End::Removed),
            Ok(Standing::Off) => Some(End::SwitchedOff),
            Ok(Standing::Listening) | Err(_) => None,
        }
    }

    /// Says why, and waits a little for the receiver's own goodbye, so that it can read ours.
    async fn finish(&self, end: End, sink: &mut Sink, stream: &mut Stream) {
        let goodbye = async {
            if let Some((code, reason)) = end.close() {
                let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
                if sink.send(Message::Close(Some(frame))).await.is_ok() {
                    while let Some(Ok(_)) = stream.next().await {}
                }
            } else {
                let _ = sink.close().await;
            }
        };
        let clock = &self.engine.clock;
        tokio::select! {
            () = goodbye => {}
            () = clock.sleep_until(clock.ticks() + GOODBYE_MS) => {}
        }
    }
}

fn text(words: &Welcome) -> Message {
    Message::text(serde_json::to_string(words).expect("words are texts and flags"))
}
