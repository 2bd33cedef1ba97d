//! The endpoints that are connections: requests to a listener go down the connection that its receiver
//! holds open, and to nobody where there is none. All other requests go on to the other endpoints.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

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

/// A request on its way to a connection. It belongs to whoever waits for its answer and holds the other
/// end, so that what a connection is too slow to read takes no room once it is given up.
struct Asked {
    post: Weak<Post>,
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
            let Some(post) = post.upgrade() else { continue };
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
        let (began, post) = (Instant::now(), Arc::new(post));
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
                if line.queue.send(Asked { post: Arc::downgrade(&post), answer }).await.is_err() {
                    continue;
                }
                // Held any longer, it would keep a connection that was replaced waiting for more.
                drop(line);
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

impl Endpoints for ListenerEndpoints {
    /// Written out, so that the requests to others, which are most, are not boxed a second time.
    fn post<'a, 'b>(&'a self, post: Post) -> Pin<Box<dyn Future<Output = Exchange> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        if is_of_listener(post.to.url()) { Box::pin(self.ask(post)) } else { self.others.post(post) }
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use chathook_domain::ids::AppId;
    use chathook_domain::listener::Keep;
    use chathook_domain::outcome::Answer;
    use chathook_domain::webhook::EndpointUrl;
    use chathook_engine::ports::endpoints::{Destination, Headers};

    use super::*;

    /// All endpoints that are no listeners.
    struct Others;

    #[async_trait]
    impl Endpoints for Others {
        async fn post(&self, _: Post) -> Exchange {
            Exchange { outcome: answer(b"another"), phases: Phases::default(), address: None }
        }
    }

    fn answer(body: &[u8]) -> Outcome {
        Outcome::Answered(Answer {
            status: 200,
            retry_after_s: None,
            body: body.to_vec(),
            is_cut: false,
            location: None,
        })
    }

    fn listener(name: &str) -> Listener {
        Listener::named(&AppId::trusted("app_1"), name, Keep::Passing).expect("a fit name")
    }

    fn post_to(url: EndpointUrl) -> Post {
        Post {
            to: Destination::of(url),
            headers: Headers::new(),
            body: Bytes::from_static(b"{}"),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            answer_bytes_max: 4,
            idle_connections_max: 1,
        }
    }

    fn endpoints() -> (Listeners, Arc<ListenerEndpoints>) {
        let listeners = Listeners::bounded(2);
        (listeners.clone(), Arc::new(ListenerEndpoints::new(listeners, Arc::new(Others))))
    }

    fn ask(endpoints: &Arc<ListenerEndpoints>) -> tokio::task::JoinHandle<Outcome> {
        let endpoints = endpoints.clone();
        tokio::spawn(async move { endpoints.post(post_to(listener("a").url(1))).await.outcome })
    }

    #[tokio::test]
    async fn without_a_connection_the_failure_has_a_name_and_other_urls_go_elsewhere() {
        let (_, endpoints) = endpoints();
        let outcome = ask(&endpoints).await.expect("no panic");
        assert!(matches!(outcome, Outcome::Failed(Failure::NotConnected(_))), "{outcome:?}");
        let other = EndpointUrl::parse("webhookURL", "https://hooks.example.org/").expect("a URL");
        assert_eq!(endpoints.post(post_to(other)).await.outcome, answer(b"another"));
    }

    #[tokio::test]
    async fn an_answer_comes_back_to_who_asked_cut_at_what_was_asked_for() {
        let (listeners, endpoints) = endpoints();
        let mut connection = listeners.attach(&listener("a"), "192.0.2.1:7").expect("a place");
        assert!(endpoints.is_listening(&listener("a")) && !endpoints.is_listening(&listener("b")));
        let asked = ask(&endpoints);
        let request = connection.questions.next().await.expect("a request");
        connection.answers.take(Told { id: request.head.id + 1, outcome: answer(b"nobody's") });
        connection.answers.take(Told { id: request.head.id, outcome: answer(b"too long") });
        let Outcome::Answered(answer) = asked.await.expect("no panic") else { panic!("an answer") };
        assert_eq!((answer.body.as_slice(), answer.is_cut), (&b"too "[..], true));
    }

    #[tokio::test]
    async fn what_was_under_way_ends_with_its_connection() {
        let (listeners, endpoints) = endpoints();
        let mut connection = listeners.attach(&listener("a"), "192.0.2.1:7").expect("a place");
        let asked = ask(&endpoints);
        connection.questions.next().await.expect("a request");
        drop(connection);
        let outcome = asked.await.expect("no panic");
        assert!(matches!(outcome, Outcome::Failed(Failure::Broken(_))), "{outcome:?}");
        assert!(!endpoints.is_listening(&listener("a")));
    }

    #[tokio::test]
    async fn what_was_under_way_goes_on_to_the_connection_that_takes_the_place() {
        let (listeners, endpoints) = endpoints();
        let mut first = listeners.attach(&listener("a"), "192.0.2.1:7").expect("a place");
        let asked = ask(&endpoints);
        first.questions.next().await.expect("a request");
        let mut second = listeners.attach(&listener("a"), "192.0.2.1:8").expect("a place");
        first.replaced.notified().await;
        assert!(first.questions.next().await.is_none(), "it gets no more");
        drop(first);
        let request = second.questions.next().await.expect("the same request");
        second.answers.take(Told { id: request.head.id, outcome: answer(b"yes") });
        assert_eq!(asked.await.expect("no panic"), answer(b"yes"));
        assert!(endpoints.is_listening(&listener("a")), "the first took nothing with it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_never_answers_costs_its_own_clock_and_is_not_asked_in_vain() {
        let (listeners, endpoints) = endpoints();
        let mut connection = listeners.attach(&listener("a"), "192.0.2.1:7").expect("a place");
        assert_eq!(ask(&endpoints).await.expect("no panic"), Outcome::Failed(Failure::Timeout));
        let asked = ask(&endpoints);
        // The first was not written in time, so it is not written at all.
        let request = connection.questions.next().await.expect("a request");
        connection.answers.take(Told { id: request.head.id, outcome: answer(b"yes") });
        assert_eq!(asked.await.expect("no panic"), answer(b"yes"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_reads_nothing_holds_no_request_that_was_given_up() {
        let (listeners, endpoints) = endpoints();
        let mut connection = listeners.attach(&listener("a"), "192.0.2.1:7").expect("a place");
        let body = Bytes::from(vec![b'x'; 1_000]);
        let post = Post { body: body.clone(), ..post_to(listener("a").url(1)) };
        assert_eq!(endpoints.post(post).await.outcome, Outcome::Failed(Failure::Timeout));
        assert_eq!(connection.questions.queue.len(), 1, "it was never read");
        assert!(body.is_unique(), "its body is still held");
        let asked = ask(&endpoints);
        let request = connection.questions.next().await.expect("a request");
        connection.answers.take(Told { id: request.head.id, outcome: answer(b"yes") });
        assert_eq!(asked.await.expect("no panic"), answer(b"yes"));
    }

    #[test]
    fn places_are_bounded_and_who_takes_anothers_place_needs_none() {
        let listeners = Listeners::bounded(2);
        let first = listeners.attach(&listener("a"), "").expect("a place");
        let _second = listeners.attach(&listener("b"), "").expect("a place");
        assert!(listeners.attach(&listener("c"), "").is_err());
        let _again = listeners.attach(&listener("b"), "").expect("its own place");
        drop(first);
        assert!(listeners.attach(&listener("c"), "").is_ok());
    }
}
