//! Writes what follows from attempts, in batches, and what there is to note of a webhook beside them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chathook_domain::delivery::Settlement;
use chathook_domain::failing::Note;
use tokio::sync::mpsc;

use crate::means::{Means, STORE_WAIT_MS, is_passing};
use crate::ports::store::{NoticeKind, Settled, StoreError, Stored, SwitchOff};

/// Deliveries settled in one transaction, and how long the first of them waits for others.
const BATCH_MAX: usize = 500;
const BATCH_WAIT: Duration = Duration::from_millis(5);
/// Settlements that may wait for the writer; then lanes wait for a place.
pub(crate) const WAITING_MAX: usize = BATCH_MAX * 4;

/// Gathers settlements and writes them, until nobody can send any more.
pub(crate) async fn write_settlements(means: Means, mut due: mpsc::Receiver<Settled>) {
    let mut batch = Vec::new();
    while due.recv_many(&mut batch, BATCH_MAX).await > 0 {
        // Nothing that anyone sees depends on this wait, so it is the runtime's and not the clock's.
        let waited_enough = tokio::time::sleep(BATCH_WAIT);
        tokio::pin!(waited_enough);
        // Only a busy dispatcher is worth waiting for.
        while batch.len() < BATCH_MAX && means.lines.under_way() > batch.len() {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                biased;
                count = due.recv_many(&mut batch, room) => if count == 0 { break },
                () = &mut waited_enough => break,
            }
        }
        settle_all(&means, std::mem::take(&mut batch)).await;
    }
}

/// Returns when every settlement is written. One that the store cannot take is left out, so that it holds up nobody
/// else: its delivery still waits in the store and goes out again after a start.
async fn settle_all(means: &Means, batch: Vec<Settled>) {
    let mut rest = vec![batch];
    while let Some(part) = rest.pop() {
        tracing::trace!(step = "settling", count = part.len(), "settlements are to be written");
        match means.store.settle(&means.start, part.clone()).await {
            Ok(numbers) => {
                tracing::trace!(step = "settled", count = part.len(), "settlements are on disk");
                written(means, &part, &numbers.into_iter().collect());
            }
            Err(error) if is_passing(&error) => {
                tracing::warn!(?error, count = part.len(), "settlements wait for the store");
                rest.push(part);
                means.clock.sleep_until(means.clock.ticks() + STORE_WAIT_MS).await;
            }
            Err(_) if part.len() > 1 => rest.extend(part.into_iter().map(|one| vec![one])),
            Err(error) => {
                tracing::error!(?error, "a settlement cannot be written");
                written(means, &part, &HashMap::new());
            }
        }
    }
}

fn written(means: &Means, part: &[Settled], settled_up_to: &HashMap<i64, i64>) {
    let lines = &means.lines;
    let rows: BTreeSet<i64> = part.iter().map(|one| one.webhook_row).collect();
    let now = means.clock.ticks();
    for row in rows {
        let Some(room) = lines.room(row) else { continue };
        let mut visit = lines.visit(&room);
        let mut has_timer = false;
        for one in part.iter().filter(|one| one.webhook_row == row) {
            visit.line.written(one.sequence);
            has_timer |= matches!(one.settlement, Settlement::Waits { .. });
        }
        if let Some(number) = settled_up_to.get(&row) {
            visit.settled = visit.settled.max(*number);
        }
        let is_to_be_looked_at = has_timer || visit.line.lacks_some(now);
        drop(visit);
        if is_to_be_looked_at {
            lines.stir(row);
        }
    }
    lines.end_writes(part.len());
}

/// Writes notes one after the other, until nobody can send any more.
pub(crate) async fn write_notes(means: Means, mut told: mpsc::UnboundedReceiver<(i64, Note)>) {
    while let Some((row, note)) = told.recv().await {
        loop {
            match write_note(&means, row, &note).await {
                Ok(()) => break,
                Err(error) if is_passing(&error) => {
                    means.clock.sleep_until(means.clock.ticks() + STORE_WAIT_MS).await;
                }
                Err(error) => {
                    tracing::error!(?error, webhook.row = row, "a note cannot be written");
                    break;
                }
            }
        }
        if let Note::SteppedAside { sequence, .. } = note
            && let Some(room) = means.lines.room(row)
        {
            means.lines.visit(&room).line.written(sequence);
            means.lines.stir(row);
        }
        means.lines.end_writes(1);
    }
}

async fn write_note(means: &Means, row: i64, note: &Note) -> Stored<()> {
    let (store, start) = (&means.store, &means.start);
    let at = means.clock.now();
    let notify = |kind, text: &str| store.notify(start, row, kind, text.to_owned(), at);
    match note {
        Note::SteppedAside { stream, sequence } => store.step_aside(start, *stream, vec![*sequence]).await,
        Note::FailingSince(since) => store.set_failing_since(start, row, *since).await,
        Note::Failing => {
            tracing::warn!(webhook.row = row, "a webhook's endpoint fails; its circuit is open");
            notify(
                NoticeKind::Failing,
                "Ten requests in a row have failed. Deliveries wait; one is tried from time to time.",
            )
            .await
        }
        Note::SwitchingOffSoon => {
            notify(
                NoticeKind::SwitchingOffSoon,
                "Nothing has succeeded for four days. The webhook is switched off after five.",
            )
            .await
        }
        Note::Recovered => notify(NoticeKind::Recovered, "The endpoint takes deliveries again.").await,
        Note::FailedTooLong => switch_off(means, row, SwitchOff::Failing).await,
        Note::Gone => switch_off(means, row, SwitchOff::Gone).await,
        Note::Turned(turned) => store.keep_turn(start, row, turned.clone(), at).await,
    }
}

async fn switch_off(means: &Means, row: i64, why: SwitchOff) -> Result<(), StoreError> {
    tracing::warn!(webhook.row = row, why = ?why, "a webhook is switched off");
    means.store.switch_off(&means.start, row, why, means.clock.now()).await?;
    if let Some(room) = means.lines.room(row) {
        means.lines.visit(&room).line.switch_off_written();
    }
    means.lines.changed(row);
    Ok(())
}
