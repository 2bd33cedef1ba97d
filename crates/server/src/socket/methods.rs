//! What a socket can be asked for, by name. Whoever adds a method here is asked to describe it.

/// A method of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Login,
    Logout,
    Ping,
    SendMessage,
    EditMessage,
    DeleteMessage,
    MarkDelivered,
    MarkRead,
    FetchMessages,
    LeaveGroup,
    Typing,
    SubscribePresence,
}

impl Method {
    pub const ALL: [Self; 12] = [
        Self::Login,
        Self::SendMessage,
        Self::EditMessage,
        Self::DeleteMessage,
        Self::MarkDelivered,
        Self::MarkRead,
        Self::FetchMessages,
        Self::LeaveGroup,
        Self::Typing,
        Self::SubscribePresence,
        Self::Ping,
        Self::Logout,
    ];

    /// What the wire carries in `method`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Ping => "ping",
            Self::SendMessage => "sendMessage",
            Self::EditMessage => "editMessage",
            Self::DeleteMessage => "deleteMessage",
            Self::MarkDelivered => "markDelivered",
            Self::MarkRead => "markRead",
            Self::FetchMessages => "fetchMessages",
            Self::LeaveGroup => "leaveGroup",
            Self::Typing => "typing",
            Self::SubscribePresence => "subscribePresence",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}
