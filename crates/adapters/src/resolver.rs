//! Turns names into addresses: one look-up at a time per name, on threads that nothing else
//! uses. It judges nothing; that is the address guard's work.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

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
const THREADS_MAX: usize = 32;

/// Resolves as the operating system does. Callers of one name share the look-up under way.
pub struct SystemResolver {
    shared: Arc<Shared>,
}

struct Shared {
    lookup: Box<Lookup>,
    threads_max: usize,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// Every name asked for and not answered: waiting in `queue`, or on a thread.
    asked: HashMap<String, watch::Sender<Option<Resolved>>>,
    queue: VecDeque<String>,
    threads: usize,
    threads_idle: usize,
    is_closed: bool,
}

impl SystemResolver {
    /// Asks the system's resolver.
    #[must_use]
    pub fn new() -> Self {
        Self::with_lookup(THREADS_MAX, Box::new(look_up))
    }

    /// Asks `lookup` instead, on at most `threads_max` threads.
    #[must_use]
    pub fn with_lookup(threads_max: usize, lookup: Box<Lookup>) -> Self {
        let (state, wake) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { lookup, threads_max, state, wake }) }
    }

    fn ask(&self, name: &str) -> Result<watch::Receiver<Option<Resolved>>, String> {
        let mut state = self.shared.lock();
        if let Some(sender) = state.asked.get(name) {
            return Ok(sender.subscribe());
        }
        if state.threads_idle <= state.queue.len() && state.threads < self.shared.threads_max {
            self.start_thread(&mut state)?;
        }
        let (sender, receiver) = watch::channel(None);
        state.asked.insert(name.to_owned(), sender);
        state.queue.push_back(name.to_owned());
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
            if let Some(sender) = self.lock().asked.remove(&name) {
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
            match state.queue.pop_front() {
                Some(name) if state.asked.get(&name).is_some_and(watch::Sender::is_closed) => {
                    state.asked.remove(&name);
                }
                Some(name) => return Some(name),
                None => {
                    state.threads_idle += 1;
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.threads_idle -= 1;
                }
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn callers_of_one_name_share_one_look_up() {
        let (release, held) = mpsc::channel::<()>();
        let (held, count) = (Mutex::new(held), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&count);
        let resolver = SystemResolver::with_lookup(
            4,
            Box::new(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                held.lock().expect("not poisoned").recv().ok();
                Ok(vec![ADDRESS])
            }),
        );
        let first = resolver.ask("a.test").expect("asked");
        let second = resolver.ask("a.test").expect("asked");
        release.send(()).expect("the look-up waits");
        for mut receiver in [first, second] {
            let answer = receiver.wait_for(Option::is_some).await.expect("answered").clone();
            assert_eq!(answer, Some(Ok(vec![ADDRESS].into())));
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_hung_name_does_not_hold_up_others() {
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let resolver = SystemResolver::with_lookup(
            2,
            Box::new(move |name| {
                if name == "hung.test" {
                    held.lock().expect("not poisoned").recv().ok();
                }
                Ok(vec![ADDRESS])
            }),
        );
        let mut hung = resolver.ask("hung.test").expect("asked");
        for name in ["a.test", "b.test", "a.test"] {
            assert_eq!(resolver.resolve(name).await, Ok(vec![ADDRESS].into()));
        }
        assert!(hung.borrow_and_update().is_none());
        release.send(()).expect("the look-up waits");
        assert!(hung.wait_for(Option::is_some).await.is_ok());
    }

    #[tokio::test]
    async fn a_look_up_that_dies_is_an_answer_and_the_thread_lives() {
        let resolver = SystemResolver::with_lookup(
            1,
            Box::new(|name| {
                assert_ne!(name, "bad.test", "the test wants this to die");
                Ok(Vec::new())
            }),
        );
        assert_eq!(resolver.resolve("bad.test").await, Err("the look-up died".to_owned()));
        assert_eq!(resolver.resolve("a.test").await, Err("no addresses".to_owned()));
    }
}
