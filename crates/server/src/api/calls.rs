//! Calls of `before_message`: what each webhook made of each message, how long it took, and why it was
//! silent where it was (design 5).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::ports::history::{AskedCall, CallFilter};
use serde_json::{Value, json};

use super::Api;
use super::extract::{Ids, Params, webhook_ids};
use super::lists::{Answer, limit, row_cursor, with_cursor};

pub async fn list_calls(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let limit = limit(&params)?;
    let page = api.engine.calls(&app, &webhook, filter(&params, limit)?, row_cursor(&params)?).await?;
    let items = page.calls.iter().map(to_json).collect();
    Ok(with_cursor(items, limit, page.next.map(|row| row.to_string())))
}

/// `verdict` is one of the four, or `silent` for those without a usable answer.
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

fn to_json(call: &AskedCall) -> Value {
    json!({
        "id": call.row.to_string(), "eventId": call.event.as_ref().map(|event| event.as_str()),
        "conversationId": call.conversation.as_str(), "sender": call.sender.as_str(),
        "verdict": call.verdict, "silence": call.silence, "effect": call.effect, "tookUs": call.took_us,
        "at": call.at.seconds(), "atMs": call.at.ms,
    })
}
