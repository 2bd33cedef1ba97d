//! What happened, read from a store that holds much of it: no read takes longer than it may, and a
//! replay never floods.

use std::path::Path;
use std::sync::{Arc, Mutex};

use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::app::{App, Settings};
use chathook_domain::delivery::{Owed, Status};
use chathook_domain::history::{DeliveryId, Place};
use chathook_domain::ids::{AppId, Key, MessageId, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::replay::{JobStatus, Wanted};
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::WebhookDraft;
use chathook_engine::ports::history::{
    DeliveryFilter, EventsFrom, HistoryStore as _, ReplayStore as _, Step,
};
use chathook_engine::ports::store::{AppStore as _, Offers, StoreError, WebhookStore as _};
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

struct House {
    store: Option<Sqlite>,
    offered: Arc<Offered>,
    app: AppId,
    webhook: WebhookId,
    dir: tempfile::TempDir,
}

fn open(dir: &Path, offered: &Arc<Offered>) -> Sqlite {
    let offers: Arc<dyn Offers> = Arc::clone(offered) as _;
    Sqlite::open(dir, Arc::new(Vault::from_key([7; 32])), offers, Options::default())
        .expect("the store opens")
}

/// An app with a webhook `hook` of the stream 1.
async fn house() -> House {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let offered = Arc::new(Offered::default());
    let store = open(dir.path(), &offered);
    let app = App {
        id: AppId::trusted("app1"),
        name: "One".to_owned(),
        region: "us".to_owned(),
        settings: Settings::default(),
        created_at: AT,
    };
    store.create_app(app.clone(), Vec::new(), None).await.expect("the app is made");
    let body = json!({"id": "hook", "name": "Hook", "webhookURL": "https://example.com/hook"});
    let draft = WebhookDraft::parse(&body).expect("the draft is fit");
    let hook = store.create_webhook(&app.id, draft, vec![1; 32], AT).await.expect("the webhook is made");
    store.add_triggers(&app.id, &hook.id, vec![Trigger::AfterMessage]).await.expect("the trigger is added");
    House { store: Some(store), offered, app: app.id, webhook: hook.id, dir }
}

impl House {
    fn store(&self) -> &Sqlite {
        self.store.as_ref().expect("it is open")
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(self.dir.path(), &self.offered));
    }

    /// Changes the database from outside.
    fn alter(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.dir.path().join("chathook.db")).expect("it opens");
        db.execute_batch(&format!("BEGIN IMMEDIATE; {sql}; COMMIT;")).expect("it changes");
    }

    /// So many events, one each millisecond.
    fn add_events(&self, count: i64) {
        self.alter(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
             INSERT INTO event (app, id, trigger, key, body, created_at)
             SELECT 'app1', 'evt_' || n, 'after_message', 'k' || (n % 10), '{{\"n\":' || n || '}}', {} + n
             FROM n",
            AT.ms
        ));
    }

    /// A delivered delivery with its attempt of each event.
    fn deliver_all(&self) {
        self.alter(
            "INSERT INTO ended (stream, sequence, lane, event, status, attempts, created_at, ended_at)
                 SELECT 1, row, key, row, 'delivered', 1, created_at, created_at FROM event;
             INSERT INTO attempt (stream, sequence, attempt, outcome, total_us, kept, started_at, start)
                 SELECT 1, row, 1, '200', row % 100 + 1, substr(hex(zeroblob(1000)), 1, 1 + 2000 * (row > 90000)), created_at, 1
                 FROM event;
             UPDATE stream SET last = (SELECT max(row) FROM event), settled = (SELECT max(row) FROM event)",
        );
    }

    /// The ids that all pages of a listing give, and how many pages there are.
    async fn walk(&self, filter: DeliveryFilter) -> (Vec<DeliveryId>, usize) {
        let (mut ids, mut place, mut pages) = (Vec::new(), Place::START, 0);
        loop {
            let page = self.store().deliveries(&self.app, &self.webhook, filter.clone(), place).await;
            let page = page.expect("a page comes in its time");
            ids.extend(page.items.iter().map(|delivery| delivery.id));
            pages += 1;
            let Some(next) = page.next else { return (ids, pages) };
            place = next;
        }
    }

    async fn begin(&self) -> i64 {
        let wanted = Wanted::parse(&json!({"since": 0}), &[Trigger::AfterMessage]).expect("it is fit");
        self.store().begin_replay(&self.app, &self.webhook, wanted, AT).await.expect("it begins").row
    }

    async fn step_until(&self, job: i64, last: Step) {
        for _ in 0..1_000 {
            let step = self.store().step_replay(job, AT).await.expect("a step");
            if step != Step::Made {
                assert_eq!(step, last);
                return;
            }
        }
        panic!("it goes on and on");
    }

    async fn made(&self, job: i64) -> (JobStatus, i64) {
        let found = self.store().replay(&self.app, &self.webhook, job).await.expect("it is read");
        found.map(|job| (job.status, job.made)).expect("it is there")
    }

    async fn sequences(&self, from: EventsFrom, limit: i64) -> Result<Vec<i64>, Refusal> {
        match self.store().numbered_events(&self.app, &self.webhook, from, limit).await {
            Ok(found) => Ok(found.events.iter().map(|event| event.sequence).collect()),
            Err(StoreError::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn filter(limit: usize) -> DeliveryFilter {
    DeliveryFilter { limit, ..DeliveryFilter::default() }
}

#[tokio::test]
async fn a_listing_of_100_000_comes_in_pages_whatever_is_looked_for() {
    let house = house().await;
    house.add_events(100_000);
    house.deliver_all();
    house.alter("UPDATE ended SET status = 'failed' WHERE sequence IN (7, 60000)");
    let failed = DeliveryFilter { status: Some(Status::Failed), ..filter(100) };
    let (ids, pages) = house.walk(failed).await;
    assert_eq!(ids, [DeliveryId::Numbered(60_000), DeliveryId::Numbered(7)]);
    assert!((20..=21).contains(&pages), "a page looks at 5,000, not {}", 100_000 / pages);
    let never = DeliveryFilter { trigger: Some(Trigger::MessageReadReceipt), ..filter(100) };
    assert_eq!(house.walk(never).await.0, []);
    let by_key = DeliveryFilter { key: Some(Key::trusted("k3")), ..filter(1_000) };
    assert_eq!(house.walk(by_key).await.0.len(), 10_000);
    // What is older than the span by more than a clock may jump is not looked at.
    house.alter(&format!("UPDATE ended SET created_at = {} WHERE sequence <= 50000", AT.ms - 7_200_000));
    let recent = DeliveryFilter { since: Some(AT), status: Some(Status::Failed), ..filter(100) };
    let (ids, pages) = house.walk(recent).await;
    assert_eq!(ids, [DeliveryId::Numbered(60_000)]);
    assert!(pages <= 11, "{pages}");
}

#[tokio::test]
async fn figures_and_events_of_100_000_come_in_their_time() {
    let house = house().await;
    house.add_events(100_000);
    house.deliver_all();
    let figures = house.store().figures(&house.app, &house.webhook, AT).await.expect("figures");
    assert!(figures.is_cut);
    assert_eq!(figures.attempts["200"], 10_000);
    assert_eq!(figures.ended[&Status::Delivered], 10_000);
    let few = house.store().figures(&house.app, &house.webhook, AT.plus_ms(99_991)).await.expect("figures");
    assert!(!few.is_cut);
    assert_eq!((few.attempts["200"], few.attempts_us.len()), (10, 10));
    assert_eq!(house.sequences(EventsFrom::After(99_998), 10).await, Ok(vec![99_999, 100_000]));
    assert_eq!(house.sequences(EventsFrom::Oldest, 2).await, Ok(vec![1, 2]));
}

#[tokio::test]
async fn events_that_are_no_longer_kept_are_gone_and_the_oldest_kept_is_named() {
    let house = house().await;
    house.add_events(10);
    house.deliver_all();
    // As retention may leave it: some with their deliveries, some without.
    house.alter("DELETE FROM event WHERE row <= 4 OR row = 7; DELETE FROM ended WHERE sequence <= 2");
    assert_eq!(house.sequences(EventsFrom::Oldest, 10).await, Ok(vec![5, 6]));
    assert_eq!(house.sequences(EventsFrom::After(4), 10).await, Ok(vec![5, 6]));
    assert_eq!(house.sequences(EventsFrom::After(7), 2).await, Ok(vec![8, 9]));
    assert_eq!(house.sequences(EventsFrom::After(10), 2).await, Ok(vec![]));
    for (after, oldest) in [(0, "5"), (3, "5"), (6, "8")] {
        let refusal = house.sequences(EventsFrom::After(after), 10).await.expect_err("it is gone");
        assert_eq!(refusal.code, Code::EventsGone);
        assert_eq!(refusal.details, [("oldest".to_owned(), oldest.to_owned())]);
    }
    house.alter("DELETE FROM event");
    let refusal = house.sequences(EventsFrom::After(0), 10).await.expect_err("all are gone");
    assert_eq!(refusal.details, [("oldest".to_owned(), "11".to_owned())]);
    assert_eq!(house.sequences(EventsFrom::Oldest, 10).await, Ok(vec![]));
}

#[tokio::test]
async fn a_long_replay_rests_while_its_webhook_has_enough_to_do_and_survives_a_restart() {
    let mut house = house().await;
    house.add_events(5_000);
    let job = house.begin().await;
    house.step_until(job, Step::Held).await;
    let (status, made) = house.made(job).await;
    assert_eq!(status, JobStatus::Running);
    assert!((2_001..=2_200).contains(&made), "{made}");
    house.reopen();
    assert_eq!(house.store().running_replays().await.expect("they are read"), [job]);
    house.step_until(job, Step::Held).await;
    assert_eq!(house.made(job).await.1, made, "nothing is made while it rests");
    // Those that have left their lanes count as well.
    house.alter("UPDATE waiting SET is_aside = 1, attempts = 1, due = 1");
    house.step_until(job, Step::Held).await;
    house.alter("DELETE FROM waiting");
    house.step_until(job, Step::Held).await;
    house.alter("DELETE FROM waiting");
    house.step_until(job, Step::Ended).await;
    assert_eq!(house.made(job).await, (JobStatus::Done, 5_000));
    assert!(house.store().running_replays().await.expect("they are read").is_empty());
    let owed = house.offered.0.lock().expect("no test panicked").clone();
    let sequences: Vec<i64> = owed.iter().map(|owed| owed.sequence).collect();
    assert_eq!(sequences, (1..=5_000).collect::<Vec<_>>());
    assert!(owed.iter().all(|owed| owed.lane.is_replay() && owed.replay == Some(job)));
    let ids: Vec<&str> = owed.iter().map(|owed| owed.event_id.as_str()).collect();
    assert!(ids.iter().zip(1..).all(|(id, n)| *id == format!("evt_{n}")), "in the order of the events");
}

#[tokio::test]
async fn a_replay_rests_while_its_webhook_is_off_and_ends_with_it() {
    let house = house().await;
    house.add_events(3);
    let job = house.begin().await;
    house.alter("UPDATE webhook SET enabled = 0");
    house.step_until(job, Step::Held).await;
    house.alter("DELETE FROM webhook_trigger; DELETE FROM webhook");
    house.step_until(job, Step::Ended).await;
    assert!(house.store().running_replays().await.expect("they are read").is_empty());
    assert!(house.offered.0.lock().expect("no test panicked").is_empty());
}

#[tokio::test]
async fn the_calls_of_before_message_about_a_message_are_part_of_its_history() {
    let house = house().await;
    house.add_events(2);
    let ms = AT.ms;
    house.alter(&format!(
        "INSERT INTO message (app, id, conversation, sender, receiver_type, receiver, category, kind, data, tags,
                              sent_at, updated_at, event)
         VALUES ('app1', 1, 'k1', 'ana', 'user', 'ben', 'message', 'text', '{{}}', '[]', {ms}, {ms}, 1);
         INSERT INTO asked (app, webhook, conversation, sender, verdict, silence, took_us, at, event)
         VALUES ('app1', 'hook', 'k1', 'ana', 'pass', 'timeout', 7, {ms} + 10, 'evt_1'),
                ('app1', 'hook', 'k1', 'ana', 'drop', NULL, 8, {ms} + 10, 'evt_2'),
                ('app1', 'hook', 'k1', 'ana', 'drop', NULL, 9, {ms} + 10, NULL)"
    ));
    let history = house.store().message_history(&house.app, MessageId(1)).await.expect("it is read");
    let history = history.expect("the message is there");
    let asked: Vec<_> = history
        .asked
        .iter()
        .map(|call| (call.verdict.as_str(), call.silence.as_deref(), call.took_us))
        .collect();
    assert_eq!(asked, [("pass", Some("timeout"), 7)]);
    // Events of an earlier version name nobody whom they passed over.
    assert_eq!(history.owed[0].owed_nothing.as_deref(), Some("unknown"));
    house.alter("DELETE FROM event");
    let history = house.store().message_history(&house.app, MessageId(1)).await.expect("it is read");
    assert!(history.expect("the message is there").event_is_gone);
}
