//! The bench's end of the sink: starts the process, gives orders, waits for what should arrive.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::{Counts, Hello, Memory, Order, Post, Sighting, WORD};

/// Between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(20);

pub struct Sink {
    pub address: SocketAddr,
    pub ca_pem: String,
    control: Mutex<tokio::io::BufReader<TcpStream>>,
    child: Child,
}

impl Sink {
    pub async fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg(WORD).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("its output is ours")?;
        let hello = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let hello: Hello = serde_json::from_str(&hello.await??).context("the sink did not start")?;
        let control = TcpStream::connect(hello.control).await?;
        control.set_nodelay(true)?;
        let control = Mutex::new(tokio::io::BufReader::new(control));
        Ok(Self { address: hello.endpoint, ca_pem: hello.ca_pem, control, child })
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn begin(&self, memory: Memory) -> Result<()> {
        self.ask(Order::Begin(memory)).await
    }

    pub async fn counts(&self) -> Result<Counts> {
        self.ask(Order::Counts).await
    }

    pub async fn sightings(&self) -> Result<Vec<Sighting>> {
        self.ask(Order::Sightings).await
    }

    /// The first POST seen since `Begin(Sightings)`.
    pub async fn last_post(&self) -> Result<Post> {
        self.ask(Order::LastPost).await
    }

    /// Waits until so many POSTs have been answered. An error when they do not come in time: what is
    /// missing then is lost, or as good as lost.
    pub async fn until_answered(&self, wanted: u64, within: Duration) -> Result<Counts> {
        let began = Instant::now();
        loop {
            let counts = self.counts().await?;
            if counts.answered >= wanted {
                return Ok(counts);
            }
            if began.elapsed() > within {
                bail!("only {} of {wanted} POSTs came within {} s", counts.answered, within.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask<T: DeserializeOwned>(&self, order: Order) -> Result<T> {
        let mut control = self.control.lock().await;
        let line = format!("{}\n", serde_json::to_string(&order)?);
        control.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        control.read_line(&mut answer).await?;
        serde_json::from_str(&answer).context("the sink has gone")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
