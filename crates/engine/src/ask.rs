//! Asks the `before_message` webhooks of an app, one after the other, within one budget (design 5).

use std::time::Duration;

use chathook_domain::delivery::outcome_name;
use chathook_domain::event::{Origin, body_for, envelope};
use chathook_domain::message::Accepted;
use chathook_domain::outcome::{Failure, Outcome};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::trigger::Trigger;
use chathook_domain::turn::{Party, Turned};
use chathook_domain::verdict::{ANSWER_BYTES_MAX, Fate, Judgement, Verdict, apply, judge, silent};
use chathook_domain::webhook::{IDLE_CONNECTIONS_MAX, Webhook};

use crate::asked_log::Line;
use crate::caller::Caller;
use crate::engine::{Engine, refuse};
use crate::hook_places::Place;
use crate::hooks::Hook;
use crate::ports::endpoints::{Destination, Post};
use crate::ports::store::Asked;
use crate::request_headers::headers;

/// Silences of our own, beside those that the domain names after an outcome.
mod silence {
    /// The webhook's circuit is open: nothing was called.
    pub const CIRCUIT_OPEN: &str = "circuit_open";
    /// No place for another call came free within the webhook's share of the budget.
    pub const NO_PLACE: &str = "no_place";
    /// The webhooks before this one left nothing of the budget.
    pub const NO_TIME: &str = "no_time";
}

impl Engine {
    /// The message as the webhooks leave it, or why it was refused. Calls are logged off the sender's path.
    pub(crate) async fn ask_before_message(
        &self,
        caller: &Caller,
        mut accepted: Accepted,
    ) -> Result<Accepted, Refusal> {
        let changes = self.hooks.changes();
        let webhooks = self.store.webhooks(&caller.app.id).await.map_err(refuse)?;
        let asked: Vec<Webhook> =
            webhooks.into_iter().filter(|w| w.listens_to(Trigger::BeforeMessage)).collect();
        if asked.is_empty() {
            return Ok(accepted);
        }
        let hooks = self.hooks.of(&asked, changes);
        let mut places = self.asked_log.places(asked.len())?;
        // A socket knows the settings of its log-in; what counts is the settings of now.
        let settings = &self.app(&caller.app.id).await?.settings;
        let deadline = self.clock.ticks() + settings.before_message_budget_ms;
        for (index, (webhook, hook)) in asked.iter().zip(&hooks).enumerate() {
            let place = places.next().expect("there is a place for each");
            let line = Line::begin(&*self.clock, place, self.line_of(caller, &accepted, webhook));
            let left_ms = (deadline - self.clock.ticks()).max(0);
            let share_ms = left_ms / i64::try_from(asked.len() - index).expect("at most 25 webhooks");
            let judgement = self.ask_one(caller, &accepted, webhook, hook, share_ms).await;
            let (judgement, fate) = take_effect(judgement, &mut accepted, webhook);
            metrics::counter!("chathook_before_message_total", "verdict" => judgement.name()).increment(1);
            line.end(&judgement);
            match fate {
                Fate::GoesOn => {}
                Fate::Dropped => return Err(blocked_by(judgement.verdict)),
            }
        }
        Ok(accepted)
    }

    async fn ask_one(
        &self,
        caller: &Caller,
        accepted: &Accepted,
        webhook: &Webhook,
        hook: &Hook,
        share_ms: i64,
    ) -> Judgement {
        let on_failure = webhook.config.on_failure;
        if share_ms <= 0 {
            return silent(silence::NO_TIME.to_owned(), on_failure);
        }
        let Some(role) = hook.lets_through(self.clock.ticks()) else {
            return silent(silence::CIRCUIT_OPEN.to_owned(), on_failure);
        };
        let deadline = self.clock.ticks() + share_ms;
        let Some(_place) = self.place_of(hook, deadline).await else {
            return silent(silence::NO_PLACE.to_owned(), on_failure);
        };
        let share = Duration::from_millis((deadline - self.clock.ticks()).max(0).cast_unsigned());
        let post = self.before_message_post(caller, accepted, webhook, share);
        let outcome = tokio::select! {
            exchange = self.endpoints.post(post) => exchange.outcome,
            () = self.clock.sleep_until(deadline) => Outcome::Failed(Failure::Timeout),
        };
        if let Some(kind) = hook.note(&outcome, role, self.clock.ticks()) {
            let turned = Turned { party: Party::BeforeMessage, kind, cause: outcome_name(&outcome) };
            self.tallies.turned(webhook.row, turned, self.clock.now());
        }
        judge(&outcome, on_failure)
    }

    async fn place_of(&self, hook: &Hook, deadline: i64) -> Option<Place> {
        if let Some(place) = hook.places.try_take() {
            return Some(place);
        }
        tokio::select! {
            biased;
            place = hook.places.take() => Some(place),
            () = self.clock.sleep_until(deadline) => None,
        }
    }

    fn before_message_post(
        &self,
        caller: &Caller,
        accepted: &Accepted,
        webhook: &Webhook,
        share: Duration,
    ) -> Post {
        let open = envelope(Trigger::BeforeMessage, &accepted.unnumbered(), caller.origin, &caller.app);
        let body = body_for(&open, &webhook.id);
        Post {
            to: Destination::of(webhook.config.url.clone()),
            headers: headers(webhook, &self.event_id(), self.clock.now(), &body),
            body: body.into(),
            connect_timeout: share,
            timeout: share,
            answer_bytes_max: ANSWER_BYTES_MAX,
            idle_connections_max: IDLE_CONNECTIONS_MAX,
        }
    }

    /// What is known of a call before it is made.
    fn line_of(&self, caller: &Caller, accepted: &Accepted, webhook: &Webhook) -> Asked {
        Asked {
            app: caller.app.id.clone(),
            webhook: webhook.id.clone(),
            webhook_row: webhook.row,
            event: accepted.event_id.clone(),
            conversation: accepted.conversation(),
            sender: accepted.sender.uid.clone(),
            verdict: "",
            silence: None,
            effect: None,
            took_us: 0,
            at: self.clock.now(),
        }
    }
}

/// A replacement that is not fit is no answer, and counts as silence.
pub(crate) fn take_effect(
    judgement: Judgement,
    accepted: &mut Accepted,
    webhook: &Webhook,
) -> (Judgement, Fate) {
    match apply(&mut accepted.draft, &webhook.id, &judgement.verdict) {
        Ok(fate) => (judgement, fate),
        Err(cause) => {
            let judgement = silent(cause, webhook.config.on_failure);
            let fate = apply(&mut accepted.draft, &webhook.id, &judgement.verdict);
            (judgement, fate.expect("a silence passes or drops, which always applies"))
        }
    }
}

/// Whether hooks are asked at all for what this caller sends: for users, not for the system.
pub(crate) fn is_asked_for(caller: &Caller) -> bool {
    match caller.origin {
        Origin::Rest | Origin::Socket => !caller.uid.is_system(),
    }
}

fn blocked_by(verdict: Verdict) -> Refusal {
    let reason = match verdict {
        Verdict::Drop { reason } => reason,
        Verdict::Pass | Verdict::Inject(_) | Verdict::Replace { .. } => None,
    };
    Refusal::new(
        Code::BlockedByWebhook,
        reason.unwrap_or_else(|| "The message was blocked by a webhook.".to_owned()),
    )
}
