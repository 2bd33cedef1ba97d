//! Whatever is wrong with a request is answered, in the spec's envelope, and is never a fault of ours (spec 4.2).

#![allow(clippy::too_many_lines, reason = "a list of cases is read from top to bottom")]

mod support;

use support::http::{Reply, assert_error_object};
use support::*;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

async fn ready() -> (TestServer, App) {
    let server = TestServer::start().await;
    let app = server.app().await;
    (server, app)
}

/// Posts these very bytes as a message of ana's.
async fn post(server: &TestServer, app: &App, body: impl Into<Vec<u8>>) -> Reply {
    let headers = [("apikey", app.key.as_str()), ("onBehalfOf", "ana"), ("content-type", "application/json")];
    server.raw("POST", "/v3/messages", &headers, body.into()).await
}

fn deep(levels: usize) -> String {
    format!("{}{}", "{\"a\":".repeat(levels - 1), "{}") + &"}".repeat(levels - 1)
}

#[tokio::test]
async fn broken_json_is_refused() {
    let (server, app) = ready().await;
    for body in ["{", "", "   ", "{\"a\": }", "nope", "{}{}", "{'a': 1}", "{\"a\": NaN}", "\u{feff}{}"] {
        post(&server, &app, body).await.refused(400, "ERR_BAD_REQUEST");
    }
}

#[tokio::test]
async fn json_that_is_no_object_is_refused() {
    let (server, app) = ready().await;
    for body in ["[]", "null", "42", "\"text\"", "true"] {
        post(&server, &app, body).await.refused(400, "ERR_BAD_REQUEST");
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_refused() {
    let (server, app) = ready().await;
    let body = b"{\"receiver\":\"ben\",\"receiverType\":\"user\",\"data\":{\"text\":\"\xff\xfe\"}}";
    let error = post(&server, &app, body.to_vec()).await.refused(400, "ERR_BAD_REQUEST").clone();
    assert!(error["message"].as_str().is_some_and(|m| m.contains("UTF-8")), "{error}");
    // Half of a surrogate pair is no text either.
    let body = r#"{"receiver":"ben","receiverType":"user","data":{"text":"\ud800"}}"#;
    post(&server, &app, body).await.refused(400, "ERR_BAD_REQUEST");
}

#[tokio::test]
async fn nesting_deeper_than_64_is_refused() {
    let (server, app) = ready().await;
    post(&server, &app, deep(65)).await.refused(400, "ERR_BAD_REQUEST");
    post(&server, &app, "[".repeat(100_000)).await.refused(400, "ERR_BAD_REQUEST");
    let mut body = text_to("ben", "hello");
    body["data"]["metadata"] = serde_json::from_str(&deep(61)).expect("JSON");
    post(&server, &app, body.to_string()).await.data();
}

#[tokio::test]
async fn a_body_over_1_mib_is_refused() {
    let (server, app) = ready().await;
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(1024 * 1024));
    post(&server, &app, body).await.refused(413, "ERR_PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_message_over_65536_characters_is_refused() {
    let (server, app) = ready().await;
    let filler = 65_536 - text_to("ben", "").to_string().chars().count();
    post(&server, &app, text_to("ben", &"ü".repeat(filler)).to_string()).await.data();
    let over = text_to("ben", &"ü".repeat(filler + 1)).to_string();
    post(&server, &app, over).await.refused(400, "ERR_BAD_REQUEST");
}

#[tokio::test]
async fn messages_of_the_wrong_shape_are_refused_with_the_field() {
    let (server, app) = ready().await;
    let long = "x".repeat(101);
    let cases = [
        (json!({"receiverType": "user", "data": {"text": "x"}}), "ERR_EMPTY_RECEIVER", "receiver"),
        (
            json!({"receiver": 7, "receiverType": "user", "data": {"text": "x"}}),
            "ERR_BAD_REQUEST",
            "receiver",
        ),
        (
            json!({"receiver": long, "receiverType": "user", "data": {"text": "x"}}),
            "ERR_BAD_REQUEST",
            "receiver",
        ),
        (
            json!({"receiver": "a b", "receiverType": "user", "data": {"text": "x"}}),
            "ERR_BAD_REQUEST",
            "receiver",
        ),
        (json!({"receiver": "ben", "data": {"text": "x"}}), "ERR_INVALID_RECEIVER_TYPE", "receiverType"),
        (
            json!({"receiver": "ben", "receiverType": "bot", "data": {}}),
            "ERR_INVALID_RECEIVER_TYPE",
            "receiverType",
        ),
        (json!({"receiver": "ben", "receiverType": "user"}), "ERR_BAD_REQUEST", "data"),
        (json!({"receiver": "ben", "receiverType": "user", "data": "x"}), "ERR_BAD_REQUEST", "data"),
        (
            json!({"receiver": "ben", "receiverType": "user", "data": {}}),
            "ERR_EMPTY_MESSAGE_TEXT",
            "data.text",
        ),
        (text_to("ben", ""), "ERR_EMPTY_MESSAGE_TEXT", "data.text"),
        (text_to("ben", " \n "), "ERR_EMPTY_MESSAGE_TEXT", "data.text"),
        (
            json!({"receiver": "ben", "receiverType": "user", "data": {"text": 7}}),
            "ERR_INVALID_MESSAGE_TEXT",
            "data.text",
        ),
        (
            json!({"receiver": "ben", "receiverType": "user", "data": {"text": "x", "metadata": []}}),
            "ERR_INVALID_METADATA",
            "data.metadata",
        ),
        (
            json!({"receiver": "ben", "receiverType": "user", "category": "action", "data": {"text": "x"}}),
            "ERR_INVALID_MESSAGE_CATEGORY",
            "category",
        ),
        (
            json!({"receiver": "ben", "receiverType": "user", "type": "smell", "data": {"text": "x"}}),
            "ERR_INVALID_MESSAGE_TYPE",
            "type",
        ),
        (
            json!({"receiver": "ben", "receiverType": "user", "type": "image", "data": {"url": "javascript:x"}}),
            "ERR_INVALID_MEDIA_MESSAGE",
            "data.attachments",
        ),
        (
            json!({"receiver": "ben", "receiverType": "user", "category": "custom", "type": "poll", "data": {}}),
            "ERR_EMPTY_CUSTOM_DATA",
            "data.customData",
        ),
        (
            json!({"receiver": "ben", "receiverType": "user", "category": "custom", "type": "poll",
                   "data": {"customData": 1}}),
            "ERR_INVALID_CUSTOM_DATA",
            "data.customData",
        ),
        (
            json!({"receiver": "ben", "receiverType": "user", "data": {"text": "x"}, "tags": ["a", 1]}),
            "ERR_BAD_REQUEST",
            "tags",
        ),
        (
            json!({"receiver": "ben", "receiverType": "user", "data": {"text": "x"}, "muid": long}),
            "ERR_BAD_REQUEST",
            "muid",
        ),
    ];
    for (body, code, field) in cases {
        post(&server, &app, body.to_string()).await.refused_for(400, code, field);
    }
}

#[tokio::test]
async fn unknown_receivers_are_not_found() {
    let (_server, app) = ready().await;
    app.send_as("ana", text_to("nobody", "x")).await.refused(404, "ERR_UID_NOT_FOUND");
    app.send_as("ana", text_to_group("nowhere", "x")).await.refused(404, "ERR_GUID_NOT_FOUND");
    app.send_as("nobody", text_to("ben", "x")).await.refused(404, "ERR_UID_NOT_FOUND");
    app.call("POST", "/users", json!({"uid": "fay", "name": "Fay"})).await.data();
    app.send_as("fay", text_to_group("lounge", "x")).await.refused(401, "ERR_GROUP_NOT_JOINED");
}

#[tokio::test]
async fn users_of_the_wrong_shape_are_refused_with_the_field() {
    let (_server, app) = ready().await;
    let cases = [
        (json!({"name": "Fay"}), "uid"),
        (json!({"uid": "fay"}), "name"),
        (json!({"uid": "f a y", "name": "Fay"}), "uid"),
        (json!({"uid": "x".repeat(101), "name": "Fay"}), "uid"),
        (json!({"uid": "app_system", "name": "Fay"}), "uid"),
        (json!({"uid": "fay_user_ben", "name": "Fay"}), "uid"),
        (json!({"uid": "group_fay", "name": "Fay"}), "uid"),
        (json!({"uid": "fay", "name": "x".repeat(101)}), "name"),
        (json!({"uid": "fay", "name": "Fay", "metadata": "x"}), "metadata"),
        (json!({"uid": "fay", "name": "Fay", "metadata": {"a": "x".repeat(6_000)}}), "metadata"),
        (json!({"uid": "fay", "name": "Fay", "tags": vec!["t"; 26]}), "tags"),
        (json!({"uid": "fay", "name": "Fay", "withAuthToken": "soon"}), "withAuthToken"),
    ];
    for (body, field) in cases {
        app.call("POST", "/users", body).await.refused_for(400, "ERR_BAD_REQUEST", field);
    }
    app.call("POST", "/users", json!({"uid": "ANA", "name": "Ana"}))
        .await
        .refused(400, "ERR_UID_ALREADY_EXISTS");
}

#[tokio::test]
async fn groups_of_the_wrong_shape_are_refused() {
    let (_server, app) = ready().await;
    let cases = [
        (json!({"name": "Lab"}), "ERR_BAD_REQUEST", "guid"),
        (json!({"guid": "lab"}), "ERR_BAD_REQUEST", "name"),
        (json!({"guid": "lab", "name": "Lab", "type": "secret"}), "ERR_BAD_REQUEST", "type"),
        (json!({"guid": "lab", "name": "Lab", "type": "password"}), "ERR_EMPTY_GROUP_PASS", "password"),
        (
            json!({"guid": "lab", "name": "Lab", "description": "x".repeat(256)}),
            "ERR_BAD_REQUEST",
            "description",
        ),
    ];
    for (body, code, field) in cases {
        app.call("POST", "/groups", body).await.refused_for(400, code, field);
    }
    let taken =
        app.call("POST", "/groups", json!({"guid": "lounge", "name": "Lounge", "type": "public"})).await;
    taken.refused(400, "ERR_GUID_ALREADY_EXISTS");
    app.call("DELETE", "/groups/lounge/members/nobody", Value::Null).await.refused(404, "ERR_UID_NOT_FOUND");
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let (server, app) = ready().await;
    for path in ["/v3/nothing", "/v3/users/ana/nothing", "/v3", "/v2.0/users", "/", "/nothing", "/v3/../apps"]
    {
        let refused = server.raw("GET", path, &[("apikey", &app.key)], Vec::new()).await;
        refused.refused(404, "ERR_API_NOT_FOUND");
    }
    server.manage("GET", "/apps/x/y/z", Value::Null).await.refused(404, "ERR_API_NOT_FOUND");
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_refused() {
    let (server, app) = ready().await;
    let refused = app.call("PATCH", "/messages", json!({})).await;
    refused.refused(405, "ERR_METHOD_NOT_ALLOWED");
    assert!(refused.headers.contains_key("allow"));
    app.call("POST", "/users/ana", json!({})).await.refused(405, "ERR_METHOD_NOT_ALLOWED");
    server.manage("PUT", "/apps", json!({})).await.refused(405, "ERR_METHOD_NOT_ALLOWED");
    server.raw("POST", "/healthz", &[], Vec::new()).await.refused(405, "ERR_METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn both_spellings_of_the_version_are_taken() {
    let (server, app) = ready().await;
    server.raw("GET", "/v3.0/users/ana", &[("apiKey", &app.key)], Vec::new()).await.data();
}

#[tokio::test]
async fn a_missing_or_unknown_key_is_refused() {
    let (server, app) = ready().await;
    let get = async |headers: &[(&str, &str)]| server.raw("GET", "/v3/users", headers, Vec::new()).await;
    get(&[]).await.refused(401, "AUTH_ERR_EMPTY_APIKEY");
    get(&[("apikey", "")]).await.refused(401, "AUTH_ERR_EMPTY_APIKEY");
    get(&[("apikey", "0123")]).await.refused(401, "AUTH_ERR_APIKEY_NOT_FOUND");
    get(&[("authToken", "ana_0123")]).await.refused(401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND");
    get(&[("authToken", "")]).await.refused(401, "AUTH_ERR_EMPTY_AUTH_TOKEN");
    get(&[("apikey", &app.key), ("appId", "other")]).await.refused(401, "AUTH_ERR_INVALID_APPID");
    get(&[("apikey", &app.key), ("appId", &app.id)]).await.data();
}

#[tokio::test]
async fn an_auth_only_key_makes_users_and_tokens_and_nothing_else() {
    let (_server, app) = ready().await;
    let with = async |method: &str, path: &str, body: Value| {
        app.with(method, path, &[("apikey", &app.auth_key)], body).await
    };
    with("POST", "/users", json!({"uid": "fay", "name": "Fay"})).await.data();
    with("POST", "/users/fay/auth_tokens", Value::Null).await.data();
    let calls = [
        ("GET", "/users", Value::Null),
        ("GET", "/users/ana", Value::Null),
        ("PUT", "/users/ana", json!({"name": "X"})),
        ("DELETE", "/users/ana", Value::Null),
        ("DELETE", "/users/ana/auth_tokens", Value::Null),
        ("GET", "/users/ana/auth_tokens", Value::Null),
        ("POST", "/messages", text_to("ben", "x")),
        ("GET", "/messages", Value::Null),
        ("GET", "/users/ana/messages", Value::Null),
        ("POST", "/users/ana/conversation/read", Value::Null),
        ("GET", "/groups", Value::Null),
        ("POST", "/groups", json!({"guid": "lab", "name": "Lab", "type": "public"})),
        ("POST", "/groups/lounge/members", json!({"participants": ["ana"]})),
        ("DELETE", "/groups/lounge", Value::Null),
    ];
    for (method, path, body) in calls {
        with(method, path, body).await.refused(403, "AUTH_ERR_NO_ACCESS");
    }
}

#[tokio::test]
async fn a_users_own_token_acts_as_that_user_only() {
    let (_server, app) = ready().await;
    let token = app.token("ana").await;
    let mine = [("authToken", token.as_str())];
    let sent = app.with("POST", "/messages", &mine, text_to("ben", "hi")).await;
    assert_eq!(sent.data()["sender"], "ana");
    let as_ben = [("authToken", token.as_str()), ("onBehalfOf", "ben")];
    app.with("POST", "/messages", &as_ben, text_to("ana", "hi")).await.refused(403, "AUTH_ERR_NO_ACCESS");
    for (method, path, body) in [
        ("POST", "/users", json!({"uid": "fay", "name": "Fay"})),
        ("PUT", "/users/ana", json!({"name": "X"})),
        ("DELETE", "/users/ben", Value::Null),
        ("POST", "/users/ben/auth_tokens", Value::Null),
    ] {
        app.with(method, path, &mine, body).await.refused(403, "AUTH_ERR_NO_ACCESS");
    }
    let between = app.send_as("ben", text_to("chloe", "private")).await.data()["id"].clone();
    let path = format!("/messages/{}", between.as_str().expect("an id"));
    for method in ["GET", "DELETE"] {
        app.with(method, &path, &mine, Value::Null).await.refused(404, "ERR_MESSAGE_ID_NOT_FOUND");
    }
    let listed = app.with("GET", "/messages", &mine, Value::Null).await;
    assert_eq!(listed.data().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn only_its_sender_may_change_a_message() {
    let (_server, app) = ready().await;
    let id =
        app.send_as("ana", text_to("ben", "mine")).await.data()["id"].as_str().expect("an id").to_owned();
    let path = format!("/messages/{id}");
    let edit = json!({"data": {"text": "yours"}});
    app.call_as("ben", "PUT", &path, edit.clone()).await.refused(403, "ERR_MESSAGE_NOT_A_SENDER");
    app.call_as("ben", "DELETE", &path, Value::Null).await.refused(403, "ERR_MESSAGE_NOT_A_SENDER");
    app.call_as("chloe", "PUT", &path, edit.clone()).await.refused(404, "ERR_MESSAGE_ID_NOT_FOUND");
    app.call_as("ana", "PUT", &path, json!({"data": {"text": ""}}))
        .await
        .refused(400, "ERR_EMPTY_MESSAGE_TEXT");
    app.call_as("ana", "PUT", &path, json!({})).await.refused_for(400, "ERR_BAD_REQUEST", "data");
    app.call_as("ana", "DELETE", &path, Value::Null).await.data();
    let again = app.call_as("ana", "PUT", &path, edit).await;
    assert_eq!(again.json["error"]["code"], "ERR_MESSAGE_ACTION_NOT_ALLOWED");
    for id in ["0", "999999", "abc", "-1", "99999999999999999999"] {
        let refused = app.call_as("ana", "GET", &format!("/messages/{id}"), Value::Null).await;
        refused.refused(404, "ERR_MESSAGE_ID_NOT_FOUND");
    }
}

#[tokio::test]
async fn another_apps_ids_lead_nowhere() {
    let (server, app) = ready().await;
    let other = server.app().await;
    other.call("POST", "/users", json!({"uid": "zoe", "name": "Zoe"})).await.data();
    other.call("POST", "/groups", json!({"guid": "club", "name": "Club", "type": "public"})).await.data();
    let token = other.token("zoe").await;
    let mut id = String::new();
    for _ in 0..3 {
        let sent = other.send_as("zoe", text_to("ana", "theirs")).await;
        id = sent.data()["id"].as_str().expect("an id").to_owned();
    }
    let calls = [
        ("GET", "/users/zoe".to_owned(), Value::Null, "ERR_UID_NOT_FOUND"),
        ("PUT", "/users/zoe".to_owned(), json!({"name": "X"}), "ERR_UID_NOT_FOUND"),
        ("DELETE", "/users/zoe".to_owned(), Value::Null, "ERR_UID_NOT_FOUND"),
        ("POST", "/users/zoe/auth_tokens".to_owned(), Value::Null, "ERR_UID_NOT_FOUND"),
        ("GET", "/users/zoe/auth_tokens".to_owned(), Value::Null, "ERR_UID_NOT_FOUND"),
        ("DELETE", "/users/zoe/auth_tokens".to_owned(), Value::Null, "ERR_UID_NOT_FOUND"),
        ("DELETE", format!("/users/ana/auth_tokens/{token}"), Value::Null, "ERR_AUTH_TOKEN_NOT_FOUND"),
        ("GET", "/users/zoe/messages".to_owned(), Value::Null, "ERR_UID_NOT_FOUND"),
        ("GET", "/groups/club".to_owned(), Value::Null, "ERR_GUID_NOT_FOUND"),
        ("PUT", "/groups/club".to_owned(), json!({"name": "X"}), "ERR_GUID_NOT_FOUND"),
        ("DELETE", "/groups/club".to_owned(), Value::Null, "ERR_GUID_NOT_FOUND"),
        ("GET", "/groups/club/members".to_owned(), Value::Null, "ERR_GUID_NOT_FOUND"),
        ("POST", "/groups/club/members".to_owned(), json!({"participants": ["ana"]}), "ERR_GUID_NOT_FOUND"),
        ("DELETE", "/groups/club/members/ana".to_owned(), Value::Null, "ERR_GUID_NOT_FOUND"),
        ("GET", "/groups/club/messages".to_owned(), Value::Null, "ERR_GUID_NOT_FOUND"),
        ("GET", format!("/messages/{id}"), Value::Null, "ERR_MESSAGE_ID_NOT_FOUND"),
        ("PUT", format!("/messages/{id}"), json!({"data": {"text": "x"}}), "ERR_MESSAGE_ID_NOT_FOUND"),
        ("DELETE", format!("/messages/{id}"), Value::Null, "ERR_MESSAGE_ID_NOT_FOUND"),
    ];
    for (method, path, body, code) in calls {
        app.call(method, &path, body).await.refused(404, code);
    }
    app.send_as("zoe", text_to("ana", "x")).await.refused(404, "ERR_UID_NOT_FOUND");
    app.send_as("ana", text_to("zoe", "x")).await.refused(404, "ERR_UID_NOT_FOUND");
    app.call_as("ana", "POST", "/users/zoe/conversation/read", Value::Null)
        .await
        .refused(404, "ERR_UID_NOT_FOUND");
    app.call_as("ana", "POST", "/groups/club/conversation/read", Value::Null)
        .await
        .refused(404, "ERR_GUID_NOT_FOUND");
    assert_eq!(
        *app.call("GET", "/messages?conversationId=ana_user_zoe", Value::Null).await.data(),
        json!([])
    );
    let mut socket = Socket::open(&app).await;
    let refused =
        socket.call("login", json!({"appId": app.id, "authToken": token})).await.expect_err("refused");
    assert_eq!(refused["data"]["code"], "AUTH_ERR_AUTH_TOKEN_NOT_FOUND");
}

#[tokio::test]
async fn receipts_that_nobody_can_give_are_refused() {
    let (_server, app) = ready().await;
    let path = "/users/ana/conversation/read";
    app.call("POST", path, Value::Null).await.refused_for(400, "ERR_BAD_REQUEST", "onBehalfOf");
    for id in [json!("x"), json!(-1), json!(1.5), json!([])] {
        let refused = app.call_as("ben", "POST", path, json!({"messageId": id})).await;
        refused.refused_for(400, "ERR_BAD_REQUEST", "messageId");
    }
    let nobody = app.call_as("ben", "POST", "/users/nobody/conversation/read", Value::Null).await;
    nobody.refused(404, "ERR_UID_NOT_FOUND");
}

#[tokio::test]
async fn queries_out_of_bounds_are_refused_with_their_name() {
    let (_server, app) = ready().await;
    for (query, field) in
        [("limit=0", "limit"), ("limit=1001", "limit"), ("affix=sideways", "affix"), ("id=x", "id")]
    {
        let refused = app.call_as("ana", "GET", &format!("/users/ben/messages?{query}"), Value::Null).await;
        refused.refused_for(400, "ERR_BAD_REQUEST", field);
    }
    let (fits, over) = ("%C3%BC".repeat(100), "%C3%BC".repeat(101));
    for list in ["/users", "/groups"] {
        app.call("GET", &format!("{list}?searchKey={fits}"), Value::Null).await.data();
        let refused = app.call("GET", &format!("{list}?searchKey={over}"), Value::Null).await;
        refused.refused_for(400, "ERR_BAD_REQUEST", "searchKey");
    }
    app.call("GET", "/users/%ff", Value::Null).await.refused(400, "ERR_BAD_REQUEST");
}

#[tokio::test]
async fn settings_and_apps_of_the_wrong_shape_are_refused_with_the_field() {
    let (server, app) = ready().await;
    let path = format!("/apps/{}/settings", app.id);
    for (body, field) in [
        (json!({"beforeMessageBudgetMs": 99}), "beforeMessageBudgetMs"),
        (json!({"beforeMessageBudgetMs": 5_001}), "beforeMessageBudgetMs"),
        (json!({"beforeMessageOnEdit": 3}), "beforeMessageOnEdit"),
        (json!({"allowedOrigins": "x"}), "allowedOrigins"),
        (json!({"allowedOrigins": ["https://a.example", "not an origin"]}), "allowedOrigins"),
        (json!({"allowedOrigins": ["http://a.example/path"]}), "allowedOrigins"),
        (json!({"colour": "red"}), "colour"),
    ] {
        server.manage("PUT", &path, body).await.refused_for(400, "ERR_BAD_REQUEST", field);
    }
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": "x".repeat(101)}), "name"),
        (json!({"name": "x", "region": "mars"}), "region"),
        (json!({"name": "x", "version": "2"}), "version"),
    ] {
        server.manage("POST", "/apps", body).await.refused_for(400, "ERR_BAD_REQUEST", field);
    }
}

async fn frame_refused(socket: &mut Socket, frame: &str, rpc: i64, id: Value) {
    socket.send_text(frame);
    let answer = socket.next_answer().await;
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(rpc), &id), "{frame}");
    assert_error_object(&answer["error"]["data"]);
}

#[tokio::test]
async fn frames_that_are_no_calls_are_refused() {
    let (_server, app) = ready().await;
    let mut ana = Socket::of(&app, "ana").await;
    frame_refused(&mut ana, "{", -32_700, Value::Null).await;
    frame_refused(&mut ana, r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32_600, Value::Null).await;
    frame_refused(&mut ana, r#"{"jsonrpc":"2.0","method":"ping"}"#, -32_600, Value::Null).await;
    frame_refused(&mut ana, r#"{"jsonrpc":"1.0","id":3,"method":"ping"}"#, -32_600, json!(3)).await;
    frame_refused(&mut ana, r#"{"jsonrpc":"2.0","id":"x","method":7}"#, -32_600, json!("x")).await;
    frame_refused(&mut ana, r#"{"jsonrpc":"2.0","id":4,"method":"ping","params":[1]}"#, -32_602, json!(4))
        .await;
    frame_refused(&mut ana, &deep(65), -32_600, Value::Null).await;
    ana.send(Message::binary(vec![1, 2, 3]));
    assert_eq!(ana.next_answer().await["error"]["code"], -32_600);
    ana.call("ping", json!({})).await.expect("the socket lives");
}

#[tokio::test]
async fn too_many_bad_frames_end_the_socket() {
    let (_server, app) = ready().await;
    let mut ana = Socket::of(&app, "ana").await;
    for _ in 0..11 {
        ana.send_text("nonsense");
    }
    assert_eq!(ana.closed().await, 4009);
}

#[tokio::test]
async fn a_frame_over_1_mib_ends_the_socket() {
    let (_server, app) = ready().await;
    let mut ana = Socket::of(&app, "ana").await;
    ana.send_text(&"x".repeat(1024 * 1024 + 1));
    assert!([0, 1009].contains(&ana.closed().await));
}

#[tokio::test]
async fn a_text_frame_that_is_not_utf8_ends_the_socket() {
    let (_server, app) = ready().await;
    let mut ana = Socket::of(&app, "ana").await;
    let frame = Frame::message(b"\xff\xfe".to_vec(), OpCode::Data(Data::Text), true);
    ana.send(Message::Frame(frame));
    ana.closed().await;
}

#[tokio::test]
async fn calls_of_the_wrong_shape_are_refused_over_the_socket_as_over_rest() {
    let (_server, app) = ready().await;
    let mut ana = Socket::of(&app, "ana").await;
    let cases = [
        ("dance", json!({}), -32_601, "ERR_API_NOT_FOUND"),
        ("login", json!({}), -32_000, "ERR_WS_ALREADY_LOGGED_IN"),
        ("sendMessage", json!({}), -32_602, "ERR_EMPTY_RECEIVER"),
        ("sendMessage", text_to("ben", ""), -32_602, "ERR_EMPTY_MESSAGE_TEXT"),
        ("sendMessage", text_to("ben", &"x".repeat(70_000)), -32_602, "ERR_BAD_REQUEST"),
        ("sendMessage", text_to("nobody", "x"), -32_000, "ERR_UID_NOT_FOUND"),
        ("sendMessage", text_to_group("nowhere", "x"), -32_000, "ERR_GUID_NOT_FOUND"),
        ("editMessage", json!({"messageId": "1"}), -32_602, "ERR_BAD_REQUEST"),
        (
            "editMessage",
            json!({"messageId": "99", "data": {"text": "x"}}),
            -32_000,
            "ERR_MESSAGE_ID_NOT_FOUND",
        ),
        ("deleteMessage", json!({}), -32_602, "ERR_BAD_REQUEST"),
        ("deleteMessage", json!({"messageId": "99"}), -32_000, "ERR_MESSAGE_ID_NOT_FOUND"),
        ("markRead", json!({"messageId": "99"}), -32_000, "ERR_MESSAGE_ID_NOT_FOUND"),
        ("markDelivered", json!({"messageId": {}}), -32_602, "ERR_BAD_REQUEST"),
        (
            "fetchMessages",
            json!({"receiver": "ben", "receiverType": "user", "limit": 0}),
            -32_602,
            "ERR_BAD_REQUEST",
        ),
        (
            "typing",
            json!({"receiver": "nobody", "receiverType": "user", "active": true}),
            -32_000,
            "ERR_UID_NOT_FOUND",
        ),
        ("subscribePresence", json!({"uids": [1]}), -32_602, "ERR_BAD_REQUEST"),
    ];
    for (method, params, rpc, code) in cases {
        let refused = ana.call(method, params).await.expect_err(method);
        assert_eq!((&refused["code"], &refused["data"]["code"]), (&json!(rpc), &json!(code)), "{method}");
        assert_error_object(&refused["data"]);
    }
}

#[tokio::test]
async fn a_log_in_of_the_wrong_shape_is_refused() {
    let (_server, app) = ready().await;
    let token = app.token("ana").await;
    let mut socket = Socket::open(&app).await;
    let refused = socket.call("sendMessage", text_to("ben", "x")).await.expect_err("not logged in");
    assert_eq!(refused["data"]["code"], "ERR_WS_NOT_LOGGED_IN");
    let cases = [
        (json!({"authToken": token}), "AUTH_ERR_EMPTY_APPID"),
        (json!({"appId": "nowhere", "authToken": token}), "AUTH_ERR_INVALID_APPID"),
        (json!({"appId": app.id}), "AUTH_ERR_EMPTY_AUTH_TOKEN"),
        (json!({"appId": app.id, "authToken": "x"}), "AUTH_ERR_AUTH_TOKEN_NOT_FOUND"),
        (json!({"appId": app.id, "authToken": 7}), "ERR_BAD_REQUEST"),
        (json!({"appId": app.id, "authToken": token, "platform": "toaster"}), "ERR_BAD_REQUEST"),
        (json!({"appId": app.id, "authToken": token, "deviceId": "a b"}), "ERR_BAD_REQUEST"),
        (json!({"appId": app.id, "authToken": token, "after": "yesterday"}), "ERR_BAD_REQUEST"),
    ];
    for (params, code) in cases {
        let refused = socket.call("login", params).await.expect_err(code);
        assert_eq!(refused["data"]["code"], code);
    }
    socket.call("login", json!({"appId": app.id, "authToken": token})).await.expect("logged in");
}

#[tokio::test]
async fn another_apps_ids_lead_nowhere_over_the_socket_either() {
    let (server, app) = ready().await;
    let other = server.app().await;
    other.call("POST", "/users", json!({"uid": "zoe", "name": "Zoe"})).await.data();
    let mut id = json!("0");
    for _ in 0..3 {
        id = other.send_as("zoe", text_to("ana", "theirs")).await.data()["id"].clone();
    }
    let mut ana = Socket::of(&app, "ana").await;
    for method in ["editMessage", "deleteMessage", "markDelivered", "markRead"] {
        let params = json!({"messageId": id, "data": {"text": "x"}});
        let refused = ana.call(method, params).await.expect_err(method);
        assert_eq!(refused["data"]["code"], "ERR_MESSAGE_ID_NOT_FOUND", "{method}");
    }
    let refused = ana.call("sendMessage", text_to("zoe", "x")).await.expect_err("refused");
    assert_eq!(refused["data"]["code"], "ERR_UID_NOT_FOUND");
    let page = ana.call("fetchMessages", json!({"receiver": "zoe", "receiverType": "user"})).await;
    assert_eq!(page, Ok(json!({"messages": []})));
    assert_eq!(ana.call("subscribePresence", json!({"uids": ["zoe"]})).await, Ok(json!({"zoe": "offline"})));
}

#[tokio::test]
async fn a_socket_path_without_an_upgrade_is_refused() {
    let server = TestServer::start().await;
    for path in ["/v3/socket", "/v3.0/socket"] {
        server.raw("GET", path, &[], Vec::new()).await.refused(400, "ERR_BAD_REQUEST");
    }
}
