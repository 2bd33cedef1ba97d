//! Tests that were sent by hand: one attempt each, beside the numbered deliveries.

use std::collections::VecDeque;

use chathook_domain::delivery::Status;
use chathook_domain::history::{DeliveryId, Run};
use chathook_domain::ids::{AppId, EventId, Time, WebhookId};
use chathook_engine::ports::endpoints::Phases;
use chathook_engine::ports::history::{Attempt, Delivery, DeliveryDetail, DeliveryFilter, TestDelivery};
use chathook_engine::ports::stored::Stored;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::{Value, json};

use super::past;
use super::{fault, listing, messages};

/// Answers with its number.
pub(super) fn keep(db: &Connection, app: &AppId, webhook: &WebhookId, test: &TestDelivery) -> Stored<i64> {
    past::spot(db, app, webhook)?;
    let TestDelivery { trigger, event, body, attempt } = test;
    db.prepare_cached(
        r#"INSERT INTO test_delivery (app, webhook, "trigger", event_id, body, outcome, attempt, started_at)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"#,
    )
    .and_then(|mut insert| {
        insert.insert((
            app.as_str(),
            webhook.as_str(),
            trigger.id(),
            event.as_str(),
            body,
            &attempt.outcome,
            to_json(attempt).to_string(),
            attempt.started_at.ms,
        ))
    })
    .map_err(fault)
}

pub(super) fn find(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    row: i64,
) -> Stored<Option<DeliveryDetail>> {
    past::spot(db, app, webhook)?;
    db.prepare_cached(
        r#"SELECT row, "trigger", event_id, outcome, started_at, attempt, body FROM test_delivery
           WHERE row = ?3 AND app = ?1 AND webhook = ?2"#,
    )
    .and_then(|mut query| {
        query
            .query_row((app.as_str(), webhook.as_str(), row), |row| {
                let delivery = delivery_from(row)?;
                let attempt = attempt_from(row, delivery.created_at)?;
                Ok(DeliveryDetail { delivery, attempts: vec![attempt], body: row.get(6)? })
            })
            .optional()
    })
    .map_err(fault)
}

/// The tests of a webhook below a number, newest first, as far as they were looked at.
pub(super) fn run(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    filter: &DeliveryFilter,
    below: i64,
) -> rusqlite::Result<Run<Delivery>> {
    let mut run = Run { items: VecDeque::new(), edge: None };
    if filter.key.is_some() {
        return Ok(run);
    }
    let mut query = db.prepare_cached(
        r#"SELECT row, "trigger", event_id, outcome, started_at, webhook = ?2 FROM test_delivery
           WHERE app = ?1 AND row < ?3 ORDER BY row DESC LIMIT ?4"#,
    )?;
    let look_max = listing::look_max(filter);
    let mut rows = query.query((app.as_str(), webhook.as_str(), below, look_max))?;
    let mut looked_at = 0;
    while run.items.len() <= filter.limit
        && let Some(row) = rows.next()?
    {
        looked_at += 1;
        let (number, at) = (row.get(0)?, Time::from_ms(row.get(4)?));
        if listing::is_before_span(filter, at) {
            break;
        }
        if row.get(5)? && listing::spans(filter, at) {
            let delivery = delivery_from(row)?;
            let is_fit = filter.status.is_none_or(|status| status == delivery.status)
                && filter.trigger.is_none_or(|trigger| delivery.trigger == Some(trigger));
            if is_fit {
                run.items.push_back((number, at, delivery));
            }
        }
        if looked_at == look_max {
            run.edge = Some((number, at));
        }
    }
    Ok(run)
}

fn delivery_from(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let outcome: String = row.get(3)?;
    let at = Time::from_ms(row.get(4)?);
    // Any 2xx is success, and a named failure is no number.
    let is_success = outcome.parse().is_ok_and(|status: u16| (200..300).contains(&status));
    Ok(Delivery {
        id: DeliveryId::Test(row.get(0)?),
        event: Some(EventId::trusted(row.get_ref(2)?.as_str()?)),
        trigger: Some(past::trigger(row, 1)?),
        key: None,
        status: if is_success { Status::Delivered } else { Status::Failed },
        attempts: 1,
        last_outcome: Some(outcome),
        created_at: at,
        ended_at: Some(at),
        replay: None,
        waiting: None,
    })
}

fn to_json(attempt: &Attempt) -> Value {
    let phases = &attempt.phases;
    json!({
        "detail": attempt.detail, "address": attempt.address, "kept": attempt.kept,
        "resolve_us": phases.resolve_us, "connect_us": phases.connect_us, "tls_us": phases.tls_us,
        "first_byte_us": phases.first_byte_us, "total_us": phases.total_us,
    })
}

fn attempt_from(row: &Row<'_>, started_at: Time) -> rusqlite::Result<Attempt> {
    let stored: Value = messages::json(row, 5)?;
    let text = |name: &str| stored[name].as_str().map(str::to_owned);
    let us = |name: &str| stored[name].as_u64();
    Ok(Attempt {
        attempt: 1,
        outcome: row.get(3)?,
        detail: text("detail"),
        address: text("address"),
        phases: Phases {
            resolve_us: us("resolve_us"),
            connect_us: us("connect_us"),
            tls_us: us("tls_us"),
            first_byte_us: us("first_byte_us"),
            total_us: us("total_us").unwrap_or(0),
        },
        kept: text("kept"),
        started_at,
    })
}
