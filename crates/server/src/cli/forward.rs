//! Requests to where a person points: their own machine's servers too, in the clear where they like, since it
//! is their machine that makes them. All else is as the server does it: no redirects, one clock, a cap.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chathook_adapters::endpoints::{HttpEndpoints, HttpEndpointsConfig};
use chathook_domain::address::OpenNetworks;
use chathook_domain::webhook::{EndpointUrl, IN_FLIGHT_MAX};
use chathook_engine::ports::endpoints::{Destination, Endpoints as _, Exchange, Post};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::exit::usage;
use crate::tls::certificates;

/// A server on this machine takes a connection at once.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);

/// One URL to which requests are made.
pub struct Local {
    pub to: Arc<Destination>,
    endpoints: HttpEndpoints,
}

impl Local {
    /// `flag` is what gave the URL, and is named where it is not right; `ca` holds certificates to trust
    /// beside the system's; a blank one counts as none.
    pub fn at(flag: &str, url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let parsed = EndpointUrl::parse(flag, url).map_err(|_| {
            usage(format!("The {flag} '{url}' is no address such as http://localhost:3000/hook."))
        })?;
        let ca = ca.filter(|file| !file.as_os_str().is_empty());
        let extra_roots = ca.map(certificates).transpose();
        let extra_roots = extra_roots.map_err(|error| usage(format!("The --ca is not right: {error:#}.")))?;
        let extra_roots = extra_roots.unwrap_or_default();
        let endpoints = HttpEndpoints::new(HttpEndpointsConfig {
            open_networks: OpenNetworks::parse(["0.0.0.0/0", "::/0"]).expect("networks"),
            allow_http: true,
            // A machine without roots can do without where nothing needs them.
            use_system_roots: parsed.is_https(),
            extra_roots,
            idle_connections_max: IN_FLIGHT_MAX,
        });
        let endpoints = endpoints.map_err(|why| usage(format!("TLS cannot be spoken here: {why}.")))?;
        Ok(Self { to: Destination::of(parsed), endpoints })
    }

    pub fn url(&self) -> &str {
        self.to.url().as_str()
    }

    pub async fn post(&self, post: Post) -> Exchange {
        self.endpoints.post(post).await
    }

    /// Whether something takes connections there.
    pub async fn is_there(&self) -> bool {
        let url = self.to.url();
        let host = url.host().to_string();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        matches!(timeout(LOOK_TIMEOUT, TcpStream::connect((host, url.port()))).await, Ok(Ok(_)))
    }
}
