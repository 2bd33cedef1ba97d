//! Who gets into the dashboard, for how long, and what keeps others' pages from acting for them.

mod support;

use support::browser::text;
use support::server::MANAGEMENT;
use support::*;

const HOUR_S: i64 = 60 * 60;

#[tokio::test]
async fn who_is_not_logged_in_is_shown_the_way_and_comes_back() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let mut browser = Browser::new(&server);
    let settings = format!("/apps/{}/settings", app.id);
    let sent = browser.get(&settings).await;
    assert_eq!(sent.status, 303);
    let to = sent.headers["location"].to_str().expect("plain").to_owned();
    assert_eq!(to, format!("/dashboard/login?next=%2Fdashboard%2Fapps%2F{}%2Fsettings", app.id));
    let [(_, key), (_, secret)] = MANAGEMENT;
    let next = format!("/dashboard{settings}");
    let fields = [("key", key), ("secret", secret), ("next", &*next)];
    let let_in = browser.send("POST", "/login", &[], &fields).await;
    assert_eq!(let_in.headers["location"], *next);
    browser.log_in(key, secret).await;
    assert!(browser.page(&settings).await.contains(&app.key));
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_and_logging_out_ends_it() {
    let server = TestServer::start().await;
    let mut browser = Browser::new(&server);
    let [(_, key), (_, secret)] = MANAGEMENT;
    let reply = browser.log_in(key, secret).await;
    let cookie = reply.headers["set-cookie"].to_str().expect("plain");
    assert!(cookie.ends_with("; Path=/dashboard; HttpOnly; SameSite=Strict"), "{cookie}");
    let behind_tls = [("x-forwarded-proto", "https")];
    let reply = browser.send("POST", "/login", &behind_tls, &[("key", key), ("secret", secret)]).await;
    assert!(reply.headers["set-cookie"].to_str().expect("plain").ends_with("; Secure"));
    browser.page("").await;
    let out = browser.submit("/logout", &[]).await;
    assert!(out.headers["set-cookie"].to_str().expect("plain").contains("Max-Age=0"));
    assert_eq!(browser.get("").await.status, 303, "the old cookie still lets in");
}

#[tokio::test]
async fn at_a_door_that_speaks_tls_the_cookie_goes_over_nothing_else() {
    let server = TestServer::with_tls().await;
    let [(_, key), (_, secret)] = MANAGEMENT;
    let form = format!("key={key}&secret={secret}").into_bytes();
    let reply = support::http::send_over_tls(server.address, "POST", "/dashboard/login", &[], form).await;
    let cookie = reply.headers["set-cookie"].to_str().expect("plain");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
}

#[tokio::test]
async fn nobody_is_logged_in_by_a_page_of_another_site() {
    let server = TestServer::start().await;
    let browser = Browser::new(&server);
    let [(_, key), (_, secret)] = MANAGEMENT;
    let fields = [("key", key), ("secret", secret)];
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let reply = browser.send("POST", "/login", &[(name, value)], &fields).await;
        assert_eq!(reply.status, 403, "{name}: {value}");
        assert!(reply.headers.get("set-cookie").is_none());
    }
    // Nor can it use up the guesses of whoever sees it.
    let wrong = [("key", key), ("secret", "guess")];
    for _ in 0..20 {
        browser.send("POST", "/login", &[("sec-fetch-site", "cross-site")], &wrong).await;
    }
    let own = browser.send("POST", "/login", &[("sec-fetch-site", "same-origin")], &fields).await;
    assert_eq!(own.status, 303);
}

#[tokio::test]
async fn a_session_ends_with_idleness_its_age_and_a_restart() {
    let mut server = TestServer::start().await;
    let mut browser = Browser::logged_in(&server).await;
    server.advance(12 * HOUR_S - 1);
    browser.page("").await;
    server.advance(12 * HOUR_S - 1);
    let poll = browser.send("GET", "", &[("hx-request", "true")], &[]).await;
    assert_eq!(poll.status, 200);
    server.advance(1);
    assert_eq!(browser.get("").await.status, 303, "a page that polls has kept an idle session alive");
    let part = browser.send("GET", "", &[("hx-request", "true")], &[]).await;
    assert_eq!((part.status, part.headers["hx-redirect"].to_str().ok()), (401, Some("/dashboard/login")));

    let mut browser = Browser::logged_in(&server).await;
    for _ in 0..14 {
        browser.page("").await;
        server.advance(12 * HOUR_S - 1);
    }
    server.advance(14);
    assert_eq!(browser.get("").await.status, 303, "a week is the most");

    let cookie = Browser::logged_in(&server).await.cookie().expect("logged in").to_owned();
    server.restart().await;
    assert_eq!(Browser::with_cookie(&server, &cookie).get("").await.status, 303);
}

#[tokio::test]
async fn guesses_are_counted_together_with_those_at_the_api() {
    let server = TestServer::start().await;
    let mut browser = Browser::new(&server);
    for _ in 0..5 {
        let reply = browser.log_in("mk_test", "wrong").await;
        assert_eq!(reply.status, 401);
        assert!(text(&reply).contains("The management credentials are wrong."));
        assert!(reply.headers.get("set-cookie").is_none());
        let wrong = [("key", "mk_test"), ("secret", "wrong")];
        server.raw("GET", "/apps", &wrong, Vec::new()).await.refused(401, "AUTH_ERR_NO_ACCESS");
    }
    let [(_, key), (_, secret)] = MANAGEMENT;
    let reply = browser.log_in(key, secret).await;
    assert_eq!((reply.status, reply.headers["retry-after"].to_str().ok()), (429, Some("61")));
    server.advance(60);
    assert_eq!(browser.log_in(key, secret).await.status, 303);
}

#[tokio::test]
async fn nothing_is_done_for_a_form_without_its_token_or_from_elsewhere() {
    let server = TestServer::start().await;
    let mut browser = Browser::logged_in(&server).await;
    browser.page("/apps/new").await;
    let mut other = Browser::logged_in(&server).await;
    let theirs = other.page("/apps/new").await;
    let theirs = support::browser::between(&theirs, "name=\"csrf\" value=\"", "\"");
    let app = [("name", "Shop"), ("region", "us")];
    for token in [None, Some(""), Some("0"), Some(theirs)] {
        let mut fields = app.to_vec();
        fields.extend(token.map(|token| ("csrf", token)));
        let reply = browser.send("POST", "/apps", &[], &fields).await;
        assert_eq!(reply.status, 403, "{token:?}");
        assert!(text(&reply).contains("This form is too old"));
    }
    let page = browser.page("/apps/new").await;
    let csrf = support::browser::between(&page, "name=\"csrf\" value=\"", "\"").to_owned();
    let fields = [app[0], app[1], ("csrf", &*csrf)];
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let reply = browser.send("POST", "/apps", &[(name, value)], &fields).await;
        assert_eq!(reply.status, 403, "{name}: {value}");
    }
    assert_eq!(*server.manage("GET", "/apps", Value::Null).await.data(), json!([]));
    browser.follow("/apps", &app).await;
    assert_eq!(server.manage("GET", "/apps", Value::Null).await.data()[0]["name"], "Shop");
}

#[tokio::test]
async fn every_answer_carries_a_strict_policy_and_is_not_kept() {
    let server = TestServer::start().await;
    let browser = Browser::logged_in(&server).await;
    for path in ["", "/login", "/apps/new", "/nowhere", "/apps/none/settings", "/assets/x/none.css"] {
        let reply = browser.get(path).await;
        let csp = reply.headers["content-security-policy"].to_str().expect("plain");
        assert!(csp.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{path}: {csp}");
        assert!(csp.contains("form-action 'self'; frame-ancestors 'none'; base-uri 'none'"), "{csp}");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert_eq!(reply.headers["referrer-policy"], "same-origin");
        assert_eq!(reply.headers["cache-control"], "no-store", "{path}");
    }
    // Nothing is inline, so nothing of it is refused.
    let html = text(&browser.get("").await);
    for inline in ["<style", "style=\"", "<script>", "onclick=", "hx-on"] {
        assert!(!html.contains(inline), "{inline}");
    }
}

#[tokio::test]
async fn what_a_page_loads_is_kept_for_good_under_its_hash() {
    let server = TestServer::start().await;
    let browser = Browser::new(&server);
    let html = text(&browser.get("/login").await);
    let urls: Vec<&str> =
        html.split('"').filter_map(|piece| piece.strip_prefix("/dashboard/assets")).collect();
    assert_eq!(urls.len(), 5, "{urls:?}");
    for url in urls {
        let reply = browser.get(&format!("/assets{url}")).await;
        assert_eq!(reply.status, 200, "{url}");
        assert_eq!(reply.headers["cache-control"], "public, max-age=31536000, immutable", "{url}");
    }
    let old = browser.get("/assets/0000000000000000/dashboard.css").await;
    assert_eq!((old.status, old.headers["cache-control"].to_str().ok()), (200, Some("no-store")));
}

#[tokio::test]
async fn what_is_not_there_is_said_inside_the_navigation() {
    let server = TestServer::start().await;
    server.app().await;
    let browser = Browser::logged_in(&server).await;
    let reply = browser.get("/apps/nobody/settings").await;
    assert_eq!(reply.status, 404);
    let html = text(&reply);
    assert!(html.contains("There is no app with the id") && html.contains("Log out"), "{html}");
    assert_eq!(browser.get("/none/such").await.status, 404);
    assert_eq!(browser.get("/").await.headers["location"], "/dashboard");
    assert_eq!(browser.send("DELETE", "/apps/new", &[], &[]).await.status, 405);
}

#[tokio::test]
async fn with_a_door_of_its_own_the_dashboard_is_there_alone() {
    let server = TestServer::with_admin_door().await;
    let path = "/dashboard/login";
    server.raw("GET", path, &[], Vec::new()).await.refused(404, "ERR_API_NOT_FOUND");
    let admin = server.admin_address.expect("it has one");
    let reply = support::http::send(admin, "GET", path, &[], Vec::new()).await;
    assert_eq!(reply.status, 200);
}
