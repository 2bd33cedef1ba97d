//! What an answer to `before_message`, or its silence, means (design 5).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::fields::is_shallow;
use crate::ids::WebhookId;
use crate::message::{Draft, INJECTED};
use crate::outcome::Outcome;
use crate::webhook::OnFailure;

/// Longest answer that is read, and largest object that is injected, in bytes.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
pub const INJECTED_BYTES_MAX: usize = 16 * 1024;
const REASON_CHARS_MAX: usize = 500;
/// Names of an injected object that the record keeps, and characters of each.
const NAMES_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 60;

/// What one webhook's answer does to the message.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Pass,
    /// Place this object under the webhook's name.
    Inject(Map<String, Value>),
    /// Put these fields in place of the sender's, and place `inject` where given.
    Replace {
        data: Map<String, Value>,
        inject: Option<Map<String, Value>>,
    },
    /// Stored nowhere, told to nobody but the sender.
    Drop {
        reason: Option<String>,
    },
}

/// What a verdict did to a message, for the record: names, never what people wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Why it was dropped, in the endpoint's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The fields that took the place of the sender's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<String>,
    /// The first names of the object that was placed under the webhook's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub injected: Vec<String>,
    /// What stood as `action` and is none, most often a slip of the pen.
    #[serde(default, rename = "unknownAction", skip_serializing_if = "Option::is_none")]
    pub unknown_action: Option<String>,
}

/// What helps against an action that is none.
pub const ACTIONS: &str = "The actions are 'do_not_propagate', which drops the message, and 'replace'.";

impl Verdict {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inject(_) => "inject",
            Self::Replace { .. } => "replace",
            Self::Drop { .. } => "drop",
        }
    }

    /// `None` where the message went on as it was, or was dropped without a reason.
    #[must_use]
    pub fn effect(&self) -> Option<Effect> {
        let effect = match self {
            Self::Pass => Effect::default(),
            Self::Inject(object) => Effect {
                injected: names(object),
                unknown_action: unknown_action(object),
                ..Effect::default()
            },
            Self::Replace { data, inject } => Effect {
                replaced: names(data),
                injected: inject.as_ref().map(names).unwrap_or_default(),
                ..Effect::default()
            },
            Self::Drop { reason } => Effect { reason: reason.clone(), ..Effect::default() },
        };
        (effect != Effect::default()).then_some(effect)
    }

    /// What stands as `action` in the answer and is none: the message goes on with it as with any other name, as it
    /// must for those who only annotate, and a moderator who misspelt it moderates nothing.
    #[must_use]
    pub fn unknown_action(&self) -> Option<String> {
        match self {
            Self::Inject(object) => unknown_action(object),
            Self::Pass | Self::Replace { .. } | Self::Drop { .. } => None,
        }
    }

    /// That as a sentence with what helps.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let action = self.unknown_action()?;
        Some(format!("The action '{action}' is unknown, so the message goes on. {ACTIONS}"))
    }
}

fn unknown_action(object: &Map<String, Value>) -> Option<String> {
    let action = match object.get("action")? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    };
    Some(action.chars().take(NAME_CHARS_MAX).collect())
}

fn names(object: &Map<String, Value>) -> Vec<String> {
    object.keys().take(NAMES_MAX).map(|name| name.chars().take(NAME_CHARS_MAX).collect()).collect()
}

/// A verdict, and the cause of a silence that stands behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// Why there was no usable answer, where there was none.
    pub silence: Option<String>,
}

impl Judgement {
    /// What it is counted as: a verdict is an answer's, and silence is told apart, whatever it means to the message.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.silence {
            Some(_) => "silent",
            None => self.verdict.name(),
        }
    }
}

/// Reads an outcome. Decides nothing about time or circuits.
#[must_use]
pub fn judge(outcome: &Outcome, on_failure: OnFailure) -> Judgement {
    match read(outcome) {
        Ok(verdict) => Judgement { verdict, silence: None },
        Err(cause) => silent(cause, on_failure),
    }
}

/// The judgement on a webhook that gave no usable answer.
#[must_use]
pub fn silent(cause: String, on_failure: OnFailure) -> Judgement {
    let verdict = match on_failure {
        OnFailure::Propagate => Verdict::Pass,
        OnFailure::Drop => Verdict::Drop { reason: None },
    };
    Judgement { verdict, silence: Some(cause) }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    GoesOn,
    Dropped,
}

/// Lets the verdict take effect on the draft. `Err` when a replacement is not fit: the draft is then as
/// it was.
pub fn apply(draft: &mut Draft, webhook: &WebhookId, verdict: &Verdict) -> Result<Fate, String> {
    match verdict {
        Verdict::Pass => {}
        Verdict::Drop { .. } => return Ok(Fate::Dropped),
        Verdict::Inject(object) => place(draft, webhook, object),
        Verdict::Replace { data, inject } => {
            let mut changed = replaced(draft, data)?;
            if let Some(object) = inject {
                place(&mut changed, webhook, object);
            }
            *draft = changed;
        }
    }
    Ok(Fate::GoesOn)
}

fn replaced(draft: &Draft, data: &Map<String, Value>) -> Result<Draft, String> {
    let mut changed = draft.clone();
    let earlier = changed.data.get("metadata").and_then(|m| m.get(INJECTED)).cloned();
    for (name, value) in data {
        changed.data.insert(name.clone(), value.clone());
    }
    // What hooks before this one placed is neither the sender's nor this hook's to change, and
    // does not count in the size.
    if let Some(Value::Object(metadata)) = changed.data.get_mut("metadata") {
        metadata.shift_remove(INJECTED);
    }
    changed
        .check()
        .and_then(|()| changed.check_size())
        .map_err(|refusal| format!("the replacement was refused: {}", refusal.message))?;
    if let Some(earlier) = earlier {
        let metadata = changed.data.entry("metadata").or_insert_with(|| json!({}));
        metadata[INJECTED] = earlier;
    }
    Ok(changed)
}

fn read(outcome: &Outcome) -> Result<Verdict, String> {
    let answer = match outcome {
        Outcome::Failed(failure) => return Err(failure.name().to_owned()),
        Outcome::Answered(answer) if !outcome.is_success() => {
            return Err(format!("status_{}", answer.status));
        }
        Outcome::Answered(answer) => answer,
    };
    if answer.is_cut {
        return Err("answer_too_long".to_owned());
    }
    // Only what looks like an object would be read; a deep text of another kind passes as any text does.
    if answer.body.trim_ascii_start().starts_with(b"{") && !is_shallow(&answer.body) {
        return Err("answer_too_deep".to_owned());
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(&answer.body) else { return Ok(Verdict::Pass) };
    match object.get("action").and_then(Value::as_str) {
        Some("do_not_propagate") => {
            let reason = object.get("reason").and_then(Value::as_str);
            Ok(Verdict::Drop { reason: reason.map(|r| r.chars().take(REASON_CHARS_MAX).collect()) })
        }
        Some("replace") => replacement(&object),
        _ if object.is_empty() => Ok(Verdict::Pass),
        _ => fit(object).map(Verdict::Inject),
    }
}

fn replacement(object: &Map<String, Value>) -> Result<Verdict, String> {
    let Some(Value::Object(data)) = object.get("data") else {
        return Err("replacement_without_data".to_owned());
    };
    let known = ["text", "metadata", "customData", "attachments"];
    let data = data.iter().filter(|(name, _)| known.contains(&name.as_str()));
    let inject = match object.get("inject") {
        None | Some(Value::Null) => None,
        Some(Value::Object(inject)) => Some(fit(inject.clone())?),
        Some(_) => return Err("inject_not_an_object".to_owned()),
    };
    Ok(Verdict::Replace { data: data.map(|(n, v)| (n.clone(), v.clone())).collect(), inject })
}

fn fit(object: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let bytes = Value::Object(object.clone()).to_string().len();
    if bytes > INJECTED_BYTES_MAX { Err("injected_too_large".to_owned()) } else { Ok(object) }
}

fn place(draft: &mut Draft, webhook: &WebhookId, object: &Map<String, Value>) {
    let metadata = draft.data.entry("metadata").or_insert_with(|| json!({}));
    // `check` lets only an object through as metadata.
    if let Some(metadata) = metadata.as_object_mut() {
        let ours = metadata.entry(INJECTED).or_insert_with(|| json!({"webhooks": {}}));
        ours["webhooks"][webhook.as_str()] = Value::Object(object.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::{Answer, Failure};

    fn answered(status: u16, body: &[u8]) -> Outcome {
        Outcome::Answered(Answer {
            status,
            retry_after_s: None,
            body: body.to_vec(),
            is_cut: false,
            location: None,
        })
    }

    fn draft() -> Draft {
        let body = json!({"receiver": "ben", "receiverType": "user", "data": {"text": "hi"}});
        Draft::parse(&body).expect("a fit draft")
    }

    proptest! {
        #[test]
        fn only_an_answer_that_says_so_drops(status in 100u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let judgement = judge(&answered(status, &body), OnFailure::Propagate);
            let says_so = serde_json::from_slice::<Value>(&body).is_ok_and(|v| v["action"] == "do_not_propagate");
            if !((200..300).contains(&status) && says_so) {
                let is_dropped = matches!(judgement.verdict, Verdict::Drop { .. });
                prop_assert!(!is_dropped);
            }
            prop_assert_eq!(judgement.silence.is_some(), !(200..300).contains(&status));
        }

        #[test]
        fn silence_follows_the_policy_whatever_its_cause(status in 300u16..600) {
            let dropped = judge(&answered(status, b"{}"), OnFailure::Drop).verdict;
            prop_assert_eq!(dropped, Verdict::Drop { reason: None });
            prop_assert_eq!(judge(&answered(status, b"{}"), OnFailure::Propagate).verdict, Verdict::Pass);
        }

        #[test]
        fn an_injected_object_is_found_under_the_name_of_its_webhook(word in "[a-z]{1,20}") {
            let body = json!({"label": word}).to_string();
            let verdict = judge(&answered(200, body.as_bytes()), OnFailure::Propagate).verdict;
            let webhook = WebhookId::trusted("gate");
            let mut after = draft();
            prop_assert_eq!(apply(&mut after, &webhook, &verdict), Ok(Fate::GoesOn));
            prop_assert_eq!(&after.data["metadata"][INJECTED]["webhooks"]["gate"]["label"], &json!(word));
            prop_assert_eq!(&after.data["text"], &json!("hi"));
        }

        #[test]
        fn a_replacement_takes_only_the_four_fields(name in "[a-z]{1,12}") {
            prop_assume!(!["text", "metadata", "attachments"].contains(&name.as_str()));
            let mut data = Map::new();
            data.insert("text".to_owned(), json!("bye"));
            data.insert(name.clone(), json!("x"));
            let body = json!({"action": "replace", "data": data}).to_string();
            let verdict = judge(&answered(200, body.as_bytes()), OnFailure::Propagate).verdict;
            let mut after = draft();
            prop_assert_eq!(apply(&mut after, &WebhookId::trusted("gate"), &verdict), Ok(Fate::GoesOn));
            prop_assert_eq!(&after.data["text"], &json!("bye"));
            prop_assert!(after.data.get(&name).is_none());
        }
    }

    #[test]
    fn a_replacement_that_is_not_fit_is_refused_with_the_reason() {
        let body = json!({"action": "replace", "data": {"text": ""}}).to_string();
        let verdict = judge(&answered(200, body.as_bytes()), OnFailure::Propagate).verdict;
        let mut after = draft();
        assert!(apply(&mut after, &WebhookId::trusted("gate"), &verdict).is_err());
        assert_eq!(after, draft(), "it goes on as it was");
    }

    #[test]
    fn an_action_that_is_none_is_named_and_the_message_goes_on_with_it() {
        let verdict =
            |body: Value| judge(&answered(200, body.to_string().as_bytes()), OnFailure::Drop).verdict;
        for (action, named) in
            [(json!("dropp"), "dropp"), (json!(7), "7"), (json!("x".repeat(99)), &"x".repeat(60))]
        {
            let verdict = verdict(json!({"action": action, "score": 1}));
            assert!(matches!(&verdict, Verdict::Inject(object) if object["action"] == action));
            assert_eq!(verdict.effect().and_then(|effect| effect.unknown_action).as_deref(), Some(named));
            let warning = verdict.warning().expect("a warning");
            assert!(warning.contains(named) && warning.contains("do_not_propagate"), "{warning}");
        }
        for body in [json!({"score": 1}), json!({"action": null}), json!({"action": "do_not_propagate"})] {
            assert_eq!(verdict(body).warning(), None);
        }
    }

    #[test]
    fn an_object_deeper_than_64_is_a_silence() {
        let deep = |levels: usize| format!(" {}{{}}{}", "{\"a\":".repeat(levels - 1), "}".repeat(levels - 1));
        for levels in [65, 127, 100_000] {
            let judgement = judge(&answered(200, deep(levels).as_bytes()), OnFailure::Drop);
            assert_eq!(judgement.silence.as_deref(), Some("answer_too_deep"), "{levels}");
            assert_eq!(judgement.verdict, Verdict::Drop { reason: None });
        }
        let judgement = judge(&answered(200, deep(64).as_bytes()), OnFailure::Drop);
        assert!(matches!(judgement.verdict, Verdict::Inject(_)));
        let judgement = judge(&answered(200, "[".repeat(65).as_bytes()), OnFailure::Drop);
        assert_eq!(judgement, Judgement { verdict: Verdict::Pass, silence: None });
    }

    #[test]
    fn a_failure_is_logged_under_its_name() {
        let judgement = judge(&Outcome::Failed(Failure::Timeout), OnFailure::Propagate);
        assert_eq!(judgement.silence.as_deref(), Some("timeout"));
    }
}
