//! Live hints to open sockets. The store is the truth: a lost hint is found again by cursor.

use std::sync::Arc;

use chathook_domain::ids::{AppId, SessionId, Uid};
use serde_json::Value;

/// One thing to tell users' sockets.
#[derive(Debug, Clone)]
pub struct Notice {
    pub app: AppId,
    pub to: Audience,
    /// The session that caused it and already knows.
    pub except: Option<SessionId>,
    /// The JSON-RPC method.
    pub method: &'static str,
    /// The JSON-RPC params, `cursor` included where the notice can be missed.
    pub params: Arc<Value>,
}

#[derive(Debug, Clone)]
pub enum Audience {
    Users(Vec<Uid>),
    /// Whoever subscribed to this user's presence.
    WatchersOf(Uid),
    /// This session is to be closed: its token ended, or its device came again.
    Ended(SessionId),
}

pub trait Bus: Send + Sync + 'static {
    /// Whether anybody would hear it now, for who would make a notice in vain.
    fn is_heard(&self, app: &AppId, by: &Audience) -> bool;

    fn tell(&self, notice: Notice);
}
