//! What a server keeps is for its owner's eyes alone, whatever the umask.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::delivery::Owed;
use chathook_engine::ports::store::Offers;

struct Nobody;

impl Offers for Nobody {
    fn offer(&self, _: Vec<Owed>) {}

    fn changed(&self, _: i64) {}
}

fn open(dir: &Path) -> Sqlite {
    let vault = Arc::new(Vault::from_env_or_file(None, dir).expect("a key is made"));
    Sqlite::open(dir, vault, Arc::new(Nobody), Options::default()).expect("the store opens")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn nobody_else_may_read_what_a_server_keeps() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("deep/data");
    chathook_adapters::data_dir::make(&dir).expect("the directory is made");
    let _store = open(&dir);
    assert_eq!(mode(&dir), 0o700);
    for name in ["chathook.db", "chathook.db-wal", "chathook.db-shm", "chathook.lock", "master.key"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
}

#[test]
fn what_an_operator_opened_to_others_stays_open() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("data");
    chathook_adapters::data_dir::make(&dir).expect("the directory is made");
    drop(open(&dir));
    let shared = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    shared(&dir, 0o750).expect("a mode is set");
    shared(&dir.join("chathook.db"), 0o640).expect("a mode is set");
    let _store = open(&dir);
    assert_eq!(mode(&dir), 0o750);
    assert_eq!(mode(&dir.join("chathook.db")), 0o640);
    assert_eq!(mode(&dir.join("chathook.db-wal")), 0o640);
}
