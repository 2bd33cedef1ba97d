//! What waits for each webhook of an app now.

use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_engine::ports::tallies::Standing;
use rusqlite::{Connection, OptionalExtension as _};

/// Attempts among which the last failure is looked for, those of the newest deliveries.
const ATTEMPTS_LOOKED_AT_MAX: i64 = 200;

pub(super) fn list(db: &Connection, app: &AppId, waiting_bytes_max: i64) -> rusqlite::Result<Vec<Standing>> {
    let mut webhooks = db.prepare_cached(
        "SELECT w.id, w.stream, w.failing_since, s.waiting_bytes, s.waiting_count
         FROM webhook w JOIN stream s ON s.row = w.stream WHERE w.app = ?1 ORDER BY w.row",
    )?;
    let mut oldest =
        db.prepare_cached("SELECT created_at FROM waiting WHERE stream = ?1 ORDER BY sequence LIMIT 1")?;
    let mut last_failure = db.prepare_cached(
        "SELECT outcome FROM (SELECT outcome, started_at FROM attempt WHERE stream = ?1
                              ORDER BY sequence DESC, attempt DESC LIMIT ?2)
         WHERE outcome NOT GLOB '2[0-9][0-9]' ORDER BY started_at DESC LIMIT 1",
    )?;
    let mut rows = webhooks.query([app.as_str()])?;
    let mut standings = Vec::new();
    while let Some(row) = rows.next()? {
        let stream: i64 = row.get(1)?;
        let failing_since = row.get::<_, Option<i64>>(2)?.map(Time::from_ms);
        let last_failure = match failing_since {
            Some(_) => {
                last_failure.query_row((stream, ATTEMPTS_LOOKED_AT_MAX), |row| row.get(0)).optional()?
            }
            None => None,
        };
        standings.push(Standing {
            webhook: WebhookId::trusted(row.get_ref(0)?.as_str()?),
            waiting: row.get::<_, i64>(4)?.max(0).cast_unsigned(),
            waiting_bytes: row.get(3)?,
            waiting_bytes_max,
            oldest_waiting_at: oldest.query_row([stream], |row| row.get(0)).optional()?.map(Time::from_ms),
            failing_since,
            last_failure,
        });
    }
    Ok(standings)
}
