//! The endpoints that are connections: requests to a listener go down the connection that its receiver
//! holds open, and to nobody where there is none. All other requests go on to the other endpoints.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chathook_domain::listener::{Listener, is_of_listener};
use chathook_domain::outcome::{Failure, Outcome};
use chathook_engine::ports::endpoints::{Endpoints, Exchange, Phases, Post};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::listen_wire::{Request, Told};

/// Requests that wait to be written to one connection. Deliveries and calls before a message have their
/// own bounds, which are well below it together.
const QUEUE_MAX: usize = 256;
/// Beyond so many unanswered requests, those that nobody waits for any more are forgotten.
const UNANSWERED_MAX: usize = 512;

/// Who listens now. Clones are the same register.
#[derive(Clone)]
pub struct Listeners {
    register: Arc<Mutex<Register>>,
    connections_max: usize,
}

#[derive(Default)]
struct Register {
    lines: HashMap<Listener, Line>,
    connections: u64,
}

/// The way to one connection.
#[derive(Clone)]
struct Line {
    connection: u64,
    peer: Arc<str>,
    queue: mpsc::Sender<Asked>,
    replaced: Arc<Notify>,
}

/// A request on its way to a connection; whoever waits for its answer holds the other end.
struct Asked {
    post: Post,
    answer: oneshot::Sender<Outcome>,
}

/// All connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPlace;

/// The server's end of a connection: what is to be asked, and what was answered.
pub struct Connection {
    pub questions: Questions,
    pub answers: Answers,
    /// Told when another has taken its place.
    pub replaced: Arc<Notify>,
}

/// Requests to be written to the connection. Dropped, the connection is gone.
pub struct Questions {
    queue: mpsc::Receiver<Asked>,
    unanswered: Arc<Mutex<Unanswered>>,
    listener: Listener,
    connection: u64,
    listeners: Listeners,
}

/// Takes what the connection answers.
pub struct Answers {
    unanswered: Arc<Mutex<Unanswered>>,
}

#[derive(Default)]
struct Unanswered {
    by_id: HashMap<u64, oneshot::Sender<Outcome>>,
    ids: u64,
}

impl Listeners {
    #[must_use]
    pub fn bounded(connections_max: usize) -> Self {
        Self { register: Arc::default(), connections_max }
    }

    /// Registers a connection; one that the listener had ends.
    ///
    /// # Errors
    /// Others have all the places.
    pub fn attach(&self, listener: &Listener, peer: &str) -> Result<Connection, NoPlace> {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let mut register = self.register();
        if register.lines.len() >= self.connections_max && !register.lines.contains_key(listener) {
            return Err(NoPlace);
        }
        register.connections += 1;
        let connection = register.connections;
        let replaced = Arc::<Notify>::default();
        let line = Line { connection, peer: peer.into(), queue: sender, replaced: replaced.clone() };
        if let Some(before) = register.lines.insert(listener.clone(), line) {
            before.replaced.notify_one();
        }
        drop(register);
        let unanswered = Arc::<Mutex<Unanswered>>::default();
        let answers = Answers { unanswered: unanswered.clone() };
        let listeners = self.clone();
        let questions = Questions { queue, unanswered, listener: listener.clone(), connection, listeners };
        Ok(Connection { questions, answers, replaced })
    }

    fn line_of(&self, listener: &Listener) -> Option<Line> {
        self.register().lines.get(listener).cloned()
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Questions {
    /// The next request; `None` when there will be no more. Loses nothing when it is cancelled.
    pub async fn next(&mut self) -> Option<Request> {
        loop {
            let Asked { post, answer } = self.queue.recv().await?;
            if answer.is_closed() {
                continue;
            }
            let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
            if unanswered.by_id.len() >= UNANSWERED_MAX {
                unanswered.by_id.retain(|_, waiting| !waiting.is_closed());
            }
            unanswered.ids += 1;
            let id = unanswered.ids;
            match Request::of(id, &post) {
                Some(request) => {
                    unanswered.by_id.insert(id, answer);
                    return Some(request);
                }
                None => drop(answer.send(Outcome::Failed(Failure::Internal))),
            }
        }
    }
}

impl Answers {
    /// Hands an answer to whoever waits for it. One that comes too late is nobody's.
    pub fn take(&self, told: Told) {
        let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = unanswered.by_id.remove(&told.id) {
            drop(waiting.send(told.outcome));
        }
    }
}

impl Drop for Questions {
    /// Whoever waits for an answer is told at once that none will come.
    fn drop(&mut self) {
        let mut register = self.listeners.register();
        if register.lines.get(&self.listener).is_some_and(|line| line.connection == self.connection) {
            register.lines.remove(&self.listener);
        }
        drop(register);
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).by_id.clear();
    }
}

/// Endpoints of which some are listeners.
pub struct ListenerEndpoints {
    listeners: Listeners,
    others: Arc<dyn Endpoints>,
}

impl ListenerEndpoints {
    #[must_use]
    pub fn new(listeners: Listeners, others: Arc<dyn Endpoints>) -> Self {
        Self { listeners, others }
    }

    async fn ask(&self, post: Post) -> Exchange {
        let began = Instant::now();
        let mut address = None;
        let asking = async {
            let Some(listener) = Listener::of(post.to.url()) else {
                return Outcome::Failed(Failure::Internal);
            };
            let mut last = None;
            loop {
                let Some(line) = self.listeners.line_of(&listener) else { return nobody(last) };
                // The connection ended under way. Another that has taken its place is asked in its stead:
                // a repeated request is no harm, deliveries carry their id.
                if last == Some(line.connection) {
                    return nobody(last);
                }
                last = Some(line.connection);
                address = Some(line.peer.clone());
                let (answer, answered) = oneshot::channel();
                if line.queue.send(Asked { post: post.clone(), answer }).await.is_err() {
                    continue;
                }
                if let Ok(outcome) = answered.await {
                    return cut(outcome, post.answer_bytes_max);
                }
            }
        };
        let outcome = timeout(post.timeout, asking).await.unwrap_or(Outcome::Failed(Failure::Timeout));
        let phases = Phases { total_us: micros(began.elapsed()), ..Phases::default() };
        Exchange { outcome, phases, address }
    }
}

#[async_trait]
impl Endpoints for ListenerEndpoints {
    async fn post(&self, post: Post) -> Exchange {
        if is_of_listener(post.to.url()) { self.ask(post).await } else { self.others.post(post).await }
    }

    fn is_listening(&self, listener: &Listener) -> bool {
        self.listeners.line_of(listener).is_some()
    }
}

fn nobody(last: Option<u64>) -> Outcome {
    Outcome::Failed(match last {
        None => Failure::NotConnected("nobody listens: the listener has no connection".to_owned()),
        Some(_) => Failure::Broken("the listener's connection ended before its answer".to_owned()),
    })
}

/// A receiver sends no more than it was asked for; one that does is cut like any endpoint.
fn cut(outcome: Outcome, bytes_max: usize) -> Outcome {
    match outcome {
        Outcome::Answered(mut answer) if answer.body.len() > bytes_max => {
            answer.body.truncate(bytes_max);
            answer.is_cut = true;
            Outcome::Answered(answer)
        }
        Outcome::Answered(_) | Outcome::Failed(_) => outcome,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
