//! Asks the `before_message` webhooks of an app, one after the other, within one budget (design 5).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chathook_domain::event::{Origin, body_for, envelope};
use chathook_domain::ids::EventId;
use chathook_domain::message::Accepted;
use chathook_domain::outcome::{Failure, Outcome};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::signature;
use chathook_domain::trigger::Trigger;
use chathook_domain::verdict::{ANSWER_BYTES_MAX, Judgement, Verdict, apply, judge, silent};
use chathook_domain::webhook::{IN_FLIGHT_MAX, Webhook};
use tokio::sync::Semaphore;

use crate::caller::Caller;
use crate::engine::{Engine, refuse};
use crate::ports::endpoints::{Destination, Headers, Post};
use crate::ports::store::Asked;

/// The bounds on calls in flight, one per webhook row.
#[derive(Default)]
pub(crate) struct Asking {
    places: Mutex<HashMap<i64, Arc<Semaphore>>>,
}

impl Asking {
    fn of(&self, webhook_row: i64) -> Arc<Semaphore> {
        let mut places = self.places.lock().expect("no one panics while holding this lock");
        places.entry(webhook_row).or_insert_with(|| Arc::new(Semaphore::new(IN_FLIGHT_MAX))).clone()
    }
}

impl Engine {
    /// The message as the webhooks leave it, or why it was refused. Calls are logged off the sender's path.
    pub(crate) async fn ask_before_message(
        self: &Arc<Self>,
        caller: &Caller,
        mut accepted: Accepted,
    ) -> Result<Accepted, Refusal> {
        let webhooks = self.store.webhooks(&caller.app.id).await.map_err(refuse)?;
        let asked: Vec<Webhook> =
            webhooks.into_iter().filter(|w| w.listens_to(Trigger::BeforeMessage)).collect();
        if asked.is_empty() {
            return Ok(accepted);
        }
        // A socket knows the settings of its log-in; what counts is the settings of now.
        let settings = self.app(&caller.app.id).await?.settings;
        let deadline = self.clock.ticks() + settings.before_message_budget_ms;
        let mut log = Vec::with_capacity(asked.len());
        let mut blocked = None;
        for (index, webhook) in asked.iter().enumerate() {
            let left_ms = (deadline - self.clock.ticks()).max(0);
            let share_ms = left_ms / i64::try_from(asked.len() - index).expect("at most 25 webhooks");
            let began = self.clock.ticks();
            let mut judgement = self.ask_one(caller, &accepted, webhook, share_ms).await;
            let next = match apply(&accepted.draft, &webhook.id, &judgement.verdict) {
                Ok(next) => next,
                Err(cause) => {
                    judgement = silent(cause, webhook.config.on_failure);
                    // A silence only passes or drops, which always applies.
                    apply(&accepted.draft, &webhook.id, &judgement.verdict).unwrap_or(None)
                }
            };
            let asked = self.asked(&accepted, webhook, &judgement, began);
            metrics::counter!("chathook_before_message_total", "verdict" => asked.verdict).increment(1);
            log.push(asked);
            match next {
                Some(draft) => accepted.draft = draft,
                None => {
                    blocked = Some(blocked_by(&judgement.verdict));
                    break;
                }
            }
        }
        self.log_off_path(caller, log);
        blocked.map_or(Ok(accepted), Err)
    }

    async fn ask_one(
        &self,
        caller: &Caller,
        accepted: &Accepted,
        webhook: &Webhook,
        share_ms: i64,
    ) -> Judgement {
        let on_failure = webhook.config.on_failure;
        let share = Duration::from_millis(share_ms.max(0).cast_unsigned());
        let places = self.asking.of(webhook.row);
        let deadline = self.clock.ticks() + share_ms;
        let _place = tokio::select! {
            biased;
            place = places.acquire_owned() => place.expect("this semaphore is never closed"),
            () = self.clock.sleep_until(deadline) => return silent("no_place".to_owned(), on_failure),
        };
        let id = self.event_id();
        let post = self.before_message_post(caller, accepted, webhook, &id, share);
        tokio::select! {
            exchange = self.endpoints.post(post) => judge(&exchange.outcome, on_failure),
            () = self.clock.sleep_until(deadline) => judge(&Outcome::Failed(Failure::Timeout), on_failure),
        }
    }

    fn before_message_post(
        &self,
        caller: &Caller,
        accepted: &Accepted,
        webhook: &Webhook,
        id: &EventId,
        share: Duration,
    ) -> Post {
        let data = accepted.to_unnumbered_json();
        let open = envelope(Trigger::BeforeMessage, &data, caller.origin, &caller.app).to_string();
        let body = body_for(&open, &webhook.id);
        Post {
            to: Destination::of(webhook.config.url.clone()),
            headers: headers(webhook, id, self.clock.now().seconds(), &body),
            body: Bytes::from(body),
            connect_timeout: share,
            timeout: share,
            answer_bytes_max: ANSWER_BYTES_MAX,
            idle_connections_max: IN_FLIGHT_MAX,
        }
    }

    fn asked(&self, accepted: &Accepted, webhook: &Webhook, judgement: &Judgement, began: i64) -> Asked {
        Asked {
            webhook: webhook.id.clone(),
            conversation: accepted.conversation(),
            sender: accepted.sender.uid.clone(),
            verdict: match judgement.verdict {
                Verdict::Pass => "pass",
                Verdict::Inject(_) => "inject",
                Verdict::Replace { .. } => "replace",
                Verdict::Drop { .. } => "drop",
            },
            silence: judgement.silence.clone(),
            took_us: (self.clock.ticks() - began).max(0).cast_unsigned() * 1_000,
            at: self.clock.now(),
        }
    }

    fn log_off_path(self: &Arc<Self>, caller: &Caller, log: Vec<Asked>) {
        let engine = self.clone();
        let app = caller.app.id.clone();
        tokio::spawn(async move {
            if let Err(error) = engine.store.log_asked(&app, log).await {
                tracing::warn!(?error, "before_message calls were not logged");
            }
        });
    }
}

const USER_AGENT: &str = concat!("chathook/", env!("CARGO_PKG_VERSION"));

/// The headers that every webhook request carries: what it is and who sends it, Basic auth where
/// set, and Standard Webhooks' three.
pub(crate) fn headers(webhook: &Webhook, id: &EventId, at_s: i64, body: &str) -> Headers {
    let mut headers = Headers::new();
    headers.share("content-type", Bytes::from_static(b"application/json"));
    headers.share("user-agent", Bytes::from_static(USER_AGENT.as_bytes()));
    headers.write("webhook-id", id);
    headers.write("webhook-timestamp", at_s);
    headers.write("webhook-signature", signature::sign(&webhook.signing_secret, id.as_str(), at_s, body));
    if webhook.config.use_basic_auth
        && let Some(credentials) = &webhook.config.credentials
    {
        headers.write("authorization", credentials.to_header());
    }
    headers
}

/// Whether hooks are asked at all for what this caller sends: for users, not for the system.
pub(crate) fn is_asked_for(caller: &Caller) -> bool {
    match caller.origin {
        Origin::Rest | Origin::Socket => !caller.uid.is_system(),
    }
}

fn blocked_by(verdict: &Verdict) -> Refusal {
    let reason = match verdict {
        Verdict::Drop { reason } => reason.clone(),
        Verdict::Pass | Verdict::Inject(_) | Verdict::Replace { .. } => None,
    };
    Refusal::new(
        Code::BlockedByWebhook,
        reason.unwrap_or_else(|| "The message was blocked by a webhook.".to_owned()),
    )
}
