//! Acknowledges a conversation up to a message.

use std::sync::Arc;

use chathook_domain::ids::MessageId;
use chathook_domain::message::Receiver;
use chathook_domain::receipt::{Mark, ReceiptKind};
use chathook_domain::refusal::{Code, Refusal};
use serde_json::json;

use crate::caller::Caller;
use crate::engine::{Engine, refuse};
use crate::groups::not_joined;
use crate::ports::bus::{Audience, Notice};
use crate::ports::store::Marked;

impl Engine {
    /// Marks as delivered or read; a repeat changes nothing and tells nobody.
    pub async fn mark(
        &self,
        caller: &Caller,
        kind: ReceiptKind,
        receiver: Receiver,
        up_to: Option<MessageId>,
    ) -> Result<Marked, Refusal> {
        let app = &caller.app.id;
        if caller.uid.is_system() {
            let complaint = "must name the user who acknowledges";
            return Err(Refusal::field(Code::BadRequest, "onBehalfOf", complaint));
        }
        match &receiver {
            Receiver::User(uid) => drop(self.active_user(app, uid).await?),
            Receiver::Group(guid) => {
                self.group(app, guid).await?;
                let member = self.store.member(app, guid, &caller.uid).await.map_err(refuse)?;
                member.ok_or_else(|| not_joined(guid))?;
            }
        }
        let event_ids = [self.event_id(), self.event_id()];
        let mark = Mark { kind, by: caller.uid.clone(), receiver, up_to, at: self.clock.now(), event_ids };
        let marked = self.store.mark(&caller.app, mark, caller.origin).await.map_err(refuse)?;
        for (receipt, cursor) in &marked.receipts {
            let mut params = receipt.to_data();
            params["cursor"] = json!(cursor.to_string());
            self.bus.tell(Notice {
                app: app.clone(),
                to: Audience::Users(marked.members.clone()),
                except: caller.session.clone(),
                method: "receipt",
                params: Arc::new(params),
            });
        }
        Ok(marked)
    }
}
