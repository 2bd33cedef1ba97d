//! `chathook webhooks`: what the app's webhooks are, listen to, and answer.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::{Consent, consent};
use super::attempts::{draw_one, verdict_fields};
use super::calls::{self, Calls};
use super::configuration::{Draft, Policies, With};
use super::exit::usage;
use super::lists::items;
use super::output::{Cell, Output, Reader, Table, Tone};
use super::profile::ReachFlags;
use super::remote::Remote;
use super::words::triggers;

#[derive(Debug, Args)]
pub struct WebhooksFlags {
    #[command(flatten)]
    reach: ReachFlags,
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Debug, Subcommand)]
enum WebhooksCommand {
    /// Every webhook of the app
    List,
    /// One webhook with its triggers
    Show {
        /// The webhook's id
        id: String,
    },
    /// Make a webhook; its signing secret is shown this once
    Create(Box<Draft>),
    /// Change what is given, and nothing else
    Update {
        /// The webhook's id
        id: String,
        #[command(flatten)]
        policies: Box<Policies>,
    },
    /// Call it again
    Enable {
        /// The webhook's id
        id: String,
    },
    /// Call it no more; what waits is held for 7 days
    Disable {
        /// The webhook's id
        id: String,
    },
    /// Delete it with what waits for it
    Delete {
        /// The webhook's id
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// What it listens to; --add and --remove change it
    Triggers {
        /// The webhook's id
        id: String,
        /// A trigger to listen to as well; repeatable
        #[arg(long, value_name = "TRIGGER", value_parser = triggers(), value_delimiter = ',')]
        add: Vec<String>,
        /// A trigger to listen to no more; repeatable
        #[arg(long, value_name = "TRIGGER", value_parser = triggers(), value_delimiter = ',')]
        remove: Vec<String>,
    },
    /// Send a sample event and show request and answer; code 1 where the answer is no success
    Test {
        /// The webhook's id
        id: String,
        /// What the sample is of
        #[arg(value_parser = triggers(), default_value = "after_message")]
        trigger: String,
    },
    /// What it made of each message before it was sent, newest first
    Calls(Calls),
    /// Another signing secret, shown this once
    Rotate {
        /// The webhook's id
        id: String,
        /// How long the old secret signs as well [default: a day]
        #[arg(long, value_name = "SECONDS")]
        overlap: Option<u32>,
    },
}

pub async fn run(flags: WebhooksFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    match flags.command {
        WebhooksCommand::List => list(&remote).await,
        WebhooksCommand::Show { id } => show(&remote, &id).await,
        WebhooksCommand::Create(draft) => create(&remote, &draft).await,
        WebhooksCommand::Update { id, policies } => update(&remote, &id, &policies).await,
        WebhooksCommand::Enable { id } => put(&remote, &id, &json!({"enabled": true})).await,
        WebhooksCommand::Disable { id } => put(&remote, &id, &json!({"enabled": false})).await,
        WebhooksCommand::Delete { id, consent } => delete(&remote, &id, &consent).await,
        WebhooksCommand::Triggers { id, add, remove } => change_triggers(&remote, &id, &add, &remove).await,
        WebhooksCommand::Test { id, trigger } => test(&remote, &id, &trigger).await,
        WebhooksCommand::Calls(asked) => calls::list(&remote, &asked).await,
        WebhooksCommand::Rotate { id, overlap } => rotate(&remote, &id, overlap).await,
    }
}

async fn list(remote: &Remote) -> anyhow::Result<()> {
    let webhooks = remote.api.get(&remote.of_app(&["webhooks"]).await?).await?.data;
    remote.out.show(&webhooks, |out| {
        let mut table = Table::new(
            &["ID", "NAME", "URL", "STATE", "CREATED"],
            "There is no webhook yet: make one with 'chathook webhooks create ID --url URL'.",
        );
        for webhook in items(&webhooks) {
            table.row(vec![
                Cell::of(&webhook["id"]),
                Cell::of(&webhook["name"]),
                place(webhook),
                state(webhook),
                out.time(&webhook["createdAt"]),
            ]);
        }
        out.table(&table)
    })?;
    Ok(())
}

async fn show(remote: &Remote, id: &str) -> anyhow::Result<()> {
    let webhook = remote.api.get(&remote.of_app(&["webhooks", id]).await?).await?.data;
    print(remote, &webhook).await
}

async fn create(remote: &Remote, draft: &Draft) -> anyhow::Result<()> {
    let body = draft.body()?;
    let of_app = remote.of_app(&["webhooks"]).await?;
    let webhook = remote.api.post(&of_app, &body).await?.data;
    let id = draft.id.as_str();
    let added = match draft.triggers.as_slice() {
        [] => Ok(()),
        triggers => {
            let target = of_app.below(&[id, "triggers"]);
            remote.api.post(&target, &json!({"triggerIds": triggers})).await.map(drop)
        }
    };
    // The secret is shown this once, so whatever becomes of the triggers.
    let ids: Vec<&str> = match &added {
        Ok(()) => draft.triggers.iter().map(String::as_str).collect(),
        Err(_) => Vec::new(),
    };
    remote.out.show(&webhook, |out| draw(out, &webhook, &ids))?;
    added.context("The webhook was made, but listens to nothing")?;
    if draft.triggers.is_empty() {
        remote
            .out
            .say(&format!("It listens to nothing yet: chathook webhooks triggers {id} --add TRIGGER"))?;
    }
    Ok(())
}

async fn update(remote: &Remote, id: &str, policies: &Policies) -> anyhow::Result<()> {
    let body = policies.body(With::WhatIsGiven)?;
    if body.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(usage("Nothing to change was given: see 'chathook webhooks update --help'."));
    }
    put(remote, id, &body).await
}

async fn put(remote: &Remote, id: &str, body: &Value) -> anyhow::Result<()> {
    let webhook = remote.api.put(&remote.of_app(&["webhooks", id]).await?, body).await?.data;
    print(remote, &webhook).await
}

async fn delete(remote: &Remote, id: &str, given: &Consent) -> anyhow::Result<()> {
    let target = remote.of_app(&["webhooks", id]).await?;
    // What is not there needs no yes.
    remote.api.get(&target).await?;
    consent(given, &format!("Delete the webhook '{id}'? What waits for it will never be sent."))?;
    let done = remote.api.delete(&target, None).await?.data;
    remote.out.show(&done, |out| out.line(&[Cell::of(&done["message"])]))?;
    Ok(())
}

async fn change_triggers(remote: &Remote, id: &str, add: &[String], remove: &[String]) -> anyhow::Result<()> {
    let target = remote.of_app(&["webhooks", id, "triggers"]).await?;
    if !add.is_empty() {
        remote.api.post(&target, &json!({"triggerIds": add})).await?;
    }
    if !remove.is_empty() {
        remote.api.delete(&target, Some(&json!({"triggerIds": remove}))).await?;
    }
    let triggers = remote.api.get(&target).await?.data;
    remote.out.show(&triggers, |out| {
        let empty = format!("It listens to nothing: chathook webhooks triggers {id} --add TRIGGER");
        let mut table = Table::new(&["TRIGGER", "FIRES"], &empty);
        for trigger in items(&triggers) {
            table.row(["id", "description"].map(|name| Cell::of(&trigger[name])).to_vec());
        }
        out.table(&table)
    })?;
    Ok(())
}

async fn test(remote: &Remote, id: &str, trigger: &str) -> anyhow::Result<()> {
    let target = remote.of_app(&["webhooks", id, "test"]).await?;
    let tested = remote.api.post(&target, &json!({"trigger": trigger})).await?.data;
    remote.out.show(&tested, |out| draw_test(out, &tested))?;
    if tested["success"] == true {
        return Ok(());
    }
    let outcome = tested["attempt"]["outcome"].as_str().unwrap_or("nothing");
    Err(anyhow::anyhow!("The endpoint did not take it: {outcome}."))
}

async fn rotate(remote: &Remote, id: &str, overlap: Option<u32>) -> anyhow::Result<()> {
    let body = overlap.map_or_else(|| json!({}), |seconds| json!({"overlapSeconds": seconds}));
    let target = remote.of_app(&["webhooks", id, "secret", "rotate"]).await?;
    let rotated = remote.api.post(&target, &body).await?.data;
    remote.out.show(&rotated, |out| {
        out.fields(&[
            ("signing secret", Cell::of(&rotated["signingSecret"])),
            ("old one until", out.time(&rotated["previousValidUntil"])),
        ])
    })?;
    Ok(())
}

/// A webhook; people are shown its triggers as well.
async fn print(remote: &Remote, webhook: &Value) -> anyhow::Result<()> {
    let triggers = match (remote.out.reader, webhook["id"].as_str()) {
        (Reader::Person, Some(id)) => {
            remote.api.get(&remote.of_app(&["webhooks", id, "triggers"]).await?).await?.data
        }
        (Reader::Person, None) | (Reader::Program, _) => Value::Null,
    };
    let ids: Vec<&str> = items(&triggers).filter_map(|trigger| trigger["id"].as_str()).collect();
    remote.out.show(webhook, |out| draw(out, webhook, &ids))?;
    Ok(())
}

fn draw(out: &Output, webhook: &Value, triggers: &[&str]) -> std::io::Result<()> {
    let of = |name: &str| Cell::of(&webhook[name]);
    let login = if webhook["useBasicAuth"] == true { of("username") } else { Cell::of(&Value::Null) };
    let mut fields = vec![
        ("id", of("id")),
        ("name", of("name")),
        ("URL", place(webhook)),
        ("state", state(webhook)),
        ("triggers", listed(triggers)),
        ("Basic auth as", login),
        ("retries", of("retryOnFailure")),
        ("on failure", of("onFailure")),
        ("timeout", counted(&webhook["timeoutMs"], "ms")),
        ("patience", counted(&webhook["patienceSeconds"], "s")),
        ("created", out.time(&webhook["createdAt"])),
        ("changed", out.time(&webhook["updatedAt"])),
    ];
    if !webhook["signingSecret"].is_null() {
        fields.push(("signing secret", of("signingSecret")));
    }
    out.fields(&fields)
}

fn listed(ids: &[&str]) -> Cell {
    if ids.is_empty() { Cell::of(&Value::Null) } else { Cell::new(&ids.join(", ")) }
}

/// A number with its unit; a word, such as 'unlimited', has none.
fn counted(value: &Value, unit: &str) -> Cell {
    value.as_u64().map_or_else(|| Cell::of(value), |count| Cell::new(&format!("{count} {unit}")))
}

/// Its URL, but for one whose endpoint is a connection.
fn place(webhook: &Value) -> Cell {
    if webhook["listener"].is_object() {
        Cell::new("chathook listen")
    } else {
        Cell::of(&webhook["webhookURL"])
    }
}

/// How it stands, in the word of the dashboard; of one that was switched off, why.
fn state(webhook: &Value) -> Cell {
    if let Some(why) = webhook["switchedOff"].as_str() {
        return Cell::toned(Tone::Bad, &format!("switched off ({why})"));
    }
    let Some(state) = webhook["state"].as_str() else { return Cell::of(&Value::Null) };
    let tone = match state {
        "on" => Tone::Good,
        "disabled" => Tone::Faint,
        "paused" => Tone::Open,
        _ => Tone::Bad,
    };
    Cell::toned(tone, &state.replace('_', " "))
}

/// Request and answer of a test.
fn draw_test(out: &Output, tested: &Value) -> std::io::Result<()> {
    let request = &tested["request"];
    out.line(&[Cell::toned(Tone::Heading, "POST"), Cell::of(&request["url"])])?;
    let mut headers = Table::bare();
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        headers.row(vec![Cell::toned(Tone::Faint, name), Cell::of(value)]);
    }
    out.table(&headers)?;
    out.gap()?;
    out.line(&[Cell::of(&request["body"])])?;
    out.gap()?;
    draw_one(out, &tested["attempt"])?;
    let verdict = verdict_fields(&tested["verdict"]);
    if verdict.is_empty() {
        return Ok(());
    }
    out.gap()?;
    out.fields(&verdict)
}
