//! What dispatch reads: webhooks with what it keeps of them, and deliveries that wait.

use std::sync::Arc;

use async_trait::async_trait;
use chathook_domain::delivery::Owed;
use chathook_domain::ids::{EventId, LaneKey, StartId, Time};
use chathook_engine::ports::store::{DeliveryStore, Due, NoticeKind, Settled, Stored, SwitchOff, Target};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{Sqlite, fault, notices, settlements, webhooks};

/// The columns of `waiting` that make an [`Owed`], in the order of [`owed_from`].
macro_rules! owed_columns {
    () => {
        "w.stream, w.sequence, w.lane, e.id, e.body, w.attempts, w.steps, w.due, w.first_failed_at,
         w.is_aside, w.replay"
    };
}

#[async_trait]
impl DeliveryStore for Sqlite {
    async fn webhook_rows(&self) -> Stored<Vec<i64>> {
        self.read(|db, _| {
            let rows = db
                .prepare_cached("SELECT row FROM webhook ORDER BY row")
                .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect());
            rows.map_err(fault)
        })
        .await
    }

    async fn target(&self, webhook_row: i64) -> Stored<Option<Target>> {
        self.read(move |db, vault| webhooks::target(db, vault, webhook_row)).await
    }

    async fn waiting_lanes(&self, stream: i64, after: Option<&LaneKey>, limit: i64) -> Stored<Vec<LaneKey>> {
        let after = after.cloned();
        self.read(move |db, _| waiting_lanes(db, stream, after, limit).map_err(fault)).await
    }

    async fn waiting_of_lane(
        &self,
        webhook_row: i64,
        stream: i64,
        lane: &LaneKey,
        after: i64,
        limit: i64,
    ) -> Stored<Vec<Owed>> {
        let lane = lane.clone();
        self.read(move |db, _| {
            let mut query = db
                .prepare_cached(concat!(
                    "SELECT ",
                    owed_columns!(),
                    " FROM waiting w JOIN event e ON e.row = w.event
                     WHERE w.stream = ?1 AND w.lane = ?2 AND w.sequence > ?3 AND w.is_aside = 0
                     ORDER BY w.sequence LIMIT ?4"
                ))
                .map_err(fault)?;
            let rows =
                query.query_map((stream, lane.as_str(), after, limit), |row| owed_from(row, webhook_row));
            rows.and_then(Iterator::collect).map_err(fault)
        })
        .await
    }

    async fn due(&self, webhook_row: i64, stream: i64, until: Time, limit: i64) -> Stored<Due> {
        self.read(move |db, _| due(db, webhook_row, stream, until, limit).map_err(fault)).await
    }

    async fn settle(&self, start: &StartId, settled: Vec<Settled>) -> Stored<Vec<(i64, i64)>> {
        let start = start.clone();
        self.write(move |w| settlements::settle(w, &start, &settled)).await
    }

    async fn set_failing_since(&self, webhook_row: i64, since: Option<Time>) -> Stored<()> {
        self.write(move |w| {
            w.db.prepare_cached("UPDATE webhook SET failing_since = ?2 WHERE row = ?1")
                .and_then(|mut update| update.execute((webhook_row, since.map(|at| at.ms))))
                .map(drop)
                .map_err(fault)
        })
        .await
    }

    async fn switch_off(&self, webhook_row: i64, why: SwitchOff, at: Time) -> Stored<()> {
        self.write(move |w| notices::switch_off(w, webhook_row, why, at)).await
    }

    async fn notify(&self, webhook_row: i64, kind: NoticeKind, text: String, at: Time) -> Stored<()> {
        self.write(move |w| notices::insert(w.db, webhook_row, kind, &text, at)).await
    }
}

/// One seek per lane, since a lane may hold any number of deliveries.
fn waiting_lanes(
    db: &Connection,
    stream: i64,
    after: Option<LaneKey>,
    limit: i64,
) -> rusqlite::Result<Vec<LaneKey>> {
    let mut query = db.prepare_cached(
        "SELECT lane FROM waiting WHERE stream = ?1 AND lane > ?2 AND is_aside = 0 ORDER BY lane LIMIT 1",
    )?;
    let mut lanes = Vec::new();
    // A lane's name is never empty, so all come after the empty one.
    let mut last = after.unwrap_or_else(|| LaneKey::trusted(""));
    for _ in 0..limit {
        let next =
            query.query_row((stream, last.as_str()), |row| Ok(LaneKey::trusted(row.get_ref(0)?.as_str()?)));
        let Some(lane) = next.optional()? else { break };
        lanes.push(lane.clone());
        last = lane;
    }
    Ok(lanes)
}

fn due(db: &Connection, webhook_row: i64, stream: i64, until: Time, limit: i64) -> rusqlite::Result<Due> {
    let mut query = db.prepare_cached(concat!(
        "SELECT ",
        owed_columns!(),
        " FROM waiting w JOIN event e ON e.row = w.event
         WHERE w.stream = ?1 AND w.due > 0 AND w.due <= ?2 ORDER BY w.due, w.sequence LIMIT ?3"
    ))?;
    let mut rows = query.query((stream, until.ms, limit))?;
    let mut due = Due::default();
    while let Some(row) = rows.next()? {
        let owed = owed_from(row, webhook_row)?;
        if owed.is_aside {
            due.aside.push(owed);
        } else if !due.lanes.contains(&owed.lane) {
            due.lanes.push(owed.lane);
        }
    }
    let next: Option<i64> = db
        .prepare_cached("SELECT min(due) FROM waiting WHERE stream = ?1 AND due > 0 AND due > ?2")?
        .query_row((stream, until.ms), |row| row.get(0))?;
    due.next = next.map(Time::from_ms);
    Ok(due)
}

fn owed_from(row: &Row<'_>, webhook_row: i64) -> rusqlite::Result<Owed> {
    let due: i64 = row.get(7)?;
    Ok(Owed {
        webhook_row,
        stream: row.get(0)?,
        sequence: row.get(1)?,
        lane: LaneKey::trusted(row.get_ref(2)?.as_str()?),
        event_id: EventId::trusted(row.get_ref(3)?.as_str()?),
        body: Arc::from(row.get_ref(4)?.as_str()?),
        attempts: row.get(5)?,
        steps: row.get(6)?,
        due: (due > 0).then(|| Time::from_ms(due)),
        first_failed_at: row.get::<_, Option<i64>>(8)?.map(Time::from_ms),
        is_aside: row.get(9)?,
        replay: row.get(10)?,
    })
}
