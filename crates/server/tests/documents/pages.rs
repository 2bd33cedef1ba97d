//! `/docs`: the page is whole, and lets nothing in from elsewhere.

use std::collections::BTreeSet;

use crate::requests::operations;
use crate::support::TestServer;

#[tokio::test]
async fn the_page_shows_every_operation_and_every_error_and_runs_its_own_script_alone() {
    let server = TestServer::start().await;
    let page = server.raw("GET", "/docs", &[], Vec::new()).await;
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'; "), "{policy}");
    let text = String::from_utf8(page.bytes.to_vec()).expect("a page is text");
    let document = chathook_server::reference::openapi::document();
    for operation in operations(&document) {
        assert!(text.contains(&format!("<article id=\"{}\">", operation.id)), "{}", operation.id);
    }
    for error in chathook_server::reference::openapi::errors::ERRORS.iter() {
        assert!(text.contains(&format!("<article id=\"{}\">", error.code)), "{}", error.code);
    }
    let streams = chathook_server::reference::asyncapi::document();
    for (name, _) in streams["components"]["messages"].as_object().expect("messages") {
        assert!(text.contains(&format!("<article id=\"{name}\">")), "{name}");
    }
    for header in ["chathook-settled", "webhook-signature"] {
        assert!(text.contains(&format!("<code>{header}</code>")), "{header}");
    }
    for (name, _) in document["components"]["schemas"].as_object().expect("schemas") {
        assert!(text.contains(&format!(" id=\"schema-{name}\">")), "{name}");
    }
    let ids: Vec<&str> = text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id stands twice");
    assert_eq!((text.matches("<script").count(), text.matches("src=").count()), (1, 1));
    assert!(!text.contains("style="));
    for (path, kind) in
        [("page.css", "text/css; charset=utf-8"), ("page.js", "text/javascript; charset=utf-8")]
    {
        let part = server.raw("GET", &format!("/docs/{path}"), &[], Vec::new()).await;
        assert_eq!((part.status, part.headers["content-type"].as_bytes()), (200, kind.as_bytes()));
    }
}

#[tokio::test]
async fn every_link_of_the_page_stays_on_it_or_leads_to_a_document() {
    let server = TestServer::start().await;
    let page = server.raw("GET", "/docs", &[], Vec::new()).await;
    let text = String::from_utf8(page.bytes.to_vec()).expect("a page is text");
    for link in text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        match link.strip_prefix('#') {
            Some(place) => assert!(text.contains(&format!("id=\"{place}\"")), "{link}"),
            None => assert_eq!(server.raw("GET", link, &[], Vec::new()).await.status, 200, "{link}"),
        }
    }
}
