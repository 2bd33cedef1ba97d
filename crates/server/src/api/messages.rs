//! Messages (spec 4.6).

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use chathook_domain::fields::Fields;
use chathook_domain::ids::{Guid, Key, Uid};
use chathook_domain::message::{ChangeKind, Draft, Receiver};
use chathook_domain::refusal::Code;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::auth::Actor;
use super::error::ApiError;
use super::extract::{Ids, JsonBody, OptionalJsonBody, Params, message_id};
use super::lists::{Answer, Cursor, Data, MessageAnswer, Messages, MessagesQuery, shown};
use super::shapes::messages::{Message, MessageEdit, NewMessage};
use super::shapes::refuses;

/// The one conversation that is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct ConversationQuery {
    pub conversation_id: Option<String>,
}

#[derive(ToSchema)]
#[schema(example = json!({}))]
pub struct Deletion {
    pub permanent: Option<bool>,
}

/// Sends a message
///
/// It is stored with all that it causes before the answer comes. The header `Server-Timing` tells how long
/// it waited for the disk.
#[utoipa::path(
    post, path = "/messages", tag = "messages",
    request_body(content = NewMessage),
    responses(
        (status = 200, description = "The message", body = Data<Message>,
         headers(("Server-Timing" = String, description = "How long it waited for the disk.")))
    ),
    extensions(("x-refusals" = json!(refuses(&[
        Code::EmptyReceiver, Code::InvalidReceiverType, Code::InvalidMessageCategory,
        Code::InvalidMessageType, Code::EmptyMessageText, Code::InvalidMessageText,
        Code::InvalidMediaMessage, Code::EmptyCustomData, Code::InvalidCustomData, Code::InvalidMetadata,
        Code::GuidNotFound, Code::GroupNotJoined, Code::BlockedByWebhook,
    ])))),
)]
pub async fn send_message(
    State(api): State<Arc<Api>>,
    actor: Actor,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let draft = Draft::parse(&body)?;
    // The message is sent to its end even if the caller hangs up meanwhile.
    let sending = tokio::spawn(async move { api.engine.send_message(&actor.caller, draft).await });
    let sent = sending.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let mut answer = shown(sent.message).into_response();
    if let Some(timing) = sent.synced_us.and_then(server_timing) {
        answer.headers_mut().insert("server-timing", timing);
    }
    Ok(answer)
}

/// How long the message waited for the disk (W3C Server Timing, milliseconds).
#[allow(clippy::cast_precision_loss, reason = "a wait is far below 2^52 microseconds")]
fn server_timing(synced_us: u64) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("fsync;dur={:.3}", synced_us as f64 / 1_000.0)).ok()
}

/// Lists the messages that the caller may see
#[utoipa::path(
    get, path = "/messages", tag = "messages",
    params(MessagesQuery, ConversationQuery),
    responses((status = 200, description = "A part of the messages, oldest first", body = Messages)),
)]
pub async fn list_messages(State(api): State<Arc<Api>>, actor: Actor, params: Params) -> Answer {
    let cursor = Cursor::parse(&params)?;
    let conversation = params.text("conversationId").map(Key::trusted);
    let messages = api.engine.messages(&actor.caller, cursor.filter(conversation)).await?;
    Ok(cursor.answer(&messages))
}

/// Lists the messages between the caller and a user
#[utoipa::path(
    get, path = "/users/{uid}/messages", tag = "messages",
    params(MessagesQuery),
    responses((status = 200, description = "A part of the messages, oldest first", body = Messages)),
)]
pub async fn list_user_messages(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(uid): Ids<String>,
    params: Params,
) -> Answer {
    let cursor = Cursor::parse(&params)?;
    let uid = Uid::parse("uid", &uid)?;
    api.engine.user(&actor.caller.app.id, &uid).await?;
    let conversation = Receiver::User(uid).conversation_of(&actor.caller.uid);
    let messages = api.engine.messages(&actor.caller, cursor.filter(Some(conversation))).await?;
    Ok(cursor.answer(&messages))
}

/// Lists the messages of a group, for its members
#[utoipa::path(
    get, path = "/groups/{guid}/messages", tag = "messages",
    params(MessagesQuery),
    responses((status = 200, description = "A part of the messages, oldest first", body = Messages)),
    extensions(("x-refusals" = json!(refuses(&[Code::GuidNotFound, Code::GroupNotJoined])))),
)]
pub async fn list_group_messages(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(guid): Ids<String>,
    params: Params,
) -> Answer {
    let cursor = Cursor::parse(&params)?;
    let guid = Guid::parse("guid", &guid)?;
    let conversation = Receiver::Group(guid.clone()).conversation_of(&actor.caller.uid);
    let messages = api.engine.group_messages(&actor.caller, &guid, cursor.filter(Some(conversation))).await?;
    Ok(cursor.answer(&messages))
}

/// Shows a message
#[utoipa::path(
    get, path = "/messages/{messageId}", tag = "messages",
    responses((status = 200, description = "The message", body = Data<Message>)),
    extensions(("x-refusals" = json!(refuses(&[Code::MessageNotFound])))),
)]
pub async fn get_message(State(api): State<Arc<Api>>, actor: Actor, Ids(id): Ids<String>) -> MessageAnswer {
    let message = api.engine.message(&actor.caller, message_id(&id)?).await?;
    Ok(shown(message))
}

/// Edits a message
#[utoipa::path(
    put, path = "/messages/{messageId}", tag = "messages",
    request_body(content = MessageEdit),
    responses((status = 200, description = "The action message that tells of it", body = Data<Message>)),
    extensions(("x-refusals" = json!(refuses(&[
        Code::MessageNotFound, Code::MessageActionNotAllowed, Code::MessageNotASender,
        Code::InvalidMessageType, Code::EmptyMessageText, Code::InvalidMessageText,
        Code::InvalidMediaMessage, Code::EmptyCustomData, Code::InvalidCustomData, Code::InvalidMetadata,
        Code::BlockedByWebhook,
    ])))),
)]
pub async fn edit_message(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(id): Ids<String>,
    JsonBody(body): JsonBody,
) -> MessageAnswer {
    let edit = ChangeKind::parse_edit(&body)?;
    let action = api.engine.edit_message(&actor.caller, message_id(&id)?, edit).await?;
    Ok(shown(action))
}

/// Deletes a message
///
/// It keeps its frame and loses its content. `permanent` is read and changes nothing.
#[utoipa::path(
    delete, path = "/messages/{messageId}", tag = "messages",
    request_body(content = Option<Deletion>),
    responses((status = 200, description = "The action message that tells of it", body = Data<Message>)),
    extensions(("x-refusals" = json!(refuses(&[
        Code::MessageNotFound, Code::MessageActionNotAllowed, Code::MessageNotASender,
    ])))),
)]
pub async fn delete_message(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(id): Ids<String>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> MessageAnswer {
    Fields::of(&body)?.flag("permanent")?;
    let action = api.engine.delete_message(&actor.caller, message_id(&id)?).await?;
    Ok(shown(action))
}
