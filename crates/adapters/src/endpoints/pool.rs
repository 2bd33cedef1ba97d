//! Kept-open connections, by origin. They wait here between requests and are closed after a few
//! seconds, before the usual server closes them under our feet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chathook_domain::webhook::EndpointUrl;
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;

/// Common servers close at 5 s; a request must not meet that.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// A busy connection would otherwise outlive every change of the name's addresses.
const AGE_MAX: Duration = Duration::from_secs(600);

/// Over all origins, so that many quiet endpoints do not use up the file descriptors.
const IDLE_CONNECTIONS_MAX: usize = 4_096;

/// The sweeper bundles connections that expire close together.
const SWEEP_STEP: Duration = Duration::from_millis(250);

/// What connections are shared by: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

impl Origin {
    pub fn of(url: &EndpointUrl) -> Self {
        Self { is_https: url.is_https(), host: url.host().to_string(), port: url.port() }
    }
}

/// Cheap to clone; all clones are one pool.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    /// Oldest first; no origin is kept empty.
    by_origin: HashMap<Origin, VecDeque<Parked>>,
    total: usize,
    is_swept: bool,
}

struct Parked {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// The connection used last, if one still stands.
    pub fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.lock();
        while let Some(parked) = idle.pop(origin, VecDeque::pop_back) {
            if parked.since.elapsed() < IDLE_MAX && !parked.connection.is_closed() {
                return Some(parked.connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request, `per_origin_max` of them at most.
    pub fn put(&self, origin: Origin, connection: Connection, per_origin_max: usize) {
        let is_old = connection.opened_at().elapsed() >= AGE_MAX;
        if is_old || connection.is_closed() || per_origin_max == 0 {
            return;
        }
        let mut idle = self.lock();
        while idle.by_origin.get(&origin).is_some_and(|parked| parked.len() >= per_origin_max) {
            drop(idle.pop(&origin, VecDeque::pop_front));
        }
        if idle.total >= IDLE_CONNECTIONS_MAX {
            return;
        }
        let parked = Parked { connection, since: Instant::now() };
        idle.by_origin.entry(origin).or_default().push_back(parked);
        idle.total += 1;
        if !idle.is_swept {
            idle.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, origin: &Origin, end: fn(&mut VecDeque<Parked>) -> Option<Parked>) -> Option<Parked> {
        let parked = self.by_origin.get_mut(origin)?;
        let popped = end(parked);
        if parked.is_empty() {
            self.by_origin.remove(origin);
        }
        self.total -= usize::from(popped.is_some());
        popped
    }

    /// Closes what has waited too long or ended, and says when the next one will have.
    fn close_expired(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        self.by_origin.retain(|_, parked| {
            parked.retain(|p| p.since + IDLE_MAX > now && !p.connection.is_closed());
            let expiry = parked.front().map(|oldest| oldest.since + IDLE_MAX);
            next = next.into_iter().chain(expiry).min();
            expiry.is_some()
        });
        self.total = self.by_origin.values().map(VecDeque::len).sum();
        self.is_swept = next.is_some();
        next
    }
}

/// Runs while connections wait, and ends with the last of them or with the pool.
async fn sweep(pool: Weak<Mutex<Idle>>) {
    loop {
        let now = Instant::now();
        let next = match pool.upgrade() {
            Some(idle) => idle.lock().unwrap_or_else(PoisonError::into_inner).close_expired(now),
            None => return,
        };
        let Some(next) = next else { return };
        sleep_until(next.max(now + SWEEP_STEP)).await;
    }
}
