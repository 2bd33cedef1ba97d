//! Flags, environment and file, in that order, made into one checked configuration (design 7).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;

#[derive(Debug, Args)]
pub struct DevFlags {
    /// Where to listen; loopback only
    #[arg(long, env = "CHATHOOK_DEV_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where to keep the data of this trial
    #[arg(long, env = "CHATHOOK_DEV_DATA_DIR", default_value = "./chathook-dev-data")]
    pub data_dir: PathBuf,
}

#[derive(Debug, Default, Args)]
pub struct ServeFlags {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, env = "CHATHOOK_LISTEN")]
    pub listen: Option<String>,
    /// Where alone to serve /apps, /dashboard and /metrics; unset, --listen serves them
    #[arg(long, env = "CHATHOOK_ADMIN_LISTEN")]
    pub admin_listen: Option<String>,
    /// Where to keep the database, the master key and the credentials [default: ./chathook-data]
    #[arg(long, env = "CHATHOOK_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The certificate chain for TLS, PEM
    #[arg(long, env = "CHATHOOK_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// The private key for TLS, PEM
    #[arg(long, env = "CHATHOOK_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// A network of internal addresses that webhooks may call; repeatable
    #[arg(long = "allow-network", env = "CHATHOOK_ALLOW_NETWORKS", value_delimiter = ',')]
    pub allow_networks: Option<Vec<String>>,
    /// Let webhooks use plain http inside the allowed networks
    #[arg(long, env = "CHATHOOK_ALLOW_HTTP_ENDPOINTS", num_args = 0..=1, default_missing_value = "true")]
    pub allow_http_endpoints: Option<bool>,
    /// Bytes that may wait for one webhook, such as 512MiB; with more it is switched off [default: 10GiB]
    #[arg(long, env = "CHATHOOK_WEBHOOK_BACKLOG_MAX", value_name = "BYTES")]
    pub webhook_backlog_max: Option<String>,
    /// A root certificate for endpoints, PEM, beside the system's; repeatable
    #[arg(long = "endpoint-ca", env = "CHATHOOK_ENDPOINT_CAS", value_delimiter = ',')]
    pub endpoint_cas: Option<Vec<PathBuf>>,
    /// The configuration file [default: chathook.toml if there is one]
    #[arg(long, env = "CHATHOOK_CONFIG")]
    pub config: Option<PathBuf>,
    /// How to write the log [default: text on a terminal, else json]
    #[arg(long, env = "CHATHOOK_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// What is worked on without a server: its data directory, found in the same order as by `serve`.
#[derive(Debug, Default, Args)]
pub struct DataDirFlags {
    /// Where the server keeps the database [default: ./chathook-data]
    #[arg(long, env = "CHATHOOK_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration file [default: chathook.toml if there is one]
    #[arg(long, env = "CHATHOOK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// The file: the flags' names with underscores.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    admin_listen: Option<String>,
    data_dir: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    allow_networks: Option<Vec<String>>,
    allow_http_endpoints: Option<bool>,
    endpoint_cas: Option<Vec<PathBuf>>,
    webhook_backlog_max: Option<Bytes>,
    log_format: Option<LogFormat>,
}

/// A number of bytes, as the file may write it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Number(i64),
    Text(String),
}

/// What `serve` runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub listen: SocketAddr,
    pub admin_listen: Option<SocketAddr>,
    pub data_dir: PathBuf,
    pub tls: Option<TlsFiles>,
    pub allow_networks: Vec<String>,
    pub allow_http_endpoints: bool,
    pub endpoint_cas: Vec<PathBuf>,
    /// Bytes; the store's own where unset.
    pub webhook_backlog_max: Option<i64>,
    pub log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Config {
    /// Merges flags (which clap has already filled from the environment) with the file and the defaults.
    /// The error is one sentence that names the setting and the cure.
    pub fn merge(flags: ServeFlags) -> Result<Self, String> {
        let file = read_file(flags.config.as_deref())?;
        let listen = flags.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let admin_listen = flags.admin_listen.or(file.admin_listen);
        let tls = match (flags.tls_cert.or(file.tls_cert), flags.tls_key.or(file.tls_key)) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => return Err("tls_cert is set without tls_key: set --tls-key too.".to_owned()),
            (None, Some(_)) => return Err("tls_key is set without tls_cert: set --tls-cert too.".to_owned()),
        };
        let webhook_backlog_max = flags.webhook_backlog_max.or_else(|| {
            file.webhook_backlog_max.map(|bytes| match bytes {
                Bytes::Number(number) => number.to_string(),
                Bytes::Text(text) => text,
            })
        });
        Ok(Self {
            listen: address("listen", &listen)?,
            admin_listen: admin_listen.map(|text| address("admin_listen", &text)).transpose()?,
            data_dir: data_dir(flags.data_dir, file.data_dir),
            tls,
            allow_networks: flags.allow_networks.or(file.allow_networks).unwrap_or_default(),
            allow_http_endpoints: flags.allow_http_endpoints.or(file.allow_http_endpoints).unwrap_or(false),
            endpoint_cas: flags.endpoint_cas.or(file.endpoint_cas).unwrap_or_default(),
            webhook_backlog_max: webhook_backlog_max
                .map(|text| bytes("webhook_backlog_max", &text))
                .transpose()?,
            log_format: flags.log_format.or(file.log_format),
        })
    }
}

impl DataDirFlags {
    /// The error is one sentence, as that of [`Config::merge`].
    pub fn find(self) -> Result<PathBuf, String> {
        let file = read_file(self.config.as_deref())?;
        Ok(data_dir(self.data_dir, file.data_dir))
    }
}

fn data_dir(flag: Option<PathBuf>, file: Option<PathBuf>) -> PathBuf {
    flag.or(file).unwrap_or_else(|| PathBuf::from("./chathook-data"))
}

fn address(setting: &str, text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{setting} is '{text}', which is no address: write it as 127.0.0.1:8080."))
}

/// A number of bytes above 0, plain or with a unit of 1,024.
fn bytes(setting: &str, text: &str) -> Result<i64, String> {
    const UNITS: [(&str, i64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let (number, unit) = UNITS
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), unit)))
        .unwrap_or((text, 1));
    let is_digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let count = number.parse::<i64>().ok().filter(|count| is_digits && *count > 0);
    count.and_then(|count| count.checked_mul(unit)).ok_or_else(|| {
        format!("{setting} is '{text}', which is no number of bytes: write it as 1048576, 512MiB or 10GiB.")
    })
}

fn read_file(named: Option<&Path>) -> Result<File, String> {
    let path = named.unwrap_or(Path::new("chathook.toml"));
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            format!("The configuration file {} is not right: {}.", path.display(), error.message())
        }),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => Err(format!(
            "The configuration file {} cannot be read ({error}): name another with --config.",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("chathook.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\ndata_dir = \"from-file\"\n").expect("written");
        let flags = ServeFlags {
            listen: Some("127.0.0.1:2".to_owned()),
            config: Some(path),
            ..ServeFlags::default()
        };
        let config = Config::merge(flags).expect("fit");
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.data_dir, PathBuf::from("from-file"));
        assert!(!config.allow_http_endpoints);
    }

    #[test]
    fn a_wrong_value_names_the_setting_and_the_cure() {
        let flags = ServeFlags { listen: Some("everywhere".to_owned()), ..ServeFlags::default() };
        let sentence = Config::merge(flags).expect_err("not an address");
        assert!(sentence.contains("listen") && sentence.contains("127.0.0.1:8080"), "{sentence}");
    }

    #[test]
    fn a_number_of_bytes_is_plain_or_has_a_unit() {
        let read = |text| bytes("webhook_backlog_max", text);
        assert_eq!(
            ["1", "2KiB", "3 MiB", "10GiB"].map(read),
            [Ok(1), Ok(2 << 10), Ok(3 << 20), Ok(10 << 30)]
        );
        for unfit in ["", "0", "-1", "+1", "1.5GiB", "10GB", "GiB", "9999999999GiB"] {
            assert!(read(unfit).is_err_and(|why| why.contains("webhook_backlog_max")), "{unfit}");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("chathook.toml");
        for (line, count) in [("= 4096", 4_096), ("= \"4KiB\"", 4_096)] {
            std::fs::write(&path, format!("webhook_backlog_max {line}")).expect("written");
            let flags = ServeFlags { config: Some(path.clone()), ..ServeFlags::default() };
            assert_eq!(Config::merge(flags).expect("fit").webhook_backlog_max, Some(count));
        }
    }

    #[test]
    fn the_file_that_the_operations_page_shows_is_taken_and_shows_every_setting() {
        let page = include_str!("../../../docs/operations.md");
        let (_, rest) = page.split_once("```toml\n").expect("a sample");
        let (sample, _) = rest.split_once("```").expect("its end");
        let file: File = toml::from_str(sample).expect("fit");
        let File {
            listen: Some(_),
            admin_listen: Some(_),
            data_dir: Some(_),
            tls_cert: Some(_),
            tls_key: Some(_),
            allow_networks: Some(_),
            allow_http_endpoints: Some(_),
            endpoint_cas: Some(_),
            webhook_backlog_max: Some(_),
            log_format: Some(_),
        } = &file
        else {
            panic!("a setting is not shown: {file:?}");
        };
    }

    #[test]
    fn an_unknown_setting_in_the_file_stops_the_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("chathook.toml");
        std::fs::write(&path, "lissten = \"127.0.0.1:1\"\n").expect("written");
        let flags = ServeFlags { config: Some(path), ..ServeFlags::default() };
        assert!(Config::merge(flags).expect_err("unknown").contains("lissten"));
    }
}
