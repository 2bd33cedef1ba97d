//! Turns names into addresses: one look-up at a time per name, on threads that nothing else
//! uses. It judges nothing; that is the address guard's work, at each connection.

mod known;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::known::{KnownNames, Pace};

/// Where a name leads; shared by those who asked for it.
pub type Addresses = Arc<[IpAddr]>;

/// The addresses of a name, or a sentence saying why there are none.
pub type Resolved = Result<Addresses, String>;

/// Asks where a name leads. Tests put their own in place.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    async fn resolve(&self, name: &str) -> Resolved;
}

/// The blocking call behind a look-up.
pub type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// A hung look-up holds a thread until the system gives up. Names that are new get at most half of the
/// threads, names known to be slow a quarter; the rest is always for names that were quick last time.
pub const THREADS_MAX: usize = 32;

/// A look-up that takes this long is slow, and so is its name until a look-up of it is not. Who has
/// waited this long is given the name's last answer, where there is one.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// How long a name without a last answer waits for a thread: less than the connect clock of a delivery
/// (5 s, design 6), so that the attempt tells what was lacking.
const THREAD_WAIT_MAX: Duration = Duration::from_secs(4);

/// What comes of it then.
const NO_THREAD: &str = "no look-up could begin: too many other names do not answer";

/// Resolves as the operating system does. Callers of one name share the look-up under way.
pub struct SystemResolver {
    shared: Arc<Shared>,
}

struct Shared {
    lookup: Box<Lookup>,
    elapsed: Box<Elapsed>,
    threads_max: usize,
    state: Mutex<State>,
    wake: Condvar,
}

/// Tells the time since some moment in the past.
pub type Elapsed = dyn Fn() -> Duration + Send + Sync;

#[derive(Default)]
struct State {
    /// Every name asked for and not answered: waiting in a queue, or on a thread.
    asked: HashMap<String, Asked>,
    queues: Queues,
    known: KnownNames,
    running: HashMap<String, Running>,
    threads: usize,
    threads_idle: usize,
    is_closed: bool,
}

/// A name that is asked for, by those who listen.
struct Asked {
    progress: watch::Sender<Progress>,
    /// Somebody left with the last answer and wants a fresh one for the next time.
    is_wanted: bool,
}

#[derive(Clone)]
enum Progress {
    Queued,
    OnThread,
    Answered(Resolved),
}

/// Which part of the threads a name may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// Names that were quick last time, and may take any thread.
    Quick,
    /// Names of which nothing is known.
    New,
    /// Names that were slow last time.
    Slow,
}

#[derive(Default)]
struct Queues {
    quick: VecDeque<String>,
    new: VecDeque<String>,
    slow: VecDeque<String>,
}

/// A look-up on a thread.
#[derive(Clone, Copy)]
struct Running {
    since: Duration,
    share: Share,
}

impl SystemResolver {
    /// Asks the system's resolver.
    #[must_use]
    pub fn new() -> Self {
        let began = Instant::now();
        Self::with_lookup(THREADS_MAX, Box::new(look_up), Box::new(move || began.elapsed()))
    }

    /// Asks `lookup` instead, on at most `threads_max` threads.
    #[must_use]
    pub fn with_lookup(threads_max: usize, lookup: Box<Lookup>, elapsed: Box<Elapsed>) -> Self {
        let (state, wake) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { lookup, elapsed, threads_max, state, wake }) }
    }

    /// Joins the look-up of a name that is under way, else begins one. Comes with the last answer.
    fn ask(&self, name: &str) -> Result<(watch::Receiver<Progress>, Option<Addresses>), String> {
        let mut state = self.shared.lock();
        let last_answer = state.known.last_answer(name, (self.shared.elapsed)());
        if let Some(asked) = state.asked.get(name) {
            return Ok((asked.progress.subscribe(), last_answer));
        }
        let share = Share::of(state.known.pace(name));
        state.queues.of(share).push_back(name.to_owned());
        let (progress, receiver) = watch::channel(Progress::Queued);
        state.asked.insert(name.to_owned(), Asked { progress, is_wanted: false });
        if state.threads_idle < self.shared.may_begin(&state)
            && state.threads < self.shared.threads_max
            && let Err(error) = self.start_thread(&mut state)
        {
            state.asked.remove(name);
            return Err(error);
        }
        self.shared.wake.notify_one();
        Ok((receiver, last_answer))
    }

    fn start_thread(&self, state: &mut State) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new().name("resolver".to_owned()).spawn(move || shared.work());
        match started {
            Ok(_) => state.threads += 1,
            // Those that run already will come to it.
            Err(_) if state.threads > 0 => {}
            Err(error) => return Err(format!("no thread for the look-up: {error}")),
        }
        Ok(())
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for SystemResolver {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_all();
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> Resolved {
        let (mut progress, last_answer) = self.ask(name)?;
        if let Some(addresses) = last_answer {
            let answered = timeout(SLOW_AFTER, answer(&mut progress)).await;
            return answered.unwrap_or_else(|_| {
                self.shared.want(name);
                Ok(addresses)
            });
        }
        let on_thread = progress.wait_for(|progress| !matches!(progress, Progress::Queued));
        if timeout(THREAD_WAIT_MAX, on_thread).await.is_err() {
            return Err(NO_THREAD.to_owned());
        }
        answer(&mut progress).await
    }
}

async fn answer(progress: &mut watch::Receiver<Progress>) -> Resolved {
    let answered = progress.wait_for(|progress| matches!(progress, Progress::Answered(_))).await;
    match answered.as_deref() {
        Ok(Progress::Answered(resolved)) => resolved.clone(),
        Ok(Progress::Queued | Progress::OnThread) | Err(_) => Err("the look-up was abandoned".to_owned()),
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(name) = self.next_name() {
            let found = catch_unwind(AssertUnwindSafe(|| (self.lookup)(&name)));
            let resolved = match found {
                Ok(Ok(addresses)) if addresses.is_empty() => Err("no addresses".to_owned()),
                Ok(Ok(addresses)) => Ok(addresses.into()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the look-up died".to_owned()),
            };
            let mut state = self.lock();
            if let Some(running) = state.running.remove(&name) {
                let pace = if self.took_long(running) { Pace::Slow } else { Pace::Quick };
                state.known.note(&name, pace, &resolved, (self.elapsed)());
            }
            if let Some(asked) = state.asked.remove(&name) {
                asked.progress.send_replace(Progress::Answered(resolved));
            }
        }
    }

    /// The next name that somebody wants; `None` when the resolver is gone.
    fn next_name(&self) -> Option<String> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            // Those with a share of their own go first within it: what is beyond it is always the others'.
            let next = [Share::Slow, Share::New, Share::Quick].into_iter().find_map(|share| {
                let has_place = self.places(&state, share) > 0;
                has_place.then(|| state.queues.of(share).pop_front().map(|name| (name, share))).flatten()
            });
            let Some((name, share)) = next else {
                state.threads_idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.threads_idle -= 1;
                continue;
            };
            match state.asked.get(&name) {
                Some(asked) if asked.is_wanted || !asked.progress.is_closed() => {
                    asked.progress.send_replace(Progress::OnThread);
                    let since = (self.elapsed)();
                    state.running.insert(name.clone(), Running { since, share });
                    return Some(name);
                }
                Some(_) | None => drop(state.asked.remove(&name)),
            }
        }
    }

    /// A fresh answer is to be had even if nobody waits for it any more.
    fn want(&self, name: &str) {
        if let Some(asked) = self.lock().asked.get_mut(name) {
            asked.is_wanted = true;
        }
    }

    /// How many of the names that wait could go on a thread now.
    fn may_begin(&self, state: &State) -> usize {
        let Queues { quick, new, slow } = &state.queues;
        quick.len()
            + new.len().min(self.places(state, Share::New))
            + slow.len().min(self.places(state, Share::Slow))
    }

    /// How many names of a share may go on a thread now.
    fn places(&self, state: &State, share: Share) -> usize {
        let running =
            |counts: &dyn Fn(Running) -> bool| state.running.values().filter(|r| counts(**r)).count();
        let (places, taken) = match share {
            Share::Quick => return usize::MAX,
            Share::New => (self.threads_max / 2, running(&|r| r.share == Share::New)),
            // A quick name that turns out slow while it runs counts as well.
            Share::Slow => (
                self.threads_max / 4,
                running(&|r| r.share == Share::Slow || (r.share == Share::Quick && self.took_long(r))),
            ),
        };
        places.max(1).saturating_sub(taken)
    }

    fn took_long(&self, running: Running) -> bool {
        (self.elapsed)().saturating_sub(running.since) >= SLOW_AFTER
    }
}

impl Share {
    fn of(pace: Option<Pace>) -> Self {
        match pace {
            None => Self::New,
            Some(Pace::Quick) => Self::Quick,
            Some(Pace::Slow) => Self::Slow,
        }
    }
}

impl Queues {
    fn of(&mut self, share: Share) -> &mut VecDeque<String> {
        match share {
            Share::Quick => &mut self.quick,
            Share::New => &mut self.new,
            Share::Slow => &mut self.slow,
        }
    }
}

fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    // The port plays no part; the caller adds its own to the checked address.
    let mut addresses = Vec::new();
    for found in (name, 0).to_socket_addrs()? {
        if !addresses.contains(&found.ip()) {
            addresses.push(found.ip());
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests;
