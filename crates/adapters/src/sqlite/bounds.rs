//! What a page or a listing costs does not grow with the store: SQLite's steps for each read are the same in a store
//! that holds twice as much of everything. Steps are the same on every machine, so this is no matter of time.

use std::collections::HashMap;
use std::sync::Mutex;

use chathook_domain::app::{App, Settings};
use chathook_domain::delivery::Status;
use chathook_domain::history::{DeliveryId, Place};
use chathook_domain::ids::{AppId, Key, MessageId, Time, Uid, WebhookId};
use chathook_domain::retention::Cutoffs;
use chathook_domain::tally::Step;
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::WebhookDraft;
use chathook_engine::ports::history::{
    CallFilter, DeliveryFilter, EventsFrom, HistoryStore as _, ReplayStore as _,
};
use chathook_engine::ports::people::{PeopleFilter, PeopleStore as _, Presence};
use chathook_engine::ports::store::{AppStore as _, MessageFilter, MessageStore as _, WebhookStore as _};
use chathook_engine::ports::tallies::TallyStore as _;
use chathook_engine::ports::upkeep::{UpkeepStore as _, Walk};
use rusqlite::StatementStatus;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use serde_json::json;

use super::*;

/// More than any read looks at.
const SIZE: i64 = 10_500;
const AT: Time = Time::from_ms(1_700_000_000_000);

struct Nowhere;

impl Offers for Nowhere {
    fn offer(&self, _: Vec<Owed>) {}
    fn changed(&self, _: i64) {}
}

struct House {
    store: Sqlite,
    app: AppId,
    hook: WebhookId,
    size: i64,
    steps: Vec<(&'static str, i64)>,
    _dir: tempfile::TempDir,
}

/// So many of everything, at two webhooks and in two apps, and few of what one person has.
fn rows(size: i64) -> String {
    let at = AT.ms;
    let many = |table: &str, columns: &str, values: &str| {
        format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {size})
             INSERT INTO {table} ({columns}) SELECT {values} FROM n;"
        )
    };
    let mut sql = String::from("PRAGMA synchronous = OFF; BEGIN IMMEDIATE;");
    let user = |n: &str| format!("printf('u%07d', {n})");
    for app in ["app1", "app2"] {
        let of = |values: &str| format!("'{app}', {values}");
        sql += &many("user", "app, uid, name, created_at", &of(&format!("{}, 'User', {at}", user("n"))));
        let two = format!("printf('c%07d', n), {}, {}", user("n"), user("n + 1"));
        sql += &many("conversation", "app, id, user_a, user_b", &of(&two));
        let event = format!(
            "printf('evt_%012x', {at} + n), 'after_message', 'k' || (n % 9), '{{}}', {at} + n, '1:' || n, ''"
        );
        sql += &many("event", "app, id, trigger, key, body, created_at, owed, passed_over", &of(&event));
        let message = format!(
            "n, printf('c%07d', n), {}, 'user', 'zoe', 'message', 'text', '{{}}', '[]', {at} + n, {at} + n, n",
            user("n")
        );
        let columns = "app, id, conversation, sender, receiver_type, receiver, category, kind, data, tags, sent_at, updated_at, event";
        sql += &many("message", columns, &of(&message));
        let asked = format!("'hook', 'c', 'zoe', 'pass', NULL, 7, {at} + n, printf('evt_%012x', {at} + n)");
        let columns = "app, webhook, conversation, sender, verdict, silence, took_us, at, event";
        sql += &many("asked", columns, &of(&asked));
        let notice = format!("'hook', 'failing', '', {at} + n");
        sql += &many("notice", "app, webhook, kind, text, created_at", &of(&notice));
        let test = format!("'hook', 'after_message', 'evt', '{{}}', '200', '{{}}', {at} + n");
        let columns = "app, webhook, trigger, event_id, body, outcome, attempt, started_at";
        sql += &many("test_delivery", columns, &of(&test));
        let job = format!("'hook', '{{\"delivery\":\"1\"}}', 'done', 1, 1, {at}, {at} + n");
        sql += &many(
            "replay",
            "app, webhook, wanted, status, done_up_to, last, created_at, ended_at",
            &of(&job),
        );
        sql += &many("record", "app, conversation, n, receipt", &of("'c0000001', n, '{}'"));
    }
    for stream in [1, 2] {
        let ended = format!("{stream}, n, 'k' || (n % 9), n, 'delivered', 1, {at} + n, {at} + n");
        let columns = "stream, sequence, lane, event, status, attempts, created_at, ended_at";
        sql += &many("ended", columns, &ended);
        let waiting = format!("{stream}, {size} + n, 'k' || (n % 9), n, 2, {at} + {size} + n");
        sql += &many("waiting", "stream, sequence, lane, event, bytes, created_at", &waiting);
        let attempt = format!("{stream}, n, 1, '500', 7, {at} + n, 1");
        let columns = "stream, sequence, attempt, outcome, total_us, started_at, start";
        sql += &many("attempt", columns, &attempt);
    }
    sql += &format!(
        "UPDATE stream SET last = 2 * {size}, settled = {size}, waiting_count = {size};
         INSERT INTO counter (app, last, first) VALUES ('app1', {size}, 0);
         INSERT INTO grp (app, guid, name, kind, owner, created_at) VALUES ('app1', 'club', '', 'public', 'zoe', 0);
         INSERT INTO member (app, guid, uid, scope, joined_at) VALUES ('app1', 'club', 'zoe', 'admin', 0);
         INSERT INTO user (app, uid, name, created_at) VALUES ('app1', 'zoe', 'Zoe', 0);
         INSERT INTO conversation (app, id, user_a, user_b, guid)
         VALUES ('app1', 'x', 'zoe', 'u0000001', NULL), ('app1', 'y', 'u0000001', 'zoe', NULL),
                ('app1', 'z', NULL, NULL, 'club');
         UPDATE message SET conversation = 'x' WHERE app = 'app1' AND id IN (7, {size} - 1);
         UPDATE record SET conversation = 'x' WHERE app = 'app1' AND n = {size};
         INSERT INTO connection (app, session, uid, device, platform, connected_at, start, token_hash)
         VALUES ('app1', 's', 'zoe', 'd', 'web', 0, '1', x'');
         COMMIT;"
    );
    sql
}

impl House {
    async fn of(size: i64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let vault = Arc::new(Vault::from_key([7; 32]));
        let store = Sqlite::open(dir.path(), vault, Arc::new(Nowhere), Options::default());
        let store = store.expect("the store opens");
        for id in ["app1", "app2"] {
            let (name, region) = ("One".to_owned(), "us".to_owned());
            let settings = Settings::default();
            let app = App { id: AppId::trusted(id), name, region, settings, created_at: AT };
            store.create_app(app, Vec::new(), None).await.expect("the app is made");
        }
        let (app, hook) = (AppId::trusted("app1"), WebhookId::trusted("hook"));
        for id in ["hook", "other"] {
            let body = json!({"id": id, "name": id, "webhookURL": "https://example.com/hook"});
            let draft = WebhookDraft::parse(&body).expect("the draft is fit");
            store.create_webhook(&app, draft, vec![1; 32], AT).await.expect("the webhook is made");
        }
        let db = Connection::open(dir.path().join(DATABASE)).expect("a second hand");
        db.execute_batch(&rows(size)).expect("the rows are made");
        Self { store, app, hook, size, steps: Vec::new(), _dir: dir }
    }

    /// SQLite's steps for one read. Each statement counts its own, from the first time it ran.
    async fn look<T>(&mut self, name: &'static str, read: impl AsyncFnOnce(&Self) -> Stored<T>) -> T {
        let counts = Arc::new(Mutex::new(HashMap::new()));
        let readers = &self.store.readers;
        readers.idle.lock().expect("no one panicked").clear();
        let mut db = readers.take().expect("a connection");
        let kept = Arc::clone(&counts);
        let count = move |event: TraceEvent<'_>| {
            if let TraceEvent::Profile(statement, _) = event {
                let steps = statement.get_status(StatementStatus::VmStep);
                kept.lock().expect("no one panicked").insert(statement.sql().into_owned(), i64::from(steps));
            }
        };
        db.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(count)).expect("it is traced");
        readers.put_back(db);
        let found = read(&*self).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let steps = counts.lock().expect("no one panicked").values().sum();
        self.steps.push((name, steps));
        found
    }

    fn middle(&self) -> i64 {
        self.size / 2
    }

    async fn look_at_deliveries(&mut self) {
        let filter = DeliveryFilter { limit: 50, ..DeliveryFilter::default() };
        let middle = Place { sequence: self.middle(), test: self.middle() };
        let none = [
            ("of a status", DeliveryFilter { status: Some(Status::Cancelled), ..filter.clone() }),
            ("of a trigger", DeliveryFilter { trigger: Some(Trigger::BeforeMessage), ..filter.clone() }),
            ("of a conversation", DeliveryFilter { key: Some(Key::trusted("none")), ..filter.clone() }),
        ];
        for (name, filter) in none {
            let page = self
                .look(name, async |of| of.store.deliveries(&of.app, &of.hook, filter, Place::START).await);
            assert!(page.await.items.is_empty(), "{name}");
        }
        for (name, from) in [("deliveries", Place::START), ("older deliveries", middle)] {
            let filter = filter.clone();
            self.look(name, async |of| of.store.deliveries(&of.app, &of.hook, filter, from).await).await;
        }
        for (name, id) in [
            ("a delivery", DeliveryId::Numbered(self.middle())),
            ("one that waits", DeliveryId::Numbered(self.size + self.middle())),
            ("a test", DeliveryId::Test(self.middle())),
        ] {
            let found = self.look(name, async |of| of.store.delivery(&of.app, &of.hook, id).await).await;
            assert!(found.is_some(), "{name}");
        }
        for (name, from) in
            [("events", EventsFrom::Oldest), ("newer events", EventsFrom::After(self.middle()))]
        {
            self.look(name, async |of| of.store.numbered_events(&of.app, &of.hook, from, 100).await).await;
        }
        self.look("replays", async |of| of.store.replays(&of.app, &of.hook, i64::MAX, 50).await).await;
        self.look("notices", async |of| of.store.notices(&of.app, i64::MAX, 50).await).await;
    }

    async fn look_at_figures(&mut self) {
        for (name, since) in [("figures", AT), ("figures of a minute", AT.plus_ms(2 * self.size))] {
            let figures = self.look(name, async |of| of.store.figures(&of.app, &of.hook, since).await).await;
            assert_eq!(figures.waiting, self.size);
        }
        let standings = self.look("standings", async |of| of.store.standings(&of.app).await).await;
        assert_eq!(standings[0].waiting, self.size.cast_unsigned());
        self.look("who is online", async |of| of.store.online_count(&of.app).await).await;
        for (name, hook) in [("tallies of the app", None), ("tallies", Some(self.hook.clone()))] {
            self.look(name, async |of| of.store.tallies(&of.app, hook.as_ref(), Step::Minute, AT).await)
                .await;
        }
        self.look("turns", async |of| of.store.turns(&of.app, &of.hook, i64::MAX, 50).await).await;
        let calls = CallFilter { limit: 50, ..CallFilter::default() };
        let silent = CallFilter { is_silent: true, ..calls.clone() };
        for (name, filter) in [("calls", calls), ("silent calls", silent)] {
            self.look(name, async |of| of.store.calls(&of.app, &of.hook, filter, i64::MAX).await).await;
        }
    }

    async fn look_at_people(&mut self) {
        let id = MessageId(self.middle());
        let history = self.look("a message", async |of| of.store.message_history(&of.app, id).await).await;
        assert_eq!(history.expect("it is there").asked.len(), 1);
        let conversation = Some(Key::trusted("c0000008"));
        let filter = MessageFilter { conversation, visible_to: None, before: None, after: None, limit: 50 };
        self.look("messages", async |of| of.store.messages(&of.app, filter).await).await;
        let missed = self.look("what a socket missed", async |of| {
            of.store.recorded_after(&of.app, &Uid::trusted("zoe"), 0, 100).await
        });
        let cursors: Vec<i64> = missed.await.lines.iter().map(|line| line.cursor).collect();
        assert_eq!(cursors, [7, self.size - 1, self.size]);
        let any = PeopleFilter { limit: 50, ..PeopleFilter::default() };
        let none = PeopleFilter { search: Some("nobody".to_owned()), ..any.clone() };
        let online = PeopleFilter { presence: Presence::Online, ..any.clone() };
        for (name, filter) in [("people", any), ("people by name", none), ("people online", online)] {
            self.look(name, async |of| of.store.people(&of.app, filter, None).await).await;
        }
        let zoe = Uid::trusted("zoe");
        self.look("devices", async |of| of.store.connections_of(&of.app, &zoe, 100).await).await;
        self.look("conversations", async |of| of.store.conversations(&of.app, None, None, 50).await).await;
        let of_zoe = self.look("conversations of one", async |of| {
            of.store.conversations(&of.app, Some(&zoe), None, 50).await
        });
        let ids: Vec<_> = of_zoe.await.items.into_iter().map(|line| line.id.as_str().to_owned()).collect();
        assert_eq!(ids, ["x", "y", "z"]);
    }

    /// What upkeep looks at every minute, where nothing is old.
    async fn look_at_upkeep(&mut self) {
        let before = Some(AT);
        let cutoffs =
            Cutoffs { now: AT.plus_ms(self.size), events: before, attempts: before, messages: before };
        for (name, walk) in [
            ("old events", Walk::Events { after: None }),
            ("old attempts", Walk::Attempts { stream: 1, after: 0 }),
            ("old messages", Walk::Messages { after: None }),
            ("old receipts", Walk::Receipts { conversation: None }),
        ] {
            self.look(name, async |of| of.store.remove_old(&of.app, walk, cutoffs).await).await;
        }
        self.look("old tallies", async |of| of.store.remove_old_tallies(&of.app, AT).await).await;
        self.look("what is held", async |of| of.store.expire_held(AT, AT).await).await;
        self.look("what is doomed", async |of| of.store.remove_doomed(None).await).await;
    }
}

#[tokio::test]
async fn what_a_read_costs_does_not_grow_with_the_store() {
    let mut costs = Vec::new();
    for size in [SIZE, 2 * SIZE] {
        let mut house = House::of(size).await;
        house.look_at_deliveries().await;
        house.look_at_figures().await;
        house.look_at_people().await;
        house.look_at_upkeep().await;
        costs.push(house.steps);
    }
    for ((name, small), (_, large)) in costs[0].iter().zip(&costs[1]) {
        assert!(*small > 0, "{name}: nothing was read");
        let growth = large - small;
        // What begins anew from time to time costs some hundreds of steps; a walk, one for each row at the least.
        assert!(growth < SIZE / 10, "{name}: {small} steps, and {large} of twice as much");
    }
}
