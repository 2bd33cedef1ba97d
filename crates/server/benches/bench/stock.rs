//! A store of the bench's own, filled without a server: for the bare loop, and for a million that wait.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::app::{App, Settings};
use chathook_domain::delivery::Owed;
use chathook_domain::event::Origin;
use chathook_domain::ids::{AppId, EventId, Time, Uid};
use chathook_domain::message::{Accepted, Draft};
use chathook_domain::trigger::Trigger;
use chathook_domain::user::{Profile, User};
use chathook_domain::webhook::WebhookDraft;
use chathook_engine::ports::store::{
    AppStore as _, MessageStore as _, Offers, StoreError, Told, UserStore as _, WebhookStore as _,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::bench::CALLERS;
use crate::machine::now_us;
use crate::spread::Spread;
use crate::tenant::CONVERSATIONS;

/// When to stop committing.
#[derive(Clone, Copy)]
pub enum Until {
    Over(Duration),
    Count(u64),
}

pub struct Stock {
    pub store: Sqlite,
    pub app: App,
    /// One per conversation; each commit takes a copy with an event id of its own.
    messages: Vec<Accepted>,
    number: AtomicU64,
}

struct Nowhere;

impl Offers for Nowhere {
    fn offer(&self, _: Vec<Owed>) {}

    fn changed(&self, _: i64) {}
}

impl Stock {
    /// An app with the users of [`CONVERSATIONS`] conversations, in an empty directory.
    pub async fn make(dir: &Path) -> Result<Self> {
        let vault = Vault::from_env_or_file(None, dir).map_err(anyhow::Error::msg)?;
        let store = Sqlite::open(dir, Arc::new(vault), Arc::new(Nowhere), Options::default())?;
        let app = App {
            id: AppId::trusted("bench"),
            name: "Bench".to_owned(),
            region: "us".to_owned(),
            settings: Settings::default(),
            created_at: now(),
        };
        store.create_app(app.clone(), Vec::new(), None).await.map_err(fault)?;
        let mut messages = Vec::with_capacity(CONVERSATIONS);
        for nth in 0..CONVERSATIONS {
            let pair = [user(nth * 2), user(nth * 2 + 1)];
            let [made, other] = pair.clone().map(|user| store.create_user(&app.id, user, None));
            let (made, other) = tokio::join!(made, other);
            made.and(other).map_err(fault)?;
            messages.push(message(pair)?);
        }
        Ok(Self { store, app, messages, number: AtomicU64::new(0) })
    }

    pub async fn webhook(&self, id: &str, url: &str) -> Result<()> {
        let body = json!({"id": id, "name": id, "webhookURL": url, "enabled": true});
        let draft = WebhookDraft::parse(&body).map_err(|refusal| anyhow!("{refusal:?}"))?;
        let made = self.store.create_webhook(&self.app.id, draft, vec![7; 32], now()).await;
        let made = made.map_err(fault)?;
        let triggers = vec![Trigger::AfterMessage];
        self.store.add_triggers(&self.app.id, &made.id, triggers).await.map_err(fault)?;
        Ok(())
    }

    /// [`CALLERS`] tasks, each awaiting one commit after the other; answers with their times.
    pub async fn commit(self: &Arc<Self>, until: Until) -> Result<Spread> {
        let began = Instant::now();
        let first = self.number.load(Ordering::Relaxed);
        let mut tasks = JoinSet::new();
        for task in 0..CALLERS {
            let stock = self.clone();
            tasks.spawn(async move {
                let mut times = Vec::new();
                for message in stock.messages.iter().skip(task).step_by(CALLERS).cycle() {
                    let number = stock.number.fetch_add(1, Ordering::Relaxed);
                    let is_over = match until {
                        Until::Over(time) => began.elapsed() >= time,
                        Until::Count(count) => number - first >= count,
                    };
                    if is_over {
                        break;
                    }
                    let message = Accepted { event_id: event_id(number), ..message.clone() };
                    let sent = Instant::now();
                    stock
                        .store
                        .commit_message(&stock.app, message, Origin::Rest, Told::nobody())
                        .await
                        .map_err(fault)?;
                    times.push(u64::try_from(sent.elapsed().as_micros())?);
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(done) = tasks.join_next().await {
            times.extend(done??);
        }
        Ok(Spread::of(times))
    }
}

fn message([from, to]: [User; 2]) -> Result<Accepted> {
    let text = "#1000000 Lunch at noon?";
    let body = json!({"receiver": to.uid.as_str(), "receiverType": "user", "data": {"text": text}});
    let draft = Draft::parse(&body).map_err(|refusal| anyhow!("{refusal:?}"))?;
    Ok(Accepted { sender: from, draft, receiver_entity: to.to_entity(), at: now(), event_id: event_id(0) })
}

pub fn user(nth: usize) -> User {
    let uid = format!("user-{nth:05}");
    let profile = Profile { name: uid.clone(), ..Profile::default() };
    User { uid: Uid::trusted(&uid), profile, created_at: now(), ..User::system() }
}

/// Of the length and order of a real one.
fn event_id(number: u64) -> EventId {
    EventId::trusted(&format!("evt_{:012x}{number:020x}", now_us() / 1_000))
}

pub fn now() -> Time {
    Time::from_ms(i64::try_from(now_us() / 1_000).expect("milliseconds of this age fit"))
}

pub fn fault(error: StoreError) -> anyhow::Error {
    anyhow!("the store answered {error:?}")
}
