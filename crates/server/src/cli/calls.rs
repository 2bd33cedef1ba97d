//! `chathook webhooks calls`: what a `before_message` webhook made of each message.

use clap::Args;
use serde_json::Value;

use super::attempts::took;
use super::lists::{Limit, of_cursor};
use super::output::{Cell, Table, Tone};
use super::remote::Remote;

#[derive(Debug, Args)]
pub struct Calls {
    /// The webhook's id
    id: String,
    /// Only those that came to this; 'silent' are those without a usable answer
    #[arg(long, value_parser = ["pass", "inject", "replace", "drop", "silent"])]
    verdict: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

pub async fn list(remote: &Remote, asked: &Calls) -> anyhow::Result<()> {
    let target = remote.of_app(&["webhooks", &asked.id, "calls"]).await?;
    let target = target.with_any("verdict", asked.verdict.as_deref());
    let calls = of_cursor(&remote.api, &target, asked.limit).await?;
    remote.out.show(&calls.data, |out| {
        let headings = ["AT", "CONVERSATION", "SENDER", "VERDICT", "SILENCE", "TOOK", "EFFECT"];
        let mut table = Table::new(&headings, "It was not asked.");
        for call in calls.items() {
            table.row(vec![
                out.time_ms(&call["atMs"]),
                Cell::of(&call["conversationId"]),
                Cell::of(&call["sender"]),
                verdict(&call["verdict"]),
                Cell::of(&call["silence"]),
                took(&call["tookUs"]),
                Cell::of(&call["effect"]),
            ]);
        }
        out.table(&table)
    })?;
    calls.hint(&remote.out);
    Ok(())
}

fn verdict(value: &Value) -> Cell {
    let text = value.as_str().unwrap_or("-");
    let tone = match text {
        "pass" => Tone::Good,
        "drop" => Tone::Bad,
        _ => Tone::Open,
    };
    Cell::toned(tone, text)
}
