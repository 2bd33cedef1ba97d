//! Deliveries through the store's port: who is owed what, under which number, and how it ends.

use std::sync::{Arc, Mutex};

use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::app::{App, Settings};
use chathook_domain::delivery::{Owed, Settlement};
use chathook_domain::event::Origin;
use chathook_domain::ids::{AppId, EventId, LaneKey, LaneKind, MessageId, StartId, Time, Uid, WebhookId};
use chathook_domain::message::{Accepted, Change, ChangeKind, Draft};
use chathook_domain::outcome::{Failure, Outcome};
use chathook_domain::refusal::Code;
use chathook_domain::trigger::Trigger;
use chathook_domain::user::{Profile, User};
use chathook_domain::webhook::{Webhook, WebhookDraft};
use chathook_engine::ports::endpoints::Phases;
use chathook_engine::ports::history::{HistoryStore as _, Hurried};
use chathook_engine::ports::store::{
    AppStore as _, Committed, ConnectionStore as _, DeliveryStore as _, LineOf, MessageStore as _,
    NoticeKind, Offers, Settled, StoreError, Stored, SwitchOff, SwitchedOff, Told, UserStore as _,
    WebhookStore as _,
};
use serde_json::json;

const AT: Time = Time::from_ms(1_700_000_000_000);
const LANE: &str = "alice_user_bob";

#[derive(Default)]
struct Offered {
    owed: Mutex<Vec<Owed>>,
    changed: Mutex<Vec<i64>>,
}

impl Offers for Offered {
    fn offer(&self, owed: Vec<Owed>) {
        self.owed.lock().expect("no test panics while it holds this").extend(owed);
    }

    fn changed(&self, webhook_row: i64) {
        self.changed.lock().expect("no test panics while it holds this").push(webhook_row);
    }
}

struct House {
    store: Sqlite,
    offered: Arc<Offered>,
    app: App,
    start: StartId,
    dir: tempfile::TempDir,
}

/// An app with alice, bob and carol, in a start of its own, and no webhook.
async fn house(options: Options) -> House {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let offered = Arc::new(Offered::default());
    let offers: Arc<dyn Offers> = Arc::clone(&offered) as _;
    let store = Sqlite::open(dir.path(), Arc::new(Vault::from_key([7; 32])), offers, options);
    let store = store.expect("the store opens");
    let app = App {
        id: AppId::trusted("app1"),
        name: "One".to_owned(),
        region: "us".to_owned(),
        settings: Settings::default(),
        created_at: AT,
    };
    store.create_app(app.clone(), Vec::new(), None).await.expect("the app is made");
    for uid in ["alice", "bob", "carol"] {
        store.create_user(&app.id, user(uid), None).await.expect("the user is made");
    }
    let start = StartId::trusted("start1");
    store.begin_start(&start, AT).await.expect("the start begins");
    House { store, offered, app, start, dir }
}

fn user(uid: &str) -> User {
    let profile = Profile { name: uid.to_owned(), ..Profile::default() };
    User { uid: Uid::trusted(uid), profile, ..User::system() }
}

impl House {
    async fn hook(&self, id: &str) -> Webhook {
        let body = json!({"id": id, "name": "Hook", "webhookURL": "https://example.com/hook"});
        let draft = WebhookDraft::parse(&body).expect("the draft is fit");
        let hook = self.store.create_webhook(&self.app.id, draft, vec![1; 32], AT).await;
        let hook = hook.expect("the webhook is made");
        let triggers = vec![Trigger::AfterMessage];
        self.store.add_triggers(&self.app.id, &hook.id, triggers).await.expect("the trigger is added")
    }

    async fn try_to_send(&self, receiver: &str) -> Stored<Committed> {
        let body = json!({"receiver": receiver, "receiverType": "user", "data": {"text": "hello"}});
        let accepted = Accepted {
            sender: user("alice"),
            draft: Draft::parse(&body).expect("the draft is fit"),
            receiver_entity: user(receiver).to_entity(),
            at: AT,
            event_id: event_id(),
        };
        self.store.commit_message(&self.app, accepted, Origin::Rest, Told::nobody()).await
    }

    /// Alice writes to bob; what that owes.
    async fn send(&self) -> Vec<Owed> {
        let before = self.owed().len();
        self.try_to_send("bob").await.expect("the message is stored");
        self.owed().split_off(before)
    }

    fn owed(&self) -> Vec<Owed> {
        self.offered.owed.lock().expect("no test panics while it holds this").clone()
    }

    async fn try_to_delete(&self, id: MessageId) -> Stored<Committed> {
        let change = Change { kind: ChangeKind::Delete, by: user("alice"), at: AT, event_id: event_id() };
        self.store.change_message(&self.app, id, change, Origin::Rest, Told::nobody()).await
    }

    async fn settle(&self, owed: &[&Owed], settlement: Settlement) -> i64 {
        let batch = owed.iter().map(|owed| settled(owed, settlement)).collect();
        let numbers = self.store.settle(&self.start, batch).await.expect("settled");
        assert_eq!(numbers.len(), 1, "all are of one webhook");
        numbers[0].1
    }

    /// What a query of a second hand on the file answers, one row a line.
    fn ask(&self, sql: &str) -> Vec<String> {
        let db = rusqlite::Connection::open(self.dir.path().join("chathook.db")).expect("a second hand");
        let mut query = db.prepare(sql).expect("the query is fit");
        let rows = query.query_map([], |row| row.get(0)).expect("the rows are read");
        rows.map(|row| row.expect("the row is text")).collect()
    }

    /// Deletes the app with all that is its own, and makes it again.
    async fn remake_app(&self) {
        self.store.delete_app(&self.app.id, AT).await.expect("deleted");
        for table in ["stream", "waiting", "ended", "attempt", "event WHERE app = 'app1'"] {
            assert!(self.ask(&format!("SELECT 'left' FROM {table}")).is_empty(), "{table}");
        }
        self.store.create_app(self.app.clone(), Vec::new(), None).await.expect("made again");
        for uid in ["alice", "bob"] {
            self.store.create_user(&self.app.id, user(uid), None).await.expect("the user is made");
        }
    }

    async fn disable(&self, hook: &WebhookId, is_enabled: bool) {
        let mut config =
            self.store.webhook(&self.app.id, hook).await.expect("the store reads").expect("there").config;
        config.enabled = is_enabled;
        let set = self.store.set_config(&self.app.id, hook, config, SwitchedOff::Clear, AT).await;
        set.expect("the webhook is changed");
    }
}

fn event_id() -> EventId {
    EventId::trusted(&format!("evt_{}", uuid::Uuid::now_v7().simple()))
}

fn settled(owed: &Owed, settlement: Settlement) -> Settled {
    Settled {
        stream: owed.stream,
        sequence: owed.sequence,
        webhook_row: owed.webhook_row,
        attempt: owed.attempts + 1,
        outcome: Outcome::Failed(Failure::Timeout),
        phases: Phases::default(),
        address: None,
        settlement,
        started_at: AT,
    }
}

fn waits(due: Time) -> Settlement {
    Settlement::Waits { due, steps: 1, first_failed_at: AT, is_aside: false }
}

fn aside(due: Time) -> Settlement {
    Settlement::Waits { due, steps: 1, first_failed_at: AT, is_aside: true }
}

#[tokio::test]
async fn a_stale_start_writes_nothing_any_more() {
    let house = house(Options::default()).await;
    house.hook("hook").await;
    let owed = house.send().await.remove(0);
    house.store.begin_start(&StartId::trusted("start2"), AT).await.expect("the next start begins");
    let (store, start, row) = (&house.store, &house.start, owed.webhook_row);
    let refused = [
        store.settle(start, vec![settled(&owed, Settlement::Delivered)]).await.map(drop),
        store.step_aside(start, owed.stream, vec![owed.sequence]).await,
        store.set_failing_since(start, row, Some(AT)).await,
        store.switch_off(start, row, SwitchOff::Gone, AT).await,
        store.notify(start, row, NoticeKind::Failing, "It fails.".to_owned(), AT).await,
    ];
    for refused in refused {
        let is_refused =
            matches!(&refused, Err(StoreError::Refused(refusal)) if refusal.code == Code::StartSuperseded);
        assert!(is_refused, "{refused:?}");
    }
    let target = store.target(row).await.expect("the store reads").expect("there");
    assert!(target.webhook.is_on() && target.failing_since.is_none());
    assert!(house.ask("SELECT text FROM notice").is_empty());
    let of = LineOf { webhook_row: owed.webhook_row, stream: owed.stream };
    let lanes = house.store.waiting_lanes(of, LaneKind::Live, None, 10).await.expect("the store reads");
    let names: Vec<&str> = lanes.iter().map(|part| part.lane.as_str()).collect();
    assert_eq!(names, [LANE], "it still waits, and in its lane");
}

#[tokio::test]
async fn a_delivery_cancelled_meanwhile_stays_cancelled_and_keeps_its_attempt() {
    let house = house(Options::default()).await;
    let hook = house.hook("hook").await;
    let owed = house.send().await.remove(0);
    house.store.delete_webhook(&house.app.id, &hook.id, AT).await.expect("deleted");
    for settlement in [Settlement::Delivered, waits(AT)] {
        assert_eq!(house.settle(&[&owed], settlement).await, 1);
    }
    assert_eq!(house.ask("SELECT status FROM ended"), ["cancelled"]);
    assert_eq!(house.ask("SELECT outcome FROM attempt"), ["timeout"]);
    assert!(house.ask("SELECT lane FROM waiting").is_empty());
}

#[tokio::test]
async fn what_waits_is_counted_whatever_becomes_of_it() {
    let house = house(Options::default()).await;
    let hook = house.hook("hook").await;
    let counted = |expected: &str| {
        let sql = "SELECT s.waiting_count || ' ' || count(w.stream) FROM stream s
                   LEFT JOIN waiting w ON w.stream = s.row GROUP BY s.row";
        assert_eq!(house.ask(sql), [format!("{expected} {expected}")]);
    };
    for _ in 0..5 {
        house.send().await;
    }
    counted("5");
    let owed = house.owed();
    house.settle(&[&owed[0]], waits(AT)).await;
    counted("5");
    for _ in 0..2 {
        house.settle(&[&owed[0], &owed[1]], Settlement::Delivered).await;
        counted("3");
    }
    house.settle(&[&owed[2]], Settlement::Failed).await;
    let again = house.store.hurry_delivery(&house.app.id, &hook.id, owed[2].sequence, AT).await;
    assert!(matches!(again, Ok(Hurried::Again { .. })), "{again:?}");
    counted("3");
    house.store.cancel_delivery(&house.app.id, &hook.id, owed[3].sequence, AT).await.expect("cancelled");
    counted("2");
    house.store.delete_webhook(&house.app.id, &hook.id, AT).await.expect("deleted");
    counted("0");
}

#[tokio::test]
async fn the_settled_number_moves_only_over_ended_numbers() {
    let house = house(Options::default()).await;
    house.hook("hook").await;
    for _ in 0..5 {
        house.send().await;
    }
    let owed = house.owed();
    let of = |numbers: &[usize]| numbers.iter().map(|n| &owed[n - 1]).collect::<Vec<_>>();
    assert_eq!(house.settle(&of(&[2, 4]), Settlement::Delivered).await, 0);
    assert_eq!(house.settle(&of(&[1]), waits(AT)).await, 0, "a failed attempt ends nothing");
    assert_eq!(house.settle(&of(&[1]), Settlement::Failed).await, 2);
    assert_eq!(house.settle(&of(&[5]), Settlement::Delivered).await, 2);
    assert_eq!(house.settle(&of(&[3]), Settlement::Delivered).await, 5);
    let target = house.store.target(owed[0].webhook_row).await.expect("the store reads").expect("there");
    assert_eq!(target.settled, 5);
    assert_eq!(house.ask("SELECT waiting_bytes || '' FROM stream"), ["0"], "nothing waits");
}

#[tokio::test]
async fn what_is_due_comes_by_lane_or_aside_in_the_order_of_its_times() {
    let house = house(Options::default()).await;
    let hook = house.hook("hook").await;
    house.send().await;
    house.send().await;
    house.try_to_send("carol").await.expect("the message is stored");
    house.send().await;
    house.send().await;
    let owed = house.owed();
    house.settle(&[&owed[0]], waits(AT.plus_ms(20))).await;
    house.settle(&[&owed[2]], waits(AT.plus_ms(10))).await;
    house.settle(&[&owed[1]], aside(AT.plus_ms(15))).await;
    house.settle(&[&owed[3]], aside(AT.plus_ms(5))).await;
    house.settle(&[&owed[4]], aside(AT.plus_ms(900))).await;
    let of = LineOf { webhook_row: hook.row, stream: owed[0].stream };
    let due = house.store.asides(of, AT.plus_ms(20), 10).await.expect("the store reads");
    let sequences: Vec<i64> = due.owed.iter().map(|owed| owed.sequence).collect();
    assert_eq!(sequences, [4, 2]);
    assert_eq!(due.next.map(|next| (next.sequence, next.due)), Some((5, Some(AT.plus_ms(900)))));
    let first = &due.owed[0];
    assert_eq!((first.attempts, first.steps, first.due), (1, 1, Some(AT.plus_ms(5))));
    assert_eq!((first.first_failed_at, first.is_aside), (Some(AT), true));

    let waiting = house.store.waiting_of_lane(of, &LaneKey::trusted(LANE), 0).await;
    let sequences: Vec<i64> =
        waiting.expect("the store reads").owed.iter().map(|owed| owed.sequence).collect();
    assert_eq!(sequences, [1], "what has left its lane is not in it");
    let due = house.store.asides(of, AT.plus_ms(20), 1).await.expect("the store reads");
    assert_eq!(due.owed.len(), 1, "the limit holds");
    assert_eq!(due.next.map(|next| next.sequence), Some(2), "the first after those asked for");
}

#[tokio::test]
async fn a_refused_change_leaves_no_hole_in_the_numbers() {
    let house = house(Options::default()).await;
    house.hook("hook").await;
    let first = house.try_to_send("bob").await.expect("the message is stored");
    let deletion = house.try_to_delete(first.message.id).await.expect("deleted");
    // This one has taken a number when it finds that it may not.
    let refused = house.try_to_delete(first.message.id).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    let next = house.try_to_send("bob").await.expect("the message is stored");
    assert_eq!(next.message.id.0, deletion.message.id.0 + 1);
    assert_eq!(next.cursor, deletion.cursor + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_have_no_gap_however_many_write_and_are_refused_at_once() {
    const WRITERS: usize = 64;
    let house = Arc::new(house(Options::default()).await);
    house.hook("hook").await;
    let gone = house.try_to_send("bob").await.expect("the message is stored").message.id;
    house.try_to_delete(gone).await.expect("deleted");
    let mut writers = Vec::new();
    for nth in 0..WRITERS {
        let house = Arc::clone(&house);
        writers.push(tokio::spawn(async move {
            for _ in 0..6 {
                let result = match nth % 6 {
                    0 => house.try_to_delete(gone).await,
                    1 => house.try_to_send("nobody").await,
                    _ => house.try_to_send("bob").await,
                };
                let is_refused = matches!(result, Err(StoreError::Refused(_)));
                assert_eq!(is_refused, nth % 6 < 2, "{result:?}");
            }
        }));
    }
    for writer in writers {
        writer.await.expect("the writer ends");
    }
    for sql in ["SELECT id || '' FROM message ORDER BY id", "SELECT n || '' FROM record ORDER BY n"] {
        let numbers = house.ask(sql);
        let gapless: Vec<String> = (1..=numbers.len()).map(|n| n.to_string()).collect();
        assert_eq!(numbers, gapless, "{sql}");
    }
    let sequences: Vec<i64> = house.owed().iter().map(|owed| owed.sequence).collect();
    let last = i64::try_from(sequences.len()).expect("a small number");
    assert!(last > 200);
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
    assert_eq!(house.ask("SELECT last || '' FROM stream"), [last.to_string()]);
}

#[tokio::test]
async fn a_webhook_made_again_goes_on_from_its_last_number() {
    let house = house(Options::default()).await;
    let hook = house.hook("hook").await;
    for _ in 0..3 {
        house.send().await;
    }
    house.store.delete_webhook(&house.app.id, &hook.id, AT).await.expect("deleted");
    assert_eq!(house.ask("SELECT last || ' ' || settled FROM stream"), ["3 3"], "the numbers stay");
    assert!(house.send().await.is_empty());
    let again = house.hook("hook").await;
    assert_ne!(again.row, hook.row);
    let owed = house.send().await.remove(0);
    assert_eq!((owed.sequence, owed.webhook_row), (4, again.row));
    assert_eq!(house.settle(&[&owed], Settlement::Delivered).await, 4, "what was cancelled is settled");
}

#[tokio::test]
async fn too_much_that_waits_switches_off_says_so_and_loses_nothing() {
    let room = house(Options::default()).await;
    room.hook("slow").await;
    let body = i64::try_from(room.send().await[0].body.len()).expect("a small number");
    let house = house(Options { backlog_bytes_max: 3 * body }).await;
    let (slow, fast) = (house.hook("slow").await, house.hook("fast").await);
    for _ in 0..4 {
        for owed in house.send().await.iter().filter(|owed| owed.webhook_row == fast.row) {
            house.settle(&[owed], Settlement::Delivered).await;
        }
    }
    let of = |row| house.owed().iter().filter(|owed| owed.webhook_row == row).count();
    assert_eq!((of(slow.row), of(fast.row)), (3, 4));
    assert_eq!(*house.offered.changed.lock().expect("no test panics while it holds this"), [slow.row]);
    let target = house.store.target(slow.row).await.expect("the store reads").expect("there");
    assert_eq!(target.webhook.switched_off.as_deref(), Some("backlog"));
    assert_eq!(house.ask("SELECT webhook || ' ' || kind FROM notice"), ["slow switched_off"]);
    assert_eq!(house.ask("SELECT off_since || '' FROM webhook WHERE id = 'slow'"), [AT.ms.to_string()]);
    assert_eq!(house.ask("SELECT passed_over FROM event ORDER BY row DESC LIMIT 1"), ["slow:switched_off"]);
    let of = LineOf { webhook_row: slow.row, stream: target.stream };
    let waiting = house.store.waiting_of_lane(of, &LaneKey::trusted(LANE), 0).await;
    assert_eq!(waiting.expect("the store reads").owed.len(), 3, "what was owed before still waits");
}

#[tokio::test]
async fn an_event_says_who_was_owed_nothing_and_why() {
    let house = house(Options::default()).await;
    let (off, deaf) = (house.hook("off").await, house.hook("deaf").await);
    let on = house.hook("on").await;
    house.send().await;
    house.disable(&off.id, false).await;
    let triggers = vec![Trigger::AfterMessage];
    house.store.remove_triggers(&house.app.id, &deaf.id, triggers).await.expect("removed");
    let owed = house.send().await;
    assert_eq!(owed.iter().map(|owed| owed.webhook_row).collect::<Vec<_>>(), [on.row]);
    let kept = house.ask("SELECT owed || ' but ' || passed_over FROM event ORDER BY row DESC LIMIT 1");
    assert_eq!(kept, [format!("{}:2 but off:disabled deaf:no_trigger", owed[0].stream)]);
}

#[tokio::test]
async fn every_change_of_a_webhook_counts_from_the_next_event_on() {
    let house = house(Options::default()).await;
    assert_eq!(house.send().await.len(), 0);
    let hook = house.hook("hook").await;
    assert_eq!(house.send().await.len(), 1, "made");
    house.disable(&hook.id, false).await;
    assert_eq!(house.send().await.len(), 0, "disabled");
    house.disable(&hook.id, true).await;
    assert_eq!(house.send().await.len(), 1, "enabled");
    let triggers = || vec![Trigger::AfterMessage];
    house.store.remove_triggers(&house.app.id, &hook.id, triggers()).await.expect("removed");
    assert_eq!(house.send().await.len(), 0, "no trigger");
    house.store.add_triggers(&house.app.id, &hook.id, triggers()).await.expect("added");
    assert_eq!(house.send().await.len(), 1, "its trigger again");
    house.store.delete_webhook(&house.app.id, &hook.id, AT).await.expect("deleted");
    assert_eq!(house.send().await.len(), 0, "deleted");
}

#[tokio::test]
async fn an_app_made_again_starts_with_fresh_numbers() {
    let house = house(Options::default()).await;
    house.hook("hook").await;
    let ended = house.send().await.remove(0);
    house.settle(&[&ended], Settlement::Delivered).await;
    house.send().await;
    house.remake_app().await;
    house.hook("hook").await;
    assert_eq!(house.send().await[0].sequence, 1);
    assert_eq!(house.ask("SELECT last || '' FROM counter"), ["1"]);
}

#[tokio::test]
async fn an_attempt_for_an_app_that_is_gone_ends_nothing_of_the_next() {
    let house = house(Options::default()).await;
    house.hook("hook").await;
    let late = house.send().await.remove(0);
    house.remake_app().await;
    house.hook("hook").await;
    let fresh = house.send().await.remove(0);
    assert_eq!(late.sequence, fresh.sequence);
    let batch = vec![settled(&late, Settlement::Delivered)];
    house.store.settle(&house.start, batch).await.expect("settled");
    assert_eq!(house.ask("SELECT lane FROM waiting"), [LANE], "what was never sent still waits");
    assert!(house.ask("SELECT outcome FROM attempt").is_empty());
}
