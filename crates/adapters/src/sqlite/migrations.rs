//! Brings the schema up to date at start: forward only, each step once, held by checksums.

use chathook_domain::checkup::Schema;
use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest as _, Sha256};

use super::OpenError;

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 8] = [
    Migration { version: 1, name: "tenants", sql: include_str!("../../migrations/0001_tenants.sql") },
    Migration { version: 2, name: "messages", sql: include_str!("../../migrations/0002_messages.sql") },
    Migration { version: 3, name: "deliveries", sql: include_str!("../../migrations/0003_deliveries.sql") },
    Migration { version: 4, name: "record", sql: include_str!("../../migrations/0004_record.sql") },
    Migration { version: 5, name: "upkeep", sql: include_str!("../../migrations/0005_upkeep.sql") },
    Migration { version: 6, name: "calls", sql: include_str!("../../migrations/0006_calls.sql") },
    Migration { version: 7, name: "tallies", sql: include_str!("../../migrations/0007_tallies.sql") },
    Migration { version: 8, name: "counts", sql: include_str!("../../migrations/0008_counts.sql") },
];

/// Leaves the connection as this work wants it: what it keeps in memory is to be set again.
pub(super) fn run(db: &mut Connection) -> Result<(), OpenError> {
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (
             version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL
         ) STRICT",
    )?;
    let applied = applied(db)?;
    if let Some((version, _)) =
        applied.iter().find(|(version, _)| !MIGRATIONS.iter().any(|m| m.version == *version))
    {
        let sentence = format!(
            "The database was used by a newer chathook (migration {version}). Start that version, or restore a backup."
        );
        return Err(OpenError::Schema(sentence));
    }
    if applied.len() < MIGRATIONS.len() {
        // An index over millions of rows is sorted in files, and its pages leave memory before the commit.
        db.pragma_update(None, "temp_store", "FILE")?;
        db.pragma_update(None, "cache_spill", true)?;
    }
    for migration in &MIGRATIONS {
        let checksum = checksum(migration.sql);
        match applied.iter().find(|(version, _)| *version == migration.version) {
            Some((_, known)) if *known == checksum => {}
            Some(_) => {
                let sentence = format!(
                    "Migration {} ({}) is not the one that this database was made with. \
                     Start the version of chathook that made it, or restore a backup.",
                    migration.version, migration.name
                );
                return Err(OpenError::Schema(sentence));
            }
            None => apply(db, migration, &checksum)?,
        }
    }
    Ok(())
}

/// The schema of a database that is only read.
pub(super) fn seen(db: &Connection) -> rusqlite::Result<Schema> {
    let table = "SELECT count(*) FROM sqlite_schema WHERE name = 'migration'";
    if db.query_row(table, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Schema::Foreign);
    }
    let applied = applied(db)?;
    for (version, known) in &applied {
        match MIGRATIONS.iter().find(|migration| migration.version == *version) {
            None => return Ok(Schema::Newer(*version)),
            Some(migration) if checksum(migration.sql) != *known => return Ok(Schema::Changed(*version)),
            Some(_) => {}
        }
    }
    let missing = MIGRATIONS.len() - applied.len();
    Ok(if missing == 0 { Schema::Current } else { Schema::Older(missing) })
}

fn applied(db: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut query = db.prepare("SELECT version, checksum FROM migration ORDER BY version")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn apply(db: &mut Connection, migration: &Migration, checksum: &str) -> rusqlite::Result<()> {
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    step.execute_batch(migration.sql)?;
    step.execute(
        "INSERT INTO migration (version, name, checksum) VALUES (?1, ?2, ?3)",
        (migration.version, migration.name, checksum),
    )?;
    step.commit()
}

fn checksum(sql: &str) -> String {
    Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_after_both_of_the_old_counts() {
        let mut db = Connection::open_in_memory().expect("a database in memory");
        db.execute_batch("CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT, checksum TEXT)")
            .expect("the table is made");
        for migration in MIGRATIONS.iter().filter(|migration| migration.version < 4) {
            apply(&mut db, migration, &checksum(migration.sql)).expect("it applies");
        }
        db.execute_batch(
            "INSERT INTO app (id, name, region, settings, created_at) VALUES ('a', '', 'us', '{}', 0);
             INSERT INTO counter (app, message, record) VALUES ('a', 3, 5);
             INSERT INTO record (app, n, conversation, method, params) VALUES ('a', 5, 'c', 'message', '{}')",
        )
        .expect("an old app");
        run(&mut db).expect("the rest applies");
        let counter =
            db.query_row("SELECT last, first FROM counter", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(counter.expect("the counter is kept"), (5_i64, 5_i64));
    }
}
