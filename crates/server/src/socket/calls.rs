//! The methods of a logged-in socket: reads their params, asks the engine, and shapes the answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use chathook_adapters::local_bus::TooManyWatched;
use chathook_domain::fields::Fields;
use chathook_domain::ids::{Guid, MessageId, Uid};
use chathook_domain::message::{ChangeKind, Draft, Message, Receiver};
use chathook_domain::receipt::ReceiptKind;
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::ports::store::MessageFilter;
use chathook_engine::send_message::Turn;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::frames::Failure;
use super::live::Live;
use super::methods::Method;
use super::turns::{Taken, Turns, wait};

/// Users whose presence one call, and one socket, may follow.
const WATCHED_MAX: usize = 1_000;
const PAGE_MAX: i64 = 100;
const PAGE: i64 = 30;
/// Bytes of messages in one answer, beyond its first.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

pub(super) type Outcome = Result<Value, Failure>;
/// A call that has its place in order, to be done beside the others.
pub(super) type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Reads a call and gives it its place among those on its conversation.
pub(super) async fn begin(
    live: &Arc<Live>,
    method: &str,
    params: &Value,
    turns: &mut Turns,
) -> Result<Work, Failure> {
    let known = Method::parse(method).ok_or_else(|| Failure::no_such_method(method))?;
    match known {
        Method::Ping => Ok(Box::pin(async { Ok(json!({})) })),
        Method::SendMessage => send_message(live, params, turns),
        Method::EditMessage => {
            let change = ChangeKind::parse_edit(params).map_err(Failure::params)?;
            change_message(live, params, change, turns).await
        }
        Method::DeleteMessage => change_message(live, params, ChangeKind::Delete, turns).await,
        Method::MarkDelivered => mark(live, params, ReceiptKind::Delivered, turns).await,
        Method::MarkRead => mark(live, params, ReceiptKind::Read, turns).await,
        Method::FetchMessages => fetch_messages(live, params, turns).map_err(Failure::params),
        Method::LeaveGroup => leave_group(live, params, turns).map_err(Failure::params),
        Method::Typing => typing(live, params).map_err(Failure::params),
        Method::SubscribePresence => subscribe_presence(live, params).map_err(Failure::params),
        // Who reads the frames has taken these.
        Method::Login | Method::Logout => Err(Failure::no_such_method(method)),
    }
}

fn send_message(live: &Arc<Live>, params: &Value, turns: &mut Turns) -> Result<Work, Failure> {
    let draft = Draft::parse(params).map_err(Failure::params)?;
    let taken = turns.take(draft.receiver.conversation_of(&live.caller.uid), false);
    let live = Arc::clone(live);
    Ok(Box::pin(async move {
        let Taken { turn: Turn { mut before, done }, is_behind_barrier } = taken;
        if is_behind_barrier {
            wait(before.take()).await;
        }
        let (open, gate) = oneshot::channel();
        let (committed, _) = oneshot::channel();
        let turn = Turn { before: Some(gate), done: committed };
        // One that is refused early still passes the turn on only when those before it are done.
        let gatekeeper = async {
            wait(before).await;
            let _ = open.send(());
        };
        let sending = live.engine.send_message_in_turn(&live.caller, draft, turn);
        let (sent, ()) = tokio::join!(sending, gatekeeper);
        drop(done);
        Ok(sent?.message.to_json())
    }))
}

async fn change_message(
    live: &Arc<Live>,
    params: &Value,
    change: ChangeKind,
    turns: &mut Turns,
) -> Result<Work, Failure> {
    let message = message_of(live, params).await?;
    let turn = turns.take(message.conversation, false).turn;
    let (live, id) = (Arc::clone(live), message.id);
    Ok(in_turn(turn, async move {
        let action = match change {
            ChangeKind::Delete => live.engine.delete_message(&live.caller, id).await?,
            ChangeKind::Edit { .. } => live.engine.edit_message(&live.caller, id, change).await?,
        };
        Ok(action.to_json())
    }))
}

async fn mark(
    live: &Arc<Live>,
    params: &Value,
    kind: ReceiptKind,
    turns: &mut Turns,
) -> Result<Work, Failure> {
    let message = message_of(live, params).await?;
    let receiver = receiver_of(&message, &live.caller.uid);
    let turn = turns.take(message.conversation.clone(), false).turn;
    let live = Arc::clone(live);
    Ok(in_turn(turn, async move {
        let marked = live.engine.mark(&live.caller, kind, receiver, Some(message.id)).await?;
        let receipt = marked.receipts.iter().find(|(receipt, _)| receipt.kind == kind);
        let (name, at) = match kind {
            ReceiptKind::Delivered => ("deliveredAt", message.delivered_at),
            ReceiptKind::Read => ("readAt", message.read_at),
        };
        let mut result = json!({"messageId": message.id.to_string()});
        if let Some(at) = receipt.map(|(receipt, _)| receipt.at).or(at) {
            result[name] = json!(at.seconds());
        }
        Ok(result)
    }))
}

fn fetch_messages(live: &Arc<Live>, params: &Value, turns: &mut Turns) -> Result<Work, Refusal> {
    let fields = Fields::of(params)?;
    let conversation = Receiver::parse(&fields)?.conversation_of(&live.caller.uid);
    let (before, after) = (message_id(&fields, "before")?, message_id(&fields, "after")?);
    if before.is_some() && after.is_some() {
        return Err(Refusal::field(Code::BadRequest, "after", "cannot be given with 'before'"));
    }
    let limit = fields.number("limit", 1, PAGE_MAX)?.unwrap_or(PAGE);
    let turn = turns.take(conversation.clone(), false).turn;
    let filter = MessageFilter { conversation: Some(conversation), visible_to: None, before, after, limit };
    let live = Arc::clone(live);
    Ok(in_turn(turn, async move {
        let messages = live.engine.messages(&live.caller, filter).await?;
        Ok(page(messages, after.is_some(), limit))
    }))
}

/// A page in ascending order, cut to what one answer may hold, from the end where the client stands.
/// Its `cursor`, where more may follow, is the next call's `after` or `before`.
fn page(mut messages: Vec<Message>, is_forwards: bool, limit: i64) -> Value {
    let mut has_more = i64::try_from(messages.len()).is_ok_and(|count| count >= limit);
    if !is_forwards {
        messages.reverse();
    }
    let (mut page, mut bytes, mut last) = (Vec::with_capacity(messages.len()), 0, None);
    for message in &messages {
        let json = message.to_json();
        bytes += json.to_string().len();
        if bytes > ANSWER_BYTES_MAX && !page.is_empty() {
            has_more = true;
            break;
        }
        page.push(json);
        last = Some(message.id);
    }
    if !is_forwards {
        page.reverse();
    }
    let mut result = json!({"messages": page});
    if let (true, Some(last)) = (has_more, last) {
        result["cursor"] = json!(last.to_string());
    }
    result
}

fn leave_group(live: &Arc<Live>, params: &Value, turns: &mut Turns) -> Result<Work, Refusal> {
    let guid = Guid::parse("guid", &Fields::of(params)?.required_text("guid", 100)?)?;
    let conversation = Receiver::Group(guid.clone()).conversation_of(&live.caller.uid);
    let turn = turns.take(conversation, true).turn;
    let live = Arc::clone(live);
    Ok(in_turn(turn, async move {
        live.engine.kick_member(&live.caller, &guid, &live.caller.uid).await?;
        Ok(live.engine.group(&live.caller.app.id, &guid).await?.to_json())
    }))
}

fn typing(live: &Arc<Live>, params: &Value) -> Result<Work, Refusal> {
    let fields = Fields::of(params)?;
    let receiver = Receiver::parse(&fields)?;
    let is_active = fields.flag("active")?.unwrap_or(true);
    let live = Arc::clone(live);
    Ok(Box::pin(async move {
        live.engine.typing(&live.caller, receiver, is_active).await?;
        Ok(json!({}))
    }))
}

fn subscribe_presence(live: &Arc<Live>, params: &Value) -> Result<Work, Refusal> {
    let fields = Fields::of(params)?;
    let uids = fields.texts("uids", WATCHED_MAX, 100)?.unwrap_or_default();
    let uids = uids.iter().map(|uid| Uid::parse("uids", uid)).collect::<Result<Vec<_>, _>>()?;
    live.subscription.watch(&uids, WATCHED_MAX).map_err(|TooManyWatched| {
        let complaint = format!("may bring a socket to at most {WATCHED_MAX} users");
        Refusal::field(Code::BadRequest, "uids", &complaint)
    })?;
    let live = Arc::clone(live);
    Ok(Box::pin(async move {
        // Watched before this is read, so that no change falls between.
        let online = live.engine.presence_of(&live.caller.app.id, &uids).await?;
        let states = uids.iter().map(|uid| {
            let state = if online.contains(uid) { "online" } else { "offline" };
            (uid.to_string(), json!(state))
        });
        Ok(Value::Object(states.collect::<Map<_, _>>()))
    }))
}

/// Does the work when the call before is done, and passes the turn on when it is done itself.
fn in_turn(turn: Turn, work: impl Future<Output = Outcome> + Send + 'static) -> Work {
    Box::pin(async move {
        wait(turn.before).await;
        let outcome = work.await;
        drop(turn.done);
        outcome
    })
}

/// The message that `messageId` names, read at once since its conversation decides the call's place.
async fn message_of(live: &Live, params: &Value) -> Result<Message, Failure> {
    let id = Fields::of(params).and_then(|fields| {
        message_id(&fields, "messageId")?
            .ok_or_else(|| Refusal::field(Code::BadRequest, "messageId", "is required"))
    });
    Ok(live.engine.message(&live.caller, id.map_err(Failure::params)?).await?)
}

/// Message ids are strings everywhere; numbers are taken too.
fn message_id(fields: &Fields<'_>, field: &str) -> Result<Option<MessageId>, Refusal> {
    Ok(fields.number(field, 0, i64::MAX)?.map(MessageId))
}

/// The receiver by which `me` names the conversation of a message.
fn receiver_of(message: &Message, me: &Uid) -> Receiver {
    let conversation = message.conversation.as_str();
    // In an action message of the system only the conversation names the other.
    let named = [
        conversation.strip_prefix(&format!("{me}_user_")),
        conversation.strip_suffix(&format!("_user_{me}")),
    ];
    let others = named.into_iter().flatten().map(|uid| Receiver::User(Uid::trusted(uid)));
    [message.receiver.clone(), Receiver::User(message.sender.clone())]
        .into_iter()
        .chain(others)
        .find(|receiver| receiver.conversation_of(me) == message.conversation)
        .unwrap_or_else(|| message.receiver.clone())
}
