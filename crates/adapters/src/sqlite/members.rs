//! Who is a member of which group. The members of a deleted group go piece by piece: whoever reads them
//! asks for the group as well.

use chathook_domain::group::{Member, Scope};
use chathook_domain::ids::{AppId, Guid, Time, Uid};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::User;
use chathook_engine::ports::store::{Page, PageRequest, StoreError, Stored};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::cache::{Cache, Cached, Caches, MemberName};
use super::changes::{Noun, Place};
use super::{fault, users};
use crate::vault::Vault;

/// The members of the group `?2` of an app `?1`, as long as it is there.
macro_rules! of_group {
    () => {
        "app = ?1 AND guid = ?2 AND EXISTS (SELECT 1 FROM grp WHERE grp.app = ?1 AND grp.guid = ?2)"
    };
}

impl Cached for Member {
    type Name = MemberName;

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.members
    }

    fn places((app, guid, uid): &MemberName, _: Option<&Self>) -> Vec<Place> {
        let name = [app.as_str().as_bytes(), guid.as_str().as_bytes(), uid.as_str().as_bytes()];
        vec![Place::of(Noun::Member, &name), Place::of(Noun::Group, &name[..2])]
    }

    fn read(db: &Connection, _: &Vault, (app, guid, uid): &MemberName) -> Stored<Option<Self>> {
        member(db, app, guid, uid)
    }
}

pub(super) fn member_uids(db: &Connection, app: &AppId, guid: &Guid) -> Stored<Vec<Uid>> {
    db.prepare_cached(concat!("SELECT uid FROM member WHERE ", of_group!(), " ORDER BY uid"))
        .and_then(|mut query| {
            query
                .query_map([app.as_str(), guid.as_str()], |row| Ok(Uid::trusted(&row.get::<_, String>(0)?)))?
                .collect()
        })
        .map_err(fault)
}

pub(super) fn is_member(db: &Connection, app: &AppId, guid: &Guid, uid: &Uid) -> Stored<bool> {
    Ok(member(db, app, guid, uid)?.is_some())
}

pub(super) fn member(db: &Connection, app: &AppId, guid: &Guid, uid: &Uid) -> Stored<Option<Member>> {
    let found: Option<(String, i64)> = db
        .prepare_cached(concat!("SELECT scope, joined_at FROM member WHERE ", of_group!(), " AND uid = ?3"))
        .and_then(|mut query| {
            query
                .query_row([app.as_str(), guid.as_str(), uid.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(fault)?;
    found.map(|(text, joined_at)| membership(uid.clone(), &text, joined_at)).transpose()
}

fn membership(uid: Uid, scope: &str, joined_at: i64) -> Stored<Member> {
    let scope =
        Scope::parse(scope).ok_or_else(|| StoreError::Fault(format!("'{scope}' is no scope of a member")))?;
    Ok(Member { uid, scope, joined_at: Time::from_ms(joined_at) })
}

/// Adds a member, or gives one another scope.
pub(super) fn write_member(db: &Connection, app: &AppId, guid: &Guid, member: &Member) -> Stored<()> {
    db.prepare_cached(
        "INSERT INTO member (app, guid, uid, scope, joined_at) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (app, guid, uid) DO UPDATE SET scope = excluded.scope",
    )
    .and_then(|mut query| {
        query.execute(params![
            app.as_str(),
            guid.as_str(),
            member.uid.as_str(),
            member.scope.as_str(),
            member.joined_at.ms
        ])
    })
    .map(|_| ())
    .map_err(fault)
}

pub(super) fn not_a_member(guid: &Guid, uid: &Uid) -> Refusal {
    Refusal::new(Code::NotAMember, format!("The user '{uid}' is not a member of the group '{guid}'."))
}

pub(super) fn list_members(
    db: &Connection,
    app: &AppId,
    guid: &Guid,
    page: PageRequest,
) -> Stored<Page<(User, Member)>> {
    let total = db
        .prepare_cached(concat!("SELECT count(*) FROM member WHERE ", of_group!()))
        .and_then(|mut query| query.query_row([app.as_str(), guid.as_str()], |row| row.get(0)))
        .map_err(fault)?;
    let sql = format!(
        "SELECT {}, member.scope, member.joined_at FROM member JOIN user USING (app, uid) \
         WHERE {} ORDER BY member.joined_at, uid LIMIT ?3 OFFSET ?4",
        users::COLUMNS,
        of_group!()
    );
    let rows: Vec<(users::UserColumns, String, i64)> = db
        .prepare_cached(&sql)
        .and_then(|mut query| {
            query
                .query_map(params![app.as_str(), guid.as_str(), page.per_page, users::offset(page)], |row| {
                    Ok((
                        users::columns(row)?,
                        row.get(users::COLUMN_COUNT)?,
                        row.get(users::COLUMN_COUNT + 1)?,
                    ))
                })?
                .collect()
        })
        .map_err(fault)?;
    let items = rows
        .into_iter()
        .map(|(columns, scope, joined_at)| {
            let user = columns.into_user(db, app)?;
            let member = membership(user.uid.clone(), &scope, joined_at)?;
            Ok((user, member))
        })
        .collect::<Stored<_>>()?;
    Ok(Page { items, total })
}
