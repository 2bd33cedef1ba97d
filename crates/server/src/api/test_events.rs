//! A sample event sent by hand, through the same guard and sender as real ones (design 9).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use chathook_domain::fields::Fields;
use chathook_domain::history::DeliveryId;
use chathook_domain::refusal::Code;
use chathook_domain::verdict::Verdict;
use chathook_engine::test_event::{Tested, TestedVerdict};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Api;
use super::deliveries::{AttemptShown, trigger};
use super::extract::{Ids, JsonBody, webhook_ids};
use super::lists::{Answer, Data, data};
use super::shapes::{hooks, refuses};

#[derive(ToSchema)]
#[schema(example = json!({"trigger": "after_message"}))]
pub struct TestRequest {
    pub trigger: hooks::Trigger,
}

/// A test by hand, and what came of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Test)]
pub struct TestShown {
    #[schema(example = "test-1")]
    id: String,
    test: bool,
    #[schema(value_type = hooks::Trigger)]
    trigger: &'static str,
    /// The endpoint answered 2xx.
    success: bool,
    request: RequestShown,
    attempt: AttemptShown,
    /// Of `before_message` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<VerdictShown>,
}

/// The request as it was sent, but for secrets, which are masked.
#[derive(Serialize, ToSchema)]
#[schema(as = TestedRequest)]
pub struct RequestShown {
    url: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// What the answer would have done to a message.
#[derive(Serialize, ToSchema)]
#[schema(as = Verdict)]
pub struct VerdictShown {
    #[schema(value_type = VerdictName)]
    verdict: &'static str,
    /// What the sender would have been told; of `drop` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, extensions(("x-null" = json!(true))))]
    reason: Option<Option<String>>,
    /// Why there was no usable answer, where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    silence: Option<String>,
    /// What is most likely a mistake in the answer, such as an action that is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// The message's content as it would go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    data: Option<Map<String, Value>>,
}

/// What became of the message: it went on unchanged, annotated or changed, or was refused.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum VerdictName {
    Pass,
    Inject,
    Replace,
    Drop,
}

/// Sends a sample event
///
/// Through the same guard and sender as real ones, also to a webhook that is disabled or does not listen to
/// the trigger.
#[utoipa::path(
    post, path = "/apps/{appId}/webhooks/{webhookId}/test", tag = "history",
    request_body(content = TestRequest),
    responses((status = 200, description = "What was sent, and what came of it", body = Data<TestShown>)),
    extensions(("x-refusals" = json!(refuses(&[Code::TriggerNotFound])))),
)]
pub async fn send_test(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    JsonBody(body): JsonBody,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    api.engine.webhook(&app, &webhook).await?;
    let trigger = trigger(&Fields::of(&body)?.required_text("trigger", 100)?)?;
    // The test is made and kept to its end even if the caller hangs up meanwhile.
    let testing = tokio::spawn(async move { api.engine.send_test(&app, &webhook, trigger).await });
    let tested = testing.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok(data(TestShown::of(tested)))
}

impl TestShown {
    fn of(tested: Tested) -> Self {
        Self {
            id: DeliveryId::Test(tested.row).to_string(),
            test: true,
            trigger: tested.trigger.id(),
            success: tested.is_success,
            request: RequestShown {
                url: tested.url,
                headers: tested.headers.into_iter().map(|(name, value)| (name.into_owned(), value)).collect(),
                body: tested.body,
            },
            attempt: AttemptShown::of(&tested.attempt),
            verdict: tested.asked.map(VerdictShown::of),
        }
    }
}

impl VerdictShown {
    #[must_use]
    pub fn of(asked: TestedVerdict) -> Self {
        let warning = asked.judgement.verdict.warning();
        let (verdict, reason) = match asked.judgement.verdict {
            Verdict::Pass => ("pass", None),
            Verdict::Inject(_) => ("inject", None),
            Verdict::Replace { .. } => ("replace", None),
            Verdict::Drop { reason } => ("drop", Some(reason)),
        };
        Self { verdict, reason, silence: asked.judgement.silence, warning, data: asked.data }
    }
}
