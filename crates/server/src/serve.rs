//! `chathook serve`: credentials, certificates and logs of a server that stays.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use chathook_adapters::data_dir;
use chathook_adapters::sqlite::Options;
use chathook_adapters::system::{RealClock, RealDice};
use chathook_domain::address::OpenNetworks;
use chathook_engine::ports::clock::{Clock, Dice as _};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::ManagementCredentials;
use crate::app::{Parts, build};
use crate::config::{Config, LogFormat};
use crate::limits::Limits;
use crate::tls::{Tls, certificates};

/// The credentials of `chathook dev`: known to everyone, so that a server that stays refuses them.
pub const DEV_MANAGEMENT_KEY: &str = "dev-key";
pub const DEV_MANAGEMENT_SECRET: &str = "dev-secret";

/// In the data directory.
pub const CREDENTIALS_FILE: &str = "credentials.toml";

/// Runs until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    data_dir::make(&config.data_dir)
        .with_context(|| format!("The data directory {} cannot be made", config.data_dir.display()))?;
    let open_networks = OpenNetworks::parse(&config.allow_networks)
        .map_err(|why| anyhow::anyhow!("allow_networks is not right: {why}"))?;
    if open_networks.opens_everything() {
        tracing::warn!("webhooks may call every address that is not link-local, internal ones included");
    }
    let tls = config.tls.as_ref().map(Tls::read).transpose()?;
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let parts = Parts {
        management: management(&config.data_dir)?,
        data_dir: config.data_dir,
        listen: config.listen,
        admin_listen: config.admin_listen,
        tls: tls.as_ref().map(Tls::acceptor),
        open_networks,
        allow_http: config.allow_http_endpoints,
        extra_roots: roots(&config.endpoint_cas)?,
        use_system_roots: true,
        store: config
            .webhook_backlog_max
            .map_or_else(Options::default, |backlog_bytes_max| Options { backlog_bytes_max }),
        master_key: std::env::var("CHATHOOK_MASTER_KEY").ok(),
        limits: Limits::here(),
        clock: clock.clone(),
        dice: Arc::new(RealDice),
    };
    let running = build(parts).await?.open(|router| router).await?;
    // Heard before anybody is told that the server is up: unheard, it ends the process.
    let (scheme, renewing) = match tls {
        Some(tls) => {
            let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be listened to")?;
            ("https", Some(tokio::spawn(renew(tls, clock, hangup))))
        }
        None => ("http", None),
    };
    println!("address: {scheme}://{}", running.address);
    if let Some(admin) = running.admin_address {
        println!("admin address: {scheme}://{admin}");
    }
    let management = running.admin_address.unwrap_or(running.address);
    println!("dashboard: {scheme}://{management}/dashboard");
    println!("documents: {scheme}://{}/docs", running.address);
    until_told_to_stop().await;
    tracing::info!("stopping");
    running.stop().await;
    if let Some(renewing) = renewing {
        renewing.abort();
    }
    Ok(())
}

/// Looks at the TLS files each minute, and at SIGHUP at once.
async fn renew(tls: Tls, clock: Arc<dyn Clock>, mut hangup: Signal) {
    let asked = async move || {
        hangup.recv().await;
    };
    tls.keep_up(clock, asked).await;
}

/// Returns at SIGTERM or SIGINT.
pub async fn until_told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened to");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened to");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Starts the log on standard error.
pub fn start_log(format: Option<LogFormat>) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CHATHOOK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    match format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => log.with_ansi(is_terminal).init(),
        LogFormat::Json => log.json().init(),
    }
}

#[derive(Serialize, Deserialize)]
struct CredentialsFile {
    management_key: String,
    management_secret: String,
}

/// The management credentials: of the environment, else of the file, else made now and printed once.
fn management(data_dir: &Path) -> anyhow::Result<ManagementCredentials> {
    let path = data_dir.join(CREDENTIALS_FILE);
    let from_env =
        (std::env::var("CHATHOOK_MANAGEMENT_KEY").ok(), std::env::var("CHATHOOK_MANAGEMENT_SECRET").ok());
    let credentials = match from_env {
        (Some(key), Some(secret)) => ManagementCredentials { key, secret },
        (None, None) if path.exists() => read_credentials(&path)?,
        (None, None) => make_credentials(&path)?,
        (Some(_), None) => {
            bail!("CHATHOOK_MANAGEMENT_KEY is set without CHATHOOK_MANAGEMENT_SECRET: set both.")
        }
        (None, Some(_)) => {
            bail!("CHATHOOK_MANAGEMENT_SECRET is set without CHATHOOK_MANAGEMENT_KEY: set both.")
        }
    };
    if credentials.key.is_empty() || credentials.secret.is_empty() {
        bail!("The management key or secret is empty: set both to something long and random.");
    }
    if credentials.key == DEV_MANAGEMENT_KEY || credentials.secret == DEV_MANAGEMENT_SECRET {
        bail!("The management credentials are those of 'chathook dev', which everyone knows: choose others.");
    }
    Ok(credentials)
}

/// The management credentials that a server keeps in its data directory.
pub fn read_credentials(path: &Path) -> anyhow::Result<ManagementCredentials> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    // The error as a whole would show the line, and with it the secret.
    let file: CredentialsFile = toml::from_str(&text).map_err(|error| {
        anyhow::anyhow!("{} is not right ({}): mend or remove it", path.display(), error.message())
    })?;
    Ok(ManagementCredentials { key: file.management_key, secret: file.management_secret })
}

fn make_credentials(path: &Path) -> anyhow::Result<ManagementCredentials> {
    let dice = RealDice;
    let file = CredentialsFile {
        management_key: format!("mk_{:032x}", dice.bits()),
        management_secret: format!("ms_{:032x}", dice.bits()),
    };
    let text = toml::to_string(&file).context("credentials are plain texts")?;
    let mut options = std::fs::OpenOptions::new();
    let mut open = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    println!("management key: {}", file.management_key);
    println!("management secret: {}", file.management_secret);
    println!("(printed this once; kept in {})", path.display());
    Ok(ManagementCredentials { key: file.management_key, secret: file.management_secret })
}

fn roots(files: &[PathBuf]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let mut roots = Vec::new();
    for file in files {
        roots.extend(certificates(file)?);
    }
    Ok(roots)
}
