//! What dispatch reads: webhooks with what it keeps of them, and deliveries that wait.

use std::sync::Arc;

use async_trait::async_trait;
use chathook_domain::delivery::Owed;
use chathook_domain::ids::{EventId, LaneKey, LaneKind, StartId, Time};
use chathook_domain::lane::{LANE_LENGTH_MAX, LanePart};
use chathook_domain::turn::Turned;
use chathook_engine::ports::store::{
    Asides, DeliveryStore, LineOf, NoticeKind, READ_BYTES_MAX, Settled, Stored, SwitchOff, Target,
};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::settlements::newest_start;
use super::{Sqlite, fault, notices, settlements, turns, webhooks};

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

    async fn waiting_of_lane(&self, of: LineOf, lane: &LaneKey, after: i64) -> Stored<LanePart> {
        let lane = lane.clone();
        self.read_for_dispatch(move |db, _| Reading::of(db, of).part(lane, after).map_err(fault)).await
    }

    async fn waiting_of_lanes(&self, of: LineOf, lanes: Vec<LaneKey>) -> Stored<Vec<LanePart>> {
        self.read_for_dispatch(move |db, _| {
            let mut reading = Reading::of(db, of);
            lanes
                .into_iter()
                .map(|lane| reading.part(lane, 0))
                .collect::<rusqlite::Result<_>>()
                .map_err(fault)
        })
        .await
    }

    async fn waiting_lanes(
        &self,
        of: LineOf,
        kind: LaneKind,
        after: Option<&LaneKey>,
        limit: usize,
    ) -> Stored<Vec<LanePart>> {
        let after = after.cloned();
        self.read_for_dispatch(move |db, _| Reading::of(db, of).lanes(kind, after, limit).map_err(fault))
            .await
    }

    async fn asides(&self, of: LineOf, until: Time, limit: usize) -> Stored<Asides> {
        self.read_for_dispatch(move |db, _| asides(db, of, until, limit).map_err(fault)).await
    }

    async fn step_aside(&self, start: &StartId, stream: i64, sequences: Vec<i64>) -> Stored<()> {
        let start = start.clone();
        self.write(move |w| {
            newest_start(w.db, &start)?;
            let mut update =
                w.db.prepare_cached("UPDATE waiting SET is_aside = 1 WHERE stream = ?1 AND sequence = ?2")
                    .map_err(fault)?;
            for sequence in sequences {
                update.execute((stream, sequence)).map_err(fault)?;
            }
            Ok(())
        })
        .await
    }

    async fn settle(&self, start: &StartId, settled: Vec<Settled>) -> Stored<Vec<(i64, i64)>> {
        let start = start.clone();
        self.write(move |w| settlements::settle(w, &start, &settled)).await
    }

    async fn keep_turn(&self, start: &StartId, webhook_row: i64, turned: Turned, at: Time) -> Stored<()> {
        let start = start.clone();
        self.write(move |w| {
            newest_start(w.db, &start)?;
            turns::keep(w.db, webhook_row, &turned, at).map_err(fault)
        })
        .await
    }

    async fn set_failing_since(&self, start: &StartId, webhook_row: i64, since: Option<Time>) -> Stored<()> {
        let start = start.clone();
        self.write(move |w| {
            newest_start(w.db, &start)?;
            w.db.prepare_cached("UPDATE webhook SET failing_since = ?2 WHERE row = ?1")
                .and_then(|mut update| update.execute((webhook_row, since.map(|at| at.ms))))
                .map(drop)
                .map_err(fault)
        })
        .await
    }

    async fn switch_off(&self, start: &StartId, webhook_row: i64, why: SwitchOff, at: Time) -> Stored<()> {
        let start = start.clone();
        self.write(move |w| {
            newest_start(w.db, &start)?;
            notices::switch_off(w, webhook_row, why, at)
        })
        .await
    }

    async fn notify(
        &self,
        start: &StartId,
        webhook_row: i64,
        kind: NoticeKind,
        text: String,
        at: Time,
    ) -> Stored<()> {
        let start = start.clone();
        self.write(move |w| {
            newest_start(w.db, &start)?;
            notices::insert(w.db, webhook_row, kind, &text, at)
        })
        .await
    }
}

/// One read of what waits in lanes. Long messages make it shorter, and each lane has its first all the same.
struct Reading<'a> {
    db: &'a Connection,
    of: LineOf,
    bytes: usize,
}

impl<'a> Reading<'a> {
    fn of(db: &'a Connection, of: LineOf) -> Self {
        Self { db, of, bytes: 0 }
    }

    /// One seek per lane, since a lane may hold any number of deliveries.
    fn lanes(
        &mut self,
        kind: LaneKind,
        after: Option<LaneKey>,
        limit: usize,
    ) -> rusqlite::Result<Vec<LanePart>> {
        let (first, end) = kind.bounds();
        let mut query = self.db.prepare_cached(
            "SELECT lane FROM waiting WHERE stream = ?1 AND lane > ?2 AND lane < ?3 AND is_aside = 0
             ORDER BY lane LIMIT 1",
        )?;
        let mut last = after.unwrap_or(first);
        let mut parts = Vec::new();
        while parts.len() < limit {
            let next = query
                .query_row((self.of.stream, last.as_str(), end.as_str()), |row| {
                    Ok(LaneKey::trusted(row.get_ref(0)?.as_str()?))
                })
                .optional()?;
            let Some(lane) = next else { break };
            last = lane.clone();
            parts.push(self.part(lane, 0)?);
        }
        Ok(parts)
    }

    fn part(&mut self, lane: LaneKey, after: i64) -> rusqlite::Result<LanePart> {
        let mut query = self.db.prepare_cached(concat!(
            "SELECT ",
            owed_columns!(),
            " FROM waiting w JOIN event e ON e.row = w.event
             WHERE w.stream = ?1 AND w.lane = ?2 AND w.sequence > ?3 AND w.is_aside = 0 ORDER BY w.sequence"
        ))?;
        let mut rows = query.query((self.of.stream, lane.as_str(), after))?;
        let mut owed = Vec::new();
        let mut has_more = false;
        while let Some(row) = rows.next()? {
            if owed.len() >= LANE_LENGTH_MAX || (self.bytes > READ_BYTES_MAX && !owed.is_empty()) {
                has_more = true;
                break;
            }
            let next = owed_from(row, self.of.webhook_row)?;
            self.bytes += next.body.len();
            owed.push(next);
        }
        Ok(LanePart { lane, owed, has_more })
    }
}

fn asides(db: &Connection, of: LineOf, until: Time, limit: usize) -> rusqlite::Result<Asides> {
    let mut query = db.prepare_cached(concat!(
        "SELECT ",
        owed_columns!(),
        " FROM waiting w JOIN event e ON e.row = w.event
         WHERE w.stream = ?1 AND w.is_aside = 1 ORDER BY w.due, w.sequence"
    ))?;
    let mut rows = query.query([of.stream])?;
    let mut asides = Asides::default();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let owed = owed_from(row, of.webhook_row)?;
        let is_due = owed.due.is_none_or(|due| due <= until);
        if !is_due || asides.owed.len() >= limit || bytes > READ_BYTES_MAX {
            asides.next = Some(owed);
            break;
        }
        bytes += owed.body.len();
        asides.owed.push(owed);
    }
    Ok(asides)
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
