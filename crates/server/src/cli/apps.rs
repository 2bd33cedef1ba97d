//! `chathook apps`: the tenants of the server, their keys and settings.

use chathook_adapters::api_client::Target;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::ask::{Consent, consent};
use super::exit::usage;
use super::lists::{Limit, of_pages};
use super::output::{Cell, Output, Table};
use super::profile::ReachFlags;
use super::remote::Remote;

#[derive(Debug, Args)]
pub struct AppsFlags {
    #[command(flatten)]
    reach: ReachFlags,
    #[command(subcommand)]
    command: AppsCommand,
}

#[derive(Debug, Subcommand)]
enum AppsCommand {
    /// Every app of the server
    List(Limit),
    /// One app with its API keys
    Show {
        /// The app [default: that of the profile, or the only one]
        id: Option<String>,
    },
    /// Make an app with its API keys, and sample users to begin with
    Create(Create),
    /// Delete an app and everything in it
    Delete {
        /// The app; it must be named
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// What the app is set to; --set changes it
    Settings {
        /// The app [default: that of the profile, or the only one]
        id: Option<String>,
        /// A setting to change, such as beforeMessageBudgetMs=500 or retention.events=30; repeatable.
        /// null as a retention is for ever
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// What people call it
    name: String,
    /// What payloads carry as the region
    #[arg(long, default_value = "us", value_parser = ["us", "eu", "in"])]
    region: String,
    /// Without the sample users
    #[arg(long)]
    empty: bool,
}

pub async fn run(flags: AppsFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    match flags.command {
        AppsCommand::List(limit) => list(&remote, limit).await,
        AppsCommand::Show { id } => show(&remote, id).await,
        AppsCommand::Create(given) => create(&remote, given).await,
        AppsCommand::Delete { id, consent } => delete(&remote, &id, &consent).await,
        AppsCommand::Settings { id, set } => settings(&remote, id, &set).await,
    }
}

async fn list(remote: &Remote, limit: Limit) -> anyhow::Result<()> {
    let apps = of_pages(&remote.api, &Target::of(&["apps"]), limit).await?;
    remote.out.show(&apps.data, |out| {
        let mut table = Table::new(
            &["ID", "NAME", "REGION", "CREATED"],
            "There is no app yet: make one with 'chathook apps create NAME'.",
        );
        for app in apps.items() {
            let cells = ["id", "name", "region"].map(|name| Cell::of(&app[name]));
            table.row(cells.into_iter().chain([out.time(&app["createdAt"])]).collect());
        }
        out.table(&table)
    })?;
    apps.hint(&remote.out);
    Ok(())
}

async fn show(remote: &Remote, id: Option<String>) -> anyhow::Result<()> {
    let app = remote.api.get(&target(remote, id, &[]).await?).await?.data;
    remote.out.show(&app, |out| draw(out, &app))?;
    Ok(())
}

async fn create(remote: &Remote, given: Create) -> anyhow::Result<()> {
    let body =
        json!({"name": given.name, "region": given.region, "version": "3", "skipSampleData": given.empty});
    let app = remote.api.post(&Target::of(&["apps"]), &body).await?.data;
    remote.out.show(&app, |out| draw(out, &app))?;
    Ok(())
}

async fn delete(remote: &Remote, id: &str, given: &Consent) -> anyhow::Result<()> {
    let target = Target::of(&["apps", id]);
    let app = remote.api.get(&target).await?.data;
    let name = app["name"].as_str().unwrap_or_default();
    let question =
        format!("Delete the app {id} ('{name}') with its users, messages, webhooks and what waits for them?");
    consent(given, &question)?;
    let done = remote.api.delete(&target, None).await?.data;
    remote.out.show(&done, |out| out.line(&[Cell::of(&done["message"])]))?;
    Ok(())
}

async fn settings(remote: &Remote, id: Option<String>, set: &[String]) -> anyhow::Result<()> {
    let target = target(remote, id, &["settings"]).await?;
    let settings = if set.is_empty() {
        remote.api.get(&target).await?.data
    } else {
        remote.api.put(&target, &changes(set)?).await?.data
    };
    remote.out.show(&settings, |out| {
        let mut pairs = Vec::new();
        flatten("", &settings, &mut pairs);
        let fields: Vec<(&str, Cell)> =
            pairs.iter().map(|(name, cell)| (name.as_str(), cell.clone())).collect();
        out.fields(&fields)
    })?;
    Ok(())
}

async fn target(remote: &Remote, id: Option<String>, below: &[&str]) -> anyhow::Result<Target> {
    let id = match id {
        Some(id) => id,
        None => remote.app().await?,
    };
    Ok(Target::of(&[&["apps", id.as_str()], below].concat()))
}

fn draw(out: &Output, app: &Value) -> std::io::Result<()> {
    let name = |name: &str| Cell::of(&app[name]);
    let mut fields = vec![
        ("id", name("id")),
        ("name", name("name")),
        ("region", name("region")),
        ("created", out.time(&app["createdAt"])),
    ];
    for key in app["apiKeys"].as_object().into_iter().flat_map(Map::values) {
        let label = if key["scope"] == "fullAccess" { "key (fullAccess)" } else { "key (authOnly)" };
        fields.push((label, Cell::of(&key["apiKey"])));
    }
    out.fields(&fields)
}

/// The body that `--set` describes: a dot leads into an object, and a value that is no JSON is a text.
fn changes(set: &[String]) -> anyhow::Result<Value> {
    let mut body = Map::new();
    for text in set {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| name.split('.').all(|part| !part.is_empty()))
            .ok_or_else(|| usage(format!("--set {text} has no name and value: write NAME=VALUE.")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        let mut parts: Vec<&str> = name.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let mut place = &mut body;
        for part in parts {
            let below = place.entry(part).or_insert_with(|| json!({}));
            place =
                below.as_object_mut().ok_or_else(|| usage(format!("--set {text} contradicts another.")))?;
        }
        place.insert(last.to_owned(), value);
    }
    Ok(Value::Object(body))
}

/// The names and values of an object and those within it.
fn flatten(prefix: &str, value: &Value, pairs: &mut Vec<(String, Cell)>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(_) => flatten(&format!("{name}."), value, pairs),
            Value::Null if name.starts_with("retention.") => pairs.push((name, Cell::new("for ever"))),
            other => pairs.push((name, Cell::of(other))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_set_by_name_and_by_the_names_within() {
        let set = ["a=1", "b=true", "c.d=null", "c.e=30", "f=[\"x\"]", "g=plain text"].map(str::to_owned);
        let body = changes(&set).expect("fit");
        let expected = json!({"a": 1, "b": true, "c": {"d": null, "e": 30}, "f": ["x"], "g": "plain text"});
        assert_eq!(body, expected);
        for unfit in ["a", "=1", "a..b=1"] {
            assert!(changes(&[unfit.to_owned()]).is_err(), "{unfit}");
        }
        assert!(changes(&["a=1".to_owned(), "a.b=2".to_owned()]).is_err());
    }
}
