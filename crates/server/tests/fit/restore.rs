//! `chathook restore`: what it puts in place, what it moves aside, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::shown;
use crate::support::command::Ran;
use crate::support::*;

/// A server that has stopped, a backup of it, and a place for a restored one.
struct Stage {
    server: TestServer,
    kept: TempDir,
    place: TempDir,
}

impl Stage {
    async fn new() -> Self {
        let mut server = TestServer::start().await;
        server.app().await;
        server.stop().await;
        let stage = Self { server, kept: dir(), place: dir() };
        let data_dir = shown(stage.server.data_dir()).to_owned();
        Shell::bare().run(&["backup", shown(&stage.backup()), "--data-dir", &data_dir]).await.done();
        stage
    }

    fn backup(&self) -> PathBuf {
        self.kept.path().join("copy.db")
    }

    fn bring_key(&self) {
        let [from, to] = [self.server.data_dir(), self.place.path()].map(|dir| dir.join("master.key"));
        fs::copy(from, to).expect("copied");
    }

    async fn restore(&self, more: &[&str]) -> Ran {
        self.restore_file(&self.backup(), more).await
    }

    async fn restore_file(&self, file: &Path, more: &[&str]) -> Ran {
        let here = ["restore", shown(file), "--data-dir", shown(self.place.path())];
        Shell::bare().run(&[&here[..], more].concat()).await
    }

    /// Nothing but the lock and the key may be in the place.
    fn is_untouched(&self) {
        for name in names(self.place.path()) {
            assert!(["chathook.lock", "master.key"].contains(&name.as_str()), "{name} was left");
        }
    }
}

/// What a command said that was refused for the file or the key.
#[track_caller]
fn refusal(ran: &Ran) -> &str {
    ended(ran, 1)
}

/// What a command said that ended with this code.
#[track_caller]
fn ended(ran: &Ran, code: i32) -> &str {
    assert_eq!(ran.code, code, "{} {}", ran.out, ran.err);
    &ran.err
}

fn dir() -> TempDir {
    TempDir::new().expect("a directory")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn apps_in(dir: &Path) -> i64 {
    let db = Connection::open(dir.join("chathook.db")).expect("opened");
    db.query_row("SELECT count(*) FROM app", [], |row| row.get(0)).expect("counted")
}

#[tokio::test]
async fn a_backup_is_put_in_place_whole_and_says_what_comes_next() {
    let stage = Stage::new().await;
    stage.bring_key();
    let ran = stage.restore(&[]).await;
    let said = ran.done();
    assert!(said.contains("checked and whole") && said.contains("chathook serve --data-dir"), "{said}");
    assert!(!said.contains("no master key"), "{said}");
    let database = stage.place.path().join("chathook.db");
    assert_eq!(fs::read(&database).expect("there"), fs::read(stage.backup()).expect("there"));
    assert_eq!(fs::metadata(&database).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(!names(stage.place.path()).iter().any(|name| name.contains("unfinished")));
    assert_eq!(names(stage.kept.path()), ["copy.db"], "nothing was left beside the backup");
}

#[tokio::test]
async fn without_a_master_key_it_is_said_what_is_needed() {
    let stage = Stage::new().await;
    let said = stage.restore(&[]).await;
    assert!(said.done().contains("There is no master key here"), "{}", said.out);
    assert!(!stage.place.path().join("master.key").exists(), "a key was made");
    let again = stage.restore(&["--force", "--json"]).await.json();
    assert_eq!(again["masterKey"], "missing");
}

#[tokio::test]
async fn another_key_is_refused_and_nothing_changes() {
    let stage = Stage::new().await;
    fs::write(stage.place.path().join("master.key"), "07".repeat(32)).expect("written");
    let said = stage.restore(&[]).await;
    assert!(refusal(&said).contains("master key at hand is not the one"), "{}", said.err);
    stage.is_untouched();
}

#[tokio::test]
async fn a_database_that_is_there_is_kept_unless_it_is_to_be_moved_aside() {
    let stage = Stage::new().await;
    stage.bring_key();
    let database = stage.place.path().join("chathook.db");
    Connection::open(&database).expect("made").execute_batch("CREATE TABLE app (mine)").expect("made");
    let log = stage.place.path().join("chathook.db-wal");
    fs::write(&log, "a log that would be read into another database").expect("written");
    let before = fs::read(&database).expect("there");
    let said = stage.restore(&[]).await;
    assert!(ended(&said, 6).contains("is there already"), "{}", said.err);
    assert_eq!(fs::read(&database).expect("there"), before);

    let told = stage.restore(&["--force", "--json"]).await.json();
    let aside = stage.place.path().join("replaced-1");
    assert_eq!(told["movedTo"], shown(&aside));
    assert_eq!(fs::read(aside.join("chathook.db")).expect("moved"), before);
    assert!(aside.join("chathook.db-wal").exists() && !log.exists(), "the log belongs to the old one");
    assert_eq!(apps_in(stage.place.path()), 1);
    let told = stage.restore(&["--force", "--json"]).await.json();
    assert_eq!(told["movedTo"], shown(&stage.place.path().join("replaced-2")));
}

#[tokio::test]
async fn a_log_without_its_database_is_in_the_way_as_well() {
    let stage = Stage::new().await;
    stage.bring_key();
    fs::write(stage.place.path().join("chathook.db-wal"), "of a database that was removed").expect("written");
    let said = stage.restore(&[]).await;
    assert!(ended(&said, 6).contains("chathook.db-wal is there already"), "{}", said.err);
}

#[tokio::test]
async fn under_a_running_server_nothing_is_replaced() {
    let stage = Stage::new().await;
    let running = TestServer::start().await;
    let here = ["restore", shown(&stage.backup()), "--force", "--data-dir", shown(running.data_dir())]
        .map(str::to_owned);
    let said = Shell::bare().run(&here.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(ended(&said, 6).contains("Another chathook uses this data directory"), "{}", said.err);
    assert_eq!(said.err.matches("Another chathook").count(), 1, "it is said once: {}", said.err);
    let data_dir = shown(stage.server.data_dir());
    let said = Shell::bare().run(&["backup", "absent/copy.db", "--data-dir", data_dir]).await;
    assert_eq!(ended(&said, 1).matches("No such file").count(), 1, "it is said once: {}", said.err);
    running.app().await;
}

#[tokio::test]
async fn a_file_that_is_not_whole_or_not_ours_is_refused() {
    let stage = Stage::new().await;
    let whole = fs::read(stage.backup()).expect("there");
    let file = stage.kept.path().join("other.db");
    for (bytes, why) in
        [(&whole[..whole.len() / 2], "fit"), (b"no database".as_slice(), "fit"), (b"", "no database")]
    {
        fs::write(&file, bytes).expect("written");
        let said = stage.restore_file(&file, &[]).await;
        assert!(refusal(&said).contains("not fit to be restored") && said.err.contains(why), "{}", said.err);
        stage.is_untouched();
    }
    fs::write(&file, &whole).expect("written");
    let db = Connection::open(&file).expect("opened");
    db.execute("INSERT INTO migration (version, name, checksum) VALUES (99, 'next', '')", [])
        .expect("written");
    drop(db);
    assert!(refusal(&stage.restore_file(&file, &[]).await).contains("newer version"));
    let absent = stage.kept.path().join("absent.db");
    assert!(ended(&stage.restore_file(&absent, &[]).await, 4).contains("There is no file"));
    stage.is_untouched();
}

#[tokio::test]
async fn a_copy_that_was_taken_with_its_log_is_refused() {
    let stage = Stage::new().await;
    fs::write(stage.kept.path().join("copy.db-wal"), "what was written last").expect("written");
    assert!(refusal(&stage.restore(&[]).await).contains("copy.db-wal stands beside the file"));
    stage.is_untouched();
}

#[tokio::test]
async fn on_a_terminal_a_backup_and_a_restore_show_how_far_they_are() {
    let stage = Stage::new().await;
    stage.bring_key();
    let (from, to) = (shown(stage.server.data_dir()).to_owned(), shown(stage.place.path()).to_owned());
    let file = shown(&stage.backup()).to_owned();
    let again = format!("{file}.again");
    let shell = Shell::bare();
    let (code, out) = shell.on_terminal("", &format!("chathook backup {again} --data-dir {from}")).await;
    assert!(code == 0 && out.contains("written, the database takes") && out.contains('\r'), "{out:?}");
    let (code, out) = shell.on_terminal("", &format!("chathook restore {file} --data-dir {to}")).await;
    assert!(
        code == 0 && out.contains("opied") && out.contains("\u{1b}[K") && out.contains("checked and whole"),
        "{out:?}"
    );
    let ran = stage.restore(&["--force"]).await;
    assert!(!ran.done().contains('\r'), "{}", ran.out);
}

#[tokio::test]
async fn a_backup_tells_programs_what_it_made_and_scripts_why_it_made_none() {
    let stage = Stage::new().await;
    let data_dir = shown(stage.server.data_dir()).to_owned();
    let file = stage.kept.path().join("other.db");
    let arguments = ["backup", shown(&file), "--data-dir", &data_dir, "--json"];
    let made = Shell::bare().run(&arguments).await.json();
    let bytes = fs::metadata(&file).expect("made").len();
    assert_eq!(made, json!({"file": shown(&file), "bytes": bytes}));
    assert!(ended(&Shell::bare().run(&arguments).await, 6).contains("exists already"));
    let nowhere = ["backup", "copy.db", "--data-dir", "nowhere"];
    assert!(ended(&Shell::bare().run(&nowhere).await, 4).contains("There is no database"));
    let unfit = ["backup", "copy.db", "--config", "nowhere.toml"];
    assert!(ended(&Shell::bare().run(&unfit).await, 2).contains("--config"));
}
