//! The real process, killed and stopped in the middle of its work: nothing acknowledged is missing,
//! nobody stays online, nothing is told out of order (design 2).
//! What a whole server does in peace is tested elsewhere.

mod backlog;
mod backup;
mod caller;
mod doomed;
mod load;
#[path = "../support/presence_ledger.rs"]
mod presence_ledger;
mod server;
mod sink;
mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use chathook_domain::webhook::IN_FLIGHT_MAX;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use caller::{Socket, Tenant};
use load::{Load, Place};
use presence_ledger::Ledger;
use server::{FAIL_SAFE, Server, Start};
use sink::{Sighting, Sink};

const KILLS: usize = 4;
const MESSAGES_PER_ROUND: usize = 200;
/// Settlements of one transaction (design 4), which a kill may lose together.
const SETTLEMENT_BATCH_MAX: usize = 500;
/// How long a stop may take (design 7).
const STOP_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed_under_load() {
    let sink = Sink::start(Duration::from_millis(3)).await;
    let data_dir = tempfile::tempdir().expect("a directory");
    let start = Start::new(data_dir.path(), &sink.ca_file);
    let mut server = start.run().await;
    let tenant = Tenant::make(server.address, &sink.url(), load::USERS).await;
    let (place, at) = watch::channel(Place::first(server.address));
    let mut load = Load::begin(&tenant, &at);

    for round in 1..=KILLS {
        load.acknowledged_at_least(round * MESSAGES_PER_ROUND).await;
        server.kill();
        server = start.run().await;
        place.send_modify(|place| place.moved_to(server.address));
    }
    load.acknowledged_at_least((KILLS + 1) * MESSAGES_PER_ROUND).await;
    let acknowledged = load.end().await;

    let wanted: BTreeSet<&String> = acknowledged.values().collect();
    assert_eq!(wanted.len(), acknowledged.len(), "two messages were acknowledged with one id");
    let sightings = sink
        .wait_until("everything is delivered, without a gap", |seen| {
            let delivered = message_ids(seen);
            wanted.iter().all(|id| delivered.contains(*id))
                && is_gapless(seen)
                && open_sessions(seen).is_some()
        })
        .await;
    let repeated = sightings.len() - distinct(&sightings).len();
    let delivered = message_ids(&sightings);
    println!(
        "acknowledged {}, delivered {}, missing {}, repeated {repeated}, kills {KILLS}",
        acknowledged.len(),
        delivered.len(),
        wanted.iter().filter(|id| !delivered.contains(**id)).count(),
    );
    assert_eq!(
        delivered.len(),
        acknowledged.len(),
        "a message was delivered that nobody sent, or twice under two ids"
    );
    assert!(repeated <= KILLS * (IN_FLIGHT_MAX + SETTLEMENT_BATCH_MAX), "{repeated} repeats are too many");
    assert_repeats_are_the_same(&sightings);
    assert_first_sightings_are_in_order(&sightings);
    assert_nobody_flickered(&sightings);
    load::assert_one_message_per_muid(&tenant, server.address, &acknowledged).await;
    assert_eq!(sink.strangers(), 0, "a request came without the webhook's credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_online_at_a_kill_is_told_as_gone_once_unless_they_come_back() {
    let sink = Sink::start(Duration::ZERO).await;
    let data_dir = tempfile::tempdir().expect("a directory");
    let start = Start::new(data_dir.path(), &sink.ca_file);
    let mut server = start.run().await;
    let tenant =
        Tenant::make(server.address, &sink.url(), ["back", "moved", "gone", "twice"].map(String::from)).await;
    let back = log_in(&tenant, &server, "back", "phone").await;
    let moved = log_in(&tenant, &server, "moved", "phone").await;
    let gone = log_in(&tenant, &server, "gone", "phone").await;
    let twice =
        [log_in(&tenant, &server, "twice", "phone").await, log_in(&tenant, &server, "twice", "laptop").await];
    sink.wait_until("five are connected", |seen| distinct(seen).len() == 5).await;

    server.kill();
    server = start.run().await;
    for uid in ["back", "moved", "gone", "twice"] {
        assert_eq!(tenant.status(server.address, uid).await, "available", "{uid} within the grace");
    }
    let back_again = log_in(&tenant, &server, "back", "phone").await;
    let moved_again = log_in(&tenant, &server, "moved", "laptop").await;
    let swept = [&back, &moved, &gone, &twice[0], &twice[1]];
    let seen = sink
        .wait_until("those left are told as gone", |seen| swept.iter().all(|id| !ends(seen, id).is_empty()))
        .await;
    for session in swept {
        assert_eq!(ends(&seen, session).len(), 1, "{session} ended more than once");
    }
    for (uid, session) in [("back", &back_again), ("moved", &moved_again)] {
        let begin = change(&seen, session, "connected");
        assert_eq!(begin["user"]["status_updated"], false, "{uid} flickered: {begin}");
        let told = changes_of(&seen, uid);
        assert!(told.iter().all(|data| data["user"]["status"] == "online"), "{uid} went offline: {told:?}");
        assert_eq!(tenant.status(server.address, uid).await, "available");
    }
    assert_eq!(change(&seen, &gone, "disconnected")["user"], offline(&seen, "gone"));
    let left: Vec<Value> =
        changes_of(&seen, "twice").into_iter().skip(2).map(|d| d["user"]["status"].clone()).collect();
    assert_eq!(left, ["online", "offline"], "of two sessions the last one tells that the user is gone");
    assert_eq!(tenant.status(server.address, "gone").await, "offline");

    // The end may not be settled yet, so it may come again; it must be the same one.
    server.kill();
    server = start.run().await;
    assert_eq!(tenant.status(server.address, "gone").await, "offline");
    let new = log_in(&tenant, &server, "gone", "phone").await;
    let seen = sink.wait_until("the newcomer is connected", |seen| has_change(seen, &new, "connected")).await;
    let begin = change(&seen, &new, "connected");
    assert_eq!(begin["user"]["status_updated"], true);
    assert_eq!(
        begin["connections"].as_array().map(Vec::len),
        Some(1),
        "nothing of the old session is left: {begin}"
    );
    for session in swept {
        assert_eq!(ends(&seen, session).len(), 1, "{session} ended again after another kill");
    }
}

/// The grace is thirty real seconds; two thousand sockets open well within it, on a slow machine too.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_thousand_online_at_a_kill_each_end_and_beginning_is_told_once() {
    let sink = Sink::start(Duration::ZERO).await;
    let data_dir = tempfile::tempdir().expect("a directory");
    let start = Start::new(data_dir.path(), &sink.ca_file);
    let mut server = start.run().await;
    let uids: Vec<String> = (0..500).map(|nth| format!("user-{nth}")).collect();
    let tenant = Tenant::make(server.address, &sink.url(), uids.iter().cloned()).await;
    let all = crowd(&tenant, &server, &uids).await;
    assert_eq!(all.len(), 2_000);

    // Much of what was written is not delivered yet.
    server.kill();
    server = start.run().await;
    let back = crowd(&tenant, &server, &uids[..250]).await;
    let seen = sink.wait_for_events(all.len() + back.len() + all.len()).await;

    let mut ledger = Ledger::default();
    connection_changes(&seen).into_iter().for_each(|data| ledger.enter(data));
    assert_eq!(ledger.connected_count(), all.len() + back.len());
    assert_eq!(ledger.disconnected_count(), all.len());
    assert_eq!(ledger.open(), back);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_and_loses_nothing() {
    let sink = Sink::start(Duration::from_millis(3)).await;
    let data_dir = tempfile::tempdir().expect("a directory");
    let start = Start::new(data_dir.path(), &sink.ca_file);
    let mut server = start.run().await;
    let tenant = Tenant::make(server.address, &sink.url(), load::USERS).await;
    let (place, at) = watch::channel(Place::first(server.address));
    let mut load = Load::begin(&tenant, &at);
    load.acknowledged_at_least(MESSAGES_PER_ROUND).await;
    // From now on no attempt ends within the time that a stop may take.
    sink.answer_after(STOP_MAX * 3);
    load.acknowledged_at_least(MESSAGES_PER_ROUND + 50).await;

    let told_at = Instant::now();
    let status = timeout(STOP_MAX * 3, server.stop()).await.expect("the server stops at all");
    let took = told_at.elapsed();
    println!("stopped in {took:?}");
    assert!(status.success(), "a stop is no failure: {status}");
    assert!(took <= STOP_MAX, "the stop took {took:?}");

    sink.answer_after(Duration::ZERO);
    server = start.run().await;
    place.send_modify(|place| place.moved_to(server.address));
    let acknowledged = load.end().await;
    sink.wait_until("everything is delivered, without a gap", |seen| {
        let delivered = message_ids(seen);
        acknowledged.values().all(|id| delivered.contains(id)) && is_gapless(seen)
    })
    .await;
    load::assert_one_message_per_muid(&tenant, server.address, &acknowledged).await;

    // With open sockets but nothing owed there is nothing to wait for.
    let status = timeout(STOP_MAX / 2, server.stop()).await.expect("an idle server stops quickly");
    assert!(status.success(), "a stop is no failure: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_data_is_refused_with_a_sentence() {
    let sink = Sink::start(Duration::ZERO).await;
    let data_dir = tempfile::tempdir().expect("a directory");
    let start = Start::new(data_dir.path(), &sink.ca_file);
    let server = start.run().await;
    let words = start.refused().await;
    assert!(words.contains("uses this data directory"), "{words}");
    assert!(!words.contains("panicked"), "{words}");
    drop(server);
    drop(start.run().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_refuses_the_credentials_that_everyone_knows() {
    let sink = Sink::start(Duration::ZERO).await;
    let data_dir = tempfile::tempdir().expect("a directory");
    for (key, secret) in [("dev-key", "dev-secret"), ("dev-key", server::SECRET), (server::KEY, "dev-secret")]
    {
        let start = Start { key, secret, ..Start::new(data_dir.path(), &sink.ca_file) };
        let words = start.refused().await;
        assert!(words.contains("chathook dev"), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_recovers_by_itself() {
    let sink = Sink::start(Duration::ZERO).await;
    let data_dir = tempfile::tempdir().expect("a directory");
    let limited = Start { file_kib_max: Some(4_096), ..Start::new(data_dir.path(), &sink.ca_file) };
    let mut server = limited.run().await;
    let tenant = Tenant::make(server.address, &sink.url(), ["u0", "u1"].map(String::from)).await;
    let text = "x".repeat(50_000);
    let mut acknowledged = BTreeMap::new();
    let mut refusals = 0;
    for n in 0..500 {
        let muid = format!("m{n}");
        let answer = tenant.send(server.address, "u0", "u1", &muid, &text).await.expect("the server answers");
        match answer.status.as_u16() {
            200 => drop(acknowledged.insert(muid, answer.id())),
            503 => {
                assert!(answer.headers.contains_key("retry-after"), "a refusal says when to come back");
                refusals += 1;
            }
            other => panic!("{other}: {}", answer.body),
        }
        if refusals == 20 {
            break;
        }
    }
    assert_eq!(refusals, 20, "the disk never got full");
    assert!(server.is_alive(), "a full disk is no reason to end");
    let health = caller::call(server.address, "GET", "/healthz", &[], None).await.expect("an answer");
    assert_eq!(health.status.as_u16(), 200);

    server.lift_file_limit();
    let recovered = async {
        loop {
            let answer =
                tenant.send(server.address, "u0", "u1", "late", "there is room").await.expect("an answer");
            if answer.status.as_u16() == 200 {
                return answer.id();
            }
            assert_eq!(answer.status.as_u16(), 503, "{}", answer.body);
        }
    };
    let late = timeout(FAIL_SAFE, recovered).await.expect("the server recovers by itself");
    acknowledged.insert("late".to_owned(), late);
    let all_delivered = |seen: &[Sighting]| {
        let delivered = message_ids(seen);
        acknowledged.values().all(|id| delivered.contains(id)) && is_gapless(seen)
    };
    sink.wait_until("everything is delivered without another start", all_delivered).await;

    server.kill();
    server = Start::new(data_dir.path(), &sink.ca_file).run().await;
    let stored = tenant.conversation(server.address, "u0", "u1").await;
    let stored: BTreeMap<String, String> = stored.into_iter().collect();
    assert!(
        acknowledged.iter().all(|(muid, id)| stored.get(muid) == Some(id)),
        "an acknowledged message is missing"
    );
    assert!(all_delivered(&sink.sightings()), "a delivery was lost, or one came from nowhere");
}

async fn log_in(tenant: &Tenant, server: &Server, uid: &str, device: &str) -> String {
    let socket = Socket::log_in(server.address, tenant, uid, device).await.expect("a log-in");
    let session = socket.session.clone();
    tokio::spawn(socket.until_closed());
    session
}

/// Each of these users with four devices, whose sockets stay open; gives the sessions.
async fn crowd(tenant: &Tenant, server: &Server, uids: &[String]) -> BTreeSet<String> {
    let devices = ["phone", "laptop", "tablet", "watch"];
    let all = uids.iter().flat_map(|uid| devices.iter().map(move |device| (uid, device)));
    let logging_in = stream::iter(all).map(async |(uid, device)| log_in(tenant, server, uid, device).await);
    logging_in.buffer_unordered(16).collect().await
}

/// The first sighting of each event.
fn distinct(sightings: &[Sighting]) -> Vec<&Sighting> {
    let mut known = BTreeSet::new();
    sightings.iter().filter(|seen| known.insert(&seen.id)).collect()
}

fn message_ids(sightings: &[Sighting]) -> BTreeSet<String> {
    let messages = sightings.iter().filter(|seen| seen.json["trigger"] == "after_message");
    messages.map(|seen| seen.json["data"]["id"].as_str().expect("an id").to_owned()).collect()
}

/// The numbers go from 1 to the highest, each for one event.
fn is_gapless(sightings: &[Sighting]) -> bool {
    let numbers: BTreeSet<u64> = sightings.iter().map(|seen| seen.sequence).collect();
    let events = distinct(sightings).len();
    numbers.first() == Some(&1)
        && numbers.last().is_some_and(|last| *last == numbers.len() as u64)
        && events == numbers.len()
}

fn assert_repeats_are_the_same(sightings: &[Sighting]) {
    let mut known: HashMap<&str, &Sighting> = HashMap::new();
    for seen in sightings {
        let first = known.entry(&seen.id).or_insert(seen);
        assert_eq!(first.body, seen.body, "a repeat of {} has another body", seen.id);
        assert_eq!(
            (first.sequence, &first.key),
            (seen.sequence, &seen.key),
            "a repeat of {} has another place",
            seen.id
        );
    }
}

fn assert_first_sightings_are_in_order(sightings: &[Sighting]) {
    let mut last: HashMap<&str, u64> = HashMap::new();
    for seen in distinct(sightings) {
        let before = last.insert(&seen.key, seen.sequence).unwrap_or(0);
        assert!(before < seen.sequence, "{}: {} came after {before}", seen.key, seen.sequence);
    }
}

/// Each user's one open session, where every other has ended exactly once.
fn open_sessions(sightings: &[Sighting]) -> Option<BTreeMap<String, String>> {
    let mut open: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for seen in connection_changes(sightings) {
        let uid = text(&seen["user"]["uid"]);
        let session = text(&seen["event"]["event_for"]["session_id"]);
        let sessions = open.entry(uid).or_default();
        if seen["event"]["type"] == "connected" {
            sessions.push(session);
        } else {
            let before = sessions.len();
            sessions.retain(|known| *known != session);
            assert_eq!(before - sessions.len(), 1, "{session} ended without a beginning, or twice");
        }
    }
    open.into_iter()
        .map(|(uid, mut sessions)| (sessions.len() == 1).then(|| (uid, sessions.remove(0))))
        .collect()
}

fn assert_nobody_flickered(sightings: &[Sighting]) {
    let mut known = BTreeSet::new();
    for seen in connection_changes(sightings) {
        let is_first = known.insert(text(&seen["user"]["uid"]));
        assert_eq!(seen["user"]["status"], "online", "{seen}");
        assert_eq!(seen["user"]["status_updated"], is_first, "{seen}");
    }
}

fn connection_changes(sightings: &[Sighting]) -> Vec<&Value> {
    let all = distinct(sightings).into_iter();
    all.filter(|seen| seen.json["trigger"] == "after_connection_status_changed")
        .map(|seen| &seen.json["data"])
        .collect()
}

fn changes_of<'a>(sightings: &'a [Sighting], uid: &str) -> Vec<&'a Value> {
    connection_changes(sightings).into_iter().filter(|data| data["user"]["uid"] == uid).collect()
}

fn changes<'a>(sightings: &'a [Sighting], session: &str, kind: &str) -> Vec<&'a Value> {
    let is_it =
        |data: &&Value| data["event"]["event_for"]["session_id"] == session && data["event"]["type"] == kind;
    connection_changes(sightings).into_iter().filter(is_it).collect()
}

fn ends<'a>(sightings: &'a [Sighting], session: &str) -> Vec<&'a Value> {
    changes(sightings, session, "disconnected")
}

fn has_change(sightings: &[Sighting], session: &str, kind: &str) -> bool {
    !changes(sightings, session, kind).is_empty()
}

fn change<'a>(sightings: &'a [Sighting], session: &str, kind: &str) -> &'a Value {
    let found = changes(sightings, session, kind);
    assert_eq!(found.len(), 1, "{session} {kind}: {found:?}");
    found[0]
}

/// How a user is shown who has just gone.
fn offline(sightings: &[Sighting], uid: &str) -> Value {
    let last = changes_of(sightings, uid).pop().expect("a change");
    json!({"uid": uid, "status": "offline", "status_updated": true, "status_updated_at": last["event"]["at"]})
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
