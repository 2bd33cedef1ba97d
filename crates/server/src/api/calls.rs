//! Calls of `before_message`: what each webhook made of each message, how long it took, and why it was
//! silent where it was (design 5).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::verdict::Effect;
use chathook_engine::ports::history::{AskedCall, CallFilter};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Ids, Params, webhook_ids};
use super::lists::{Answer, ListQuery, Listed, limit, row_cursor, with_cursor};
use super::test_events::VerdictName;

/// Which calls are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CallsQuery {
    /// Those whose answer was this, or `silent` for those without a usable answer.
    #[param(inline)]
    pub verdict: Option<WantedVerdict>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum WantedVerdict {
    Pass,
    Inject,
    Replace,
    Drop,
    Silent,
}

/// What an answer did: its reason to drop, the names of the fields that it replaced, the first names of
/// what it injected. Never what people wrote.
#[derive(ToSchema)]
#[schema(as = Effect)]
pub struct EffectShown {
    pub reason: Option<String>,
    pub replaced: Option<Vec<String>>,
    pub injected: Option<Vec<String>>,
    /// What stood as `action` and is none: the message went on with it.
    #[schema(rename = "unknownAction")]
    pub unknown_action: Option<String>,
}

/// A call of `before_message`, and what its answer did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Call)]
pub struct CallShown {
    id: String,
    /// The event that the message caused if it went on; `null` of a call that an earlier version logged.
    #[schema(required)]
    event_id: Option<String>,
    conversation_id: String,
    sender: String,
    /// That of the answer, or what the webhook's `onFailure` made of its silence.
    #[schema(value_type = VerdictName)]
    verdict: String,
    /// Why there was no usable answer, where there was none.
    #[schema(required)]
    silence: Option<String>,
    /// What the answer did to the message.
    #[schema(required, value_type = Option<EffectShown>)]
    effect: Option<Effect>,
    took_us: u64,
    at: i64,
    at_ms: i64,
}

/// Lists the calls of `before_message`
///
/// Those of dropped messages too.
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/calls", tag = "history",
    params(ListQuery, CallsQuery),
    responses(
        (status = 200, description = "A part of the calls, the newest first", body = Listed<CallShown>)
    ),
)]
pub async fn list_calls(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let limit = limit(&params)?;
    let page = api.engine.calls(&app, &webhook, filter(&params, limit)?, row_cursor(&params)?).await?;
    let items = page.calls.iter().map(CallShown::of).collect();
    Ok(with_cursor(items, limit, page.next.map(|row| row.to_string())))
}

/// `verdict` is one of the four that an answer may be, or `silent` for those without a usable one.
pub fn filter(params: &Params, limit: i64) -> Result<CallFilter, Refusal> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (verdict, is_silent) = match params.text("verdict") {
        None => (None, false),
        Some("silent") => (None, true),
        Some(verdict @ ("pass" | "inject" | "replace" | "drop")) => (Some(verdict.to_owned()), false),
        Some(_) => {
            let complaint = "must be 'pass', 'inject', 'replace', 'drop' or 'silent'";
            return Err(Refusal::field(Code::BadRequest, "verdict", complaint));
        }
    };
    Ok(CallFilter { verdict, is_silent, limit })
}

impl CallShown {
    fn of(call: &AskedCall) -> Self {
        Self {
            id: call.row.to_string(),
            event_id: call.event.as_ref().map(ToString::to_string),
            conversation_id: call.conversation.to_string(),
            sender: call.sender.to_string(),
            verdict: call.verdict.clone(),
            silence: call.silence.clone(),
            effect: call.effect.clone(),
            took_us: call.took_us,
            at: call.at.seconds(),
            at_ms: call.at.ms,
        }
    }
}
