//! `chathook message`: everything that happened to one message, and why a webhook got nothing of it.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::attempts::{duration, status};
use super::lists::items;
use super::output::{Cell, Output, Table, Tone};
use super::profile::ReachFlags;
use super::remote::Remote;

#[derive(Debug, Args)]
pub struct MessageFlags {
    #[command(flatten)]
    reach: ReachFlags,
    #[command(subcommand)]
    command: MessageCommand,
}

#[derive(Debug, Subcommand)]
enum MessageCommand {
    /// The message's time line, and what each webhook got of it
    Show {
        /// The message's id
        id: String,
    },
}

pub async fn run(flags: MessageFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    match flags.command {
        MessageCommand::Show { id } => show(&remote, &id).await,
    }
}

async fn show(remote: &Remote, id: &str) -> anyhow::Result<()> {
    let timeline = remote.api.get(&remote.of_app(&["messages", id, "timeline"]).await?).await?.data;
    remote.out.show(&timeline, |out| draw(out, &timeline))?;
    Ok(())
}

fn draw(out: &Output, timeline: &Value) -> std::io::Result<()> {
    let message = &timeline["message"];
    let of = |name: &str| Cell::of(&message[name]);
    out.fields(&[
        ("message", of("id")),
        ("conversation", of("conversationId")),
        ("sender", of("sender")),
        (
            "receiver",
            Cell::new(&format!("{} {}", text(&message["receiverType"]), text(&message["receiver"]))),
        ),
        ("type", Cell::new(&format!("{} {}", text(&message["category"]), text(&message["type"])))),
    ])?;
    out.gap()?;
    let mut table = Table::new(&["AT", "WHAT", ""], "Nothing is recorded of it.");
    for entry in items(&timeline["entries"]) {
        table.row(vec![out.time_ms(&entry["atMs"]), Cell::of(&entry["what"]), details(entry)]);
    }
    out.table(&table)?;
    if timeline["eventIsGone"] == true {
        out.line(&[Cell::toned(Tone::Faint, "Its event is no longer kept, nor what came of it.")])?;
    }
    out.gap()?;
    let mut table = Table::new(&["WEBHOOK", "GOT", "ATTEMPTS"], "The app has no webhook.");
    for owed in items(&timeline["webhooks"]) {
        let webhook = Cell::of(&owed["webhook"]);
        for delivery in items(&owed["deliveries"]) {
            let attempts = delivery["attempts"].as_array().map_or(0, Vec::len);
            table.row(vec![webhook.clone(), status(&delivery["status"]), Cell::new(&attempts.to_string())]);
        }
        if let Some(why) = owed["owedNothingBecause"].as_str() {
            table.row(vec![webhook, Cell::toned(Tone::Faint, &nothing_because(why)), Cell::of(&Value::Null)]);
        }
    }
    out.table(&table)
}

/// What an entry tells besides its time and name.
fn details(entry: &Value) -> Cell {
    let of = |name: &str| text(&entry[name]);
    match entry["what"].as_str().unwrap_or_default() {
        "before_message" => {
            let took = entry["tookUs"].as_u64().map(duration).unwrap_or_default();
            let verdict = match (entry["silence"].as_str(), of("verdict")) {
                (None, verdict) => verdict.to_owned(),
                (Some(cause), "drop") => format!("silent ({cause}), refused"),
                (Some(cause), _) => format!("silent ({cause}), let through"),
            };
            Cell::new(&format!("{}: {verdict} in {took}", of("webhook")))
        }
        "accepted" => {
            let over = entry["platform"].as_str().map_or_else(String::new, |name| format!(" over {name}"));
            Cell::new(&format!("of {}{over}", of("by")))
        }
        "event" => Cell::new(&format!("{} {}", of("trigger"), of("event"))),
        "owed" => Cell::new(&format!("{} as {}", of("webhook"), of("delivery"))),
        "attempt" => {
            let outcome = of("outcome");
            let tone = if outcome.starts_with('2') { Tone::Good } else { Tone::Bad };
            let detail = entry["detail"].as_str().map_or_else(String::new, |text| format!(": {text}"));
            let number = &entry["attempt"];
            Cell::toned(tone, &format!("{} {number} of {}: {outcome}{detail}", of("webhook"), of("delivery")))
        }
        "ended" => Cell::new(&format!("{} {}: {}", of("webhook"), of("delivery"), of("status"))),
        _ => Cell::new(&entry["by"].as_str().map_or_else(String::new, |by| format!("by {by}"))),
    }
}

fn nothing_because(why: &str) -> String {
    let sentence = match why {
        "no_trigger" => "nothing: it does not listen to this trigger",
        "disabled" => "nothing: it was disabled",
        "switched_off" => "nothing: it was switched off",
        "created_later" => "nothing: it was made later",
        other => return format!("nothing: {other}"),
    };
    sentence.to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
