//! A tenant, its settings and its API keys.

use serde_json::{Value, json};
use url::{Origin, Url};

use crate::fields::Fields;
use crate::ids::{AppId, Time};
use crate::refusal::{Code, Complaints, Refusal};
use crate::retention::Retention;

/// Bytes of a change of the retention, as JSON.
const RETENTION_BYTES_MAX: usize = 1_000;
const ORIGINS: &str = "allowedOrigins";
const ORIGIN_FORM: &str = "is no origin: write scheme://host or scheme://host:port, or * for any";

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
        let (changed, mut wrong) = self.read(body)?;
        if Fields::of(body)?.get(ORIGINS).is_some() {
            wrong.of(changed.allowed_origins.iter().try_for_each(|origin| check_origin(origin)));
        }
        wrong.end().map(|()| changed)
    }

    /// Reads what [`Self::to_json`] wrote. Earlier versions took origins that never match: they harm nobody, and an app
    /// is not lost for them.
    pub fn from_json(stored: &Value) -> Result<Self, Refusal> {
        let (settings, wrong) = Self::default().read(stored)?;
        wrong.end().map(|()| settings)
    }

    fn read(&self, body: &Value) -> Result<(Self, Complaints), Refusal> {
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
        wrong.set_named(&mut changed.allowed_origins, fields.texts(ORIGINS, 100, 255));
        if let Some(Some(days)) = wrong.of(fields.object("retention", RETENTION_BYTES_MAX)) {
            wrong.set(&mut changed.retention, self.retention.changed_by(&days));
        }
        Ok((changed, wrong))
    }

    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|o| o == "*" || o.eq_ignore_ascii_case(origin))
    }
}

/// Refuses what no browser ever sends as `Origin`, so that it could never match. Schemes of apps, such as
/// `capacitor://localhost`, are taken as they are.
fn check_origin(text: &str) -> Result<(), Refusal> {
    let refuse = |why: &str| {
        let complaint = format!("holds '{text}', which {why}");
        Err(Refusal::field(Code::BadRequest, ORIGINS, &complaint))
    };
    if ["*", "null"].contains(&text) {
        return Ok(());
    }
    let Ok(url) = Url::parse(text) else { return refuse(ORIGIN_FORM) };
    let sent = match (url.origin(), url.host_str()) {
        (origin @ Origin::Tuple(..), _) => origin.ascii_serialization(),
        (Origin::Opaque(_), Some(host)) if !host.is_empty() => {
            let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
            format!("{}://{host}{port}", url.scheme())
        }
        (Origin::Opaque(_), _) => return refuse(ORIGIN_FORM),
    };
    if text.eq_ignore_ascii_case(&sent) {
        Ok(())
    } else {
        refuse(&format!("no browser sends so: write {sent}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(origin: &str) -> Result<Settings, Refusal> {
        Settings::default().changed_by(&json!({"allowedOrigins": [origin]}))
    }

    #[test]
    fn an_origin_that_could_never_match_is_refused_with_the_way_to_write_it() {
        for (origin, why) in [
            ("not an origin", "write scheme://host"),
            ("", "write scheme://host"),
            ("a.example", "write scheme://host"),
            ("https://", "write scheme://host"),
            ("localhost:3000", "write scheme://host"),
            ("http://a.example/path", "write http://a.example"),
            ("http://a.example/", "write http://a.example"),
            ("https://a.example:443", "write https://a.example"),
            ("https://u:p@a.example", "write https://a.example"),
            ("https://\u{e4}.example", "write https://xn--4ca.example"),
            ("capacitor://localhost/x", "write capacitor://localhost"),
        ] {
            let refusal = changed(origin).expect_err(origin);
            let told = refusal.of_field("allowedOrigins").expect("at its field");
            assert!(told.contains(why), "{origin}: {told}");
        }
    }

    #[test]
    fn an_origin_as_browsers_send_it_is_taken_and_allowed() {
        let origins = ["https://a.example", "http://LocalHost:3000", "http://[::1]:8080", "http://192.0.2.1"];
        for origin in origins.into_iter().chain(["*", "null", "capacitor://localhost", "tauri://localhost"]) {
            assert!(changed(origin).expect("fit").allows_origin(origin), "{origin}");
        }
    }

    #[test]
    fn settings_of_an_earlier_version_are_read_whatever_their_origins() {
        let stored = json!({"allowedOrigins": ["not an origin"]});
        assert_eq!(Settings::from_json(&stored).expect("read").allowed_origins, ["not an origin"]);
        let other =
            Settings::from_json(&stored).expect("read").changed_by(&json!({"beforeMessageOnEdit": true}));
        assert!(other.expect("fit").before_message_on_edit);
    }
}
