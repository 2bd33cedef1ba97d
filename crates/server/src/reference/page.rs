//! `/docs`: the two documents as one page for people. A script finds in its contents; all else works without.

use askama::Template;
use serde_json::{Map, Value};

use super::openapi::errors::{ERRORS, ErrorText};

/// Where the examples call: `chathook dev` as it is started without flags.
const ADDRESS: &str = "http://127.0.0.1:8080";
/// The key of its app, which everyone knows.
const API_KEY: &str = "de0000000000000000000000000000000000de01";

#[derive(Template)]
#[template(path = "docs.html")]
struct Page {
    version: String,
    about: String,
    groups: Vec<Group>,
    channels: Vec<Channel>,
    schemas: Vec<Shape>,
    errors: Vec<ErrorShown>,
}

struct Group {
    name: String,
    about: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    about: String,
    callers: Vec<String>,
    parameters: Vec<Field>,
    body: Option<Shape>,
    /// The status of success, what it says, and what it carries.
    success: String,
    answered: String,
    answer: Option<Shape>,
    refusals: Vec<Refusal>,
    curl: String,
}

/// The codes with which one status is answered.
struct Refusal {
    status: String,
    codes: Vec<String>,
}

/// What goes over a socket, or to an endpoint.
struct Channel {
    name: String,
    about: String,
    messages: Vec<Message>,
    /// Close codes of a WebSocket with their reasons.
    closes: Vec<(String, String)>,
}

struct Message {
    id: String,
    name: String,
    about: String,
    headers: Vec<Field>,
    fields: Vec<Field>,
}

/// An object with its fields, or a value with what it may be.
struct Shape {
    name: String,
    about: String,
    kind: Kind,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    kind: Kind,
    is_required: bool,
    /// Where a parameter stands.
    place: String,
    about: String,
}

/// A type in words, and the schema that it links to.
struct Kind {
    words: String,
    link: Option<String>,
}

struct ErrorShown {
    code: &'static str,
    meaning: String,
    cure: String,
}

/// The page of these documents.
#[must_use]
pub fn render(openapi: &Value, asyncapi: &Value) -> String {
    // What both documents describe, they describe alike.
    let mut schemas = openapi["components"]["schemas"].as_object().cloned().unwrap_or_default();
    schemas.extend(asyncapi["components"]["schemas"].as_object().cloned().unwrap_or_default());
    schemas.sort_keys();
    let error = |error: &ErrorText| ErrorShown {
        code: error.code,
        meaning: prose(error.meaning),
        cure: prose(error.cure),
    };
    let page = Page {
        version: text(&openapi["info"]["version"]),
        about: prose(&text(&openapi["info"]["description"])),
        groups: groups(openapi),
        channels: channels(asyncapi),
        schemas: schemas.iter().map(|(name, schema)| shape(name, schema)).collect(),
        errors: ERRORS.iter().map(error).collect(),
    };
    page.render().expect("the page's template takes every document")
}

fn groups(document: &Value) -> Vec<Group> {
    let tags = document["tags"].as_array().into_iter().flatten();
    tags.map(|tag| Group {
        name: text(&tag["name"]),
        about: prose(&text(&tag["description"])),
        operations: operations(document, &tag["name"]),
    })
    .collect()
}

fn operations(document: &Value, tag: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in fields_of(&document["paths"]) {
        for (method, operation) in fields_of(item) {
            if operation["tags"][0] == *tag {
                found.push(one(document, path, method, operation));
            }
        }
    }
    found
}

fn one(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let method = method.to_uppercase();
    let parameters: Vec<&Value> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|parameter| resolved(document, parameter))
        .collect();
    let body = operation.pointer("/requestBody/content/application~1json/schema");
    let success = if operation["responses"]["101"].is_object() { "101" } else { "200" };
    let answer = &operation["responses"][success];
    let content = answer["content"].as_object().and_then(|content| content.values().next());
    let refused = fields_of(&operation["responses"]).filter(|(status, _)| *status != success);
    Operation {
        id: text(&operation["operationId"]),
        summary: prose(&text(&operation["summary"])),
        about: prose(&text(&operation["description"])),
        callers: callers(operation),
        parameters: parameters.iter().map(|parameter| parameter_shown(parameter)).collect(),
        body: body.map(|schema| referred(document, schema)),
        success: success.to_owned(),
        answered: prose(&text(&answer["description"])),
        answer: content.map(|content| opened(document, &content["schema"])),
        refusals: refused
            .map(|(status, response)| Refusal { status: status.to_owned(), codes: codes(response) })
            .collect(),
        curl: curl(document, path, &method, operation, &parameters),
        path: path.to_owned(),
        method,
    }
}

fn callers(operation: &Value) -> Vec<String> {
    let ways = operation["security"].as_array().into_iter().flatten();
    ways.filter_map(Value::as_object)
        .map(|way| {
            let words = way.keys().map(|name| match name.as_str() {
                "apikey" => "an app's key",
                "authToken" => "a user's token",
                "managementKey" => "management key",
                "managementSecret" => "secret",
                _ => "management key and secret, as Basic",
            });
            words.collect::<Vec<_>>().join(" and ")
        })
        .collect()
}

fn codes(response: &Value) -> Vec<String> {
    let listed = response
        .pointer("/content/application~1json/schema/allOf/1/properties/error/properties/code/enum")
        .and_then(Value::as_array);
    listed.into_iter().flatten().map(text).collect()
}

fn parameter_shown(parameter: &Value) -> Field {
    Field {
        name: text(&parameter["name"]),
        kind: kind(&parameter["schema"]),
        is_required: parameter["required"] == true,
        place: text(&parameter["in"]),
        about: prose(&text(&parameter["description"])),
    }
}

/// A call that works with `chathook dev`, but for keys and ids that only its reader knows.
fn curl(document: &Value, path: &str, method: &str, operation: &Value, parameters: &[&Value]) -> String {
    let mut path = path.to_owned();
    for parameter in parameters.iter().filter(|parameter| parameter["in"] == "path") {
        path = path.replace(&format!("{{{}}}", text(&parameter["name"])), &text(&parameter["example"]));
    }
    let mut lines = vec![format!("curl -X {method} '{ADDRESS}{path}'")];
    if operation["responses"]["101"].is_object() {
        lines.push("-N -H 'connection: upgrade' -H 'upgrade: websocket'".to_owned());
        lines.push(
            "-H 'sec-websocket-version: 13' -H 'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=='".to_owned(),
        );
    }
    match operation.pointer("/security/0").and_then(Value::as_object) {
        Some(way) if way.contains_key("apikey") => {
            lines.push(format!("-H 'apikey: {API_KEY}'"));
            if operation["security"].as_array().is_some_and(|ways| ways.len() > 1) {
                lines.push("-H 'onBehalfOf: ana'".to_owned());
            }
        }
        Some(way) if way.contains_key("managementKey") => {
            lines.push("-H 'key: dev-key' -H 'secret: dev-secret'".to_owned());
        }
        Some(_) => lines.push("-u dev-key:dev-secret".to_owned()),
        None => {}
    }
    if let Some(body) = operation.pointer("/requestBody/content/application~1json/schema") {
        let example = &resolved(document, body)["examples"][0];
        lines.push("-H 'content-type: application/json'".to_owned());
        lines.push(format!("-d '{example}'"));
    }
    lines.join(" \\\n  ")
}

fn channels(document: &Value) -> Vec<Channel> {
    let channel = |(_, channel): (&str, &Value)| Channel {
        name: text(&channel["title"]),
        about: prose(&text(&channel["description"])),
        messages: fields_of(&channel["messages"])
            .map(|(_, message)| message_shown(document, resolved(document, message)))
            .collect(),
        closes: fields_of(&channel["x-closeCodes"]).map(|(code, why)| (code.to_owned(), text(why))).collect(),
    };
    fields_of(&document["channels"]).map(channel).collect()
}

fn message_shown(document: &Value, message: &Value) -> Message {
    Message {
        id: text(&message["name"]),
        name: text(&message["title"]),
        about: prose(&text(&message["summary"])),
        headers: fields(resolved(document, &message["headers"])),
        fields: fields(resolved(document, &message["payload"])),
    }
}

/// A schema where it stands: its fields, with a link to it where it has a name.
fn referred(document: &Value, schema: &Value) -> Shape {
    Shape { kind: kind(schema), ..shape("", resolved(document, schema)) }
}

/// An answer: what stands in its envelope is shown with it.
fn opened(document: &Value, schema: &Value) -> Shape {
    let envelope = referred(document, schema);
    let Value::Object(properties) = &resolved(document, schema)["properties"] else { return envelope };
    let mut fields = Vec::new();
    for outer in envelope.fields {
        let said = &properties[&outer.name];
        let (mark, inner) = match said.get("items") {
            Some(items) => ("[]", resolved(document, items)),
            None => ("", resolved(document, said)),
        };
        let prefix = format!("{}{mark}.", outer.name);
        fields.push(outer);
        fields.extend(
            self::fields(inner)
                .into_iter()
                .map(|field| Field { name: format!("{prefix}{}", field.name), ..field }),
        );
    }
    let words = match envelope.kind.words.split_once('_') {
        Some(("Data", inner)) => inner.to_owned(),
        Some((_, inner)) => format!("list of {inner}"),
        None => envelope.kind.words.clone(),
    };
    Shape { fields, kind: Kind { words, ..envelope.kind }, ..envelope }
}

fn shape(name: &str, schema: &Value) -> Shape {
    Shape {
        name: name.to_owned(),
        about: prose(&text(&schema["description"])),
        kind: kind(schema),
        fields: fields(schema),
    }
}

fn fields(schema: &Value) -> Vec<Field> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let field = |(name, field): (&str, &Value)| Field {
        name: name.to_owned(),
        kind: kind(field),
        is_required: required.iter().any(|known| known == name),
        place: String::new(),
        about: prose(&text(&field["description"])),
    };
    fields_of(&schema["properties"]).map(field).collect()
}

fn kind(schema: &Value) -> Kind {
    let link = first_reference(schema);
    Kind { words: words(schema), link }
}

fn words(schema: &Value) -> String {
    if let Some(name) = name_of(schema) {
        return name.to_owned();
    }
    let choices = ["oneOf", "anyOf"].iter().find_map(|name| schema[*name].as_array());
    if let Some(choices) = choices {
        return choices.iter().map(words).collect::<Vec<_>>().join(" or ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    }
    if !schema["const"].is_null() {
        return schema["const"].to_string();
    }
    let mut said = match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", words(&schema["items"])),
        Value::String(kind) if kind == "object" && schema["additionalProperties"].is_object() => {
            format!("map to {}", words(&schema["additionalProperties"]))
        }
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    };
    let bounds = [("minimum", "≥"), ("maximum", "≤"), ("maxLength", "length ≤"), ("maxItems", "items ≤")];
    for (bound, sign) in bounds {
        if let Some(value) = schema.get(bound) {
            said = format!("{said}, {sign} {value}");
        }
    }
    match schema["pattern"].as_str() {
        Some(pattern) => format!("{said} {pattern}"),
        None => said,
    }
}

fn first_reference(schema: &Value) -> Option<String> {
    if let Some(name) = name_of(schema) {
        return Some(name.to_owned());
    }
    ["items", "additionalProperties"].into_iter().find_map(|inner| first_reference(schema.get(inner)?))
}

fn name_of(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// What a reference stands for, in this document.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let place = value.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
    place.and_then(|place| document.pointer(place)).map_or(value, |found| resolved(document, found))
}

fn fields_of(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A text with `code` in it as HTML; all else in it is text.
fn prose(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for (at, part) in text.split('`').enumerate() {
        let (open, close) = if at % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
        html.push_str(open);
        for character in part.chars() {
            match character {
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '&' => html.push_str("&amp;"),
                '"' => html.push_str("&quot;"),
                other => html.push(other),
            }
        }
        html.push_str(close);
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_text_and_code_and_never_markup() {
        assert_eq!(prose("see `a<b>` & <i>"), "see <code>a&lt;b&gt;</code> &amp; &lt;i&gt;");
    }
}
