//! JSON-RPC 2.0 as text: reads calls, writes answers and notifications.

use chathook_domain::fields::is_shallow;
use chathook_domain::refusal::{Code, Refusal};
use serde_json::{Value, json};

use crate::api::error::to_json;

const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const METHOD_NOT_FOUND: i32 = -32_601;
const INVALID_PARAMS: i32 = -32_602;
const REFUSED: i32 = -32_000;
/// Longest id that is echoed, in bytes.
const ID_BYTES_MAX: usize = 200;

#[derive(Debug)]
pub(super) struct Call {
    pub id: Value,
    pub method: String,
    /// An object.
    pub params: Value,
}

/// Why a call was not done, with JSON-RPC's number for it.
#[derive(Debug)]
pub(super) struct Failure {
    rpc: i32,
    refusal: Refusal,
}

/// A frame that is no call.
#[derive(Debug)]
pub(super) struct BadFrame {
    id: Value,
    failure: Failure,
}

impl Failure {
    pub fn params(refusal: Refusal) -> Self {
        Self { rpc: INVALID_PARAMS, refusal }
    }

    pub fn no_such_method(method: &str) -> Self {
        let name: String = method.chars().take(50).collect();
        let sentence = format!("The socket has no method '{name}'.");
        Self { rpc: METHOD_NOT_FOUND, refusal: Refusal::new(Code::ApiNotFound, sentence) }
    }
}

/// What the engine refused.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { rpc: REFUSED, refusal }
    }
}

impl BadFrame {
    fn new(rpc: i32, id: Value, sentence: &str) -> Box<Self> {
        Box::new(Self { id, failure: Failure { rpc, refusal: Refusal::new(Code::BadRequest, sentence) } })
    }

    pub fn binary() -> Box<Self> {
        Self::new(INVALID_REQUEST, Value::Null, "The socket takes text frames only.")
    }

    pub fn to_text(&self) -> String {
        refused(&self.id, &self.failure)
    }
}

pub(super) fn parse(text: &str) -> Result<Call, Box<BadFrame>> {
    if !is_shallow(text.as_bytes()) {
        return Err(BadFrame::new(INVALID_REQUEST, Value::Null, "The frame is nested too deeply."));
    }
    let frame: Value = serde_json::from_str(text)
        .map_err(|_| BadFrame::new(PARSE_ERROR, Value::Null, "The frame is not JSON."))?;
    let Value::Object(mut call) = frame else {
        return Err(BadFrame::new(
            INVALID_REQUEST,
            Value::Null,
            "The frame must be one call: an object, no batch.",
        ));
    };
    let id = match call.shift_remove("id") {
        Some(Value::String(id)) if id.len() <= ID_BYTES_MAX => Value::String(id),
        Some(Value::Number(id)) => Value::Number(id),
        _ => {
            let sentence = "The call needs an 'id', a number or a string of at most 200 bytes.";
            return Err(BadFrame::new(INVALID_REQUEST, Value::Null, sentence));
        }
    };
    if call.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(BadFrame::new(INVALID_REQUEST, id, "The call needs 'jsonrpc': '2.0'."));
    }
    let Some(Value::String(method)) = call.shift_remove("method") else {
        return Err(BadFrame::new(INVALID_REQUEST, id, "The call needs a 'method', a string."));
    };
    let params = match call.shift_remove("params") {
        None => json!({}),
        Some(Value::Object(params)) => Value::Object(params),
        Some(_) => return Err(BadFrame::new(INVALID_PARAMS, id, "The call's 'params' must be an object.")),
    };
    Ok(Call { id, method, params })
}

pub(super) fn answered(id: &Value, result: &Result<Value, Failure>) -> String {
    match result {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err(failure) => refused(id, failure),
    }
}

fn refused(id: &Value, failure: &Failure) -> String {
    let (code, message) = (failure.rpc, &failure.refusal.message);
    json!({
        "jsonrpc": "2.0", "id": id,
        "error": {"code": code, "message": message, "data": to_json(&failure.refusal)},
    })
    .to_string()
}

pub(super) fn notification(method: &str, params: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":{},"params":{params}}}"#, json!(method))
}

/// The cursor of a frame that is a notification, which is the last of its params.
pub(super) fn cursor_of(frame: &str) -> Option<i64> {
    // An answer may end with a cursor too, of another kind.
    let notification = frame.strip_prefix(r#"{"jsonrpc":"2.0","method":"#)?;
    let (_, cursor) = notification.strip_suffix(r#""}}"#)?.rsplit_once(r#""cursor":""#)?;
    cursor.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(text: &str) -> i64 {
        let refused: Value = serde_json::from_str(&parse(text).expect_err(text).to_text()).expect("JSON");
        refused["error"]["code"].as_i64().expect("a number")
    }

    #[test]
    fn frames_that_are_no_calls_are_refused_by_their_kind() {
        let deep = "[".repeat(100);
        let cases = [
            ("{", -32_700),
            ("[]", -32_600),
            (r#"{"jsonrpc":"2.0","method":"ping"}"#, -32_600),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32_600),
            (r#"{"id":1,"method":"ping"}"#, -32_600),
            (r#"{"jsonrpc":"2.0","id":1}"#, -32_600),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, -32_602),
            (deep.as_str(), -32_600),
        ];
        for (text, code) in cases {
            assert_eq!(code_of(text), code, "{text}");
        }
    }

    #[test]
    fn the_cursor_is_the_last_of_the_params_and_nothing_inside_them() {
        assert_eq!(cursor_of(&notification("message", &json!({"id": "1", "cursor": "42"}))), Some(42));
        assert_eq!(cursor_of(&notification("typing", &json!({"sender": "\"cursor\":\"42"}))), None);
        assert_eq!(cursor_of(&notification("x", &json!({"metadata": {"cursor": "42"}}))), None);
        assert_eq!(cursor_of(&answered(&json!(1), &Ok(json!({"cursor": "42"})))), None);
    }
}
