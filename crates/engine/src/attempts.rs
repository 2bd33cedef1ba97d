//! Workers: each takes what may go, makes the attempt, hands on what follows, and takes the next.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chathook_domain::delivery::{Owed, Settlement, outcome_name};
use chathook_domain::event::body_for;
use chathook_domain::ids::Time;
use chathook_domain::line::Taken;
use chathook_domain::outcome::{Failure, Outcome};
use chathook_domain::webhook::IDLE_CONNECTIONS_MAX;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;

use crate::dispatch::Dispatcher;
use crate::lines::Room;
use crate::ports::clock::Clock;
use crate::ports::endpoints::{Destination, Endpoints, Exchange, Phases, Post};
use crate::ports::store::{Settled, Target};
use crate::request_headers::headers;

/// How much of an endpoint's answer is read (design 6).
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024;
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after its own clock a sender is given up.
const SENDER_SLACK_MS: i64 = 250;

/// A delivery given out, with what its attempt needs.
struct Errand {
    taken: Taken,
    target: Arc<Target>,
    destination: Arc<Destination>,
    settled: i64,
}

impl Dispatcher {
    /// Works until nothing may go. Each worker has one attempt in flight at a time.
    pub(crate) async fn work(self: Arc<Self>, room: Arc<Room>) -> Option<i64> {
        while let Some(errand) = self.next_errand(&room) {
            let started_at = self.means.clock.now();
            let post = post_of(&errand, started_at);
            tracing::trace!(step = "attempting", "a request is to be made");
            let attempt = AssertUnwindSafe(attempt(&*self.means.clock, &*self.means.endpoints, post))
                .catch_unwind()
                .await;
            let exchange = attempt.unwrap_or_else(|_| {
                tracing::error!(webhook.row = room.row, "an attempt panicked");
                failed(Failure::Internal)
            });
            tracing::trace!(step = "attempted", "a request has come to its end");
            // The lane goes on only when its settlement has a place in the queue: a store that refuses holds the
            // lanes back instead of filling memory.
            let place = self.settlements.reserve().await.ok()?;
            self.settle(&room, errand, exchange, started_at, place);
        }
        None
    }

    fn next_errand(&self, room: &Room) -> Option<Errand> {
        let lines = &self.means.lines;
        let mut visit = lines.visit(room);
        let errand = self.take_errand(room.row, &mut visit);
        if errand.is_none() {
            visit.workers -= 1;
        }
        errand
    }

    fn take_errand(&self, row: i64, open: &mut crate::lines::Open) -> Option<Errand> {
        let lines = &self.means.lines;
        if *self.stop.borrow() || !open.is_working() {
            return None;
        }
        let now = self.means.clock.ticks();
        if open.line.could_begin(now) == 0 || !lines.places.take(row, open.line.in_flight()) {
            return None;
        }
        let Some(taken) = open.line.take(now) else {
            self.give_place_back(open.line.in_flight());
            return None;
        };
        lines.begin_write();
        let (target, destination) = (open.target.clone(), open.destination.clone());
        Some(Errand { taken, target, destination, settled: open.settled })
    }

    fn settle(
        &self,
        room: &Room,
        errand: Errand,
        exchange: Exchange,
        started_at: Time,
        place: mpsc::Permit<'_, Settled>,
    ) {
        let Errand { taken, target, .. } = errand;
        let Owed { stream, sequence, attempts, .. } = taken.owed;
        let (attempt, came_in_at) = (attempts + 1, taken.owed.came_in_at());
        count(&exchange);
        let lines = &self.means.lines;
        let mut visit = lines.visit(room);
        let (now, roll) = (self.now(), self.means.dice.roll());
        let settlement = visit.line.returned(taken, &exchange.outcome, now, roll);
        self.means.tallies.attempted(&target, &exchange, settlement, (came_in_at, started_at), now.wall);
        self.give_place_back(visit.line.in_flight());
        self.pass_on_notes(room.row, &mut visit.line);
        // This worker takes one itself; a second wants another worker, and what waits wants a timer.
        let is_to_be_looked_at = matches!(settlement, Settlement::Waits { .. })
            || visit.line.lacks_some(now.tick)
            || visit.line.could_begin(now.tick) > 1;
        drop(visit);
        tracing::debug!(
            step = "decided", webhook.id = %target.webhook.id, delivery.id = sequence, attempt,
            duration_ms = exchange.phases.total_us / 1_000, settlement = ?settlement, "an attempt was made"
        );
        let Exchange { outcome, phases, address } = exchange;
        place.send(Settled {
            stream,
            sequence,
            webhook_row: room.row,
            attempt,
            outcome,
            phases,
            address,
            settlement,
            started_at,
        });
        if is_to_be_looked_at {
            lines.stir(room.row);
        }
    }

    fn give_place_back(&self, own: usize) {
        let lines = &self.means.lines;
        lines.places.give_back(own).into_iter().for_each(|row| lines.stir(row));
    }
}

fn post_of(errand: &Errand, now: Time) -> Post {
    let Errand { taken: Taken { owed, .. }, target, destination, settled } = errand;
    let webhook = &target.webhook;
    let body = body_for(&owed.body, &webhook.id);
    let mut headers = headers(webhook, &owed.event_id, now, &body);
    headers.write("chathook-attempt", owed.attempts + 1);
    headers.write("chathook-sequence", owed.sequence);
    headers.write("chathook-settled", settled);
    headers.write("chathook-key", owed.lane.key());
    if let Some(job) = owed.replay {
        headers.write("chathook-replay", job);
    }
    Post {
        to: destination.clone(),
        headers,
        body: Bytes::from(body),
        connect_timeout: CONNECT_TIMEOUT,
        timeout: Duration::from_millis(webhook.config.timeout_ms.max(0).cast_unsigned()),
        answer_bytes_max: ANSWER_BYTES_MAX,
        idle_connections_max: IDLE_CONNECTIONS_MAX,
    }
}

/// Makes one attempt, within its clock.
pub(crate) async fn attempt(clock: &dyn Clock, endpoints: &dyn Endpoints, post: Post) -> Exchange {
    // The sender keeps the clock and knows more; this one is for a sender that does not come back.
    let timeout_ms = i64::try_from(post.timeout.as_millis()).unwrap_or(i64::MAX);
    let deadline = clock.ticks().saturating_add(timeout_ms).saturating_add(SENDER_SLACK_MS);
    tokio::select! {
        biased;
        exchange = endpoints.post(post) => exchange,
        () = clock.sleep_until(deadline) => failed(Failure::Timeout),
    }
}

fn failed(failure: Failure) -> Exchange {
    Exchange { outcome: Outcome::Failed(failure), phases: Phases::default(), address: None }
}

fn count(exchange: &Exchange) {
    let outcome = outcome_name(&exchange.outcome);
    metrics::counter!("chathook_attempts_total", "outcome" => outcome).increment(1);
    #[allow(clippy::cast_precision_loss)]
    let seconds = exchange.phases.total_us as f64 / 1e6;
    metrics::histogram!("chathook_attempt_seconds").record(seconds);
}
