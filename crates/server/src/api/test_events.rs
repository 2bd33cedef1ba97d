//! A sample event sent by hand, through the same guard and sender as real ones (design 9).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::fields::Fields;
use chathook_domain::history::DeliveryId;
use chathook_domain::verdict::Verdict;
use chathook_engine::test_event::{Tested, TestedVerdict};
use serde_json::{Map, Value, json};

use super::Api;
use super::deliveries::{attempt_json, trigger};
use super::extract::{Ids, JsonBody, webhook_ids};
use super::lists::{Answer, data};

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
    Ok(data(to_json(&tested)))
}

fn to_json(tested: &Tested) -> Value {
    let headers: Map<String, Value> =
        tested.headers.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    let mut object = json!({
        "id": DeliveryId::Test(tested.row).to_string(),
        "test": true,
        "trigger": tested.trigger.id(),
        "success": tested.is_success,
        "request": {"url": tested.url, "headers": headers, "body": tested.body},
        "attempt": attempt_json(&tested.attempt),
    });
    if let Some(asked) = &tested.asked {
        object["verdict"] = verdict_json(asked);
    }
    object
}

fn verdict_json(asked: &TestedVerdict) -> Value {
    let mut object = match &asked.judgement.verdict {
        Verdict::Pass => json!({"verdict": "pass"}),
        Verdict::Inject(_) => json!({"verdict": "inject"}),
        Verdict::Replace { .. } => json!({"verdict": "replace"}),
        Verdict::Drop { reason } => json!({"verdict": "drop", "reason": reason}),
    };
    if let Some(cause) = &asked.judgement.silence {
        object["silence"] = json!(cause);
    }
    if let Some(content) = &asked.data {
        object["data"] = json!(content);
    }
    object
}
