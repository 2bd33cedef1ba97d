//! The webhook management API: its eight operations, their limits and errors (spec 2, design 6 and 7).

mod support;

use support::http::Reply;
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

    /// A call below the app's webhooks.
    async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.server.manage(method, &format!("/apps/{}/webhooks{path}", self.app.id), body).await
    }

    async fn create(&self, more: Value) -> Reply {
        self.call("POST", "", draft(more)).await
    }
}

fn draft(more: Value) -> Value {
    let mut body = json!({"id": "audit", "name": "Audit", "webhookURL": "https://hooks.example.org/cc"});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_webhook_is_created_and_shown_without_its_password() {
    let desk = Desk::new().await;
    let more = json!({"useBasicAuth": true, "username": "cc", "password": "s3cret"});
    let made = desk.create(more).await;
    let mut expected = json!({
        "id": "audit", "name": "Audit", "webhookURL": "https://hooks.example.org/cc", "useBasicAuth": true,
        "username": "cc", "enabled": true, "retryOnFailure": true, "onFailure": "propagate", "timeoutMs": 10_000,
        "patienceSeconds": 60, "state": "on", "createdAt": NOW_S, "updatedAt": NOW_S,
    });
    let shown = desk.call("GET", "/audit", Value::Null).await;
    assert_eq!(*shown.data(), expected);
    expected["signingSecret"] = made.data()["signingSecret"].clone();
    assert_eq!(*made.data(), expected);
    assert!(expected["signingSecret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")));
}

#[tokio::test]
async fn webhooks_are_listed_in_pages_and_found_by_name() {
    let desk = Desk::new().await;
    for n in 1..=3 {
        desk.create(json!({"id": format!("hook-{n}"), "name": format!("Number {n}")})).await.data();
    }
    let page = desk.call("GET", "?perPage=2&page=2", Value::Null).await;
    assert_eq!(page.data()[0]["id"], "hook-3");
    let pagination = json!({"total": 3, "count": 1, "per_page": 2, "current_page": 2, "total_pages": 2});
    assert_eq!(page.json["meta"]["pagination"], pagination);
    let found = desk.call("GET", "?searchKey=number%202", Value::Null).await;
    assert_eq!(found.json["meta"]["pagination"]["total"], 1);
    assert_eq!(found.data()[0]["id"], "hook-2");
    for query in ["?perPage=0", "?perPage=1001", "?perPage=many"] {
        desk.call("GET", query, Value::Null).await.refused_for(400, "ERR_BAD_REQUEST", "perPage");
    }
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let desk = Desk::new().await;
    let before = desk.create(Value::Null).await.data().clone();
    desk.server.advance(3);
    let body = json!({
        "name": "New", "webhookURL": "https://other.example.org/", "enabled": false, "retryOnFailure": false,
        "onFailure": "drop", "timeoutMs": 30_000, "useBasicAuth": true, "username": "u", "password": "p",
        "patienceSeconds": "unlimited",
    });
    let after = desk.call("PUT", "/audit", body).await.data().clone();
    let expected = json!({
        "id": "audit", "name": "New", "webhookURL": "https://other.example.org/", "useBasicAuth": true,
        "username": "u", "enabled": false, "retryOnFailure": false, "onFailure": "drop", "timeoutMs": 30_000,
        "patienceSeconds": "unlimited", "state": "disabled", "createdAt": before["createdAt"], "updatedAt": NOW_S + 3,
    });
    assert_eq!(after, expected);
    let renamed = desk.call("PUT", "/audit", json!({"name": "Newer"})).await.data().clone();
    assert_eq!((&renamed["name"], &renamed["username"]), (&json!("Newer"), &json!("u")));
    assert_eq!(renamed["patienceSeconds"], "unlimited");
    let changed = desk.call("PUT", "/audit", json!({"patienceSeconds": 0})).await;
    assert_eq!(changed.data()["patienceSeconds"], 0);
    desk.call("PUT", "/audit", json!({"id": "other"})).await.refused_for(400, "ERR_BAD_REQUEST", "id");
}

#[tokio::test]
async fn a_deleted_webhook_is_gone() {
    let desk = Desk::new().await;
    desk.create(Value::Null).await.data();
    let deleted = desk.call("DELETE", "/audit", Value::Null).await;
    assert_eq!(*deleted.data(), json!({"success": true, "message": "Deleted Webhook successfully."}));
    desk.call("GET", "/audit", Value::Null).await.refused(404, "ERR_WEBHOOK_NOT_FOUND");
    desk.call("DELETE", "/audit", Value::Null).await.refused(404, "ERR_WEBHOOK_NOT_FOUND");
    desk.create(Value::Null).await.data();
}

#[tokio::test]
async fn triggers_are_added_listed_and_removed() {
    let desk = Desk::new().await;
    desk.create(Value::Null).await.data();
    let body = json!({"triggerIds": ["after_message", "before_message"]});
    let added = desk.call("POST", "/audit/triggers", body.clone()).await;
    let success = json!({"success": true, "message": "Triggers has been added successfully."});
    assert_eq!(*added.data(), json!({"after_message": success, "before_message": success}));
    // A repeat is no mistake, and adds nothing.
    desk.call("POST", "/audit/triggers", body).await.data();
    let listed = desk.call("GET", "/audit/triggers", Value::Null).await;
    let mut ids: Vec<_> = listed.data().as_array().expect("a list").iter().map(|t| t["id"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, [json!("after_message"), json!("before_message")]);
    assert_eq!(listed.json["meta"]["pagination"]["total"], 2);
    assert!(listed.data()[0]["description"].as_str().is_some_and(|text| !text.is_empty()));
    let removed = desk.call("DELETE", "/audit/triggers", json!({"triggerIds": ["before_message"]})).await;
    assert_eq!(*removed.data(), json!({"success": true, "message": "Removed trigger successfully."}));
    let listed = desk.call("GET", "/audit/triggers", Value::Null).await;
    assert_eq!(listed.json["meta"]["pagination"]["total"], 1);
    let again = desk.call("DELETE", "/audit/triggers", json!({"triggerIds": ["before_message"]})).await;
    again.refused_for(404, "ERR_TRIGGER_NOT_FOUND", "triggerIds");
}

#[tokio::test]
async fn the_connection_trigger_is_taken_in_both_spellings() {
    let desk = Desk::new().await;
    desk.create(Value::Null).await.data();
    for spelling in ["after_connection_status_changed", "user_connection_status_change"] {
        desk.call("POST", "/audit/triggers", json!({"triggerIds": [spelling]})).await.data();
        let listed = desk.call("GET", "/audit/triggers", Value::Null).await;
        assert_eq!(listed.json["meta"]["pagination"]["total"], 1);
        desk.call("DELETE", "/audit/triggers", json!({"triggerIds": [spelling]})).await.data();
    }
}

#[tokio::test]
async fn an_unknown_trigger_is_refused_and_none_of_the_call_is_done() {
    let desk = Desk::new().await;
    desk.create(Value::Null).await.data();
    let body = json!({"triggerIds": ["after_message", "message_sent"]});
    desk.call("POST", "/audit/triggers", body).await.refused_for(404, "ERR_TRIGGER_NOT_FOUND", "triggerIds");
    let listed = desk.call("GET", "/audit/triggers", Value::Null).await;
    assert_eq!(*listed.data(), json!([]));
    for body in [
        json!({}),
        json!({"triggerIds": []}),
        json!({"triggerIds": "after_message"}),
        json!({"triggerIds": [1]}),
    ] {
        desk.call("POST", "/audit/triggers", body).await.refused_for(400, "ERR_BAD_REQUEST", "triggerIds");
    }
}

#[tokio::test]
async fn the_26th_webhook_is_refused_until_one_is_deleted() {
    let desk = Desk::new().await;
    for n in 1..=25 {
        desk.create(json!({"id": format!("hook{n}")})).await.data();
    }
    let refused = desk.create(json!({"id": "hook26"})).await;
    assert_eq!(refused.json["error"]["code"], "ERR_PLAN_QUOTA_RESTRICTION");
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    desk.call("DELETE", "/hook1", Value::Null).await.data();
    desk.create(json!({"id": "hook26"})).await.data();
}

#[tokio::test]
async fn an_id_that_is_taken_is_refused() {
    let desk = Desk::new().await;
    desk.create(Value::Null).await.data();
    desk.create(json!({"name": "Other"})).await.refused_for(400, "ERR_WEBHOOK_ALREADY_EXISTS", "id");
    assert_eq!(desk.call("GET", "/audit", Value::Null).await.data()["name"], "Audit");
}

#[tokio::test]
async fn ids_of_webhooks_are_up_to_50_letters_digits_and_two_signs() {
    let desk = Desk::new().await;
    for id in ["send-message", "test_webhook201", "A", &"x".repeat(50)] {
        desk.create(json!({"id": id})).await.data();
    }
    for id in [
        json!("a b"),
        json!("a/b"),
        json!("ä"),
        json!("a.b"),
        json!(""),
        json!("x".repeat(51)),
        json!(7),
        Value::Null,
    ] {
        desk.create(json!({"id": id})).await.refused_for(400, "ERR_BAD_REQUEST", "id");
    }
}

#[tokio::test]
async fn names_of_webhooks_are_required_and_have_at_most_50_characters() {
    let desk = Desk::new().await;
    desk.create(json!({"name": "ü".repeat(50)})).await.data();
    for name in [json!("x".repeat(51)), json!(""), json!("  "), json!(3), Value::Null] {
        desk.create(json!({"id": "b", "name": name})).await.refused_for(400, "ERR_BAD_REQUEST", "name");
        if !name.is_null() {
            let refused = desk.call("PUT", "/audit", json!({"name": name})).await;
            refused.refused_for(400, "ERR_BAD_REQUEST", "name");
        }
    }
}

#[tokio::test]
async fn credentials_have_bounds_and_come_in_pairs() {
    let desk = Desk::new().await;
    let cases = [
        (json!({"useBasicAuth": true}), "username"),
        (json!({"username": "u"}), "password"),
        (json!({"password": "p"}), "username"),
        (json!({"username": "x".repeat(51), "password": "p"}), "username"),
        (json!({"username": "a b", "password": "p"}), "username"),
        (json!({"username": "a:b", "password": "p"}), "username"),
        (json!({"username": "u", "password": "x".repeat(101)}), "password"),
        (json!({"username": "u", "password": "p\r\nx: y"}), "password"),
        (json!({"useBasicAuth": "perhaps"}), "useBasicAuth"),
        (json!({"enabled": 1}), "enabled"),
        (json!({"retryOnFailure": []}), "retryOnFailure"),
        (json!({"onFailure": "explode"}), "onFailure"),
        (json!({"timeoutMs": 999}), "timeoutMs"),
        (json!({"timeoutMs": 30_001}), "timeoutMs"),
        (json!({"patienceSeconds": -1}), "patienceSeconds"),
        (json!({"patienceSeconds": 86_401}), "patienceSeconds"),
        (json!({"patienceSeconds": "forever"}), "patienceSeconds"),
        (json!({"triggers": ["after_message"]}), "triggers"),
    ];
    for (more, field) in cases {
        desk.create(more).await.refused_for(400, "ERR_BAD_REQUEST", field);
    }
    desk.create(json!({"username": "x".repeat(50), "password": "y".repeat(100)})).await.data();
}

#[tokio::test]
async fn a_refusal_names_every_field_at_fault_and_speaks_of_the_first() {
    let desk = Desk::new().await;
    let body = json!({"webhookURL": "https://10.0.0.1/", "useBasicAuth": true, "timeoutMs": 5});
    let refused = desk.create(body).await;
    let error = refused.refused(400, "ERR_BAD_REQUEST");
    let mut fields: Vec<_> = error["details"].as_object().expect("details").keys().collect();
    fields.sort();
    assert_eq!(fields, ["password", "timeoutMs", "username", "webhookURL"]);
    assert_eq!(error["message"], error["details"]["timeoutMs"][0]);
}

#[tokio::test]
async fn urls_that_no_webhook_may_have_are_refused() {
    let desk = Desk::new().await;
    desk.create(json!({"id": "good"})).await.data();
    let too_long = format!("https://example.org/{}", "x".repeat(236));
    let forbidden = [
        "http://hooks.example.org/cc",
        "ftp://hooks.example.org/",
        "hooks.example.org",
        "https://",
        "https://user:secret@hooks.example.org/",
        "https://user@hooks.example.org/",
        "https://hooks.example.org:0/",
        too_long.as_str(),
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://172.16.0.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://198.18.0.1/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
        // 10.0.0.1 in decimal, hexadecimal, octal and short.
        "https://167772161/",
        "https://0x0a000001/",
        "https://0xa.0.0.1/",
        "https://012.0.0.1/",
        "https://10.1/",
        // 169.254.169.254 likewise.
        "https://2852039166/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::ffff:a00:1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:a00:1::]/",
        "https://[2001::1]/",
        "https://[fe80::1]/",
        "https://[fec0::1]/",
        "https://[fd00:ec2::254]/",
        "https://[fc00::1]/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
        "https://[::10.0.0.1]/",
    ];
    for url in forbidden {
        desk.create(json!({"webhookURL": url})).await.refused_for(400, "ERR_BAD_REQUEST", "webhookURL");
        let refused = desk.call("PUT", "/good", json!({"webhookURL": url})).await;
        refused.refused_for(400, "ERR_BAD_REQUEST", "webhookURL");
    }
    assert_eq!(
        desk.call("GET", "/good", Value::Null).await.data()["webhookURL"],
        "https://hooks.example.org/cc"
    );
    desk.create(json!({"webhookURL": Value::Null})).await.refused_for(400, "ERR_BAD_REQUEST", "webhookURL");
}

#[tokio::test]
async fn urls_that_a_webhook_may_have_are_taken() {
    let desk = Desk::new().await;
    let longest = format!("https://example.org/{}", "x".repeat(235));
    let allowed = [
        longest.as_str(),
        "https://hooks.example.org:8443/cc?key=1",
        "https://93.184.216.34/",
        "https://[2606:4700::1111]/",
        "https://bücher.example/",
        // The operator opened this network.
        "https://127.0.0.1:9999/",
    ];
    for (n, url) in allowed.into_iter().enumerate() {
        let made = desk.create(json!({"id": format!("hook{n}"), "webhookURL": url})).await;
        assert_eq!(made.data()["webhookURL"], url);
    }
}

#[tokio::test]
async fn webhooks_of_version_2_are_a_clear_refusal() {
    let desk = Desk::new().await;
    let [key, secret] = support::server::MANAGEMENT;
    let path = format!("/apps/{}/webhooks", desk.app.id);
    for (method, path) in
        [("GET", path.clone()), ("POST", path.clone()), ("GET", format!("{path}/audit/triggers"))]
    {
        let headers = [key, secret, ("X-Webhook-Version", "2")];
        let body = draft(Value::Null).to_string().into_bytes();
        desk.server.raw(method, &path, &headers, body).await.refused(400, "ERR_INVALID_API_VERSION");
    }
    let headers = [key, secret, ("X-Webhook-Version", "1")];
    desk.server.raw("GET", &path, &headers, Vec::new()).await.data();
    let headers = [key, secret, ("X-Webhook-Version", "many")];
    desk.server.raw("GET", &path, &headers, Vec::new()).await.refused(400, "ERR_BAD_REQUEST");
}

#[tokio::test]
async fn without_management_credentials_nothing_is_shown() {
    let desk = Desk::new().await;
    let paths = [
        "/apps".to_owned(),
        format!("/apps/{}", desk.app.id),
        format!("/apps/{}/settings", desk.app.id),
        format!("/apps/{}/webhooks", desk.app.id),
        format!("/apps/{}/webhooks/audit", desk.app.id),
        format!("/apps/{}/webhooks/audit/triggers", desk.app.id),
    ];
    for path in &paths {
        let none = desk.server.raw("GET", path, &[], Vec::new()).await;
        none.refused(401, "AUTH_ERR_EMPTY_AUTH_HEADER");
        let apikey = [("apikey", desk.app.key.as_str())];
        desk.server.raw("GET", path, &apikey, Vec::new()).await.refused(401, "AUTH_ERR_EMPTY_AUTH_HEADER");
    }
    for wrong in [[("key", "mk_test"), ("secret", "x")], [("key", "x"), ("secret", "ms_test")]] {
        desk.server.raw("GET", "/apps", &wrong, Vec::new()).await.refused(401, "AUTH_ERR_NO_ACCESS");
    }
    desk.server
        .raw("GET", "/apps", &[("key", "mk_test")], Vec::new())
        .await
        .refused(401, "AUTH_ERR_NO_ACCESS");
}

#[tokio::test]
async fn ten_wrong_guesses_keep_an_address_out_for_the_rest_of_the_minute() {
    let desk = Desk::new().await;
    let wrong = [("key", "mk_test"), ("secret", "guess")];
    for _ in 0..10 {
        desk.server.raw("GET", "/apps", &wrong, Vec::new()).await.refused(401, "AUTH_ERR_NO_ACCESS");
    }
    let kept_out = desk.server.manage("GET", "/apps", Value::Null).await;
    kept_out.refused(429, "ERR_TOO_MANY_REQUESTS");
    let wait: i64 = kept_out.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=61).contains(&wait), "{wait}");
    desk.server.advance(60);
    desk.server.manage("GET", "/apps", Value::Null).await.data();
}

#[tokio::test]
async fn another_apps_webhooks_are_out_of_reach() {
    let desk = Desk::new().await;
    let other = desk.server.app().await;
    let path = format!("/apps/{}/webhooks", other.id);
    desk.server.manage("POST", &path, draft(json!({"id": "theirs"}))).await.data();
    let triggers = json!({"triggerIds": ["after_message"]});
    let calls = [
        ("GET", "/theirs", Value::Null),
        ("PUT", "/theirs", json!({"name": "Mine"})),
        ("DELETE", "/theirs", Value::Null),
        ("POST", "/theirs/triggers", triggers.clone()),
        ("GET", "/theirs/triggers", Value::Null),
        ("DELETE", "/theirs/triggers", triggers),
    ];
    for (method, path, body) in calls {
        desk.call(method, path, body).await.refused(404, "ERR_WEBHOOK_NOT_FOUND");
    }
    assert_eq!(*desk.call("GET", "", Value::Null).await.data(), json!([]));
    // The same id is free in each app.
    desk.create(json!({"id": "theirs"})).await.data();
    let shown = desk.server.manage("GET", &format!("{path}/theirs"), Value::Null).await;
    assert_eq!(shown.data()["name"], "Audit");
}

#[tokio::test]
async fn an_app_that_is_not_there_is_said_to_be_missing() {
    let desk = Desk::new().await;
    let calls = [
        ("GET", "", Value::Null),
        ("DELETE", "", Value::Null),
        ("GET", "/settings", Value::Null),
        ("PUT", "/settings", json!({})),
        ("GET", "/webhooks", Value::Null),
        ("POST", "/webhooks", draft(Value::Null)),
        ("GET", "/webhooks/audit", Value::Null),
        ("PUT", "/webhooks/audit", json!({})),
        ("DELETE", "/webhooks/audit", Value::Null),
        ("GET", "/webhooks/audit/triggers", Value::Null),
        ("POST", "/webhooks/audit/triggers", json!({"triggerIds": ["after_message"]})),
        ("DELETE", "/webhooks/audit/triggers", json!({"triggerIds": ["after_message"]})),
    ];
    for (method, path, body) in calls {
        let refused = desk.server.manage(method, &format!("/apps/nowhere{path}"), body).await;
        refused.refused(404, "ERR_APP_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_deleted_apps_keys_open_nothing() {
    let desk = Desk::new().await;
    desk.server.manage("DELETE", &format!("/apps/{}", desk.app.id), Value::Null).await.data();
    desk.app.call("GET", "/users", Value::Null).await.refused(401, "AUTH_ERR_APIKEY_NOT_FOUND");
}
