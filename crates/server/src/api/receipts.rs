//! Delivered and read, up to a message (spec 4.8).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::fields::Fields;
use chathook_domain::ids::{Guid, MessageId, Uid};
use chathook_domain::message::Receiver;
use chathook_domain::receipt::ReceiptKind;
use chathook_domain::refusal::{Code, Refusal};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::auth::Actor;
use super::extract::{Ids, OptionalJsonBody};
use super::lists::{Answer, Data, data};
use super::shapes::messages::UpTo;
use super::shapes::refuses;

/// That a conversation is acknowledged. The published answers spell the sentence's name in both ways.
#[derive(Serialize, ToSchema)]
pub struct Marked {
    success: bool,
    message: String,
    #[serde(rename = "Message")]
    spelt_otherwise: String,
}

/// Marks the conversation with a user as delivered
///
/// The caller must be a user: their own token, or a key on their behalf. A repeat changes nothing.
#[utoipa::path(
    post, path = "/users/{uid}/conversation/delivered", tag = "receipts",
    request_body(content = Option<UpTo>),
    responses((status = 200, description = "Done", body = Data<Marked>)),
    extensions(("x-refusals" = json!(refuses(&[Code::MessageNotFound])))),
)]
pub async fn mark_user_delivered(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(uid): Ids<String>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Answer {
    let author = Receiver::User(Uid::parse("uid", &uid)?);
    mark(&api, &actor, ReceiptKind::Delivered, author, &body).await
}

/// Marks the conversation with a user as read
///
/// The caller must be a user: their own token, or a key on their behalf. A repeat changes nothing.
#[utoipa::path(
    post, path = "/users/{uid}/conversation/read", tag = "receipts",
    request_body(content = Option<UpTo>),
    responses((status = 200, description = "Done", body = Data<Marked>)),
    extensions(("x-refusals" = json!(refuses(&[Code::MessageNotFound])))),
)]
pub async fn mark_user_read(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(uid): Ids<String>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Answer {
    let author = Receiver::User(Uid::parse("uid", &uid)?);
    mark(&api, &actor, ReceiptKind::Read, author, &body).await
}

/// Marks the conversation of a group as delivered
///
/// The caller must be a user: their own token, or a key on their behalf. A repeat changes nothing.
#[utoipa::path(
    post, path = "/groups/{guid}/conversation/delivered", tag = "receipts",
    request_body(content = Option<UpTo>),
    responses((status = 200, description = "Done", body = Data<Marked>)),
    extensions(("x-refusals" = json!(refuses(&[
        Code::GuidNotFound, Code::GroupNotJoined, Code::MessageNotFound,
    ])))),
)]
pub async fn mark_group_delivered(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(guid): Ids<String>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Answer {
    let group = Receiver::Group(Guid::parse("guid", &guid)?);
    mark(&api, &actor, ReceiptKind::Delivered, group, &body).await
}

/// Marks the conversation of a group as read
///
/// The caller must be a user: their own token, or a key on their behalf. A repeat changes nothing.
#[utoipa::path(
    post, path = "/groups/{guid}/conversation/read", tag = "receipts",
    request_body(content = Option<UpTo>),
    responses((status = 200, description = "Done", body = Data<Marked>)),
    extensions(("x-refusals" = json!(refuses(&[
        Code::GuidNotFound, Code::GroupNotJoined, Code::MessageNotFound,
    ])))),
)]
pub async fn mark_group_read(
    State(api): State<Arc<Api>>,
    actor: Actor,
    Ids(guid): Ids<String>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Answer {
    let group = Receiver::Group(Guid::parse("guid", &guid)?);
    mark(&api, &actor, ReceiptKind::Read, group, &body).await
}

async fn mark(api: &Api, actor: &Actor, kind: ReceiptKind, receiver: Receiver, body: &Value) -> Answer {
    let up_to = up_to(body)?;
    let (place, id) = (receiver.kind(), receiver.id().to_owned());
    api.engine.mark(&actor.caller, kind, receiver, up_to).await?;
    let deed = match kind {
        ReceiptKind::Delivered => "delivered",
        ReceiptKind::Read => "read",
    };
    let me = &actor.caller.uid;
    let sentence = format!("All messages from {place} {id} are marked as {deed} for user {me}.");
    Ok(data(Marked { success: true, message: sentence.clone(), spelt_otherwise: sentence }))
}

/// The message up to which is marked, as a number or a string; all of them where none is named.
fn up_to(body: &Value) -> Result<Option<MessageId>, Refusal> {
    let fields = Fields::of(body)?;
    let Some(value) = fields.get("messageId") else { return Ok(None) };
    let id = match value {
        Value::Number(number) => number.as_i64().filter(|n| *n >= 0).map(MessageId),
        Value::String(text) => MessageId::parse(text),
        _ => None,
    };
    id.map(Some).ok_or_else(|| Refusal::field(Code::BadRequest, "messageId", "must be a message's id"))
}
