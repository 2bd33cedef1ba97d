//! The command line: what can be said to `chathook`, and what it says back.
//!
//! Imports run downwards: a module may use those above it in this list.

use clap::{Parser, Subcommand};

use crate::config::{BackupConfig, BackupFlags, Config, DevFlags, ServeFlags};
use crate::{backup, dev, serve};

pub mod exit;
pub mod output;
pub mod profile;
pub mod remote;
mod apps;
mod webhooks;
mod forward;
mod trigger;
mod listen;

#[derive(Debug, Parser)]
#[command(name = "chathook", version, about = "A chat server whose heart is its webhooks")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything on this machine, made to be tried: sample users, a chat page, an HTTPS inbox
    Dev(DevFlags),
    /// The server, on an embedded store
    Serve(ServeFlags),
    /// A copy of the database, while the server runs or not
    Backup(BackupFlags),
    /// The tenants of a server
    Apps(apps::AppsFlags),
    /// The webhooks of an app
    Webhooks(webhooks::WebhooksFlags),
    /// The app's events, POSTed to a server on this machine: no tunnel, no public address
    Listen(listen::ListenFlags),
    /// A sample event of any trigger, signed, sent from this machine to any URL
    Trigger(trigger::TriggerFlags),
}

/// Does what was asked.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dev(flags) => {
            serve::start_log(None);
            dev::start::run(flags).await
        }
        Command::Serve(flags) => {
            let config = Config::merge(flags).map_err(anyhow::Error::msg)?;
            serve::start_log(config.log_format);
            serve::serve(config).await
        }
        Command::Backup(flags) => {
            let config = BackupConfig::merge(flags).map_err(anyhow::Error::msg)?;
            backup::run(config).await
        }
        Command::Apps(flags) => apps::run(flags).await,
        Command::Webhooks(flags) => webhooks::run(flags).await,
        Command::Listen(flags) => listen::run(flags).await,
        Command::Trigger(flags) => trigger::run(flags).await,
    }
}
