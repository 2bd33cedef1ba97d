//! What was counted, one row for each app or webhook and step, its cells written closely; and who is online.

use async_trait::async_trait;
use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_domain::tally::{Step, Tally};
use chathook_engine::ports::stored::Stored;
use chathook_engine::ports::tallies::{KeptTurn, Standing, Tallied, TallyStore};
use rusqlite::{Connection, OptionalExtension as _};

use super::upkeep::ROWS_MAX;
use super::{Sqlite, fault, standings, turns};

#[async_trait]
impl TallyStore for Sqlite {
    async fn add_tallies(&self, minutes: Vec<Tallied>) -> Stored<()> {
        self.write(move |w| minutes.iter().try_for_each(|one| add(w.db, one)).map_err(fault)).await
    }

    async fn tallies(
        &self,
        app: &AppId,
        webhook: Option<&WebhookId>,
        step: Step,
        since: Time,
    ) -> Stored<Vec<(Time, Tally)>> {
        let (app, webhook) = (app.clone(), name(webhook).to_owned());
        self.read(move |db, _| list(db, &app, &webhook, step, since).map_err(fault)).await
    }

    async fn turns(&self, app: &AppId, webhook: &WebhookId, below: i64, limit: i64) -> Stored<Vec<KeptTurn>> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.read(move |db, _| turns::list(db, &app, &webhook, below, limit)).await
    }

    async fn online_counts(&self) -> Stored<Vec<(AppId, u64)>> {
        self.read(|db, _| {
            let counts = db
                .prepare_cached("SELECT app, count(DISTINCT uid) FROM connection GROUP BY app")
                .and_then(|mut query| {
                    let rows = query.query_map([], |row| {
                        Ok((AppId::trusted(row.get_ref(0)?.as_str()?), row.get::<_, i64>(1)?))
                    })?;
                    rows.collect::<rusqlite::Result<Vec<_>>>()
                });
            let counts = counts.map_err(fault)?;
            Ok(counts.into_iter().map(|(app, count)| (app, count.max(0).cast_unsigned())).collect())
        })
        .await
    }

    async fn online_count(&self, app: &AppId) -> Stored<u64> {
        let app = app.clone();
        self.read(move |db, _| {
            let count = db
                .prepare_cached("SELECT count(DISTINCT uid) FROM connection WHERE app = ?1")
                .and_then(|mut query| query.query_row([app.as_str()], |row| row.get::<_, i64>(0)));
            Ok(count.map_err(fault)?.max(0).cast_unsigned())
        })
        .await
    }

    async fn standings(&self, app: &AppId) -> Stored<Vec<Standing>> {
        let (app, bytes_max) = (app.clone(), self.options.backlog_bytes_max);
        self.read(move |db, _| standings::list(db, &app, bytes_max).map_err(fault)).await
    }

    async fn remove_old_tallies(&self, app: &AppId, now: Time) -> Stored<bool> {
        let app_read = app.clone();
        let old = self.read(move |db, _| find_old(db, &app_read, now).map_err(fault)).await?;
        let is_more_left = old.len() >= ROWS_MAX;
        if !old.is_empty() {
            let app = app.clone();
            self.write(move |w| remove(w.db, &app, &old).map_err(fault)).await?;
        }
        Ok(is_more_left)
    }
}

fn name(webhook: Option<&WebhookId>) -> &str {
    webhook.map_or("", WebhookId::as_str)
}

const fn seconds(step: Step) -> i64 {
    step.ms() / 1_000
}

/// Adds a minute to the row of each step that it lies in; nothing of what is gone.
fn add(db: &Connection, tallied: &Tallied) -> rusqlite::Result<()> {
    let app = tallied.app.as_str();
    let webhook: Option<String> = db
        .prepare_cached(
            "SELECT CASE WHEN ?2 IS NULL THEN '' ELSE (SELECT id FROM webhook WHERE row = ?2 AND app = ?1) END
             FROM app WHERE id = ?1 AND deleted_at IS NULL",
        )?
        .query_row((app, tallied.webhook), |row| row.get(0))
        .optional()?
        .flatten();
    let Some(webhook) = webhook.as_deref() else { return Ok(()) };
    for step in Step::ALL {
        let at = step.begin_of(tallied.minute).ms;
        let key = (app, webhook, seconds(step), at);
        let kept: Option<Tally> = db
            .prepare_cached(
                "SELECT cells FROM tally WHERE app = ?1 AND webhook = ?2 AND step = ?3 AND at = ?4",
            )?
            .query_row(key, |row| Ok(decode(row.get_ref(0)?.as_blob()?)))
            .optional()?;
        let cells = match kept {
            None => encode(&tallied.tally),
            Some(mut kept) => {
                kept.merge(&tallied.tally);
                encode(&kept)
            }
        };
        db.prepare_cached(
            "INSERT INTO tally (app, webhook, step, at, cells) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET cells = excluded.cells",
        )?
        .execute((app, webhook, seconds(step), at, cells))?;
    }
    Ok(())
}

fn list(
    db: &Connection,
    app: &AppId,
    webhook: &str,
    step: Step,
    since: Time,
) -> rusqlite::Result<Vec<(Time, Tally)>> {
    db.prepare_cached(
        "SELECT at, cells FROM tally WHERE app = ?1 AND webhook = ?2 AND step = ?3 AND at >= ?4 ORDER BY at",
    )?
    .query_map((app.as_str(), webhook, seconds(step), since.ms), |row| {
        Ok((Time::from_ms(row.get(0)?), decode(row.get_ref(1)?.as_blob()?)))
    })?
    .collect()
}

type Key = (String, i64, i64);

/// Some that are older than their step is kept, webhook by webhook in the order of the key.
fn find_old(db: &Connection, app: &AppId, now: Time) -> rusqlite::Result<Vec<Key>> {
    let mut next = db.prepare_cached(
        "SELECT webhook FROM tally WHERE app = ?1 AND webhook >= ?2 ORDER BY webhook LIMIT 1",
    )?;
    let mut query = db.prepare_cached(
        "SELECT at FROM tally WHERE app = ?1 AND webhook = ?2 AND step = ?3 AND at < ?4 ORDER BY at LIMIT ?5",
    )?;
    let (mut old, mut from) = (Vec::new(), String::new());
    while let Some(webhook) =
        next.query_row([app.as_str(), &from], |row| row.get::<_, String>(0)).optional()?
    {
        for step in Step::ALL {
            let Some(room @ 1..) = ROWS_MAX.checked_sub(old.len()) else { return Ok(old) };
            let before = now.ms - step.kept_ms();
            let limit = i64::try_from(room).expect("a small number");
            let key = (app.as_str(), &webhook, seconds(step), before, limit);
            for at in query.query_map(key, |row| row.get(0))? {
                old.push((webhook.clone(), seconds(step), at?));
            }
        }
        // No name comes between this one and the same with the smallest character behind it.
        from = format!("{webhook}\0");
    }
    Ok(old)
}

fn remove(db: &Connection, app: &AppId, old: &[Key]) -> rusqlite::Result<()> {
    let mut delete =
        db.prepare_cached("DELETE FROM tally WHERE app = ?1 AND webhook = ?2 AND step = ?3 AND at = ?4")?;
    old.iter().try_for_each(|(webhook, step, at)| delete.execute((app.as_str(), webhook, step, at)).map(drop))
}

fn encode(tally: &Tally) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before = 0;
    for (cell, value) in tally.cells() {
        write_number(&mut bytes, u64::from(cell - before));
        write_number(&mut bytes, value);
        before = cell;
    }
    bytes
}

/// What is cut off in the middle counts up to there.
fn decode(mut bytes: &[u8]) -> Tally {
    let mut cell = 0_u32;
    Tally::from_cells(std::iter::from_fn(|| {
        let distance = read_number(&mut bytes)?;
        let value = read_number(&mut bytes)?;
        cell = cell.saturating_add(u32::try_from(distance).unwrap_or(u32::MAX));
        Some((cell, value))
    }))
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use chathook_domain::tally::{Count, Span};

    use super::*;

    #[test]
    fn a_tally_reads_back_as_it_was_written_and_takes_little_room() {
        let mut tally = Tally::default();
        tally.is_online(3);
        for n in 0..100_000_u64 {
            tally.count(Count::Messages);
            tally.measure(Span::Attempt, n * n % 1_000_003);
        }
        let bytes = encode(&tally);
        assert_eq!(decode(&bytes), tally);
        assert!(bytes.len() < 600, "{} bytes", bytes.len());
    }

    #[test]
    fn numbers_of_any_size_read_back_and_what_is_cut_off_is_none() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(read_number(&mut bytes.as_slice()), Some(number));
            assert_eq!(read_number(&mut &bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(read_number(&mut [0x80_u8; 11].as_slice()), None);
    }
}
