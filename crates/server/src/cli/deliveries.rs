//! `chathook deliveries`: what a webhook is and was owed, and what a person may do about it.

use chathook_adapters::api_client::Target;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::{Consent, consent};
use super::attempts::{draw as draw_attempts, outcome, status};
use super::lists::{Limit, of_cursor};
use super::output::{Cell, Output, Table, Tone};
use super::profile::ReachFlags;
use super::remote::Remote;
use super::tail::{Following, tail};
use super::when::{When, when};
use super::words::{statuses, triggers};

#[derive(Debug, Args)]
pub struct DeliveriesFlags {
    #[command(flatten)]
    reach: ReachFlags,
    #[command(subcommand)]
    command: DeliveriesCommand,
}

#[derive(Debug, Subcommand)]
enum DeliveriesCommand {
    /// The deliveries of a webhook, newest first
    List {
        /// The webhook's id
        webhook: String,
        #[command(flatten)]
        filter: Filter,
        /// Only those made since; such as 30m, 2025-10-09 or '2025-10-09 10:30'
        #[arg(long, value_name = "WHEN", value_parser = when)]
        since: Option<When>,
        /// Only those made before
        #[arg(long, value_name = "WHEN", value_parser = when)]
        until: Option<When>,
        #[command(flatten)]
        limit: Limit,
    },
    /// One delivery with its attempts, drawn to scale, and its payload
    Show(One),
    /// Try it now; one that ended unsent is owed anew
    Retry(One),
    /// Never send it
    Cancel {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        consent: Consent,
    },
    /// Follow what is owed and what comes of it, until interrupted
    Tail {
        /// The webhook's id
        webhook: String,
        #[command(flatten)]
        filter: Filter,
        /// How many of the past to begin with
        #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000))]
        lines: u32,
    },
}

/// Which delivery.
#[derive(Debug, Args)]
struct One {
    /// The webhook's id
    webhook: String,
    /// The delivery's id: its number, or that of a test
    id: String,
}

/// Which deliveries.
#[derive(Debug, Clone, Args)]
pub struct Filter {
    /// Only those that stand so
    #[arg(long, value_parser = statuses())]
    pub status: Option<String>,
    /// Only those of this trigger
    #[arg(long, value_parser = triggers())]
    pub trigger: Option<String>,
    /// Only those with this ordering key: a conversation's id, or a user's for connections
    #[arg(long)]
    pub key: Option<String>,
}

pub async fn run(flags: DeliveriesFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    match flags.command {
        DeliveriesCommand::List { webhook, filter, since, until, limit } => {
            list(&remote, of_webhook(&remote, &webhook, &[]).await?, &filter, (since, until), limit).await
        }
        DeliveriesCommand::Show(One { webhook, id }) => {
            let delivery = remote.api.get(&of_webhook(&remote, &webhook, &[&id]).await?).await?.data;
            print(&remote, &delivery)
        }
        DeliveriesCommand::Retry(One { webhook, id }) => {
            let target = of_webhook(&remote, &webhook, &[&id, "retry"]).await?;
            let delivery = remote.api.post(&target, &json!({})).await?.data;
            remote.out.show(&delivery, |out| out.line(&[Cell::of(&delivery["retried"]["text"])]))?;
            Ok(())
        }
        DeliveriesCommand::Cancel { one, consent } => cancel(&remote, &one, &consent).await,
        DeliveriesCommand::Tail { webhook, filter, lines } => {
            let target = of_webhook(&remote, &webhook, &[]).await?;
            let lines = Limit::to(lines);
            tail(&remote, Following { target, status: filter.status.clone(), lines }, |target| {
                target.with_any("trigger", filter.trigger.as_deref()).with_any("key", filter.key.as_deref())
            })
            .await
        }
    }
}

async fn list(
    remote: &Remote,
    target: Target,
    filter: &Filter,
    (since, until): (Option<When>, Option<When>),
    limit: Limit,
) -> anyhow::Result<()> {
    let seconds = |when: Option<When>| when.map(|when| when.seconds().to_string());
    let target = target
        .with_any("status", filter.status.as_deref())
        .with_any("trigger", filter.trigger.as_deref())
        .with_any("key", filter.key.as_deref())
        .with_any("since", seconds(since).as_deref())
        .with_any("until", seconds(until).as_deref());
    let deliveries = of_cursor(&remote.api, &target, limit).await?;
    remote.out.show(&deliveries.data, |out| {
        let mut table = Table::new(
            &["ID", "CREATED", "TRIGGER", "KEY", "STATUS", "ATTEMPTS", "LAST OUTCOME", "NEXT TRY"],
            "No such delivery.",
        );
        for delivery in deliveries.items() {
            table.row(vec![
                Cell::of(&delivery["id"]),
                out.time(&delivery["createdAt"]),
                Cell::of(&delivery["trigger"]),
                Cell::of(&delivery["key"]),
                status(&delivery["status"]),
                Cell::of(&delivery["attempts"]),
                outcome(&delivery["lastOutcome"]),
                next(out, delivery),
            ]);
        }
        out.table(&table)
    })?;
    deliveries.hint(&remote.out);
    Ok(())
}

async fn cancel(remote: &Remote, One { webhook, id }: &One, given: &Consent) -> anyhow::Result<()> {
    consent(given, &format!("Cancel the delivery {id} to '{webhook}'? It will never be sent."))?;
    let target = of_webhook(remote, webhook, &[id, "cancel"]).await?;
    let delivery = remote.api.post(&target, &json!({})).await?.data;
    print(remote, &delivery)
}

async fn of_webhook(remote: &Remote, webhook: &str, below: &[&str]) -> anyhow::Result<Target> {
    remote.of_app(&[&["webhooks", webhook, "deliveries"], below].concat()).await
}

fn print(remote: &Remote, delivery: &Value) -> anyhow::Result<()> {
    remote.out.show(delivery, |out| draw(out, delivery))?;
    Ok(())
}

fn draw(out: &Output, delivery: &Value) -> std::io::Result<()> {
    let of = |name: &str| Cell::of(&delivery[name]);
    let mut fields = vec![
        ("id", of("id")),
        ("event", of("eventId")),
        ("trigger", of("trigger")),
        ("key", of("key")),
        ("status", status(&delivery["status"])),
        ("created", out.time(&delivery["createdAt"])),
    ];
    for (label, name) in [("ended", "endedAt"), ("next try", "nextAttemptAt")] {
        if !delivery[name].is_null() {
            fields.push((label, out.time(&delivery[name])));
        }
    }
    let waits_for = &delivery["waitsFor"];
    if delivery["nextAttemptAt"].is_null() && !waits_for["until"].is_null() {
        fields.push(("next probe", out.time(&waits_for["until"])));
    }
    if let Some(why) = waits_for["text"].as_str() {
        fields.push(("waits", Cell::toned(Tone::Open, why)));
    }
    if !delivery["replay"].is_null() {
        fields.push(("of replay", of("replay")));
    }
    out.fields(&fields)?;
    draw_attempts(out, &delivery["attempts"])?;
    out.gap()?;
    match delivery["body"].as_str() {
        None => out.line(&[Cell::toned(Tone::Faint, "Its payload is no longer kept.")]),
        Some(body) => {
            out.line(&[Cell::toned(Tone::Heading, "payload")])?;
            match serde_json::from_str(body) {
                Ok(json) => out.document(&json),
                Err(_) => out.line(&[Cell::new(body)]),
            }
        }
    }
}

/// When it is tried again, or what it waits for instead of a time.
fn next(out: &Output, delivery: &Value) -> Cell {
    let waits_for = &delivery["waitsFor"];
    let what = match waits_for["kind"].as_str() {
        Some("webhook") => "its webhook is off".to_owned(),
        Some("answer") => "under way".to_owned(),
        Some(_) if !waits_for["behind"].is_null() => {
            format!("behind {}", waits_for["behind"].as_str().unwrap_or("another"))
        }
        Some(kind @ ("circuit" | "pause")) if delivery["nextAttemptAt"].is_null() => kind.to_owned(),
        Some(_) | None => return out.time(&delivery["nextAttemptAt"]),
    };
    Cell::toned(Tone::Open, &what)
}
