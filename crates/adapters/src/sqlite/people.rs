//! People as they are looked up: users by a part of their name, devices, conversations. Each read looks at so many
//! rows and no more, and says where it stopped.

use async_trait::async_trait;
use chathook_domain::connection::Connection;
use chathook_domain::ids::{AppId, Key, MessageId, Time, Uid};
use chathook_domain::user::User;
use chathook_engine::ports::people::{
    ConversationLine, ConversationOf, Part, PeopleFilter, PeopleStore, Presence,
};
use chathook_engine::ports::stored::Stored;
use rusqlite::{Connection as Database, OptionalExtension as _, Row};

use super::{Sqlite, connections, fault, users};

/// Users that one search looks at.
const LOOKED_AT_MAX: usize = 5_000;

/// The conversations that a user is part of. The indexes are named: left to itself, SQLite walks all
/// conversations of the app in the order of their ids.
const OF_USER: &str = "
    SELECT id, user_a, user_b, guid FROM conversation INDEXED BY conversation_user_a
    WHERE app = ?1 AND user_a = ?4 AND id > ?2
    UNION ALL
    SELECT id, user_a, user_b, guid FROM conversation INDEXED BY conversation_user_b
    WHERE app = ?1 AND user_b = ?4 AND user_a <> ?4 AND id > ?2
    UNION ALL
    SELECT c.id, c.user_a, c.user_b, c.guid
    FROM member m INDEXED BY member_of_user
    CROSS JOIN conversation c INDEXED BY conversation_guid ON c.app = ?1 AND c.guid = m.guid
    WHERE m.app = ?1 AND m.uid = ?4 AND c.id > ?2
    ORDER BY id LIMIT ?3";

#[async_trait]
impl PeopleStore for Sqlite {
    async fn people(&self, app: &AppId, filter: PeopleFilter, after: Option<Uid>) -> Stored<Part<User, Uid>> {
        let app = app.clone();
        self.read(move |db, _| {
            let found = find(db, &app, &filter, after.as_ref()).map_err(fault)?;
            let mut items = Vec::with_capacity(found.items.len());
            for uid in &found.items {
                items.extend(users::find(db, &app, uid)?);
            }
            Ok(Part { items, next: found.next })
        })
        .await
    }

    async fn connections_of(&self, app: &AppId, uid: &Uid, limit: usize) -> Stored<Vec<Connection>> {
        let (app, uid) = (app.clone(), uid.clone());
        self.read(move |db, _| {
            let mut found = connections::of_user(db, &app, &uid).map_err(fault)?;
            found.truncate(limit);
            Ok(found)
        })
        .await
    }

    async fn conversations(
        &self,
        app: &AppId,
        uid: Option<&Uid>,
        after: Option<Key>,
        limit: usize,
    ) -> Stored<Part<ConversationLine, Key>> {
        let (app, uid) = (app.clone(), uid.cloned());
        self.read(move |db, _| conversations(db, &app, uid.as_ref(), after.as_ref(), limit).map_err(fault))
            .await
    }
}

/// The uids that a filter lets through, in their order.
fn find(
    db: &Database,
    app: &AppId,
    filter: &PeopleFilter,
    after: Option<&Uid>,
) -> rusqlite::Result<Part<Uid, Uid>> {
    let sql = match filter.presence {
        Presence::Any => "SELECT uid, name FROM user WHERE app = ?1 AND uid > ?2 ORDER BY uid LIMIT ?3",
        Presence::Online => {
            "SELECT DISTINCT c.uid, u.name FROM connection c JOIN user u ON u.app = c.app AND u.uid = c.uid
             WHERE c.app = ?1 AND c.uid > ?2 ORDER BY c.uid LIMIT ?3"
        }
    };
    let search = filter.search.as_ref().map(|text| text.to_lowercase());
    let is_wanted = |uid: &str, name: &str| {
        let is_in = |text: &String| uid.to_lowercase().contains(text) || name.to_lowercase().contains(text);
        search.as_ref().is_none_or(is_in)
    };
    let looked_at_max = i64::try_from(LOOKED_AT_MAX).expect("a small number");
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query((app.as_str(), after.map_or("", Uid::as_str), looked_at_max))?;
    let (mut items, mut looked_at, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        if items.len() == filter.limit {
            return Ok(Part { items, next: last });
        }
        let (uid, name) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        looked_at += 1;
        last = Some(Uid::trusted(uid));
        if is_wanted(uid, name) {
            items.push(Uid::trusted(uid));
        }
    }
    Ok(Part { items, next: last.filter(|_| looked_at == LOOKED_AT_MAX) })
}

fn conversations(
    db: &Database,
    app: &AppId,
    uid: Option<&Uid>,
    after: Option<&Key>,
    limit: usize,
) -> rusqlite::Result<Part<ConversationLine, Key>> {
    let (after, more) = (after.map_or("", Key::as_str), i64::try_from(limit + 1).unwrap_or(i64::MAX));
    let mut items: Vec<ConversationLine> = match uid {
        None => db
            .prepare_cached(
                "SELECT id, user_a, user_b, guid FROM conversation WHERE app = ?1 AND id > ?2
                 ORDER BY id LIMIT ?3",
            )?
            .query_map((app.as_str(), after, more), line)?
            .collect::<rusqlite::Result<_>>()?,
        Some(uid) => db
            .prepare_cached(OF_USER)?
            .query_map((app.as_str(), after, more, uid.as_str()), line)?
            .collect::<rusqlite::Result<_>>()?,
    };
    let goes_on = items.len() > limit;
    items.truncate(limit);
    let mut newest = db.prepare_cached(
        "SELECT id, sent_at FROM message WHERE app = ?1 AND conversation = ?2 ORDER BY id DESC LIMIT 1",
    )?;
    for item in &mut items {
        item.last = newest
            .query_row((app.as_str(), item.id.as_str()), |row| {
                Ok((MessageId(row.get(0)?), Time::from_ms(row.get(1)?)))
            })
            .optional()?;
    }
    let next = items.last().filter(|_| goes_on).map(|item| item.id.clone());
    Ok(Part { items, next })
}

fn line(row: &Row<'_>) -> rusqlite::Result<ConversationLine> {
    let users: (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
    let members = match users {
        (Some(a), Some(b)) => ConversationOf::Two(Uid::trusted(&a), Uid::trusted(&b)),
        (Some(_) | None, _) => ConversationOf::Group(row.get::<_, Option<String>>(3)?.unwrap_or_default()),
    };
    Ok(ConversationLine { id: Key::trusted(row.get_ref(0)?.as_str()?), members, last: None })
}
