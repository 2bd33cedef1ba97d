//! The document itself: whole, and served.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::requests::operations;
use crate::support::TestServer;

#[tokio::test]
async fn the_server_serves_the_document() {
    let server = TestServer::start().await;
    let served = server.raw("GET", "/openapi.json", &[], Vec::new()).await;
    assert_eq!((served.status, &served.json), (200, &chathook_server::reference::openapi::document()));
    assert_eq!(served.json["openapi"], "3.1.0");
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
            assert!(codes.is_some() || status == "200", "{} {status}", operation.id);
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
fn no_route_of_the_api_goes_without_a_description() {
    let routers = include_str!("../../src/api/mod.rs");
    assert!(routers.contains("routes!(") && !routers.contains(".route("), "describe the handler");
}
