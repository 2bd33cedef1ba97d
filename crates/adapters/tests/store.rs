//! The embedded store through its port: what is committed together, told once, and refused.

use std::path::Path;
use std::sync::{Arc, Mutex};

use chathook_adapters::sqlite::{OpenError, Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::app::{App, Settings};
use chathook_domain::connection::{Connection, Platform};
use chathook_domain::delivery::{Owed, Settlement};
use chathook_domain::event::Origin;
use chathook_domain::ids::{
    AppId, DeviceId, EventId, Key, LaneKey, LaneKind, SessionId, StartId, Time, Uid, WebhookId,
};
use chathook_domain::message::{Accepted, Change, ChangeKind, Draft, Receiver};
use chathook_domain::outcome::{Failure, Outcome};
use chathook_domain::receipt::{Mark, ReceiptKind};
use chathook_domain::refusal::Code;
use chathook_domain::trigger::Trigger;
use chathook_domain::user::{AuthToken, Profile, User};
use chathook_domain::webhook::WebhookDraft;
use chathook_engine::ports::endpoints::Phases;
use chathook_engine::ports::store::{
    AppStore as _, Asked, Committed, ConnectionStore as _, DeliveryStore as _, Ending, LineOf, MessageFilter,
    MessageStore as _, Offers, Opening, Settled, Store as _, StoreError, Stored, SwitchOff, Told,
    UserStore as _, WebhookStore as _,
};
use serde_json::json;

const AT: Time = Time::from_ms(1_700_000_000_000);

#[derive(Default)]
struct Offered(Mutex<Vec<Owed>>);

impl Offers for Offered {
    fn offer(&self, owed: Vec<Owed>) {
        self.0.lock().expect("no test panics while it holds this").extend(owed);
    }

    fn changed(&self, _: i64) {}
}

impl Offered {
    fn all(&self) -> Vec<Owed> {
        self.0.lock().expect("no test panics while it holds this").clone()
    }
}

struct House {
    store: Sqlite,
    offered: Arc<Offered>,
    app: App,
    dir: tempfile::TempDir,
}

impl House {
    async fn send(&self, accepted: Accepted) -> Stored<Committed> {
        self.store.commit_message(&self.app, accepted, Origin::Rest, Told::nobody()).await
    }
}

fn open(dir: &Path, offered: &Arc<Offered>) -> Result<Sqlite, OpenError> {
    let offers: Arc<dyn Offers> = Arc::clone(offered) as _;
    Sqlite::open(dir, Arc::new(Vault::from_key([7; 32])), offers, Options::default())
}

/// An app with alice and bob, and a webhook `hook` that listens to everything.
async fn house() -> House {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let offered = Arc::new(Offered::default());
    let store = open(dir.path(), &offered).expect("the store opens");
    let app = App {
        id: AppId::trusted("app1"),
        name: "One".to_owned(),
        region: "us".to_owned(),
        settings: Settings::default(),
        created_at: AT,
    };
    store.create_app(app.clone(), Vec::new(), None).await.expect("the app is made");
    for uid in ["alice", "bob"] {
        store.create_user(&app.id, user(uid), Some(token(uid))).await.expect("the user is made");
    }
    let body = json!({"id": "hook", "name": "Hook", "webhookURL": "https://example.com/hook"});
    let draft = WebhookDraft::parse(&body).expect("the draft is fit");
    let hook = store.create_webhook(&app.id, draft, vec![1; 32], AT).await.expect("the webhook is made");
    store.add_triggers(&app.id, &hook.id, Trigger::ALL.to_vec()).await.expect("the triggers are added");
    House { store, offered, app, dir }
}

fn user(uid: &str) -> User {
    let profile = Profile { name: uid.to_owned(), ..Profile::default() };
    User { uid: Uid::trusted(uid), profile, ..User::system() }
}

fn token(uid: &str) -> AuthToken {
    AuthToken { uid: Uid::trusted(uid), token: format!("{uid}_token"), created_at: AT }
}

fn event_id() -> EventId {
    EventId::trusted(&format!("evt_{}", uuid::Uuid::now_v7().simple()))
}

fn accepted(sender: &str, receiver: &str, text: &str, muid: Option<&str>) -> Accepted {
    let body = json!({"receiver": receiver, "receiverType": "user", "data": {"text": text}, "muid": muid});
    Accepted {
        sender: user(sender),
        draft: Draft::parse(&body).expect("the draft is fit"),
        receiver_entity: user(receiver).to_entity(),
        at: AT,
        event_id: event_id(),
    }
}

/// The lanes in which something waits.
async fn lanes_of(house: &House, of: LineOf) -> Vec<LaneKey> {
    let parts = house.store.waiting_lanes(of, LaneKind::Live, None, 10).await.expect("the store reads");
    parts.into_iter().map(|part| part.lane).collect()
}

fn read_by_bob() -> Mark {
    Mark {
        kind: ReceiptKind::Read,
        by: Uid::trusted("bob"),
        receiver: Receiver::User(Uid::trusted("alice")),
        up_to: None,
        at: AT,
        event_ids: [event_id(), event_id()],
    }
}

async fn opening(house: &House, session: &str) -> Opening {
    let owner = house.store.token_owner(&house.app.id, "alice_token").await.expect("the store reads");
    Opening {
        connection: Connection {
            session_id: SessionId::trusted(session),
            uid: Uid::trusted("alice"),
            device_id: DeviceId::trusted("phone"),
            platform: Platform::Web,
            connected_at: AT,
            start: StartId::trusted("start1"),
        },
        token_hash: owner.expect("alice has a token").token_hash,
        at: AT,
        event_ids: [event_id(), event_id()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_offered_in_the_order_of_the_commits_with_gapless_numbers() {
    let house = Arc::new(house().await);
    let mut sends = Vec::new();
    for nth in 0..50 {
        let house = Arc::clone(&house);
        sends.push(tokio::spawn(async move {
            let accepted = accepted("alice", "bob", &format!("message {nth}"), None);
            house.send(accepted).await
        }));
    }
    for send in sends {
        send.await.expect("the task ends").expect("the message is stored");
    }
    let offered = house.offered.all();
    let sequences: Vec<i64> = offered.iter().map(|owed| owed.sequence).collect();
    assert_eq!(sequences, (1..=50).collect::<Vec<_>>());

    let filter = MessageFilter {
        conversation: None,
        visible_to: Some(Uid::trusted("bob")),
        before: None,
        after: None,
        limit: 100,
    };
    let messages = house.store.messages(&house.app.id, filter).await.expect("the store reads");
    assert_eq!(messages.len(), 50);
    for (message, owed) in messages.iter().zip(&offered) {
        assert!(
            owed.body.contains(&format!("\"id\":\"{}\"", message.id)),
            "events follow the order of the ids"
        );
    }
    let Owed { lane, webhook_row, stream, .. } = &offered[0];
    let of = LineOf { webhook_row: *webhook_row, stream: *stream };
    let waiting = house.store.waiting_of_lane(of, lane, 0).await;
    assert_eq!(waiting.expect("the store reads").owed, offered, "what is offered is what waits in the store");
    assert_eq!(lanes_of(&house, of).await, std::slice::from_ref(lane));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_does_not_fail_those_committed_with_it() {
    let house = Arc::new(house().await);
    let mut sends = Vec::new();
    for nth in 0..40 {
        let house = Arc::clone(&house);
        sends.push(tokio::spawn(async move {
            let receiver = if nth % 2 == 0 { "bob" } else { "nobody" };
            let accepted = accepted("alice", receiver, "hello", None);
            (receiver, house.send(accepted).await)
        }));
    }
    for send in sends {
        match send.await.expect("the task ends") {
            ("bob", result) => assert!(result.is_ok()),
            (_, Err(StoreError::Refused(refusal))) => assert_eq!(refusal.code, Code::UidNotFound),
            (_, other) => panic!("expected a refusal, not {other:?}"),
        }
    }
    let sequences: Vec<i64> = house.offered.all().iter().map(|owed| owed.sequence).collect();
    assert_eq!(sequences, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_repeated_muid_is_answered_with_the_message_of_then() {
    let house = house().await;
    let first = house.send(accepted("alice", "bob", "once", Some("m1"))).await;
    let again = house.send(accepted("alice", "bob", "twice", Some("m1"))).await;
    let (first, again) = (first.expect("stored"), again.expect("answered"));
    assert!(!first.is_repeat && again.is_repeat);
    assert_eq!(first.message, again.message);
    assert_eq!(house.offered.all().len(), 1);

    let mut later = accepted("alice", "bob", "a day later", Some("m1"));
    later.at = AT.plus_ms(24 * 60 * 60 * 1_000);
    let later = house.send(later).await.expect("stored");
    assert!(!later.is_repeat);
}

#[tokio::test]
async fn a_mark_is_told_once_and_reading_tells_of_delivery_first() {
    let house = house().await;
    let sent = house.send(accepted("alice", "bob", "hello", None)).await;
    let sent = sent.expect("stored").message;
    let marked =
        house.store.mark(&house.app, read_by_bob(), Origin::Socket, Told::nobody()).await.expect("marked");
    let kinds: Vec<ReceiptKind> = marked.receipts.iter().map(|(receipt, _)| receipt.kind).collect();
    assert_eq!(kinds, [ReceiptKind::Delivered, ReceiptKind::Read]);

    let again =
        house.store.mark(&house.app, read_by_bob(), Origin::Socket, Told::nobody()).await.expect("marked");
    assert!(again.receipts.is_empty());
    assert_eq!(house.offered.all().len(), 3);
    let message =
        house.store.message(&house.app.id, sent.id).await.expect("the store reads").expect("it is there");
    assert_eq!((message.delivered_at, message.read_at), (Some(AT), Some(AT)));

    let missed = house
        .store
        .recorded_after(&house.app.id, &Uid::trusted("alice"), 0, 10)
        .await
        .expect("the store reads");
    let methods: Vec<&str> = missed.lines.iter().map(|line| line.method.as_str()).collect();
    assert_eq!(methods, ["message", "receipt", "receipt"]);
    let others = house
        .store
        .recorded_after(&house.app.id, &Uid::trusted("carol"), 0, 10)
        .await
        .expect("the store reads");
    assert!(others.lines.is_empty(), "a stranger to the conversation hears nothing of it");
}

#[tokio::test]
async fn a_deleted_message_keeps_its_frame_and_cannot_be_changed_again() {
    let house = house().await;
    let sent = house.send(accepted("alice", "bob", "hello", None)).await;
    let id = sent.expect("stored").message.id;
    let change = || Change { kind: ChangeKind::Delete, by: user("alice"), at: AT, event_id: event_id() };
    let deleted = house
        .store
        .change_message(&house.app, id, change(), Origin::Rest, Told::nobody())
        .await
        .expect("deleted");
    assert!(deleted.message.id > id);
    let message =
        house.store.message(&house.app.id, id).await.expect("the store reads").expect("it is there");
    assert!(message.deleted.is_some());
    let again = house.store.change_message(&house.app, id, change(), Origin::Rest, Told::nobody()).await;
    assert!(
        matches!(again, Err(StoreError::Refused(refusal)) if refusal.code == Code::MessageActionNotAllowed)
    );
}

#[tokio::test]
async fn a_connection_ends_once() {
    let house = house().await;
    let first = opening(&house, "s1").await;
    let opened = house.store.open_connection(&house.app, first, Told::nobody()).await.expect("opened");
    assert!(opened.change.changes_status() && opened.replaced.is_empty());
    let second = opening(&house, "s2").await;
    let opened = house.store.open_connection(&house.app, second, Told::nobody()).await.expect("opened");
    assert_eq!(opened.change.connections.len(), 2, "the new one is open before the older ends");
    assert_eq!(opened.replaced.len(), 1);
    assert!(!opened.replaced[0].changes_status());

    let ending = || Ending::Session(SessionId::trusted("s1"));
    let again = house
        .store
        .end_connections(&house.app, ending(), AT, Origin::Socket, Told::nobody())
        .await
        .expect("ended");
    assert!(again.is_empty(), "it was ended when it was replaced");

    let dead = house
        .store
        .end_connections_of_dead_starts(&StartId::trusted("start2"), AT, 10, Told::nobody())
        .await
        .expect("ended");
    assert_eq!(dead.len(), 1);
    assert!(dead[0].1.changes_status());
    let dead = house
        .store
        .end_connections_of_dead_starts(&StartId::trusted("start2"), AT, 10, Told::nobody())
        .await
        .expect("ended");
    assert!(dead.is_empty());
    assert_eq!(house.offered.all().len(), 4);
    let alice = house
        .store
        .user(&house.app.id, &Uid::trusted("alice"))
        .await
        .expect("the store reads")
        .expect("there");
    assert_eq!((alice.is_online, alice.last_active_at), (false, Some(AT)));
}

#[tokio::test]
async fn a_token_that_ended_opens_no_connection() {
    let house = house().await;
    let late = opening(&house, "s1").await;
    let ending = Ending::Token { token_hash: late.token_hash.clone() };
    house
        .store
        .end_connections(&house.app, ending, AT, Origin::Rest, Told::nobody())
        .await
        .expect("logged out");
    let refused = house.store.open_connection(&house.app, late, Told::nobody()).await;
    assert!(matches!(refused, Err(StoreError::Refused(refusal)) if refusal.code == Code::AuthTokenNotFound));
}

#[tokio::test]
async fn the_settled_number_stops_before_the_first_that_waits() {
    let house = house().await;
    for _ in 0..3 {
        house.send(accepted("alice", "bob", "hello", None)).await.expect("stored");
    }
    let owed = house.offered.all();
    let (row, stream, lane) = (owed[0].webhook_row, owed[0].stream, owed[0].lane.clone());
    let settled = |nth: usize, settlement| Settled {
        stream,
        sequence: owed[nth].sequence,
        webhook_row: row,
        attempt: 1,
        outcome: Outcome::Failed(Failure::Timeout),
        phases: Phases::default(),
        address: None,
        settlement,
        started_at: AT,
    };
    let start = StartId::trusted("start1");
    house.store.begin_start(&start, AT).await.expect("the start begins");
    let due = AT.plus_ms(10_000);
    let waits = Settlement::Waits { due, steps: 1, first_failed_at: AT, is_aside: false };
    let batch = vec![settled(0, Settlement::Delivered), settled(1, waits), settled(2, Settlement::Failed)];
    assert_eq!(house.store.settle(&start, batch).await.expect("settled"), [(row, 1)]);
    let of = LineOf { webhook_row: row, stream };
    let waiting = house.store.waiting_of_lane(of, &lane, 0).await.expect("the store reads").owed;
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].sequence, waiting[0].attempts, waiting[0].due), (2, 1, Some(due)));

    let batch = vec![settled(1, Settlement::Delivered)];
    assert_eq!(house.store.settle(&start, batch).await.expect("settled"), [(row, 3)]);
    // An answer that comes when the delivery has ended changes nothing.
    house.store.settle(&start, vec![settled(2, waits)]).await.expect("settled");
    assert!(lanes_of(&house, of).await.is_empty());
}

#[tokio::test]
async fn a_gone_endpoint_is_owed_nothing_new() {
    let house = house().await;
    house.send(accepted("alice", "bob", "hello", None)).await.expect("stored");
    let owed = house.offered.all().remove(0);
    let start = StartId::trusted("start1");
    house.store.begin_start(&start, AT).await.expect("the start begins");
    house.store.switch_off(&start, owed.webhook_row, SwitchOff::Gone, AT).await.expect("switched off");
    house.send(accepted("alice", "bob", "again", None)).await.expect("stored");
    assert_eq!(house.offered.all().len(), 1);
    let target = house.store.target(owed.webhook_row).await.expect("the store reads").expect("there");
    assert!(!target.webhook.is_on());
    let lanes = lanes_of(&house, LineOf { webhook_row: owed.webhook_row, stream: owed.stream }).await;
    assert_eq!(lanes, [LaneKey::trusted("alice_user_bob")], "what was owed waits");
}

#[tokio::test]
async fn a_logged_call_of_a_deleted_app_does_not_keep_others_from_being_logged() {
    let house = house().await;
    let asked = |app: &str| Asked {
        webhook_row: 1,
        app: AppId::trusted(app),
        webhook: WebhookId::trusted("hook"),
        event: event_id(),
        conversation: Key::trusted("alice_user_bob"),
        sender: Uid::trusted("alice"),
        verdict: "pass",
        effect: None,
        silence: None,
        took_us: 1,
        at: AT,
    };
    house.store.log_asked(vec![asked("gone"), asked("app1")]).await.expect("logged");
    let db = rusqlite::Connection::open(house.dir.path().join("chathook.db")).expect("the file opens");
    let apps: Vec<String> = db
        .prepare("SELECT app FROM asked")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .expect("the log");
    assert_eq!(apps, ["app1"]);
}

#[tokio::test]
async fn a_second_server_is_kept_out() {
    let house = house().await;
    let second = open(house.dir.path(), &house.offered);
    assert!(matches!(second, Err(OpenError::InUse(_))));
    assert!(house.store.is_writable());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_store_was_closed() {
    let House { store, offered, app, dir } = house().await;
    let sent = store
        .commit_message(&app, accepted("alice", "bob", "hello", None), Origin::Rest, Told::nobody())
        .await
        .expect("stored");
    drop(store);
    let store = open(dir.path(), &offered).expect("the store opens again");
    let found = store.message(&app.id, sent.message.id).await.expect("the store reads");
    assert_eq!(found, Some(sent.message));
}

#[tokio::test]
async fn a_migration_that_changed_stops_the_start() {
    let House { store, offered, dir, .. } = house().await;
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("chathook.db")).expect("the file opens");
    db.execute("UPDATE migration SET checksum = 'another' WHERE version = 1", []).expect("the row changes");
    drop(db);
    assert!(matches!(open(dir.path(), &offered), Err(OpenError::Schema(_))));
}

#[tokio::test]
async fn the_file_of_a_newer_version_stops_the_start() {
    let House { store, offered, dir, .. } = house().await;
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("chathook.db")).expect("the file opens");
    db.execute("INSERT INTO migration (version, name, checksum) VALUES (999, 'later', '')", [])
        .expect("a row");
    drop(db);
    assert!(matches!(open(dir.path(), &offered), Err(OpenError::Schema(_))));
}

#[tokio::test]
async fn a_locked_database_refuses_writes_and_recovers_by_itself() {
    let house = house().await;
    let other = rusqlite::Connection::open(house.dir.path().join("chathook.db")).expect("a second hand");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is taken");
    let refused = house.send(accepted("alice", "bob", "locked out", None)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    other.execute_batch("ROLLBACK").expect("the lock is given back");
    let stored = house.send(accepted("alice", "bob", "let in", None)).await;
    assert_eq!(stored.expect("stored").message.data["text"], "let in");
    let texts: Vec<_> = house.offered.all().iter().map(|owed| owed.body.contains("locked out")).collect();
    assert_eq!(texts, [false], "what was refused is owed to nobody");
}
