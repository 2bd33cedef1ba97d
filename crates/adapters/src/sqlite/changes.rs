//! When what is cached last changed. Triggers that exist on the write connection alone tell of every
//! row that a cached value is read from, whichever statement, cascade or migration to come touches it;
//! what they told is published after the commit, before any caller of the batch is answered.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

/// Places that remember when something last changed. Names that share one cost each other a read, no more.
const PLACES: usize = 1 << 14;
const BITS: usize = u64::BITS as usize;

/// What names in the store are names of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noun {
    App,
    ApiKey,
    AuthToken,
    /// With their presence.
    User,
    /// With the number of its members.
    Group,
    Member,
    /// All webhooks of an app.
    Webhooks,
    Conversation,
}

impl Noun {
    const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::ApiKey => "api_key",
            Self::AuthToken => "auth_token",
            Self::User => "user",
            Self::Group => "group",
            Self::Member => "member",
            Self::Webhooks => "webhooks",
            Self::Conversation => "conversation",
        }
    }
}

/// The tables that cached values are read from, what a change of a row changes, and by which name.
const WATCHED: [(&str, Noun, &str); 11] = [
    ("app", Noun::App, "ROW.id"),
    ("api_key", Noun::ApiKey, "ROW.hash"),
    ("auth_token", Noun::AuthToken, "ROW.hash"),
    ("user", Noun::User, "ROW.app, ROW.uid"),
    ("connection", Noun::User, "ROW.app, ROW.uid"),
    ("grp", Noun::Group, "ROW.app, ROW.guid"),
    ("member", Noun::Group, "ROW.app, ROW.guid"),
    ("member", Noun::Member, "ROW.app, ROW.guid, ROW.uid"),
    ("webhook", Noun::Webhooks, "ROW.app"),
    ("webhook_trigger", Noun::Webhooks, "(SELECT app FROM webhook WHERE row = ROW.webhook_row)"),
    ("conversation", Noun::Conversation, "ROW.app, ROW.id"),
];

/// Where the changes of one name are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

impl Place {
    pub(super) fn of(noun: Noun, name: &[&[u8]]) -> Self {
        Self::hashed(std::iter::once(noun.as_str().as_bytes()).chain(name.iter().copied()))
    }

    fn hashed<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut hasher = DefaultHasher::new();
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        Self(usize::try_from(hasher.finish() % PLACES as u64).expect("there are few places"))
    }
}

/// A moment in the order of the commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// Which places changed, and when.
pub(super) struct Changes {
    /// The last commit that was published.
    now: AtomicU64,
    /// By place, the commit that last changed it.
    changed_at: Box<[AtomicU64]>,
    /// A bit for each place that the transaction under way has touched.
    touched: Box<[AtomicU64]>,
}

impl Changes {
    /// Watches what this connection, the only one that writes, does from now on.
    pub(super) fn of(db: &Connection) -> rusqlite::Result<Arc<Self>> {
        let zeros = |count| std::iter::repeat_with(AtomicU64::default).take(count).collect();
        let changes = Arc::new(Self {
            now: AtomicU64::new(0),
            changed_at: zeros(PLACES),
            touched: zeros(PLACES / BITS),
        });
        let told = Arc::clone(&changes);
        db.create_scalar_function("changed", -1, FunctionFlags::SQLITE_UTF8, move |call| {
            let bytes = |nth| call.get_raw(nth).as_bytes_or_null().map(Option::unwrap_or_default);
            let parts = (0..call.len()).map(bytes).collect::<Result<Vec<_>, _>>()?;
            told.touch(Place::hashed(parts.into_iter()));
            Ok(0)
        })?;
        for (nth, (table, noun, name)) in WATCHED.iter().enumerate() {
            for (event, rows) in [("INSERT", &["NEW"][..]), ("UPDATE", &["OLD", "NEW"]), ("DELETE", &["OLD"])]
            {
                let told: String = rows
                    .iter()
                    .map(|row| format!("SELECT changed('{}', {});", noun.as_str(), name.replace("ROW", row)))
                    .collect();
                db.execute_batch(&format!(
                    "CREATE TEMP TRIGGER changed_{nth}_{event} AFTER {event} ON main.{table} BEGIN {told} END"
                ))?;
            }
        }
        Ok(changes)
    }

    /// Taken before a read begins, so that what the read may have missed counts as later.
    pub(super) fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::Acquire))
    }

    /// Nothing of these has changed since.
    pub(super) fn are_unchanged(&self, places: &[Place], since: Moment) -> bool {
        places.iter().all(|place| self.changed_at[place.0].load(Ordering::Acquire) <= since.0)
    }

    /// The transaction under way has touched one of these. Asked by the writer only.
    pub(super) fn is_any_touched(&self, places: &[Place]) -> bool {
        let is_touched =
            |Place(place)| self.touched[place / BITS].load(Ordering::Relaxed) & (1 << (place % BITS)) != 0;
        places.iter().copied().any(is_touched)
    }

    /// What the transaction touched is changed as of now. Called when it has ended, whichever way.
    pub(super) fn publish(&self) {
        let now = self.now.load(Ordering::Relaxed) + 1;
        for (nth, word) in self.touched.iter().enumerate() {
            let mut bits = word.swap(0, Ordering::Relaxed);
            while bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                self.changed_at[nth * BITS + bit].store(now, Ordering::Release);
                bits &= bits - 1;
            }
        }
        self.now.store(now, Ordering::Release);
    }

    fn touch(&self, Place(place): Place) {
        self.touched[place / BITS].fetch_or(1 << (place % BITS), Ordering::Relaxed);
    }
}
