//! Marks of how far a user has acknowledged a conversation, and the receipts that tell of them.

use chathook_domain::app::App;
use chathook_domain::event::{Event, Origin};
use chathook_domain::ids::{AppId, Key, MessageId, Uid};
use chathook_domain::message::Receiver;
use chathook_domain::receipt::{Mark, Marks, Receipt, ReceiptKind};
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::ports::store::{Marked, Stored};
use rusqlite::{Connection, OptionalExtension as _};

use super::{Writing, events, fault, members, messages, record};

/// A mark that changes nothing tells nobody.
pub(super) fn mark(w: &mut Writing<'_>, app: &App, mark: &Mark, origin: Origin) -> Stored<Marked> {
    let conversation = mark.conversation();
    if let Receiver::Group(guid) = &mark.receiver
        && !mark.by.is_system()
        && !members::is_member(w.db, &app.id, guid, &mark.by)?
    {
        return Err(
            Refusal::new(Code::GroupNotJoined, "Only members may acknowledge a group's messages.").into()
        );
    }
    let members = messages::audience(w.db, &app.id, &mark.by, &mark.receiver)?;
    let Some((boundary, message_sender)) = boundary(w.db, &app.id, &conversation, mark)? else {
        return Ok(Marked { receipts: Vec::new(), members });
    };
    let marks = marks(w.db, &app.id, &conversation, &mark.by).map_err(fault)?;
    let mut receipts = Vec::new();
    for (kind, event_id) in marks.news(mark.kind, boundary).into_iter().zip(mark.event_ids.clone()) {
        set_mark(w.db, &app.id, &conversation, mark, kind, boundary).map_err(fault)?;
        if let Receiver::User(_) = &mark.receiver {
            stamp_messages(w.db, &app.id, &conversation, mark, kind, marks, boundary).map_err(fault)?;
        }
        let receipt = Receipt {
            kind,
            message_id: boundary,
            message_sender: message_sender.clone(),
            by: mark.by.clone(),
            receiver: mark.receiver.clone(),
            at: mark.at,
        };
        let data = receipt.to_data();
        events::record_event(
            w,
            app,
            Event::new(event_id, kind.trigger(), mark.key(), &data, origin, app, mark.at),
        )?;
        let cursor = record::append(w, &app.id, &conversation, &data)?;
        receipts.push((receipt, cursor));
    }
    Ok(Marked { receipts, members })
}

/// The last message of others up to the one named, with its author.
fn boundary(
    db: &Connection,
    app: &AppId,
    conversation: &Key,
    mark: &Mark,
) -> Stored<Option<(MessageId, Uid)>> {
    if let Some(up_to) = mark.up_to {
        let is_here = db
            .prepare_cached("SELECT 1 FROM message WHERE app = ?1 AND id = ?2 AND conversation = ?3")
            .and_then(|mut query| query.exists((app.as_str(), up_to.0, conversation.as_str())));
        if !is_here.map_err(fault)? {
            let sentence = format!("The message '{up_to}' does not exist in this conversation.");
            return Err(Refusal::new(Code::MessageNotFound, sentence).into());
        }
    }
    let up_to = mark.up_to.map_or(i64::MAX, |id| id.0);
    let found = db
        .prepare_cached(
            "SELECT id, sender FROM message
             WHERE app = ?1 AND conversation = ?2 AND id <= ?3 AND sender <> ?4 AND category <> 'action'
             ORDER BY id DESC LIMIT 1",
        )
        .and_then(|mut query| {
            let place = (app.as_str(), conversation.as_str(), up_to, mark.by.as_str());
            query
                .query_row(place, |row| Ok((MessageId(row.get(0)?), Uid::trusted(row.get_ref(1)?.as_str()?))))
                .optional()
        });
    found.map_err(fault)
}

fn marks(db: &Connection, app: &AppId, conversation: &Key, uid: &Uid) -> rusqlite::Result<Marks> {
    let marks = db
        .prepare_cached(
            "SELECT delivered_up_to, read_up_to FROM mark WHERE app = ?1 AND conversation = ?2 AND uid = ?3",
        )?
        .query_row((app.as_str(), conversation.as_str(), uid.as_str()), |row| {
            Ok(Marks { delivered_up_to: row.get(0)?, read_up_to: row.get(1)? })
        })
        .optional()?;
    Ok(marks.unwrap_or_default())
}

fn set_mark(
    db: &Connection,
    app: &AppId,
    conversation: &Key,
    mark: &Mark,
    kind: ReceiptKind,
    boundary: MessageId,
) -> rusqlite::Result<()> {
    let sql = match kind {
        ReceiptKind::Delivered => {
            "INSERT INTO mark (app, conversation, uid, delivered_up_to, delivered_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (app, conversation, uid) DO UPDATE
             SET delivered_up_to = excluded.delivered_up_to, delivered_at = excluded.delivered_at"
        }
        ReceiptKind::Read => {
            "INSERT INTO mark (app, conversation, uid, read_up_to, read_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (app, conversation, uid) DO UPDATE
             SET read_up_to = excluded.read_up_to, read_at = excluded.read_at"
        }
    };
    db.prepare_cached(sql)?.execute((
        app.as_str(),
        conversation.as_str(),
        mark.by.as_str(),
        boundary.0,
        mark.at.ms,
    ))?;
    Ok(())
}

/// In a 1:1 conversation the messages themselves carry the times (spec 5.1).
fn stamp_messages(
    db: &Connection,
    app: &AppId,
    conversation: &Key,
    mark: &Mark,
    kind: ReceiptKind,
    before: Marks,
    boundary: MessageId,
) -> rusqlite::Result<()> {
    let (sql, after) = match kind {
        ReceiptKind::Delivered => (
            "UPDATE message SET delivered_at = ?1
             WHERE app = ?2 AND conversation = ?3 AND id > ?4 AND id <= ?5 AND sender <> ?6
                   AND category <> 'action' AND delivered_at IS NULL",
            before.delivered_up_to,
        ),
        ReceiptKind::Read => (
            "UPDATE message SET read_at = ?1
             WHERE app = ?2 AND conversation = ?3 AND id > ?4 AND id <= ?5 AND sender <> ?6
                   AND category <> 'action' AND read_at IS NULL",
            before.read_up_to,
        ),
    };
    db.prepare_cached(sql)?.execute((
        mark.at.ms,
        app.as_str(),
        conversation.as_str(),
        after,
        boundary.0,
        mark.by.as_str(),
    ))?;
    Ok(())
}
