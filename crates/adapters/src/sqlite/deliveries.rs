//! What dispatch reads and writes: waiting deliveries, attempts, settlements.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chathook_domain::delivery::{Owed, Settlement, Status, failure_detail, outcome_name};
use chathook_domain::ids::{AppId, DeliveryId, EventId, Key, Time};
use chathook_domain::outcome::Outcome;
use chathook_domain::webhook::Webhook;
use chathook_engine::ports::store::{DeliveryStore, Settled, Stored};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{Sqlite, fault, webhooks};

/// Bytes of an answer's body that an attempt keeps (design 6).
const KEPT_BYTES_MAX: usize = 4_096;
/// Why a 410 switched a webhook off.
const GONE: &str = "gone";

#[async_trait]
impl DeliveryStore for Sqlite {
    async fn all_webhooks(&self) -> Stored<Vec<(AppId, Webhook)>> {
        self.read(webhooks::load_all).await
    }

    async fn webhook_by_row(&self, row: i64) -> Stored<Option<(AppId, Webhook)>> {
        self.read(move |db, vault| webhooks::load(db, vault, row)).await
    }

    async fn waiting_keys(&self, webhook_row: i64, after: Option<&Key>, limit: i64) -> Stored<Vec<Key>> {
        let after = after.cloned();
        self.read(move |db, _| waiting_keys(db, webhook_row, after, limit).map_err(fault)).await
    }

    async fn waiting_of_key(&self, webhook_row: i64, key: &Key, after: i64, limit: i64) -> Stored<Vec<Owed>> {
        let key = key.clone();
        self.read(move |db, _| waiting_of_key(db, webhook_row, &key, after, limit).map_err(fault)).await
    }

    async fn settle(&self, settled: Vec<Settled>) -> Stored<()> {
        self.write(move |w| {
            for one in &settled {
                insert_attempt(w.db, one).map_err(fault)?;
                settle(w.db, one).map_err(fault)?;
            }
            let rows: BTreeSet<i64> = settled.iter().map(|one| one.webhook_row).collect();
            for row in rows {
                advance_settled(w.db, row).map_err(fault)?;
            }
            Ok(())
        })
        .await
    }

    async fn settled_up_to(&self, webhook_row: i64) -> Stored<i64> {
        self.read(move |db, _| {
            let number = db
                .prepare_cached(
                    "SELECT s.settled FROM webhook w JOIN webhook_sequence s ON s.app = w.app AND s.id = w.id
                     WHERE w.row = ?1",
                )
                .and_then(|mut query| query.query_row([webhook_row], |row| row.get(0)).optional());
            Ok(number.map_err(fault)?.unwrap_or(0))
        })
        .await
    }
}

/// One seek per key, since a lane may hold any number of deliveries.
fn waiting_keys(
    db: &Connection,
    webhook_row: i64,
    after: Option<Key>,
    limit: i64,
) -> rusqlite::Result<Vec<Key>> {
    let mut query = db.prepare_cached(
        "SELECT key FROM delivery WHERE webhook_row = ?1 AND status = 'waiting' AND key > ?2 ORDER BY key LIMIT 1",
    )?;
    let mut keys = Vec::new();
    // A key is never empty, so all come after the empty one.
    let mut last = after.map_or_else(String::new, |key| key.as_str().to_owned());
    for _ in 0..limit {
        let next: Option<String> = query.query_row((webhook_row, &last), |row| row.get(0)).optional()?;
        let Some(key) = next else { break };
        keys.push(Key::trusted(&key));
        last = key;
    }
    Ok(keys)
}

fn waiting_of_key(
    db: &Connection,
    webhook_row: i64,
    key: &Key,
    after: i64,
    limit: i64,
) -> rusqlite::Result<Vec<Owed>> {
    let mut query = db.prepare_cached(
        "SELECT d.id, d.webhook_row, d.sequence, d.key, e.id, e.body, d.attempts, d.due
         FROM delivery d JOIN event e ON e.row = d.event
         WHERE d.webhook_row = ?1 AND d.status = 'waiting' AND d.key = ?2 AND d.sequence > ?3
         ORDER BY d.sequence LIMIT ?4",
    )?;
    query.query_map((webhook_row, key.as_str(), after, limit), owed_from)?.collect()
}

fn owed_from(row: &Row<'_>) -> rusqlite::Result<Owed> {
    Ok(Owed {
        id: DeliveryId(row.get(0)?),
        webhook_row: row.get(1)?,
        sequence: row.get(2)?,
        key: Key::trusted(row.get_ref(3)?.as_str()?),
        event_id: EventId::trusted(row.get_ref(4)?.as_str()?),
        body: Arc::from(row.get_ref(5)?.as_str()?),
        attempts: row.get(6)?,
        due: Time::from_ms(row.get(7)?),
    })
}

/// Leaves out an attempt whose delivery is no longer there: its app was deleted.
fn insert_attempt(db: &Connection, settled: &Settled) -> rusqlite::Result<()> {
    let kept = match &settled.outcome {
        Outcome::Answered(answer) => {
            let length = answer.body.len().min(KEPT_BYTES_MAX);
            Some(String::from_utf8_lossy(&answer.body[..length]).into_owned())
        }
        Outcome::Failed(_) => None,
    };
    let phases = &settled.phases;
    db.prepare_cached(
        "INSERT INTO attempt (delivery, attempt, outcome, detail, address, resolve_us, connect_us, tls_us,
                              first_byte_us, total_us, kept, started_at, start)
         SELECT id, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14 FROM delivery WHERE id = ?1 AND app = ?2",
    )?
    .execute(rusqlite::params![
        settled.delivery.0,
        settled.app.as_str(),
        settled.attempt,
        outcome_name(&settled.outcome),
        failure_detail(&settled.outcome),
        settled.address,
        micros(phases.resolve_us),
        micros(phases.connect_us),
        micros(phases.tls_us),
        micros(phases.first_byte_us),
        micros(Some(phases.total_us)),
        kept,
        settled.started_at.ms,
        settled.start.as_str(),
    ])?;
    Ok(())
}

fn micros(us: Option<u64>) -> Option<i64> {
    us.map(|us| i64::try_from(us).unwrap_or(i64::MAX))
}

/// Only what still waits is changed: a delivery cancelled meanwhile stays cancelled.
fn settle(db: &Connection, settled: &Settled) -> rusqlite::Result<()> {
    let ended_at = settled.started_at.plus_ms(i64::try_from(settled.phases.total_us / 1_000).unwrap_or(0));
    match settled.settlement {
        Settlement::Delivered => end(db, settled, Status::Delivered, ended_at),
        Settlement::Failed => end(db, settled, Status::Failed, ended_at),
        Settlement::WaitUntil(due) => wait(db, settled, due),
        Settlement::SwitchOff => {
            db.prepare_cached(
                "UPDATE webhook SET switched_off = ?1 WHERE row = ?2 AND switched_off IS NULL",
            )?
            .execute((GONE, settled.webhook_row))?;
            wait(db, settled, ended_at)
        }
    }
}

fn end(db: &Connection, settled: &Settled, status: Status, ended_at: Time) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE delivery SET status = ?1, attempts = ?2, ended_at = ?3
         WHERE id = ?4 AND app = ?5 AND status = 'waiting'",
    )?
    .execute((
        status.as_str(),
        settled.attempt,
        ended_at.ms,
        settled.delivery.0,
        settled.app.as_str(),
    ))?;
    Ok(())
}

fn wait(db: &Connection, settled: &Settled, due: Time) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE delivery SET attempts = ?1, due = ?2 WHERE id = ?3 AND app = ?4 AND status = 'waiting'",
    )?
    .execute((settled.attempt, due.ms, settled.delivery.0, settled.app.as_str()))?;
    Ok(())
}

/// Each number has a delivery, so all below the first that waits are settled.
pub(super) fn advance_settled(db: &Connection, webhook_row: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE webhook_sequence SET settled = coalesce(
             (SELECT min(sequence) - 1 FROM delivery WHERE webhook_row = ?1 AND status = 'waiting'), last)
         WHERE (app, id) = (SELECT app, id FROM webhook WHERE row = ?1)",
    )?
    .execute([webhook_row])?;
    Ok(())
}
