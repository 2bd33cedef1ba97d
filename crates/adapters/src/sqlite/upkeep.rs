//! What the store does for itself over time, in small pieces: each finds its rows beside the writer
//! and gives the writer few.

use async_trait::async_trait;
use chathook_domain::ids::{AppId, Time};
use chathook_domain::retention::Cutoffs;
use chathook_engine::ports::store::Stored;
use chathook_engine::ports::upkeep::{Doomed, UpkeepStore, Walk};
use rusqlite::{Connection, OptionalExtension as _};

use super::{Sqlite, endings, fault, removals, retention};

/// Rows that one piece of work changes, about.
pub(super) const ROWS_MAX: usize = 200;
/// Unused pages that are no matter: they are used again soon.
const FREE_PAGES_MIN: i64 = 1_024;
/// The part of the file that may be unused: one in so many pages.
const FREE_SHARE: i64 = 8;
/// Pages given back in one piece of work; each may move another page.
const PAGES_GIVEN_BACK: i64 = 100;

#[async_trait]
impl UpkeepStore for Sqlite {
    async fn last_written(&self) -> Stored<Option<Time>> {
        self.read(|db, _| {
            let newest = db
                .prepare_cached("SELECT created_at FROM event ORDER BY row DESC LIMIT 1")
                .and_then(|mut query| query.query_row([], |row| row.get(0)).optional());
            Ok(newest.map_err(fault)?.map(Time::from_ms))
        })
        .await
    }

    async fn remove_doomed(&self, doomed: Option<Doomed>) -> Stored<bool> {
        let found = self.read(move |db, _| removals::find(db, doomed.as_ref()).map_err(fault)).await?;
        let Some(found) = found else { return Ok(false) };
        let is_of_one = found.is_of_one;
        let removed = self.write(move |w| removals::go_on(w, &found, ROWS_MAX).map_err(fault)).await?;
        // Of all that was deleted, another may follow.
        Ok(removed == removals::Removed::Part || !is_of_one)
    }

    async fn expire_held(&self, off_before: Time, at: Time) -> Stored<bool> {
        let found = self.read(move |db, _| endings::find_held(db, off_before).map_err(fault)).await?;
        let Some(webhook_row) = found else { return Ok(false) };
        self.write(move |w| endings::expire_some(w, webhook_row, off_before, at, ROWS_MAX).map_err(fault))
            .await?;
        Ok(true)
    }

    async fn remove_old(&self, app: &AppId, walk: Walk, cutoffs: Cutoffs) -> Stored<Option<Walk>> {
        let app_read = app.clone();
        let found =
            self.read(move |db, _| retention::find(db, &app_read, walk, &cutoffs).map_err(fault)).await?;
        if let Some(old) = found.old {
            let app = app.clone();
            self.write(move |w| retention::remove(w.db, &app, &old).map_err(fault)).await?;
        }
        Ok(found.rest)
    }

    async fn give_back_room(&self) -> Stored<bool> {
        if !self.read(|db, _| has_room_to_give(db).map_err(fault)).await? {
            return Ok(false);
        }
        self.write(|w| give_back(w.db).map_err(fault)).await?;
        self.read(|db, _| has_room_to_give(db).map_err(fault)).await
    }
}

fn has_room_to_give(db: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (free, all) = (number("freelist_count")?, number("page_count")?);
    Ok(free > FREE_PAGES_MIN && free > all / FREE_SHARE)
}

fn give_back(db: &Connection) -> rusqlite::Result<()> {
    // It goes on page by page, as long as it is asked for rows.
    let mut giving = db.prepare(&format!("PRAGMA incremental_vacuum({PAGES_GIVEN_BACK})"))?;
    let mut pages = giving.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}
