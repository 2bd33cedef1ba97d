//! `chathook replay`: owes a webhook again what happened, or for the first time, and waits until all
//! that is made.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::output::{Cell, Output};
use super::profile::ReachFlags;
use super::remote::Remote;
use super::when::{When, when};
use super::words::{endings, triggers};

/// How long one look at the job is after the other.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub struct ReplayFlags {
    #[command(flatten)]
    reach: ReachFlags,
    /// The webhook's id
    webhook: String,
    /// From when; such as 6h, 2025-10-09 or '2025-10-09 10:30'
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: When,
    /// Up to when [default: now and what still comes meanwhile]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<When>,
    /// Only what ended so [default: everything, owed before or not]
    #[arg(long, value_parser = endings())]
    status: Option<String>,
    /// Only this trigger; repeatable [default: those of the webhook]
    #[arg(long = "trigger", value_name = "TRIGGER", value_parser = triggers(), value_delimiter = ',')]
    triggers: Vec<String>,
    /// Begin it, and do not wait for its end
    #[arg(long)]
    no_wait: bool,
}

pub async fn run(flags: ReplayFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    let webhook = flags.webhook.as_str();
    let target = remote.of_app(&["webhooks", webhook, "replay"]).await?;
    let mut job = remote.api.post(&target, &body(&flags)).await?.data;
    if !flags.no_wait {
        let id = job["id"].as_str().unwrap_or_default().to_owned();
        let target = remote.of_app(&["webhooks", webhook, "replays", &id]).await?;
        let mut progress = Progress::begin();
        while job["status"] == "running" {
            progress.tell(&job);
            tokio::time::sleep(PAUSE).await;
            job = remote.api.get(&target).await?.data;
        }
        progress.end();
    }
    remote.out.show(&job, |out| draw(out, &job))?;
    if job["status"] == "cancelled" {
        return Err(anyhow::anyhow!("The replay was cancelled."));
    }
    Ok(())
}

fn body(flags: &ReplayFlags) -> Value {
    let mut body = json!({"since": flags.since.seconds()});
    if let Some(until) = flags.until {
        body["until"] = json!(until.seconds());
    }
    if let Some(status) = &flags.status {
        body["status"] = json!(status);
    }
    if !flags.triggers.is_empty() {
        body["triggers"] = json!(flags.triggers);
    }
    body
}

fn draw(out: &Output, job: &Value) -> std::io::Result<()> {
    out.fields(&[
        ("replay", Cell::of(&job["id"])),
        ("status", Cell::of(&job["status"])),
        ("events seen", Cell::of(&job["seen"])),
        ("deliveries made", Cell::of(&job["made"])),
    ])
}

/// One line on a terminal that is written over; nothing elsewhere.
struct Progress {
    is_shown: bool,
}

impl Progress {
    fn begin() -> Self {
        Self { is_shown: std::io::stderr().is_terminal() }
    }

    fn tell(&mut self, job: &Value) {
        self.write(&format!("\r{} events seen, {} deliveries made\x1b[K", job["seen"], job["made"]));
    }

    fn end(&mut self) {
        self.write("\r\x1b[K");
    }

    /// That a terminal has gone is no reason to stop.
    fn write(&self, text: &str) {
        if self.is_shown {
            let mut terminal = std::io::stderr();
            drop(terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()));
        }
    }
}
