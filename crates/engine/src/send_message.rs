//! The way of a message, from a draft to "sent" (design 4). Each step of it, here and where it goes on, is a
//! trace line with the field `step`; the crash tests let a process die at each.

use std::sync::Arc;

use chathook_domain::group::Group;
use chathook_domain::message::{Accepted, Draft, Message, Receiver};
use chathook_domain::refusal::Refusal;
use chathook_domain::user::User;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::ask::is_asked_for;
use crate::caller::Caller;
use crate::engine::{Engine, refuse};
use crate::groups::not_joined;
use crate::ports::store::{Committed, Told};

/// A call's place among those of one connection that touch one conversation: hooks are asked at
/// once, the commit waits for the one before.
pub struct Turn {
    /// Resolves, or is dropped, when the call before is committed, dropped or refused.
    pub before: Option<oneshot::Receiver<()>>,
    /// Told, or dropped, when this one is.
    pub done: oneshot::Sender<()>,
}

/// A message that was sent, and how long its commit waited for the disk, where it waited.
#[derive(Debug)]
pub struct Sent {
    pub message: Message,
    pub synced_us: Option<u64>,
}

impl Engine {
    /// Sends a message that waits for no other.
    pub async fn send_message(self: &Arc<Self>, caller: &Caller, draft: Draft) -> Result<Sent, Refusal> {
        let (done, _) = oneshot::channel();
        self.send_message_in_turn(caller, draft, Turn { before: None, done }).await
    }

    /// Sends a message; its commit waits for its turn.
    pub async fn send_message_in_turn(
        self: &Arc<Self>,
        caller: &Caller,
        draft: Draft,
        turn: Turn,
    ) -> Result<Sent, Refusal> {
        tracing::trace!(step = "drafted", "a message has come in");
        let app = &caller.app.id;
        let conversation = draft.receiver.conversation_of(&caller.uid);
        let under_way = match &draft.muid {
            Some(muid) => {
                let key = (app.clone(), caller.uid.clone(), conversation.clone(), muid.clone());
                let guard = self.muids.wait_for(key).await;
                let now = self.clock.now();
                let known = self.store.message_of_muid(app, &caller.uid, &conversation, muid, now).await;
                if let Some(known) = known.map_err(refuse)? {
                    return Ok(Sent { message: known, synced_us: None });
                }
                Some(guard)
            }
            None => None,
        };
        let sender = self.active_user(app, &caller.uid).await?;
        let receiver_entity = self.receiver_entity(caller, &draft.receiver).await?;
        tracing::trace!(step = "allowed", "the sender may send it");
        let mut accepted =
            Accepted { sender, draft, receiver_entity, at: self.clock.now(), event_id: self.event_id() };
        if is_asked_for(caller) {
            accepted = self.ask_before_message(caller, accepted).await?;
            tracing::trace!(step = "judged", "the webhooks that are asked let it pass");
        }
        if let Some(before) = turn.before {
            // Who waits for a turn must not hold what the call before may need: a socket may send the
            // same `muid` twice. The commit finds the repeat.
            drop(under_way);
            // An error means that the call before ended without a word, which ends the wait as well.
            let _ = before.await;
        }
        tracing::trace!(step = "accepted", "the message is complete but for its number");
        let live = self.live(caller);
        let told = Told::by(move |committed: &Committed| {
            if !committed.is_repeat {
                live.tell_committed(committed, "message");
                tracing::trace!(step = "told", "the conversation's sockets are told");
            }
        });
        let committed = self.store.commit_message(&caller.app, accepted, caller.origin, told).await;
        let committed = committed.map_err(refuse)?;
        if !committed.is_repeat {
            metrics::counter!("chathook_messages_total", "origin" => caller.origin.platform()).increment(1);
            self.tallies.message(app, self.clock.now());
        }
        let _ = turn.done.send(());
        tracing::trace!(step = "answering", "the sender is to be answered");
        Ok(Sent { message: committed.message, synced_us: Some(committed.synced_us) })
    }

    /// May this caller write to this receiver? Then the receiver as the message shows it.
    async fn receiver_entity(&self, caller: &Caller, receiver: &Receiver) -> Result<Value, Refusal> {
        let app = &caller.app.id;
        match receiver {
            Receiver::User(uid) => {
                let user: User = self.active_user(app, uid).await?;
                Ok(user.to_entity())
            }
            Receiver::Group(guid) => {
                let group: Group = self.group(app, guid).await?;
                let is_member = caller.uid.is_system()
                    || self.store.member(app, guid, &caller.uid).await.map_err(refuse)?.is_some();
                if is_member { Ok(group.to_entity()) } else { Err(not_joined(guid)) }
            }
        }
    }
}
