//! A sample event sent from the page of a webhook, with the request and the answer.

use chathook_domain::meaning::meaning;
use chathook_domain::trigger::Trigger;
use chathook_domain::verdict::Verdict;
use chathook_engine::ports::endpoints::Phases;
use chathook_engine::test_event::{Tested, TestedVerdict};
use serde_json::Value;

use super::{webhook_ids, webhook_page};
use crate::api::deliveries::trigger;
use crate::api::extract::Ids;
use crate::dashboard::delivery::pretty;
use crate::dashboard::form::Form;
use crate::dashboard::page::{Answer, Visit, render};
use crate::dashboard::span::micros;
use crate::dashboard::told::Told;

/// What came of a test, as the page tells it.
pub struct TestedView {
    pub trigger: &'static str,
    pub is_success: bool,
    /// A status, or a named failure.
    pub outcome: String,
    /// What that means, where it is no success.
    pub told: Option<Told>,
    pub detail: Option<String>,
    pub address: Option<String>,
    pub url: String,
    pub headers: Vec<(std::borrow::Cow<'static, str>, String)>,
    pub body: String,
    pub answer: Option<String>,
    /// The parts of the time that it took.
    pub phases: Vec<(&'static str, String)>,
    /// What the answer to `before_message` would have done.
    pub verdict: Option<String>,
    /// The content with which the message would go on.
    pub goes_on: Option<String>,
}

pub async fn send_test(visit: Visit, Ids(ids): Ids<(String, String)>, form: Form) -> Answer {
    let (app, webhook) = webhook_ids(&ids.0, &ids.1)?;
    let trigger = trigger(form.text("trigger"))?;
    let engine = visit.engine().clone();
    // The test is made and kept to its end even if the browser hangs up meanwhile.
    let testing = tokio::spawn(async move { engine.send_test(&app, &webhook, trigger).await });
    let tested = testing.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    render(&webhook_page(&visit, &ids, Some(TestedView::of(tested))).await?)
}

impl TestedView {
    fn of(tested: Tested) -> Self {
        let goes_on = tested.asked.as_ref().and_then(|asked| asked.data.clone());
        Self {
            trigger: Trigger::id(tested.trigger),
            is_success: tested.is_success,
            told: (!tested.is_success).then(|| Told::of(&tested.attempt.outcome)),
            outcome: tested.attempt.outcome,
            detail: tested.attempt.detail,
            address: tested.attempt.address,
            url: tested.url,
            headers: tested.headers,
            body: pretty(&tested.body),
            answer: tested.attempt.kept.map(|text| pretty(&text)),
            phases: phases(&tested.attempt.phases),
            verdict: tested.asked.as_ref().map(verdict),
            goes_on: goes_on.map(|data| pretty(&Value::Object(data).to_string())),
        }
    }
}

fn verdict(asked: &TestedVerdict) -> String {
    let verdict = match &asked.judgement.verdict {
        Verdict::Pass => "The message would go on unchanged.".to_owned(),
        Verdict::Inject(_) => "The message would go on with what the answer adds.".to_owned(),
        Verdict::Replace { .. } => "The message would go on changed.".to_owned(),
        Verdict::Drop { reason: Some(reason) } => format!("The message would be refused: {reason}"),
        Verdict::Drop { reason: None } => "The message would be refused.".to_owned(),
    };
    match (&asked.judgement.silence, asked.judgement.verdict.warning()) {
        (Some(cause), _) => format!("{} {verdict}", meaning(cause).sentence()),
        (None, Some(warning)) => format!("{verdict} {warning}"),
        (None, None) => verdict,
    }
}

fn phases(phases: &Phases) -> Vec<(&'static str, String)> {
    let parts = [
        ("DNS", phases.resolve_us),
        ("Connect", phases.connect_us),
        ("TLS", phases.tls_us),
        ("First byte", phases.first_byte_us),
        ("In all", Some(phases.total_us)),
    ];
    parts.into_iter().filter_map(|(name, us)| Some((name, micros(us?)))).collect()
}
