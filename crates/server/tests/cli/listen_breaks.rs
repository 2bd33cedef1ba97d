//! `chathook listen` across breaks: nothing is lost, and each conversation stays in order.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::listen::{Desk, said};
use crate::support::command::Going;
use crate::support::passage::Passage;
use crate::support::*;

const EVENTS: usize = 200;
const PEOPLE: [&str; 4] = ["ben", "chloe", "dev", "emma"];

/// What the local server heard, which may hold repeats.
#[derive(Default)]
struct Heard {
    /// The request of each sequence when it came first, in the order in which they came.
    first: Vec<(i64, Received)>,
    at: HashMap<i64, usize>,
}

impl Heard {
    fn hear(&mut self, request: Received) {
        let sequence = request.number("chathook-sequence");
        if let Some(known) = self.at.get(&sequence) {
            let (_, before) = &self.first[*known];
            assert_eq!(request.header("webhook-id"), before.header("webhook-id"), "a repeat is told as one");
            assert_eq!(request.bytes, before.bytes);
            return;
        }
        self.at.insert(sequence, self.first.len());
        self.first.push((sequence, request));
    }

    fn is_whole_and_in_order(&self, count: usize) {
        let mut sequences: Vec<i64> = self.first.iter().map(|(sequence, _)| *sequence).collect();
        let mut by_key = HashMap::<&str, i64>::new();
        for (sequence, request) in &self.first {
            let last = by_key.insert(request.header("chathook-key"), *sequence);
            assert!(last.is_none_or(|last| last < *sequence), "{last:?} came before {sequence}");
        }
        sequences.sort_unstable();
        let all: Vec<i64> = (1..).take(count).collect();
        assert_eq!(sequences, all, "no gap");
    }
}

async fn through(passage: &Passage) -> Desk {
    let mut desk = Desk::new().await;
    passage.lead_to(desk.server.address);
    desk.shell = desk.shell.with("CHATHOOK_SERVER", &format!("http://{}", passage.address));
    desk
}

/// Takes what the command prints, so that it never waits for its reader.
async fn read_on(going: &mut Going) {
    loop {
        going.line().await;
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_leaves_no_gap_and_keeps_the_order() {
    let passage = Passage::to(([127, 0, 0, 1], 9).into()).await;
    let desk = through(&passage).await;
    let (mut going, _) = desk.listen(&["--trigger", "after_message"]).await;
    let numbers: Vec<usize> = (0..EVENTS).collect();
    let send = async {
        for some in numbers.chunks(20) {
            join_all(some.iter().map(|n| {
                let text = format!("m{n}");
                let desk = &desk;
                async move { desk.send(PEOPLE[n % PEOPLE.len()], &text).await }
            }))
            .await;
        }
    };
    let hear = async {
        let mut heard = Heard::default();
        while heard.first.len() < EVENTS {
            heard.hear(desk.local.next().await);
            if [30, 90, 150].contains(&heard.first.len()) {
                passage.cut();
            }
        }
        heard
    };
    let both = async { tokio::join!(send, hear).1 };
    let heard = tokio::select! {
        heard = both => heard,
        () = read_on(&mut going) => unreachable!("it reads as long as there is something"),
    };
    heard.is_whole_and_in_order(EVENTS);
}

#[tokio::test]
async fn a_restart_of_the_server_leaves_no_gap_and_keeps_the_order() {
    let passage = Passage::to(([127, 0, 0, 1], 9).into()).await;
    let mut desk = through(&passage).await;
    let (mut going, connected) = desk.listen(&["--trigger", "after_message"]).await;
    let mut heard = Heard::default();
    for n in 0..5 {
        desk.send("ben", &format!("before {n}")).await;
        heard.hear(desk.local.next().await);
        said(&mut going).await;
    }
    desk.server.restart().await;
    passage.lead_to(desk.server.address);
    desk.app = desk.server.moved(&desk.app);
    for n in 0..5 {
        desk.send("ben", &format!("after {n}")).await;
    }
    while heard.first.len() < 10 {
        heard.hear(desk.local.next().await);
    }
    heard.is_whole_and_in_order(10);
    let again = said(&mut going).await;
    assert_eq!((&again["type"], &again["resumed"]), (&json!("connected"), &json!(true)));
    assert_eq!(again["webhook"], connected["webhook"]);
}

#[tokio::test]
async fn a_person_who_leaves_while_the_connection_is_lost_leaves_nothing_behind() {
    let passage = Passage::to(([127, 0, 0, 1], 9).into()).await;
    let desk = through(&passage).await;
    let (mut going, _) = desk.listen(&[]).await;
    passage.cut();
    going.terminate();
    assert_eq!(going.ended().await, 0);
    until("the webhook is removed", async || desk.webhooks().await.is_empty()).await;
}
