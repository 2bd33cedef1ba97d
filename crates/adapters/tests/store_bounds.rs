//! The embedded store through its port: reads have an end, a group takes its history along, and an
//! app is made whole or not at all.

use std::path::Path;
use std::sync::Arc;

use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::app::{App, Settings};
use chathook_domain::delivery::Owed;
use chathook_domain::event::Origin;
use chathook_domain::group::{About, Group, GroupKind, Member, Scope};
use chathook_domain::ids::{AppId, EventId, Guid, MessageId, Time, Uid};
use chathook_domain::message::{Accepted, Draft, Message, Receiver};
use chathook_domain::user::{Profile, User};
use chathook_engine::ports::store::{
    AppStore as _, GroupStore as _, MessageFilter, MessageStore as _, Offers, PageRequest, READ_BYTES_MAX,
    Samples, Told,
};
use chathook_engine::ports::upkeep::{Doomed, UpkeepStore as _};
use serde_json::json;

const AT: Time = Time::from_ms(1_700_000_000_000);

struct Nowhere;

impl Offers for Nowhere {
    fn offer(&self, _: Vec<Owed>) {}
    fn changed(&self, _: i64) {}
}

struct House {
    store: Sqlite,
    app: App,
    dir: tempfile::TempDir,
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

fn user(uid: &str) -> User {
    let profile = Profile { name: uid.to_owned(), ..Profile::default() };
    User { uid: Uid::trusted(uid), profile, ..User::system() }
}

/// A group `lounge` of this owner.
fn lounge(owner: &str) -> Group {
    let about = About {
        name: "Lounge".to_owned(),
        kind: GroupKind::Public,
        password: None,
        icon: None,
        description: None,
        metadata: None,
        tags: Vec::new(),
    };
    Group {
        guid: Guid::trusted("lounge"),
        about,
        owner: Uid::trusted(owner),
        members_count: 0,
        created_at: AT,
        updated_at: None,
    }
}

fn samples(owner: &str) -> Samples {
    Samples { users: vec![user("alice"), user("bob")], group: lounge(owner), members: Vec::new() }
}

fn open(dir: &Path) -> Sqlite {
    let vault = Arc::new(Vault::from_key([7; 32]));
    Sqlite::open(dir, vault, Arc::new(Nowhere), Options::default()).expect("the store opens")
}

/// An app with alice, bob and alice's group.
async fn house() -> House {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path());
    let app = app("app1");
    store.create_app(app.clone(), Vec::new(), Some(samples("alice"))).await.expect("the app is made");
    House { store, app, dir }
}

impl House {
    async fn send(&self, receiver: &str, kind: &str, text: &str) -> Message {
        let body = json!({"receiver": receiver, "receiverType": kind, "data": {"text": "short"}});
        let mut draft = Draft::parse(&body).expect("the draft is fit");
        draft.data.insert("text".to_owned(), json!(text));
        let accepted = Accepted {
            sender: user("alice"),
            draft,
            receiver_entity: json!({}),
            at: AT,
            event_id: EventId::trusted(&format!("evt_{}", uuid::Uuid::now_v7().simple())),
        };
        let sent = self.store.commit_message(&self.app, accepted, Origin::Rest, Told::nobody()).await;
        sent.expect("the message is stored").message
    }

    async fn ids(&self, before: Option<MessageId>, after: Option<MessageId>) -> Vec<i64> {
        let visible_to = Some(Uid::trusted("alice"));
        let filter = MessageFilter { conversation: None, visible_to, before, after, limit: 100 };
        let found = self.store.messages(&self.app.id, filter).await.expect("the store reads");
        found.iter().map(|message| message.id.0).collect()
    }

    async fn lines(&self) -> usize {
        let found = self.store.recorded_after(&self.app.id, &Uid::trusted("alice"), 0, 100).await;
        found.expect("the store reads").lines.len()
    }
}

#[tokio::test]
async fn a_read_stops_at_its_bytes_and_the_next_goes_on_where_it_stopped() {
    let house = house().await;
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(house.send("bob", "user", &"x".repeat(READ_BYTES_MAX / 4)).await.id);
    }
    let all: Vec<i64> = all.iter().map(|id| id.0).collect();
    let oldest = house.ids(None, Some(MessageId(0))).await;
    assert!(oldest.len() < 6 && all.starts_with(&oldest), "{oldest:?}");
    let next = house.ids(None, oldest.last().copied().map(MessageId)).await;
    assert!(all[oldest.len()..].starts_with(&next), "{next:?}");
    let newest = house.ids(None, None).await;
    assert!(newest.len() < 6 && all.ends_with(&newest), "{newest:?}");
    let older = house.ids(newest.first().copied().map(MessageId), None).await;
    assert!(all[..all.len() - newest.len()].ends_with(&older), "{older:?}");

    let alice = Uid::trusted("alice");
    let missed = house.store.recorded_after(&house.app.id, &alice, 0, 100).await.expect("the store reads");
    assert!(missed.is_cut && missed.lines.len() < 6);
    let rest = house.store.recorded_after(&house.app.id, &alice, 8, 100).await.expect("the store reads");
    assert!(!rest.is_cut && rest.lines.len() == 2);
}

#[tokio::test]
async fn a_group_made_again_starts_empty() {
    let house = house().await;
    let kept = house.send("bob", "user", "kept").await;
    house.send("lounge", "group", "old").await;
    assert_eq!(house.lines().await, 2);
    let guid = Guid::trusted("lounge");
    assert!(house.store.delete_group(&house.app.id, &guid, AT).await.expect("deleted"));
    house.store.create_group(&house.app.id, lounge("alice"), Vec::new()).await.expect("made again");
    let new = house.send("lounge", "group", "new").await;
    assert_eq!(house.ids(None, None).await, [kept.id.0, new.id.0]);
    assert_eq!(house.lines().await, 2);
    let audience = house.store.audience(&house.app.id, &Uid::trusted("alice"), &Receiver::Group(guid)).await;
    assert_eq!(audience.expect("the store reads"), [Uid::trusted("alice")]);
}

/// More than a few pieces of a removal touch.
const MANY: usize = 1_000;

/// An app whose group `lounge` has that many members.
async fn crowd(store: &Sqlite) -> AppId {
    let member = |nth| Member { uid: uid_of(nth), scope: Scope::Participant, joined_at: AT };
    let users = (0..MANY).map(|nth| user(uid_of(nth).as_str())).collect();
    let samples = Samples { users, group: lounge("u0"), members: (0..MANY).map(member).collect() };
    store.create_app(app("app2"), Vec::new(), Some(samples)).await.expect("the app is made");
    AppId::trusted("app2")
}

fn uid_of(nth: usize) -> Uid {
    Uid::trusted(&format!("u{nth}"))
}

/// Rows of members, whether or not anybody finds them.
fn member_rows(dir: &Path) -> usize {
    let db = rusqlite::Connection::open(dir.join("chathook.db")).expect("a second hand");
    let count =
        db.query_row("SELECT count(*) FROM member WHERE app = 'app2'", [], |row| row.get::<_, u32>(0));
    count.expect("the rows are counted") as usize
}

#[tokio::test]
async fn a_deleted_group_has_no_members_at_once_though_they_go_piece_by_piece_also_after_a_restart() {
    let House { mut store, dir, .. } = house().await;
    let (app, guid, last) = (crowd(&store).await, Guid::trusted("lounge"), uid_of(MANY - 1));
    let page = PageRequest { page: 1, per_page: 10 };
    assert!(store.member(&app, &guid, &last).await.expect("the store reads").is_some());
    assert!(store.delete_group(&app, &guid, AT).await.expect("deleted"));
    let left = member_rows(dir.path());
    assert!((MANY / 2..MANY).contains(&left), "the deletion removes a piece: {left} are left");
    for restarts in 0..2 {
        let found = store.member(&app, &guid, &last).await.expect("the store reads");
        assert!(found.is_none(), "after {restarts} restarts {found:?} is a member");
        let listed = store.members(&app, &guid, page).await.expect("the store reads");
        assert!(listed.total == 0 && listed.items.is_empty());
        let audience = store.audience(&app, &last, &Receiver::Group(guid.clone())).await;
        assert_eq!(audience.expect("the store reads"), std::slice::from_ref(&last), "nobody but who asks");
        drop(store);
        store = open(dir.path());
    }
    let doomed = Doomed::Group(app.clone(), guid.clone());
    let before = member_rows(dir.path());
    assert!(store.remove_doomed(Some(doomed.clone())).await.expect("removed"));
    let removed = before - member_rows(dir.path());
    assert!((1..MANY / 2).contains(&removed), "a step removes a piece: {removed}");
    let made = store.create_group(&app, lounge("u0"), Vec::new()).await.expect("made again");
    assert_eq!((made.members_count, member_rows(dir.path())), (1, 1), "only its owner");
    assert!(store.member(&app, &guid, &last).await.expect("the store reads").is_none());
}

#[tokio::test]
async fn an_app_whose_samples_are_refused_is_not_there() {
    let house = house().await;
    let made = house.store.create_app(app("app2"), Vec::new(), Some(samples("nobody"))).await;
    assert!(made.is_err());
    let found = house.store.app(&AppId::trusted("app2")).await.expect("the store reads");
    assert!(found.is_none());
}
