//! What keeps the store from growing without end: what is old goes, what waits where nobody fetches it
//! expires, what was deleted is removed, and room is given back. All in small pieces, one at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use chathook_domain::ids::AppId;
use chathook_domain::refusal::Refusal;
use chathook_domain::retention::{Cutoffs, Removal, WallWatch, held_since};
use tokio::sync::watch;

use crate::engine::{Engine, refuse};
use crate::listeners::AbsentListeners;
use crate::ports::upkeep::Walk;

/// A start has better things to do.
const FIRST_LOOK_MS: i64 = 10_000;
/// Between two looks at whether there is something to do.
const LOOK_MS: i64 = 60_000;
/// Between two pieces of work: others commit meanwhile.
const STEP_WAIT_MS: i64 = 2;

/// Works through what there is to do, piece by piece.
pub struct Upkeep {
    engine: Arc<Engine>,
    /// None until the store has said what it wrote last.
    watch: Option<WallWatch>,
    /// What is left of this look.
    chores: VecDeque<Chore>,
    absent: AbsentListeners,
}

enum Chore {
    Listeners,
    Doomed,
    Held,
    Old { app: AppId, walk: Walk, cutoffs: Cutoffs },
    OldTallies(AppId),
    Room,
}

impl Upkeep {
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine, watch: None, chores: VecDeque::new(), absent: AbsentListeners::default() }
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let clock = self.engine.clock.clone();
        let work = async {
            if let Ok(Removal::PausesNow { jump_ms }) = self.look_at_the_wall().await {
                tracing::info!(
                    idle_s = jump_ms / 1_000,
                    "nothing was written for long before this start; nothing is removed by its age for an \
                     hour, in case the system's clock is wrong"
                );
            }
            let mut wait_ms = FIRST_LOOK_MS;
            loop {
                clock.sleep_until(clock.ticks() + wait_ms).await;
                // A refusal is logged where it arises; the next look tries again.
                let is_more_left = self.tick().await.unwrap_or(false);
                wait_ms = if is_more_left { STEP_WAIT_MS } else { LOOK_MS };
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// One piece of work. Whether more is left of this look; after that the next tick begins another.
    pub async fn tick(&mut self) -> Result<bool, Refusal> {
        if self.chores.is_empty() {
            self.chores = self.look().await?;
        }
        if let Some(chore) = self.chores.pop_front()
            && let Some(rest) = self.work(chore).await?
        {
            self.chores.push_front(rest);
        }
        Ok(!self.chores.is_empty())
    }

    /// What there may be to do now.
    async fn look(&mut self) -> Result<VecDeque<Chore>, Refusal> {
        let mut chores = VecDeque::from([Chore::Listeners, Chore::Doomed]);
        if self.may_go_by_age().await? {
            chores.push_back(Chore::Held);
            let now = self.engine.clock.now();
            for app in self.engine.store.apps().await.map_err(refuse)? {
                let cutoffs = app.settings.retention.cutoffs(now);
                let old = |walk| Chore::Old { app: app.id.clone(), walk, cutoffs };
                chores.extend(walks(&cutoffs).into_iter().map(old));
                chores.push_back(Chore::OldTallies(app.id));
            }
        }
        chores.push_back(Chore::Room);
        Ok(chores)
    }

    /// Whether the wall clock may say what is old.
    async fn may_go_by_age(&mut self) -> Result<bool, Refusal> {
        match self.look_at_the_wall().await? {
            Removal::Goes => Ok(true),
            Removal::Pauses => Ok(false),
            Removal::PausesNow { jump_ms } => {
                tracing::warn!(
                    jump_s = jump_ms / 1_000,
                    "the system's clock has jumped far ahead; nothing is removed by its age for an hour, so \
                     that it can be set right"
                );
                Ok(false)
            }
        }
    }

    async fn look_at_the_wall(&mut self) -> Result<Removal, Refusal> {
        let (wall, tick) = (self.engine.clock.now(), self.engine.clock.ticks());
        let watch = match &mut self.watch {
            Some(watch) => watch,
            None => {
                let last_written = self.engine.store.last_written().await.map_err(refuse)?;
                self.watch.insert(WallWatch::since(last_written.unwrap_or(wall), tick))
            }
        };
        Ok(watch.look(wall, tick))
    }

    /// Does a piece of it; answers with what is left of it.
    async fn work(&mut self, chore: Chore) -> Result<Option<Chore>, Refusal> {
        let store = &self.engine.store;
        let rest = match chore {
            Chore::Listeners => {
                self.engine.remove_absent_listeners(&mut self.absent).await?;
                Ok(None)
            }
            Chore::Doomed => store.remove_doomed(None).await.map(|more| more.then_some(Chore::Doomed)),
            Chore::Held => {
                let now = self.engine.clock.now();
                store.expire_held(held_since(now), now).await.map(|more| more.then_some(Chore::Held))
            }
            Chore::Old { app, walk, cutoffs } => {
                let rest = store.remove_old(&app, walk, cutoffs).await;
                rest.map(|walk| walk.map(|walk| Chore::Old { app, walk, cutoffs }))
            }
            Chore::OldTallies(app) => {
                let is_more_left = store.remove_old_tallies(&app, self.engine.clock.now()).await;
                is_more_left.map(|more| more.then_some(Chore::OldTallies(app)))
            }
            Chore::Room => store.give_back_room().await.map(|more| more.then_some(Chore::Room)),
        };
        rest.map_err(refuse)
    }
}

/// The walks that may find something.
fn walks(cutoffs: &Cutoffs) -> Vec<Walk> {
    let mut walks = Vec::new();
    if cutoffs.events.is_some() {
        walks.push(Walk::Events { after: None });
    }
    if cutoffs.attempts_go_first() {
        walks.push(Walk::Attempts { stream: 0, after: 0 });
    }
    if cutoffs.messages.is_some() {
        walks.push(Walk::Messages { after: None });
        walks.push(Walk::Receipts { conversation: None });
    }
    walks.push(Walk::Logs);
    walks
}
