//! What the dashboard's pages do to apps and webhooks, and what they say of what waits.

mod support;

use support::browser::{between, text};
use support::*;

struct Desk {
    server: TestServer,
    app: App,
}

impl Desk {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        Self { server, app }
    }

    fn path(&self, rest: &str) -> String {
        format!("/apps/{}{rest}", self.app.id)
    }

    async fn webhook(&self, id: &str) -> Value {
        let path = format!("/apps/{}/webhooks/{id}", self.app.id);
        self.server.manage("GET", &path, Value::Null).await.data().clone()
    }

    async fn triggers(&self, id: &str) -> Vec<String> {
        let path = format!("/apps/{}/webhooks/{id}/triggers", self.app.id);
        let listed = self.server.manage("GET", &path, Value::Null).await;
        let ids = listed.data().as_array().expect("a list").iter();
        ids.map(|trigger| trigger["id"].as_str().expect("an id").to_owned()).collect()
    }
}

/// The form of a new webhook as the page fills it, with these fields changed.
fn form<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("id", "audit"),
        ("name", "Audit"),
        ("webhookURL", "https://hooks.example.org/cc"),
        ("enabled", "on"),
        ("retryOnFailure", "on"),
        ("onFailure", "propagate"),
        ("timeoutMs", "10000"),
        ("patienceSeconds", "60"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    fields
}

#[tokio::test]
async fn a_webhook_is_made_with_its_triggers_and_shows_its_secret_once() {
    let desk = Desk::new().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    browser.page(&desk.path("/new-webhook")).await;
    let mut fields = form(&[
        ("useBasicAuth", "on"),
        ("username", "cc"),
        ("password", "s3cret"),
        ("patienceSeconds", "unlimited"),
    ]);
    fields.extend([("triggerIds", "after_message"), ("triggerIds", "before_message")]);
    let shown = browser.follow(&desk.path("/webhooks"), &fields).await;
    assert!(between(&shown, "id=\"flash-secret\">", "<").starts_with("whsec_"));
    assert!(!shown.contains("s3cret"), "the password is shown");
    assert!(
        !browser.page(&desk.path("/webhooks/audit")).await.contains("whsec_"),
        "the secret is shown again"
    );
    let made = desk.webhook("audit").await;
    assert_eq!((&made["patienceSeconds"], &made["useBasicAuth"]), (&json!("unlimited"), &json!(true)));
    assert_eq!(made["username"], "cc");
    let mut triggers = desk.triggers("audit").await;
    triggers.sort();
    assert_eq!(triggers, ["after_message", "before_message"]);
}

#[tokio::test]
async fn a_mistake_stands_at_its_field_and_what_was_typed_stays() {
    let desk = Desk::new().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    for (field, value, why) in [
        ("id", "not an id", "Must be 1 to"),
        ("name", "", "Must not be empty."),
        ("webhookURL", "https://169.254.169.254/", "Is refused: 169.254.169.254"),
        ("webhookURL", "http://hooks.example.org/", "Must be a valid HTTPS URL."),
        ("timeoutMs", "5", "Must be a whole number from 1000 to 30000."),
        ("patienceSeconds", "forever", "Must be a whole number from 0 to 86400 or &#39;unlimited&#39;."),
        ("onFailure", "shrug", "Must be &#39;propagate&#39; or &#39;drop&#39;."),
        ("triggerIds", "on_sunday", "Names no trigger: &#39;on_sunday&#39;."),
        ("useBasicAuth", "on", "Is required with &#39;useBasicAuth&#39;."),
    ] {
        browser.page(&desk.path("/new-webhook")).await;
        let reply = browser.submit(&desk.path("/webhooks"), &form(&[(field, value)])).await;
        let html = text(&reply);
        assert!(matches!(reply.status, 400 | 404), "{field}: {}", reply.status);
        let at = if field == "useBasicAuth" { "username" } else { field };
        if at == "triggerIds" {
            assert!(html.contains(why), "{html}");
        } else {
            let said = between(&html, &format!("id=\"e-{at}\">"), "<");
            assert!(said.starts_with(why), "{at}: {said}");
        }
        assert!(html.contains("value=\"audit\"") || field == "id", "what was typed is gone");
    }
    let listed = desk.server.manage("GET", &format!("/apps/{}/webhooks", desk.app.id), Value::Null).await;
    assert_eq!(*listed.data(), json!([]));
}

#[tokio::test]
async fn all_mistakes_of_a_form_stand_at_their_fields_at_once() {
    let desk = Desk::new().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    let mistakes = |html: &str, fields: &[&str]| {
        for field in fields {
            let said = between(html, &format!("id=\"e-{field}\">"), "<");
            assert!(!said.is_empty(), "nothing is said at {field}: {html}");
        }
        let marked = html.matches(" wrong\">").count();
        assert_eq!(marked, fields.len(), "{html}");
    };
    browser.page(&desk.path("/new-webhook")).await;
    let changes = [
        ("id", "not an id"),
        ("name", ""),
        ("webhookURL", "https://169.254.169.254/"),
        ("useBasicAuth", "on"),
        ("timeoutMs", "5"),
        ("patienceSeconds", "forever"),
        ("onFailure", "shrug"),
    ];
    let refused = browser.submit(&desk.path("/webhooks"), &form(&changes)).await;
    let of_webhook =
        ["id", "name", "webhookURL", "username", "password", "timeoutMs", "patienceSeconds", "onFailure"];
    mistakes(&text(&refused), &of_webhook);

    let endpoint = Endpoint::start().await;
    let security = json!({"useBasicAuth": true, "username": "u", "password": "p"});
    desk.server.webhook(&desk.app, "audit", &endpoint, &["after_message"], security).await;
    let changes = [
        ("webhookURL", "http://hooks.example.org/"),
        ("useBasicAuth", "on"),
        ("username", ""),
        ("timeoutMs", ""),
    ];
    let refused = browser.submit(&desk.path("/webhooks/audit/edit"), &form(&changes)).await;
    mistakes(&text(&refused), &["webhookURL", "username", "timeoutMs"]);
    assert_eq!(desk.webhook("audit").await["username"], "u");

    let fields = [
        ("beforeMessageBudgetMs", "7"),
        ("allowedOrigins", "*\nhttp://a.example/path"),
        ("retention.events", "soon"),
        ("retention.messages", "0"),
    ];
    let refused = browser.submit(&desk.path("/settings"), &fields).await;
    let at = ["beforeMessageBudgetMs", "allowedOrigins", "retention.events", "retention.messages"];
    mistakes(&text(&refused), &at);

    let refused = browser.submit("/apps", &[("name", ""), ("region", "mars")]).await;
    mistakes(&text(&refused), &["name", "region"]);
}

#[tokio::test]
async fn a_change_keeps_the_password_and_sets_the_triggers_anew() {
    let desk = Desk::new().await;
    let endpoint = Endpoint::start().await;
    let security = json!({"useBasicAuth": true, "username": "u", "password": "p", "enabled": false});
    desk.server.webhook(&desk.app, "audit", &endpoint, &["after_message", "before_message"], security).await;
    let mut browser = Browser::logged_in(&desk.server).await;
    let page = browser.page(&desk.path("/webhooks/audit/edit")).await;
    assert!(page.contains("value=\"u\""));
    let fields = [
        ("name", "Other"),
        ("webhookURL", &*endpoint.url()),
        ("useBasicAuth", "on"),
        ("username", "u"),
        ("password", ""),
        ("onFailure", "drop"),
        ("timeoutMs", "2000"),
        ("patienceSeconds", "0"),
        ("triggerIds", "before_message"),
        ("triggerIds", "message_read_receipt"),
    ];
    browser.follow(&desk.path("/webhooks/audit/edit"), &fields).await;
    let changed = desk.webhook("audit").await;
    let names = ["name", "onFailure", "timeoutMs", "patienceSeconds", "retryOnFailure", "enabled"];
    let values = names.map(|name| changed[name].clone());
    assert_eq!(json!(values), json!(["Other", "drop", 2000, 0, false, false]));
    let mut triggers = desk.triggers("audit").await;
    triggers.sort();
    assert_eq!(triggers, ["before_message", "message_read_receipt"]);
    browser.submit(&desk.path("/webhooks/audit/test"), &[("trigger", "before_message")]).await;
    assert_eq!(endpoint.next().await.header("authorization"), "Basic dTpw");
}

#[tokio::test]
async fn what_waits_is_told_before_a_webhook_is_disabled_or_deleted() {
    let desk = Desk::new().await;
    let endpoint = Endpoint::start().await;
    desk.server.webhook(&desk.app, "audit", &endpoint, &["after_message"], Value::Null).await;
    endpoint.otherwise(Answer::status(500));
    for n in 0..3 {
        desk.app.send_as("ana", text_to("ben", &n.to_string())).await.data();
    }
    endpoint.next().await;
    desk.server.settled().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    let page = browser.page(&desk.path("/webhooks/audit")).await;
    assert!(page.contains("3 deliveries wait."), "{page}");
    let off = browser.follow(&desk.path("/webhooks/audit/disable"), &[]).await;
    assert!(off.contains("3 deliveries wait, held for 7 days from then."), "{off}");
    assert_eq!(desk.webhook("audit").await["enabled"], false);
    browser.follow(&desk.path("/webhooks/audit/enable"), &[]).await;
    assert_eq!(desk.webhook("audit").await["enabled"], true);
    let sure = browser.page(&desk.path("/webhooks/audit/delete")).await;
    assert!(sure.contains("3 deliveries wait</strong> for it and will never be sent."), "{sure}");
    browser.follow(&desk.path("/webhooks/audit/delete"), &[]).await;
    assert_eq!(browser.get(&desk.path("/webhooks/audit")).await.status, 404);
}

#[tokio::test]
async fn a_rotated_secret_is_shown_once_and_signs_with_the_old_one() {
    let desk = Desk::new().await;
    let endpoint = Endpoint::start().await;
    let made = desk.server.webhook(&desk.app, "audit", &endpoint, &["after_message"], Value::Null).await;
    let mut browser = Browser::logged_in(&desk.server).await;
    browser.page(&desk.path("/webhooks/audit")).await;
    let shown = browser.follow(&desk.path("/webhooks/audit/rotate"), &[("overlapSeconds", "3600")]).await;
    let secret = between(&shown, "id=\"flash-secret\">", "<");
    assert!(secret.starts_with("whsec_") && made["signingSecret"] != secret);
    assert!(shown.contains("(until <time"), "{shown}");
    assert!(!browser.page(&desk.path("/webhooks/audit")).await.contains("whsec_"));
    browser.submit(&desk.path("/webhooks/audit/test"), &[("trigger", "after_message")]).await;
    assert_eq!(endpoint.next().await.header("webhook-signature").split(' ').count(), 2);
    let refused = browser.submit(&desk.path("/webhooks/audit/rotate"), &[("overlapSeconds", "-1")]).await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn what_people_and_endpoints_write_is_text_and_no_markup() {
    let desk = Desk::new().await;
    let endpoint = Endpoint::start().await;
    let evil = "<script>alert(1)</script>\"'&";
    let named = json!({"name": evil});
    desk.server.webhook(&desk.app, "audit", &endpoint, &["after_message"], named).await;
    endpoint.otherwise(Answer::body(200, evil));
    let mut browser = Browser::logged_in(&desk.server).await;
    for path in ["/webhooks", "/webhooks/audit", "/webhooks/audit/edit", "/webhooks/audit/delete"] {
        let html = browser.page(&desk.path(path)).await;
        assert!(html.contains("&#60;script&#62;alert(1)"), "{path}: {html}");
        assert!(!html.contains("<script>"), "{path}");
    }
    let reply = browser.submit(&desk.path("/webhooks/audit/test"), &[("trigger", "after_message")]).await;
    let html = text(&reply);
    assert!(
        between(&html, "aria-label=\"Body of the answer\">", "</pre>").contains("&#60;script&#62;"),
        "{html}"
    );
    assert!(!html.contains("<script>"));
}

#[tokio::test]
async fn another_apps_path_leads_to_no_webhook_of_this_one() {
    let desk = Desk::new().await;
    let endpoint = Endpoint::start().await;
    desk.server.webhook(&desk.app, "audit", &endpoint, &["after_message"], Value::Null).await;
    let other = desk.server.app().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    browser.page("").await;
    let path = |rest: &str| format!("/apps/{}/webhooks/audit{rest}", other.id);
    for rest in ["", "/edit", "/delete"] {
        assert_eq!(browser.get(&path(rest)).await.status, 404, "{rest}");
    }
    for rest in ["/test", "/rotate", "/enable", "/disable", "/delete"] {
        let fields = [("trigger", "after_message"), ("overlapSeconds", "0")];
        assert_eq!(browser.submit(&path(rest), &fields).await.status, 404, "{rest}");
    }
    desk.webhook("audit").await;
}

#[tokio::test]
async fn an_app_is_deleted_only_by_who_types_its_id() {
    let desk = Desk::new().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    browser.page(&desk.path("/delete")).await;
    for wrong in ["", "Test", "other"] {
        assert_eq!(browser.submit(&desk.path("/delete"), &[("confirm", wrong)]).await.status, 400);
    }
    assert_eq!(browser.get(&desk.path("/settings")).await.status, 200);
    browser.follow(&desk.path("/delete"), &[("confirm", &desk.app.id)]).await;
    assert_eq!(browser.get(&desk.path("/settings")).await.status, 404);
}
