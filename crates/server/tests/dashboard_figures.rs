//! The overview, the health of an endpoint, people and conversations, as a browser without scripts gets them.

mod support;

use support::browser::{Browser, between, text};
use support::post::Post;
use support::*;

#[tokio::test]
async fn the_overview_draws_what_was_counted_and_names_who_needs_a_person_first() {
    let post = Post::new().await;
    let mut browser = Browser::logged_in(&post.server).await;
    let overview = format!("/apps/{}/overview", post.app.id);
    let quiet = browser.page(&overview).await;
    assert!(quiet.contains("Nothing needs a person"), "{quiet}");
    assert!(quiet.contains("Nothing was sent in this span"), "{quiet}");
    post.send("ben", "hello").await;
    post.next().await;
    post.endpoint.answer([Answer::status(410)]);
    post.send("ben", "hello").await;
    post.next().await;
    post.is_idle().await;
    let html = browser.page(&overview).await;
    let needs = between(&html, "id=\"needs-title\"", "</section>");
    assert!(needs.contains("the endpoint answered 410 Gone"), "{needs}");
    assert!(needs.contains(&format!("/apps/{}/webhooks/audit/health", post.app.id)), "{needs}");
    assert!(html.find("needs-title").expect("needs") < html.find("<svg").expect("a plot"));
    assert!(html.contains("2 messages and 1 deliveries; per minute."), "{html}");
    assert!(html.contains("2 attempts, 1 of them failed"), "{html}");
    assert!(!html.contains("style="), "the policy allows no style inside a page");
    let day = browser.page(&format!("{overview}?span=day")).await;
    assert!(day.contains("2 messages and 1 deliveries"), "{day}");
}

#[tokio::test]
async fn what_ended_unsent_or_waits_long_stands_out_among_the_figures() {
    let post = Post::with(json!({"retryOnFailure": false})).await;
    let mut browser = Browser::logged_in(&post.server).await;
    let root = format!("/apps/{}", post.app.id);
    let (overview, health) = (format!("{root}/overview"), format!("{root}/webhooks/audit/health"));
    for page in [&overview, &health] {
        assert!(!browser.page(page).await.contains("tile bad"), "nothing has gone wrong: {page}");
    }
    post.endpoint.otherwise(Answer::status(500));
    post.send("ben", "never to arrive").await;
    post.next().await;
    post.is_idle().await;
    let html = browser.page(&overview).await;
    let tile = between(&html, "<div class=\"tile bad\"><dt>Attempts that succeeded</dt>", "</div>");
    assert!(tile.contains("1 ended unsent in the last hour"), "{tile}");
    let html = browser.page(&health).await;
    let tile = between(&html, "<div class=\"tile bad\"><dt>Delivered</dt>", "</div>");
    assert!(tile.contains("1 ended unsent"), "{tile}");
    assert!(html.contains("<div class=\"tile bad\"><dt>Success rate</dt>"), "{html}");

    post.change(json!({"retryOnFailure": true})).await;
    post.send("ben", "to wait").await;
    post.next().await;
    post.is_idle().await;
    let waits = "<div class=\"tile bad\"><dt>Waiting</dt>";
    assert!(!browser.page(&health).await.contains(waits), "it has waited for no time yet");
    post.server.advance(3_600);
    assert!(browser.page(&health).await.contains(waits), "it has waited for an hour");
}

#[tokio::test]
async fn an_app_without_a_webhook_is_told_what_to_do_next() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let mut browser = Browser::logged_in(&server).await;
    let html = browser.page(&format!("/apps/{}/overview", app.id)).await;
    assert!(html.contains("This app has no webhook yet"), "{html}");
}

#[tokio::test]
async fn the_health_of_an_endpoint_shows_causes_circuit_and_history() {
    let post = Post::with(json!({"patienceSeconds": 0})).await;
    let mut browser = Browser::logged_in(&post.server).await;
    let path = format!("/apps/{}/webhooks/audit/health", post.app.id);
    assert!(browser.page(&path).await.contains("No attempt was made in this span"));
    post.endpoint.otherwise(Answer::status(503));
    for _ in 0..10 {
        post.send("ben", "one").await;
        post.next().await;
    }
    post.is_idle().await;
    let html = browser.page(&path).await;
    let causes = between(&html, "id=\"causes-title\"", "</section>");
    assert!(causes.contains("5xx") && causes.contains(">10<"), "{causes}");
    let circuit = between(&html, "id=\"circuit-title\"", "</section>");
    assert!(circuit.contains("badge bad\">open") && circuit.contains("Next attempt"), "{circuit}");
    let turns = between(&html, "id=\"turns-title\"", "</section>");
    assert!(turns.contains("opened") && turns.contains("503"), "{turns}");
    assert!(html.contains("Nothing has succeeded for 0 seconds: it answered 503"), "{html}");
    let unknown = browser.get(&format!("/apps/{}/webhooks/nobody/health", post.app.id)).await;
    assert_eq!(unknown.status, 404, "{}", text(&unknown));
}

#[tokio::test]
async fn people_are_found_by_a_part_of_their_name_and_by_being_online() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let ana = Socket::of(&app, "ana").await;
    let mut browser = Browser::logged_in(&server).await;
    let names = |html: &str| -> Vec<String> {
        let links = html.split("/people/").skip(1);
        links.map(|rest| rest.split('"').next().expect("an end").to_owned()).collect()
    };
    let path = format!("/apps/{}/people", app.id);
    assert_eq!(names(&browser.page(&path).await), ["ana", "ben", "chloe", "dev", "emma"]);
    assert_eq!(names(&browser.page(&format!("{path}?search=HLO")).await), ["chloe"]);
    assert_eq!(names(&browser.page(&format!("{path}?online=on")).await), ["ana"]);
    let nobody = browser.page(&format!("{path}?online=on&search=%22%3E%3Cb%3E")).await;
    assert!(nobody.contains("Nobody found") && !nobody.contains("<b>"), "{nobody}");
    let html = browser.page(&format!("{path}/ana")).await;
    let devices = between(&html, "id=\"devices-title\"", "</section>");
    assert!(devices.contains("web"), "{devices}");
    assert!(html.contains("The first message that they send or get makes one."), "{html}");
    assert_eq!(browser.get(&format!("{path}/nobody")).await.status, 404);
    drop(ana);
    app.call("DELETE", "/users/emma", json!({"permanent": false})).await.data();
    let gone = browser.page(&format!("{path}?search=emma")).await;
    assert!(gone.contains(">deactivated<") && !gone.contains(">offline<"), "{gone}");
}

#[tokio::test]
async fn people_are_walked_page_by_page() {
    let server = TestServer::start().await;
    let app = server.app().await;
    for n in 0..120 {
        let body = json!({"uid": format!("user{n:03}"), "name": format!("User {n}")});
        app.call("POST", "/users", body).await.data();
    }
    let mut browser = Browser::logged_in(&server).await;
    let (mut path, mut seen) = (format!("/apps/{}/people?search=user", app.id), 0);
    loop {
        let html = browser.page(&path).await;
        seen += html.matches("class=\"code\">user").count();
        let Some((before, _)) = html.split_once("rel=\"next\"") else { break };
        let link = before.rsplit_once("href=\"").expect("a link").1.split('"').next().expect("an end");
        path = link.replace("&amp;", "&").replace("&#38;", "&");
        path = path.strip_prefix("/dashboard").expect("a page of the dashboard").to_owned();
    }
    assert_eq!(seen, 120);
}

#[tokio::test]
async fn messages_are_walked_to_the_last_of_them_and_no_further() {
    let server = TestServer::start().await;
    let app = server.app().await;
    for n in 0..50 {
        app.send_as("ana", text_to("ben", &format!("message {n}"))).await.data();
    }
    let mut browser = Browser::logged_in(&server).await;
    let lists = ["messages", "conversations/ana_user_ben"].map(|path| format!("/apps/{}/{path}", app.id));
    for path in &lists {
        let html = browser.page(path).await;
        assert_eq!(html.matches("<th scope=\"row\">").count(), 50, "{html}");
        assert!(!html.contains("rel=\"next\""), "nothing is older: {html}");
    }
    // So large that fewer than a page of them are read at once.
    let large = json!({"filler": "\u{1F33B}".repeat(60_000)});
    let body = json!({"receiver": "ben", "receiverType": "user", "data": {"text": "x", "metadata": large}});
    for _ in 0..45 {
        app.send_as("ana", body.clone()).await.data();
    }
    for path in &lists {
        let html = browser.page(path).await;
        assert!(html.matches("<th scope=\"row\">").count() < 50, "the page is short: {html}");
        assert!(html.contains("rel=\"next\""), "the older ones are out of reach");
    }
}

#[tokio::test]
async fn conversations_lead_to_their_messages_and_those_to_their_timelines() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let sent = app.send_as("ana", text_to("ben", "lunch <today>?")).await;
    let id = sent.data()["id"].as_str().expect("an id").to_owned();
    let mut browser = Browser::logged_in(&server).await;
    let root = format!("/apps/{}", app.id);
    let all = browser.page(&format!("{root}/conversations")).await;
    assert!(all.contains("ana and ben"), "{all}");
    let of_ben = browser.page(&format!("{root}/people/ben")).await;
    let link = between(&of_ben, "id=\"conversations-title\"", "</section>");
    assert!(link.contains("/conversations/ana_user_ben\">ana<"), "{link}");
    let one = browser.page(&format!("{root}/conversations/ana_user_ben")).await;
    assert!(one.contains(&format!("/messages/{id}\"")) && !one.contains("lunch"), "{one}");
    let found = browser.get(&format!("{root}/messages?id={id}")).await;
    assert_eq!(found.headers["location"], format!("/dashboard{root}/messages/{id}").as_str());
}
