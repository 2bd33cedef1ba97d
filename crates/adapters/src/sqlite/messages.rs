//! Messages: their commit with what it causes, their changes, and how they are found.

use async_trait::async_trait;
use chathook_domain::app::App;
use chathook_domain::event::{Event, Origin};
use chathook_domain::group::{Group, Member};
use chathook_domain::ids::{AppId, Guid, Key, MessageId, Time, Uid};
use chathook_domain::message::{Accepted, Category, Change, Message, Receiver};
use chathook_domain::receipt::Mark;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::trigger::Trigger;
use chathook_domain::user::User;
use chathook_engine::ports::store::{
    Asked, Committed, Marked, MessageFilter, MessageStore, READ_BYTES_MAX, RecordedPart, StoreError, Stored,
    Told,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::de::DeserializeOwned;

use super::cache::{Cache, Cached, Caches};
use super::changes::{Noun, Place};
use super::record::conversations_of_user;
use super::{Sqlite, Writing, apps, calls, events, fault, members, receipts, record};
use crate::vault::Vault;

/// How long a `muid` stands for one message (design 4).
const MUID_MS: i64 = 24 * 60 * 60 * 1_000;

macro_rules! columns {
    () => {
        "id, conversation, sender, receiver_type, receiver, category, kind, data, muid, tags, sent_at, updated_at, \
         edited_at, edited_by, deleted_at, deleted_by, delivered_at, read_at"
    };
}

#[async_trait]
impl MessageStore for Sqlite {
    async fn commit_message(
        &self,
        app: &App,
        accepted: Accepted,
        origin: Origin,
        told: Told<Committed>,
    ) -> Stored<Committed> {
        let app = app.id.clone();
        let job = move |w: &mut Writing<'_>| commit(w, &*apps::present(w, &app)?, accepted, origin);
        let written = self.write_checked(job, told).await?;
        Ok(Committed { synced_us: written.synced_us, ..written.value })
    }

    async fn message_of_muid(
        &self,
        app: &AppId,
        sender: &Uid,
        conversation: &Key,
        muid: &str,
        now: Time,
    ) -> Stored<Option<Message>> {
        let (app, sender, conversation, muid) =
            (app.clone(), sender.clone(), conversation.clone(), muid.to_owned());
        self.read(move |db, _| of_muid(db, &app, &sender, &conversation, &muid, now).map_err(fault)).await
    }

    async fn change_message(
        &self,
        app: &App,
        id: MessageId,
        change: Change,
        origin: Origin,
        told: Told<Committed>,
    ) -> Stored<Committed> {
        let app = app.id.clone();
        // Sockets know the settings of their log-in; what counts is the settings of now.
        self.write_told(move |w| change_message(w, &*apps::present(w, &app)?, id, &change, origin), told)
            .await
    }

    async fn message(&self, app: &AppId, id: MessageId) -> Stored<Option<Message>> {
        let app = app.clone();
        self.read(move |db, _| find(db, &app, id).map_err(fault)).await
    }

    async fn messages(&self, app: &AppId, filter: MessageFilter) -> Stored<Vec<Message>> {
        let app = app.clone();
        self.read(move |db, _| list(db, &app, &filter).map_err(fault)).await
    }

    async fn mark(&self, app: &App, mark: Mark, origin: Origin, told: Told<Marked>) -> Stored<Marked> {
        let app = app.clone();
        self.write_told(move |w| receipts::mark(w, &app, &mark, origin), told).await
    }

    async fn recorded_after(&self, app: &AppId, uid: &Uid, cursor: i64, limit: i64) -> Stored<RecordedPart> {
        let (app, uid) = (app.clone(), uid.clone());
        self.read(move |db, _| record::after(db, &app, &uid, cursor, limit).map_err(fault)).await
    }

    async fn is_of_two(&self, app: &AppId, uid: &Uid, conversation: &Key) -> Stored<bool> {
        let (app, uid, conversation) = (app.clone(), uid.clone(), conversation.clone());
        self.read(move |db, _| {
            db.prepare_cached(
                "SELECT 1 FROM conversation WHERE app = ?1 AND id = ?2 AND (user_a = ?3 OR user_b = ?3)",
            )
            .and_then(|mut query| query.exists((app.as_str(), conversation.as_str(), uid.as_str())))
            .map_err(fault)
        })
        .await
    }

    async fn audience(&self, app: &AppId, me: &Uid, receiver: &Receiver) -> Stored<Vec<Uid>> {
        let (app, me, receiver) = (app.clone(), me.clone(), receiver.clone());
        self.read(move |db, _| audience(db, &app, &me, &receiver)).await
    }

    async fn log_asked(&self, asked: Vec<Asked>) -> Stored<()> {
        self.write(move |w| asked.iter().try_for_each(|one| calls::insert(w.db, one)).map_err(fault)).await
    }
}

/// Stores an action message that no trigger tells of; its id is given here, whatever it carries.
pub(crate) fn commit_action(w: &mut Writing<'_>, app: &App, mut message: Message) -> Stored<Committed> {
    message.id = MessageId(w.ledger.next_number(w.db, &app.id)?);
    store(w, app, message, None)
}

/// Uids of a conversation as seen by `me`, who is in it.
pub(super) fn audience(db: &Connection, app: &AppId, me: &Uid, receiver: &Receiver) -> Stored<Vec<Uid>> {
    let mut uids = match receiver {
        Receiver::User(other) => vec![other.clone()],
        Receiver::Group(guid) => members::member_uids(db, app, guid)?,
    };
    if !uids.contains(me) {
        uids.push(me.clone());
    }
    Ok(uids)
}

fn commit(w: &mut Writing<'_>, app: &App, accepted: Accepted, origin: Origin) -> Stored<Committed> {
    let sender = &accepted.sender.uid;
    let conversation = accepted.conversation();
    if let Some(muid) = &accepted.draft.muid
        && let Some(message) =
            of_muid(w.db, &app.id, sender, &conversation, muid, accepted.at).map_err(fault)?
    {
        let members = audience(w.db, &app.id, sender, &message.receiver)?;
        let cursor = w.ledger.last_number(w.db, &app.id)?;
        return Ok(Committed { message, members, cursor, is_repeat: true, synced_us: 0 });
    }
    check_may_post(w, &app.id, sender, &accepted.draft.receiver)?;
    let event_id = accepted.event_id.clone();
    let message = accepted.into_numbered(MessageId(w.ledger.next_number(w.db, &app.id)?));
    let event = after_message(event_id, &message, origin, app);
    let committed = store(w, app, message, Some(event))?;
    tracing::trace!(step = "written", "the message and what it owes stand in the transaction");
    Ok(committed)
}

fn change_message(
    w: &mut Writing<'_>,
    app: &App,
    id: MessageId,
    change: &Change,
    origin: Origin,
) -> Stored<Committed> {
    let message = find(w.db, &app.id, id).map_err(fault)?.ok_or_else(|| {
        StoreError::from(Refusal::new(Code::MessageNotFound, format!("The message '{id}' does not exist.")))
    })?;
    let action_id = MessageId(w.ledger.next_number(w.db, &app.id)?);
    let (after, action) = change.apply(&message, action_id)?;
    update(w.db, &app.id, &after).map_err(fault)?;
    let is_told = app.settings.edits_through_after_message;
    let event = is_told.then(|| after_message(change.event_id.clone(), &action, origin, app));
    let mut committed = store(w, app, action, event)?;
    // Where the system user changed it, the author is in the conversation too.
    if !committed.members.contains(&message.sender) {
        committed.members.push(message.sender);
    }
    Ok(committed)
}

fn after_message(id: chathook_domain::ids::EventId, message: &Message, origin: Origin, app: &App) -> Event {
    let key = message.conversation.clone();
    Event::new(id, Trigger::AfterMessage, key, message, origin, app, message.sent_at)
}

/// Writes a numbered message and its event.
fn store(w: &mut Writing<'_>, app: &App, message: Message, event: Option<Event>) -> Stored<Committed> {
    know_conversation(w, &app.id, &message)?;
    let event_row = event.map(|event| events::record_event(w, app, event)).transpose()?;
    insert(w.db, &app.id, &message, event_row).map_err(fault)?;
    let cursor = message.id.0;
    let members = audience(w.db, &app.id, &message.sender, &message.receiver)?;
    Ok(Committed { message, members, cursor, is_repeat: false, synced_us: 0 })
}

/// The right to post, as it is at the moment of the commit.
fn check_may_post(w: &Writing<'_>, app: &AppId, sender: &Uid, receiver: &Receiver) -> Stored<()> {
    if !sender.is_system() {
        check_active(w, app, sender)?;
    }
    match receiver {
        Receiver::User(uid) if uid.is_system() => Ok(()),
        Receiver::User(uid) => check_active(w, app, uid),
        Receiver::Group(guid) if sender.is_system() => check_group_exists(w, app, guid),
        Receiver::Group(guid) => {
            if w.look_up::<Member>(&(app.clone(), guid.clone(), sender.clone()))?.is_some() {
                return Ok(());
            }
            check_group_exists(w, app, guid)?;
            let sentence = format!("The user '{sender}' has not joined the group '{guid}'.");
            Err(Refusal::new(Code::GroupNotJoined, sentence).into())
        }
    }
}

fn check_active(w: &Writing<'_>, app: &AppId, uid: &Uid) -> Stored<()> {
    let complaint = match w.look_up::<User>(&(app.clone(), uid.clone()))? {
        Some(user) if user.deactivated_at.is_none() => return Ok(()),
        Some(_) => "is deactivated",
        None => "does not exist",
    };
    Err(Refusal::new(Code::UidNotFound, format!("The user '{uid}' {complaint}.")).into())
}

fn check_group_exists(w: &Writing<'_>, app: &AppId, guid: &Guid) -> Stored<()> {
    if w.look_up::<Group>(&(app.clone(), guid.clone()))?.is_some() {
        return Ok(());
    }
    Err(Refusal::new(Code::GuidNotFound, format!("The group '{guid}' does not exist.")).into())
}

fn of_muid(
    db: &Connection,
    app: &AppId,
    sender: &Uid,
    conversation: &Key,
    muid: &str,
    now: Time,
) -> rusqlite::Result<Option<Message>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM message WHERE app = ?1 AND sender = ?2 AND conversation = ?3 AND muid = ?4 AND sent_at > ?5",
        " ORDER BY id DESC LIMIT 1"
    );
    let since = now.plus_ms(-MUID_MS);
    db.prepare_cached(sql)?
        .query_row((app.as_str(), sender.as_str(), conversation.as_str(), muid, since.ms), message_from)
        .optional()
}

pub(super) fn find(db: &Connection, app: &AppId, id: MessageId) -> rusqlite::Result<Option<Message>> {
    Ok(find_with_size(db, app, id)?.map(|(message, _)| message))
}

/// The message with the bytes of its JSON columns.
pub(super) fn find_with_size(
    db: &Connection,
    app: &AppId,
    id: MessageId,
) -> rusqlite::Result<Option<(Message, usize)>> {
    let sql = concat!("SELECT ", columns!(), " FROM message WHERE app = ?1 AND id = ?2");
    let from = |row: &Row<'_>| Ok((message_from(row)?, size_of(row)?));
    db.prepare_cached(sql)?.query_row((app.as_str(), id.0), from).optional()
}

fn size_of(row: &Row<'_>) -> rusqlite::Result<usize> {
    Ok(row.get_ref(7)?.as_str()?.len() + row.get_ref(9)?.as_str()?.len())
}

fn list(db: &Connection, app: &AppId, filter: &MessageFilter) -> rusqlite::Result<Vec<Message>> {
    let mut sql = concat!("SELECT ", columns!(), " FROM message").to_owned();
    if filter.conversation.is_some() {
        // Left to itself, SQLite walks all messages of the app in the order of their ids.
        sql.push_str(" INDEXED BY message_conversation");
    }
    sql.push_str(" WHERE app = ?1");
    // ?2 is named even where it is not asked for, so that the numbers stay the same.
    sql.push_str(if filter.visible_to.is_some() {
        concat!(" AND conversation IN ", conversations_of_user!())
    } else {
        " AND ?2 IS NULL"
    });
    sql.push_str(if filter.conversation.is_some() { " AND conversation = ?3" } else { " AND ?3 IS NULL" });
    sql.push_str(" AND id > ?4 AND id < ?5");
    sql.push_str(if filter.after.is_some() { " ORDER BY id LIMIT ?6" } else { " ORDER BY id DESC LIMIT ?6" });
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query((
        app.as_str(),
        filter.visible_to.as_ref().map(Uid::as_str),
        filter.conversation.as_ref().map(Key::as_str),
        filter.after.map_or(i64::MIN, |id| id.0),
        filter.before.map_or(i64::MAX, |id| id.0),
        filter.limit,
    ))?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while bytes <= READ_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        bytes += size_of(row)?;
        messages.push(message_from(row)?);
    }
    if filter.after.is_none() {
        messages.reverse();
    }
    Ok(messages)
}

/// A conversation that has its row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KnownConversation;

impl Cached for KnownConversation {
    type Name = (AppId, Key);

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.conversations
    }

    fn places((app, id): &Self::Name, _: Option<&Self>) -> Vec<Place> {
        vec![Place::of(Noun::Conversation, &[app.as_str().as_bytes(), id.as_str().as_bytes()])]
    }

    fn read(db: &Connection, _: &Vault, (app, id): &Self::Name) -> Stored<Option<Self>> {
        db.prepare_cached("SELECT 1 FROM conversation WHERE app = ?1 AND id = ?2")
            .and_then(|mut query| query.exists((app.as_str(), id.as_str())))
            .map(|is_known| is_known.then_some(Self))
            .map_err(fault)
    }
}

fn know_conversation(w: &Writing<'_>, app: &AppId, message: &Message) -> Stored<()> {
    if w.look_up::<KnownConversation>(&(app.clone(), message.conversation.clone()))?.is_some() {
        return Ok(());
    }
    let (user_a, user_b, guid) = match &message.receiver {
        Receiver::User(uid) => (Some(message.sender.as_str()), Some(uid.as_str()), None),
        Receiver::Group(guid) => (None, None, Some(guid.as_str())),
    };
    w.db.prepare_cached(
        "INSERT INTO conversation (app, id, user_a, user_b, guid) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut insert| {
        insert.execute((app.as_str(), message.conversation.as_str(), user_a, user_b, guid))
    })
    .map(drop)
    .map_err(fault)
}

fn insert(db: &Connection, app: &AppId, message: &Message, event: Option<i64>) -> rusqlite::Result<()> {
    let sql = concat!(
        "INSERT INTO message (app, ",
        columns!(),
        ", event) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
         NULL, NULL, NULL, NULL, NULL, NULL, ?14)"
    );
    db.prepare_cached(sql)?.execute((
        app.as_str(),
        message.id.0,
        message.conversation.as_str(),
        message.sender.as_str(),
        message.receiver.kind(),
        message.receiver.id(),
        message.category.as_str(),
        message.kind.as_str(),
        text_of(&message.data),
        message.muid.as_deref(),
        text_of(&message.tags),
        message.sent_at.ms,
        message.updated_at.ms,
        event,
    ))?;
    Ok(())
}

/// What an edit or a deletion may change.
fn update(db: &Connection, app: &AppId, message: &Message) -> rusqlite::Result<()> {
    let change = |change: &Option<(Time, Uid)>| match change {
        Some((at, by)) => (Some(at.ms), Some(by.as_str().to_owned())),
        None => (None, None),
    };
    let (edited_at, edited_by) = change(&message.edited);
    let (deleted_at, deleted_by) = change(&message.deleted);
    db.prepare_cached(
        "UPDATE message SET data = ?3, tags = ?4, updated_at = ?5, edited_at = ?6, edited_by = ?7,
                            deleted_at = ?8, deleted_by = ?9
         WHERE app = ?1 AND id = ?2",
    )?
    .execute((
        app.as_str(),
        message.id.0,
        text_of(&message.data),
        text_of(&message.tags),
        message.updated_at.ms,
        edited_at,
        edited_by,
        deleted_at,
        deleted_by,
    ))?;
    Ok(())
}

fn message_from(row: &Row<'_>) -> rusqlite::Result<Message> {
    let receiver = match row.get_ref(3)?.as_str()? {
        "group" => Receiver::Group(Guid::trusted(row.get_ref(4)?.as_str()?)),
        _ => Receiver::User(Uid::trusted(row.get_ref(4)?.as_str()?)),
    };
    let category = Category::parse(row.get_ref(5)?.as_str()?)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(5, "category".to_owned(), Type::Text))?;
    Ok(Message {
        id: MessageId(row.get(0)?),
        conversation: Key::trusted(row.get_ref(1)?.as_str()?),
        sender: Uid::trusted(row.get_ref(2)?.as_str()?),
        receiver,
        category,
        kind: row.get(6)?,
        data: json(row, 7)?,
        muid: row.get(8)?,
        tags: json(row, 9)?,
        sent_at: Time::from_ms(row.get(10)?),
        updated_at: Time::from_ms(row.get(11)?),
        edited: change_from(row, 12)?,
        deleted: change_from(row, 14)?,
        delivered_at: row.get::<_, Option<i64>>(16)?.map(Time::from_ms),
        read_at: row.get::<_, Option<i64>>(17)?.map(Time::from_ms),
    })
}

fn change_from(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<(Time, Uid)>> {
    let at: Option<i64> = row.get(column)?;
    let by: Option<String> = row.get(column + 1)?;
    Ok(at.zip(by).map(|(at, by)| (Time::from_ms(at), Uid::trusted(&by))))
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    parsed(column, row.get_ref(column)?.as_str()?)
}

/// Reads a column that holds JSON.
pub(super) fn parsed<T: DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn text_of<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps of JSON values and lists of strings can always be written")
}
