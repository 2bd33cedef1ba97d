//! Secrets at rest: sealed with XChaCha20-Poly1305 under the master key, found by keyed hash.
//! Each sealed value is bound to the name of its record, so that it opens nowhere else.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use chathook_domain::checkup::{KeyFit, KeyPlace};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const NONCE_BYTES: usize = 24;
/// In the data directory.
pub const KEY_FILE: &str = "master.key";
const CHECK_RECORD: &str = "vault_check";
const CHECK_WORD: &[u8] = b"chathook";

pub struct Vault {
    cipher: XChaCha20Poly1305,
    hash_key: [u8; 32],
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

impl Vault {
    #[must_use]
    pub fn from_key(master: [u8; 32]) -> Self {
        let seal_key = mac(&master, &[b"chathook seal 1"]);
        let hash_key = mac(&master, &[b"chathook hash 1"]);
        Self { cipher: XChaCha20Poly1305::new(&seal_key.into()), hash_key }
    }

    /// The key of `CHATHOOK_MASTER_KEY` where that is set, else of `master.key` in `dir`, which is made
    /// at the first start.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn from_env_or_file(env: Option<&str>, dir: &Path) -> Result<Self, String> {
        if let Some((vault, _)) = Self::at_hand(env, dir)? {
            return Ok(vault);
        }
        let (key, path) = (random(), dir.join(KEY_FILE));
        keep(&key, dir).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self::from_key(key))
    }

    /// As [`Self::from_env_or_file`], and says where the key was found; never makes one.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn at_hand(env: Option<&str>, dir: &Path) -> Result<Option<(Self, KeyPlace)>, String> {
        if let Some(text) = env {
            let key = parse_key(text)
                .ok_or("CHATHOOK_MASTER_KEY must be 64 hex characters or the base64 of 32 bytes")?;
            return Ok(Some((Self::from_key(key), KeyPlace::Environment)));
        }
        let path = dir.join(KEY_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let key = parse_key(&text)
                    .ok_or_else(|| format!("{} does not hold a master key", path.display()))?;
                Ok(Some((Self::from_key(key), KeyPlace::File)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    /// Seals `plain` for the record of this name.
    #[must_use]
    pub fn seal(&self, record: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = random();
        let payload = Payload { msg: plain, aad: record.as_bytes() };
        let cipher_text = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a value in memory is within the cipher's bound");
        [nonce.as_slice(), &cipher_text].concat()
    }

    /// Opens what was sealed for the record of this name.
    ///
    /// # Errors
    /// When the value was sealed under another key or for another record, or was damaged.
    pub fn open(&self, record: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let unfit = || format!("the sealed value of '{record}' does not open under this master key");
        let (nonce, cipher_text) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(unfit)?;
        let payload = Payload { msg: cipher_text, aad: record.as_bytes() };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| unfit())
    }

    /// As [`Self::open`], for text.
    ///
    /// # Errors
    /// As [`Self::open`], and when it is no text.
    pub fn open_text(&self, record: &str, sealed: &[u8]) -> Result<String, String> {
        String::from_utf8(self.open(record, sealed)?)
            .map_err(|_| format!("the sealed value of '{record}' is no text"))
    }

    /// A name for a secret that tells nothing about it: equal for equal texts of one purpose.
    #[must_use]
    pub fn hash(&self, purpose: &str, text: &str) -> Vec<u8> {
        mac(&self.hash_key, &[purpose.as_bytes(), &[0], text.as_bytes()]).to_vec()
    }

    /// A constant, sealed: a store keeps it to know its key again.
    #[must_use]
    pub fn check_word(&self) -> Vec<u8> {
        self.seal(CHECK_RECORD, CHECK_WORD)
    }
}

/// Writes the check word at the first start, and opens it at every other.
pub(crate) fn check(db: &rusqlite::Connection, vault: &Vault) -> Result<(), String> {
    match fit(db, Some(vault)).map_err(|error| format!("cannot read the check word: {error}"))? {
        KeyFit::Right => Ok(()),
        KeyFit::Wrong => Err("the master key is not the one this store was made with; give the right \
                              CHATHOOK_MASTER_KEY or master.key"
            .to_owned()),
        KeyFit::NothingSealed => db
            .execute("INSERT INTO vault_check (sealed) VALUES (?1)", [vault.check_word()])
            .map(|_| ())
            .map_err(|error| format!("cannot write the check word: {error}")),
    }
}

/// Whether this key, or none, is the one of the check word. Only reads.
pub(crate) fn fit(db: &rusqlite::Connection, vault: Option<&Vault>) -> rusqlite::Result<KeyFit> {
    use rusqlite::OptionalExtension as _;

    let kept =
        db.query_row("SELECT sealed FROM vault_check", [], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    let opened = kept.map(|sealed| vault.map(|vault| vault.open(CHECK_RECORD, &sealed)));
    Ok(match opened {
        None => KeyFit::NothingSealed,
        Some(Some(Ok(word))) if word == CHECK_WORD => KeyFit::Right,
        Some(Some(Ok(_) | Err(_)) | None) => KeyFit::Wrong,
    })
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let bytes = if text.len() == 64 {
        let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
        digits?
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]))
            .collect::<Result<Vec<u8>, _>>()
            .ok()?
    } else {
        STANDARD.decode(text).ok()?
    };
    bytes.try_into().ok()
}

/// Under another name first, so that a crash leaves a whole key or none.
fn keep(key: &[u8; 32], dir: &Path) -> std::io::Result<()> {
    let unfinished = dir.join(format!("{KEY_FILE}.new"));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(file, "{hex}")?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(KEY_FILE))?;
    #[cfg(unix)]
    fs::File::open(dir)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_under_its_key_and_record_only() {
        let vault = Vault::from_key([1; 32]);
        let sealed = vault.seal("webhook/a", b"secret");
        assert_eq!(vault.open("webhook/a", &sealed).expect("opens"), b"secret");
        assert!(vault.open("webhook/b", &sealed).is_err());
        assert!(Vault::from_key([2; 32]).open("webhook/a", &sealed).is_err());
        assert!(vault.open("webhook/a", &sealed[..10]).is_err());
        assert_ne!(sealed, vault.seal("webhook/a", b"secret"), "no nonce is used twice");
    }

    #[test]
    fn hashes_differ_by_purpose_and_key() {
        let vault = Vault::from_key([1; 32]);
        assert_eq!(vault.hash("token", "x"), vault.hash("token", "x"));
        assert_ne!(vault.hash("token", "x"), vault.hash("key", "x"));
        assert_ne!(vault.hash("token", "x"), Vault::from_key([2; 32]).hash("token", "x"));
    }

    #[test]
    fn the_key_file_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Vault::from_env_or_file(None, dir.path()).expect("makes a key");
        let again = Vault::from_env_or_file(None, dir.path()).expect("reads the key");
        assert_eq!(again.open("r", &first.seal("r", b"x")).expect("opens"), b"x");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(dir.path().join(KEY_FILE)).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(dir.path().join(KEY_FILE), "").expect("written");
        assert!(Vault::from_env_or_file(None, dir.path()).is_err(), "a damaged key is never replaced");
    }

    #[test]
    fn a_key_from_outside_is_hex_or_base64() {
        let dir = tempfile::tempdir().expect("a directory");
        let hex = Vault::from_env_or_file(Some(&"07".repeat(32)), dir.path()).expect("hex");
        let base64 = Vault::from_env_or_file(Some(&STANDARD.encode([7; 32])), dir.path()).expect("base64");
        assert_eq!(base64.open("r", &hex.seal("r", b"x")).expect("the same key"), b"x");
        assert!(Vault::from_env_or_file(Some("short"), dir.path()).is_err());
        assert!(!dir.path().join(KEY_FILE).exists());
    }

    #[test]
    fn a_wrong_key_is_noticed_at_the_start() {
        let db = rusqlite::Connection::open_in_memory().expect("opens");
        db.execute_batch("CREATE TABLE vault_check (sealed BLOB NOT NULL) STRICT").expect("made");
        check(&db, &Vault::from_key([1; 32])).expect("the first start");
        check(&db, &Vault::from_key([1; 32])).expect("the same key");
        assert!(check(&db, &Vault::from_key([2; 32])).is_err());
    }
}
