//! Nothing of one app is found with another's id: what the dashboard shows, and what is counted.

use std::sync::Arc;

use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::app::{App, Settings};
use chathook_domain::connection::{Connection, Platform};
use chathook_domain::delivery::Owed;
use chathook_domain::event::Origin;
use chathook_domain::ids::{AppId, DeviceId, EventId, Key, SessionId, StartId, Time, Uid, WebhookId};
use chathook_domain::message::{Accepted, Draft};
use chathook_domain::tally::{Count, Step, Tally};
use chathook_domain::trigger::Trigger;
use chathook_domain::turn::{Party, TurnKind, Turned};
use chathook_domain::user::{AuthToken, Profile, User};
use chathook_domain::webhook::{Webhook, WebhookDraft};
use chathook_engine::ports::history::{CallFilter, HistoryStore as _};
use chathook_engine::ports::people::{PeopleFilter, PeopleStore as _, Presence};
use chathook_engine::ports::store::{
    AppStore as _, Asked, ConnectionStore as _, DeliveryStore as _, MessageStore as _, Offers, Opening, Told,
    UserStore as _, WebhookStore as _,
};
use chathook_engine::ports::tallies::{Tallied, TallyStore as _};
use serde_json::json;

const AT: Time = Time::from_ms(1_700_000_000_000);
const ANA: &str = "ana";

struct Nowhere;

impl Offers for Nowhere {
    fn offer(&self, _: Vec<Owed>) {}
    fn changed(&self, _: i64) {}
}

fn user(uid: &str) -> User {
    let profile = Profile { name: uid.to_owned(), ..Profile::default() };
    User { uid: Uid::trusted(uid), profile, ..User::system() }
}

fn event_id() -> EventId {
    EventId::trusted(&format!("evt_{}", uuid::Uuid::now_v7().simple()))
}

struct House {
    store: Sqlite,
    start: StartId,
    _dir: tempfile::TempDir,
}

impl House {
    /// An app with ana, ben and a webhook `hook`.
    async fn app(&self, id: &str) -> (App, Webhook) {
        let (id, settings) = (AppId::trusted(id), Settings::default());
        let app = App { id, name: "One".to_owned(), region: "us".to_owned(), settings, created_at: AT };
        self.store.create_app(app.clone(), Vec::new(), None).await.expect("the app is made");
        for uid in [ANA, "ben"] {
            let token =
                AuthToken { uid: Uid::trusted(uid), token: format!("{}_{uid}", app.id), created_at: AT };
            self.store.create_user(&app.id, user(uid), Some(token)).await.expect("the user is made");
        }
        let body = json!({"id": "hook", "name": "Hook", "webhookURL": "https://example.com/hook"});
        let draft = WebhookDraft::parse(&body).expect("the draft is fit");
        let hook = self.store.create_webhook(&app.id, draft, vec![1; 32], AT).await.expect("it is made");
        let hook = self.store.add_triggers(&app.id, &hook.id, vec![Trigger::AfterMessage]).await;
        (app, hook.expect("the trigger is added"))
    }

    /// Something of everything that is shown.
    async fn fill(&self, app: &App, hook: &Webhook) {
        let body = json!({"receiver": "ben", "receiverType": "user", "data": {"text": "hello"}});
        let accepted = Accepted {
            sender: user(ANA),
            draft: Draft::parse(&body).expect("the draft is fit"),
            receiver_entity: user("ben").to_entity(),
            at: AT,
            event_id: event_id(),
        };
        let sent = self.store.commit_message(app, accepted, Origin::Rest, Told::nobody()).await;
        sent.expect("the message is stored");
        let asked = Asked {
            app: app.id.clone(),
            webhook: hook.id.clone(),
            webhook_row: hook.row,
            event: event_id(),
            conversation: Key::trusted("ana_user_ben"),
            sender: Uid::trusted(ANA),
            verdict: "pass",
            silence: None,
            effect: None,
            took_us: 7,
            at: AT,
        };
        self.store.log_asked(vec![asked]).await.expect("the call is logged");
        let turned = Turned { party: Party::Deliveries, kind: TurnKind::Opened, cause: "503".to_owned() };
        self.store.keep_turn(&self.start, hook.row, turned, AT).await.expect("the turn is kept");
        let owner = self.store.token_owner(&app.id, &format!("{}_{ANA}", app.id)).await;
        let connection = Connection {
            session_id: SessionId::trusted("session"),
            uid: Uid::trusted(ANA),
            device_id: DeviceId::trusted("phone"),
            platform: Platform::Web,
            connected_at: AT,
            start: self.start.clone(),
        };
        let opening = Opening {
            connection,
            token_hash: owner.expect("the store reads").expect("the token is known").token_hash,
            at: AT,
            event_ids: [event_id(), event_id()],
        };
        self.store.open_connection(app, opening, Told::nobody()).await.expect("it opens");
    }

    async fn count(&self, app: &AppId, webhook: Option<i64>) {
        let mut tally = Box::new(Tally::default());
        tally.count(Count::Delivered);
        let tallied = Tallied { app: app.clone(), webhook, minute: Step::Minute.begin_of(AT), tally };
        self.store.add_tallies(vec![tallied]).await.expect("it is kept");
    }

    /// How much of each is found of an app.
    async fn found(&self, app: &AppId, hook: &WebhookId) -> Vec<(&'static str, usize)> {
        let store = &self.store;
        let ana = Uid::trusted(ANA);
        let online = PeopleFilter { presence: Presence::Online, limit: 9, ..PeopleFilter::default() };
        let calls = CallFilter { limit: 9, ..CallFilter::default() };
        let standings = store.standings(app).await.expect("read");
        let conversations =
            async |uid| store.conversations(app, uid, None, 9).await.expect("read").items.len();
        vec![
            ("calls", store.calls(app, hook, calls, i64::MAX).await.expect("read").calls.len()),
            ("turns", store.turns(app, hook, i64::MAX, 9).await.expect("read").len()),
            ("online", usize::try_from(store.online_count(app).await.expect("read")).expect("few")),
            ("people online", store.people(app, online, None).await.expect("read").items.len()),
            ("devices", store.connections_of(app, &ana, 9).await.expect("read").len()),
            ("conversations", conversations(None).await),
            ("conversations of one", conversations(Some(&ana)).await),
            ("waiting", usize::try_from(standings[0].waiting).expect("few")),
            (
                "tallies",
                store.tallies(app, None, Step::Minute, AT.plus_ms(-60_000)).await.expect("read").len(),
            ),
            (
                "of a webhook",
                store.tallies(app, Some(hook), Step::Minute, Time::from_ms(0)).await.expect("read").len(),
            ),
        ]
    }
}

async fn house() -> House {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let vault = Arc::new(Vault::from_key([7; 32]));
    let store = Sqlite::open(dir.path(), vault, Arc::new(Nowhere), Options::default());
    let (store, start) = (store.expect("the store opens"), StartId::trusted("start1"));
    store.begin_start(&start, AT).await.expect("the start begins");
    House { store, start, _dir: dir }
}

#[tokio::test]
async fn what_is_one_apps_is_not_found_with_anothers_id() {
    let house = house().await;
    let (one, hook) = house.app("one").await;
    let (twin, _) = house.app("twin").await;
    house.fill(&one, &hook).await;
    house.count(&one.id, None).await;
    house.count(&one.id, Some(hook.row)).await;
    // Rows are the whole server's: that of another app's webhook is passed over.
    house.count(&twin.id, Some(hook.row)).await;
    for (what, count) in house.found(&one.id, &hook.id).await {
        assert!(count > 0, "{what}");
    }
    for (what, count) in house.found(&twin.id, &hook.id).await {
        assert_eq!(count, 0, "{what} of another app");
    }
    let later = AT.plus_ms(Step::TenMinutes.kept_ms() * 2);
    house.store.remove_old_tallies(&twin.id, later).await.expect("removed");
    let kept = house.store.tallies(&one.id, None, Step::Minute, Time::from_ms(0)).await.expect("read");
    assert_eq!(kept.len(), 1, "another app's are not removed");
    house.store.remove_old_tallies(&one.id, later).await.expect("removed");
    let kept = house.store.tallies(&one.id, None, Step::Minute, Time::from_ms(0)).await.expect("read");
    assert!(kept.is_empty());
}
