//! `chathook replay`: owes a webhook again what happened, or for the first time, and waits until all
//! that is made.

use anyhow::anyhow;
use chathook_adapters::api_client::Target;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::profile::ReachFlags;
use super::progress::{PAUSE, Progress};
use super::remote::{Remote, Watch};
use super::replays::{print, target};
use super::when::{When, when};
use super::words::{endings, triggers};
use crate::serve::until_told_to_stop;

#[derive(Debug, Args)]
pub struct ReplayFlags {
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
    #[command(flatten)]
    reach: ReachFlags,
}

pub async fn run(flags: ReplayFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    let webhook = flags.webhook.as_str();
    let begin = remote.of_app(&["webhooks", webhook, "replay"]).await?;
    let mut job = remote.api.post(&begin, &body(&flags)).await?.data;
    if !flags.no_wait {
        let id = job["id"].as_str().unwrap_or_default().to_owned();
        let target = target(&remote, webhook, &[&id]).await?;
        job = tokio::select! {
            ended = wait(&remote, &target, job) => ended?,
            () = until_told_to_stop() => {
                return Err(anyhow!(
                    "The replay {id} goes on: 'chathook replays show {webhook} {id}' tells how far it is, \
                     'chathook replays cancel {webhook} {id}' ends it."
                ));
            }
        };
    }
    print(&remote, &job)?;
    if job["status"] == "cancelled" {
        return Err(anyhow!("The replay was cancelled."));
    }
    Ok(())
}

/// Looks at the job until it has ended; it goes on over a restart of the server, and so does this.
async fn wait(remote: &Remote, target: &Target, mut job: Value) -> anyhow::Result<Value> {
    let (progress, mut watch) = (Progress::begin(), Watch::default());
    while job["status"] == "running" {
        progress.tell(&format!("{} events seen, {} deliveries made", job["seen"], job["made"]));
        sleep(PAUSE).await;
        if let Some(answer) = watch.found(remote.api.get(target).await)? {
            job = answer.data;
        }
    }
    Ok(job)
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
