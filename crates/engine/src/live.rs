//! What open sockets are told of a change: made when it is committed, and only where somebody listens.

use std::sync::Arc;

use chathook_domain::connection::{ChangeKind, ConnectionChange};
use chathook_domain::ids::{AppId, SessionId};
use serde_json::{Value, json};

use crate::ports::bus::{Audience, Bus, Notice};
use crate::ports::store::{Committed, Marked};
use crate::tallies::Tallies;

/// The sockets of one app.
#[derive(Clone)]
pub(crate) struct Live {
    pub bus: Arc<dyn Bus>,
    pub tallies: Arc<Tallies>,
    pub app: AppId,
    /// The session that caused the change and already knows.
    pub except: Option<SessionId>,
}

impl Live {
    /// Tells the conversation of a stored message or action.
    pub(crate) fn tell_committed(&self, committed: &Committed, method: &'static str) {
        self.tell(Audience::Users(committed.members.clone()), method, || {
            with_cursor(committed.message.to_json(), committed.cursor)
        });
    }

    pub(crate) fn tell_marked(&self, marked: &Marked) {
        for (receipt, cursor) in &marked.receipts {
            self.tell(Audience::Users(marked.members.clone()), "receipt", || {
                with_cursor(receipt.to_data(), *cursor)
            });
        }
    }

    pub(crate) fn tell_ended(&self, change: &ConnectionChange) {
        self.tell_presence(change);
        let to = Audience::Ended(change.connection.session_id.clone());
        self.tell(to, "", || json!({}));
    }

    pub(crate) fn tell_presence(&self, change: &ConnectionChange) {
        if !change.changes_status() {
            return;
        }
        self.tallies.presence(&self.app, change.is_online(), change.at);
        let uid = &change.connection.uid;
        self.tell(Audience::WatchersOf(uid.clone()), "presence", || {
            let status = if change.is_online() { "online" } else { "offline" };
            let mut params = json!({"uid": uid.as_str(), "status": status});
            if change.kind == ChangeKind::Disconnected {
                params["lastActiveAt"] = json!(change.at.seconds());
            }
            params
        });
    }

    fn tell(&self, to: Audience, method: &'static str, params: impl FnOnce() -> Value) {
        if self.bus.is_heard(&self.app, &to) {
            let (app, except) = (self.app.clone(), self.except.clone());
            self.bus.tell(Notice { app, to, except, method, params: Arc::new(params()) });
        }
    }
}

fn with_cursor(mut params: Value, cursor: i64) -> Value {
    params["cursor"] = json!(cursor.to_string());
    params
}
