//! Sends with a `muid` that are under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use chathook_domain::ids::{AppId, Key, Uid};
use tokio::sync::OwnedMutexGuard;

/// Sends with a `muid` that are not answered yet: a repeat waits for the one under way.
#[derive(Default)]
pub(crate) struct MuidsUnderWay {
    locks: Mutex<HashMap<MuidKey, Weak<tokio::sync::Mutex<()>>>>,
}

type MuidKey = (AppId, Uid, Key, String);

impl MuidsUnderWay {
    pub async fn wait_for(&self, key: MuidKey) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().expect("no one panics while holding this lock");
            if locks.len() > 1_024 {
                locks.retain(|_, lock| lock.strong_count() > 0);
            }
            let known = locks.get(&key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::new(tokio::sync::Mutex::new(()));
                locks.insert(key, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}
