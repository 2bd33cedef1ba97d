//! Attempts and what follows from them: what waits ends, or waits for another attempt.

use std::collections::{BTreeMap, BTreeSet};

use chathook_domain::delivery::{Settlement, Status, outcome_name};
use chathook_domain::ids::{StartId, Time};
use chathook_domain::outcome::Outcome;
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::ports::store::{Settled, Stored};
use rusqlite::types::ToSqlOutput::Borrowed;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _};

use super::ledger::Ledger;
use super::{Writing, fault};

/// Bytes of an answer's body that an attempt keeps (design 6).
const KEPT_BYTES_MAX: usize = 4_096;

/// Writes a batch; answers with the settled number of each webhook row in it.
pub(super) fn settle(w: &mut Writing<'_>, start: &StartId, settled: &[Settled]) -> Stored<Vec<(i64, i64)>> {
    let start = newest_start(w.db, start)?;
    settle_all(w.db, w.ledger, start, settled).map_err(fault)
}

/// The row of this start, which has to be the newest: an older one no longer speaks for what is in flight.
pub(super) fn newest_start(db: &Connection, start: &StartId) -> Stored<i64> {
    let newest = db
        .prepare_cached("SELECT row FROM start WHERE id = ?1 AND row = (SELECT max(row) FROM start)")
        .and_then(|mut query| query.query_row([start.as_str()], |row| row.get(0)).optional());
    newest.map_err(fault)?.ok_or_else(|| {
        let sentence = format!("The start '{start}' is not the newest, so it writes nothing any more.");
        Refusal::new(Code::StartSuperseded, sentence).into()
    })
}

fn settle_all(
    db: &Connection,
    ledger: &mut Ledger,
    start: i64,
    settled: &[Settled],
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut ends = Ends::of(db)?;
    let mut waits = Waits::of(db)?;
    let mut attempts = Attempts::of(db, start)?;
    let mut streams = BTreeMap::new();
    for one in settled {
        let ended_at = one.started_at.plus_ms(i64::try_from(one.phases.total_us / 1_000).unwrap_or(0));
        let ending = |status| Ending {
            stream: one.stream,
            sequence: one.sequence,
            status,
            attempts: Some(one.attempt),
            at: ended_at,
        };
        let waited = match one.settlement {
            Settlement::Delivered => ends.end(ledger, &ending(Status::Delivered))?,
            Settlement::Failed => ends.end(ledger, &ending(Status::Failed))?,
            Settlement::Waits { due, steps, first_failed_at, is_aside } => {
                let changes = (one.attempt, due.ms, steps, first_failed_at.ms, is_aside);
                waits.update(one.stream, one.sequence, changes)?
            }
        };
        // A delivery that was cancelled meanwhile keeps the attempt; one that is gone has none.
        if waited || has_ended(db, one.stream, one.sequence)? {
            attempts.insert(one)?;
        }
        streams.insert(one.webhook_row, one.stream);
    }
    ends.advance(ledger)?;
    let settled_of = |(row, stream)| Ok((row, ledger.stream(db, stream)?.map_or(0, |of| of.settled)));
    streams.into_iter().map(settled_of).collect()
}

fn has_ended(db: &Connection, stream: i64, sequence: i64) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM ended WHERE stream = ?1 AND sequence = ?2")?.exists((stream, sequence))
}

/// How one delivery ends.
pub(super) struct Ending {
    pub stream: i64,
    pub sequence: i64,
    pub status: Status,
    /// With the last one; `None` where it ends without another attempt.
    pub attempts: Option<u32>,
    pub at: Time,
}

/// Takes deliveries from what waits to what ended. Its user calls [`Self::advance`] when all are taken.
pub(super) struct Ends<'db> {
    look: CachedStatement<'db>,
    keep: CachedStatement<'db>,
    take: CachedStatement<'db>,
    db: &'db Connection,
    /// Streams of which the first number that was not settled is settled now.
    moved: BTreeSet<i64>,
}

impl<'db> Ends<'db> {
    pub(super) fn of(db: &'db Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            look: db.prepare_cached(
                "SELECT lane, event, replay, created_at, attempts, bytes FROM waiting
                 WHERE stream = ?1 AND sequence = ?2",
            )?,
            keep: db.prepare_cached(
                "INSERT INTO ended (stream, sequence, lane, event, status, attempts, replay, created_at, ended_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            take: db.prepare_cached("DELETE FROM waiting WHERE stream = ?1 AND sequence = ?2")?,
            db,
            moved: BTreeSet::new(),
        })
    }

    /// False where it no longer waits: then nothing is changed.
    pub(super) fn end(&mut self, ledger: &mut Ledger, ending: &Ending) -> rusqlite::Result<bool> {
        let Ending { stream, sequence, status, at, .. } = *ending;
        let bytes: i64 = {
            let mut rows = self.look.query((stream, sequence))?;
            let Some(row) = rows.next()? else { return Ok(false) };
            let attempts = match ending.attempts {
                Some(attempts) => attempts,
                None => row.get(4)?,
            };
            self.keep.execute((
                stream,
                sequence,
                Borrowed(row.get_ref(0)?),
                Borrowed(row.get_ref(1)?),
                status.as_str(),
                attempts,
                Borrowed(row.get_ref(2)?),
                Borrowed(row.get_ref(3)?),
                at.ms,
            ))?;
            row.get(5)?
        };
        self.take.execute((stream, sequence))?;
        if let Some(mut numbers) = ledger.stream(self.db, stream)? {
            numbers.waiting_count -= 1;
            numbers.waiting_bytes -= bytes;
            if sequence == numbers.settled + 1 {
                self.moved.insert(stream);
            }
            ledger.set_stream(stream, numbers);
        }
        Ok(true)
    }

    /// Moves the settled numbers.
    pub(super) fn advance(self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        self.moved.into_iter().try_for_each(|stream| advance(self.db, ledger, stream))
    }
}

/// Each number has a delivery, so all below the first that waits are settled.
pub(super) fn advance(db: &Connection, ledger: &mut Ledger, stream: i64) -> rusqlite::Result<()> {
    let first: Option<i64> = db
        .prepare_cached("SELECT min(sequence) FROM waiting WHERE stream = ?1")?
        .query_row([stream], |row| row.get(0))?;
    if let Some(mut numbers) = ledger.stream(db, stream)? {
        numbers.settled = first.map_or(numbers.last, |first| first - 1);
        ledger.set_stream(stream, numbers);
    }
    Ok(())
}

/// Lets deliveries wait for another attempt.
struct Waits<'db>(CachedStatement<'db>);

impl<'db> Waits<'db> {
    fn of(db: &'db Connection) -> rusqlite::Result<Self> {
        let update = db.prepare_cached(
            "UPDATE waiting SET attempts = ?3, due = ?4, steps = ?5, first_failed_at = ?6, is_aside = ?7
             WHERE stream = ?1 AND sequence = ?2",
        )?;
        Ok(Self(update))
    }

    /// False where it no longer waits.
    fn update(
        &mut self,
        stream: i64,
        sequence: i64,
        (attempts, due, steps, first_failed_at, is_aside): (u32, i64, u32, i64, bool),
    ) -> rusqlite::Result<bool> {
        let changed = self.0.execute((stream, sequence, attempts, due, steps, first_failed_at, is_aside))?;
        Ok(changed > 0)
    }
}

/// Writes the attempts of one start.
struct Attempts<'db> {
    insert: CachedStatement<'db>,
    start: i64,
}

impl<'db> Attempts<'db> {
    fn of(db: &'db Connection, start: i64) -> rusqlite::Result<Self> {
        // One that is there was written by a batch that is written again.
        let insert = db.prepare_cached(
            "INSERT OR IGNORE INTO attempt (stream, sequence, attempt, outcome, detail, address, resolve_us,
                                            connect_us, tls_us, first_byte_us, total_us, kept, started_at, start)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        Ok(Self { insert, start })
    }

    fn insert(&mut self, settled: &Settled) -> rusqlite::Result<()> {
        let kept = match &settled.outcome {
            Outcome::Answered(answer) => {
                let length = answer.body.len().min(KEPT_BYTES_MAX);
                Some(String::from_utf8_lossy(&answer.body[..length]))
            }
            Outcome::Failed(_) => None,
        };
        let phases = &settled.phases;
        self.insert.execute(rusqlite::params![
            settled.stream,
            settled.sequence,
            settled.attempt,
            outcome_name(&settled.outcome),
            phases.detail_of(&settled.outcome),
            settled.address,
            micros(phases.resolve_us),
            micros(phases.connect_us),
            micros(phases.tls_us),
            micros(phases.first_byte_us),
            micros(Some(phases.total_us)),
            kept,
            settled.started_at.ms,
            self.start,
        ])?;
        Ok(())
    }
}

fn micros(us: Option<u64>) -> Option<i64> {
    us.map(|us| i64::try_from(us).unwrap_or(i64::MAX))
}
