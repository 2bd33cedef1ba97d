//! The binary: reads the command line, runs what it names, and ends as `docs/cli.md` says.

use std::process::ExitCode;

use chathook_server::cli::exit::{Exit, cure_of, is_hung_up, of_error};
use chathook_server::cli::output::remark;
use chathook_server::cli::{Cli, run};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command)),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => Exit::Done.into(),
        Err(error) if is_hung_up(&error) => Exit::Done.into(),
        Err(error) => {
            remark(&format!("{error:#}"));
            if let Some(cure) = cure_of(&error) {
                remark(cure);
            }
            of_error(&error).into()
        }
    }
}
