//! The receiver's end of a listener's connection: opened on a stream to the server that somebody else
//! has made, it hands out requests and takes answers back.

use std::fmt;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::{Request as Handshake, Response, Uri};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::listen_wire::{Request, Said, Told, Welcome, Word};

/// From the handshake to the server's first words.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// The server pings every 25 s: one that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A server that takes nothing for so long is gone, too.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// What is asked of the server.
pub struct Opening<'a> {
    pub authority: &'a str,
    pub request_target: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOpened {
    /// The server answered something else, with this status and what came of a body.
    Refused { status: u16, body: Vec<u8> },
    /// It broke off, or is no WebSocket.
    Broken(String),
}

/// What came down the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Request(Request),
    Ended(Ended),
}

/// How the connection ended, in the server's words where it had any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<u16>,
    pub why: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The half that hears.
pub struct Ear<S>(SplitStream<WebSocketStream<S>>);

/// The half that answers.
pub struct Mouth<S>(SplitSink<WebSocketStream<S>, Message>);

/// Opens the connection, and waits for the server's first words.
///
/// # Errors
/// There is none.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    opening: &Opening<'_>,
) -> Result<(Welcome, Ear<S>, Mouth<S>), NotOpened> {
    let opened = timeout(OPEN_TIMEOUT, shake_hands(stream, opening)).await;
    opened.unwrap_or_else(|_| Err(NotOpened::Broken("the server says nothing".to_owned())))
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    opening: &Opening<'_>,
) -> Result<(Welcome, Ear<S>, Mouth<S>), NotOpened> {
    let handshake = handshake(opening).map_err(|error| NotOpened::Broken(error.to_string()))?;
    let (socket, _) = client_async(handshake, stream).await.map_err(not_opened)?;
    let (mouth, mut ear) = socket.split();
    loop {
        match ear.next().await {
            Some(Ok(Message::Text(words))) => {
                let welcome = serde_json::from_str(&words);
                let welcome = welcome.map_err(|_| NotOpened::Broken("no listener's welcome".to_owned()))?;
                return Ok((welcome, Ear(ear), Mouth(mouth)));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_) | Message::Frame(_))) => {
                return Err(NotOpened::Broken("no listener's welcome".to_owned()));
            }
            Some(Ok(Message::Close(frame))) => {
                let why = frame.map_or_else(String::new, |frame| frame.reason.to_string());
                return Err(NotOpened::Broken(format!("it was closed at once: {why}")));
            }
            Some(Err(error)) => return Err(NotOpened::Broken(error.to_string())),
            None => return Err(NotOpened::Broken("it was closed at once".to_owned())),
        }
    }
}

/// The upgrade of RFC 6455, section 4.1.
fn handshake(opening: &Opening<'_>) -> Result<Handshake<()>, tokio_tungstenite::tungstenite::http::Error> {
    // Only the path goes out; the scheme tells the library that nothing else is to be done.
    let uri = Uri::builder().scheme("ws").authority(opening.authority).path_and_query(opening.request_target);
    let mut request = Handshake::builder()
        .uri(uri.build()?)
        .header("host", opening.authority)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key())
        .header("user-agent", concat!("chathook/", env!("CARGO_PKG_VERSION")));
    for (name, value) in &opening.headers {
        request = request.header(*name, *value);
    }
    request.body(())
}

fn not_opened(error: Error) -> NotOpened {
    match error {
        Error::Http(answer) => {
            let (status, body) = (answer.status().as_u16(), Response::into_body(*answer));
            NotOpened::Refused { status, body: body.unwrap_or_default() }
        }
        other => NotOpened::Broken(other.to_string()),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ear<S> {
    /// The next request, or the end. Loses nothing when it is cancelled.
    pub async fn next(&mut self) -> Heard {
        loop {
            let Ok(message) = timeout(SILENCE_MAX, self.0.next()).await else {
                return ended(None, "the server is silent");
            };
            match message {
                Some(Ok(Message::Binary(bytes))) => {
                    return match Request::parse(&bytes) {
                        Ok(request) => Heard::Request(request),
                        Err(why) => ended(None, why),
                    };
                }
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(Some(frame)))) => {
                    return ended(Some(frame.code.into()), &frame.reason);
                }
                Some(Ok(Message::Close(None))) | None => return ended(None, "the connection was closed"),
                Some(Err(error)) => return ended(None, &error.to_string()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Mouth<S> {
    /// # Errors
    /// The connection is over.
    pub async fn answer(&mut self, told: &Told) -> Result<(), Ended> {
        self.send(Message::Binary(told.to_message())).await
    }

    /// # Errors
    /// The connection is over.
    pub async fn say(&mut self, word: Word) -> Result<(), Ended> {
        let words = serde_json::to_string(&Said { say: word }).expect("a word is a text");
        self.send(Message::Text(Utf8Bytes::from(words))).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Ended> {
        let over = |why: String| Ended { code: None, why };
        match timeout(WRITE_TIMEOUT, self.0.send(message)).await {
            Ok(sent) => sent.map_err(|error| over(error.to_string())),
            Err(_) => Err(over("the server takes nothing".to_owned())),
        }
    }
}

fn ended(code: Option<u16>, why: &str) -> Heard {
    Heard::Ended(Ended { code, why: why.to_owned() })
}
