//! The process under test: started, killed, told to stop, or doomed to die at a step.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::doomed;

/// What should come in a moment has not come at all.
pub const FAIL_SAFE: Duration = Duration::from_secs(60);
pub const KEY: &str = "mk_crash";
pub const SECRET: &str = "ms_crash";

/// Ignores the signal that a file over its limit brings, so that writing fails as on a full disk.
const LIMITED: &str = r#"trap '' XFSZ; ulimit -S -f "$1"; shift; exec "$@""#;

/// How a server is started.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    pub data_dir: &'a Path,
    pub ca_file: &'a Path,
    pub key: &'a str,
    pub secret: &'a str,
    /// The largest file that the process may write.
    pub file_kib_max: Option<u32>,
    /// What may wait for one webhook.
    pub webhook_backlog_max: Option<&'a str>,
    /// The step at which the process dies.
    pub dies_at: Option<&'a str>,
}

/// The signals that end a process which dies of itself, or of a file that it may not write on.
pub const ABORTED: i32 = 6;
pub const FILE_TOO_LARGE: i32 = 25;

impl<'a> Start<'a> {
    pub fn new(data_dir: &'a Path, ca_file: &'a Path) -> Self {
        Self {
            data_dir,
            ca_file,
            key: KEY,
            secret: SECRET,
            file_kib_max: None,
            webhook_backlog_max: None,
            dies_at: None,
        }
    }

    /// Returns when the server says where it listens.
    pub async fn run(&self) -> Server {
        let mut child = self.command().stdout(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("its output is ours");
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // The doomed one has what its test runner says before it.
            let address = lines.find_map(|line| Some(line.split_once("address: http://")?.1.to_owned()));
            if let Some(address) = address {
                let _ = tell.send(address);
            }
            lines.for_each(drop);
        });
        let mut server = Server { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let address =
            timeout(FAIL_SAFE, told).await.expect("the server starts in time").expect("it tells its address");
        server.address = address.parse().expect("an address");
        server
    }

    /// What a server says that should not start.
    pub async fn refused(&self) -> String {
        let mut command = self.command();
        let running = tokio::task::spawn_blocking(move || command.output());
        let output =
            timeout(FAIL_SAFE, running).await.expect("it ends in time").expect("no panic").expect("it runs");
        assert!(!output.status.success(), "the server started after all");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn command(&self) -> Command {
        let binary = env!("CARGO_BIN_EXE_chathook");
        let mut command = match (self.dies_at, self.file_kib_max) {
            (Some(step), _) => doomed::command(step),
            (None, None) => {
                let mut env = Command::new("env");
                env.args(["--default-signal=XFSZ", binary, "serve"]);
                env
            }
            (None, Some(kib)) => {
                let mut bash = Command::new("bash");
                bash.args(["-c", LIMITED, "limited", &kib.to_string(), binary, "serve"]);
                bash
            }
        };
        command
            .current_dir(self.data_dir)
            .env("CHATHOOK_LISTEN", "127.0.0.1:0")
            .env("CHATHOOK_ALLOW_NETWORKS", "127.0.0.0/8")
            .env("CHATHOOK_DATA_DIR", self.data_dir)
            .env("CHATHOOK_ENDPOINT_CAS", self.ca_file)
            .env("CHATHOOK_MANAGEMENT_KEY", self.key)
            .env("CHATHOOK_MANAGEMENT_SECRET", self.secret)
            .env("CHATHOOK_LOG", "warn");
        if let Some(bytes) = self.webhook_backlog_max {
            command.env("CHATHOOK_WEBHOOK_BACKLOG_MAX", bytes);
        }
        command
    }
}

/// A running process; it is killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// SIGKILL; returns when the process is gone.
    pub fn kill(&mut self) {
        assert!(self.is_alive(), "the server ended by itself");
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is ours to wait for");
    }

    /// SIGTERM; returns when the process has ended.
    pub async fn stop(&mut self) -> ExitStatus {
        let sent =
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "the process takes no signal");
        self.ended().await
    }

    /// Returns when the process has died of this signal.
    pub async fn dies_of(&mut self, signal: i32) {
        let status = timeout(FAIL_SAFE, self.ended()).await.expect("the process dies");
        assert_eq!(status.signal(), Some(signal), "{status}");
    }

    async fn ended(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours to wait for") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is ours to wait for").is_none()
    }

    /// As if someone had made room on the disk.
    pub fn lift_file_limit(&self) {
        self.limit_files("unlimited");
    }

    /// From now on the process dies where it writes a file beyond this many bytes.
    pub fn dies_beyond(&self, file_bytes: u64) {
        self.limit_files(&file_bytes.to_string());
    }

    fn limit_files(&self, bytes: &str) {
        let pid = self.child.id().to_string();
        let limit = format!("--fsize={bytes}:");
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit runs");
        assert!(status.success(), "the limit could not be set");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
