//! Deliveries, replays, calls of `before_message` and messages, as the dashboard shows them and acts on them.

mod support;

use support::browser::text;
use support::*;

const PASSWORD: &str = "pw-nobody-may-see";

struct Desk {
    server: TestServer,
    app: App,
    endpoint: Endpoint,
}

impl Desk {
    async fn new(triggers: &[&str], more: Value) -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        server.webhook(&app, "audit", &endpoint, triggers, more).await;
        Self { server, app, endpoint }
    }

    fn path(&self, rest: &str) -> String {
        format!("/apps/{}/{rest}", self.app.id)
    }

    async fn send(&self, words: &str) -> Value {
        self.app.send_as("ana", text_to("ben", words)).await.data().clone()
    }
}

#[tokio::test]
async fn a_delivery_is_seen_to_fail_and_is_tried_now_when_the_endpoint_is_fixed() {
    let auth = json!({"useBasicAuth": true, "username": "hook", "password": PASSWORD});
    let desk = Desk::new(&["after_message"], auth).await;
    desk.endpoint.answer([Answer::body(503, "<b>out of \"order\"</b>")]);
    desk.send("it's <script>alert(1)</script>").await;
    desk.endpoint.next().await;
    desk.server.settled().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    let list = browser.page(&desk.path("deliveries")).await;
    assert!(list.contains("audit 1</a>") && list.contains(">waiting<") && list.contains(">503<"), "{list}");
    let one = desk.path("webhooks/audit/deliveries/1");
    let page = browser.page(&one).await;
    assert!(
        page.contains("&#60;b&#62;out of &#34;order&#34;&#60;/b&#62;"),
        "the answer is shown as text: {page}"
    );
    assert!(!page.contains("<script>alert"), "the payload is shown as text");
    assert!(page.contains("<rect class=\"wait\"") && page.contains("Next try"));
    assert!(page.contains("$WEBHOOK_USER:$WEBHOOK_PASSWORD") && !page.contains(PASSWORD));
    let after = browser.follow(&format!("{one}/retry"), &[]).await;
    assert!(after.contains("It is tried now."));
    desk.endpoint.next().await;
    desk.server.settled().await;
    let page = browser.page(&one).await;
    assert!(page.contains(">delivered<") && page.contains(">200<") && !page.contains("Next try"), "{page}");
    assert!(!page.contains("/retry\""), "nothing is left to do about it");
}

#[tokio::test]
async fn a_cancelled_delivery_is_sent_again_as_a_new_one() {
    let desk = Desk::new(&["after_message"], Value::Null).await;
    desk.endpoint.answer([Answer::status(500)]);
    desk.send("hello").await;
    desk.endpoint.next().await;
    desk.server.settled().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    let one = desk.path("webhooks/audit/deliveries/1");
    browser.page(&one).await;
    let cancelled = browser.follow(&format!("{one}/cancel"), &[]).await;
    assert!(cancelled.contains(">cancelled<"), "{cancelled}");
    let again = browser.follow(&format!("{one}/cancel"), &[]).await;
    assert!(again.contains("flash bad"), "a second time is told plainly: {again}");
    let new = browser.follow(&format!("{one}/retry"), &[]).await;
    assert!(new.contains("Its event is owed again, as delivery 2."), "{new}");
    desk.endpoint.next().await;
}

#[tokio::test]
async fn the_list_is_narrowed_by_each_filter_and_goes_on_by_cursor() {
    let desk = Desk::new(&["after_message", "message_read_receipt"], Value::Null).await;
    for n in 0..52 {
        desk.send(&format!("message {n}")).await;
    }
    desk.app.call_as("ben", "POST", "/users/ana/conversation/read", json!({})).await.data();
    desk.server.settled().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    let first = browser.page(&desk.path("deliveries?webhook=audit")).await;
    assert_eq!(first.matches("audit ").count(), 50, "{first}");
    let rest = browser.page(&older(&first)).await;
    assert!(rest.contains("audit 1</a>") && rest.contains(">Newest<") && !rest.contains("rel=\"next\""));
    let receipts = browser.page(&desk.path("deliveries?webhook=audit&trigger=message_read_receipt")).await;
    assert_eq!(receipts.matches("<th scope=\"row\">").count(), 1, "{receipts}");
    let exact =
        "deliveries?webhook=audit&since=2025-10-09T10:53:20.000%2B02:00&until=2025-10-09T08:54:00.000Z";
    let exact = browser.page(&desk.path(exact)).await;
    assert!(exact.contains("audit 53</a>"), "{exact}");
    assert!(
        exact.contains("value=\"2025-10-09T08:53:20\"") && exact.contains("value=\"2025-10-09T08:54:00\"")
    );
    for nothing in ["status=failed", "since=2090-01-01T00:00", "until=2001-01-01T00:00", "key=nobody"] {
        let page = browser.page(&desk.path(&format!("deliveries?webhook=audit&{nothing}"))).await;
        assert!(page.contains("Nothing fits"), "{nothing}: {page}");
    }
    assert_eq!(browser.get(&desk.path("deliveries?since=yesterday")).await.status, 400);
    assert_eq!(browser.get(&desk.path("deliveries?status=odd")).await.status, 400);
    assert_eq!(browser.get(&desk.path("deliveries?webhook=none")).await.status, 404);
}

#[tokio::test]
async fn an_old_failure_is_found_among_all_webhooks_by_looking_further_back() {
    let desk = Desk::new(&["after_message"], Value::Null).await;
    // Of many webhooks little of each is looked at for one page.
    for n in 0..24 {
        desk.server
            .webhook(&desk.app, &format!("idle{n}"), &desk.endpoint, &["message_read_receipt"], Value::Null)
            .await;
    }
    let mut browser = Browser::logged_in(&desk.server).await;
    desk.endpoint.answer([Answer::status(500)]);
    browser.page(&desk.path("webhooks/audit")).await;
    browser.submit(&desk.path("webhooks/audit/test"), &[("trigger", "after_message")]).await;
    for n in 0..450 {
        desk.send(&format!("message {n}")).await;
    }
    desk.server.settled().await;
    let (mut path, mut pages) = (desk.path("deliveries?status=failed"), 0);
    let found = loop {
        let page = browser.page(&path).await;
        if page.contains("audit test-1</a>") {
            break page;
        }
        assert!(page.contains("So far nothing fits"), "{page}");
        path = older(&page);
        pages += 1;
    };
    assert!(pages > 0 && !found.contains("rel=\"next\""), "after {pages} pages: {found}");
    let (mut path, mut seen) = (desk.path("deliveries"), 0);
    loop {
        let page = browser.page(&path).await;
        seen += page.matches("<th scope=\"row\">").count();
        if !page.contains("rel=\"next\"") {
            break;
        }
        path = older(&page);
    }
    assert_eq!(seen, 451, "each once");
    assert_eq!(browser.get(&desk.path("deliveries?cursor=x")).await.status, 400);
}

/// Where a list goes on.
fn older(page: &str) -> String {
    let older = browser::between(page, "href=\"/dashboard", "\" rel=\"next\"");
    older.rsplit("href=\"/dashboard").next().unwrap_or(older).replace("&#38;", "&")
}

#[tokio::test]
async fn a_span_is_replayed_with_progress_and_mistakes_stand_at_their_fields() {
    let desk = Desk::new(&["after_message"], Value::Null).await;
    desk.send("one").await;
    desk.send("two").await;
    // What still waits is no replay's to make.
    let _sent = [desk.endpoint.next().await, desk.endpoint.next().await];
    desk.server.settled().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    let all = desk.path("webhooks/audit/replays");
    browser.page(&all).await;
    let wrong = browser.submit(&all, &[("since", "soon"), ("triggers", "after_message")]).await;
    assert_eq!(wrong.status, 422);
    assert!(text(&wrong).contains("Must be a time such as"), "{}", text(&wrong));
    let backwards =
        [("since", "2025-01-02T00:00"), ("until", "2025-01-01T00:00"), ("triggers", "after_message")];
    assert!(text(&browser.submit(&all, &backwards).await).contains("Must be later than"));
    let ahead = [("since", "2090-01-01T00:00"), ("triggers", "after_message")];
    assert!(text(&browser.submit(&all, &ahead).await).contains("Is in the future"));
    let job = browser.follow(&all, &[("since", "2001-01-01T00:00"), ("triggers", "after_message")]).await;
    assert!(job.contains("Replay 1"), "{job}");
    until("the replay is done", async || {
        browser.page(&format!("{all}/1")).await.contains("<dt>Deliveries made</dt><dd>2</dd>")
    })
    .await;
    let repeats: Vec<Received> = vec![desk.endpoint.next().await, desk.endpoint.next().await];
    assert_eq!(repeats.len(), 2);
    desk.server.settled().await;
    assert!(browser.page(&desk.path("deliveries")).await.contains(">replay<"));
}

#[tokio::test]
async fn a_message_tells_what_happened_to_it_and_why_a_webhook_got_nothing() {
    let desk = Desk::new(&["after_message"], Value::Null).await;
    let gate = Endpoint::start().await;
    desk.server.webhook(&desk.app, "gate", &gate, &["before_message"], Value::Null).await;
    desk.server.webhook(&desk.app, "receipts", &gate, &["message_read_receipt"], Value::Null).await;
    gate.answer([
        Answer::json(&json!({"lang": "en"})),
        Answer::json(&json!({"action": "do_not_propagate", "reason": "spam <i>"})),
    ]);
    let id = desk.send("hello").await["id"].as_str().expect("an id").to_owned();
    desk.app.send_as("ana", text_to("ben", "bad")).await.refused(403, "ERR_BLOCKED_BY_WEBHOOK");
    desk.endpoint.next().await;
    desk.server.settled().await;
    let mut browser = Browser::logged_in(&desk.server).await;
    until("the calls are logged", async || {
        browser.page(&desk.path("before-message")).await.matches("<td class=\"exact\">").count() == 2
    })
    .await;
    let calls = browser.page(&desk.path("before-message?webhook=gate")).await;
    assert!(calls.contains("dropped: spam &#60;i&#62;") && calls.contains("added lang"), "{calls}");
    let dropped = browser.page(&desk.path("before-message?webhook=gate&verdict=drop")).await;
    assert!(!dropped.contains("added lang"), "{dropped}");
    let found = browser.get(&desk.path(&format!("messages?id={id}"))).await;
    assert_eq!(found.headers["location"], *format!("/dashboard{}", desk.path(&format!("messages/{id}"))));
    let page = browser.page(&desk.path(&format!("messages/{id}"))).await;
    for told in [
        "before_message asked gate: added lang",
        "accepted from ana",
        "attempt 1 at audit (1): 200",
        "Asked before the message was stored: added lang, in",
        "It did not listen to this trigger at that time.",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert_eq!(page.matches("It did not listen").count(), 1, "one that was asked did: {page}");
    for path in ["webhooks/audit", "webhooks/gate", "people/ana", "people/ben", "conversations/ana_user_ben"]
    {
        assert!(page.contains(&format!("href=\"/dashboard{}\"", desk.path(path))), "{path}: {page}");
    }
    assert!(browser.page(&desk.path("messages")).await.contains(&format!("/messages/{id}\"")));
    assert_eq!(browser.get(&desk.path("messages/999999")).await.status, 404);
}

#[tokio::test]
async fn pages_of_another_app_show_nothing_of_this_one() {
    let desk = Desk::new(&["after_message"], Value::Null).await;
    let id = desk.send("hello").await["id"].as_str().expect("an id").to_owned();
    desk.server.settled().await;
    let other = desk.server.app().await;
    let browser = Browser::logged_in(&desk.server).await;
    for path in [
        "webhooks/audit/deliveries/1",
        "webhooks/audit/replays",
        &format!("messages/{id}"),
        "before-message?webhook=audit",
    ] {
        let reply = browser.get(&format!("/apps/{}/{path}", other.id)).await;
        assert_eq!(reply.status, 404, "{path}: {}", text(&reply));
    }
}
