//! What a person should know of a webhook: that it fails, and that it is switched off.

use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::turn::{Party, TurnKind, Turned};
use chathook_engine::ports::history::KeptNotice;
use chathook_engine::ports::store::{NoticeKind, Stored, SwitchOff};
use rusqlite::Connection;

use super::{Writing, fault, turns};

/// Switches a webhook off and says so; nothing where it is off already, or gone.
pub(super) fn switch_off(w: &mut Writing<'_>, webhook_row: i64, why: SwitchOff, at: Time) -> Stored<()> {
    let changed =
        w.db.prepare_cached(
            "UPDATE webhook SET switched_off = ?2, off_since = coalesce(off_since, ?3)
             WHERE row = ?1 AND switched_off IS NULL",
        )
        .and_then(|mut update| update.execute((webhook_row, why.as_str(), at.ms)));
    if changed.map_err(fault)? == 0 {
        return Ok(());
    }
    w.changed.push(webhook_row);
    let (party, kind) = (Party::Deliveries, TurnKind::SwitchedOff);
    let turned = Turned { party, kind, cause: why.as_str().to_owned() };
    turns::keep(w.db, webhook_row, &turned, at).map_err(fault)?;
    insert(w.db, webhook_row, NoticeKind::SwitchedOff, sentence(why), at)
}

fn sentence(why: SwitchOff) -> &'static str {
    match why {
        SwitchOff::Gone => {
            "The endpoint answered 410 Gone. The webhook is switched off and is owed nothing more."
        }
        SwitchOff::Failing => {
            "Nothing has reached the endpoint for too long. The webhook is switched off and is owed nothing more."
        }
        SwitchOff::Backlog => {
            "More waits for the endpoint than the server keeps. The webhook is switched off and is owed nothing more."
        }
    }
}

/// Nothing where the webhook is gone.
pub(super) fn insert(
    db: &Connection,
    webhook_row: i64,
    kind: NoticeKind,
    text: &str,
    at: Time,
) -> Stored<()> {
    db.prepare_cached(
        "INSERT INTO notice (app, webhook, kind, text, created_at)
         SELECT app, id, ?2, ?3, ?4 FROM webhook WHERE row = ?1",
    )
    .and_then(|mut insert| insert.execute((webhook_row, kind.as_str(), text, at.ms)))
    .map(drop)
    .map_err(fault)
}

/// Newest first, below a row.
pub(super) fn list(
    db: &Connection,
    app: &AppId,
    below: i64,
    limit: i64,
) -> rusqlite::Result<Vec<KeptNotice>> {
    db.prepare_cached(
        "SELECT row, webhook, kind, text, created_at FROM notice WHERE app = ?1 AND row < ?2
         ORDER BY row DESC LIMIT ?3",
    )?
    .query_map((app.as_str(), below, limit), |row| {
        Ok(KeptNotice {
            row: row.get(0)?,
            webhook: WebhookId::trusted(row.get_ref(1)?.as_str()?),
            kind: row.get(2)?,
            text: row.get(3)?,
            created_at: Time::from_ms(row.get(4)?),
        })
    })?
    .collect()
}
