//! `chathook doctor` on directories, ports and certificates, healthy and not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, date_time_ymd};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::endpoint::params;
use crate::support::*;
use crate::{Report, pem, shown};

/// Of every new database of SQLite's.
const PAGE_BYTES: usize = 4_096;

/// A data directory whose server has stopped, and the file of its credentials.
async fn stopped() -> (TestServer, PathBuf) {
    let mut server = TestServer::start().await;
    server.app().await;
    server.stop().await;
    let credentials = server.data_dir().join("credentials.toml");
    fs::write(&credentials, "management_key = \"k\"\nmanagement_secret = \"s\"\n").expect("written");
    fs::set_permissions(&credentials, Permissions::from_mode(0o600)).expect("set");
    (server, credentials)
}

async fn doctor(data_dir: &Path, more: &[&str]) -> Report {
    let shell = Shell::bare().with("CHATHOOK_LISTEN", "127.0.0.1:0");
    let here = ["doctor", "--json", "--data-dir", shown(data_dir)];
    Report::of(&shell.run(&[&here[..], more].concat()).await)
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_healthy_machine_is_fit_and_its_store_is_left_as_it_was() {
    let (server, _) = stopped().await;
    let before = files(server.data_dir());
    let report = doctor(server.data_dir(), &[]).await;
    assert_eq!(report.code, 0, "{:?}", report.findings);
    assert_eq!(report.graded("fail"), Vec::<&str>::new());
    report.says("store", "ok", "whole");
    report.says("schema", "ok", "of this version");
    report.says("waiting deliveries", "ok", "none");
    report.says("master key", "ok", "opens the store");
    report.says("master key file", "ok", "0600");
    report.says("listen", "ok", "can be listened on");
    report.says("clock", "ok", "newest row");
    let sync = report.find("disk sync").expect("measured");
    assert!(sync["seen"].as_str().expect("told").contains("p99"), "{sync}");
    let is_database = |(path, _): &&(PathBuf, Vec<u8>)| path.ends_with("chathook.db");
    let after = files(server.data_dir());
    assert_eq!(after.iter().find(is_database), before.iter().find(is_database));
    // SQLite's index of the log stays where only readers were; it is no part of the database.
    let is_known = |path: &Path| before.iter().any(|(known, _)| known == path);
    let is_index = |path: &Path| path.ends_with("chathook.db-shm");
    let strange = |(path, bytes): &&(PathBuf, Vec<u8>)| {
        let is_expected = is_known(path) || is_index(path) || bytes.is_empty();
        !is_expected
    };
    assert_eq!(after.iter().filter(strange).count(), 0, "something was left: {after:?}");
}

#[tokio::test]
async fn an_empty_machine_is_fit_and_told_what_the_first_start_makes() {
    let dir = TempDir::new().expect("a directory");
    let data_dir = dir.path().join("not-yet");
    let report = doctor(&data_dir, &[]).await;
    assert_eq!(report.code, 0, "{:?}", report.findings);
    for about in ["data directory", "store", "master key", "credentials"] {
        assert_eq!(report.find(about).expect("told")["grade"], "note", "{about}");
    }
    assert!(!data_dir.exists(), "the check made it");
}

#[tokio::test]
async fn beside_a_server_that_runs_its_port_and_its_store_are_known_as_its_own() {
    let server = TestServer::start().await;
    server.app().await;
    let address = server.address.to_string();
    let report = doctor(server.data_dir(), &["--listen", &address]).await;
    report.says("listen", "ok", "the server answers");
    report.says("store", "ok", "whole");
    assert_eq!(report.code, 0, "{:?}", report.findings);
}

#[tokio::test]
async fn a_port_that_another_holds_is_a_failure() {
    let (stopped, _) = stopped().await;
    let other = TestServer::start().await;
    let address = other.address.to_string();
    let report = doctor(stopped.data_dir(), &["--listen", &address]).await;
    report.says("listen", "fail", "another data directory");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let hangs_up = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let report = doctor(stopped.data_dir(), &["--admin-listen", &address]).await;
    report.says("admin-listen", "fail", "does not answer as chathook");
    hangs_up.abort();
    let report = doctor(stopped.data_dir(), &["--listen", "192.0.2.1:8080"]).await;
    report.says("listen", "fail", "cannot be listened on");
}

#[tokio::test]
async fn secrets_that_others_may_read_are_failures() {
    let (server, credentials) = stopped().await;
    fs::set_permissions(&credentials, Permissions::from_mode(0o644)).expect("set");
    let key = server.data_dir().join("master.key");
    fs::set_permissions(&key, Permissions::from_mode(0o640)).expect("set");
    let report = doctor(server.data_dir(), &[]).await;
    assert_eq!(report.graded("fail"), ["master key file", "credentials"]);
    report.says("master key file", "fail", "0640");
}

#[tokio::test]
async fn what_others_may_read_of_the_store_is_warned_of() {
    let (server, _) = stopped().await;
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    let database = server.data_dir().join("chathook.db");
    set(&database, 0o644);
    set(server.data_dir(), 0o700);
    let closed = doctor(server.data_dir(), &[]).await;
    assert!(!closed.graded("warn").contains(&"database file"), "nobody gets there: {:?}", closed.findings);
    set(server.data_dir(), 0o755);
    let open = doctor(server.data_dir(), &[]).await;
    open.says("data directory", "warn", "0755: others may look into it");
    assert!(open.find("data directory").expect("told")["cure"].as_str().expect("one").contains("chmod 700"));
    open.says("database file", "warn", "0644");
    assert!(open.find("database file").expect("told")["cure"].as_str().expect("one").contains("chmod 600"));
    set(&database, 0o600);
    doctor(server.data_dir(), &[]).await.says("database file", "ok", "0600");
}

#[tokio::test]
async fn what_speaks_no_tls_at_the_port_of_a_server_that_does_is_another() {
    let server = TestServer::start().await;
    server.app().await;
    let other = TestServer::start().await;
    let dir = TempDir::new().expect("a directory");
    let key = KeyPair::generate().expect("a key");
    let key_file = pem(dir.path(), "key.pem", "PRIVATE KEY", &key.serialize_der());
    let cert = pem(dir.path(), "cert.pem", "CERTIFICATE", params().self_signed(&key).expect("made").der());
    let address = other.address.to_string();
    let flags = ["--listen", &address, "--tls-cert", shown(&cert), "--tls-key", shown(&key_file)];
    doctor(server.data_dir(), &flags).await.says("listen", "fail", "does not answer as chathook");
}

#[tokio::test]
async fn a_master_key_that_is_wrong_missing_or_damaged_is_a_failure() {
    let (server, _) = stopped().await;
    let key = server.data_dir().join("master.key");
    fs::write(&key, "07".repeat(32)).expect("written");
    doctor(server.data_dir(), &[]).await.says("master key", "fail", "not the one");
    fs::write(&key, "damaged").expect("written");
    doctor(server.data_dir(), &[]).await.says("master key", "fail", "does not hold a master key");
    fs::remove_file(&key).expect("removed");
    doctor(server.data_dir(), &[]).await.says("master key", "fail", "missing");
    assert!(!key.exists(), "the check made a key");
}

#[tokio::test]
async fn a_damaged_store_is_a_failure() {
    let (server, _) = stopped().await;
    let database = server.data_dir().join("chathook.db");
    let whole = fs::read(&database).expect("read");
    fs::write(&database, &whole[..whole.len() / 2]).expect("written");
    doctor(server.data_dir(), &[]).await.says("store", "fail", "damaged");
    let mut scratched = whole.clone();
    let last_page = scratched.len() - 4_096;
    scratched[last_page..].fill(0xab);
    fs::write(&database, &scratched).expect("written");
    doctor(server.data_dir(), &[]).await.says("store", "fail", "damaged");
    fs::write(&database, b"this is no database at all, but a text".repeat(200)).expect("written");
    doctor(server.data_dir(), &[]).await.says("store", "fail", "damaged");
}

#[tokio::test]
async fn a_broken_page_is_named() {
    let (server, _) = stopped().await;
    let database = server.data_dir().join("chathook.db");
    let page: u32 = Connection::open(&database)
        .and_then(|db| {
            db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'event'", [], |row| row.get(0))
        })
        .expect("a table");
    let mut bytes = fs::read(&database).expect("read");
    // The head of the page, so that it is none of a table any more.
    bytes[(page as usize - 1) * PAGE_BYTES..][..8].fill(0xab);
    fs::write(&database, &bytes).expect("written");
    let report = doctor(server.data_dir(), &[]).await;
    report.says("store", "fail", &format!("age {page}"));
    report.says("master key", "note", "not tried");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_a_failure() {
    let (server, _) = stopped().await;
    let db = Connection::open(server.data_dir().join("chathook.db")).expect("opened");
    db.execute("INSERT INTO migration (version, name, checksum) VALUES (99, 'next', '')", [])
        .expect("written");
    drop(db);
    doctor(server.data_dir(), &[]).await.says("schema", "fail", "newer version");
}

#[tokio::test]
async fn what_waits_for_long_is_warned_of() {
    let mut server = TestServer::start().await;
    let app = server.app().await;
    let endpoint = Endpoint::start().await;
    endpoint.otherwise(Answer::status(500));
    server.webhook(&app, "audit", &endpoint, &["after_message"], Value::Null).await;
    app.send_as("ana", text_to("ben", "hello")).await.data();
    endpoint.next().await;
    server.settled().await;
    server.stop().await;
    let report = doctor(server.data_dir(), &[]).await;
    report.says("waiting deliveries", "warn", "1, the oldest for");
    assert_eq!(report.code, 0, "a warning does not make it unfit");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_is_a_failure_and_nothing_else_is_looked_at() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("chathook.toml");
    fs::write(&file, "lissten = 1\n").expect("written");
    let report = doctor(dir.path(), &["--config", shown(&file)]).await;
    report.says("configuration", "fail", "lissten");
    assert_eq!(report.findings.len(), 1);
}

#[tokio::test]
async fn certificates_are_looked_at_with_their_keys_and_their_time() {
    let (server, _) = stopped().await;
    let dir = TempDir::new().expect("a directory");
    let (key, other) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let key_file = pem(dir.path(), "key.pem", "PRIVATE KEY", &key.serialize_der());
    let other_file = pem(dir.path(), "other.pem", "PRIVATE KEY", &other.serialize_der());
    for file in [&key_file, &other_file] {
        fs::set_permissions(file, Permissions::from_mode(0o600)).expect("set");
    }
    let mut expired = params();
    (expired.not_before, expired.not_after) = (date_time_ymd(1999, 1, 1), date_time_ymd(2001, 2, 3));
    let certificate = |name: &str, params: &rcgen::CertificateParams| {
        pem(dir.path(), name, "CERTIFICATE", params.self_signed(&key).expect("made").der())
    };
    let (good, old) = (certificate("good.pem", &params()), certificate("old.pem", &expired));
    let with = async |cert: &Path, key: &Path| {
        doctor(server.data_dir(), &["--tls-cert", shown(cert), "--tls-key", shown(key)]).await
    };
    let report = with(&good, &key_file).await;
    assert_eq!(report.code, 0, "{:?}", report.findings);
    report.says("tls", "ok", "fit together");
    with(&good, &other_file).await.says("tls", "fail", "do not fit together");
    with(&old, &key_file).await.says("tls certificate", "fail", "expired");
    fs::set_permissions(&key_file, Permissions::from_mode(0o644)).expect("set");
    with(&good, &key_file).await.says("tls key", "fail", "0644");
    let report = doctor(server.data_dir(), &["--endpoint-ca", shown(&old)]).await;
    report.says("endpoint CA", "fail", "expired");
    let report = doctor(server.data_dir(), &["--endpoint-ca", shown(&key_file)]).await;
    report.says("endpoint CA", "fail", "no certificate");
}
