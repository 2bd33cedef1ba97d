//! `chathook completions`, `chathook man` and `chathook openapi`: what shells, readers of manuals and other programs
//! know of the commands and of the API.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use crate::reference::openapi;

#[derive(Debug, Args)]
pub struct CompletionsFlags {
    /// Which shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManFlags {
    /// Where to write the pages; made if it is not there
    dir: PathBuf,
}

/// Prints the shell's script.
pub fn print_completions(flags: &CompletionsFlags, mut commands: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut commands, "chathook", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

/// Prints the description of the HTTP API.
pub fn print_openapi() -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{:#}", openapi::document())?)
}

/// Writes a page for each command.
pub fn write_man_pages(flags: &ManFlags, commands: Command) -> anyhow::Result<()> {
    let dir = flags.dir.display();
    std::fs::create_dir_all(&flags.dir).with_context(|| format!("The directory {dir} cannot be made"))?;
    clap_mangen::generate_to(commands, &flags.dir)
        .with_context(|| format!("The manual pages cannot be written to {dir}"))
}
