//! The binary: reads the command line, and starts what it names.

use std::io::Write as _;
use std::process::ExitCode;

use chathook_server::api::openapi;
use chathook_server::config::{BackupConfig, Cli, Command, Config};
use chathook_server::{backup, dev, serve};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command)),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chathook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
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
        Command::Openapi => Ok(writeln!(std::io::stdout(), "{:#}", openapi::document())?),
    }
}
