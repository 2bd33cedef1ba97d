//! A client of the socket for tests: calls with answers, and notifications kept in order.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Set by hand, so that the system does not take dozens of megabytes for a client that does not read.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

pub struct SocketClient {
    socket: WebSocketStream<TcpStream>,
    notifications: VecDeque<Value>,
    last_id: u64,
}

impl SocketClient {
    pub async fn connect(authority: &str) -> Self {
        let tcp = TcpSocket::new_v4().expect("a socket");
        tcp.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).expect("a size that the system takes");
        let tcp = tcp.connect(authority.parse().expect("an address")).await.expect("the server listens");
        let opening = client_async(format!("ws://{authority}/v3/socket"), tcp);
        let (socket, _) = opening.await.expect("the socket opens");
        Self { socket, notifications: VecDeque::new(), last_id: 0 }
    }

    /// Connects and logs in; answers with the result too.
    pub async fn logged_in(authority: &str, params: Value) -> (Self, Value) {
        let mut client = Self::connect(authority).await;
        let result = client.call("login", params).await.expect("the log-in is taken");
        (client, result)
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the socket takes a frame");
    }

    /// Sends a call without waiting for its answer; answers with its id.
    pub async fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let call = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.send_text(&call.to_string()).await;
        self.last_id
    }

    /// The result, or the JSON-RPC error.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.begin(method, params).await;
        loop {
            let mut frame = self.frame().await.expect("the socket answers before it closes");
            if frame["id"] == json!(id) {
                let error = frame["error"].take();
                return if error.is_null() { Ok(frame["result"].take()) } else { Err(error) };
            }
            self.notifications.push_back(frame);
        }
    }

    /// The next notification, or answer that nobody waited for.
    pub async fn notification(&mut self) -> Value {
        if let Some(known) = self.notifications.pop_front() {
            return known;
        }
        self.frame().await.expect("a notification comes before the close")
    }

    /// Reads to the end; answers with the close code.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.frame().await {
                Ok(frame) => self.notifications.push_back(frame),
                Err(code) => return code,
            }
        }
    }

    async fn frame(&mut self) -> Result<Value, Option<u16>> {
        loop {
            let next =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something comes in time");
            match next {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("frames are JSON"));
                }
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }
}
