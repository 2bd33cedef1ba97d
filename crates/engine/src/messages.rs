//! Reads, edits and deletes stored messages.

use std::sync::Arc;

use chathook_domain::ids::{EventId, Guid, MessageId};
use chathook_domain::message::{Accepted, Category, Change, ChangeKind, Draft, Message, Receiver};
use chathook_domain::refusal::{Code, Refusal};
use serde_json::Value;

use crate::ask::is_asked_for;
use crate::caller::Caller;
use crate::engine::{Engine, refuse};
use crate::groups::not_joined;
use crate::ports::store::{Committed, MessageFilter, Told};

impl Engine {
    /// A message that the caller may see.
    pub async fn message(&self, caller: &Caller, id: MessageId) -> Result<Message, Refusal> {
        let found = self.store.message(&caller.app.id, id).await.map_err(refuse)?;
        let message = found.ok_or_else(|| not_found(id))?;
        if self.may_see(caller, &message).await? { Ok(message) } else { Err(not_found(id)) }
    }

    /// Messages in ascending order of id; a user sees only their own conversations.
    pub async fn messages(
        &self,
        caller: &Caller,
        mut filter: MessageFilter,
    ) -> Result<Vec<Message>, Refusal> {
        if !caller.uid.is_system() {
            filter.visible_to = Some(caller.uid.clone());
        }
        self.store.messages(&caller.app.id, filter).await.map_err(refuse)
    }

    /// Messages of a group, for its members.
    pub async fn group_messages(
        &self,
        caller: &Caller,
        guid: &Guid,
        filter: MessageFilter,
    ) -> Result<Vec<Message>, Refusal> {
        self.group_seen_by(caller, guid).await?;
        if !caller.uid.is_system() {
            let member = self.store.member(&caller.app.id, guid, &caller.uid).await.map_err(refuse)?;
            member.ok_or_else(|| not_joined(guid))?;
        }
        self.messages(caller, filter).await
    }

    /// Edits a message; answers with the action message.
    pub async fn edit_message(
        self: &Arc<Self>,
        caller: &Caller,
        id: MessageId,
        kind: ChangeKind,
    ) -> Result<Message, Refusal> {
        let message = self.message(caller, id).await?;
        // A socket knows the settings of its log-in; what counts is the settings of now.
        let is_asked =
            is_asked_for(caller) && self.app(&caller.app.id).await?.settings.before_message_on_edit;
        let event_id = self.event_id();
        let kind = if is_asked { self.ask_for_edit(caller, &message, kind, &event_id).await? } else { kind };
        self.change(caller, id, kind, event_id, "messageEdited").await
    }

    /// Deletes a message; answers with the action message.
    pub async fn delete_message(&self, caller: &Caller, id: MessageId) -> Result<Message, Refusal> {
        self.message(caller, id).await?;
        self.change(caller, id, ChangeKind::Delete, self.event_id(), "messageDeleted").await
    }

    async fn change(
        &self,
        caller: &Caller,
        id: MessageId,
        kind: ChangeKind,
        event_id: EventId,
        method: &'static str,
    ) -> Result<Message, Refusal> {
        let by = self.active_user(&caller.app.id, &caller.uid).await?;
        let change = Change { kind, by, at: self.clock.now(), event_id };
        let live = self.live(caller);
        let told = Told::by(move |committed: &Committed| live.tell_committed(committed, method));
        let changed = self.store.change_message(&caller.app, id, change, caller.origin, told).await;
        self.tallies.changed(&caller.app.id);
        Ok(changed.map_err(refuse)?.message)
    }

    /// The edit as the webhooks leave it: they are asked about the text as it would be.
    async fn ask_for_edit(
        self: &Arc<Self>,
        caller: &Caller,
        message: &Message,
        kind: ChangeKind,
        event_id: &EventId,
    ) -> Result<ChangeKind, Refusal> {
        let ChangeKind::Edit { data, tags } = kind else { return Ok(kind) };
        let by = self.active_user(&caller.app.id, &caller.uid).await?;
        let edit = ChangeKind::Edit { data, tags: tags.clone() };
        let at = self.clock.now();
        let change = Change { kind: edit, by: by.clone(), at, event_id: event_id.clone() };
        let (after, _) = change.apply(message, MessageId(0))?;
        let mut content = after.data;
        let entities = content.shift_remove("entities").unwrap_or(Value::Null);
        let receiver_entity = entities.get("receiver").cloned().unwrap_or(Value::Null);
        let draft = Draft {
            receiver: after.receiver,
            category: after.category,
            kind: after.kind,
            data: content,
            muid: after.muid,
            tags: after.tags,
        };
        let accepted = Accepted { sender: by, draft, receiver_entity, at, event_id: event_id.clone() };
        let asked = self.ask_before_message(caller, accepted).await?;
        Ok(ChangeKind::Edit { data: asked.draft.data, tags })
    }

    async fn may_see(&self, caller: &Caller, message: &Message) -> Result<bool, Refusal> {
        if caller.uid.is_system() {
            return Ok(true);
        }
        match &message.receiver {
            Receiver::User(uid) => Ok(*uid == caller.uid || message.sender == caller.uid || {
                // An action message of the system in a 1:1 conversation: the conversation names both.
                message.category == Category::Action
                    && self
                        .store
                        .is_of_two(&caller.app.id, &caller.uid, &message.conversation)
                        .await
                        .map_err(refuse)?
            }),
            Receiver::Group(guid) => {
                Ok(self.store.member(&caller.app.id, guid, &caller.uid).await.map_err(refuse)?.is_some())
            }
        }
    }
}

fn not_found(id: MessageId) -> Refusal {
    Refusal::new(Code::MessageNotFound, format!("There is no message with the id '{id}'."))
}
