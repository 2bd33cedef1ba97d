//! `/openapi.json`: the description of the routes, completed by what whole families of them have in common.

pub mod errors;
pub mod schemas;

use std::collections::BTreeMap;

use chathook_domain::refusal::Code;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::api::shapes::{REFUSALS, Refused, refuses};
use crate::api::{self, Routes};
use crate::{listen, socket};

#[derive(OpenApi)]
#[openapi(components(schemas(Refused)))]
struct Described;

const ABOUT: &str = "A chat server whose heart is its webhooks. Paths under `/v3` are for chat (`/v3.0` is the \
     same), with the `apikey` of an app or a user's own `authToken`; paths under `/apps` are for who holds the \
     management key and secret. What the webhooks carry, and the socket, are described in `/asyncapi.json`.";

/// What its operations are grouped by, in the order in which they are shown.
const TAGS: [(&str, &str); 10] = [
    ("messages", "Messages, edits and deletions."),
    ("receipts", "Delivered and read, up to a message."),
    ("users", "Users and their auth tokens."),
    ("groups", "Groups and their members."),
    ("apps", "Apps, their keys and their settings."),
    ("webhooks", "Webhooks, their triggers and their signing secrets."),
    ("history", "What happened, and what to do about it: deliveries, events, replays, tests, figures."),
    ("streams", "WebSockets: of clients, and of receivers on a laptop."),
    ("health", "Whether the server lives, and how it does."),
    ("documents", "What describes the server, for programs and for people."),
];

/// Operations that share who may call them, and by what they may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Chat,
    Management,
    Metrics,
    /// Who comes is not asked.
    Open,
}

/// The whole document, OpenAPI 3.1.
#[must_use]
pub fn document() -> Value {
    let routes = Routes::with_openapi(Described::openapi())
        .nest("/v3", api::chat_routes())
        .merge(api::management_routes())
        .merge(api::metrics_routes())
        .merge(api::health_routes());
    let mut described = routes.into_openapi();
    described.merge(socket::routes().into_openapi());
    described.merge(listen::routes().into_openapi());
    described.merge(super::routes().into_openapi());
    let mut document = serde_json::to_value(described).expect("the description is JSON");
    document["info"] = json!({
        "title": "chathook", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
        "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
    });
    document["tags"] =
        TAGS.iter().map(|(name, description)| json!({"name": name, "description": description})).collect();
    document["components"]["securitySchemes"] = security_schemes();
    document["components"]["parameters"] = parameters();
    let mut paths = std::mem::take(&mut document["paths"]);
    for (path, item) in paths.as_object_mut().expect("paths are an object") {
        for operation in item.as_object_mut().expect("a path is an object").values_mut() {
            complete(path, operation);
        }
    }
    document["paths"] = paths;
    schemas::settle_operations(&mut document["paths"]);
    if let Value::Object(all) = std::mem::take(&mut document["components"]["schemas"]) {
        let answered = answers(&document["paths"]);
        document["components"]["schemas"] = schemas::settled(all, &answered, &document["paths"]);
    }
    document
}

impl Family {
    fn of(path: &str) -> Self {
        match path {
            "/v3/socket" => Self::Open,
            _ if path.starts_with("/v3/") => Self::Chat,
            _ if path.starts_with("/apps") => Self::Management,
            "/metrics" => Self::Metrics,
            _ => Self::Open,
        }
    }

    fn security(self) -> Value {
        match self {
            Self::Chat => json!([{"apikey": []}, {"authToken": []}]),
            Self::Management => json!([{"managementKey": [], "managementSecret": []}]),
            Self::Metrics => json!([{"managementBasic": []}]),
            Self::Open => json!([]),
        }
    }

    /// Status and code of what each operation of the family may be refused with.
    fn refusals(self, path: &str) -> Vec<Value> {
        let mut found = match self {
            Self::Chat => refuses(&[
                Code::BadRequest,
                Code::EmptyApiKey,
                Code::ApiKeyNotFound,
                Code::EmptyAuthToken,
                Code::AuthTokenNotFound,
                Code::InvalidAppId,
                Code::NoAccess,
                Code::UidNotFound,
                Code::AppNotFound,
            ]),
            Self::Management => refuses(&[Code::BadRequest, Code::EmptyAuthHeader, Code::TooManyRequests]),
            Self::Metrics => refuses(&[Code::EmptyAuthHeader, Code::TooManyRequests]),
            Self::Open => json!([]),
        };
        let list = found.as_array_mut().expect("a list");
        let mut add = |codes: &[Code]| list.extend(refuses(codes).as_array().cloned().unwrap_or_default());
        if path.contains("{appId}") {
            add(&[Code::AppNotFound]);
        }
        if path.contains("{webhookId}") {
            add(&[Code::WebhookNotFound]);
        }
        if is_of_webhooks(path) {
            add(&[Code::WebhookVersionUnsupported]);
        }
        match self {
            Self::Chat | Self::Management => {
                add(&[Code::Internal, Code::StoreUnavailable]);
            }
            Self::Metrics | Self::Open => {}
        }
        // Wrong management credentials have another status than their code has elsewhere.
        match self {
            Self::Management | Self::Metrics => list.push(json!([401, Code::NoAccess.as_str()])),
            Self::Chat | Self::Open => {}
        }
        std::mem::take(list)
    }
}

fn is_of_webhooks(path: &str) -> bool {
    path.starts_with("/apps/{appId}/webhooks")
}

/// Adds to an operation what its path and its family say of it.
fn complete(path: &str, operation: &mut Value) {
    let family = Family::of(path);
    let operation = operation.as_object_mut().expect("an operation is an object");
    let mut refusals = family.refusals(path);
    if let Some(Value::Array(own)) = operation.shift_remove(REFUSALS) {
        refusals.extend(own);
    }
    if operation.contains_key("requestBody") {
        refusals.extend(refuses(&[Code::PayloadTooLarge]).as_array().cloned().unwrap_or_default());
    }
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    for (status, codes) in by_status(&refusals) {
        responses[status] = refused(&codes);
    }
    if responses.get("101").is_some() {
        let version = "The version that is spoken, where the request is no such upgrade.";
        responses["400"]["headers"] =
            json!({"Sec-WebSocket-Version": {"description": version, "schema": {"type": "string"}}});
    }
    if family == Family::Metrics {
        responses["401"]["headers"] =
            json!({"WWW-Authenticate": {"required": true, "schema": {"type": "string"}}});
    }
    operation.entry("security").or_insert_with(|| family.security());
    let named = path.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name);
    let headers: &[&str] = match family {
        Family::Chat => &["onBehalfOf", "appIdHeader"],
        Family::Management if is_of_webhooks(path) => &["webhookVersion"],
        Family::Management | Family::Metrics | Family::Open => &[],
    };
    let references: Vec<Value> = named
        .chain(headers.iter().copied())
        .map(|name| json!({"$ref": format!("#/components/parameters/{name}")}))
        .collect();
    let own = operation.shift_remove("parameters");
    let mut all = references;
    all.extend(own.as_ref().and_then(Value::as_array).cloned().unwrap_or_default());
    if !all.is_empty() {
        operation.insert("parameters".to_owned(), Value::Array(all));
    }
}

fn by_status(refusals: &[Value]) -> BTreeMap<String, Vec<&str>> {
    let mut grouped: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for refusal in refusals {
        let (Some(status), Some(code)) = (refusal[0].as_u64(), refusal[1].as_str()) else { continue };
        let codes = grouped.entry(status.to_string()).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    grouped
}

/// The answer of one status: the error object with one of these codes.
fn refused(codes: &[&str]) -> Value {
    let sentence = |code: &&str| format!("- `{code}`: {}", errors::meaning_of(code));
    let description: Vec<String> = codes.iter().map(sentence).collect();
    let schema = json!({"allOf": [
        {"$ref": "#/components/schemas/Refused"},
        {"properties": {"error": {"properties": {"code": {"enum": codes}}}}},
    ]});
    let mut response = json!({
        "description": description.join("\n"),
        "content": {"application/json": {"schema": schema}},
    });
    let waits = [Code::TooManyRequests.as_str(), Code::StoreUnavailable.as_str()];
    if codes.iter().any(|code| waits.contains(code)) {
        response["headers"] = json!({"Retry-After": {
            "description": "Seconds after which to try again.", "required": true, "schema": {"type": "integer"},
        }});
    }
    response
}

/// All that operations answer with.
fn answers(paths: &Value) -> Value {
    let items = paths.as_object().into_iter().flat_map(|paths| paths.values());
    let operations = items.filter_map(Value::as_object).flat_map(|item| item.values());
    operations.map(|operation| operation["responses"].clone()).collect()
}

fn security_schemes() -> Value {
    let header = |name: &str, description: &str| json!({"type": "apiKey", "in": "header", "name": name, "description": description});
    json!({
        "apikey": header("apikey", "A key of an app. On behalf of a user with the header `onBehalfOf`; without \
            it the system user acts. Only for servers."),
        "authToken": header("authToken", "A user's own token: acts as that user, within what a user may do."),
        "managementKey": header("key", "The management key, together with the secret."),
        "managementSecret": header("secret", "The management secret. Ten wrong pairs within a minute keep an \
            address out for the rest of it."),
        "managementBasic": {
            "type": "http", "scheme": "basic",
            "description": "The management key as user name, the secret as password.",
        },
    })
}

fn parameters() -> Value {
    let path = |name: &str, example: &str, description: &str| {
        json!({"name": name, "in": "path", "required": true, "description": description,
               "schema": {"type": "string"}, "example": example})
    };
    let header = |name: &str, example: &str, description: &str| {
        json!({"name": name, "in": "header", "required": false, "description": description,
               "schema": {"type": "string"}, "example": example})
    };
    let all: [(&str, Value); 11] = [
        ("uid", path("uid", "ana", "A user's id.")),
        ("guid", path("guid", "lounge", "A group's id.")),
        ("token", path("token", "ana_1760000000", "An auth token.")),
        ("messageId", path("messageId", "42", "A message's number.")),
        ("appId", path("appId", "dev", "An app's id.")),
        ("webhookId", path("webhookId", "mine", "A webhook's id.")),
        ("deliveryId", path("deliveryId", "1", "A delivery's number, or `test-` and the number of a test.")),
        ("replayId", path("replayId", "1", "A replay's number.")),
        ("onBehalfOf", header("onBehalfOf", "ana", "The user for whom a key acts; `app_system` without it.")),
        ("appIdHeader", header("appId", "dev", "Must agree with the credentials, where it is sent.")),
        ("webhookVersion", header("X-Webhook-Version", "1", "Version 1 is all there is.")),
    ];
    Value::Object(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}
