//! A tenant, its settings and its API keys.

use serde_json::{Value, json};

use crate::fields::Fields;
use crate::ids::{AppId, Time};
use crate::refusal::{Code, Complaints, Refusal};
use crate::retention::Retention;

/// Bytes of a change of the retention, as JSON.
const RETENTION_BYTES_MAX: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub id: AppId,
    pub name: String,
    /// `us`, `eu` or `in`: carried in payloads only.
    pub region: String,
    pub settings: Settings,
    pub created_at: Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What all `before_message` webhooks of one message may take together: 100 to 5,000.
    pub before_message_budget_ms: i64,
    /// Ask `before_message` for edits too.
    pub before_message_on_edit: bool,
    /// Tell `after_message` of edits and deletions, as action messages.
    pub edits_through_after_message: bool,
    /// Origins whose pages may call REST and open sockets; `*` is any.
    pub allowed_origins: Vec<String>,
    pub retention: Retention,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            before_message_budget_ms: 2_000,
            before_message_on_edit: false,
            edits_through_after_message: true,
            allowed_origins: Vec::new(),
            retention: Retention::default(),
        }
    }
}

impl Settings {
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "beforeMessageBudgetMs": self.before_message_budget_ms,
            "beforeMessageOnEdit": self.before_message_on_edit,
            "editsThroughAfterMessage": self.edits_through_after_message,
            "allowedOrigins": self.allowed_origins,
            "retention": self.retention.to_json(),
        })
    }

    /// These settings with those named in `body` changed. A name that is none of ours is refused.
    pub fn changed_by(&self, body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let known = self.to_json();
        let (mut changed, mut wrong) = (self.clone(), Complaints::default());
        for stranger in fields.map().keys().filter(|k| known.get(k.as_str()).is_none()) {
            wrong.of::<()>(Err(Refusal::field(Code::BadRequest, stranger, "is not a setting")));
        }
        let budget_ms = fields.number("beforeMessageBudgetMs", 100, 5_000);
        wrong.set_named(&mut changed.before_message_budget_ms, budget_ms);
        wrong.set_named(&mut changed.before_message_on_edit, fields.flag("beforeMessageOnEdit"));
        wrong.set_named(&mut changed.edits_through_after_message, fields.flag("editsThroughAfterMessage"));
        wrong.set_named(&mut changed.allowed_origins, fields.texts("allowedOrigins", 100, 255));
        if let Some(Some(days)) = wrong.of(fields.object("retention", RETENTION_BYTES_MAX)) {
            wrong.set(&mut changed.retention, self.retention.changed_by(&days));
        }
        wrong.end().map(|()| changed)
    }

    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|o| o == "*" || o.eq_ignore_ascii_case(origin))
    }
}

/// What a key may do (spec 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyScope {
    /// Everything.
    FullAccess,
    /// Create users and auth tokens only.
    AuthOnly,
}

impl KeyScope {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FullAccess => "fullAccess",
            Self::AuthOnly => "authOnly",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "fullAccess" | "admin" => Some(Self::FullAccess),
            "authOnly" | "userauth" => Some(Self::AuthOnly),
            _ => None,
        }
    }
}

/// A key of one app: 40 hex characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub key: String,
    pub name: String,
    pub scope: KeyScope,
    pub created_at: Time,
}

impl ApiKey {
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"apiKey": self.key, "name": self.name, "scope": self.scope.as_str(),
               "createdBy": "app_system", "createdAt": self.created_at.seconds()})
    }
}

/// A new app, as `POST /apps` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppDraft {
    pub name: String,
    pub region: String,
    pub with_sample_data: bool,
}

impl AppDraft {
    pub fn parse(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let mut wrong = Complaints::default();
        let mut draft = Self { name: String::new(), region: "us".to_owned(), with_sample_data: true };
        wrong.set(&mut draft.name, fields.required_text("name", 100));
        wrong.set_named(&mut draft.region, region(&fields));
        wrong.of(check_version(&fields));
        wrong.set_named(
            &mut draft.with_sample_data,
            fields.flag("skipSampleData").map(|skip| skip.map(|skip| !skip)),
        );
        wrong.end().map(|()| draft)
    }
}

fn region(fields: &Fields<'_>) -> Result<Option<String>, Refusal> {
    let region = fields.text("region", 10)?;
    match region.as_deref() {
        None | Some("us" | "eu" | "in") => Ok(region),
        Some(_) => Err(Refusal::field(Code::BadRequest, "region", "must be 'us', 'eu' or 'in'")),
    }
}

fn check_version(fields: &Fields<'_>) -> Result<(), Refusal> {
    match fields.get("version") {
        Some(version) if version.as_str() != Some("3") && version.as_i64() != Some(3) => {
            Err(Refusal::field(Code::BadRequest, "version", "must be \"3\""))
        }
        Some(_) | None => Ok(()),
    }
}
