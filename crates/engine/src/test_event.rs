//! Sample events sent by hand, on the way of real ones: the present configuration, the same guard, the
//! same sender, the same clocks. Nothing of them is in any lane, and none has a number.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use chathook_domain::app::App;
use chathook_domain::delivery::outcome_name;
use chathook_domain::event::{Origin, body_for, envelope};
use chathook_domain::ids::{AppId, EventId, Time, WebhookId};
use chathook_domain::outcome::Outcome;
use chathook_domain::refusal::Refusal;
use chathook_domain::sample::{self, Sample};
use chathook_domain::trigger::Trigger;
use chathook_domain::verdict::{self, Fate, Judgement, judge};
use chathook_domain::webhook::{IDLE_CONNECTIONS_MAX, Webhook};
use serde_json::{Map, Value};

use crate::ask::take_effect;
use crate::attempts::{ANSWER_BYTES_MAX, CONNECT_TIMEOUT, attempt};
use crate::engine::{Engine, refuse};
use crate::ports::endpoints::{Destination, Headers, Post};
use crate::ports::history::{Attempt, TestDelivery};
use crate::request_headers::{headers, masked};

/// Bytes of an answer's body that are kept and shown (design 6).
const KEPT_BYTES_MAX: usize = 4_096;

/// A test, and what came of it.
#[derive(Debug, Clone)]
pub struct Tested {
    /// Its number among the tests.
    pub row: i64,
    pub trigger: Trigger,
    pub url: String,
    /// As they were sent, but for secrets.
    pub headers: Vec<(Cow<'static, str>, String)>,
    pub body: String,
    pub is_success: bool,
    pub attempt: Attempt,
    /// Of `before_message` alone.
    pub asked: Option<TestedVerdict>,
}

/// What the answer to `before_message` would have done.
#[derive(Debug, Clone)]
pub struct TestedVerdict {
    pub judgement: Judgement,
    /// The message's content as it would go on; `None` where it would be dropped.
    pub data: Option<Map<String, Value>>,
}

impl Engine {
    /// Sends one sample event, also to a webhook that is disabled or does not listen to the trigger.
    pub async fn send_test(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        trigger: Trigger,
    ) -> Result<Tested, Refusal> {
        let app = self.app(app).await?;
        let webhook = self.webhook(&app.id, webhook).await?;
        let (id, at) = (self.event_id(), self.clock.now());
        let sample = sample::sample(trigger, at);
        let SampleRequest { headers, body } = sample_request(&app, &webhook, trigger, &sample, &id, at);
        let post = post(trigger, &webhook, headers.clone(), &body, app.settings.before_message_budget_ms);
        let exchange = attempt(&*self.clock, &*self.endpoints, post).await;
        let is_success = exchange.outcome.is_success();
        let attempt = Attempt {
            attempt: 1,
            outcome: outcome_name(&exchange.outcome),
            detail: exchange.phases.detail_of(&exchange.outcome),
            address: exchange.address.map(|address| address.to_string()),
            phases: exchange.phases,
            kept: kept(&exchange.outcome),
            started_at: at,
        };
        let asked = match trigger {
            Trigger::BeforeMessage => Some(judged(&webhook, &exchange.outcome, at)),
            Trigger::AfterMessage
            | Trigger::MessageDeliveryReceipt
            | Trigger::MessageReadReceipt
            | Trigger::UserConnectionStatusChange => None,
        };
        let test = TestDelivery { trigger, event: id, body: body.clone(), attempt: attempt.clone() };
        let row = self.store.keep_test(&app.id, &webhook.id, test).await.map_err(refuse)?;
        let url = webhook.config.url.as_str().to_owned();
        Ok(Tested { row, trigger, url, headers: masked(&headers), body, is_success, attempt, asked })
    }
}

/// A sample event as a webhook is sent it.
pub struct SampleRequest {
    pub headers: Headers,
    pub body: String,
}

/// The request that tells a webhook of a sample event.
#[must_use]
pub fn sample_request(
    app: &App,
    webhook: &Webhook,
    trigger: Trigger,
    sample: &Sample,
    id: &EventId,
    at: Time,
) -> SampleRequest {
    let open = envelope(trigger, &sample.data, Origin::Rest, app);
    let body = body_for(&open, &webhook.id);
    let mut headers = headers(webhook, id, at, &body);
    headers.write("chathook-test", true);
    headers.write("chathook-key", &sample.key);
    SampleRequest { headers, body }
}

/// The request as the sender of such a trigger would make it.
#[must_use]
pub fn post(trigger: Trigger, webhook: &Webhook, headers: Headers, body: &str, budget_ms: i64) -> Post {
    let millis = |ms: i64| Duration::from_millis(ms.max(0).cast_unsigned());
    let (connect_timeout, timeout, answer_bytes_max) = match trigger {
        Trigger::BeforeMessage => (millis(budget_ms), millis(budget_ms), verdict::ANSWER_BYTES_MAX),
        Trigger::AfterMessage
        | Trigger::MessageDeliveryReceipt
        | Trigger::MessageReadReceipt
        | Trigger::UserConnectionStatusChange => {
            (CONNECT_TIMEOUT, millis(webhook.config.timeout_ms), ANSWER_BYTES_MAX)
        }
    };
    Post {
        to: Destination::of(webhook.config.url.clone()),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        connect_timeout,
        timeout,
        answer_bytes_max,
        idle_connections_max: IDLE_CONNECTIONS_MAX,
    }
}

fn kept(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Answered(answer) => {
            let length = answer.body.len().min(KEPT_BYTES_MAX);
            Some(String::from_utf8_lossy(&answer.body[..length]).into_owned())
        }
        Outcome::Failed(_) => None,
    }
}

/// What the answer would do to the sample message, by the rules of real ones.
#[must_use]
pub fn judged(webhook: &Webhook, outcome: &Outcome, at: Time) -> TestedVerdict {
    let mut accepted = sample::message(at);
    let judgement = judge(outcome, webhook.config.on_failure);
    let (judgement, fate) = take_effect(judgement, &mut accepted, webhook);
    let data = match fate {
        Fate::GoesOn => Some(accepted.draft.data),
        Fate::Dropped => None,
    };
    TestedVerdict { judgement, data }
}
