//! Kept-open connections, by origin. They wait here between requests and are closed after a few
//! seconds, before the usual server closes them under our feet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use chathook_engine::ports::endpoints::Destination;
use tokio::time::{Instant, sleep};

use super::connection::Connection;

/// Common servers close at 5 s; a request must not meet that.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// A busy connection would otherwise outlive every change of the name's addresses.
const AGE_MAX: Duration = Duration::from_secs(600);

/// How often connections that wait are looked at: for their age, and for what the other side ended.
const SWEEP_STEP: Duration = Duration::from_millis(500);

/// What connections are shared by: scheme, host and port. An authority leaves out the port only
/// where it is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    is_https: bool,
    authority: Bytes,
}

impl Origin {
    pub fn of(to: &Destination) -> Self {
        Self { is_https: to.url().is_https(), authority: to.authority().clone() }
    }
}

pub struct Pool {
    idle: Arc<Mutex<Idle>>,
    connections_max: usize,
}

#[derive(Default)]
struct Idle {
    /// Oldest first. An origin whose last connection was taken stays until the next sweep.
    by_origin: HashMap<Origin, VecDeque<Parked>>,
    total: usize,
    is_swept: bool,
}

struct Parked {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// Keeps at most `connections_max` over all origins.
    pub fn new(connections_max: usize) -> Self {
        Self { idle: Arc::default(), connections_max }
    }

    /// The connection used last, if one waits. The other side may have ended it: who sends on it
    /// will hear.
    pub fn take(&self, origin: &Origin) -> Option<Connection> {
        let parked = self.lock().pop(origin, VecDeque::pop_back)?;
        // Those before it have waited even longer; the sweep closes them.
        (parked.since.elapsed() < IDLE_MAX).then_some(parked.connection)
    }

    /// Keeps a connection for the next request, `per_origin_max` of them at most. Where the pool is
    /// full, the origin that holds most gives one up.
    pub fn put(&self, origin: Origin, connection: Connection, per_origin_max: usize) {
        let since = Instant::now();
        let is_old = since.duration_since(connection.opened_at()) >= AGE_MAX;
        if is_old || !connection.is_ready() || per_origin_max == 0 || self.connections_max == 0 {
            return;
        }
        let mut idle = self.lock();
        let held = idle.by_origin.entry(origin.clone()).or_default();
        held.push_back(Parked { connection, since });
        let is_over_its_own = held.len() > per_origin_max;
        idle.total += 1;
        let surplus = if is_over_its_own {
            idle.pop(&origin, VecDeque::pop_front)
        } else if idle.total > self.connections_max {
            idle.pop_from_largest()
        } else {
            None
        };
        let must_sweep = !std::mem::replace(&mut idle.is_swept, true);
        drop(idle);
        // Closing is the system's work; nobody waits for it at the lock.
        drop(surplus);
        if must_sweep {
            tokio::spawn(sweep(Arc::downgrade(&self.idle)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, origin: &Origin, end: fn(&mut VecDeque<Parked>) -> Option<Parked>) -> Option<Parked> {
        let popped = end(self.by_origin.get_mut(origin)?)?;
        self.total -= 1;
        Some(popped)
    }

    /// The oldest connection of the origin that holds most. A full pool is walked for it, which is
    /// little beside the handshake that made the newcomer.
    fn pop_from_largest(&mut self) -> Option<Parked> {
        let largest = self.by_origin.values_mut().max_by_key(|parked| parked.len())?;
        let popped = largest.pop_front()?;
        self.total -= 1;
        Some(popped)
    }

    /// Takes out what has waited too long or has ended.
    fn take_expired(&mut self, now: Instant) -> Vec<Parked> {
        let mut expired = Vec::new();
        self.by_origin.retain(|_, parked| {
            for mut waiting in std::mem::take(parked) {
                if waiting.since + IDLE_MAX <= now || waiting.connection.is_ended() {
                    expired.push(waiting);
                } else {
                    parked.push_back(waiting);
                }
            }
            !parked.is_empty()
        });
        self.total -= expired.len();
        expired
    }
}

/// Runs while connections wait, and ends with the last of them or with the pool.
async fn sweep(pool: Weak<Mutex<Idle>>) {
    loop {
        sleep(SWEEP_STEP).await;
        let Some(idle) = pool.upgrade() else { return };
        let (expired, is_swept) = {
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            let expired = idle.take_expired(Instant::now());
            idle.is_swept = idle.total > 0;
            (expired, idle.is_swept)
        };
        drop(expired);
        if !is_swept {
            return;
        }
    }
}
