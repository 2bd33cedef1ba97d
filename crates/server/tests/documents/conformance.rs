//! Every operation, called as the document says and as it says not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::requests::{Operation, Request, UPGRADE, operations};
use crate::schema::Schemas;
use crate::support::http::Reply;
use crate::support::{Answer, TestServer};
use crate::world::World;

/// Fields that an object has from the one that it extends, and that it is never answered with; and those of a
/// listener, which `listen` alone makes: its own tests see them.
const UNSEEN: [&str; 12] = [
    "CreatedUser.conversationId",
    "CreatedUser.deactivatedAt",
    "CreatedUser.lastActiveAt",
    "CreatedUser.updatedAt",
    "CreatedWebhook.listener",
    "CreatedWebhook.switchedOff",
    "DeliveryOfMessage.test",
    "ListenerShown.connected",
    "ListenerShown.kept",
    "Member.conversationId",
    "Member.deactivatedAt",
    "Webhook.listener",
];

fn judge(
    operation: &Operation<'_>,
    schemas: &Schemas<'_>,
    what: &str,
    reply: &Reply,
    found: &mut Vec<String>,
) {
    let complaints = operation.complaints(schemas, reply);
    found.extend(complaints.into_iter().map(|wrong| format!("{} {what}: {wrong}", operation.id)));
}

#[tokio::test]
async fn every_operation_answers_as_the_document_says() {
    let document = chathook_server::reference::openapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let mut found = Vec::new();
    let untouched = World::new(&server).await;
    for operation in operations(&document) {
        // What changes something has a world of its own; a listener that connects makes a webhook.
        let is_reading = operation.method == "GET" && operation.success() == 200;
        let own = if is_reading { None } else { Some(World::new(&server).await) };
        let world = own.as_ref().unwrap_or(&untouched);
        let reply = operation.request(world, &schemas).send(&server).await;
        if reply.status != operation.success() {
            found.push(format!("{}: {} {}", operation.id, reply.status, reply.json));
        }
        judge(&operation, &schemas, "as described", &reply, &mut found);
        further(&operation, world, &server, &schemas, &mut found).await;
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let documented = fields_of_answers(&document);
    let unseen: Vec<_> = documented.difference(&schemas.seen()).cloned().collect();
    assert_eq!(unseen, UNSEEN, "documented and never answered");
}

/// Calls that show what the example alone does not.
async fn further(
    operation: &Operation<'_>,
    world: &World,
    server: &TestServer,
    schemas: &Schemas<'_>,
    found: &mut Vec<String>,
) {
    let first = operation.request(world, schemas);
    for (status, request) in calls(operation.id, &first, world) {
        let reply = request.send(server).await;
        assert_eq!(reply.status, status, "{} {}: {}", operation.id, request.path, reply.json);
        judge(operation, schemas, &format!("as {}", request.path), &reply, found);
    }
}

fn calls(operation: &str, first: &Request, world: &World) -> Vec<(u16, Request)> {
    let with = |body: Value| (200, first.with_body(body.to_string()));
    let of_webhook = |webhook: &str, rest: &str| {
        let path = format!("/apps/{}/webhooks/{webhook}{rest}", world.app.id);
        (200, Request { path, ..first.clone() })
    };
    match operation {
        "create_user" => {
            let rich = json!({
                "uid": "more", "name": "More", "avatar": "https://example.com/a.png", "link": "https://example.com",
                "statusMessage": "here", "metadata": {"a": 1}, "tags": ["vip"], "withAuthToken": true,
            });
            vec![with(rich), (400, first.with_body("{}"))]
        }
        "reactivate_users" => vec![with(json!({"uidsToActivate": ["gone", "nobody", "ben"]}))],
        "deactivate_users" => vec![with(json!({"uidsToDeactivate": ["gone", "nobody", "ben"]}))],
        "add_members" => vec![with(json!({"admins": ["rich"], "moderators": ["ben"]}))],
        "list_group_messages" => vec![(200, first.with_query("limit", "1000"))],
        "get_webhook" => vec![of_webhook("off", "")],
        "get_endpoint_health" => vec![of_webhook("off", "/health")],
        "list_circuit_history" => vec![of_webhook("off", "/circuit")],
        "list_deliveries" => {
            vec![(200, first.with_query("limit", "1")), of_webhook("broken", "/deliveries")]
        }
        "get_delivery" => {
            let test = of_webhook("audit", &format!("/deliveries/{}", world.test));
            let (_, none) = of_webhook("audit", "/deliveries/1000");
            let behind = of_webhook("broken", "/deliveries/2");
            let failing = of_webhook("broken", "/deliveries/1");
            vec![test, behind, failing, of_webhook("closed", "/deliveries/1"), (404, none)]
        }
        "retry_delivery" => vec![of_webhook("closed", "/deliveries/1/retry")],
        "get_timeline" => {
            let path = format!("/apps/{}/messages/{}/timeline", world.app.id, world.first);
            vec![(200, Request { path, ..first.clone() })]
        }
        "create_replay" => vec![with(json!({"since": 0, "until": 2_000_000_000, "status": "failed"}))],
        "list_replays" => vec![of_webhook("closed", "/replays")],
        "send_test" => {
            let answers =
                [json!({"action": "do_not_propagate", "reason": "rude"}), json!({"action": "dropp"})];
            world.audit.answer(answers.iter().map(Answer::json));
            let asked = json!({"trigger": "before_message"});
            let (status, silent) = of_webhook("broken", "/test");
            vec![
                with(asked.clone()),
                with(asked.clone()),
                with(json!({"trigger": "user_connection_status_change"})),
                (status, silent.with_body(asked.to_string())),
            ]
        }
        _ => Vec::new(),
    }
}

/// `Schema.field` of all that operations answer with.
fn fields_of_answers(document: &Value) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        if schema["additionalProperties"] == false {
            let own = schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys());
            fields.extend(own.map(|field| format!("{name}.{field}")));
        }
    }
    fields
}

#[tokio::test]
async fn every_refusal_is_in_the_document() {
    let document = chathook_server::reference::openapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let mut found = Vec::new();
    // What is refused changes nothing, so that one world serves for all.
    let world = World::new(&server).await;
    for operation in operations(&document) {
        let request = operation.request(&world, &schemas);
        for (what, spoilt) in spoilt(&operation, &request, &schemas) {
            let reply = spoilt.send(&server).await;
            if reply.status < 400 {
                found.push(format!("{} {what}: it was taken, {}", operation.id, reply.json));
            }
            judge(&operation, &schemas, &what, &reply, &mut found);
        }
        // So that wrong credentials do not keep this address out.
        server.advance(61);
    }
    let all = operations(&document);
    let operation = all.iter().find(|operation| operation.id == "list_apps").expect("it is described");
    let guessed = vec![("key".to_owned(), "guessed".to_owned())];
    let guess = Request { headers: guessed, ..operation.request(&world, &schemas) };
    for _ in 0..10 {
        assert_eq!(guess.send(&server).await.status, 401);
    }
    let reply = guess.send(&server).await;
    assert_eq!(reply.status, 429);
    assert!(operation.said["responses"]["429"]["headers"].get("Retry-After").is_some());
    assert!(reply.headers.contains_key("retry-after"));
    judge(operation, &schemas, "guessed at", &reply, &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The request, spoilt in every way that the document tells of.
fn spoilt(operation: &Operation<'_>, request: &Request, schemas: &Schemas<'_>) -> Vec<(String, Request)> {
    let mut all = Vec::new();
    if !operation.said["security"].as_array().expect("security").is_empty() {
        all.push(("without credentials".to_owned(), Request { headers: Vec::new(), ..request.clone() }));
        let wrong = request.headers.iter().map(|(name, _)| (name.clone(), "wrong".to_owned())).collect();
        all.push(("with wrong credentials".to_owned(), Request { headers: wrong, ..request.clone() }));
    }
    if operation.success() == 101 {
        let is_other = |(name, _): &&(String, String)| UPGRADE.iter().all(|(known, _)| known != name);
        let headers = request.headers.iter().filter(is_other).cloned().collect();
        all.push(("without an upgrade".to_owned(), Request { headers, ..request.clone() }));
    }
    for name in operation.path_parameters() {
        for value in ["999999", "no%20body!", "%ff"] {
            // A user, a group and an app may be called so, and are not there; a token may be anything.
            let path = with_parameter(operation, request, name, value);
            all.push((format!("with {name} {value}"), Request { path, ..request.clone() }));
        }
    }
    for parameter in operation.query(schemas) {
        let name = parameter["name"].as_str().expect("a name");
        for (bound, step) in [("minimum", -1), ("maximum", 1)] {
            if let Some(bound) = parameter["schema"][bound].as_i64() {
                let value = (bound + step).to_string();
                all.push((format!("with {name}={value}"), request.with_query(name, &value)));
            }
        }
        if let Some(most) = parameter["schema"]["maxLength"].as_u64() {
            let value = "x".repeat(usize::try_from(most).expect("a short text") + 1);
            all.push((format!("with a long {name}"), request.with_query(name, &value)));
        }
        let schema = &parameter["schema"];
        if name == "cursor" || schema["enum"].is_array() || schema["items"]["enum"].is_array() {
            all.push((format!("with {name}=strange"), request.with_query(name, "strange")));
        }
    }
    if let Some(body) = operation.body(schemas) {
        all.push(("with no JSON".to_owned(), request.with_body("{")));
        all.push(("with a list".to_owned(), request.with_body("[]")));
        all.push(("with too much".to_owned(), request.with_body(vec![b' '; 1024 * 1024 + 1])));
        let example = operation.example(schemas).expect("a body has an example");
        for name in body["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let mut less = example.clone();
            less.as_object_mut().expect("an object").remove(name);
            all.push((format!("without {name}"), request.with_body(less.to_string())));
        }
        for (name, field) in body["properties"].as_object().into_iter().flatten() {
            let mut other = example.clone();
            other[name] = json!([[1]]);
            if field.get("type").is_some() || field.get("$ref").is_some() {
                all.push((format!("with a strange {name}"), request.with_body(other.to_string())));
            }
            for (what, value) in beyond(field) {
                let mut other = example.clone();
                other[name] = value;
                all.push((format!("with {what} {name}"), request.with_body(other.to_string())));
            }
        }
    }
    all
}

/// Values just out of the bounds of a field.
fn beyond(field: &Value) -> Vec<(&'static str, Value)> {
    let count = |name: &str| field[name].as_u64().and_then(|count| usize::try_from(count).ok());
    let mut all = Vec::new();
    all.extend(count("maxLength").map(|most| ("a long", json!("x".repeat(most + 1)))));
    all.extend(count("minLength").map(|least| ("a short", json!("x".repeat(least - 1)))));
    all.extend(count("maxItems").map(|most| ("a full", json!(vec!["x"; most + 1]))));
    all.extend(count("minItems").map(|least| ("a bare", json!(vec!["x"; least - 1]))));
    all.extend(field["maximum"].as_i64().map(|most| ("a great", json!(most + 1))));
    all.extend(field["minimum"].as_i64().map(|least| ("a small", json!(least - 1))));
    if field["pattern"].is_string() {
        all.push(("an odd", json!("\u{7f}")));
    }
    all
}

/// The request's path with another value at one of its parameters.
fn with_parameter(operation: &Operation<'_>, request: &Request, name: &str, value: &str) -> String {
    let template = operation.path.split('/');
    let parts = template.zip(request.path.split('/'));
    let replaced = parts.map(|(said, sent)| if said == format!("{{{name}}}") { value } else { sent });
    replaced.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn a_users_own_token_opens_what_the_document_says_and_nothing_else() {
    let document = chathook_server::reference::openapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let world = World::new(&server).await;
    let (ana, ben) = (world.app.token("ana").await, world.app.token("ben").await);
    for operation in operations(&document)
        .iter()
        .filter(|operation| operation.path.starts_with("/v3/") && operation.success() == 200)
    {
        let token = if World::actor(operation.id) == "ben" { &ben } else { &ana };
        let headers = vec![("authToken".to_owned(), token.clone())];
        let request = Request { headers, ..operation.request(&world, &schemas) };
        let reply = request.send(&server).await;
        let ways = operation.said["security"].as_array().expect("security");
        let expected = if ways.iter().any(|way| way.get("authToken").is_some()) { 200 } else { 403 };
        assert_eq!(reply.status, expected, "{}: {}", operation.id, reply.json);
    }
}

#[tokio::test]
async fn a_field_that_is_dropped_or_added_is_seen() {
    let document = chathook_server::reference::openapi::document();
    let (server, schemas) = (TestServer::start().await, Schemas::of(&document));
    let world = World::new(&server).await;
    let all = operations(&document);
    for id in ["get_user", "get_message", "get_webhook", "get_delivery", "get_timeline", "list_events"] {
        let operation = all.iter().find(|operation| operation.id == id).expect("it is described");
        let reply = operation.request(&world, &schemas).send(&server).await;
        let schema = &operation.said["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(schemas.complaints(schema, &reply.json), Vec::<String>::new());
        let first = if reply.json["data"].is_array() { "/data/0" } else { "/data" };
        let object = reply.json.pointer(first).and_then(Value::as_object).expect("an object").clone();
        let mut added = reply.json.clone();
        added.pointer_mut(first).expect("an object")["surprise"] = json!(1);
        assert_ne!(schemas.complaints(schema, &added), Vec::<String>::new(), "{id} with a surprise");
        let shape = schemas.resolved(schemas.resolved(schema).pointer("/properties/data").expect("data"));
        let shape = shape.get("items").map_or(shape, |items| schemas.resolved(items));
        for name in object
            .keys()
            .filter(|name| shape["required"].as_array().is_some_and(|all| all.contains(&json!(name))))
        {
            let mut less = reply.json.clone();
            less.pointer_mut(first).and_then(Value::as_object_mut).expect("an object").remove(name);
            assert_ne!(schemas.complaints(schema, &less), Vec::<String>::new(), "{id} without {name}");
        }
    }
}
