//! JSON Schema as far as the documents use it. A keyword that is not known here fails the test, so that none
//! is passed over. What of the documented fields was ever seen is noted.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::Value;

/// Keywords that say nothing of a value that these tests look at. Patterns bind requests only.
const SILENT: [&str; 6] = ["description", "examples", "format", "title", "pattern", "propertyNames"];

pub struct Schemas<'a> {
    pub document: &'a Value,
    seen: Mutex<BTreeSet<String>>,
}

impl<'a> Schemas<'a> {
    pub fn of(document: &'a Value) -> Self {
        Self { document, seen: Mutex::default() }
    }

    /// What is wrong with a value, each with its place.
    pub fn complaints(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.check(schema, value, "", &mut found);
        found
    }

    /// `Schema.field` of all fields that were there in a value that was checked.
    pub fn seen(&self) -> BTreeSet<String> {
        self.seen.lock().expect("no one panicked").clone()
    }

    pub fn resolved<'b>(&'b self, schema: &'b Value) -> &'b Value {
        match schema["$ref"].as_str() {
            None => schema,
            Some(to) => {
                let place = to.strip_prefix('#').expect("references stay in the document");
                let found = self.document.pointer(place);
                self.resolved(found.unwrap_or_else(|| panic!("nothing is at {to}")))
            }
        }
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let object = schema.as_object().unwrap_or_else(|| panic!("no schema at {at}: {schema}"));
        let name = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next());
        if let (Some(_), Some(name)) = (schema["$ref"].as_str(), name) {
            let target = self.resolved(schema);
            self.note(name, target, value);
            self.check(target, value, at, found);
        }
        for (keyword, rule) in object {
            match keyword.as_str() {
                "type" => self.check_type(rule, value, at, found),
                "enum" => {
                    let allowed = rule.as_array().expect("a list");
                    complain(allowed.contains(value), at, &format!("{value} is none of {rule}"), found);
                }
                "const" => complain(rule == value, at, &format!("{value} is not {rule}"), found),
                "required" => {
                    for name in rule.as_array().expect("a list").iter().filter_map(Value::as_str) {
                        let is_there = !value.is_object() || value.get(name).is_some();
                        complain(is_there, at, &format!("'{name}' is missing"), found);
                    }
                }
                "properties" => {
                    for (name, schema) in rule.as_object().expect("an object") {
                        if let Some(value) = value.get(name) {
                            self.check(schema, value, &format!("{at}/{name}"), found);
                        }
                    }
                }
                "additionalProperties" => self.check_others(schema, rule, value, at, found),
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, value, &format!("{at}/{index}"), found);
                    }
                }
                "allOf" => {
                    rule.as_array()
                        .expect("a list")
                        .iter()
                        .for_each(|part| self.check(part, value, at, found));
                }
                "oneOf" => self.check_choice(rule, value, at, found),
                "minimum" => complain(number(value) >= number(rule), at, "it is too small", found),
                "maximum" => complain(number(value) <= number(rule), at, "it is too large", found),
                "maxLength" => complain(length(value) <= number(rule), at, "it is too long", found),
                "minLength" => complain(length(value) >= number(rule), at, "it is too short", found),
                "maxItems" => complain(length(value) <= number(rule), at, "it has too many", found),
                "minItems" => complain(length(value) >= number(rule), at, "it has too few", found),
                "$ref" => {}
                silent if SILENT.contains(&silent) => {}
                unknown => panic!("the keyword '{unknown}' is not known here"),
            }
        }
    }

    fn check_type(&self, rule: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let is = |kind: &Value| match kind.as_str().expect("a type") {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            unknown => panic!("the type '{unknown}' is not known here"),
        };
        let fits = rule.as_array().map_or_else(|| is(rule), |kinds| kinds.iter().any(is));
        complain(fits, at, &format!("{value} is no {rule}"), found);
    }

    fn check_others(&self, schema: &Value, rule: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        for (name, value) in value.as_object().into_iter().flatten() {
            if schema["properties"].get(name).is_some() {
                continue;
            }
            match rule {
                Value::Bool(allowed) => complain(*allowed, at, &format!("'{name}' is not described"), found),
                rule => self.check(rule, value, &format!("{at}/{name}"), found),
            }
        }
    }

    /// Exactly one of these fits. Where none does, what is wrong with the one that fits best is told.
    fn check_choice(&self, rule: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let choices = rule.as_array().expect("a list").iter();
        let mut tries: Vec<Vec<String>> = choices
            .map(|choice| {
                let mut wrong = Vec::new();
                self.check(choice, value, at, &mut wrong);
                wrong
            })
            .collect();
        match tries.iter().filter(|wrong| wrong.is_empty()).count() {
            1 => {}
            0 => {
                tries.sort_by_key(Vec::len);
                found.push(format!("{at}: it fits none of the choices"));
                found.extend(tries.into_iter().next().unwrap_or_default());
            }
            count => found.push(format!("{at}: it fits {count} of the choices")),
        }
    }

    fn note(&self, name: &str, target: &Value, value: &Value) {
        let fields = target["properties"].as_object().into_iter().flat_map(|fields| fields.keys());
        let there = fields.filter(|field| value.get(field.as_str()).is_some());
        self.seen.lock().expect("no one panicked").extend(there.map(|field| format!("{name}.{field}")));
    }
}

fn complain(is_fine: bool, at: &str, what: &str, found: &mut Vec<String>) {
    if !is_fine {
        found.push(format!("{at}: {what}"));
    }
}

/// A value that is no number breaks its type, not its bounds.
fn number(value: &Value) -> Option<i64> {
    value.as_i64()
}

fn length(value: &Value) -> Option<i64> {
    let count = match value {
        Value::String(text) => text.chars().count(),
        Value::Array(list) => list.len(),
        _ => return None,
    };
    i64::try_from(count).ok()
}
