//! What is kept and for how long: retention, what waits at a webhook that is off, deletions that take
//! their time, and a file that does not grow without end.

mod support;

use chathook_engine::ports::clock::Clock as _;
use chathook_engine::upkeep::Upkeep;
use futures_util::future::join_all;
use rusqlite::{Connection, OpenFlags};
use support::*;

const DAY: i64 = 24 * 60 * 60;
/// More than two pieces of a removal touch: the first is made by the deletion, and one by the server's
/// own upkeep when a test lets time pass.
const MANY: usize = 460;
/// Messages that are under way at once.
const SIDE_BY_SIDE: usize = 32;

struct House {
    server: TestServer,
    app: App,
    endpoint: Endpoint,
    /// None while the server is started anew.
    upkeep: Option<Upkeep>,
}

impl House {
    /// An app whose webhook `audit` listens to messages.
    async fn new() -> Self {
        let server = TestServer::start().await;
        let app = server.app().await;
        let endpoint = Endpoint::start().await;
        server.webhook(&app, "audit", &endpoint, &["after_message"], Value::Null).await;
        let upkeep = Some(Upkeep::new(server.engine().clone()));
        let mut house = Self { server, app, endpoint, upkeep };
        house.keep_up().await;
        house
    }

    /// Does all that there is to do at this time.
    async fn keep_up(&mut self) {
        let upkeep = self.upkeep.as_mut().expect("the server runs");
        while upkeep.tick().await.expect("the store works") {}
    }

    async fn send(&self, to: &str, text: &str) {
        self.app.send_as("ana", text_to(to, text)).await.data();
    }

    async fn send_many(&self, body: impl Fn(&str) -> Value, count: usize) {
        let texts: Vec<String> = (0..count).map(|nth| format!("m{nth}")).collect();
        for some in texts.chunks(SIDE_BY_SIDE) {
            let sent = join_all(some.iter().map(|text| self.app.send_as("ana", body(text)))).await;
            for reply in &sent {
                reply.data();
            }
        }
    }

    async fn next(&self) -> Received {
        let request = self.endpoint.next().await;
        self.server.settled().await;
        request
    }

    async fn is_idle(&self) {
        self.server.settled().await;
        assert!(self.endpoint.take_all().is_empty());
    }

    /// Messages to one conversation, whose first the endpoint refuses, so that all wait.
    async fn let_wait(&self, texts: &[&str]) {
        self.endpoint.answer_text(texts[0], Answer::status(500));
        for (nth, text) in texts.iter().enumerate() {
            self.send("ben", text).await;
            if nth == 0 {
                self.next().await;
            }
        }
        assert_eq!(self.count("SELECT count(*) FROM waiting"), i64::try_from(texts.len()).expect("few"));
    }

    async fn set_on(&self, is_on: bool) {
        let path = format!("/apps/{}/webhooks/audit", self.app.id);
        self.server.manage("PUT", &path, json!({"enabled": is_on})).await.data();
    }

    fn count(&self, sql: &str) -> i64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = Connection::open_with_flags(self.server.data_dir().join("chathook.db"), flags);
        db.expect("the database").query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    fn pages(&self) -> Pages {
        let all = self.count("PRAGMA page_count");
        let free = self.count("PRAGMA freelist_count");
        Pages { all, used: all - free }
    }
}

#[derive(Debug)]
struct Pages {
    all: i64,
    used: i64,
}

#[tokio::test]
async fn how_long_an_app_keeps_its_past_is_a_setting() {
    let server = TestServer::start().await;
    let app = server.app().await;
    let path = format!("/apps/{}/settings", app.id);
    let settings = server.manage("GET", &path, Value::Null).await;
    assert_eq!(settings.data()["retention"], json!({"events": 7, "attempts": 7, "messages": null}));
    server.set(&app, json!({"retention": {"messages": 30, "attempts": null}})).await;
    let settings = server.manage("GET", &path, Value::Null).await;
    assert_eq!(settings.data()["retention"], json!({"events": 7, "attempts": null, "messages": 30}));
    for (field, unfit) in [("events", json!(0)), ("messages", json!("soon")), ("receipts", json!(1))] {
        let refused = server.manage("PUT", &path, json!({"retention": {field: unfit}})).await;
        refused.refused_for(400, "ERR_BAD_REQUEST", &format!("retention.{field}"));
    }
}

#[tokio::test]
async fn what_waits_at_a_webhook_that_is_off_expires_after_seven_days() {
    let mut house = House::new().await;
    house.let_wait(&["one", "two", "three"]).await;
    house.set_on(false).await;
    house.server.advance(7 * DAY - 1);
    house.keep_up().await;
    assert_eq!(house.count("SELECT count(*) FROM waiting"), 3);
    house.server.advance(1);
    house.keep_up().await;
    assert_eq!(house.count("SELECT count(*) FROM waiting"), 0);
    assert_eq!(house.count("SELECT count(*) FROM ended WHERE status = 'expired'"), 3);
    house.set_on(true).await;
    house.send("ben", "four").await;
    let next = house.next().await;
    assert_eq!(next.text(), "four");
    assert_eq!((next.number("chathook-sequence"), next.number("chathook-settled")), (4, 3));
    house.is_idle().await;
}

#[tokio::test]
async fn what_waits_keeps_its_event_however_old_and_goes_out_when_the_webhook_is_on_again() {
    let mut house = House::new().await;
    house.server.set(&house.app, json!({"retention": {"events": 1}})).await;
    house.send("ben", "gone").await;
    house.next().await;
    house.let_wait(&["one", "two", "three"]).await;
    house.set_on(false).await;
    house.server.advance(3 * DAY);
    house.keep_up().await;
    assert_eq!(house.count("SELECT count(*) FROM event"), 3);
    assert_eq!(house.count("SELECT count(*) FROM ended"), 0, "the delivery went with its event");
    assert_eq!(house.count("SELECT count(*) FROM attempt WHERE sequence = 1"), 0);
    house.set_on(true).await;
    let texts = [house.next().await, house.next().await, house.next().await].map(|r| r.text().to_owned());
    assert_eq!(texts, ["one", "two", "three"]);
    house.server.settled().await;
    house.keep_up().await;
    assert_eq!(house.count("SELECT max(row) * 10 + count(*) FROM event"), 41, "the newest alone stays");
    house.server.advance(30 * DAY);
    house.keep_up().await;
    house.send("ben", "five").await;
    assert_eq!(house.next().await.number("chathook-sequence"), 5);
    assert_eq!(house.count("SELECT max(row) FROM event"), 5, "no number is given twice");
}

#[tokio::test]
async fn attempts_may_go_before_their_events() {
    let mut house = House::new().await;
    house.server.set(&house.app, json!({"retention": {"attempts": 1}})).await;
    house.send("ben", "old").await;
    house.next().await;
    house.server.advance(2 * DAY);
    house.send("ben", "young").await;
    house.next().await;
    house.keep_up().await;
    assert_eq!(house.count("SELECT count(*) FROM ended"), 2);
    assert_eq!(house.count("SELECT 10 * count(*) + max(sequence) FROM attempt"), 12);
}

#[tokio::test]
async fn old_messages_go_and_a_client_from_before_is_told_to_fetch() {
    let mut house = House::new().await;
    house.server.set(&house.app, json!({"retention": {"messages": 1}})).await;
    let token = house.app.token("ben").await;
    let (_, first) = Socket::log_in(&house.app, &token, "phone").await;
    house.send("ben", "old").await;
    house.app.call_as("ben", "POST", "/users/ana/conversation/read", Value::Null).await.data();
    assert!(house.count("SELECT count(*) FROM record") > 0, "receipts");
    house.send("ben", "as old").await;
    let (_, second) = Socket::log_in(&house.app, &token, "phone").await;
    house.server.advance(2 * DAY);
    house.send("ben", "young").await;
    house.keep_up().await;
    assert_eq!(house.app.texts("ana", "ben").await, ["young"]);
    assert_eq!(house.count("SELECT count(*) FROM record"), 0);
    let after = async |login: &Value| {
        let mut socket = Socket::open(&house.app).await;
        let params =
            json!({"appId": house.app.id, "authToken": token, "deviceId": "phone", "after": login["cursor"]});
        socket.call("login", params).await.expect("logged in")["truncated"] == true
    };
    assert!(after(&first).await, "it missed a message that is gone");
    assert!(!after(&second).await, "it missed nothing that is gone");
}

#[tokio::test]
async fn a_clock_that_jumps_far_ahead_removes_nothing_for_an_hour() {
    let mut house = House::new().await;
    house.send("ben", "kept").await;
    house.next().await;
    house.let_wait(&["one"]).await;
    house.set_on(false).await;
    let before = house.server.clock.now();
    house.server.clock.set_wall(before.plus_ms(400 * DAY * 1_000));
    house.keep_up().await;
    house.server.advance(3_599);
    house.keep_up().await;
    assert_eq!(house.count("SELECT count(*) FROM event"), 2);
    assert_eq!(house.count("SELECT count(*) FROM waiting"), 1);
    house.server.advance(1);
    house.keep_up().await;
    assert_eq!(house.count("SELECT count(*) FROM waiting"), 0, "the clock stays as it is, so it is believed");
    assert_eq!(house.count("SELECT count(*) FROM event"), 1);
}

#[tokio::test]
async fn under_steady_load_the_file_stays_as_large_as_what_is_kept() {
    let mut house = House::new().await;
    let days = json!({"events": 1, "attempts": 1, "messages": 1});
    house.server.set(&house.app, json!({"retention": days})).await;
    let text = "x".repeat(60_000);
    let mut seen = Vec::new();
    // A day with much more than the others leaves room that is given back.
    for messages in [50, 10, 10, 10, 10, 10, 10, 10] {
        house.server.advance(DAY);
        for _ in 0..messages {
            house.send("ben", &text).await;
            house.endpoint.next().await;
        }
        house.server.settled().await;
        house.keep_up().await;
        seen.push(house.pages());
    }
    let (peak, steady, last) = (&seen[1], &seen[3], &seen[7]);
    assert!(last.used <= steady.used + steady.used / 20, "{seen:?}");
    assert!(last.used < peak.used / 2, "what is old is gone: {seen:?}");
    assert!(last.all - last.used <= 1_024.max(last.all / 8), "room is given back: {seen:?}");
}

#[tokio::test]
async fn nothing_of_a_deleted_webhook_goes_out_and_its_numbers_go_on() {
    let house = House::new().await;
    house.let_wait(&["first"]).await;
    house.send_many(|text| text_to("ben", text), MANY - 1).await;
    let path = format!("/apps/{}/webhooks/audit", house.app.id);
    house.server.manage("DELETE", &path, Value::Null).await.data();
    assert!(house.count("SELECT count(*) FROM waiting") > 0, "so many do not end at once");
    house.server.advance(10);
    house.is_idle().await;
    // Before the upkeep has come round to the rest.
    house.server.webhook(&house.app, "audit", &house.endpoint, &["after_message"], Value::Null).await;
    house.send("ben", "new").await;
    let next = house.next().await;
    let many = i64::try_from(MANY).expect("few");
    assert_eq!(next.text(), "new");
    assert_eq!((next.number("chathook-sequence"), next.number("chathook-settled")), (many + 1, many));
    assert_eq!(house.count("SELECT count(*) FROM ended WHERE status = 'cancelled'"), many);
    house.server.advance(10);
    house.is_idle().await;
}

#[tokio::test]
async fn a_deleted_app_is_gone_at_once_and_its_rows_also_after_a_restart() {
    let mut house = House::new().await;
    let other = house.server.app().await;
    house.send_many(|text| text_to("ben", text), MANY).await;
    let newest = house.count("SELECT max(row) FROM event");
    house.server.manage("DELETE", &format!("/apps/{}", house.app.id), Value::Null).await.data();
    assert_eq!(house.app.send_as("ana", text_to("ben", "late")).await.status, 401);
    let gone = house.server.manage("GET", &format!("/apps/{}", house.app.id), Value::Null).await;
    assert_eq!(gone.status, 404);
    assert!(house.count("SELECT count(*) FROM message") > 0, "so many do not go at once");
    house.upkeep = None;
    house.server.restart().await;
    house.upkeep = Some(Upkeep::new(house.server.engine().clone()));
    house.keep_up().await;
    for table in ["message", "record", "waiting", "ended", "attempt", "user", "webhook", "stream", "doomed"] {
        let left = format!("SELECT count(*) FROM \"{table}\" WHERE ifnull(app, '') <> '{}'", other.id);
        let left = match table {
            "waiting" | "ended" | "attempt" => format!("SELECT count(*) FROM {table}"),
            _ => left,
        };
        assert_eq!(house.count(&left), 0, "{table}");
    }
    let other = house.server.moved(&other);
    other.send_as("ana", text_to("ben", "still here")).await.data();
    assert_eq!(house.count("SELECT max(row) FROM event"), newest + 1, "no number is given twice");
}

#[tokio::test]
async fn a_group_with_a_long_history_made_again_starts_empty() {
    let house = House::new().await;
    house.send_many(|text| text_to_group("lounge", text), MANY).await;
    house.app.call("DELETE", "/groups/lounge", Value::Null).await.data();
    assert!(house.count("SELECT count(*) FROM message") > 0, "so many do not go at once");
    let refused = house.app.send_as("ana", text_to_group("lounge", "late")).await;
    assert_eq!(refused.status, 404);
    let group = json!({"guid": "lounge", "name": "Lounge", "type": "public", "owner": "ana"});
    house.app.call("POST", "/groups", group).await.data();
    assert_eq!(house.count("SELECT count(*) FROM message"), 0);
}
