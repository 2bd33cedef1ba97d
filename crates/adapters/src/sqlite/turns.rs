//! How the circuits of webhooks turned: a bounded history.

use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::turn::{TurnKind, Turned};
use chathook_engine::ports::store::TURNS_MAX;
use chathook_engine::ports::stored::Stored;
use chathook_engine::ports::tallies::KeptTurn;
use rusqlite::Connection;

use super::{fault, past};

/// Nothing where the webhook is gone. The oldest beyond the bound go. Probes that fail one after the other
/// are counted in one row, so that those of a long failure leave room for its beginning.
pub(super) fn keep(db: &Connection, webhook_row: i64, turned: &Turned, at: Time) -> rusqlite::Result<()> {
    let Turned { party, kind, cause } = turned;
    if repeats(*kind) && count_another(db, webhook_row, turned, at)? {
        return Ok(());
    }
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

/// Kinds that come again and again while an endpoint is down.
fn repeats(kind: TurnKind) -> bool {
    match kind {
        TurnKind::ProbeFailed | TurnKind::Paused => true,
        TurnKind::Opened | TurnKind::Closed | TurnKind::SwitchedOff => false,
    }
}

/// Whether this circuit has turned so before since it last turned otherwise, which then counts this one as well. A
/// probe that fails and the pause that its answer asks for come in turn.
fn count_another(db: &Connection, webhook_row: i64, turned: &Turned, at: Time) -> rusqlite::Result<bool> {
    let mut query = db.prepare_cached(
        "SELECT t.row, t.kind FROM webhook w JOIN turn t ON t.app = w.app AND t.webhook = w.id
         WHERE w.row = ?1 AND t.party = ?2 ORDER BY t.row DESC LIMIT 2",
    )?;
    let last = query.query_map((webhook_row, turned.party.as_str()), |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    for turn in last {
        let (row, kind) = turn?;
        if kind == turned.kind.as_str() {
            db.prepare_cached("UPDATE turn SET times = times + 1, cause = ?2, last_at = ?3 WHERE row = ?1")?
                .execute((row, &turned.cause, at.ms))?;
            return Ok(true);
        }
        if ![TurnKind::ProbeFailed, TurnKind::Paused].iter().any(|repeats| repeats.as_str() == kind) {
            break;
        }
    }
    Ok(false)
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
            "SELECT row, party, kind, cause, at, times, last_at FROM turn WHERE app = ?1 AND webhook = ?2 AND row < ?3
             ORDER BY row DESC LIMIT ?4",
        )?
        .query_map((app.as_str(), webhook.as_str(), below, limit), |row| {
            Ok(KeptTurn {
                row: row.get(0)?,
                party: row.get(1)?,
                kind: row.get(2)?,
                cause: row.get(3)?,
                at: Time::from_ms(row.get(4)?),
                times: row.get::<_, i64>(5)?.max(1).cast_unsigned(),
                last_at: row.get::<_, Option<i64>>(6)?.map(Time::from_ms),
            })
        })?
        .collect::<rusqlite::Result<_>>()
    };
    read().map_err(fault)
}
