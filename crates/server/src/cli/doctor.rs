//! `chathook doctor`: is this machine fit for the server? Takes what `serve` takes, and writes nothing to
//! the store. What is measured here, the domain judges.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use chathook_adapters::api_client::{Access, Answer, ApiClient, ApiError, Target};
use chathook_adapters::certificates::{read_certificate, system_roots};
use chathook_adapters::machine;
use chathook_adapters::sqlite::checkup::{Look, database_in, look};
use chathook_adapters::sqlite::is_in_use;
use chathook_adapters::system::RealClock;
use chathook_adapters::vault::{KEY_FILE, Vault};
use chathook_domain::address::OpenNetworks;
use chathook_domain::checkup::{self, Handles, KeyPlace, Port, Readers, Running};
use chathook_domain::finding::Finding;
use chathook_domain::ids::Time;
use chathook_engine::ports::clock::Clock as _;
use clap::Args;
use tokio::net::TcpSocket;

use super::output::{Output, Reader};
use super::progress::during;
use super::report;
use crate::config::{Config, ServeFlags, TlsFiles};
use crate::limits::{Limits, SHARE_MIN};
use crate::serve::{CREDENTIALS_FILE, read_credentials};
use crate::tls::{Tls, certificates};

const SYNCS: usize = 200;
/// What listens and does not say in this time that it lives is no server that does its work.
const HEALTH_MAX: Duration = Duration::from_secs(3);
/// A large store is not read to its end; what is not read is told.
const STORE_CHECK_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct DoctorFlags {
    #[command(flatten)]
    serve: ServeFlags,
    /// Print the report as JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Ends well when nothing is in the way of a server.
pub async fn run(flags: DoctorFlags) -> anyhow::Result<()> {
    let out = Output::for_reader(if flags.json { Reader::Program } else { Reader::Person });
    let config = match Config::merge(flags.serve) {
        Ok(config) => config,
        Err(why) => {
            let cure = "Mend it as the sentence says; nothing else was looked at.";
            return report::finish(&out, "This machine", &[Finding::failure("configuration", why, cure)]);
        }
    };
    let mut findings = vec![Finding::ok("configuration", "can be read")];
    findings.push(networks(&config));
    let is_running = is_in_use(&config.data_dir);
    let running = match &is_running {
        Ok(true) => Running::Yes,
        Ok(false) | Err(_) => Running::No,
    };
    if let Err(error) = is_running {
        let cure = "Run this as the user of the server.";
        findings.push(Finding::failure("data directory", error.to_string(), cure));
    }
    let ports = [("listen", Some(config.listen)), ("admin-listen", config.admin_listen)];
    for (about, address) in ports.into_iter().filter_map(|(about, address)| Some((about, address?))) {
        let seen = port(address, config.tls.is_some()).await;
        findings.push(checkup::port(about, &address.to_string(), &seen, running));
    }
    let looking = tokio::task::spawn_blocking(move || look_around(&config));
    let tell = |waited: Duration| format!("Timing the disk, checking the store: {} s", waited.as_secs());
    findings.extend(during(looking, tell).await.context("The check died")?);
    report::finish(&out, "This machine", &findings)
}

/// All that waits for the disk.
fn look_around(config: &Config) -> Vec<Finding> {
    let clock = RealClock::new();
    let (wall, tick) = (clock.now(), clock.ticks());
    let mut findings = disk(&config.data_dir);
    let limits = Limits::here();
    findings.push(checkup::handles(Handles {
        limit: limits.handles,
        clients: limits.connections,
        attempts: limits.attempts,
        idle_connections: limits.idle_connections,
        share_min: SHARE_MIN,
    }));
    findings.extend(store(&config.data_dir, clock.now()));
    findings.extend(credentials(&config.data_dir));
    findings.extend(trust(config, clock.now()));
    findings.push(checkup::synchronized(machine::synchronized()));
    findings.push(checkup::steadiness(clock.now().ms - wall.ms, clock.ticks() - tick));
    findings
}

fn networks(config: &Config) -> Finding {
    const ABOUT: &str = "allowed networks";
    match OpenNetworks::parse(&config.allow_networks) {
        Err(why) => Finding::failure(ABOUT, why, "Write networks as 10.0.0.0/8 or fd00::/8."),
        Ok(open) if open.opens_everything() => Finding::warning(
            ABOUT,
            "webhooks may call every address that is not link-local, internal ones included",
            "Name the networks that are meant.",
        ),
        Ok(open) if open.networks().is_empty() => {
            Finding::ok(ABOUT, "none: webhooks reach public addresses only")
        }
        Ok(_) => Finding::ok(ABOUT, config.allow_networks.join(", ")),
    }
}

/// Whether a server could listen there. It is bound and never listened on, so that a server that starts at
/// this very moment finds it free.
fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the server does; what listens is in the way all the same.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What listens there. Health is asked for without credentials: nobody knows who would read them.
async fn port(address: SocketAddr, has_tls: bool) -> Port {
    match bound(address) {
        Ok(_) => Port::Free,
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let heard = healthz(address, if has_tls { "https" } else { "http" }).await;
            match (is_alive(heard.as_ref()), has_tls) {
                (true, _) => Port::Chathook,
                // Its certificate need not be one that we trust; what answers without TLS is another.
                (false, true) if is_answer(healthz(address, "http").await.as_ref()) => Port::Stranger,
                (false, true) => Port::Untold,
                (false, false) => Port::Stranger,
            }
        }
        Err(error) => Port::Refused(error.to_string()),
    }
}

/// What it says of its health; `None` where nothing came in time.
async fn healthz(address: SocketAddr, scheme: &str) -> Option<Result<Answer, ApiError>> {
    let here = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    let url = format!("{scheme}://{}", SocketAddr::new(here, address.port()));
    let client = ApiClient::new(&url, Access::Nothing, &[]).ok()?;
    let asked = async { client.get(&Target::of(&["healthz"])).await };
    tokio::time::timeout(HEALTH_MAX, asked).await.ok()
}

fn is_alive(heard: Option<&Result<Answer, ApiError>>) -> bool {
    matches!(heard, Some(Ok(answer)) if answer.data["alive"] == true)
}

/// Whether it was HTTP, whatever it said.
fn is_answer(heard: Option<&Result<Answer, ApiError>>) -> bool {
    match heard {
        Some(Ok(_) | Err(ApiError::Refused(_) | ApiError::NotUnderstood { .. })) => true,
        Some(Err(ApiError::Unfit(_) | ApiError::Unreachable { .. })) | None => false,
    }
}

fn disk(data_dir: &Path) -> Vec<Finding> {
    const ABOUT: &str = "data directory";
    let shown = data_dir.display().to_string();
    let dir = dir_on_disk(data_dir);
    let mut findings = Vec::new();
    match machine::mode(data_dir) {
        Ok(None) => findings.push(Finding::note(ABOUT, format!("{shown} is made by the first start"))),
        Ok(Some(mode)) => {
            findings.push(checkup::directory(ABOUT, &shown, mode));
            findings.extend(database(data_dir, mode));
        }
        Err(error) => findings.push(Finding::failure(ABOUT, error.to_string(), "Let this user read it.")),
    }
    let cure = "Run this as the user of the server, and let the data directory be that user's.";
    match machine::sync_times(dir, SYNCS) {
        Ok(times) => findings.push(checkup::disk(&times)),
        Err(error) => {
            let seen = format!("{} cannot be written: {error}", dir.display());
            findings.push(Finding::failure("disk sync", seen, cure));
        }
    }
    findings
}

/// What others may read of the database, with the mode of the directory that it is in.
fn database(data_dir: &Path, directory_mode: u32) -> Option<Finding> {
    const ABOUT: &str = "database file";
    let path = database_in(data_dir);
    match machine::mode(&path) {
        Ok(mode) => Some(checkup::database_file(ABOUT, &path.display().to_string(), mode?, directory_mode)),
        Err(error) => Some(Finding::failure(ABOUT, error.to_string(), "Let this user read it.")),
    }
}

/// The data directory, or what it will be made in.
fn dir_on_disk(data_dir: &Path) -> &Path {
    let found = data_dir.ancestors().find(|dir| dir.is_dir());
    found.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn room(data_dir: &Path, store: u64) -> Finding {
    match machine::free_bytes(dir_on_disk(data_dir)) {
        Ok(free) => checkup::room(free, store),
        Err(error) => Finding::note("room", format!("unknown: {error}")),
    }
}

/// The store, the key that opens it, and the clock beside its newest row.
fn store(data_dir: &Path, now: Time) -> Vec<Finding> {
    let mut findings = Vec::new();
    let from_env = std::env::var("CHATHOOK_MASTER_KEY").ok();
    let at_hand = match Vault::at_hand(from_env.as_deref(), data_dir) {
        Ok(at_hand) => at_hand,
        Err(why) => {
            let cure = "Put the key back from where it is kept: without it the store does not open.";
            findings.push(Finding::failure("master key", why, cure));
            None
        }
    };
    let is_damaged = !findings.is_empty();
    let place = at_hand.as_ref().map(|(_, place)| *place);
    let seen = look(data_dir, at_hand.as_ref().map(|(vault, _)| vault), STORE_CHECK_MAX);
    let (is_there, fit) = (seen.is_some(), seen.as_ref().and_then(|seen| seen.key));
    match &seen {
        None => findings.push(Finding::note("store", "none yet: the first start makes it")),
        Some(Look { seen, .. }) => findings.extend(checkup::store(seen, now)),
    }
    let store_bytes = seen.as_ref().map_or(0, |look| look.seen.bytes + look.seen.log_bytes);
    findings.push(room(data_dir, store_bytes));
    findings.push(checkup::clock(now, seen.and_then(|look| look.seen.newest)));
    match (is_damaged, is_there, fit) {
        (true, _, _) => {}
        (false, true, None) => findings.push(checkup::master_key_untried()),
        (false, _, fit) => findings.push(checkup::master_key(place, fit)),
    }
    if place == Some(KeyPlace::File) {
        findings.extend(mode_of("master key file", &data_dir.join(KEY_FILE), Readers::Owner));
    }
    findings
}

fn mode_of(about: &str, path: &Path, readers: Readers) -> Option<Finding> {
    let shown = path.display().to_string();
    match machine::mode(path) {
        Ok(mode) => Some(checkup::secret_file(about, &shown, mode?, readers)),
        Err(error) => {
            Some(Finding::failure(about, format!("{shown}: {error}"), "Let the server's user read it."))
        }
    }
}

fn credentials(data_dir: &Path) -> Vec<Finding> {
    const ABOUT: &str = "credentials";
    let is_set = |name| std::env::var_os(name).is_some();
    match (is_set("CHATHOOK_MANAGEMENT_KEY"), is_set("CHATHOOK_MANAGEMENT_SECRET")) {
        (true, true) => return vec![Finding::ok(ABOUT, "of the environment")],
        (false, false) => {}
        (true, false) | (false, true) => {
            let seen = "of CHATHOOK_MANAGEMENT_KEY and CHATHOOK_MANAGEMENT_SECRET only one is set";
            return vec![Finding::failure(ABOUT, seen, "Set both, or none.")];
        }
    }
    let path = data_dir.join(CREDENTIALS_FILE);
    if !path.exists() {
        return vec![Finding::note(ABOUT, "none yet: the first start makes them, and prints them once")];
    }
    let read = match read_credentials(&path) {
        Ok(_) => None,
        Err(error) => Some(Finding::failure(ABOUT, format!("{error:#}"), "Mend the file, or remove it.")),
    };
    read.into_iter().chain(mode_of(ABOUT, &path, Readers::Owner)).collect()
}

/// Certificates that the server shows, and those that it trusts.
fn trust(config: &Config, now: Time) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &config.tls {
        Some(files) => findings.extend(tls(files, now)),
        None if config.listen.ip().is_loopback() => {
            findings.push(Finding::ok("tls", "none, and it listens on loopback only"));
        }
        None => findings.push(Finding::warning(
            "tls",
            "none: what people write goes over the network in the clear",
            "Set --tls-cert and --tls-key, or listen on loopback behind a proxy that speaks TLS.",
        )),
    }
    for file in &config.endpoint_cas {
        findings.push(certificate("endpoint CA", file, now));
    }
    findings.push(match system_roots() {
        0 => Finding::failure(
            "system roots",
            "none: no public endpoint can be trusted, and the server does not start",
            "Install the package ca-certificates.",
        ),
        count => Finding::ok("system roots", format!("{count} certificates")),
    });
    findings
}

fn tls(files: &TlsFiles, now: Time) -> Vec<Finding> {
    let fits = match Tls::read(files) {
        Ok(_) => Finding::ok("tls", "certificate and key fit together"),
        Err(error) => Finding::failure(
            "tls",
            format!("{error:#}"),
            "Name the certificate chain with --tls-cert and its key with --tls-key, both in PEM.",
        ),
    };
    let mut findings = vec![fits, certificate("tls certificate", &files.cert, now)];
    findings.extend(mode_of("tls key", &files.key, Readers::OwnerAndGroup));
    findings
}

fn certificate(about: &str, file: &Path, now: Time) -> Finding {
    let read = certificates(file).and_then(|chain| {
        let chain: Result<Vec<_>, String> = chain.iter().map(read_certificate).collect();
        chain.map_err(anyhow::Error::msg)
    });
    match read {
        Ok(chain) => checkup::certificate(about, &chain, now),
        Err(error) => {
            Finding::failure(about, format!("{error:#}"), "Put a certificate in PEM into the file.")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_server_can_start_while_its_port_is_looked_at() {
        let looked_at = bound((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = looked_at.local_addr().expect("bound");
        let _server = TcpListener::bind(address).expect("a server that starts just now");
        assert!(bound(address).is_err(), "what listens is seen");
    }
}
