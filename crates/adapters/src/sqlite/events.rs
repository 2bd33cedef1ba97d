//! Events, and the deliveries that are made of them in the same transaction.

use std::sync::Arc;

use chathook_domain::app::App;
use chathook_domain::delivery::Owed;
use chathook_domain::event::Event;
use chathook_domain::ids::{AppId, DeliveryId};
use chathook_domain::trigger::Trigger;
use chathook_engine::ports::store::Stored;
use rusqlite::Connection;

use super::{Writing, fault};

/// Stores an event, listened to or not, with a waiting delivery for each webhook that listens.
pub(crate) fn record_event(w: &mut Writing<'_>, app: &App, event: Event) -> Stored<()> {
    let event_row = insert(w.db, &app.id, &event).map_err(fault)?;
    let listeners = listeners(w.db, &app.id, event.trigger).map_err(fault)?;
    let body: Arc<str> = Arc::from(event.body.as_str());
    for (webhook_row, webhook) in listeners {
        let sequence = next_sequence(w.db, &app.id, &webhook).map_err(fault)?;
        let owed = Owed {
            id: DeliveryId(0),
            webhook_row,
            sequence,
            key: event.key.clone(),
            event_id: event.id.clone(),
            body: Arc::clone(&body),
            attempts: 0,
            due: event.created_at,
        };
        let id = insert_delivery(w.db, &app.id, &webhook, event_row, &owed).map_err(fault)?;
        w.owed.push(Owed { id, ..owed });
    }
    Ok(())
}

fn insert(db: &Connection, app: &AppId, event: &Event) -> rusqlite::Result<i64> {
    db.prepare_cached(
        r#"INSERT INTO event (app, id, "trigger", key, body, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"#,
    )?
    .insert((
        app.as_str(),
        event.id.as_str(),
        event.trigger.id(),
        event.key.as_str(),
        event.body.as_str(),
        event.created_at.ms,
    ))
}

/// Rows and ids of the webhooks that listen, in the order in which they were created.
fn listeners(db: &Connection, app: &AppId, trigger: Trigger) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut query = db.prepare_cached(
        r#"SELECT w.row, w.id FROM webhook w JOIN webhook_trigger t ON t.webhook_row = w.row
           WHERE w.app = ?1 AND t."trigger" = ?2 AND w.enabled = 1 AND w.switched_off IS NULL
           ORDER BY w.row"#,
    )?;
    let rows = query.query_map((app.as_str(), trigger.id()), |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Numbers outlive the webhook: one deleted and made again goes on from its last.
fn next_sequence(db: &Connection, app: &AppId, webhook: &str) -> rusqlite::Result<i64> {
    db.prepare_cached(
        "INSERT INTO webhook_sequence (app, id, last) VALUES (?1, ?2, 1)
         ON CONFLICT (app, id) DO UPDATE SET last = last + 1 RETURNING last",
    )?
    .query_row((app.as_str(), webhook), |row| row.get(0))
}

fn insert_delivery(
    db: &Connection,
    app: &AppId,
    webhook: &str,
    event_row: i64,
    owed: &Owed,
) -> rusqlite::Result<DeliveryId> {
    let id = db
        .prepare_cached(
            "INSERT INTO delivery (app, webhook_row, webhook, sequence, event, key, due, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        )?
        .insert((
            app.as_str(),
            owed.webhook_row,
            webhook,
            owed.sequence,
            event_row,
            owed.key.as_str(),
            owed.due.ms,
        ))?;
    Ok(DeliveryId(id))
}
