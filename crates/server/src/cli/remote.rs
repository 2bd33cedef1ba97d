//! The server as a command meets it: reached, with its app found, and a place to print.

use anyhow::Context as _;
use chathook_adapters::api_client::{Access, ApiClient, ApiError, Target};

use super::exit::{of_api_error, usage};
use super::output::{Output, Reader, remark};
use super::profile::{Profile, ReachFlags, Surroundings};
use crate::tls::certificates;

/// Apps that are told by name where one must be chosen.
const APPS_NAMED_MAX: usize = 10;

pub struct Remote {
    /// Opened by the management credentials.
    pub api: ApiClient,
    pub out: Output,
    app: Option<String>,
}

impl Remote {
    /// Finds the server and its credentials; nothing is asked yet.
    pub fn find(flags: &ReachFlags) -> anyhow::Result<Self> {
        let profile = Profile::find(flags, &Surroundings::of_process())?;
        let roots = match &profile.ca {
            None => Vec::new(),
            Some(file) => {
                certificates(file).map_err(|error| usage(format!("The --ca is not right: {error:#}.")))?
            }
        };
        let api = ApiClient::new(&profile.server, profile.access, &roots)?;
        if api.is_exposed() {
            remark(&format!("The credentials go to {} unencrypted: use https.", api.server()));
        }
        let reader = if flags.json { Reader::Program } else { Reader::Person };
        Ok(Self { api, out: Output::for_reader(reader), app: profile.app })
    }

    /// The app that was named, else the only one.
    pub async fn app(&self) -> anyhow::Result<String> {
        if let Some(app) = &self.app {
            return Ok(app.clone());
        }
        let apps = self.api.get(&Target::of(&["apps"])).await?.data;
        let ids: Vec<&str> =
            apps.as_array().into_iter().flatten().filter_map(|app| app["id"].as_str()).collect();
        match ids.as_slice() {
            [only] => Ok((*only).to_owned()),
            [] => Err(usage("The server has no app yet: make one with 'chathook apps create NAME'.")),
            many => {
                let named: Vec<&str> = many.iter().take(APPS_NAMED_MAX).copied().collect();
                let more = if many.len() > named.len() { ", …" } else { "" };
                Err(usage(format!("Which app? Name one with --app: {}{more}.", named.join(", "))))
            }
        }
    }

    /// The path of something of the app.
    pub async fn of_app(&self, below: &[&str]) -> anyhow::Result<Target> {
        let app = self.app().await?;
        Ok(Target::of(&[&["apps", app.as_str()], below].concat()))
    }

    /// The app's chat API, opened by a key that the management API gives.
    pub async fn chat(&self) -> anyhow::Result<ApiClient> {
        let app = self.api.get(&self.of_app(&[]).await?).await?.data;
        let keys = app["apiKeys"].as_object().into_iter().flat_map(|keys| keys.values());
        let full = keys.into_iter().find(|key| key["scope"] == "fullAccess");
        let key = full.and_then(|key| key["apiKey"].as_str());
        let api_key = key.context("The app has no API key with the scope 'fullAccess'")?.to_owned();
        Ok(self.api.with_access(Access::App { api_key }))
    }
}

/// A server that is asked again and again, over its restarts.
#[derive(Default)]
pub struct Watch {
    is_cut_off: bool,
}

impl Watch {
    /// What was found; `None` where the server may answer the next time, which is told once.
    pub fn found<T>(&mut self, looked: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
        match looked {
            Ok(found) => {
                self.is_cut_off = false;
                Ok(Some(found))
            }
            Err(error) if of_api_error(&error).passes() => {
                if !std::mem::replace(&mut self.is_cut_off, true) {
                    remark(&format!("{error} Trying again."));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
