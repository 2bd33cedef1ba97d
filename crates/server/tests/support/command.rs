//! The command line, run as a person or a script runs it, against a server of the test.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::in_time;
use super::server::{MANAGEMENT, TestServer};

/// A person's place: an environment with nothing of this machine's in it, and a home of their own.
pub struct Shell {
    home: TempDir,
    environment: Vec<(String, String)>,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A command that goes on; it is killed when dropped.
pub struct Going {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Shell {
    /// One that knows the server and its credentials.
    pub fn at(server: &TestServer) -> Self {
        let shell = Self::bare();
        let [(_, key), (_, secret)] = MANAGEMENT;
        shell
            .with("CHATHOOK_SERVER", &format!("http://{}", server.address))
            .with("CHATHOOK_MANAGEMENT_KEY", key)
            .with("CHATHOOK_MANAGEMENT_SECRET", secret)
    }

    /// One that knows nothing. Its zone is five hours east of Greenwich.
    pub fn bare() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self { home, environment: Vec::new() }.with("TZ", "XYZ-5")
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where the command finds its home and stands.
    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with("", arguments).await
    }

    /// With this on standard input.
    pub async fn run_with(&self, input: &str, arguments: &[&str]) -> Ran {
        self.run_under(&[&[env!("CARGO_BIN_EXE_chathook")], arguments].concat(), input).await
    }

    /// Another program, which finds `chathook` by its name.
    pub async fn run_under(&self, words: &[&str], input: &str) -> Ran {
        let mut child = self.command(words).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut stdin = child.stdin.take().expect("its input is ours");
        // A command that reads nothing may be gone before all is written.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let what = format!("{} ends", words.join(" "));
        let output = in_time(&what, child.wait_with_output()).await.expect("it is ours to wait for");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
        let code = output.status.code().expect("no signal ends it");
        Ran { code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// On a terminal of its own, with this typed; standard error is there as well. `script` makes the terminal:
    /// it is of bsdutils, which no Debian lacks.
    pub async fn on_terminal(&self, typed: &str, command: &str) -> (i32, String) {
        let words = ["script", "--quiet", "--return", "--command", command, "/dev/null"];
        let ran = self.run_under(&words, typed).await;
        (ran.code, ran.out)
    }

    /// A command that goes on until it is dropped.
    pub fn start(&self, arguments: &[&str]) -> Going {
        let words = [&[env!("CARGO_BIN_EXE_chathook")], arguments].concat();
        let mut child = self.command(&words).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("its output is ours");
        Going { child, lines: BufReader::new(stdout).lines() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let (program, arguments) = words.split_first().expect("a program");
        let binaries = Path::new(env!("CARGO_BIN_EXE_chathook")).parent().expect("it lies in a directory");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", format!("{}:{path}", binaries.display()))
            .env("HOME", self.home.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Ran {
    /// The output of a command that did what it was asked.
    #[track_caller]
    pub fn done(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        &self.out
    }

    /// The same as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.done()).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.out))
    }

    /// What a command said that ended with this code and printed nothing.
    #[track_caller]
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        assert!(self.err.starts_with("chathook: ") || self.err.starts_with("error: "), "{}", self.err);
        &self.err
    }
}

impl Going {
    /// The next line that it prints.
    pub async fn line(&mut self) -> String {
        in_time("the command prints a line", self.lines.next_line()).await.expect("text").expect("a line")
    }

    /// Tells it to stop, as a supervisor does.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends it a signal; Ctrl-C is `-INT`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        std::process::Command::new("kill").args([signal, &pid]).status().expect("kill runs");
    }

    /// Its exit code, once it has ended by itself.
    pub async fn ended(&mut self) -> i32 {
        let status = in_time("the command ends", self.child.wait()).await.expect("it is ours to wait for");
        status.code().expect("no signal ends it")
    }

    /// What it said on standard error until it ended.
    pub async fn remarks(&mut self) -> String {
        let mut stderr = self.child.stderr.take().expect("its errors are ours");
        let mut text = String::new();
        in_time("the command ends", stderr.read_to_string(&mut text)).await.expect("it says text");
        text
    }
}
