//! `chathook backup`: a copy of the database, beside a server that may go on running.

use anyhow::Context as _;
use chathook_adapters::sqlite::backup::back_up;

use crate::config::BackupConfig;

/// Returns when the backup is whole and on disk.
pub async fn run(config: BackupConfig) -> anyhow::Result<()> {
    let BackupConfig { data_dir, file } = config;
    let to = file.clone();
    tokio::task::spawn_blocking(move || back_up(&data_dir, &to)).await.context("The backup died")??;
    println!("backup: {}", file.display());
    Ok(())
}
