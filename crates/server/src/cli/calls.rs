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
    /// Only those whose answer was this; 'silent' are those without a usable answer
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
                verdict(call),
                Cell::of(&call["silence"]),
                took(&call["tookUs"]),
                effect(call),
            ]);
        }
        out.table(&table)
    })?;
    calls.hint(&remote.out);
    Ok(())
}

/// Silence is no verdict of the endpoint's, whatever it means to the message.
fn verdict(call: &Value) -> Cell {
    match (call["silence"].is_null(), call["verdict"].as_str().unwrap_or("-")) {
        (false, _) => Cell::toned(Tone::Bad, "silent"),
        (true, text @ "pass") => Cell::toned(Tone::Good, text),
        (true, text @ "drop") => Cell::toned(Tone::Bad, text),
        (true, text) => Cell::toned(Tone::Open, text),
    }
}

fn effect(call: &Value) -> Cell {
    match (call["silence"].is_null(), call["verdict"].as_str()) {
        (true, _) => Cell::of(&call["effect"]),
        (false, Some("drop")) => Cell::new("refused, as onFailure says"),
        (false, _) => Cell::new("let through, as onFailure says"),
    }
}
