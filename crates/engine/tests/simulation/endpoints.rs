//! The customers' endpoints, in whatever mood they are.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chathook_domain::outcome::{Answer, Failure, Outcome};
use chathook_engine::ports::endpoints::{Endpoints, Exchange, Phases, Post};

use crate::facts::Sight;
use crate::world::{Mood, World};

/// The endpoints as one start reaches them.
pub struct WorldEndpoints {
    pub world: Arc<World>,
    pub start: u64,
}

#[async_trait]
impl Endpoints for WorldEndpoints {
    async fn post(&self, post: Post) -> Exchange {
        let outcome = match tokio::time::timeout(post.timeout, self.receive(&post)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Failed(Failure::Timeout),
        };
        Exchange { outcome, phases: Phases::default(), address: None }
    }
}

impl WorldEndpoints {
    async fn receive(&self, post: &Post) -> Outcome {
        let header = |name: &str| {
            let line = post.headers.lines().iter().find(|(known, _)| known == name);
            line.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let row: i64 = post
            .to
            .url()
            .as_str()
            .trim_start_matches("https://endpoint")
            .split('.')
            .next()
            .and_then(|row| row.parse().ok())
            .expect("a row of ours");
        self.world.wait_a_little().await;
        let sight = Sight {
            row,
            sequence: header("chathook-sequence").parse().expect("a number"),
            event_id: header("webhook-id"),
            settled: header("chathook-settled").parse().expect("a number"),
            start: self.start,
            tick: chathook_engine::ports::clock::Clock::ticks(&self.world.clock),
        };
        let (outcome, wait_ms) = {
            let mut guard = self.world.state();
            let state = &mut *guard;
            let index = usize::try_from(row - 1).expect("rows count from 1");
            let mood = state.hooks[index].mood;
            if mood == Mood::Refuses {
                state.facts.refused(&sight, &state.hooks[index]);
                return Outcome::Failed(Failure::NotConnected("refused".to_owned()));
            }
            state.facts.saw(&sight, &state.hooks[index]);
            let outcome = answer_of(mood, &sight, &mut state.hooks[index]);
            (outcome, state.chance.u64(1..40))
        };
        // Whatever it had to say is lost with the caller, when that dies meanwhile.
        let leaving = Leaving {
            world: &self.world,
            sight: &sight,
            is_success: outcome.as_ref().is_some_and(Outcome::is_success),
        };
        match outcome {
            Some(outcome) => {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                drop(leaving);
                outcome
            }
            None => std::future::pending().await,
        }
    }
}

/// Tells the facts how it ended, also when the request is dropped half way: the endpoint took it all the same.
struct Leaving<'a> {
    world: &'a World,
    sight: &'a Sight,
    is_success: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let tick = chathook_engine::ports::clock::Clock::ticks(&self.world.clock);
        self.world.state().facts.answered(self.sight, self.is_success, tick);
    }
}

fn answer_of(mood: Mood, sight: &Sight, hook: &mut crate::world::Hook) -> Option<Outcome> {
    let answered = |status, retry_after_s| {
        Some(Outcome::Answered(Answer {
            status,
            retry_after_s,
            body: Vec::new(),
            is_cut: false,
            location: None,
        }))
    };
    match mood {
        Mood::Hangs => return None,
        Mood::Unavailable => return answered(503, None),
        Mood::Busy(seconds) => return answered(429, Some(seconds)),
        Mood::Gone => return answered(410, None),
        Mood::Well | Mood::Refuses => {}
    }
    let bad = hook.bad.iter_mut().find(|(id, tries)| id.as_str() == sight.event_id && **tries > 0);
    match bad {
        Some((_, tries)) => {
            *tries = tries.saturating_sub(u32::from(*tries != u32::MAX));
            answered(400, None)
        }
        None => answered(200, None),
    }
}
