//! `chathook replays`: the jobs that owe a webhook again what happened, and how far each is.

use chathook_adapters::api_client::Target;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::{Consent, consent};
use super::exit::conflict;
use super::lists::{Limit, items, of_cursor};
use super::output::{Cell, Output, Table, Tone};
use super::profile::ReachFlags;
use super::remote::Remote;

#[derive(Debug, Args)]
pub struct ReplaysFlags {
    #[command(flatten)]
    reach: ReachFlags,
    #[command(subcommand)]
    command: ReplaysCommand,
}

#[derive(Debug, Subcommand)]
enum ReplaysCommand {
    /// The replays of a webhook, newest first
    List {
        /// The webhook's id
        webhook: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// One replay, and how far it is
    Show(One),
    /// Make nothing more of it; what was made waits on
    Cancel {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Which replay.
#[derive(Debug, Args)]
struct One {
    /// The webhook's id
    webhook: String,
    /// The replay's id
    id: String,
}

pub async fn run(flags: ReplaysFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    match flags.command {
        ReplaysCommand::List { webhook, limit } => list(&remote, &webhook, limit).await,
        ReplaysCommand::Show(One { webhook, id }) => {
            let job = remote.api.get(&target(&remote, &webhook, &[&id]).await?).await?.data;
            print(&remote, &job)
        }
        ReplaysCommand::Cancel { one, consent } => cancel(&remote, &one, &consent).await,
    }
}

/// Something of the replays of a webhook.
pub async fn target(remote: &Remote, webhook: &str, below: &[&str]) -> anyhow::Result<Target> {
    remote.of_app(&[&["webhooks", webhook, "replays"], below].concat()).await
}

/// Prints a job.
pub fn print(remote: &Remote, job: &Value) -> anyhow::Result<()> {
    remote.out.show(job, |out| draw(out, job))?;
    Ok(())
}

async fn list(remote: &Remote, webhook: &str, limit: Limit) -> anyhow::Result<()> {
    let jobs = of_cursor(&remote.api, &target(remote, webhook, &[]).await?, limit).await?;
    remote.out.show(&jobs.data, |out| {
        let headings = ["ID", "BEGUN", "STATUS", "EVENTS SEEN", "DELIVERIES MADE", "OF"];
        let mut table =
            Table::new(&headings, &format!("There is none: chathook replay {webhook} --since WHEN"));
        for job in jobs.items() {
            table.row(vec![
                Cell::of(&job["id"]),
                out.time(&job["createdAt"]),
                status(&job["status"]),
                Cell::of(&job["seen"]),
                Cell::of(&job["made"]),
                Cell::new(&wanted(out, &job["wanted"])),
            ]);
        }
        out.table(&table)
    })?;
    jobs.hint(&remote.out);
    Ok(())
}

async fn cancel(remote: &Remote, One { webhook, id }: &One, given: &Consent) -> anyhow::Result<()> {
    // What is not there needs no yes.
    remote.api.get(&target(remote, webhook, &[id]).await?).await?;
    consent(given, &format!("Cancel the replay {id} to '{webhook}'? What was made of it waits on."))?;
    let target = target(remote, webhook, &[id, "cancel"]).await?;
    let job = remote.api.post(&target, &json!({})).await?.data;
    if job["status"] == "done" {
        return Err(conflict(format!("The replay {id} had ended before: all of it was made.")));
    }
    print(remote, &job)
}

fn draw(out: &Output, job: &Value) -> std::io::Result<()> {
    let mut fields = vec![
        ("replay", Cell::of(&job["id"])),
        ("status", status(&job["status"])),
        ("of", Cell::new(&wanted(out, &job["wanted"]))),
        ("events seen", Cell::of(&job["seen"])),
        ("deliveries made", Cell::of(&job["made"])),
        ("begun", out.time(&job["createdAt"])),
    ];
    if !job["endedAt"].is_null() {
        fields.push(("ended", out.time(&job["endedAt"])));
    }
    out.fields(&fields)
}

/// What was asked for, in words.
fn wanted(out: &Output, wanted: &Value) -> String {
    if let Some(delivery) = wanted["delivery"].as_str() {
        return format!("delivery {delivery}");
    }
    let mut words = vec![format!("since {}", out.time(&wanted["since"]).into_text())];
    if !wanted["until"].is_null() {
        words.push(format!("until {}", out.time(&wanted["until"]).into_text()));
    }
    let triggers: Vec<&str> = items(&wanted["triggers"]).filter_map(Value::as_str).collect();
    words.extend((!triggers.is_empty()).then(|| triggers.join(", ")));
    words.extend(wanted["status"].as_str().map(|status| format!("only {status}")));
    words.join(", ")
}

fn status(value: &Value) -> Cell {
    let text = value.as_str().unwrap_or("-");
    let tone = match text {
        "done" => Tone::Good,
        "running" => Tone::Open,
        _ => Tone::Faint,
    };
    Cell::toned(tone, text)
}
