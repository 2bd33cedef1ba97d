//! How the circuits of webhooks turned: a bounded history.

use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::turn::Turned;
use chathook_engine::ports::store::TURNS_MAX;
use chathook_engine::ports::stored::Stored;
use chathook_engine::ports::tallies::KeptTurn;
use rusqlite::Connection;

use super::{fault, past};

/// Nothing where the webhook is gone. The oldest beyond the bound go.
pub(super) fn keep(db: &Connection, webhook_row: i64, turned: &Turned, at: Time) -> rusqlite::Result<()> {
    let Turned { party, kind, cause } = turned;
    db.prepare_cached(
        "INSERT INTO turn (app, webhook, party, kind, cause, at)
         SELECT app, id, ?2, ?3, ?4, ?5 FROM webhook WHERE row = ?1",
    )?
    .execute((webhook_row, party.as_str(), kind.as_str(), cause, at.ms))?;
    let kept = i64::try_from(TURNS_MAX).expect("a small number");
    db.prepare_cached(
        "DELETE FROM turn WHERE row IN (
             SELECT t.row FROM turn t JOIN webhook w ON w.row = ?1 AND t.app = w.app AND t.webhook = w.id
             ORDER BY t.row DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute((webhook_row, kept))
    .map(drop)
}

/// Newest first, below a row.
pub(super) fn list(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    below: i64,
    limit: i64,
) -> Stored<Vec<KeptTurn>> {
    past::spot(db, app, webhook)?;
    let read = || {
        db.prepare_cached(
            "SELECT row, party, kind, cause, at FROM turn WHERE app = ?1 AND webhook = ?2 AND row < ?3
             ORDER BY row DESC LIMIT ?4",
        )?
        .query_map((app.as_str(), webhook.as_str(), below, limit), |row| {
            Ok(KeptTurn {
                row: row.get(0)?,
                party: row.get(1)?,
                kind: row.get(2)?,
                cause: row.get(3)?,
                at: Time::from_ms(row.get(4)?),
            })
        })?
        .collect::<rusqlite::Result<_>>()
    };
    read().map_err(fault)
}
