//! Turns names into addresses: one look-up at a time per name, on threads that nothing else
//! uses. It judges nothing; that is the address guard's work.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

/// The addresses of a name, or a sentence saying why there are none.
pub type Resolved = Result<Arc<[IpAddr]>, String>;

/// Asks where a name leads. Tests put their own in place.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    async fn resolve(&self, name: &str) -> Resolved;
}

/// The blocking call behind a look-up.
pub type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// A hung look-up holds a thread until the system gives up, so this many names may hang before
/// others wait.
pub const THREADS_MAX: usize = 32;

/// A look-up that takes this long is slow, and its name is until a look-up of it is not.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// How many slow names are remembered, the last ones to be slow.
const SLOW_NAMES_MAX: usize = 4_096;

/// Resolves as the operating system does. Callers of one name share the look-up under way; names
/// known to be slow share half of the threads, so that the others find one.
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
    asked: HashMap<String, watch::Sender<Option<Resolved>>>,
    queue: VecDeque<String>,
    /// Names known to be slow, which wait for a thread of their half.
    slow_queue: VecDeque<String>,
    slow_names: SlowNames,
    running: HashMap<String, Running>,
    threads: usize,
    threads_idle: usize,
    is_closed: bool,
}

/// A look-up on a thread.
#[derive(Clone, Copy)]
struct Running {
    since: Duration,
    is_known_slow: bool,
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

    fn ask(&self, name: &str) -> Result<watch::Receiver<Option<Resolved>>, String> {
        let mut state = self.shared.lock();
        if let Some(sender) = state.asked.get(name) {
            return Ok(sender.subscribe());
        }
        let is_slow = state.slow_names.contains(name);
        let queue = if is_slow { &mut state.slow_queue } else { &mut state.queue };
        queue.push_back(name.to_owned());
        let (sender, receiver) = watch::channel(None);
        state.asked.insert(name.to_owned(), sender);
        let may_start = state.queue.len() + self.shared.slow_places(&state).min(state.slow_queue.len());
        if state.threads_idle < may_start
            && state.threads < self.shared.threads_max
            && let Err(error) = self.start_thread(&mut state)
        {
            state.asked.remove(name);
            return Err(error);
        }
        self.shared.wake.notify_one();
        Ok(receiver)
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
        let mut receiver = self.ask(name)?;
        let answer = receiver.wait_for(Option::is_some).await;
        let answer = answer.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| Err("the look-up was abandoned".to_owned()))
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
                let is_slow = self.took_long(running);
                state.slow_names.note(&name, is_slow);
            }
            if let Some(sender) = state.asked.remove(&name) {
                sender.send_replace(Some(resolved));
            }
        }
    }

    /// The next name that somebody still waits for; `None` when the resolver is gone.
    fn next_name(&self) -> Option<String> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            // The slow ones go first within their half: the other half is always the others'.
            let slow = if self.slow_places(&state) > 0 { state.slow_queue.pop_front() } else { None };
            let is_known_slow = slow.is_some();
            match slow.or_else(|| state.queue.pop_front()) {
                Some(name) if state.asked.get(&name).is_none_or(watch::Sender::is_closed) => {
                    state.asked.remove(&name);
                }
                Some(name) => {
                    let since = (self.elapsed)();
                    state.running.insert(name.clone(), Running { since, is_known_slow });
                    return Some(name);
                }
                None => {
                    state.threads_idle += 1;
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.threads_idle -= 1;
                }
            }
        }
    }

    /// How many slow names may go on a thread now. A look-up that turns out slow while it runs
    /// counts as well.
    fn slow_places(&self, state: &State) -> usize {
        let slow = state.running.values().filter(|r| r.is_known_slow || self.took_long(**r)).count();
        (self.threads_max / 2).max(1).saturating_sub(slow)
    }

    fn took_long(&self, running: Running) -> bool {
        (self.elapsed)().saturating_sub(running.since) >= SLOW_AFTER
    }
}

/// The names whose last look-up was slow.
#[derive(Default)]
struct SlowNames {
    names: HashSet<String>,
    /// In the order in which they became slow; those that have become quick again are among them.
    order: VecDeque<String>,
}

impl SlowNames {
    fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn note(&mut self, name: &str, is_slow: bool) {
        if !is_slow {
            self.names.remove(name);
        } else if self.names.insert(name.to_owned()) {
            self.order.push_back(name.to_owned());
        }
        while self.order.len() > SLOW_NAMES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.names.remove(&oldest);
            }
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
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    use tokio::time::timeout;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// A resolver on a clock that the test moves, whose look-ups of names that start
    /// with `hung` wait until they are let go.
    struct Bench {
        resolver: SystemResolver,
        clock: Arc<AtomicU64>,
        started: mpsc::Receiver<String>,
        release: mpsc::Sender<()>,
    }

    fn bench(threads_max: usize) -> Bench {
        let (release, held) = mpsc::channel::<()>();
        let (tell, started) = mpsc::channel();
        let (held, clock) = (Mutex::new(held), Arc::new(AtomicU64::new(0)));
        let read = Arc::clone(&clock);
        let lookup = move |name: &str| {
            tell.send(name.to_owned()).expect("the test listens");
            assert_ne!(name, "bad.test", "the test wants this to die");
            if name.starts_with("hung") {
                held.lock().expect("not poisoned").recv().ok();
            }
            Ok(if name == "empty.test" { Vec::new() } else { vec![ADDRESS] })
        };
        let elapsed = move || Duration::from_secs(read.load(Ordering::SeqCst));
        let resolver = SystemResolver::with_lookup(threads_max, Box::new(lookup), Box::new(elapsed));
        Bench { resolver, clock, started, release }
    }

    async fn answer(mut receiver: watch::Receiver<Option<Resolved>>) -> Resolved {
        let answer = receiver.wait_for(Option::is_some).await.expect("answered").clone();
        answer.expect("waited for")
    }

    #[tokio::test]
    async fn callers_of_one_name_share_one_look_up() {
        let bench = bench(4);
        let first = bench.resolver.ask("hung.test").expect("asked");
        let second = bench.resolver.ask("hung.test").expect("asked");
        bench.release.send(()).expect("the look-up waits");
        for receiver in [first, second] {
            assert_eq!(answer(receiver).await, Ok(vec![ADDRESS].into()));
        }
        assert_eq!(bench.started.try_iter().count(), 1);
    }

    #[tokio::test]
    async fn a_hung_name_does_not_hold_up_others() {
        let bench = bench(2);
        let hung = bench.resolver.ask("hung.test").expect("asked");
        for name in ["a.test", "b.test", "a.test"] {
            assert_eq!(bench.resolver.resolve(name).await, Ok(vec![ADDRESS].into()));
        }
        assert!(hung.borrow().is_none());
        bench.release.send(()).expect("the look-up waits");
        assert_eq!(answer(hung).await, Ok(vec![ADDRESS].into()));
    }

    #[tokio::test]
    async fn a_look_up_that_dies_is_an_answer_and_the_thread_lives() {
        let bench = bench(1);
        assert_eq!(bench.resolver.resolve("bad.test").await, Err("the look-up died".to_owned()));
        assert_eq!(bench.resolver.resolve("empty.test").await, Err("no addresses".to_owned()));
    }

    /// Makes names known as slow that will hang from now on: the clock moves while each is looked up.
    async fn make_slow(bench: &Bench, names: &[&str]) {
        for name in names {
            let asked = bench.resolver.ask(name).expect("asked");
            assert_eq!(&bench.started.recv().expect("started"), name);
            bench.clock.fetch_add(2, Ordering::SeqCst);
            bench.release.send(()).expect("the look-up waits");
            answer(asked).await.expect("an address");
        }
    }

    #[tokio::test]
    async fn names_known_to_hang_hold_at_most_half_of_the_threads() {
        let bench = bench(4);
        let names = ["hung-1", "hung-2", "hung-3", "hung-4", "hung-5"];
        make_slow(&bench, &names).await;
        let mut hung: Vec<_> = names.map(|name| bench.resolver.ask(name).expect("asked")).into();
        let mut started = [(); 2].map(|()| bench.started.recv().expect("started"));
        started.sort();
        assert_eq!(started, ["hung-1", "hung-2"]);
        let others = ["new-1", "new-2", "new-3"];
        for name in others {
            let resolved = timeout(Duration::from_secs(5), bench.resolver.resolve(name)).await;
            assert_eq!(resolved.expect("a thread is free"), Ok(vec![ADDRESS].into()));
        }
        assert_eq!(bench.started.try_iter().collect::<Vec<_>>(), others, "two of four threads hang");
        // Each gets its turn, in the order in which they were asked for.
        for next in ["hung-3", "hung-4", "hung-5"] {
            bench.release.send(()).expect("a look-up waits");
            assert_eq!(bench.started.recv().expect("started"), next);
        }
        for _ in 0..2 {
            bench.release.send(()).expect("a look-up waits");
        }
        while let Some(receiver) = hung.pop() {
            answer(receiver).await.expect("an address");
        }
    }

    #[tokio::test]
    async fn a_look_up_that_turns_out_slow_counts_among_the_slow_ones() {
        let bench = bench(4);
        make_slow(&bench, &["hung-1"]).await;
        let mut asked = Vec::new();
        for name in ["hung-new-1", "hung-new-2"] {
            asked.push(bench.resolver.ask(name).expect("asked"));
            bench.started.recv().expect("started");
        }
        bench.clock.fetch_add(2, Ordering::SeqCst);
        let known = bench.resolver.ask("hung-1").expect("asked");
        assert_eq!(bench.resolver.resolve("a.test").await, Ok(vec![ADDRESS].into()));
        assert_eq!(bench.started.try_iter().collect::<Vec<_>>(), ["a.test"], "half of the threads hang");
        for _ in 0..3 {
            bench.release.send(()).expect("a look-up waits or will");
        }
        asked.push(known);
        for receiver in asked {
            answer(receiver).await.expect("an address");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_quick_again_is_like_any_other() {
        let bench = bench(2);
        make_slow(&bench, &["hung-1", "hung-2"]).await;
        // Quick this time: the clock stands still.
        let quick = bench.resolver.ask("hung-2").expect("asked");
        bench.release.send(()).expect("the look-up waits");
        answer(quick).await.expect("an address");
        let hung = bench.resolver.ask("hung-1").expect("asked");
        let other = bench.resolver.ask("hung-2").expect("asked");
        let mut started: Vec<_> = (0..3).map(|_| bench.started.recv().expect("started")).collect();
        started.sort();
        assert_eq!(started, ["hung-1", "hung-2", "hung-2"], "both at once");
        for receiver in [hung, other] {
            bench.release.send(()).expect("a look-up waits");
            drop(receiver);
        }
    }

    #[test]
    fn only_so_many_slow_names_are_remembered() {
        let mut names = SlowNames::default();
        for index in 0..=SLOW_NAMES_MAX {
            names.note(&index.to_string(), true);
        }
        assert!(!names.contains("0") && names.contains("1"));
        assert_eq!(names.names.len(), SLOW_NAMES_MAX);
    }
}
