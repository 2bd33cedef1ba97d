//! Makes the schemas say exactly what is true: composed objects are one object, a field that is left out
//! where it has no value is never null, and what the server answers with has no other fields.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::api::shapes::NULL;

const REFERENCE: &str = "#/components/schemas/";

/// The schemas that are `used`, settled. Those that are reached from what is `answered` are closed.
#[must_use]
pub fn settled(mut schemas: Map<String, Value>, answered: &Value, used: &Value) -> Value {
    name_enveloped(&mut schemas);
    for name in schemas.keys().cloned().collect::<Vec<_>>() {
        let whole = composed(&schemas[&name], &schemas);
        schemas[&name] = whole;
    }
    schemas.values_mut().for_each(settle_nulls);
    let answered = reached(answered, &schemas);
    for (_, schema) in schemas.iter_mut().filter(|(name, _)| answered.contains(*name)) {
        close(schema);
    }
    let used = reached(used, &schemas);
    schemas.retain(|name, _| used.contains(name));
    schemas.sort_keys();
    let mut schemas = Value::Object(schemas);
    plural_examples(&mut schemas);
    schemas
}

/// What stands written out in an envelope (`Data_User`, `Paged_User`) gets the name that its envelope tells.
fn name_enveloped(schemas: &mut Map<String, Value>) {
    for name in schemas.keys().cloned().collect::<Vec<_>>() {
        let Some((_, inner)) = name.split_once('_') else { continue };
        let places = ["/properties/data/items", "/properties/data"];
        let Some(place) = places.iter().find(|place| schemas[&name].pointer(place).is_some()) else {
            continue;
        };
        let reference = json!({"$ref": format!("{REFERENCE}{inner}")});
        let written = schemas[&name].pointer_mut(place).map(|slot| std::mem::replace(slot, reference));
        if !schemas.contains_key(inner) {
            schemas.extend(written.map(|schema| (inner.to_owned(), schema)));
        }
    }
}

/// An object that is made of others, as one.
fn composed(schema: &Value, schemas: &Map<String, Value>) -> Value {
    let Some(parts) = schema.get("allOf").and_then(Value::as_array) else { return schema.clone() };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let mut whole = json!({"type": "object"});
    for part in parts {
        let part = match name_of(part) {
            Some(name) => composed(&schemas[name], schemas),
            None => part.clone(),
        };
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    for field in ["description", "example"] {
        if let Some(value) = schema.get(field) {
            whole[field] = value.clone();
        }
    }
    // The example of a struct with flattened fields stands at its own part.
    if let (None, Some(example)) = (whole.get("example"), parts.iter().find_map(|part| part.get("example"))) {
        whole["example"] = example.clone();
    }
    whole["properties"] = Value::Object(properties);
    if !required.is_empty() {
        whole["required"] = Value::Array(required);
    }
    whole
}

/// Fields that may be left out are not null, but for those that say so.
fn settle_nulls(schema: &mut Value) {
    let required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            let is_marked = property.as_object_mut().and_then(|object| object.shift_remove(NULL)).is_some();
            if !is_marked && !required.iter().any(|known| known == name) {
                not_null(property);
            }
        }
    }
    if schema.get("required").is_some_and(Value::is_null) {
        schema.as_object_mut().expect("a schema is an object").shift_remove("required");
    }
}

fn not_null(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("oneOf") else { return };
    choices.retain(|choice| choice["type"] != "null");
    if let [only] = choices.as_slice() {
        let only = only.clone();
        let object = schema.as_object_mut().expect("a schema is an object");
        object.shift_remove("oneOf");
        object.extend(only.as_object().cloned().unwrap_or_default());
    }
}

/// The schemas that stand in operations: queries and optional bodies.
pub(super) fn settle_operations(paths: &mut Value) {
    let items = paths.as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in items.filter_map(Value::as_object_mut).flat_map(|item| item.values_mut()) {
        for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
            if let Some(schema) = parameter.get_mut("schema") {
                not_null(schema);
            }
        }
        if operation["parameters"].is_null() {
            operation.as_object_mut().expect("an operation is an object").shift_remove("parameters");
        }
        if let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
            not_null(schema);
        }
    }
}

/// Objects with named fields have no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(close);
            if object.get("properties").is_some_and(Value::is_object)
                && !object.contains_key("additionalProperties")
            {
                object.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names of all schemas that this value refers to, also through others.
fn reached(value: &Value, schemas: &Map<String, Value>) -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![value]);
    while let Some(value) = open.pop() {
        if let Some(name) = name_of(value)
            && found.insert(name.to_owned())
        {
            open.extend(schemas.get(name));
        }
        match value {
            Value::Object(object) => open.extend(object.values()),
            Value::Array(list) => open.extend(list),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    found
}

fn name_of(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()?.strip_prefix(REFERENCE)
}

/// JSON Schema's `examples`, in the place of the one that OpenAPI 3.0 had.
fn plural_examples(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(plural_examples);
            if let Some(example) = object.shift_remove("example") {
                object.insert("examples".to_owned(), json!([example]));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(plural_examples),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
