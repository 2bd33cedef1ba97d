//! `chathook apps`: the tenants of the server.

use chathook_adapters::api_client::Target;
use clap::{Args, Subcommand};

use super::output::{Cell, Table};
use super::profile::ReachFlags;
use super::remote::{Remote, items};

#[derive(Debug, Args)]
pub struct AppsFlags {
    #[command(flatten)]
    reach: ReachFlags,
    #[command(subcommand)]
    command: AppsCommand,
}

#[derive(Debug, Subcommand)]
enum AppsCommand {
    /// Every app of the server
    List,
}

pub async fn run(flags: AppsFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    match flags.command {
        AppsCommand::List => list(&remote).await,
    }
}

async fn list(remote: &Remote) -> anyhow::Result<()> {
    let apps = remote.api.get(&Target::of(&["apps"]).with("perPage", "1000")).await?.data;
    remote.out.show(&apps, |out| {
        let mut table = Table::new(
            &["ID", "NAME", "REGION", "CREATED"],
            "There is no app yet: make one with 'chathook apps create NAME'.",
        );
        for app in items(&apps) {
            let cells = ["id", "name", "region"].map(|name| Cell::of(&app[name]));
            table.row(cells.into_iter().chain([out.time(&app["createdAt"])]).collect());
        }
        out.table(&table)
    })?;
    Ok(())
}
