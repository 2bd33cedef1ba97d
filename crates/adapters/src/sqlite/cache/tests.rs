//! Whatever is written, and in whatever order, the next cached read says what the database says.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use chathook_domain::app::{ApiKey, KeyScope, Settings};
use chathook_domain::connection::{Connection as Open, Platform};
use chathook_domain::delivery::Owed;
use chathook_domain::event::Origin;
use chathook_domain::group::{About, GroupKind, Scope};
use chathook_domain::ids::{DeviceId, EventId, SessionId, StartId, Time, WebhookId};
use chathook_domain::message::{Accepted, Draft, Receiver};
use chathook_domain::trigger::Trigger;
use chathook_domain::user::{AuthToken, Profile};
use chathook_domain::webhook::WebhookDraft;
use chathook_engine::ports::store::{
    AppStore as _, ConnectionStore as _, DeliveryStore as _, Ending, GroupStore as _, MessageStore as _,
    Offers, Opening, Samples, StoreError, SwitchOff, SwitchedOff, Told, UserStore as _, WebhookStore as _,
};
use serde_json::json;

use super::*;
use crate::sqlite::Options;

const AT: Time = Time::from_ms(1_700_000_000_000);
const APPS: [&str; 2] = ["app1", "app2"];
const UIDS: [&str; 3] = ["alice", "bob", "carol"];
const GUIDS: [&str; 2] = ["lounge", "attic"];

struct Nowhere;

impl Offers for Nowhere {
    fn offer(&self, _: Vec<Owed>) {}
    fn changed(&self, _: i64) {}
}

fn open() -> (Arc<Sqlite>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store =
        Sqlite::open(dir.path(), Arc::new(Vault::from_key([7; 32])), Arc::new(Nowhere), Options::default());
    (Arc::new(store.expect("the store opens")), dir)
}

fn app(id: &str) -> App {
    App {
        id: AppId::trusted(id),
        name: "One".to_owned(),
        region: "us".to_owned(),
        settings: Settings::default(),
        created_at: AT,
    }
}

fn key(app: &str) -> ApiKey {
    ApiKey {
        key: format!("key of {app}"),
        name: "Key".to_owned(),
        scope: KeyScope::FullAccess,
        created_at: AT,
    }
}

fn user(uid: &str) -> User {
    let profile = Profile { name: uid.to_owned(), ..Profile::default() };
    User { uid: Uid::trusted(uid), profile, ..User::system() }
}

fn token(app: &str, uid: &str) -> AuthToken {
    AuthToken { uid: Uid::trusted(uid), token: format!("token of {uid} in {app}"), created_at: AT }
}

fn about(name: &str) -> About {
    About {
        name: name.to_owned(),
        kind: GroupKind::Public,
        password: None,
        icon: None,
        description: None,
        metadata: None,
        tags: Vec::new(),
    }
}

fn group(guid: &str) -> Group {
    Group {
        guid: Guid::trusted(guid),
        about: about(guid),
        owner: Uid::system(),
        members_count: 0,
        created_at: AT,
        updated_at: None,
    }
}

fn member(uid: &str) -> Member {
    Member { uid: Uid::trusted(uid), scope: Scope::Participant, joined_at: AT }
}

async fn agrees<T: Cached + PartialEq + Debug>(store: &Sqlite, name: T::Name, after: &str) {
    let cached = store.look_up::<T>(name.clone()).await.expect("the store reads");
    let fresh = store.read(move |db, vault| T::read(db, vault, &name)).await.expect("the store reads");
    assert_eq!(cached.as_deref(), fresh.as_ref(), "after {after}");
}

/// Reads all there may be, which leaves all of it in the caches for the next look.
async fn all_agree(store: &Sqlite, after: &str) {
    for app in APPS {
        let id = AppId::trusted(app);
        agrees::<App>(store, id.clone(), after).await;
        agrees::<KeyOwner>(store, store.vault.hash("api_key", &key(app).key), after).await;
        agrees::<Webhooks>(store, id.clone(), after).await;
        for conversation in [Receiver::Group(Guid::trusted("lounge")), Receiver::User(Uid::trusted("bob"))] {
            let conversation = conversation.conversation_of(&Uid::trusted("alice"));
            agrees::<KnownConversation>(store, (id.clone(), conversation), after).await;
        }
        for uid in UIDS {
            agrees::<User>(store, (id.clone(), Uid::trusted(uid)), after).await;
            agrees::<OwnedToken>(store, store.vault.hash("auth_token", &token(app, uid).token), after).await;
        }
        for guid in GUIDS {
            agrees::<Group>(store, (id.clone(), Guid::trusted(guid)), after).await;
            for uid in UIDS {
                agrees::<Member>(store, (id.clone(), Guid::trusted(guid), Uid::trusted(uid)), after).await;
            }
        }
    }
}

/// Numbers that look like chance, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % count
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// One write of each kind, by number; whether it is refused does not matter.
const WRITES: usize = 25;

async fn write_one(store: &Sqlite, kind: usize, dice: &mut Dice) -> Stored<&'static str> {
    let (app_name, uid, guid) = (dice.of(&APPS), dice.of(&UIDS), dice.of(&GUIDS));
    let of = app(app_name);
    let (id, whom, there) = (of.id.clone(), Uid::trusted(uid), Guid::trusted(guid));
    let hook = WebhookId::trusted("hook");
    match kind {
        0 => {
            let users = UIDS.map(user).to_vec();
            let samples = Samples { users, group: group(guid), members: UIDS.map(member).to_vec() };
            store.create_app(of, vec![key(app_name)], Some(samples)).await.map(|()| "create_app")
        }
        1 if dice.below(4) == 0 => store.delete_app(&id, AT).await.map(|_| "delete_app"),
        1 | 2 => {
            let settings = Settings { before_message_budget_ms: 100 + dice.below(9) as i64, ..of.settings };
            store.set_settings(&id, settings).await.map(|()| "set_settings")
        }
        3 => store.create_user(&id, user(uid), Some(token(app_name, uid))).await.map(|()| "create_user"),
        4 => {
            let profile = Profile { name: format!("{uid} {}", dice.below(99)), ..Profile::default() };
            store.set_profile(&id, &whom, profile, AT).await.map(|_| "set_profile")
        }
        5 => store.deactivate_user(&id, &whom, AT).await.map(|()| "deactivate_user"),
        6 => store.reactivate_user(&id, &whom).await.map(|()| "reactivate_user"),
        7 => store.delete_user(&id, &whom).await.map(|()| "delete_user"),
        8 => store.add_token(&id, token(app_name, uid)).await.map(|()| "add_token"),
        9 => store.create_group(&id, group(guid), vec![member(uid)]).await.map(|_| "create_group"),
        10 => {
            let named = about(&format!("{guid} {}", dice.below(99)));
            store.set_about(&id, &there, named, Some(whom), AT).await.map(|_| "set_about")
        }
        11 => store.delete_group(&id, &there, AT).await.map(|_| "delete_group"),
        12 | 13 => store
            .add_members(&id, &there, vec![member(uid)], User::system(), Told::nobody())
            .await
            .map(|_| "add_members"),
        14 => store
            .remove_member(&id, &there, &whom, User::system(), AT, Told::nobody())
            .await
            .map(|_| "remove_member"),
        15 | 16 => {
            let opening = opening(store, dice, &id, &token(app_name, uid)).await;
            store.open_connection(&of, opening, Told::nobody()).await.map(|_| "open_connection")
        }
        17 => end(store, &of, Ending::Session(session(dice))).await,
        18 => {
            let token_hash = store.vault.hash("auth_token", &token(app_name, uid).token);
            end(store, &of, Ending::Token { token_hash }).await
        }
        19 => end(store, &of, Ending::User { uid: whom }).await,
        20 => {
            let now = StartId::trusted("start9");
            store
                .end_connections_of_dead_starts(&now, AT, 1, Told::nobody())
                .await
                .map(|_| "end_connections_of_dead_starts")
        }
        21 => create_webhook(store, &id, &hook).await,
        22 => send(store, &of, "user", "bob", dice).await,
        23 => send(store, &of, "group", "lounge", dice).await,
        _ => change_webhook(store, &id, &hook, dice.below(5)).await,
    }
}

fn session(dice: &mut Dice) -> SessionId {
    SessionId::trusted(dice.of(&["s1", "s2", "s3"]))
}

async fn opening(store: &Sqlite, dice: &mut Dice, app: &AppId, token: &AuthToken) -> Opening {
    let owner = store.token_owner(app, &token.token).await.expect("the store reads");
    let connection = Open {
        session_id: session(dice),
        uid: token.uid.clone(),
        device_id: DeviceId::trusted("phone"),
        platform: Platform::Web,
        connected_at: AT,
        start: StartId::trusted("start1"),
    };
    let ids = ["a", "b"].map(|id| EventId::trusted(&format!("evt_{id}{}", dice.below(usize::MAX))));
    let token_hash = owner.map(|owner| owner.token_hash).unwrap_or_default();
    Opening { connection, token_hash, at: AT, event_ids: ids }
}

async fn end(store: &Sqlite, app: &App, ending: Ending) -> Stored<&'static str> {
    store.end_connections(app, ending, AT, Origin::Rest, Told::nobody()).await.map(|_| "end_connections")
}

async fn send(
    store: &Sqlite,
    app: &App,
    receiver_type: &str,
    receiver: &str,
    dice: &mut Dice,
) -> Stored<&'static str> {
    let body = json!({"receiver": receiver, "receiverType": receiver_type, "data": {"text": "hello"}});
    let accepted = Accepted {
        sender: user("alice"),
        draft: Draft::parse(&body).expect("the draft is fit"),
        receiver_entity: json!({}),
        at: AT,
        event_id: EventId::trusted(&format!("evt_{}", dice.below(usize::MAX))),
    };
    store.commit_message(app, accepted, Origin::Rest, Told::nobody()).await.map(|_| "commit_message")
}

fn webhook_draft(name: &str) -> WebhookDraft {
    let body = json!({"id": "hook", "name": name, "webhookURL": "https://example.com/hook"});
    WebhookDraft::parse(&body).expect("the draft is fit")
}

async fn create_webhook(store: &Sqlite, app: &AppId, hook: &WebhookId) -> Stored<&'static str> {
    let made = store.create_webhook(app, webhook_draft("Hook"), vec![1; 32], AT).await?;
    assert_eq!(made.id, *hook);
    Ok("create_webhook")
}

/// Begins one, since only the newest may switch off.
async fn newest_start(store: &Sqlite) -> Stored<StartId> {
    let start = StartId::trusted(&format!("start_{}", uuid::Uuid::now_v7().simple()));
    store.begin_start(&start, AT).await.map(|()| start)
}

async fn change_webhook(store: &Sqlite, app: &AppId, hook: &WebhookId, how: usize) -> Stored<&'static str> {
    let all = Trigger::ALL.to_vec();
    match how {
        0 => store.delete_webhook(app, hook, AT).await.map(|_| "delete_webhook"),
        1 => store.add_triggers(app, hook, all).await.map(|_| "add_triggers"),
        2 => store.remove_triggers(app, hook, all).await.map(|_| "remove_triggers"),
        3 => {
            let config = webhook_draft("Renamed").config;
            store.set_config(app, hook, config, SwitchedOff::Clear, AT).await.map(|_| "set_config")
        }
        _ => {
            let Some(found) = store.webhook(app, hook).await? else { return Ok("nothing") };
            store
                .switch_off(&newest_start(store).await?, found.row, SwitchOff::Gone, AT)
                .await
                .map(|()| "switch_off")
        }
    }
}

#[tokio::test]
async fn after_each_write_a_cached_read_says_what_the_database_says() {
    let (store, _dir) = open();
    let (mut dice, mut done) = (Dice(7), std::collections::BTreeSet::new());
    for step in 0..300 {
        let kind = if step < APPS.len() * 4 { 0 } else { dice.below(WRITES) };
        match write_one(&store, kind, &mut dice).await {
            Ok(what) => {
                done.insert(what);
                all_agree(&store, what).await;
            }
            Err(StoreError::Refused(_) | StoreError::Fault(_)) => all_agree(&store, "a refused write").await,
            Err(StoreError::Unavailable(cause)) => panic!("the store refuses work: {cause}"),
        }
    }
    assert!(done.len() >= 24, "some writes were never made: {done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_sees_an_older_value_than_was_acknowledged() {
    const ROUNDS: u64 = 400;
    let (store, _dir) = open();
    let id = AppId::trusted("app1");
    store.create_app(app("app1"), Vec::new(), None).await.expect("the app is made");
    store.create_user(&id, user("alice"), None).await.expect("the user is made");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for _ in 0..4 {
        let (store, acknowledged, id) = (Arc::clone(&store), Arc::clone(&acknowledged), id.clone());
        readers.push(tokio::spawn(async move {
            let mut seen = 0;
            while seen < ROUNDS {
                let least = acknowledged.load(Ordering::SeqCst);
                let found = store.user(&id, &Uid::trusted("alice")).await.expect("the store reads");
                seen = found.expect("she is there").profile.name.parse().unwrap_or(0);
                assert!(seen >= least, "{seen} after {least} was acknowledged");
                tokio::task::yield_now().await;
            }
        }));
    }
    for round in 1..=ROUNDS {
        let profile = Profile { name: round.to_string(), ..Profile::default() };
        store.set_profile(&id, &Uid::trusted("alice"), profile, AT).await.expect("written");
        acknowledged.store(round, Ordering::SeqCst);
    }
    for reader in readers {
        reader.await.expect("no reader saw an older value");
    }
}

#[tokio::test]
async fn the_writer_sees_its_own_transaction_and_what_is_rolled_back_is_not_kept() {
    let (store, _dir) = open();
    let name = (AppId::trusted("app1"), Uid::trusted("alice"));
    store.create_app(app("app1"), Vec::new(), None).await.expect("the app is made");
    store.create_user(&name.0, user("alice"), None).await.expect("the user is made");
    let named = name.clone();
    let undone: Stored<()> = store
        .write(move |w| {
            assert_eq!(w.look_up::<User>(&named)?.expect("she is there").profile.name, "alice");
            w.db.execute("UPDATE user SET name = 'changed'", []).expect("the row changes");
            assert_eq!(w.look_up::<User>(&named)?.expect("she is there").profile.name, "changed");
            Err(StoreError::Fault("undone".to_owned()))
        })
        .await;
    assert!(undone.is_err());
    let found = store.look_up::<User>(name).await.expect("the store reads").expect("she is there");
    assert_eq!(found.profile.name, "alice");
}

#[test]
fn a_full_cache_forgets_what_was_not_used_lately() {
    let cache = Cache::<App>::bounded(8);
    let name = |nth: usize| AppId::trusted(&nth.to_string());
    for nth in 0..100 {
        cache.put(name(nth), Kept { value: None, places: Arc::new([]), since: Moment::default() });
        assert!(cache.get(&name(0)).is_some(), "used after each");
    }
    let kept = (0..100).filter(|nth| cache.get(&name(*nth)).is_some()).count();
    assert!((4..=8).contains(&kept), "{kept} are kept");
}
