//! `chathook check`: is this endpoint fit to receive webhooks?

use std::path::PathBuf;

use chathook_adapters::endpoints::HttpEndpointsConfig;
use chathook_adapters::endpoints::probe::HttpProbe;
use chathook_adapters::system::{RealClock, RealDice};
use chathook_domain::address::OpenNetworks;
use chathook_domain::signature::SigningSecret;
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::{Credentials, EndpointUrl};
use chathook_engine::check::{Means, Subject, check};
use clap::Args;

use super::ask::{secret_of_person, text_of_env};
use super::exit::usage;
use super::output::{Output, Reader, shown};
use super::progress::during;
use super::report;
use super::words::trigger;
use crate::config::{Config, ServeFlags};
use crate::tls::certificates;

/// Connections that the check keeps open: it sends one request at a time.
const IDLE_CONNECTIONS_MAX: usize = 1;

#[derive(Debug, Args)]
pub struct CheckFlags {
    /// The endpoint's URL
    url: String,
    /// A trigger to send a sample of; repeatable [default: all five]
    #[arg(long = "trigger", value_name = "TRIGGER", value_parser = trigger(), value_delimiter = ',')]
    triggers: Vec<Trigger>,
    /// The user name that the endpoint asks for; the password is asked for, or of CHATHOOK_CHECK_PASSWORD
    #[arg(long, env = "CHATHOOK_CHECK_USERNAME", value_name = "NAME")]
    username: Option<String>,
    /// How soon an answer has to come, in milliseconds
    #[arg(long, env = "CHATHOOK_CHECK_ANSWER_MS", value_name = "MS", default_value_t = 2_000,
          value_parser = clap::value_parser!(u32).range(1..=30_000))]
    answer_ms: u32,
    /// A network of internal addresses that may be called, as for 'serve'; repeatable
    #[arg(
        long = "allow-network",
        env = "CHATHOOK_ALLOW_NETWORKS",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    allow_networks: Option<Vec<String>>,
    /// Take plain http inside the allowed networks, as for 'serve'
    #[arg(long, env = "CHATHOOK_ALLOW_HTTP_ENDPOINTS", num_args = 0..=1, default_missing_value = "true")]
    allow_http_endpoints: Option<bool>,
    /// A root certificate for the endpoint, PEM, beside the system's, as for 'serve'; repeatable
    #[arg(long = "endpoint-ca", env = "CHATHOOK_ENDPOINT_CAS", value_delimiter = ',', value_name = "FILE")]
    endpoint_cas: Option<Vec<PathBuf>>,
    /// The server's configuration file [default: chathook.toml if there is one]
    #[arg(long, env = "CHATHOOK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the report as JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Ends well when the endpoint is fit.
pub async fn run(flags: CheckFlags) -> anyhow::Result<()> {
    let out = Output::for_reader(if flags.json { Reader::Program } else { Reader::Person });
    let url = EndpointUrl::parse("URL", &flags.url).map_err(|refusal| usage(refusal.message))?;
    let subject = Subject {
        url,
        triggers: if flags.triggers.is_empty() { Trigger::ALL.to_vec() } else { flags.triggers.clone() },
        credentials: credentials(flags.username.as_deref())?,
        secret: secret()?,
        answer_ms_max: flags.answer_ms,
    };
    let url = flags.url.clone();
    let probe = HttpProbe::new(endpoints(flags)?).map_err(usage)?;
    let (clock, dice) = (RealClock::new(), RealDice);
    out.say(&format!("Sending samples, marked 'chathook-test: true', to {url}"))?;
    let checking = check(Means { probe: &probe, clock: &clock, dice: &dice }, &subject);
    let findings =
        during(checking, |waited| format!("Waiting for its answers: {} s", waited.as_secs())).await;
    report::finish(&out, "The endpoint", &findings)
}

fn credentials(username: Option<&str>) -> anyhow::Result<Option<Credentials>> {
    let password = text_of_env("CHATHOOK_CHECK_PASSWORD");
    match (username, password) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => Ok(Some(Credentials { username: username.to_owned(), password })),
        (Some(username), None) => {
            let prompt = format!("Password of {} at the endpoint: ", shown(username));
            let password = secret_of_person(&prompt, "set CHATHOOK_CHECK_PASSWORD")?;
            Ok(Some(Credentials { username: username.to_owned(), password }))
        }
        (None, Some(_)) => Err(usage(
            "CHATHOOK_CHECK_PASSWORD is set without CHATHOOK_CHECK_USERNAME: set both, or --username.",
        )),
    }
}

fn secret() -> anyhow::Result<Option<SigningSecret>> {
    let Some(text) = text_of_env("CHATHOOK_CHECK_SECRET") else { return Ok(None) };
    let secret = SigningSecret::parse(&text)
        .ok_or_else(|| usage("CHATHOOK_CHECK_SECRET is no signing secret: it begins with whsec_."))?;
    Ok(Some(secret))
}

/// The settings of real deliveries, found as `serve` finds them.
fn endpoints(flags: CheckFlags) -> anyhow::Result<HttpEndpointsConfig> {
    let config = Config::merge(ServeFlags {
        allow_networks: flags.allow_networks,
        allow_http_endpoints: flags.allow_http_endpoints,
        endpoint_cas: flags.endpoint_cas,
        config: flags.config,
        ..ServeFlags::default()
    });
    let config = config.map_err(usage)?;
    let open_networks = OpenNetworks::parse(&config.allow_networks)
        .map_err(|why| usage(format!("allow_networks is not right: {why}.")))?;
    let mut extra_roots = Vec::new();
    for file in &config.endpoint_cas {
        let found = certificates(file);
        extra_roots
            .extend(found.map_err(|error| usage(format!("The --endpoint-ca is not right: {error:#}.")))?);
    }
    Ok(HttpEndpointsConfig {
        open_networks,
        allow_http: config.allow_http_endpoints,
        extra_roots,
        use_system_roots: true,
        idle_connections_max: IDLE_CONNECTIONS_MAX,
    })
}
