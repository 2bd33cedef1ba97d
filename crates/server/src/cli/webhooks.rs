//! `chathook webhooks`: what the app's webhooks are and do.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::output::{Cell, Table, Tone};
use super::profile::ReachFlags;
use super::remote::{Remote, items};

#[derive(Debug, Args)]
pub struct WebhooksFlags {
    #[command(flatten)]
    reach: ReachFlags,
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Debug, Subcommand)]
enum WebhooksCommand {
    /// Every webhook of the app
    List,
}

pub async fn run(flags: WebhooksFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    match flags.command {
        WebhooksCommand::List => list(&remote).await,
    }
}

async fn list(remote: &Remote) -> anyhow::Result<()> {
    let webhooks = remote.api.get(&remote.of_app(&["webhooks"]).await?).await?.data;
    remote.out.show(&webhooks, |out| {
        let mut table = Table::new(
            &["ID", "NAME", "URL", "STATE", "CREATED"],
            "There is no webhook yet: make one with 'chathook webhooks create ID --url URL'.",
        );
        for webhook in items(&webhooks) {
            let cells = ["id", "name", "webhookURL"].map(|name| Cell::of(&webhook[name]));
            table.row(cells.into_iter().chain([state(webhook), out.time(&webhook["createdAt"])]).collect());
        }
        out.table(&table)
    })?;
    Ok(())
}

/// Whether it is called, and if not, whose doing that is.
fn state(webhook: &Value) -> Cell {
    match (webhook["enabled"].as_bool(), webhook["switchedOff"].as_str()) {
        (_, Some(why)) => Cell::toned(Tone::Bad, &format!("switched off ({why})")),
        (Some(true), None) => Cell::toned(Tone::Good, "enabled"),
        (Some(false) | None, None) => Cell::toned(Tone::Faint, "disabled"),
    }
}
