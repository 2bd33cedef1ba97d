//! Values that are read over and over, kept until a row that they were read from changes. A reader
//! sees the last commit that anybody was told of, or a later one; the writer sees its own transaction.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use chathook_domain::app::App;
use chathook_domain::group::{Group, Member};
use chathook_domain::ids::{AppId, Guid, Uid};
use chathook_domain::user::User;
use chathook_engine::ports::store::Stored;
use rusqlite::Connection;

use super::apps::KeyOwner;
use super::changes::{Changes, Moment, Place};
use super::messages::KnownConversation;
use super::users::OwnedToken;
use super::webhooks::Webhooks;
use super::{Sqlite, Writing};
use crate::vault::Vault;

/// Values that each cache keeps, at most: some tens of megabytes in all, where rows are of usual size.
const APPS_MAX: usize = 2_000;
const API_KEYS_MAX: usize = 4_000;
const AUTH_TOKENS_MAX: usize = 20_000;
const USERS_MAX: usize = 20_000;
const GROUPS_MAX: usize = 4_000;
const MEMBERS_MAX: usize = 40_000;
const WEBHOOKS_MAX: usize = 1_000;
const CONVERSATIONS_MAX: usize = 40_000;

/// Something that is found by its name and cached, also where it is absent.
pub(super) trait Cached: Send + Sync + Sized + 'static {
    type Name: Clone + Eq + Hash + Send + Sync + 'static;

    fn cache(caches: &Caches) -> &Cache<Self>;

    /// Where the changes of every row that [`Self::read`] looks at are told.
    fn places(name: &Self::Name, found: Option<&Self>) -> Vec<Place>;

    fn read(db: &Connection, vault: &Vault, name: &Self::Name) -> Stored<Option<Self>>;
}

/// One cache for each kind of value.
pub(super) struct Caches {
    pub changes: Arc<Changes>,
    pub apps: Cache<App>,
    pub api_keys: Cache<KeyOwner>,
    pub auth_tokens: Cache<OwnedToken>,
    pub users: Cache<User>,
    pub groups: Cache<Group>,
    pub members: Cache<Member>,
    pub webhooks: Cache<Webhooks>,
    pub conversations: Cache<KnownConversation>,
}

pub(super) type UserName = (AppId, Uid);
pub(super) type GroupName = (AppId, Guid);
pub(super) type MemberName = (AppId, Guid, Uid);

impl Caches {
    pub(super) fn new(changes: Arc<Changes>) -> Self {
        Self {
            changes,
            apps: Cache::bounded(APPS_MAX),
            api_keys: Cache::bounded(API_KEYS_MAX),
            auth_tokens: Cache::bounded(AUTH_TOKENS_MAX),
            users: Cache::bounded(USERS_MAX),
            groups: Cache::bounded(GROUPS_MAX),
            members: Cache::bounded(MEMBERS_MAX),
            webhooks: Cache::bounded(WEBHOOKS_MAX),
            conversations: Cache::bounded(CONVERSATIONS_MAX),
        }
    }
}

impl Sqlite {
    /// What is committed under this name.
    pub(super) async fn look_up<T: Cached>(&self, name: T::Name) -> Stored<Option<Arc<T>>> {
        let changes = &self.caches.changes;
        let cache = T::cache(&self.caches);
        if let Some(kept) = cache.get(&name)
            && changes.are_unchanged(&kept.places, kept.since)
        {
            return Ok(kept.value);
        }
        let since = changes.now();
        let named = name.clone();
        let found = self.read(move |db, vault| T::read(db, vault, &named)).await?;
        let kept = Kept::new(&name, found, since);
        let value = kept.value.clone();
        cache.put(name, kept);
        Ok(value)
    }
}

impl Writing<'_> {
    /// What stands under this name in the transaction under way.
    pub(super) fn look_up<T: Cached>(&self, name: &T::Name) -> Stored<Option<Arc<T>>> {
        let changes = &self.caches.changes;
        let cache = T::cache(self.caches);
        if let Some(kept) = cache.get(name)
            && changes.are_unchanged(&kept.places, kept.since)
            && !changes.is_any_touched(&kept.places)
        {
            return Ok(kept.value);
        }
        let kept = Kept::new(name, T::read(self.db, self.vault, name)?, changes.now());
        let value = kept.value.clone();
        // What this transaction touched may yet be rolled back.
        if !changes.is_any_touched(&kept.places) {
            cache.put(name.clone(), kept);
        }
        Ok(value)
    }
}

/// Values by name. Those used lately stay: when the newer half is full it becomes the older one, and
/// what is found in the older half moves to the newer.
pub(super) struct Cache<T: Cached> {
    halves: Mutex<Halves<T>>,
    half_max: usize,
}

struct Halves<T: Cached> {
    newer: HashMap<T::Name, Kept<T>>,
    older: HashMap<T::Name, Kept<T>>,
}

/// A value with the moment since when it is known to be right.
struct Kept<T> {
    value: Option<Arc<T>>,
    places: Arc<[Place]>,
    since: Moment,
}

impl<T: Cached> Kept<T> {
    fn new(name: &T::Name, found: Option<T>, since: Moment) -> Self {
        let places = T::places(name, found.as_ref()).into();
        Self { value: found.map(Arc::new), places, since }
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), places: Arc::clone(&self.places), since: self.since }
    }
}

impl<T: Cached> Cache<T> {
    fn bounded(values_max: usize) -> Self {
        let halves = Halves { newer: HashMap::new(), older: HashMap::new() };
        Self { halves: Mutex::new(halves), half_max: values_max / 2 }
    }

    fn get(&self, name: &T::Name) -> Option<Kept<T>> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = halves.newer.get(name) {
            return Some(kept.clone());
        }
        let (name, kept) = halves.older.remove_entry(name)?;
        halves.put(name, kept.clone(), self.half_max);
        Some(kept)
    }

    fn put(&self, name: T::Name, kept: Kept<T>) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.put(name, kept, self.half_max);
    }
}

impl<T: Cached> Halves<T> {
    fn put(&mut self, name: T::Name, kept: Kept<T>, half_max: usize) {
        if self.newer.len() >= half_max && !self.newer.contains_key(&name) {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(name, kept);
    }
}

#[cfg(test)]
mod tests;
