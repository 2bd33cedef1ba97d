//! What is old, found beside the writer and removed by it. Each walk goes by an order that follows the
//! time in which rows were written, and takes each row's own time as the last word.

use chathook_domain::history::owed_pairs;
use chathook_domain::ids::{AppId, Key, MessageId, Time};
use chathook_domain::retention::{Age, Cutoffs};
use chathook_engine::ports::upkeep::Walk;
use rusqlite::{Connection, OptionalExtension as _};

use super::upkeep::ROWS_MAX;

/// Rows that one piece of work looks at.
const LOOKED_AT_MAX: i64 = 400;
/// The history of circuits is kept for so long, whatever the app's settings: 30 days.
const TURNS_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// What a piece of a walk found.
#[derive(Default)]
pub(super) struct Found {
    pub old: Option<Old>,
    /// Where the walk goes on.
    pub rest: Option<Walk>,
}

/// Rows to be removed.
pub(super) enum Old {
    Events(Vec<i64>),
    Attempts {
        stream: i64,
        sequences: Vec<i64>,
        before: Time,
    },
    Messages(Vec<i64>),
    /// By conversation and number.
    Receipts(Vec<(String, i64)>),
    /// Tables with rows of theirs.
    Logs(Vec<(&'static str, i64)>),
}

pub(super) fn find(db: &Connection, app: &AppId, walk: Walk, cutoffs: &Cutoffs) -> rusqlite::Result<Found> {
    match walk {
        Walk::Events { after } => match cutoffs.events {
            Some(before) => find_events(db, app, after, before),
            None => Ok(Found::default()),
        },
        Walk::Attempts { stream, after } => match cutoffs.attempts {
            Some(before) => find_attempts(db, app, stream, after, before, cutoffs.now),
            None => Ok(Found::default()),
        },
        Walk::Messages { after } => match cutoffs.messages {
            Some(before) => find_messages(db, app, after.map_or(0, |id| id.0), before, cutoffs.now),
            None => Ok(Found::default()),
        },
        Walk::Receipts { conversation } => find_receipts(db, app, conversation.as_ref()),
        Walk::Logs => find_logs(db, app, cutoffs),
    }
}

pub(super) fn remove(db: &Connection, app: &AppId, old: &Old) -> rusqlite::Result<()> {
    match old {
        Old::Events(rows) => rows.iter().try_for_each(|row| remove_event(db, *row)),
        Old::Attempts { stream, sequences, before } => {
            let mut delete = db.prepare_cached(
                "DELETE FROM attempt WHERE stream = ?1 AND sequence = ?2 AND started_at < ?3",
            )?;
            sequences.iter().try_for_each(|n| delete.execute((stream, n, before.ms)).map(drop))
        }
        Old::Messages(ids) => {
            let mut delete = db.prepare_cached("DELETE FROM message WHERE app = ?1 AND id = ?2")?;
            ids.iter().try_for_each(|id| delete.execute((app.as_str(), id)).map(drop))?;
            // Who comes with an earlier cursor has missed something.
            db.prepare_cached("UPDATE counter SET first = max(first, ?2) WHERE app = ?1")?
                .execute((app.as_str(), ids.last()))
                .map(drop)
        }
        Old::Receipts(lines) => {
            let mut delete =
                db.prepare_cached("DELETE FROM record WHERE app = ?1 AND conversation = ?2 AND n = ?3")?;
            lines.iter().try_for_each(|(key, n)| delete.execute((app.as_str(), key, n)).map(drop))
        }
        Old::Logs(rows) => rows.iter().try_for_each(|(table, row)| {
            db.prepare_cached(&format!("DELETE FROM {table} WHERE row = ?1"))?.execute([row]).map(drop)
        }),
    }
}

fn find_events(
    db: &Connection,
    app: &AppId,
    after: Option<(Time, i64)>,
    before: Time,
) -> rusqlite::Result<Found> {
    let mut query = db.prepare_cached(
        "SELECT row, created_at, owed FROM event
         WHERE app = ?1 AND (created_at, row) > (?2, ?3) AND created_at < ?4 ORDER BY created_at, row LIMIT ?5",
    )?;
    let after = after.map_or((i64::MIN, 0), |(at, row)| (at.ms, row));
    let mut rows = query.query((app.as_str(), after.0, after.1, before.ms, LOOKED_AT_MAX))?;
    let (mut old, mut weight, mut looked_at, mut last) = (Vec::new(), 0, 0, None);
    while weight < ROWS_MAX
        && let Some(row) = rows.next()?
    {
        looked_at += 1;
        let number = row.get(0)?;
        last = Some((Time::from_ms(row.get(1)?), number));
        let owed = row.get_ref(2)?.as_str()?;
        if !waits(db, owed)? {
            old.push(number);
            // A delivery is a row, with an attempt at the least.
            weight += 1 + 2 * owed_pairs(owed).count();
        }
    }
    let is_over = weight < ROWS_MAX && looked_at < LOOKED_AT_MAX;
    let rest = (!is_over).then_some(Walk::Events { after: last });
    Ok(Found { old: (!old.is_empty()).then_some(Old::Events(old)), rest })
}

/// With its deliveries and their attempts, unless one waits (again). The newest row of all stays: its
/// number would be given again.
fn remove_event(db: &Connection, row: i64) -> rusqlite::Result<()> {
    let owed: Option<String> = db
        .prepare_cached("SELECT owed FROM event WHERE row = ?1 AND row < (SELECT max(row) FROM event)")?
        .query_row([row], |row| row.get(0))
        .optional()?;
    let Some(owed) = owed else { return Ok(()) };
    if waits(db, &owed)? {
        return Ok(());
    }
    for delivery in owed_pairs(&owed) {
        db.prepare_cached("DELETE FROM attempt WHERE stream = ?1 AND sequence = ?2")?.execute(delivery)?;
        db.prepare_cached("DELETE FROM ended WHERE stream = ?1 AND sequence = ?2")?.execute(delivery)?;
    }
    db.prepare_cached("DELETE FROM event WHERE row = ?1")?.execute([row]).map(drop)
}

fn waits(db: &Connection, owed: &str) -> rusqlite::Result<bool> {
    let mut query = db.prepare_cached("SELECT 1 FROM waiting WHERE stream = ?1 AND sequence = ?2")?;
    for delivery in owed_pairs(owed) {
        if query.exists(delivery)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// No attempt is older than its delivery, so a stream's walk ends at the first young delivery.
fn find_attempts(
    db: &Connection,
    app: &AppId,
    stream: i64,
    after: i64,
    before: Time,
    now: Time,
) -> rusqlite::Result<Found> {
    let mut query = db.prepare_cached(
        "SELECT a.sequence, a.started_at,
                coalesce((SELECT e.created_at FROM ended e WHERE e.stream = ?1 AND e.sequence = a.sequence),
                         (SELECT w.created_at FROM waiting w WHERE w.stream = ?1 AND w.sequence = a.sequence), 0)
         FROM attempt a WHERE a.stream = ?1 AND a.sequence > ?2 ORDER BY a.sequence LIMIT ?3",
    )?;
    let mut rows = query.query((stream, after, LOOKED_AT_MAX))?;
    let (mut sequences, mut looked_at, mut last) = (Vec::new(), 0, after);
    let mut is_over = false;
    while sequences.len() < ROWS_MAX
        && let Some(row) = rows.next()?
    {
        let (sequence, started_at, created_at): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if Age::of(Time::from_ms(created_at), before, now) == Age::Young {
            is_over = true;
            break;
        }
        looked_at += 1;
        last = sequence;
        if started_at < before.ms && sequences.last() != Some(&sequence) {
            sequences.push(sequence);
        }
    }
    is_over |= sequences.len() < ROWS_MAX && looked_at < LOOKED_AT_MAX;
    let rest = if is_over {
        let next: Option<i64> = db
            .prepare_cached("SELECT min(row) FROM stream WHERE app = ?1 AND row > ?2")?
            .query_row((app.as_str(), stream), |row| row.get(0))?;
        next.map(|stream| Walk::Attempts { stream, after: 0 })
    } else {
        Some(Walk::Attempts { stream, after: last })
    };
    let old = (!sequences.is_empty()).then_some(Old::Attempts { stream, sequences, before });
    Ok(Found { old, rest })
}

fn find_messages(
    db: &Connection,
    app: &AppId,
    after: i64,
    before: Time,
    now: Time,
) -> rusqlite::Result<Found> {
    let limit = i64::try_from(ROWS_MAX).expect("a small number");
    let mut query =
        db.prepare_cached("SELECT id, sent_at FROM message WHERE app = ?1 AND id > ?2 ORDER BY id LIMIT ?3")?;
    let mut rows = query.query((app.as_str(), after, limit))?;
    let (mut old, mut looked_at, mut last) = (Vec::new(), 0, after);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        match Age::of(Time::from_ms(row.get(1)?), before, now) {
            Age::Old => old.push(last),
            Age::Ahead => {}
            Age::Young => break,
        }
        looked_at += 1;
    }
    let rest = (looked_at == limit).then_some(Walk::Messages { after: Some(MessageId(last)) });
    Ok(Found { old: (!old.is_empty()).then_some(Old::Messages(old)), rest })
}

/// A cursor below the first that is kept is told to fetch, so what comes up to that is never read.
fn find_receipts(db: &Connection, app: &AppId, from: Option<&Key>) -> rusqlite::Result<Found> {
    let mut conversations = db.prepare_cached(
        "SELECT conversation FROM record WHERE app = ?1 AND conversation >= ?2 ORDER BY conversation LIMIT 1",
    )?;
    let mut receipts = db.prepare_cached(
        "SELECT n FROM record WHERE app = ?1 AND conversation = ?2
         AND n <= (SELECT first FROM counter WHERE app = ?1) ORDER BY n LIMIT ?3",
    )?;
    let mut old = Vec::new();
    let mut from = from.map_or(String::new(), |key| key.as_str().to_owned());
    for _ in 0..LOOKED_AT_MAX {
        let Some(room @ 1..) = ROWS_MAX.checked_sub(old.len()) else { break };
        let next = conversations.query_row([app.as_str(), &from], |row| row.get(0)).optional()?;
        let Some(conversation): Option<String> = next else {
            return Ok(Found { old: (!old.is_empty()).then_some(Old::Receipts(old)), rest: None });
        };
        let limit = i64::try_from(room).expect("a small number");
        let numbers = receipts.query_map((app.as_str(), &conversation, limit), |row| row.get(0))?;
        let numbers: Vec<i64> = numbers.collect::<rusqlite::Result<_>>()?;
        // No name comes between this one and the same with the smallest character behind it.
        from = if numbers.len() < room { format!("{conversation}\0") } else { conversation.clone() };
        old.extend(numbers.into_iter().map(|n| (conversation.clone(), n)));
    }
    let rest = Some(Walk::Receipts { conversation: Some(Key::trusted(&from)) });
    Ok(Found { old: (!old.is_empty()).then_some(Old::Receipts(old)), rest })
}

fn find_logs(db: &Connection, app: &AppId, cutoffs: &Cutoffs) -> rusqlite::Result<Found> {
    let mut old = Vec::new();
    for (table, time, before) in [
        ("asked", "at", cutoffs.attempts),
        ("test_delivery", "started_at", cutoffs.attempts),
        ("notice", "created_at", cutoffs.events),
        ("replay", "ended_at", cutoffs.events),
        ("turn", "coalesce(last_at, at)", Some(cutoffs.now.plus_ms(-TURNS_KEPT_MS))),
    ] {
        let (Some(before), Some(room @ 1..)) = (before, ROWS_MAX.checked_sub(old.len())) else { continue };
        let sql = format!("SELECT row FROM {table} WHERE app = ?1 AND {time} < ?2 LIMIT ?3");
        let limit = i64::try_from(room).expect("a small number");
        let mut query = db.prepare_cached(&sql)?;
        let rows = query.query_map((app.as_str(), before.ms, limit), |row| row.get(0))?;
        for row in rows {
            old.push((table, row?));
        }
    }
    let rest = (old.len() >= ROWS_MAX).then_some(Walk::Logs);
    Ok(Found { old: (!old.is_empty()).then_some(Old::Logs(old)), rest })
}
