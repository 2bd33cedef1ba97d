//! Reads the fields of a JSON object that came from outside, naming the one at fault.

use serde_json::{Map, Value};

use crate::refusal::{Code, Refusal};

/// Deepest nesting taken in a body or frame (design 8).
pub const DEPTH_MAX: usize = 64;

/// An object whose fields are asked for by name.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn of(value: &'a Value) -> Result<Self, Refusal> {
        let map = value
            .as_object()
            .ok_or_else(|| Refusal::new(Code::BadRequest, "The body must be a JSON object."))?;
        Ok(Self { map })
    }

    #[must_use]
    pub fn map(&self) -> &'a Map<String, Value> {
        self.map
    }

    /// The value, where the field is there and not null.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|v| !v.is_null())
    }

    pub fn text(&self, field: &str, chars_max: usize) -> Result<Option<String>, Refusal> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| wrong(field, "must be a string"))?;
        if text.chars().count() > chars_max {
            return Err(wrong(field, &format!("must have at most {chars_max} characters")));
        }
        Ok(Some(text.to_owned()))
    }

    /// A text that must be there and not blank.
    pub fn required_text(&self, field: &str, chars_max: usize) -> Result<String, Refusal> {
        match self.text(field, chars_max)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            Some(_) => Err(wrong(field, "must not be empty")),
            None => Err(wrong(field, "is required")),
        }
    }

    /// `true` or `false`; the spellings of query strings are taken too (spec 4.1).
    pub fn flag(&self, field: &str) -> Result<Option<bool>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(s)) if s.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(s)) if s.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(wrong(field, "must be true or false")),
        }
    }

    pub fn number(&self, field: &str, min: i64, max: i64) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let number = value
            .as_i64()
            .or_else(|| value.as_str().and_then(|s| s.parse().ok()))
            .filter(|n| (min..=max).contains(n));
        number.map(Some).ok_or_else(|| wrong(field, &format!("must be a whole number from {min} to {max}")))
    }

    pub fn object(&self, field: &str, bytes_max: usize) -> Result<Option<Map<String, Value>>, Refusal> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| wrong(field, "must be an object"))?;
        if value.to_string().len() > bytes_max {
            return Err(wrong(field, &format!("must have at most {bytes_max} bytes as JSON")));
        }
        Ok(Some(map.clone()))
    }

    pub fn texts(
        &self,
        field: &str,
        count_max: usize,
        chars_max: usize,
    ) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let complaint =
            format!("must be a list of at most {count_max} strings of at most {chars_max} characters");
        let list =
            value.as_array().filter(|l| l.len() <= count_max).ok_or_else(|| wrong(field, &complaint))?;
        list.iter()
            .map(|item| {
                item.as_str()
                    .filter(|s| s.chars().count() <= chars_max)
                    .map(str::to_owned)
                    .ok_or_else(|| wrong(field, &complaint))
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    }
}

/// Whether a text nests objects and lists no deeper than allowed, before it is parsed.
#[must_use]
pub fn is_shallow(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (true, _) => {}
            (false, b'"') => in_string = true,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
    }
    true
}

fn wrong(field: &str, complaint: &str) -> Refusal {
    Refusal::field(Code::BadRequest, field, complaint)
}
