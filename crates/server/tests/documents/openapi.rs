//! The document itself: whole, and served.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::requests::operations;
use crate::schema::Schemas;
use crate::support::TestServer;
use crate::support::http::send;

#[tokio::test]
async fn the_server_serves_the_document() {
    let server = TestServer::start().await;
    let served = server.raw("GET", "/openapi.json", &[], Vec::new()).await;
    assert_eq!((served.status, &served.json), (200, &chathook_server::reference::openapi::document()));
    assert_eq!(served.json["openapi"], "3.1.0");
}

#[tokio::test]
async fn each_door_serves_the_documents() {
    let server = TestServer::with_admin_door().await;
    for door in [server.address, server.admin_address.expect("a door of its own")] {
        for path in ["/openapi.json", "/asyncapi.json", "/docs", "/docs/page.js"] {
            assert_eq!(send(door, "GET", path, &[], Vec::new()).await.status, 200, "{door} {path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
    for document in
        [chathook_server::reference::openapi::document(), chathook_server::reference::asyncapi::document()]
    {
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            if let Some(to) = value.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
            }
            match value {
                Value::Object(object) => open.extend(object.values()),
                Value::Array(list) => open.extend(list),
                _ => {}
            }
        }
    }
    let document = chathook_server::reference::openapi::document();
    let all = operations(&document);
    let names: BTreeSet<_> = all.iter().map(|operation| operation.id).collect();
    assert_eq!(names.len(), all.len());
    for operation in &all {
        assert!(operation.id.contains('_') && operation.said["summary"].is_string(), "{}", operation.id);
    }
}

#[test]
fn every_code_of_the_document_has_its_section_in_the_page_of_errors() {
    let known: BTreeSet<&str> =
        chathook_server::reference::openapi::errors::ERRORS.iter().map(|error| error.code).collect();
    let document = chathook_server::reference::openapi::document();
    for operation in operations(&document) {
        for (status, response) in operation.said["responses"].as_object().expect("responses") {
            let codes = response
                .pointer("/content/application~1json/schema/allOf/1/properties/error/properties/code/enum");
            assert!(
                codes.is_some() || *status == operation.success().to_string(),
                "{} {status}",
                operation.id
            );
            for code in codes.and_then(Value::as_array).into_iter().flatten() {
                assert!(known.contains(code.as_str().expect("a code")), "{code}");
            }
        }
    }
}

#[test]
fn the_command_prints_the_document() {
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_chathook")).arg("openapi").output();
    let printed = printed.expect("the binary runs");
    assert!(printed.status.success());
    let document: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    assert_eq!(document, chathook_server::reference::openapi::document());
}

/// `routes!` makes a route and its description of one handler; a bare route would have none.
#[test]
fn no_route_goes_without_a_description() {
    // The other spelling of a version, and what the page of the documents is made of.
    let known = ["/v3.0/socket", "/docs/page.css", "/docs/page.js"];
    let of_chat = ["/v3", "/v3.0"];
    for (file, text) in sources() {
        // Pages for people; those of `chathook dev` are there for trying only.
        if file.starts_with("dashboard/") || file.starts_with("dev/") {
            continue;
        }
        let at = |call: &str| arguments_of(&text, call);
        for path in at(".route(") {
            assert!(known.contains(&path.as_str()), "{file}: the route {path} has no description");
        }
        for path in at(".nest(").into_iter().chain(at(".route_service(")).chain(at(".nest_service(")) {
            assert!(of_chat.contains(&path.as_str()), "{file}: what is at {path} has no description");
        }
    }
}

#[test]
fn every_query_parameter_that_is_read_is_in_the_document() {
    let document = chathook_server::reference::openapi::document();
    let schemas = Schemas::of(&document);
    let mut described = BTreeSet::new();
    for operation in operations(&document) {
        for parameter in operation.query(&schemas) {
            described.insert(parameter["name"].as_str().expect("a name").to_owned());
        }
    }
    let mut read = 0;
    for (file, text) in sources().into_iter().filter(|(file, _)| !file.starts_with("dashboard/")) {
        for call in ["params.text(", "params.number(", "params.list("] {
            // An argument that is no text is the name that another call gives.
            for name in arguments_of(&text, call).into_iter().filter(|name| !name.is_empty()) {
                assert!(described.contains(&name), "{file}: '{name}' is read and not described");
                read += 1;
            }
        }
    }
    assert!(read > 10, "the sources were not understood");
}

/// The program's sources below `src`, without their tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut open) = (Vec::new(), vec![root.clone()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).expect("a text");
                let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                let name = path.strip_prefix(&root).expect("below it").display().to_string();
                found.push((name, text));
            }
        }
    }
    found
}

/// The first argument of each such call, where it is a text; else nothing.
fn arguments_of(text: &str, call: &str) -> Vec<String> {
    let argument = |rest: &str| {
        let literal = rest.trim_start().strip_prefix('"');
        literal.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
    };
    text.split(call).skip(1).map(argument).collect()
}
