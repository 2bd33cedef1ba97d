//! `chathook restore`: a backup becomes the database of a server that does not run.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chathook_adapters::sqlite::checkup::database_in;
use chathook_adapters::sqlite::restore::{Existing, RestoreError, Restored, copied_bytes, restore};
use chathook_adapters::vault::Vault;
use chathook_domain::checkup::{KeyFit, bytes};
use clap::Args;
use serde_json::json;

use super::exit::usage;
use super::output::{Output, Reader};
use super::progress::during;
use crate::config::DataDirFlags;

#[derive(Debug, Args)]
pub struct RestoreFlags {
    /// The backup, as 'chathook backup' made it; it stays as it is
    file: PathBuf,
    #[command(flatten)]
    data_dir: DataDirFlags,
    /// Move a database that is there aside, into a directory beside the new one
    #[arg(long)]
    force: bool,
    /// Print what was done as JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Returns when the backup is in place and on disk.
pub async fn run(flags: RestoreFlags) -> anyhow::Result<()> {
    let out = Output::for_reader(if flags.json { Reader::Program } else { Reader::Person });
    let data_dir = flags.data_dir.find().map_err(usage)?;
    let existing = if flags.force { Existing::MovesAside } else { Existing::Keeps };
    let to = data_dir.clone();
    out.say(&format!("Copying {} and checking the copy", flags.file.display()))?;
    let all = std::fs::metadata(&flags.file).map_or(0, |file| file.len());
    let work = tokio::task::spawn_blocking(move || put_in_place(&flags.file, &to, existing));
    let restored = during(work, |waited| {
        let copied = copied_bytes(&data_dir);
        if copied < all {
            format!("{} of {} copied", bytes(copied), bytes(all))
        } else {
            format!("Copied; checking each page and index since {} s", waited.as_secs())
        }
    });
    let restored = restored.await.context("The restore died")??;
    tell(&out, &data_dir, &restored)
}

fn put_in_place(file: &Path, data_dir: &Path, existing: Existing) -> anyhow::Result<Restored> {
    let master_key = std::env::var("CHATHOOK_MASTER_KEY").ok();
    let at_hand = Vault::at_hand(master_key.as_deref(), data_dir).map_err(anyhow::Error::msg)?;
    let vault = at_hand.map(|(vault, _)| vault);
    let restored: Result<Restored, RestoreError> = restore(file, data_dir, existing, vault.as_ref());
    Ok(restored?)
}

fn tell(out: &Output, data_dir: &Path, restored: &Restored) -> anyhow::Result<()> {
    let database = database_in(data_dir);
    let (seen, dir) = (&restored.seen, data_dir.display());
    let has_key = match restored.key {
        KeyFit::Right | KeyFit::NothingSealed => true,
        KeyFit::Wrong => false,
    };
    out.show(
        &json!({
            "database": database.display().to_string(),
            "bytes": seen.bytes,
            "waiting": seen.waiting.count,
            "movedTo": restored.moved_to.as_ref().map(|path| path.display().to_string()),
            "masterKey": if has_key { "right" } else { "missing" },
        }),
        |out| {
            out.say(&format!("restored: {}, {}, checked and whole", database.display(), bytes(seen.bytes)))?;
            if let Some(moved_to) = &restored.moved_to {
                out.say(&format!("The database that was there is in {}.", moved_to.display()))?;
            }
            if !has_key {
                out.say(&format!(
                    "There is no master key here. Before the start, put the master.key that was kept beside the \
                     backup into {dir}, with mode 0600, or set CHATHOOK_MASTER_KEY: without it the server does \
                     not start on this database, and the webhooks' secrets in it are lost."
                ))?;
            }
            let least = if seen.waiting.is_cut { "at least " } else { "" };
            out.say(&format!(
                "Next: chathook doctor --data-dir {dir}, then chathook serve --data-dir {dir}. What waits in it \
                 ({least}{} deliveries) goes out then, what was delivered since the backup a second time.",
                seen.waiting.count
            ))
        },
    )?;
    Ok(())
}
