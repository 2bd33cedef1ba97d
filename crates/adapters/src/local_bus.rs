//! The bus of one node: hands notices to the sockets of this process. A socket's queue is bounded in
//! bytes; one that overflows loses its socket, never its messages, which the store still has.

mod crowds;
mod people;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chathook_domain::ids::{AppId, SessionId, Uid};
use chathook_engine::ports::bus::{Audience, Bus, Notice};
use serde_json::json;
use tokio::sync::Notify;

use self::crowds::{Crowds, WOKEN_AT_ONCE};
use self::people::People;

/// Bytes that wait for one socket (design 8); a queue that is empty takes one frame of any size.
pub const OUTBOX_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Clones are the same bus.
#[derive(Debug, Clone, Default)]
pub struct LocalBus {
    registry: Arc<RwLock<Registry>>,
    crowds: Arc<Crowds>,
}

#[derive(Debug, Default)]
struct Registry {
    seats: HashMap<SessionId, Arc<Seat>>,
    users: People,
    watchers: People,
}

/// One session's place, under which it is registered.
#[derive(Debug)]
struct Seat {
    app: AppId,
    uid: Uid,
    session: SessionId,
    outbox: Outbox,
    /// Whose presence the session is told of.
    watched: Mutex<BTreeSet<Uid>>,
    /// It waits to be woken with others of a crowd.
    is_due: AtomicBool,
}

/// A session's hold on its place; dropping it takes the place away.
#[derive(Debug)]
pub struct Subscription {
    registry: Arc<RwLock<Registry>>,
    seat: Arc<Seat>,
}

/// A session would be told of more users' presence than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyWatched;

/// What a socket's writer does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    Frame(Arc<str>),
    /// The reader is too slow: close with 4008.
    Overflowed,
    /// The session was ended elsewhere: close with 4003.
    Ended,
}

/// Frames on their way to one socket.
#[derive(Debug)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    nudge: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Arc<str>>,
    bytes: usize,
    is_overflowed: bool,
    is_ended: bool,
}

impl LocalBus {
    /// Registers a session. Whoever needs no gap subscribes first and reads the store then.
    #[must_use]
    pub fn subscribe(&self, app: &AppId, uid: &Uid, session: &SessionId) -> Subscription {
        let seat = Arc::new(Seat {
            app: app.clone(),
            uid: uid.clone(),
            session: session.clone(),
            outbox: Outbox::bounded(OUTBOX_BYTES_MAX),
            watched: Mutex::default(),
            is_due: AtomicBool::new(false),
        });
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        registry.remove(session);
        registry.seats.insert(session.clone(), Arc::clone(&seat));
        registry.users.put(app, uid, &seat);
        drop(registry);
        Subscription { registry: Arc::clone(&self.registry), seat }
    }

    /// Wakes the sockets of large audiences, for ever. Without it they sleep on.
    pub async fn wake_crowds(&self) {
        self.crowds.wake().await;
    }

    #[must_use]
    pub fn session_count(&self) -> usize {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).seats.len()
    }
}

impl Bus for LocalBus {
    fn is_heard(&self, app: &AppId, by: &Audience) -> bool {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        match by {
            Audience::Users(uids) => {
                !registry.users.is_empty() && uids.iter().any(|uid| registry.users.has(app, uid))
            }
            Audience::WatchersOf(uid) => registry.watchers.has(app, uid),
            Audience::Ended(session) => registry.seats.contains_key(session),
        }
    }

    fn tell(&self, notice: Notice) {
        let seats = {
            let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
            match &notice.to {
                Audience::Users(uids) => registry.of_users(&notice, uids),
                Audience::WatchersOf(uid) => registry.of_watchers(&notice, uid),
                Audience::Ended(session) => {
                    if let Some(seat) = registry.seats.get(session).filter(|seat| seat.app == notice.app) {
                        seat.outbox.end();
                    }
                    return;
                }
            }
        };
        if seats.is_empty() {
            return;
        }
        let frame = frame_of(&notice);
        for seat in &seats {
            seat.outbox.queue(Arc::clone(&frame));
        }
        // What is queued is in its order already; who is woken late is late, and no more.
        if seats.len() <= WOKEN_AT_ONCE {
            seats.iter().for_each(|seat| seat.outbox.wake());
        } else {
            self.crowds.add(seats.into_iter());
        }
    }
}

/// The notice as a JSON-RPC notification.
fn frame_of(notice: &Notice) -> Arc<str> {
    Arc::from(format!(r#"{{"jsonrpc":"2.0","method":{},"params":{}}}"#, json!(notice.method), notice.params))
}

impl Registry {
    fn of_users(&self, notice: &Notice, uids: &[Uid]) -> Vec<Arc<Seat>> {
        let mut seen = HashSet::with_capacity(uids.len());
        let each = uids.iter().filter(|uid| seen.insert(*uid));
        each.flat_map(|uid| but(notice, self.users.seats(&notice.app, uid))).collect()
    }

    fn of_watchers(&self, notice: &Notice, uid: &Uid) -> Vec<Arc<Seat>> {
        but(notice, self.watchers.seats(&notice.app, uid)).collect()
    }

    fn remove(&mut self, session: &SessionId) {
        let Some(seat) = self.seats.remove(session) else { return };
        self.users.take_away(&seat.app, &seat.uid, session);
        for uid in std::mem::take(&mut *seat.watched()) {
            self.watchers.take_away(&seat.app, &uid, session);
        }
    }
}

/// All but the session that knows already.
fn but<'a>(notice: &Notice, seats: impl Iterator<Item = &'a Arc<Seat>>) -> impl Iterator<Item = Arc<Seat>> {
    seats.filter(|seat| notice.except.as_ref() != Some(&seat.session)).cloned()
}

impl Seat {
    fn watched(&self) -> MutexGuard<'_, BTreeSet<Uid>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Where the socket's own answers go too, so that one queue keeps their order and their bound.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.seat.outbox
    }

    /// Adds to the users whose presence this session is told of, or none where they would be too many.
    pub fn watch(&self, uids: &[Uid], watched_max: usize) -> Result<(), TooManyWatched> {
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        let mut watched = self.seat.watched();
        let fresh: BTreeSet<Uid> = uids.iter().filter(|uid| !watched.contains(*uid)).cloned().collect();
        if watched.len() + fresh.len() > watched_max {
            return Err(TooManyWatched);
        }
        if self.is_seated(&registry) {
            for uid in &fresh {
                registry.watchers.put(&self.seat.app, uid, &self.seat);
            }
            watched.extend(fresh);
        }
        Ok(())
    }

    /// Another session of the same name would have taken the place.
    fn is_seated(&self, registry: &Registry) -> bool {
        registry.seats.get(&self.seat.session).is_some_and(|seat| Arc::ptr_eq(seat, &self.seat))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        if self.is_seated(&registry) {
            registry.remove(&self.seat.session);
        }
    }
}

impl Outbox {
    /// A queue of at most `bytes_max`, and never below one frame.
    #[must_use]
    pub fn bounded(bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), nudge: Notify::new(), bytes_max }
    }

    /// Queues a frame and wakes who writes. One too many empties the queue and ends it: see
    /// [`Outgoing::Overflowed`].
    pub fn push(&self, frame: Arc<str>) {
        self.queue(frame);
        self.wake();
    }

    fn queue(&self, frame: Arc<str>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_overflowed || waiting.is_ended {
            return;
        }
        if !waiting.frames.is_empty() && waiting.bytes + frame.len() > self.bytes_max {
            *waiting = Waiting { is_overflowed: true, ..Waiting::default() };
        } else {
            waiting.bytes += frame.len();
            waiting.frames.push_back(frame);
        }
    }

    fn wake(&self) {
        self.nudge.notify_one();
    }

    /// What is queued still goes out, then [`Outgoing::Ended`].
    pub fn end(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_ended = true;
        self.wake();
    }

    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_ended
    }

    #[must_use]
    pub fn is_overflowed(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_overflowed
    }

    /// Waits for the next thing to do. For one reader; loses nothing when it is cancelled.
    pub async fn next(&self) -> Outgoing {
        loop {
            if let Some(outgoing) = self.take() {
                return outgoing;
            }
            self.nudge.notified().await;
        }
    }

    /// The next thing to do, where there is one now.
    pub fn take(&self) -> Option<Outgoing> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = waiting.frames.pop_front() {
            waiting.bytes -= frame.len();
            return Some(Outgoing::Frame(frame));
        }
        match (waiting.is_overflowed, waiting.is_ended) {
            (_, true) => Some(Outgoing::Ended),
            (true, false) => Some(Outgoing::Overflowed),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn notice(to: Audience) -> Notice {
        Notice {
            app: AppId::trusted("a"),
            to,
            except: None,
            method: "message",
            params: Arc::new(json!({"x": 1})),
        }
    }

    fn subscribed(bus: &LocalBus, app: &str, uid: &str, session: &str) -> Subscription {
        bus.subscribe(&AppId::trusted(app), &Uid::trusted(uid), &SessionId::trusted(session))
    }

    #[test]
    fn a_queue_that_is_full_overflows_and_an_empty_one_takes_any_frame() {
        let outbox = Outbox::bounded(10);
        outbox.push(Arc::from("a frame beyond the bound"));
        assert!(!outbox.is_overflowed());
        assert!(matches!(outbox.take(), Some(Outgoing::Frame(_))));
        outbox.push(Arc::from("12345"));
        outbox.push(Arc::from("67890"));
        assert!(!outbox.is_overflowed(), "exactly the bound");
        outbox.push(Arc::from("1"));
        assert_eq!(outbox.take(), Some(Outgoing::Overflowed));
    }

    #[test]
    fn a_notice_reaches_each_socket_of_its_users_once_and_no_other() {
        let bus = LocalBus::default();
        let first = subscribed(&bus, "a", "u", "1");
        let second = subscribed(&bus, "a", "u", "2");
        let stranger = subscribed(&bus, "b", "u", "3");
        let uid = Uid::trusted("u");
        let except = Some(SessionId::trusted("2"));
        bus.tell(Notice { except, ..notice(Audience::Users(vec![uid.clone(), uid])) });
        let frame = Arc::from(r#"{"jsonrpc":"2.0","method":"message","params":{"x":1}}"#);
        assert_eq!(first.outbox().take(), Some(Outgoing::Frame(frame)));
        assert_eq!(first.outbox().take(), None);
        assert_eq!(second.outbox().take(), None);
        assert_eq!(stranger.outbox().take(), None);
    }

    #[test]
    fn watchers_are_told_until_they_go() {
        let bus = LocalBus::default();
        let watcher = subscribed(&bus, "a", "w", "1");
        let twice = [Uid::trusted("u"), Uid::trusted("u")];
        assert_eq!(watcher.watch(&twice, 1), Ok(()));
        assert_eq!(watcher.watch(&[Uid::trusted("v")], 1), Err(TooManyWatched));
        bus.tell(notice(Audience::WatchersOf(Uid::trusted("u"))));
        assert!(watcher.outbox().take().is_some());
        assert_eq!(watcher.outbox().take(), None);
        drop(watcher);
        let registry = bus.registry.read().expect("not poisoned");
        assert!(registry.seats.is_empty() && registry.users.is_empty() && registry.watchers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_a_crowd_is_woken_for_what_it_is_told_again_and_again() {
        let bus = LocalBus::default();
        let crowd: Vec<Subscription> =
            (0..100).map(|nth| subscribed(&bus, "a", "u", &nth.to_string())).collect();
        let waking = tokio::spawn({
            let bus = bus.clone();
            async move { bus.wake_crowds().await }
        });
        for _ in 0..2 {
            let told = async {
                for each in &crowd {
                    assert!(matches!(each.outbox().next().await, Outgoing::Frame(_)));
                }
            };
            let tell = async { bus.tell(notice(Audience::Users(vec![Uid::trusted("u")]))) };
            // They wait before they are told, so that only being woken lets them go on. The clock of the
            // test runs out where nobody is.
            let both = async { tokio::join!(told, tell) };
            tokio::time::timeout(Duration::from_secs(1), both).await.expect("everybody is woken");
        }
        waking.abort();
    }

    #[tokio::test]
    async fn an_ended_session_is_told_what_was_queued_and_then_its_end() {
        let bus = LocalBus::default();
        let subscription = subscribed(&bus, "a", "u", "1");
        bus.tell(notice(Audience::Users(vec![Uid::trusted("u")])));
        bus.tell(notice(Audience::Ended(SessionId::trusted("1"))));
        bus.tell(notice(Audience::Users(vec![Uid::trusted("u")])));
        assert!(matches!(subscription.outbox().next().await, Outgoing::Frame(_)));
        assert_eq!(subscription.outbox().next().await, Outgoing::Ended);
    }
}
