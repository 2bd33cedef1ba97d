//! Why a request was not done, in words that its caller can act on.

macro_rules! codes {
    ($($name:ident => $text:literal,)*) => {
        /// The stable part of a refusal; each has a section in `docs/errors.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($name,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What the wire carries in `error.code`. Codes of the published error guide where one fits.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    BadRequest => "ERR_BAD_REQUEST",
    EmptyAppId => "AUTH_ERR_EMPTY_APPID",
    InvalidAppId => "AUTH_ERR_INVALID_APPID",
    EmptyApiKey => "AUTH_ERR_EMPTY_APIKEY",
    ApiKeyNotFound => "AUTH_ERR_APIKEY_NOT_FOUND",
    NoAccess => "AUTH_ERR_NO_ACCESS",
    EmptyAuthHeader => "AUTH_ERR_EMPTY_AUTH_HEADER",
    EmptyAuthToken => "AUTH_ERR_EMPTY_AUTH_TOKEN",
    AuthTokenNotFound => "AUTH_ERR_AUTH_TOKEN_NOT_FOUND",
    AppNotFound => "ERR_APP_NOT_FOUND",
    UidNotFound => "ERR_UID_NOT_FOUND",
    UidAlreadyExists => "ERR_UID_ALREADY_EXISTS",
    GuidNotFound => "ERR_GUID_NOT_FOUND",
    GuidAlreadyExists => "ERR_GUID_ALREADY_EXISTS",
    AuthTokenUnknown => "ERR_AUTH_TOKEN_NOT_FOUND",
    NotAMember => "ERR_NOT_A_MEMBER",
    GroupNotJoined => "ERR_GROUP_NOT_JOINED",
    AlreadyJoined => "ERR_ALREADY_JOINED",
    EmptyGroupPassword => "ERR_EMPTY_GROUP_PASS",
    GroupNoClearance => "ERR_GROUP_NO_CLEARANCE",
    EmptyReceiver => "ERR_EMPTY_RECEIVER",
    InvalidReceiverType => "ERR_INVALID_RECEIVER_TYPE",
    InvalidMessageCategory => "ERR_INVALID_MESSAGE_CATEGORY",
    InvalidMessageType => "ERR_INVALID_MESSAGE_TYPE",
    EmptyMessageText => "ERR_EMPTY_MESSAGE_TEXT",
    InvalidMessageText => "ERR_INVALID_MESSAGE_TEXT",
    InvalidMediaMessage => "ERR_INVALID_MEDIA_MESSAGE",
    EmptyCustomData => "ERR_EMPTY_CUSTOM_DATA",
    InvalidCustomData => "ERR_INVALID_CUSTOM_DATA",
    InvalidMetadata => "ERR_INVALID_METADATA",
    MessageNotFound => "ERR_MESSAGE_ID_NOT_FOUND",
    MessageNotASender => "ERR_MESSAGE_NOT_A_SENDER",
    MessageActionNotAllowed => "ERR_MESSAGE_ACTION_NOT_ALLOWED",
    BlockedByWebhook => "ERR_BLOCKED_BY_WEBHOOK",
    WebhookNotFound => "ERR_WEBHOOK_NOT_FOUND",
    WebhookAlreadyExists => "ERR_WEBHOOK_ALREADY_EXISTS",
    WebhookLimit => "ERR_PLAN_QUOTA_RESTRICTION",
    WebhookOff => "ERR_WEBHOOK_OFF",
    TriggerNotFound => "ERR_TRIGGER_NOT_FOUND",
    DeliveryNotFound => "ERR_DELIVERY_NOT_FOUND",
    DeliveryEnded => "ERR_DELIVERY_ENDED",
    ReplayNotFound => "ERR_REPLAY_NOT_FOUND",
    EventsGone => "ERR_EVENTS_GONE",
    WebhookVersionUnsupported => "ERR_INVALID_API_VERSION",
    ApiNotFound => "ERR_API_NOT_FOUND",
    MethodNotAllowed => "ERR_METHOD_NOT_ALLOWED",
    PayloadTooLarge => "ERR_PAYLOAD_TOO_LARGE",
    TooManyRequests => "ERR_TOO_MANY_REQUESTS",
    StoreUnavailable => "ERR_OPERATION_FAILED",
    StartSuperseded => "ERR_START_SUPERSEDED",
    Internal => "ERR_EXCEPTION",
    SocketNotLoggedIn => "ERR_WS_NOT_LOGGED_IN",
    SocketAlreadyLoggedIn => "ERR_WS_ALREADY_LOGGED_IN",
}

/// A request that was refused, and what its sender can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// A sentence for people; names the field where there is one.
    pub message: String,
    /// The field at fault, where one is.
    pub field: Option<String>,
    /// What `details` says beside it, by name: what is wrong with further fields, or a value that its sender needs to
    /// go on.
    pub details: Vec<(String, String)>,
}

impl Refusal {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, details: Vec::new() }
    }

    /// A complaint about one field: "`field` complaint."
    #[must_use]
    pub fn field(code: Code, field: &str, complaint: &str) -> Self {
        let message = format!("The field '{field}' {complaint}.");
        Self { code, message, field: Some(field.to_owned()), details: Vec::new() }
    }

    /// The same refusal with a value that its sender needs.
    #[must_use]
    pub fn with_fact(mut self, name: &str, value: impl ToString) -> Self {
        self.details.push((name.to_owned(), value.to_string()));
        self
    }

    /// The same refusal, which says of the other's fields as well what is wrong with them.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.details.extend(other.field.map(|field| (field, other.message)));
        self.details.extend(other.details);
        self
    }

    /// What is wrong with this field.
    #[must_use]
    pub fn of_field(&self, name: &str) -> Option<&str> {
        if self.field.as_deref() == Some(name) {
            return Some(&self.message);
        }
        self.details.iter().find(|(field, _)| field == name).map(|(_, message)| message.as_str())
    }

    /// The store cannot write now; the caller may try again.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(
            Code::StoreUnavailable,
            "The server cannot store anything at the moment. Try again shortly.",
        )
    }
}

/// Gathers what is wrong with each of several fields, so that their sender hears of all at once.
#[derive(Debug, Default)]
pub struct Complaints(Option<Refusal>);

impl Complaints {
    /// What was read, where it could be.
    pub fn of<T>(&mut self, read: Result<T, Refusal>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(refusal) => {
                self.0 = Some(match self.0.take() {
                    Some(first) => first.and(refusal),
                    None => refusal,
                });
                None
            }
        }
    }

    /// Sets what was read; what could not be read stays as it is.
    pub fn set<T>(&mut self, place: &mut T, read: Result<T, Refusal>) {
        if let Some(value) = self.of(read) {
            *place = value;
        }
    }

    /// Sets what was named and read; all else stays as it is.
    pub fn set_named<T>(&mut self, place: &mut T, read: Result<Option<T>, Refusal>) {
        if let Some(Some(value)) = self.of(read) {
            *place = value;
        }
    }

    /// The first of all, with the others in its details.
    pub fn end(self) -> Result<(), Refusal> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_complaint_stands_for_all_and_carries_the_others() {
        let mut wrong = Complaints::default();
        let mut number = 7;
        wrong.set_named(&mut number, Err(Refusal::field(Code::BadRequest, "a", "is odd")));
        wrong.set_named(&mut number, Ok(None));
        assert_eq!(number, 7);
        wrong.set(&mut number, Ok(8));
        let nested = Refusal::field(Code::BadRequest, "b", "is odd").and(Refusal::field(
            Code::TriggerNotFound,
            "c",
            "is none",
        ));
        assert_eq!(wrong.of::<()>(Err(nested)), None);
        assert_eq!(number, 8);
        let refusal = wrong.end().expect_err("three are wrong");
        assert_eq!((refusal.code, &*refusal.message), (Code::BadRequest, "The field 'a' is odd."));
        let told = ["a", "b", "c", "d"].map(|field| refusal.of_field(field));
        assert_eq!(
            told,
            [
                Some("The field 'a' is odd."),
                Some("The field 'b' is odd."),
                Some("The field 'c' is none."),
                None
            ]
        );
        assert_eq!(Complaints::default().end(), Ok(()));
    }
}
