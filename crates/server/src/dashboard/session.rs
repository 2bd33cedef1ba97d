//! Who is logged in: random tokens, kept as hashes in memory alone, so that a restart logs everybody out
//! and a look into memory or a backup gives nobody a way in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, header};
use chathook_engine::ports::clock::Dice;
use sha2::{Digest as _, Sha256};

use super::flash::Flash;
use super::{ROOT, Transport};

const HOUR_MS: i64 = 60 * 60 * 1_000;
/// A session that nobody uses ends after this.
const IDLE_MS: i64 = 12 * HOUR_MS;
/// Every session ends after this: a week.
const AGE_MS_MAX: i64 = 7 * 24 * HOUR_MS;
/// Sessions at once; one more ends the one that was used least lately.
const SESSIONS_MAX: usize = 200;
const COOKIE: &str = "chathook_session";

type Hash = [u8; 32];

/// Everybody who is logged in.
#[derive(Default)]
pub struct Sessions {
    by_hash: Mutex<HashMap<Hash, Kept>>,
}

struct Kept {
    csrf: Arc<str>,
    began: i64,
    used: i64,
    flash: Option<Flash>,
}

/// A session that a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    hash: Hash,
    /// What each form of this session carries.
    pub csrf: Arc<str>,
}

/// Whether a request says that a person is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Person,
    /// A page that keeps itself up to date.
    Poll,
}

impl Sessions {
    /// Begins a session and gives its token, which nothing here keeps.
    pub fn begin(&self, dice: &dyn Dice, tick: i64) -> String {
        let (token, csrf) = (secret(dice), secret(dice));
        let mut by_hash = self.by_hash.lock().expect("no one panics while holding this lock");
        by_hash.retain(|_, kept| kept.is_alive(tick));
        if by_hash.len() >= SESSIONS_MAX {
            let idlest = by_hash.iter().min_by_key(|(_, kept)| kept.used).map(|(hash, _)| *hash);
            idlest.and_then(|hash| by_hash.remove(&hash));
        }
        by_hash.insert(hash(&token), Kept { csrf: csrf.into(), began: tick, used: tick, flash: None });
        token
    }

    /// The session of a token, where it has not ended.
    pub fn enter(&self, token: &str, tick: i64, activity: Activity) -> Option<Session> {
        let hash = hash(token);
        let mut by_hash = self.by_hash.lock().expect("no one panics while holding this lock");
        let kept = by_hash.get_mut(&hash)?;
        if !kept.is_alive(tick) {
            by_hash.remove(&hash);
            return None;
        }
        match activity {
            Activity::Person => kept.used = tick,
            Activity::Poll => {}
        }
        Some(Session { hash, csrf: kept.csrf.clone() })
    }

    /// Whether a session that was entered has not ended since.
    pub fn is_in(&self, session: &Session, tick: i64) -> bool {
        let by_hash = self.by_hash.lock().expect("no one panics while holding this lock");
        by_hash.get(&session.hash).is_some_and(|kept| kept.is_alive(tick))
    }

    pub fn end(&self, session: &Session) {
        self.by_hash.lock().expect("no one panics while holding this lock").remove(&session.hash);
    }

    /// Keeps a message for the next page that this session sees.
    pub fn tell(&self, session: &Session, flash: Flash) {
        let mut by_hash = self.by_hash.lock().expect("no one panics while holding this lock");
        if let Some(kept) = by_hash.get_mut(&session.hash) {
            kept.flash = Some(flash);
        }
    }

    /// The message kept for this session, which is thereby shown.
    pub fn take_flash(&self, session: &Session) -> Option<Flash> {
        let mut by_hash = self.by_hash.lock().expect("no one panics while holding this lock");
        by_hash.get_mut(&session.hash)?.flash.take()
    }
}

impl Kept {
    const fn is_alive(&self, tick: i64) -> bool {
        tick - self.used < IDLE_MS && tick - self.began < AGE_MS_MAX
    }
}

/// The cookie that a browser keeps until it is closed.
#[must_use]
pub fn cookie(token: &str, headers: &HeaderMap, transport: Transport) -> String {
    format!("{COOKIE}={token}; {}", attributes(headers, transport))
}

/// The cookie that ends the one there is.
#[must_use]
pub fn ended_cookie(headers: &HeaderMap, transport: Transport) -> String {
    format!("{COOKIE}=; Max-Age=0; {}", attributes(headers, transport))
}

/// `Secure` also where a proxy says that it speaks TLS: who lies there harms their own cookie alone.
fn attributes(headers: &HeaderMap, transport: Transport) -> String {
    let forwarded = headers.get("x-forwarded-proto").is_some_and(|value| value == "https");
    let secure = match transport {
        Transport::Tls => "; Secure",
        Transport::Plain if forwarded => "; Secure",
        Transport::Plain => "",
    };
    format!("Path={ROOT}; HttpOnly; SameSite=Strict{secure}")
}

/// The session's token among the request's cookies.
#[must_use]
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// 256 bits that nobody can guess, in hex.
fn secret(dice: &dyn Dice) -> String {
    format!("{:032x}{:032x}", dice.bits(), dice.bits())
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use chathook_adapters::system::RealDice;

    use super::*;

    #[test]
    fn a_session_ends_when_nobody_uses_it_and_by_its_age() {
        let sessions = Sessions::default();
        let token = sessions.begin(&RealDice, 0);
        assert!(sessions.enter(&token, IDLE_MS - 1, Activity::Poll).is_some());
        assert!(sessions.enter(&token, IDLE_MS, Activity::Person).is_none(), "a poll kept it alive");
        let token = sessions.begin(&RealDice, 0);
        for tick in (0..AGE_MS_MAX).step_by(usize::try_from(IDLE_MS / 2).expect("small")) {
            assert!(sessions.enter(&token, tick, Activity::Person).is_some());
        }
        assert!(sessions.enter(&token, AGE_MS_MAX, Activity::Person).is_none());
    }

    #[test]
    fn at_the_bound_the_idlest_session_ends() {
        let sessions = Sessions::default();
        let tokens: Vec<String> =
            (0..).map(|tick| sessions.begin(&RealDice, tick)).take(SESSIONS_MAX).collect();
        let _ = sessions.enter(&tokens[0], 1_000, Activity::Person);
        let newest = sessions.begin(&RealDice, 1_001);
        let is_in = |token: &String| sessions.enter(token, 1_002, Activity::Poll).is_some();
        assert!(is_in(&tokens[0]) && !is_in(&tokens[1]) && is_in(&tokens[2]) && is_in(&newest));
    }

    #[test]
    fn a_flash_is_shown_once() {
        let sessions = Sessions::default();
        let token = sessions.begin(&RealDice, 0);
        let session = sessions.enter(&token, 1, Activity::Person).expect("it began");
        sessions.tell(&session, Flash::good("Done."));
        assert!(sessions.take_flash(&session).is_some());
        assert!(sessions.take_flash(&session).is_none());
    }
}
