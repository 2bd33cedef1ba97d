//! The process dies at each step of a message's way, and starts again on the same data: before the commit nothing
//! has happened; after it nothing is lost, and a repeat has the same id and the same bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use crate::caller::{Socket, Tenant};
use crate::server::{ABORTED, FILE_TOO_LARGE, Server, Start};
use crate::sink::{Sighting, Sink};
use crate::{
    STOP_MAX, assert_first_sightings_are_in_order, assert_repeats_are_the_same, is_gapless, message_ids,
};

/// The first wait of the schedule (design 6).
const FIRST_RETRY: Duration = Duration::from_secs(10);

/// Ana has sent Ben the first message, which is delivered. She sends the second to a server that dies.
struct Scene {
    sink: Sink,
    data_dir: tempfile::TempDir,
    tenant: Tenant,
    first: String,
}

impl Scene {
    async fn begin() -> Self {
        let sink = Sink::start(Duration::ZERO).await;
        let data_dir = tempfile::tempdir().expect("a directory");
        let mut server = Start::new(data_dir.path(), &sink.ca_file).run().await;
        let tenant = Tenant::make(server.address, &sink.url(), ["ana", "ben"].map(String::from)).await;
        let first =
            tenant.send(server.address, "ana", "ben", "first", "first").await.expect("an answer").id();
        sink.wait_until("the first is delivered", |seen| seen.len() == 1).await;
        // A stop waits for the settlement.
        assert!(server.stop().await.success());
        Self { sink, data_dir, tenant, first }
    }

    async fn begin_with_gate() -> Self {
        let scene = Self::begin().await;
        let mut server = scene.server().await;
        scene.tenant.add_webhook(server.address, "gate", &scene.sink.ask_url(), &["before_message"]).await;
        assert!(server.stop().await.success());
        scene
    }

    /// The binary that ships.
    async fn server(&self) -> Server {
        Start::new(self.data_dir.path(), &self.sink.ca_file).run().await
    }

    async fn doomed(&self, step: &str) -> Server {
        Start { dies_at: Some(step), ..Start::new(self.data_dir.path(), &self.sink.ca_file) }.run().await
    }

    /// The id of the second message, where the sender was told of it.
    async fn send_second(&self, server: &Server) -> Option<String> {
        self.send_second_with(server, "second").await
    }

    async fn send_second_with(&self, server: &Server, text: &str) -> Option<String> {
        let answer = self.tenant.send(server.address, "ana", "ben", "second", text).await.ok()?;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        Some(answer.id())
    }

    async fn stored(&self, server: &Server) -> Vec<(String, String)> {
        self.tenant.conversation(server.address, "ana", "ben").await
    }

    fn log_file(&self) -> PathBuf {
        self.data_dir.path().join("chathook.db-wal")
    }

    fn log_bytes(&self) -> u64 {
        fs::metadata(self.log_file()).expect("the write-ahead log").len()
    }

    /// After a death before the commit.
    async fn nothing_has_happened(&self, at: &str) {
        let server = self.server().await;
        assert_eq!(self.stored(&server).await, [("first".to_owned(), self.first.clone())], "at {at}");
        assert_eq!(self.tenant.owed_count(server.address).await, 1, "at {at}");
        let second = self.send_second(&server).await.expect("a sender who comes back is answered");
        let seen = self.all_goes_on(&server, &second, at).await;
        assert_eq!(seen, 1, "at {at}");
    }

    /// After a death behind the commit; answers with how often the second message came.
    async fn the_message_is_there(&self, told: Option<String>, at: &str) -> usize {
        let server = self.server().await;
        let stored = self.stored(&server).await;
        let second = stored.iter().find(|(muid, _)| muid == "second").map(|(_, id)| id.clone());
        let second = second.unwrap_or_else(|| panic!("at {at} the message is lost: {stored:?}"));
        assert!(told.is_none_or(|id| id == second), "at {at}");
        // It is delivered though nobody asks again.
        self.sink.wait_until("the second is delivered", |seen| message_ids(seen).contains(&second)).await;
        let again = self.send_second(&server).await;
        assert_eq!(again.as_deref(), Some(second.as_str()), "at {at} the sender got another message");
        self.all_goes_on(&server, &second, at).await
    }

    /// A third message follows, and all three are there once, in order, under numbers without a gap.
    async fn all_goes_on(&self, server: &Server, second: &str, at: &str) -> usize {
        let third = self.tenant.send(server.address, "ana", "ben", "third", "third").await;
        let third = third.expect("an answer").id();
        let wanted = BTreeSet::from([self.first.clone(), second.to_owned(), third]);
        let seen =
            self.sink.wait_until("all is delivered", |seen| message_ids(seen).is_superset(&wanted)).await;
        assert!(is_gapless(&seen), "at {at}");
        assert_eq!(message_ids(&seen), wanted, "at {at}");
        assert_eq!(seen.iter().map(|one| one.sequence).max(), Some(3), "at {at}");
        assert_repeats_are_the_same(&seen);
        assert_first_sightings_are_in_order(&seen);
        let stored: Vec<String> = self.stored(server).await.into_iter().map(|(muid, _)| muid).collect();
        assert_eq!(stored, ["first", "second", "third"], "at {at}");
        times(&seen, 2)
    }
}

fn times(seen: &[Sighting], sequence: u64) -> usize {
    seen.iter().filter(|one| one.sequence == sequence).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_commit_nothing_has_happened() {
    for step in ["drafted", "allowed", "judged", "accepted", "written"] {
        let scene = Scene::begin_with_gate().await;
        let mut server = scene.doomed(step).await;
        assert_eq!(scene.send_second(&server).await, None, "at {step} the sender was answered");
        server.dies_of(ABORTED).await;
        scene.nothing_has_happened(step).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_webhook_is_asked_nothing_has_happened() {
    let scene = Scene::begin_with_gate().await;
    let mut server = scene.server().await;
    scene.sink.answer_after(STOP_MAX * 3);
    let (tenant, address) = (scene.tenant.clone(), server.address);
    let sending =
        tokio::spawn(async move { tenant.send(address, "ana", "ben", "second", "second").await.is_ok() });
    scene.sink.was_asked(1).await;
    server.kill();
    assert!(!sending.await.expect("no panic"), "the sender was answered");
    scene.sink.answer_after(Duration::ZERO);
    scene.nothing_has_happened("asking").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_the_commit_nothing_has_happened() {
    let scene = Scene::begin().await;
    let mut server = scene.server().await;
    // The text stands in the message and in the event, so that the commit is longer than what may be written.
    let text = "torn".repeat(10_000);
    server.dies_beyond(scene.log_bytes() + 100_000);
    assert_eq!(scene.send_second_with(&server, &text).await, None);
    server.dies_of(FILE_TOO_LARGE).await;
    let log = fs::read(scene.log_file()).expect("the write-ahead log");
    assert!(log.windows(8).any(|part| part == b"torntorn"), "the commit had not begun");
    drop(log);
    scene.nothing_has_happened("the middle of the commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_commit_the_message_is_there_and_a_sender_who_repeats_gets_it() {
    for (step, repeats_max) in [("committed", 0), ("told", 1), ("answering", 1)] {
        let scene = Scene::begin().await;
        let mut server = scene.doomed(step).await;
        assert_eq!(scene.send_second(&server).await, None, "at {step} the sender was answered");
        server.dies_of(ABORTED).await;
        let times = scene.the_message_is_there(None, step).await;
        assert!(times <= 1 + repeats_max, "at {step} it came {times} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_was_not_told_is_told_when_it_comes_back() {
    let scene = Scene::begin().await;
    let mut server = scene.server().await;
    let socket = Socket::log_in(server.address, &scene.tenant, "ben", "phone").await.expect("a log-in");
    scene.sink.wait_until("ben is connected", |seen| seen.len() == 2).await;
    assert!(server.stop().await.success());
    server = scene.doomed("committed").await;
    assert_eq!(scene.send_second(&server).await, None);
    server.dies_of(ABORTED).await;
    server = scene.server().await;
    let back = Socket::log_in_after(server.address, &scene.tenant, "ben", &socket.cursor).await;
    let told = back.expect("a log-in").told().await;
    assert_eq!((&told["method"], &told["params"]["muid"]), (&json!("message"), &json!("second")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_not_settled_is_made_once_more() {
    let steps = [("attempting", 1), ("attempted", 2), ("decided", 2), ("settling", 2), ("settled", 1)];
    for (step, times) in steps {
        let scene = Scene::begin().await;
        let mut server = scene.doomed(step).await;
        let told = scene.send_second(&server).await;
        server.dies_of(ABORTED).await;
        assert_eq!(scene.the_message_is_there(told, step).await, times, "at {step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_its_settlement_an_attempt_is_made_once_more() {
    let scene = Scene::begin().await;
    let mut server = scene.server().await;
    scene.sink.answer_after(STOP_MAX * 3);
    let told = scene.send_second(&server).await;
    assert!(told.is_some());
    scene.sink.wait_until("the second is there", |seen| seen.len() == 2).await;
    // One page of the settlement may be written, and it changes more.
    server.dies_beyond(scene.log_bytes() + 6_000);
    scene.sink.answer_after(Duration::ZERO);
    server.dies_of(FILE_TOO_LARGE).await;
    assert_eq!(scene.the_message_is_there(told, "the middle of the settlement").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_is_written_keeps_its_time_and_its_place() {
    let scene = Scene::begin().await;
    scene.sink.answer_with(StatusCode::INTERNAL_SERVER_ERROR);
    let mut server = scene.doomed("settled").await;
    let begun = Instant::now();
    let told = scene.send_second(&server).await;
    server.dies_of(ABORTED).await;
    scene.sink.answer_with(StatusCode::OK);
    let server = scene.server().await;
    // The third waits behind the second.
    let third = scene.tenant.send(server.address, "ana", "ben", "third", "third").await;
    assert_eq!(third.expect("an answer").status, StatusCode::OK);
    let seen = scene.sink.wait_until("the retry is made", |seen| times(seen, 2) == 2).await;
    assert!(begun.elapsed() >= FIRST_RETRY, "it was made after {:?}", begun.elapsed());
    let attempts: Vec<&str> = seen.iter().map(|one| one.attempt.as_str()).collect();
    assert_eq!(attempts, ["1", "1", "2"]);
    drop(server);
    scene.the_message_is_there(told, "waiting").await;
}
