//! Deliveries on their way: what may go is given to workers, what memory lacks is fetched, what follows is written.
//! The decisions are the domain's (`line`); here they are carried out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chathook_domain::failing::Note;
use chathook_domain::ids::{LaneKind, Now};
use chathook_domain::lane::{Fetch, Fetched};
use chathook_domain::line::{AskedFetch, Line, LineFetch, LineFetched};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::lines::Room;
use crate::means::{Means, STORE_WAIT_MS};
use crate::ports::store::{DeliveryStore, LineOf, Settled, Stored};
use crate::settlements;

/// The engine's hands on the lines.
pub(crate) struct Dispatcher {
    pub means: Means,
    pub settlements: mpsc::Sender<Settled>,
    pub notes: mpsc::UnboundedSender<(i64, Note)>,
    /// Turns true when nothing new may begin.
    pub stop: watch::Receiver<bool>,
}

/// Starts the loops; they end when `stop` is told and all that was in flight is settled.
pub fn run(means: Means, stop: watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let (settlements, due) = mpsc::channel(settlements::WAITING_MAX);
    let (notes, told) = mpsc::unbounded_channel();
    let writer = settlements::write_settlements(means.clone(), due);
    let clerk = settlements::write_notes(means.clone(), told);
    let dispatcher = Arc::new(Dispatcher { means, settlements, notes, stop });
    vec![
        tokio::spawn(end_with_process(dispatcher.run())),
        tokio::spawn(end_with_process(writer)),
        tokio::spawn(end_with_process(clerk)),
    ]
}

/// A server that no longer delivers must not look alive: the next start finds all in the store.
async fn end_with_process(work: impl Future<Output = ()>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        tracing::error!("dispatch died; the process ends so that it can be started anew");
        std::process::abort();
    }
}

/// What the loop keeps between two looks.
#[derive(Default)]
struct Desk {
    timers: Timers,
    /// Webhooks whose room is being made.
    loading: HashSet<i64>,
    /// Each answers with the row whose room it has made, where it has.
    tasks: JoinSet<Option<i64>>,
}

/// When each webhook is to be looked at again.
#[derive(Default)]
struct Timers {
    due: BTreeSet<(i64, i64)>,
    of: HashMap<i64, i64>,
}

impl Timers {
    fn set(&mut self, row: i64, tick: Option<i64>) {
        if let Some(before) = self.of.remove(&row) {
            self.due.remove(&(before, row));
        }
        if let Some(tick) = tick {
            self.of.insert(row, tick);
            self.due.insert((tick, row));
        }
    }

    fn first(&self) -> Option<i64> {
        self.due.first().map(|(tick, _)| *tick)
    }

    fn take_due(&mut self, now: i64) -> Vec<i64> {
        let mut rows = Vec::new();
        while let Some((tick, row)) = self.due.first().copied()
            && tick <= now
        {
            self.set(row, None);
            rows.push(row);
        }
        rows
    }
}

impl Dispatcher {
    async fn run(self: Arc<Self>) {
        let mut stop = self.stop.clone();
        let mut desk = Desk::default();
        self.wake_all().await;
        loop {
            let mut rows = self.means.lines.take_stirred();
            rows.extend(desk.timers.take_due(self.means.clock.ticks()));
            for row in rows {
                let due = self.pump(row, &mut desk);
                desk.timers.set(row, due);
            }
            let first = desk.timers.first();
            let sleep = async {
                match first {
                    Some(tick) => self.means.clock.sleep_until(tick).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.means.lines.nudge.notified() => {}
                Some(done) = desk.tasks.join_next() => {
                    if let Ok(Some(row)) = done {
                        desk.loading.remove(&row);
                    }
                }
                () = sleep => {}
            }
        }
        while desk.tasks.join_next().await.is_some() {}
    }

    /// After a start every webhook's line looks into the store.
    async fn wake_all(&self) {
        loop {
            match self.means.store.webhook_rows().await {
                Ok(rows) => return rows.into_iter().for_each(|row| self.means.lines.stir(row)),
                Err(error) => {
                    tracing::warn!(?error, "the webhooks cannot be read; dispatch waits");
                    self.means.clock.sleep_until(self.means.clock.ticks() + STORE_WAIT_MS).await;
                }
            }
        }
    }

    /// Sets going what a webhook has to do; answers with the tick at which to look again.
    fn pump(self: &Arc<Self>, row: i64, desk: &mut Desk) -> Option<i64> {
        let lines = &self.means.lines;
        let now = self.now();
        let Some(room) = lines.room(row) else {
            if desk.loading.insert(row) {
                desk.tasks.spawn(self.clone().furnish(row));
            }
            return None;
        };
        let mut visit = lines.visit(&room);
        if visit.rests_until > now.tick {
            return Some(visit.rests_until);
        }
        if visit.is_stale && !visit.is_loading {
            visit.is_loading = true;
            desk.tasks.spawn(self.clone().reload(room.clone()));
        }
        if !visit.is_working() {
            return None;
        }
        let could_begin = visit.line.could_begin(now.tick);
        let is_busy = could_begin > 0 || visit.line.in_flight() > 0;
        if !(is_busy && lines.is_tight(&visit))
            && let Some(asked) = visit.line.next_fetch(now)
        {
            desk.tasks.spawn(self.clone().fetch(room.clone(), visit.line_of(), asked));
        }
        let wanted = (visit.line.in_flight() + could_begin).saturating_sub(visit.workers);
        for _ in 0..wanted {
            visit.workers += 1;
            desk.tasks.spawn(self.clone().work(room.clone()));
        }
        self.pass_on_notes(row, &mut visit.line);
        visit.line.next_due(now.tick)
    }

    pub fn now(&self) -> Now {
        Now { wall: self.means.clock.now(), tick: self.means.clock.ticks() }
    }

    /// Makes the room of a webhook that has none.
    async fn furnish(self: Arc<Self>, row: i64) -> Option<i64> {
        let lines = &self.means.lines;
        let mut stop = self.stop.clone();
        loop {
            let changes = lines.changes();
            match self.means.store.target(row).await {
                Ok(Some(target)) => {
                    lines.furnish(row, target, changes, self.now());
                    lines.stir(row);
                    break;
                }
                Ok(None) => break,
                Err(error) => tracing::warn!(?error, webhook.row = row, "dispatch waits for the store"),
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.means.clock.sleep_until(self.means.clock.ticks() + STORE_WAIT_MS) => {}
            }
        }
        Some(row)
    }

    /// Reads a webhook's configuration as it is now.
    async fn reload(self: Arc<Self>, room: Arc<Room>) -> Option<i64> {
        let lines = &self.means.lines;
        let changes = lines.visit(&room).changes;
        let target = self.means.store.target(room.row).await;
        let now = self.now();
        let mut visit = lines.visit(&room);
        visit.is_loading = false;
        match target {
            Ok(Some(target)) => visit.take_over(target, changes, now),
            // The webhook was deleted: its line goes with it.
            Ok(None) => {
                drop(visit);
                lines.close(room.row);
                return None;
            }
            Err(error) => {
                tracing::warn!(?error, webhook.row = room.row, "dispatch waits for the store");
                visit.rests_until = now.tick + STORE_WAIT_MS;
            }
        }
        drop(visit);
        lines.stir(room.row);
        None
    }

    async fn fetch(self: Arc<Self>, room: Arc<Room>, of: LineOf, asked: AskedFetch) -> Option<i64> {
        let fetched = fetch_from(&*self.means.store, of, asked.fetch).await;
        let now = self.now();
        let lines = &self.means.lines;
        let mut visit = lines.visit(&room);
        match fetched {
            Ok(fetched) => visit.line.fetched(asked.number, fetched, now),
            Err(error) => {
                tracing::warn!(?error, webhook.row = room.row, "dispatch waits for the store");
                visit.line.fetch_failed(asked.number, now);
                visit.rests_until = now.tick + STORE_WAIT_MS;
            }
        }
        drop(visit);
        lines.stir(room.row);
        None
    }

    /// What a person or the store is to be told is written beside the work.
    pub fn pass_on_notes(&self, row: i64, line: &mut Line) {
        let turns = line.take_turns().into_iter().map(Note::Turned);
        for note in line.take_notes().into_iter().chain(turns) {
            self.means.lines.begin_write();
            // The clerk ends after everything that could send to it.
            let _ = self.notes.send((row, note));
        }
    }
}

async fn fetch_from(store: &dyn DeliveryStore, of: LineOf, fetch: LineFetch) -> Stored<LineFetched> {
    let (kind, fetch) = match fetch {
        LineFetch::Live(fetch) => (LaneKind::Live, fetch),
        LineFetch::Replays(fetch) => (LaneKind::Replay, fetch),
        LineFetch::Aside { until, count_max } => {
            let asides = store.asides(of, until, count_max).await?;
            return Ok(LineFetched::Aside { owed: asides.owed, next: asides.next });
        }
    };
    let fetched = match fetch {
        Fetch::More { lane, after } => Fetched::More(store.waiting_of_lane(of, &lane, after).await?),
        Fetch::Named { lanes } => Fetched::Lanes(store.waiting_of_lanes(of, lanes).await?),
        Fetch::Walk { after, count_max } => {
            Fetched::Lanes(store.waiting_lanes(of, kind, after.as_ref(), count_max).await?)
        }
    };
    Ok(LineFetched::Lanes(fetched))
}
