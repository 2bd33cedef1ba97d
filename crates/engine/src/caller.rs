//! Who calls a verb, and from where.

use std::sync::Arc;

use chathook_domain::app::App;
use chathook_domain::event::Origin;
use chathook_domain::ids::{SessionId, Uid};

/// An authenticated caller of a chat verb.
#[derive(Debug, Clone)]
pub struct Caller {
    pub app: Arc<App>,
    /// Who acts; the system user where a key calls without `onBehalfOf`.
    pub uid: Uid,
    pub origin: Origin,
    /// The socket's session, which needs not be told of what it did itself.
    pub session: Option<SessionId>,
}
