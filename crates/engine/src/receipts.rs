//! Acknowledges a conversation up to a message.

use chathook_domain::ids::MessageId;
use chathook_domain::message::Receiver;
use chathook_domain::receipt::{Mark, ReceiptKind};
use chathook_domain::refusal::{Code, Refusal};

use crate::caller::Caller;
use crate::engine::{Engine, refuse};
use crate::groups::not_joined;
use crate::ports::store::{Marked, Told};

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
        let live = self.live(caller);
        let told = Told::by(move |marked: &Marked| live.tell_marked(marked));
        self.store.mark(&caller.app, mark, caller.origin, told).await.map_err(refuse)
    }
}
