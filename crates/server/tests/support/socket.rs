//! A client of the socket: JSON-RPC calls, their answers, and notifications.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;

use super::in_time;
use super::server::App;

pub struct Socket {
    sink: mpsc::UnboundedSender<Message>,
    answers: mpsc::UnboundedReceiver<Value>,
    early: VecDeque<Value>,
    notifications: mpsc::UnboundedReceiver<Value>,
    unasked: VecDeque<Value>,
    closed: watch::Receiver<Option<u16>>,
    last_id: u64,
}

impl Socket {
    /// Opens a socket that is not logged in.
    pub async fn open(app: &App) -> Self {
        let url = format!("ws://{}/v3/socket", app.address());
        let opening = async {
            let tcp = TcpStream::connect(app.address()).await.expect("the server listens");
            tokio_tungstenite::client_async(url, tcp).await.expect("the socket opens")
        };
        let (stream, _) = in_time("the socket opens", opening).await;
        let (mut write, mut read) = stream.split();
        let (sink, mut outgoing) = mpsc::unbounded_channel::<Message>();
        let (answer, answers) = mpsc::unbounded_channel();
        let (notify, notifications) = mpsc::unbounded_channel();
        let (close, closed) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = outgoing.recv() => match message {
                        Some(message) => drop(write.send(message).await),
                        // The test let go of its socket: it ends as a lost connection does.
                        None => return,
                    },
                    frame = read.next() => match frame {
                        Some(Ok(Message::Text(text))) => {
                            let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
                            let to = if frame.get("method").is_some() { &notify } else { &answer };
                            let _ = to.send(frame);
                        }
                        Some(Ok(Message::Close(frame))) => {
                            close.send_replace(Some(frame.map_or(0, |frame| frame.code.into())));
                            // Sends our own goodbye.
                            let _ = write.close().await;
                        }
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => {
                            close.send_if_modified(|code| code.is_none() && { *code = Some(0); true });
                            return;
                        }
                    },
                }
            }
        });
        Self {
            sink,
            answers,
            early: VecDeque::new(),
            notifications,
            unasked: VecDeque::new(),
            closed,
            last_id: 0,
        }
    }

    /// Opens a socket and logs it in; gives the log-in's result too.
    pub async fn log_in(app: &App, token: &str, device: &str) -> (Self, Value) {
        let mut socket = Self::open(app).await;
        let params = json!({"appId": app.id, "authToken": token, "deviceId": device, "platform": "web"});
        let result = socket.call("login", params).await.expect("logged in");
        (socket, result)
    }

    /// A logged-in socket of this user, with a token of its own.
    pub async fn of(app: &App, uid: &str) -> Self {
        let token = app.token(uid).await;
        Self::log_in(app, &token, &format!("device-of-{uid}")).await.0
    }

    /// Calls and waits: the result, or the whole JSON-RPC error.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.begin(method, params);
        self.answer(id).await
    }

    /// Calls without waiting.
    pub fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let call = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.send(Message::text(call.to_string()));
        self.last_id
    }

    pub async fn answer(&mut self, id: u64) -> Result<Value, Value> {
        let at = self.early.iter().position(|frame| frame["id"] == id);
        let mut frame = match at {
            Some(at) => self.early.remove(at).expect("it is there"),
            None => loop {
                let frame = self.next_answer().await;
                if frame["id"] == id {
                    break frame;
                }
                self.early.push_back(frame);
            },
        };
        match frame.get("error") {
            None => Ok(frame["result"].take()),
            Some(error) => Err(error.clone()),
        }
    }

    /// The next frame that is no notification.
    pub async fn next_answer(&mut self) -> Value {
        in_time("the socket answers", self.answers.recv()).await.expect("the socket is open")
    }

    /// The params of the next notification of this kind; others keep.
    pub async fn notification(&mut self, method: &str) -> Value {
        let at = self.unasked.iter().position(|frame| frame["method"] == method);
        if let Some(mut frame) = at.and_then(|at| self.unasked.remove(at)) {
            return frame["params"].take();
        }
        loop {
            let what = format!("the socket is told of '{method}'");
            let mut frame = in_time(&what, self.notifications.recv()).await.expect("the socket is open");
            if frame["method"] == method {
                return frame["params"].take();
            }
            self.unasked.push_back(frame);
        }
    }

    pub fn send(&self, message: Message) {
        self.sink.send(message).expect("the socket is open");
    }

    pub fn send_text(&self, text: &str) {
        self.send(Message::text(text));
    }

    /// The close code with which the server ended this socket; 0 for none.
    pub async fn closed(&mut self) -> u16 {
        let code = in_time("the socket is closed", self.closed.wait_for(Option::is_some)).await;
        code.expect("the reader tells").expect("a code")
    }
}
