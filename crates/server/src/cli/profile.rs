//! Which server a command speaks to, and with what: flags, environment, the file of profiles, and the
//! credentials that a server on this machine keeps. Secrets never come from the command line.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chathook_adapters::api_client::Access;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueHint};
use serde::Deserialize;

use super::exit::usage;
use crate::serve::{DEV_MANAGEMENT_KEY, DEV_MANAGEMENT_SECRET, read_credentials};

/// Where a server listens that was told nothing else.
const SERVER_DEFAULT: &str = "http://127.0.0.1:8080";
/// Where a server keeps its data that was told nothing else.
const DATA_DIR_DEFAULT: &str = "./chathook-data";
/// The profile of `chathook dev`, whose credentials everyone knows.
const DEV: &str = "dev";

/// How to reach the server; every command that asks it something takes these.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Server")]
pub struct ReachFlags {
    /// The profile to use; 'dev' is that of 'chathook dev'
    #[arg(long, env = "CHATHOOK_PROFILE", global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// The server's address [default: the profile's, else http://127.0.0.1:8080]
    #[arg(long, env = "CHATHOOK_SERVER", global = true, value_name = "URL")]
    pub server: Option<String>,
    /// The app [default: the profile's, else the only one there is]
    #[arg(long, env = "CHATHOOK_APP", global = true, value_name = "ID")]
    pub app: Option<String>,
    /// The data directory of a server on this machine, to take its credentials from
    #[arg(long, env = "CHATHOOK_DATA_DIR", global = true, value_name = "DIR", value_parser = path(),
          value_hint = ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// A root certificate for the server's, PEM, beside the system's
    #[arg(long, env = "CHATHOOK_CA", global = true, value_name = "FILE", value_parser = path(),
          value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Print the API's data as JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// A path that may be blank, as that of a variable that is set to nothing.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl ReachFlags {
    /// A variable of the environment that is set to nothing counts as unset.
    fn without_blanks(&self) -> Self {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let path = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        Self {
            profile: text(&self.profile),
            server: text(&self.server),
            app: text(&self.app),
            data_dir: path(&self.data_dir),
            ca: path(&self.ca),
            json: self.json,
        }
    }
}

/// A server and what opens it, found.
#[derive(Debug, Clone)]
pub struct Profile {
    pub server: String,
    pub access: Access,
    pub app: Option<String>,
    pub ca: Option<PathBuf>,
}

/// What the environment gives, apart from what flags take from it.
#[derive(Default)]
pub struct Surroundings {
    pub management_key: Option<String>,
    pub management_secret: Option<String>,
    /// The file of profiles, whether it is there or not.
    pub profiles: Option<PathBuf>,
    /// Where a server's data directory is looked for, if none is named.
    pub data_dir: PathBuf,
}

impl Surroundings {
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let config_dir = text("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let config_dir = config_dir.or_else(|| text("HOME").map(|home| Path::new(&home).join(".config")));
        Self {
            management_key: text("CHATHOOK_MANAGEMENT_KEY"),
            management_secret: text("CHATHOOK_MANAGEMENT_SECRET"),
            profiles: text("CHATHOOK_PROFILES")
                .map(PathBuf::from)
                .or_else(|| config_dir.map(|dir| dir.join("chathook").join("profiles.toml"))),
            data_dir: PathBuf::from(DATA_DIR_DEFAULT),
        }
    }
}

/// The file of profiles.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The profile where neither a profile nor a server is named.
    default: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Kept>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    server: Option<String>,
    app: Option<String>,
    management_key: Option<String>,
    management_secret: Option<String>,
    /// Instead of the pair: where the server keeps it.
    data_dir: Option<PathBuf>,
    ca: Option<PathBuf>,
}

impl Profile {
    /// Finds everything, in the order flag, environment, profile, default.
    pub fn find(flags: &ReachFlags, around: &Surroundings) -> anyhow::Result<Self> {
        let flags = &flags.without_blanks();
        let kept = kept(flags, around)?;
        let access = access(flags, around, &kept)?;
        Ok(Self {
            server: flags.server.clone().or(kept.server).unwrap_or_else(|| SERVER_DEFAULT.to_owned()),
            access,
            app: flags.app.clone().or(kept.app),
            ca: flags.ca.clone().or(kept.ca),
        })
    }
}

/// The named profile, else the file's default. Who names a server and no profile gets none: a
/// profile's secrets go to no other server unasked.
fn kept(flags: &ReachFlags, around: &Surroundings) -> anyhow::Result<Kept> {
    let file = read(around.profiles.as_deref())?;
    let name = match (&flags.profile, &flags.server) {
        (Some(name), _) => Some(name.clone()),
        (None, Some(_)) => None,
        (None, None) => file.default,
    };
    let Some(name) = name else { return Ok(Kept::default()) };
    match file.profiles.get(&name) {
        Some(kept) => Ok(kept.clone()),
        None if name == DEV => Ok(dev()),
        None => {
            let known: Vec<&str> = file.profiles.keys().map(String::as_str).chain([DEV]).collect();
            let place = around.profiles.as_deref().unwrap_or(Path::new("(no file)")).display();
            Err(usage(format!("There is no profile '{name}' in {place}. Known: {}.", known.join(", "))))
        }
    }
}

fn dev() -> Kept {
    Kept {
        server: Some(SERVER_DEFAULT.to_owned()),
        app: Some(DEV.to_owned()),
        management_key: Some(DEV_MANAGEMENT_KEY.to_owned()),
        management_secret: Some(DEV_MANAGEMENT_SECRET.to_owned()),
        ..Kept::default()
    }
}

fn access(flags: &ReachFlags, around: &Surroundings, kept: &Kept) -> anyhow::Result<Access> {
    let pair =
        |key: &str, secret: &str| Access::Management { key: key.to_owned(), secret: secret.to_owned() };
    match (&around.management_key, &around.management_secret) {
        (Some(key), Some(secret)) => return Ok(pair(key, secret)),
        (None, None) => {}
        (Some(_), None) => {
            return Err(usage(
                "CHATHOOK_MANAGEMENT_KEY is set without CHATHOOK_MANAGEMENT_SECRET: set both.",
            ));
        }
        (None, Some(_)) => {
            return Err(usage(
                "CHATHOOK_MANAGEMENT_SECRET is set without CHATHOOK_MANAGEMENT_KEY: set both.",
            ));
        }
    }
    if let Some(dir) = &flags.data_dir {
        return of_data_dir(dir);
    }
    match (&kept.management_key, &kept.management_secret, &kept.data_dir) {
        (Some(key), Some(secret), _) => return Ok(pair(key, secret)),
        (None, None, Some(dir)) => return of_data_dir(dir),
        (None, None, None) => {}
        (Some(_), None, _) | (None, Some(_), _) => {
            let sentence = "The profile has only one of management_key and management_secret: give both.";
            return Err(usage(sentence));
        }
    }
    // A server that was started right here, with nothing else said.
    let is_nothing_said = flags.server.is_none() && kept.server.is_none();
    if is_nothing_said && around.data_dir.join("credentials.toml").is_file() {
        return of_data_dir(&around.data_dir);
    }
    Err(usage(
        "No credentials for the server: set CHATHOOK_MANAGEMENT_KEY and CHATHOOK_MANAGEMENT_SECRET, \
         or name a --profile, or on the server's machine its --data-dir. \
         For 'chathook dev' say --profile dev.",
    ))
}

fn of_data_dir(dir: &Path) -> anyhow::Result<Access> {
    let found = read_credentials(&dir.join("credentials.toml"))
        .map_err(|error| usage(format!("The data directory gives no credentials: {error:#}.")))?;
    Ok(Access::Management { key: found.key, secret: found.secret })
}

/// The file, or none. One that holds secrets and that others may read is refused, as ssh does with keys.
fn read(path: Option<&Path>) -> anyhow::Result<File> {
    let Some(path) = path else { return Ok(File::default()) };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => return Err(usage(format!("The profiles {} cannot be read: {error}.", path.display()))),
    };
    let file: File = toml::from_str(&text).map_err(|error| {
        usage(format!("The profiles {} are not right: {}.", path.display(), error.message()))
    })?;
    let mode = std::fs::metadata(path).context("The profiles have gone")?.permissions().mode();
    let has_secrets = file.profiles.values().any(|kept| kept.management_secret.is_some());
    if has_secrets && mode & 0o077 != 0 {
        let path = path.display();
        return Err(usage(format!("{path} holds secrets and others may read it: chmod 600 {path}")));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const FILE: &str = r#"
        default = "prod"
        [profiles.prod]
        server = "https://chat.example.com"
        app = "shop"
        management_key = "mk"
        management_secret = "ms"
        [profiles.bare]
        server = "https://bare.example.com"
    "#;

    fn around(text: &str, mode: u32) -> (TempDir, Surroundings) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("profiles.toml");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
        let data_dir = dir.path().join("data");
        (dir, Surroundings { profiles: Some(path), data_dir, ..Surroundings::default() })
    }

    fn pair(profile: &Profile) -> Vec<&str> {
        profile.access.headers().into_iter().map(|(_, value)| value).collect()
    }

    fn named(name: &str) -> ReachFlags {
        ReachFlags { profile: Some(name.to_owned()), ..ReachFlags::default() }
    }

    #[test]
    fn the_files_default_is_used_where_nothing_is_named() {
        let (_dir, around) = around(FILE, 0o600);
        let profile = Profile::find(&ReachFlags::default(), &around).expect("found");
        assert_eq!(
            (profile.server.as_str(), profile.app.as_deref()),
            ("https://chat.example.com", Some("shop"))
        );
        assert_eq!(pair(&profile), ["mk", "ms"]);
    }

    #[test]
    fn the_environment_goes_before_the_profile() {
        let (_dir, mut around) = around(FILE, 0o600);
        around.management_key = Some("ek".to_owned());
        assert!(Profile::find(&named("prod"), &around).is_err(), "half a pair is none");
        around.management_secret = Some("es".to_owned());
        assert_eq!(pair(&Profile::find(&named("prod"), &around).expect("found")), ["ek", "es"]);
    }

    #[test]
    fn a_server_that_is_named_gets_no_secrets_of_the_default_profile() {
        let (_dir, around) = around(FILE, 0o600);
        let flags =
            ReachFlags { server: Some("https://other.example.com".to_owned()), ..ReachFlags::default() };
        let error = Profile::find(&flags, &around).expect_err("no credentials");
        assert!(error.to_string().contains("CHATHOOK_MANAGEMENT_KEY"), "{error}");
    }

    #[test]
    fn secrets_that_others_may_read_are_refused() {
        let (_dir, around) = around(FILE, 0o644);
        let error = Profile::find(&named("dev"), &around).expect_err("too open");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn the_profile_of_dev_needs_no_file() {
        let (_dir, around) = around("", 0o644);
        let profile = Profile::find(&named("dev"), &around).expect("built in");
        assert_eq!((profile.server.as_str(), profile.app.as_deref()), (SERVER_DEFAULT, Some("dev")));
        let error = Profile::find(&named("prud"), &around).expect_err("no such profile");
        assert!(error.to_string().contains("'prud'") && error.to_string().contains("dev"), "{error}");
    }

    #[test]
    fn a_server_on_this_machine_gives_its_credentials() {
        let (dir, around) = around(FILE.replace("default = \"prod\"", "").as_str(), 0o600);
        std::fs::create_dir(&around.data_dir).expect("made");
        let file = "management_key = \"dk\"\nmanagement_secret = \"ds\"\n";
        std::fs::write(around.data_dir.join("credentials.toml"), file).expect("written");
        let here = Profile::find(&ReachFlags::default(), &around).expect("found");
        assert_eq!((here.server.as_str(), pair(&here)), (SERVER_DEFAULT, vec!["dk", "ds"]));
        assert!(Profile::find(&named("bare"), &around).is_err(), "they are no other server's");
        let flags = ReachFlags { data_dir: Some(around.data_dir.clone()), ..named("prod") };
        assert_eq!(pair(&Profile::find(&flags, &around).expect("found")), ["dk", "ds"]);
        let flags = ReachFlags { data_dir: Some(dir.path().join("elsewhere")), ..named("prod") };
        assert!(Profile::find(&flags, &around).is_err());
    }

    #[test]
    fn a_variable_that_is_set_to_nothing_counts_as_unset() {
        let (_dir, around) = around(FILE, 0o600);
        let blank = || Some(String::new());
        let flags = ReachFlags { server: blank(), app: blank(), profile: blank(), ..ReachFlags::default() };
        let profile = Profile::find(&flags, &around).expect("found");
        assert_eq!(
            (profile.server.as_str(), profile.app.as_deref()),
            ("https://chat.example.com", Some("shop"))
        );
    }

    #[test]
    fn a_setting_that_the_file_does_not_know_is_named() {
        let (_dir, around) = around("[profiles.a]\nsever = \"http://a\"\n", 0o600);
        let error = Profile::find(&named("a"), &around).expect_err("unknown");
        assert!(error.to_string().contains("sever"), "{error}");
    }
}
