//! `chathook notices`: what a person should know of the app's webhooks.

use clap::Args;

use super::lists::{Limit, of_cursor};
use super::output::{Cell, Table};
use super::profile::ReachFlags;
use super::remote::Remote;

#[derive(Debug, Args)]
pub struct NoticesFlags {
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    reach: ReachFlags,
}

pub async fn run(flags: NoticesFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    let notices = of_cursor(&remote.api, &remote.of_app(&["notices"]).await?, flags.limit).await?;
    remote.out.show(&notices.data, |out| {
        let mut table = Table::new(&["AT", "WEBHOOK", "KIND", "NOTICE"], "There is nothing to tell.");
        for notice in notices.items() {
            let cells = ["webhook", "kind", "text"].map(|name| Cell::of(&notice[name]));
            table.row([out.time(&notice["createdAt"])].into_iter().chain(cells).collect());
        }
        out.table(&table)
    })?;
    notices.hint(&remote.out);
    Ok(())
}
