//! A webhook's configuration as flags, and the body that they make. What is fit is the server's to say.

use clap::Args;
use serde_json::{Map, Value, json};

use super::ask::{secret_of_stdin, webhook_password};
use super::exit::usage;
use super::words::triggers;

/// A webhook to be made.
#[derive(Debug, Args)]
pub struct Draft {
    /// The webhook's id, for good
    pub id: String,
    #[command(flatten)]
    policies: Policies,
    /// A trigger to listen to; repeatable
    #[arg(long = "trigger", value_name = "TRIGGER", value_parser = triggers(), value_delimiter = ',')]
    pub triggers: Vec<String>,
    /// Call it only once it is enabled
    #[arg(long)]
    disabled: bool,
}

/// What can be set of a webhook, at first and later.
#[derive(Debug, Args)]
pub struct Policies {
    /// The endpoint
    #[arg(long)]
    url: Option<String>,
    /// What people call it [default: the id]
    #[arg(long)]
    name: Option<String>,
    /// The user of Basic auth; the password is asked for, or taken from CHATHOOK_WEBHOOK_PASSWORD
    #[arg(long)]
    username: Option<String>,
    /// Take the password of Basic auth from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Another password for the same user
    #[arg(long, conflicts_with = "username")]
    new_password: bool,
    /// Whether requests carry Basic auth
    #[arg(long, value_name = "BOOL")]
    basic_auth: Option<bool>,
    /// Whether a failed delivery is tried again
    #[arg(long, value_name = "BOOL")]
    retry: Option<bool>,
    /// What a before_message endpoint's silence means
    #[arg(long, value_name = "WHAT", value_parser = ["propagate", "drop"])]
    on_failure: Option<String>,
    /// How long an attempt may take, in milliseconds
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u32>,
    /// How long a delivery that keeps failing holds its lane: seconds, or 'unlimited'
    #[arg(long, value_name = "SECONDS")]
    patience: Option<String>,
}

/// How much of a body is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// Everything that a new webhook must have.
    Everything,
    /// What was given and nothing else.
    WhatIsGiven,
}

impl Draft {
    pub fn body(&self) -> anyhow::Result<Value> {
        let mut body = self.policies.body(With::Everything)?;
        body["id"] = json!(self.id);
        if body["name"].is_null() {
            body["name"] = json!(self.id);
        }
        if self.disabled {
            body["enabled"] = json!(false);
        }
        Ok(body)
    }
}

impl Policies {
    /// The body of the call; a password is asked for where one is needed.
    pub fn body(&self, with: With) -> anyhow::Result<Value> {
        if with == With::Everything && self.url.is_none() {
            return Err(usage("A new webhook needs an endpoint: give its --url."));
        }
        let mut body = Map::new();
        let texts = [
            ("webhookURL", &self.url),
            ("name", &self.name),
            ("username", &self.username),
            ("onFailure", &self.on_failure),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                body.insert(name.to_owned(), json!(text));
            }
        }
        // Who names a user wants them used.
        let basic_auth = self.basic_auth.or(self.username.as_ref().map(|_| true));
        for (name, flag) in [("useBasicAuth", basic_auth), ("retryOnFailure", self.retry)] {
            if let Some(flag) = flag {
                body.insert(name.to_owned(), json!(flag));
            }
        }
        if let Some(ms) = self.timeout_ms {
            body.insert("timeoutMs".to_owned(), json!(ms));
        }
        if let Some(patience) = &self.patience {
            let seconds = patience.parse::<i64>().map_or_else(|_| json!(patience), |seconds| json!(seconds));
            body.insert("patienceSeconds".to_owned(), seconds);
        }
        if self.username.is_some() || self.new_password || self.password_stdin {
            body.insert("password".to_owned(), json!(self.password()?));
        }
        Ok(Value::Object(body))
    }

    fn password(&self) -> anyhow::Result<String> {
        if self.password_stdin { secret_of_stdin() } else { webhook_password(", or give --password-stdin") }
    }
}
