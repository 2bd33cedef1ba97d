//! The command line: what can be said to `chathook`, and what it says back.
//!
//! Imports run downwards: a module may use those above it in this list.

use clap::{CommandFactory as _, Parser, Subcommand};

use self::exit::usage;
use crate::config::{Config, DevFlags, ServeFlags};
use crate::{dev, serve};

pub mod exit;
pub mod output;
pub mod profile;
pub mod progress;
pub mod ask;
mod when;
mod words;
pub mod remote;
mod report;
mod lists;
mod attempts;
mod apps;
mod users;
mod calls;
mod configuration;
mod webhooks;
mod check;
mod doctor;
mod backup;
mod restore;
mod tail;
mod deliveries;
mod replays;
mod replay;
mod stats;
mod message;
mod notices;
mod forward;
mod trigger;
mod listen;
mod papers;

/// What help says of the numbers in `exit`.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong use, 3 no server, 4 not found, 5 no access, \
    6 conflict, 7 unfit value, 8 not now";

#[derive(Debug, Parser)]
#[command(name = "chathook", version, about = "A chat server whose heart is its webhooks", after_help = EXIT_CODES)]
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
    Backup(backup::BackupFlags),
    /// Puts a backup in the place of the database of a server that does not run
    Restore(restore::RestoreFlags),
    /// Is this endpoint fit to receive webhooks?
    Check(check::CheckFlags),
    /// Is this machine fit for the server? Takes the flags of 'serve'
    Doctor(Box<doctor::DoctorFlags>),
    /// The tenants of a server
    Apps(apps::AppsFlags),
    /// The webhooks of an app
    Webhooks(webhooks::WebhooksFlags),
    /// What a webhook is and was owed
    Deliveries(deliveries::DeliveriesFlags),
    /// Owe a webhook again what happened, or for the first time
    Replay(replay::ReplayFlags),
    /// Replays that were begun: how far they are, and their end
    Replays(replays::ReplaysFlags),
    /// A webhook's figures over the last minutes
    Stats(stats::StatsFlags),
    /// What happened to a message
    Message(message::MessageFlags),
    /// What a person should know of the app's webhooks, newest first
    Notices(notices::NoticesFlags),
    /// The people of an app
    Users(users::UsersFlags),
    /// The app's events, POSTed to a server on this machine: no tunnel, no public address
    Listen(listen::ListenFlags),
    /// A sample event of any trigger, signed, sent from this machine to any URL
    Trigger(trigger::TriggerFlags),
    /// The description of the HTTP API, OpenAPI 3.1, as the server serves it at /openapi.json
    Openapi,
    /// Print a script that completes commands in a shell
    Completions(papers::CompletionsFlags),
    /// Write manual pages
    Man(papers::ManFlags),
}

/// Does what was asked.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dev(flags) => {
            serve::start_log(None);
            dev::start::run(flags).await
        }
        Command::Serve(flags) => {
            let config = Config::merge(flags).map_err(usage)?;
            serve::start_log(config.log_format);
            serve::serve(config).await
        }
        Command::Backup(flags) => backup::run(flags).await,
        Command::Restore(flags) => restore::run(flags).await,
        Command::Check(flags) => check::run(flags).await,
        Command::Doctor(flags) => doctor::run(*flags).await,
        Command::Apps(flags) => apps::run(flags).await,
        Command::Webhooks(flags) => webhooks::run(flags).await,
        Command::Listen(flags) => listen::run(flags).await,
        Command::Trigger(flags) => trigger::run(flags).await,
        Command::Deliveries(flags) => deliveries::run(flags).await,
        Command::Replay(flags) => replay::run(flags).await,
        Command::Replays(flags) => replays::run(flags).await,
        Command::Stats(flags) => stats::run(flags).await,
        Command::Message(flags) => message::run(flags).await,
        Command::Notices(flags) => notices::run(flags).await,
        Command::Users(flags) => users::run(flags).await,
        Command::Openapi => papers::print_openapi(),
        Command::Completions(flags) => papers::print_completions(&flags, Cli::command()),
        Command::Man(flags) => papers::write_man_pages(&flags, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_all_below(command: &clap::Command) -> Vec<clap::Command> {
        let below = command.get_subcommands().flat_map(with_all_below);
        std::iter::once(command.clone()).chain(below).collect()
    }

    #[test]
    fn help_tells_of_everything_in_one_style() {
        let mut cli = Cli::command();
        cli.build();
        for mut command in with_all_below(&cli) {
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            assert!(!help.contains('\\'), "{name}: {help}");
            assert!(command.get_about().is_some(), "{name} does not say what it does");
            for argument in command.get_arguments() {
                let told = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!told.is_empty() && !told.ends_with('.'), "{name} {}: '{told}'", argument.get_id());
                // What is under the heading is how a server is reached.
                let is_of_server = argument.get_help_heading() == Some("Server");
                let reaches = ["profile", "server", "app", "data_dir", "ca", "json"];
                assert!(!is_of_server || reaches.contains(&argument.get_id().as_str()), "{name}: {help}");
            }
        }
    }
}
