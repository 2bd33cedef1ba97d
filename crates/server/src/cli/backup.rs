//! `chathook backup`: a copy of the database, beside a server that may go on running.

use std::path::PathBuf;

use anyhow::Context as _;
use chathook_adapters::sqlite::backup::{back_up, written_bytes};
use chathook_adapters::sqlite::checkup::database_in;
use chathook_domain::checkup::bytes;
use clap::Args;
use serde_json::json;

use super::exit::usage;
use super::output::{Output, Reader};
use super::progress::during;
use crate::config::DataDirFlags;

#[derive(Debug, Args)]
pub struct BackupFlags {
    /// The file to make; it must not exist
    file: PathBuf,
    #[command(flatten)]
    data_dir: DataDirFlags,
    /// Print what was done as JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Returns when the backup is whole and on disk.
pub async fn run(flags: BackupFlags) -> anyhow::Result<()> {
    let out = Output::for_reader(if flags.json { Reader::Program } else { Reader::Person });
    let data_dir = flags.data_dir.find().map_err(usage)?;
    let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
    let all = bytes(size(database_in(&data_dir)));
    let to = flags.file.clone();
    let work = tokio::task::spawn_blocking(move || back_up(&data_dir, &to));
    let tell = |_| format!("{} written, the database takes {all}", bytes(written_bytes(&flags.file)));
    during(work, tell).await.context("The backup died")??;
    let name = flags.file.display().to_string();
    let done = json!({"file": name, "bytes": size(flags.file)});
    out.show(&done, |out| out.say(&format!("backup: {name}")))?;
    Ok(())
}
