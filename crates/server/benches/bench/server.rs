//! The server under measurement: the real binary with its default settings, on a directory of the real disk.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use http_body_util::Full;
use hyper::{Request, StatusCode};

use crate::line::Line;
use crate::machine;

pub const KEY: &str = "mk_bench";
pub const SECRET: &str = "ms_bench";

/// A server that is not ready by then will not be.
const READY_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);

/// A place on the disk where servers start, one after the other.
pub struct Home {
    binary: PathBuf,
    dir: tempfile::TempDir,
}

impl Home {
    pub fn make(binary: &Path, ca_pem: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(disk())?;
        std::fs::create_dir(dir.path().join("data"))?;
        std::fs::write(dir.path().join("ca.pem"), ca_pem)?;
        Ok(Self { binary: binary.to_owned(), dir })
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts a server; returns when it is ready.
    pub async fn start(&self) -> Result<Server> {
        let log = File::options().create(true).append(true).open(self.dir.path().join("server.log"))?;
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHATHOOK_")) {
            command.env_remove(name);
        }
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-network", "127.0.0.0/8", "--data-dir"])
            .arg(self.data_dir())
            .arg("--endpoint-ca")
            .arg(self.dir.path().join("ca.pem"))
            .current_dir(self.dir.path())
            .env("CHATHOOK_MANAGEMENT_KEY", KEY)
            .env("CHATHOOK_MANAGEMENT_SECRET", SECRET)
            .stdout(Stdio::piped())
            .stderr(log);
        let began = Instant::now();
        let began_us = machine::now_us();
        let child = command.spawn().with_context(|| format!("{} does not run", self.binary.display()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { child, address, began_us, ready_after: Duration::ZERO };
        let ready = async {
            server.address = server.told_address().await?;
            until_ready(server.address).await
        };
        match tokio::time::timeout(READY_MAX, ready).await {
            Ok(Ok(())) => server.ready_after = began.elapsed(),
            Ok(Err(error)) => bail!("the server did not start: {error:#}\n{}", self.last_log_lines()),
            Err(_) => bail!("the server was not ready in time\n{}", self.last_log_lines()),
        }
        Ok(server)
    }

    /// What the server said last, for a person who asks why.
    pub fn last_log_lines(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// A running process; it is killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub began_us: u64,
    pub ready_after: Duration,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn resident_kib(&self) -> Result<u64> {
        machine::resident_kib(self.pid())
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended by itself with {status}");
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Reads the line that names the address; what follows is read and dropped.
    async fn told_address(&mut self) -> Result<SocketAddr> {
        let stdout = self.child.stdout.take().context("its output is ours")?;
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let address = lines.find_map(|line| line.strip_prefix("address: http://").map(str::to_owned));
            let _ = tell.send(address);
            lines.for_each(drop);
        });
        let address = told.await?.context("it ended without telling its address")?;
        address.parse().context("it told no address")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where data directories are made: beside the build, which lies on a real disk.
pub fn disk() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

async fn until_ready(address: SocketAddr) -> Result<()> {
    let mut line = Line::open(address).await?;
    loop {
        let request = Request::get("/readyz").header("host", "bench").body(Full::default())?;
        let (head, _) = line.call(request).await?;
        if head.status == StatusCode::OK {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}
