//! A backup of a server under load, and the servers that start on it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::caller::Tenant;
use crate::load::{self, Load, Place};
use crate::server::{FAIL_SAFE, Start};
use crate::sink::Sink;
use crate::{MESSAGES_PER_ROUND, STOP_MAX, message_ids};

/// Says whether there is a backup, and what the command said.
async fn back_up(data_dir: &Path, file: &Path) -> (bool, String) {
    run("backup", file, data_dir).await
}

/// Says whether the command did it, and what it said.
async fn run(verb: &str, file: &Path, data_dir: &Path) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chathook"));
    command.arg(verb).arg(file).arg("--data-dir").arg(data_dir).current_dir(data_dir);
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = timeout(FAIL_SAFE, running).await.expect("it ends in time").expect("no panic");
    let output = output.expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_under_load_holds_all_that_was_acknowledged_and_delivers_what_waits() {
    let sink = Sink::start(Duration::ZERO).await;
    let (data_dir, kept, restored) = (dir(), dir(), dir());
    let start = Start::new(data_dir.path(), &sink.ca_file);
    let mut server = start.run().await;
    let tenant = Tenant::make(server.address, &sink.url(), load::USERS).await;
    let (place, at) = watch::channel(Place::first(server.address));
    let mut load = Load::begin(&tenant, &at);
    load.acknowledged_at_least(MESSAGES_PER_ROUND).await;
    sink.answer_after(STOP_MAX * 3);
    load.acknowledged_at_least(2 * MESSAGES_PER_ROUND).await;
    let before = load.acknowledged();

    let file = kept.path().join("copy.db");
    let (is_made, said) = back_up(data_dir.path(), &file).await;
    assert!(is_made, "{said}");
    assert_eq!(names(kept.path()), BTreeSet::from(["copy.db".to_owned()]));
    load.acknowledged_at_least(before.len() + MESSAGES_PER_ROUND).await;
    load.end().await;
    drop((load, place));
    server.kill();
    let delivered_by_the_first = message_ids(&sink.sightings());

    fs::copy(data_dir.path().join("master.key"), restored.path().join("master.key")).expect("copied");
    let (is_restored, said) = run("restore", &file, restored.path()).await;
    assert!(is_restored && said.contains("checked and whole"), "{said}");
    sink.answer_after(Duration::ZERO);
    let second = Start::new(restored.path(), &sink.ca_file).run().await;
    let stored = load::stored(&tenant, second.address).await;
    let lost: Vec<_> = before.iter().filter(|(muid, id)| stored.get(*muid) != Some(*id)).collect();
    assert!(lost.is_empty(), "acknowledged before the backup, and not in it: {lost:?}");
    let waited = before.values().any(|id| !delivered_by_the_first.contains(id));
    assert!(waited, "the first server has delivered all, so this shows nothing");
    sink.wait_until("the copy delivers what waits in it", |seen| {
        let delivered = message_ids(seen);
        before.values().all(|id| delivered.contains(id))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_a_whole_database_for_its_key_alone_and_overwrites_nothing() {
    let sink = Sink::start(Duration::ZERO).await;
    let (data_dir, kept, restored) = (dir(), dir(), dir());
    let file = kept.path().join("copy.db");
    let (is_made, said) = back_up(data_dir.path(), &file).await;
    assert!(!is_made && said.contains("There is no database"), "{said}");
    assert!(names(kept.path()).is_empty());

    let mut server = Start::new(data_dir.path(), &sink.ca_file).run().await;
    Tenant::make(server.address, &sink.url(), load::USERS).await;
    // What a kill leaves in the write-ahead log is part of the database.
    server.kill();
    let (is_made, said) = back_up(data_dir.path(), &file).await;
    assert!(is_made, "{said}");
    let before = fs::read(&file).expect("the copy");
    let (is_made, said) = back_up(data_dir.path(), &file).await;
    assert!(!is_made && said.contains("exists already"), "{said}");
    assert_eq!(fs::read(&file).expect("the copy"), before);
    assert_eq!(names(kept.path()), BTreeSet::from(["copy.db".to_owned()]));

    let mode = fs::metadata(&file).expect("the copy").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let db = Connection::open(&file).expect("an ordinary database");
    let text = |sql: &str| db.query_row(sql, [], |row| row.get::<_, String>(0)).expect("a text");
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    assert_eq!(text("SELECT CAST(count(*) AS TEXT) FROM user"), load::USERS.count().to_string());
    let vacuum: i64 = db.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).expect("a number");
    assert_eq!(vacuum, 2, "a restored file gives room back, too");
    drop(db);
    let key = fs::read_to_string(data_dir.path().join("master.key")).expect("the key");
    let holds = |what: &[u8]| before.windows(what.len()).any(|part| part == what);
    assert!(!holds(key.trim().as_bytes()), "the master key is in the backup");

    fs::copy(&file, restored.path().join("chathook.db")).expect("copied");
    fs::write(restored.path().join("master.key"), "07".repeat(32)).expect("written");
    let said = Start::new(restored.path(), &sink.ca_file).refused().await;
    assert!(said.contains("the master key is not the one this store was made with"), "{said}");
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}
