//! `chathook users`: the people of an app, through its chat API with a key of the app's.

use chathook_adapters::api_client::Target;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::{Consent, consent};
use super::lists::{Limit, of_pages};
use super::output::{Cell, Output, Table, Tone};
use super::profile::ReachFlags;
use super::remote::Remote;

#[derive(Debug, Args)]
pub struct UsersFlags {
    #[command(flatten)]
    reach: ReachFlags,
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// The users of the app
    List {
        /// Only those whose id or name holds this
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// One user
    Show {
        /// The user's id
        uid: String,
    },
    /// Make a user
    Create(Create),
    /// Deactivate a user, or with --permanent delete them
    Delete {
        /// The user's id
        uid: String,
        /// Delete for good; without it the user can be reactivated
        #[arg(long)]
        permanent: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// An auth token with which the user can log in
    Token {
        /// The user's id
        uid: String,
        /// Another one, also where there is one already
        #[arg(long)]
        new: bool,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The user's id
    uid: String,
    /// What people call them
    #[arg(long)]
    name: String,
    /// The role, as your own code means it
    #[arg(long)]
    role: Option<String>,
    /// The address of a picture
    #[arg(long, value_name = "URL")]
    avatar: Option<String>,
}

pub async fn run(flags: UsersFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    match flags.command {
        UsersCommand::List { search, limit } => list(&remote, search.as_deref(), limit).await,
        UsersCommand::Show { uid } => show(&remote, &uid).await,
        UsersCommand::Create(given) => create(&remote, &given).await,
        UsersCommand::Delete { uid, permanent, consent } => delete(&remote, &uid, permanent, &consent).await,
        UsersCommand::Token { uid, new } => token(&remote, &uid, new).await,
    }
}

async fn list(remote: &Remote, search: Option<&str>, limit: Limit) -> anyhow::Result<()> {
    let target = Target::of(&["v3", "users"]).with_any("searchKey", search);
    let users = of_pages(&remote.chat().await?, &target, limit).await?;
    remote.out.show(&users.data, |out| {
        let mut table = Table::new(
            &["UID", "NAME", "ROLE", "STATUS", "CREATED"],
            "No user: make one with 'chathook users create UID --name NAME'.",
        );
        for user in users.items() {
            let cells = ["uid", "name", "role"].map(|name| Cell::of(&user[name]));
            table.row(cells.into_iter().chain([status(user), out.time(&user["createdAt"])]).collect());
        }
        out.table(&table)
    })?;
    users.hint(&remote.out);
    Ok(())
}

async fn show(remote: &Remote, uid: &str) -> anyhow::Result<()> {
    let user = remote.chat().await?.get(&Target::of(&["v3", "users", uid])).await?.data;
    remote.out.show(&user, |out| draw(out, &user))?;
    Ok(())
}

async fn create(remote: &Remote, given: &Create) -> anyhow::Result<()> {
    let mut body = json!({"uid": given.uid, "name": given.name});
    for (name, value) in [("role", &given.role), ("avatar", &given.avatar)] {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    let user = remote.chat().await?.post(&Target::of(&["v3", "users"]), &body).await?.data;
    remote.out.show(&user, |out| draw(out, &user))?;
    Ok(())
}

async fn delete(remote: &Remote, uid: &str, permanent: bool, given: &Consent) -> anyhow::Result<()> {
    let question = if permanent {
        format!("Delete the user '{uid}' for good?")
    } else {
        format!("Deactivate the user '{uid}'? They are logged out and cannot log in.")
    };
    consent(given, &question)?;
    let target = Target::of(&["v3", "users", uid]);
    let done = remote.chat().await?.delete(&target, Some(&json!({"permanent": permanent}))).await?.data;
    remote.out.show(&done, |out| out.line(&[Cell::of(&done["message"])]))?;
    Ok(())
}

async fn token(remote: &Remote, uid: &str, new: bool) -> anyhow::Result<()> {
    let target = Target::of(&["v3", "users", uid, "auth_tokens"]);
    let token = remote.chat().await?.post(&target, &json!({"force": new})).await?.data;
    remote.out.show(&token, |out| out.line(&[Cell::of(&token["authToken"])]))?;
    Ok(())
}

fn draw(out: &Output, user: &Value) -> std::io::Result<()> {
    let mut fields = ["uid", "name", "role"].map(|name| (name, Cell::of(&user[name]))).to_vec();
    fields.push(("status", status(user)));
    for name in ["statusMessage", "avatar", "link", "tags", "metadata", "authToken"] {
        if !user[name].is_null() {
            fields.push((name, Cell::of(&user[name])));
        }
    }
    fields.push(("created", out.time(&user["createdAt"])));
    for (label, name) in [("last active", "lastActiveAt"), ("deactivated", "deactivatedAt")] {
        if !user[name].is_null() {
            fields.push((label, out.time(&user[name])));
        }
    }
    out.fields(&fields)
}

fn status(user: &Value) -> Cell {
    match user["status"].as_str() {
        Some("available") => Cell::toned(Tone::Good, "online"),
        other => Cell::toned(Tone::Faint, other.unwrap_or("-")),
    }
}
