//! How fast the embedded store takes messages that ten webhooks are owed, and settles what they owe.
//!
//! `cargo bench -p chathook-adapters --bench commit [messages]` prints rates and the CPU time of each.
//! The database lies under `target`, so that the disk is the one that the tree lies on.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(clippy::cast_precision_loss, reason = "rates are shown to people")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::app::{App, Settings};
use chathook_domain::delivery::{Owed, Settlement};
use chathook_domain::event::Origin;
use chathook_domain::ids::{AppId, EventId, StartId, Time, Uid};
use chathook_domain::message::{Accepted, Draft};
use chathook_domain::outcome::{Answer, Outcome};
use chathook_domain::trigger::Trigger;
use chathook_domain::user::{Profile, User};
use chathook_domain::webhook::WebhookDraft;
use chathook_engine::ports::endpoints::Phases;
use chathook_engine::ports::store::{
    AppStore as _, ConnectionStore as _, DeliveryStore as _, MessageStore as _, Offers, Settled, Told,
    UserStore as _, WebhookStore as _,
};
use serde_json::json;

const AT: Time = Time::from_ms(1_700_000_000_000);
const WEBHOOKS: usize = 10;
/// Senders at work at once, each with a conversation of its own.
const SENDERS: usize = 64;
const MESSAGES: usize = 20_000;
/// As dispatch gathers them.
const SETTLED_AT_ONCE: usize = 500;

#[derive(Default)]
struct Offered(Mutex<Vec<Owed>>);

impl Offers for Offered {
    fn offer(&self, owed: Vec<Owed>) {
        self.0.lock().expect("nobody panics while holding this lock").extend(owed);
    }

    fn changed(&self, _: i64) {}
}

fn main() {
    let messages = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(MESSAGES);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(run(messages));
}

async fn run(messages: usize) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = tempfile::tempdir_in(target).expect("a directory under target");
    let offered = Arc::new(Offered::default());
    let offers: Arc<dyn Offers> = Arc::clone(&offered) as _;
    let store = Sqlite::open(dir.path(), Arc::new(Vault::from_key([7; 32])), offers, Options::default());
    let store = Arc::new(store.expect("the store opens"));
    let app = Arc::new(make_app(&store).await);

    let clock = Clock::start();
    send(&store, &app, messages).await;
    let owed = std::mem::take(&mut *offered.0.lock().expect("nobody panics while holding this lock"));
    clock.print("messages committed", messages);
    clock.print("deliveries inserted", owed.len());

    let start = StartId::trusted("start");
    store.begin_start(&start, AT).await.expect("the start begins");
    let clock = Clock::start();
    let count = owed.len();
    settle(&store, &start, owed).await;
    clock.print("deliveries settled", count);

    let clock = Clock::start();
    let settling =
        tokio::spawn(settle_what_comes(Arc::clone(&store), start, Arc::clone(&offered), messages * WEBHOOKS));
    send(&store, &app, messages).await;
    settling.await.expect("settling ends");
    clock.print("both at once", messages * WEBHOOKS);
}

/// Settles in batches what is offered, as soon as it is offered.
async fn settle_what_comes(store: Arc<Sqlite>, start: StartId, offered: Arc<Offered>, count: usize) {
    let mut done = 0;
    while done < count {
        let owed = std::mem::take(&mut *offered.0.lock().expect("nobody panics while holding this lock"));
        if owed.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        done += owed.len();
        settle(&store, &start, owed).await;
    }
}

async fn make_app(store: &Sqlite) -> App {
    let app = App {
        id: AppId::trusted("app"),
        name: "App".to_owned(),
        region: "us".to_owned(),
        settings: Settings::default(),
        created_at: AT,
    };
    store.create_app(app.clone(), Vec::new(), None).await.expect("the app is made");
    for n in 0..SENDERS {
        for uid in [format!("sender_{n}"), format!("reader_{n}")] {
            store.create_user(&app.id, user(&uid), None).await.expect("the user is made");
        }
    }
    for n in 0..WEBHOOKS {
        let body = json!({"id": format!("hook{n}"), "name": "Hook", "webhookURL": "https://example.com/"});
        let draft = WebhookDraft::parse(&body).expect("the draft is fit");
        let hook = store.create_webhook(&app.id, draft, vec![1; 32], AT).await.expect("the webhook is made");
        let triggers = vec![Trigger::AfterMessage];
        store.add_triggers(&app.id, &hook.id, triggers).await.expect("the trigger is added");
    }
    app
}

fn user(uid: &str) -> User {
    let profile = Profile { name: uid.to_owned(), ..Profile::default() };
    User { uid: Uid::trusted(uid), profile, ..User::system() }
}

async fn send(store: &Arc<Sqlite>, app: &Arc<App>, messages: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = Vec::new();
    for n in 0..SENDERS {
        let (store, app, next) = (Arc::clone(store), Arc::clone(app), Arc::clone(&next));
        let (sender, reader) = (format!("sender_{n}"), format!("reader_{n}"));
        let text = "Shall we have lunch at the usual place, or try the new one around the corner?";
        let body = json!({"receiver": reader, "receiverType": "user", "data": {"text": text}});
        let draft = Draft::parse(&body).expect("the draft is fit");
        let (sender, entity) = (user(&sender), user(&reader).to_entity());
        senders.push(tokio::spawn(async move {
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= messages {
                    return;
                }
                let accepted = Accepted {
                    sender: sender.clone(),
                    draft: draft.clone(),
                    receiver_entity: entity.clone(),
                    at: AT,
                    event_id: EventId::trusted(&format!("evt_{nth:032x}")),
                };
                store
                    .commit_message(&app, accepted, Origin::Rest, Told::nobody())
                    .await
                    .expect("the message is stored");
            }
        }));
    }
    for sender in senders {
        sender.await.expect("the sender ends");
    }
}

/// As an endpoint that answers 200 settles them: in batches, one waiting while another is written.
async fn settle(store: &Arc<Sqlite>, start: &StartId, owed: Vec<Owed>) {
    let batches: Vec<Vec<Settled>> =
        owed.chunks(SETTLED_AT_ONCE).map(|part| part.iter().map(delivered).collect()).collect();
    for batch in batches {
        store.settle(start, batch).await.expect("settled");
    }
}

fn delivered(owed: &Owed) -> Settled {
    let answer =
        Answer { status: 200, retry_after_s: None, body: b"ok".to_vec(), is_cut: false, location: None };
    Settled {
        stream: owed.stream,
        sequence: owed.sequence,
        webhook_row: owed.webhook_row,
        attempt: 1,
        outcome: Outcome::Answered(answer),
        phases: Phases { first_byte_us: Some(900), total_us: 1_000, ..Phases::default() },
        address: Some("127.0.0.1:8443".into()),
        settlement: Settlement::Delivered,
        started_at: AT,
    }
}

/// Real time and CPU time since a moment, the writer's thread apart.
struct Clock {
    began: Instant,
    process_us: u64,
    writer_us: u64,
}

impl Clock {
    fn start() -> Self {
        Self { began: Instant::now(), process_us: process_us(), writer_us: writer_us() }
    }

    fn print(&self, what: &str, count: usize) {
        let seconds = self.began.elapsed().as_secs_f64();
        let count = count as f64;
        let process = (process_us() - self.process_us) as f64 / count;
        let writer = (writer_us() - self.writer_us) as f64 / count;
        println!(
            "{what:20} {:>9.0}/s   CPU each: {process:6.1} µs, of these the writer {writer:6.1} µs",
            count / seconds
        );
    }
}

/// User and system time of all threads; a tick of /proc is 10 ms.
fn process_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
        * 10_000
}

fn writer_us() -> u64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let is_writer = |dir: &Path| {
        std::fs::read_to_string(dir.join("comm")).is_ok_and(|name| name.trim() == "store-writer")
    };
    let thread = threads.flatten().map(|entry| entry.path()).find(|dir| is_writer(dir));
    let stat = thread.and_then(|dir| std::fs::read_to_string(dir.join("schedstat")).ok()).unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0) / 1_000
}
