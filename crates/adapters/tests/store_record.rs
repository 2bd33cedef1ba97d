//! What is told of commits, at once and by the record from which sockets catch up: in which order, and as
//! it is now.

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::app::{App, Settings};
use chathook_domain::delivery::Owed;
use chathook_domain::event::Origin;
use chathook_domain::ids::{AppId, EventId, MessageId, Time, Uid};
use chathook_domain::message::{Accepted, Change, ChangeKind, Draft, Receiver};
use chathook_domain::receipt::{Mark, ReceiptKind};
use chathook_domain::user::{Profile, User};
use chathook_engine::ports::store::{
    AppStore as _, Committed, MessageStore as _, Offers, Recorded, Told, UserStore as _,
};
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
    _dir: tempfile::TempDir,
}

fn user(uid: &str) -> User {
    let profile = Profile { name: uid.to_owned(), ..Profile::default() };
    User { uid: Uid::trusted(uid), profile, ..User::system() }
}

fn event_id() -> EventId {
    EventId::trusted(&format!("evt_{}", uuid::Uuid::now_v7().simple()))
}

/// An app with alice and bob.
async fn house() -> House {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store =
        Sqlite::open(dir.path(), Arc::new(Vault::from_key([7; 32])), Arc::new(Nowhere), Options::default());
    let store = store.expect("the store opens");
    let app = App {
        id: AppId::trusted("app1"),
        name: "One".to_owned(),
        region: "us".to_owned(),
        settings: Settings::default(),
        created_at: AT,
    };
    store.create_app(app.clone(), Vec::new(), None).await.expect("the app is made");
    for uid in ["alice", "bob"] {
        store.create_user(&app.id, user(uid), None).await.expect("the user is made");
    }
    House { store, app, _dir: dir }
}

/// What somebody writes to bob.
fn accepted(from: &str, text: &str) -> Accepted {
    let body = json!({"receiver": "bob", "receiverType": "user", "data": {"text": text}});
    Accepted {
        sender: user(from),
        draft: Draft::parse(&body).expect("the draft is fit"),
        receiver_entity: user("bob").to_entity(),
        at: AT,
        event_id: event_id(),
    }
}

impl House {
    /// Alice writes to bob.
    async fn send(&self, text: &str) -> Committed {
        self.store
            .commit_message(&self.app, accepted("alice", text), Origin::Rest, Told::nobody())
            .await
            .expect("stored")
    }

    async fn change(&self, id: MessageId, kind: ChangeKind) -> Committed {
        let change = Change { kind, by: user("alice"), at: AT, event_id: event_id() };
        self.store.change_message(&self.app, id, change, Origin::Rest, Told::nobody()).await.expect("changed")
    }

    async fn edit(&self, id: MessageId, text: &str) -> Committed {
        let edit = ChangeKind::parse_edit(&json!({"data": {"text": text}})).expect("the edit is fit");
        self.change(id, edit).await
    }

    async fn missed(&self, cursor: i64) -> Vec<Recorded> {
        let missed = self.store.recorded_after(&self.app.id, &Uid::trusted("bob"), cursor, 100).await;
        let missed = missed.expect("the store reads");
        assert!(!missed.is_cut);
        missed.lines
    }
}

fn methods(lines: &[Recorded]) -> Vec<&str> {
    lines.iter().map(|line| line.method.as_str()).collect()
}

#[tokio::test]
async fn who_listens_hears_of_commits_in_their_order_and_of_nothing_that_was_refused() {
    let house = house().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let send = |from: &'static str, text: &'static str| {
        let heard = Arc::clone(&heard);
        let told = Told::by(move |committed: &Committed| {
            let text = committed.message.data["text"].as_str().expect("a text").to_owned();
            heard.lock().expect("not poisoned").push(text);
        });
        house.store.commit_message(&house.app, accepted(from, text), Origin::Rest, told)
    };
    let (mut first, mut gone) = (send("alice", "first"), send("alice", "gone"));
    // One look brings a write to the queue.
    let mut look = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut look).is_pending() && gone.as_mut().poll(&mut look).is_pending());
    drop(gone);
    send("nobody", "refused").await.expect_err("there is no such sender");
    send("alice", "last").await.expect("stored");
    assert_eq!(*heard.lock().expect("not poisoned"), ["first", "gone", "last"]);
}

#[tokio::test]
async fn messages_and_receipts_are_told_in_one_order_and_each_cursor_goes_on_after_its_own() {
    let house = house().await;
    let first = house.send("one").await;
    let mark = Mark {
        kind: ReceiptKind::Read,
        by: Uid::trusted("bob"),
        receiver: Receiver::User(Uid::trusted("alice")),
        up_to: None,
        at: AT,
        event_ids: [event_id(), event_id()],
    };
    let marked = house.store.mark(&house.app, mark, Origin::Socket, Told::nobody()).await.expect("marked");
    let last = house.send("two").await;
    let mut cursors = vec![first.cursor];
    cursors.extend(marked.receipts.iter().map(|(_, cursor)| *cursor));
    cursors.push(last.cursor);
    let lines = house.missed(0).await;
    assert_eq!(methods(&lines), ["message", "receipt", "receipt", "message"]);
    assert_eq!(lines.iter().map(|line| line.cursor).collect::<Vec<_>>(), cursors);
    for (nth, cursor) in cursors.iter().enumerate() {
        assert_eq!(house.missed(*cursor).await.len(), 3 - nth, "after {cursor}");
    }
}

#[tokio::test]
async fn an_edited_message_is_told_as_it_is_now() {
    let house = house().await;
    let sent = house.send("before").await;
    house.edit(sent.message.id, "after").await;
    let lines = house.missed(0).await;
    assert_eq!(methods(&lines), ["message", "messageEdited"]);
    assert_eq!(lines[0].params["data"]["text"], "after");
}

#[tokio::test]
async fn the_text_of_a_deleted_message_is_not_told_again() {
    let house = house().await;
    let sent = house.send("the secret of then").await;
    house.edit(sent.message.id, "the secret of later").await;
    house.change(sent.message.id, ChangeKind::Delete).await;
    let lines = house.missed(0).await;
    assert_eq!(methods(&lines), ["message", "messageDeleted"]);
    assert!(!format!("{lines:?}").contains("secret"), "{lines:?}");
}
