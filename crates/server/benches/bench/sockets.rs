//! Memory of sockets that are logged in and do nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::bench::Bench;
use crate::machine;
use crate::tenant::{Login, Tenant};

pub const DEFINITION: &str = "\
sockets
  Resident memory of the server (VmRSS) per idle, logged-in socket: 10,000 users with one socket each, over
  plain HTTP. From the server with the users made and none logged in, to 3 s after the last log-in,
  divided by 10,000.";

const SOCKETS: usize = 10_000;
/// Log-ins at once.
const DOORS: usize = 64;
const SETTLE: Duration = Duration::from_secs(3);
/// Handles that the bench needs beside the sockets.
const HANDLES_BESIDE: u64 = 500;

pub struct Sockets {
    pub before_kib: u64,
    pub after_kib: u64,
}

impl Sockets {
    pub fn kib_each(&self) -> f64 {
        let grown = self.after_kib.saturating_sub(self.before_kib);
        crate::load::per_s(grown, Duration::from_secs(SOCKETS as u64))
    }
}

pub type Socket = WebSocketStream<TcpStream>;

pub async fn measure(bench: &Bench) -> Result<Sockets> {
    need_handles(SOCKETS as u64)?;
    let home = bench.home()?;
    let server = home.start().await?;
    let tenant = Tenant::make(server.address).await?;
    let logins = Arc::new(tenant.users(SOCKETS).await?);
    tokio::time::sleep(SETTLE).await;
    let before_kib = server.resident_kib()?;
    // Idle clients answer pings and read what they are told. They end with the set.
    let mut clients = JoinSet::new();
    for socket in open(server.address, &tenant.app, logins).await? {
        clients.spawn(idle(socket));
    }
    tokio::time::sleep(SETTLE).await;
    ensure!(clients.try_join_next().is_none(), "a socket was closed\n{}", home.last_log_lines());
    Ok(Sockets { before_kib, after_kib: server.resident_kib()? })
}

pub fn need_handles(sockets: u64) -> Result<()> {
    let needed = sockets + HANDLES_BESIDE;
    ensure!(machine::handles_max()? >= needed, "too few file handles are allowed: `ulimit -n {needed}`");
    Ok(())
}

/// A logged-in socket for each.
pub async fn open(address: SocketAddr, app: &str, logins: Arc<Vec<Login>>) -> Result<Vec<Socket>> {
    let mut doors = JoinSet::new();
    for door in 0..DOORS {
        let (app, logins) = (app.to_owned(), logins.clone());
        doors.spawn(async move {
            let mut sockets = Vec::new();
            for login in logins.iter().skip(door).step_by(DOORS) {
                sockets.push(log_in(address, &app, login).await?);
            }
            anyhow::Ok(sockets)
        });
    }
    let mut sockets = Vec::with_capacity(logins.len());
    while let Some(door) = doors.join_next().await {
        sockets.extend(door??);
    }
    Ok(sockets)
}

async fn log_in(address: SocketAddr, app: &str, login: &Login) -> Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    // Ten thousand buffers of the usual size would be the bench's memory, not the server's.
    let config = WebSocketConfig::default().read_buffer_size(1 << 10).write_buffer_size(0);
    let url = format!("ws://{address}/v3/socket");
    let (mut socket, _) = client_async_with_config(url, stream, Some(config)).await?;
    let params = json!({"appId": app, "authToken": login.token, "deviceId": format!("phone-{}", login.uid)});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "login", "params": params});
    socket.send(Message::text(call.to_string())).await?;
    let answer = socket.next().await.context("the socket was closed")??.into_text()?;
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(answer["result"].is_object(), "the log-in was refused: {answer}");
    Ok(socket)
}

async fn idle(mut socket: Socket) {
    while let Some(Ok(_)) = socket.next().await {}
}
