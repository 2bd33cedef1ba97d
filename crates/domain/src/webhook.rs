//! What a customer configures: an endpoint, its triggers, its credentials and its policies.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use crate::fields::Fields;
use crate::ids::{Time, WebhookId};
use crate::refusal::{Code, Complaints, Refusal};
use crate::signature::Secrets;
use crate::trigger::Trigger;

/// Webhooks an app may have (spec 2.3).
pub const WEBHOOKS_PER_APP_MAX: usize = 25;
/// Attempts of one webhook in flight at once (design 6).
pub const IN_FLIGHT_MAX: usize = 64;
/// Connections kept open to one host: all webhooks of an app may point there.
pub const IDLE_CONNECTIONS_MAX: usize = IN_FLIGHT_MAX * WEBHOOKS_PER_APP_MAX;

/// A checked endpoint URL: http(s), at most 255 characters, no userinfo.
/// Whether plain `http` and the address are allowed is the guard's affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    written: String,
    url: Url,
}

impl EndpointUrl {
    pub fn parse(field: &str, text: &str) -> Result<Self, Refusal> {
        let complain = |complaint: &str| Refusal::field(Code::BadRequest, field, complaint);
        if text.chars().count() > 255 {
            return Err(complain("must have at most 255 characters"));
        }
        let url = Url::parse(text).map_err(|_| complain("must be a valid HTTPS URL"))?;
        if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
            return Err(complain("must be a valid HTTPS URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(complain("must not hold a user name or password; use 'useBasicAuth'"));
        }
        if url.port() == Some(0) {
            return Err(complain("must not name port 0"));
        }
        Ok(Self { written: text.to_owned(), url })
    }

    /// As the customer wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    #[must_use]
    pub fn host(&self) -> url::Host<&str> {
        self.url.host().expect("parse lets no URL without a host through")
    }

    /// The address, where the host is one and not a name. The URL parser has already turned decimal,
    /// octal, hex and short forms into the address that they mean.
    #[must_use]
    pub fn literal_address(&self) -> Option<IpAddr> {
        match self.host() {
            url::Host::Domain(_) => None,
            url::Host::Ipv4(address) => Some(IpAddr::V4(address)),
            url::Host::Ipv6(address) => Some(IpAddr::V6(address)),
        }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().expect("http and https have default ports")
    }

    /// Path and query, as the request line carries them.
    #[must_use]
    pub fn request_target(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// The `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_string(),
        }
    }
}

/// What silence of a `before_message` webhook means (design 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The message goes on as it is.
    Propagate,
    /// The message is refused.
    Drop,
}

impl OnFailure {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Propagate => "propagate",
            Self::Drop => "drop",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "propagate" => Some(Self::Propagate),
            "drop" => Some(Self::Drop),
            _ => None,
        }
    }
}

/// How long a delivery that keeps failing holds its lane, while others of its webhook succeed (design 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It never does: the webhook asks for no order.
    None,
    /// For this many seconds, 1 to `Self::SECONDS_MAX`.
    Bounded(u32),
    /// For as long as it waits: the order is strict.
    Unlimited,
}

impl Default for Patience {
    fn default() -> Self {
        Self::Bounded(60)
    }
}

impl Patience {
    const SECONDS_MAX: u32 = 24 * 60 * 60;
    const UNLIMITED: &str = "unlimited";
    /// What a table holds for `Unlimited`.
    const UNLIMITED_STORED: i64 = -1;

    /// In milliseconds; `None` is without end.
    #[must_use]
    pub fn ms(self) -> Option<i64> {
        match self {
            Self::None => Some(0),
            Self::Bounded(seconds) => Some(i64::from(seconds) * 1_000),
            Self::Unlimited => None,
        }
    }

    /// Reads `patienceSeconds`.
    pub fn parse(given: &Value) -> Result<Self, Refusal> {
        if given.as_str() == Some(Self::UNLIMITED) {
            return Ok(Self::Unlimited);
        }
        given.as_i64().and_then(Self::of_seconds).ok_or_else(|| {
            let complaint =
                format!("must be a whole number from 0 to {} or '{}'", Self::SECONDS_MAX, Self::UNLIMITED);
            Refusal::field(Code::BadRequest, "patienceSeconds", &complaint)
        })
    }

    #[must_use]
    pub fn to_json(self) -> Value {
        match self {
            Self::None => json!(0),
            Self::Bounded(seconds) => json!(seconds),
            Self::Unlimited => json!(Self::UNLIMITED),
        }
    }

    /// The number that a table holds: seconds, or -1 without end.
    #[must_use]
    pub fn stored(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Bounded(seconds) => i64::from(seconds),
            Self::Unlimited => Self::UNLIMITED_STORED,
        }
    }

    /// The patience of a number that a table holds; `None` where it is none of ours.
    #[must_use]
    pub fn of_stored(number: i64) -> Option<Self> {
        if number == Self::UNLIMITED_STORED { Some(Self::Unlimited) } else { Self::of_seconds(number) }
    }

    fn of_seconds(seconds: i64) -> Option<Self> {
        let seconds = u32::try_from(seconds).ok().filter(|seconds| *seconds <= Self::SECONDS_MAX)?;
        Some(if seconds == 0 { Self::None } else { Self::Bounded(seconds) })
    }
}

/// Basic auth of a webhook's requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Credentials {
    /// The value of the `Authorization` header.
    #[must_use]
    pub fn to_header(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }
}

/// A configured webhook, its secrets in the clear: it never leaves the process whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The store's row; a webhook deleted and made again gets another.
    pub row: i64,
    pub id: WebhookId,
    pub config: Config,
    pub triggers: Vec<Trigger>,
    pub secrets: Secrets,
    /// Why it was switched off, where it was: by a 410, not by a person.
    pub switched_off: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
}

/// What the customer may set on create and update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    pub url: EndpointUrl,
    pub use_basic_auth: bool,
    pub credentials: Option<Credentials>,
    pub enabled: bool,
    pub retry_on_failure: bool,
    pub on_failure: OnFailure,
    /// The whole attempt, 1,000 to 30,000.
    pub timeout_ms: i64,
    pub patience: Patience,
}

/// A new webhook, as `POST /apps/{appId}/webhooks` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDraft {
    pub id: WebhookId,
    pub config: Config,
}

impl WebhookDraft {
    pub fn parse(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let mut wrong = Complaints::default();
        if fields.get("triggers").is_some() {
            let complaint = "is not taken here; add triggers with POST …/triggers";
            wrong.of::<()>(Err(Refusal::field(Code::BadRequest, "triggers", complaint)));
        }
        let id = fields.required_text("id", 50).and_then(|id| WebhookId::parse("id", &id));
        let id = wrong.of(id);
        for required in ["name", "webhookURL"] {
            if fields.get(required).is_none() {
                wrong.of(fields.required_text(required, 255));
            }
        }
        let config = wrong.of(Config::blank().changed_by(body));
        wrong.end()?;
        let read = "nothing is wrong with it";
        Ok(Self { id: id.expect(read), config: config.expect(read) })
    }
}

impl Config {
    /// What a webhook is where its maker says nothing, with a name and a URL that no webhook has.
    fn blank() -> Self {
        let url = Url::parse("https://none.invalid/").expect("a URL");
        Self {
            name: String::new(),
            url: EndpointUrl { written: url.to_string(), url },
            use_basic_auth: false,
            credentials: None,
            enabled: true,
            retry_on_failure: true,
            on_failure: OnFailure::Propagate,
            timeout_ms: 10_000,
            patience: Patience::default(),
        }
    }

    /// This configuration with the fields named in `body` changed.
    pub fn changed_by(&self, body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body)?;
        let (mut changed, mut wrong) = (self.clone(), Complaints::default());
        if fields.get("name").is_some() {
            wrong.set(&mut changed.name, fields.required_text("name", 50));
        }
        if fields.get("webhookURL").is_some() {
            let text = fields.required_text("webhookURL", 255);
            wrong.set(&mut changed.url, text.and_then(|text| EndpointUrl::parse("webhookURL", &text)));
        }
        wrong.set_named(&mut changed.enabled, fields.flag("enabled"));
        wrong.set_named(&mut changed.retry_on_failure, fields.flag("retryOnFailure"));
        wrong.set_named(&mut changed.use_basic_auth, fields.flag("useBasicAuth"));
        wrong.set_named(&mut changed.timeout_ms, fields.number("timeoutMs", 1_000, 30_000));
        let patience = fields.get("patienceSeconds").map(Patience::parse).transpose();
        wrong.set_named(&mut changed.patience, patience);
        wrong.set_named(&mut changed.on_failure, on_failure(&fields));
        let (username, password) = (plain(&fields, "username", 50), plain(&fields, "password", 100));
        if let (Some(username), Some(password)) = (wrong.of(username), wrong.of(password)) {
            let read = credentials(username, password, changed.credentials.take(), changed.use_basic_auth);
            wrong.set(&mut changed.credentials, read);
        }
        wrong.end().map(|()| changed)
    }
}

impl Webhook {
    #[must_use]
    pub fn listens_to(&self, trigger: Trigger) -> bool {
        self.is_on() && self.triggers.contains(&trigger)
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.config.enabled && self.switched_off.is_none()
    }

    /// The object of the management API; never the password or the signing secret.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let config = &self.config;
        let mut object = json!({
            "id": self.id.as_str(), "name": config.name, "webhookURL": config.url.as_str(),
            "useBasicAuth": config.use_basic_auth,
            "username": config.credentials.as_ref().map(|c| c.username.as_str()),
            "enabled": self.is_on(), "retryOnFailure": config.retry_on_failure,
            "onFailure": config.on_failure.as_str(), "timeoutMs": config.timeout_ms,
            "patienceSeconds": config.patience.to_json(),
            "createdAt": self.created_at.seconds(), "updatedAt": self.updated_at.seconds(),
        });
        if let Some(reason) = &self.switched_off {
            object["switchedOff"] = json!(reason);
        }
        object
    }
}

/// Reads `triggerIds` of the triggers calls.
pub fn parse_trigger_ids(body: &Value) -> Result<Vec<Trigger>, Refusal> {
    let ids = Fields::of(body)?
        .texts("triggerIds", 50, 100)?
        .filter(|ids| !ids.is_empty())
        .ok_or_else(|| Refusal::field(Code::BadRequest, "triggerIds", "must be a list of trigger ids"))?;
    ids.iter()
        .map(|id| {
            Trigger::parse(id).ok_or_else(|| {
                Refusal::field(Code::TriggerNotFound, "triggerIds", &format!("names no trigger: '{id}'"))
            })
        })
        .collect()
}

fn on_failure(fields: &Fields<'_>) -> Result<Option<OnFailure>, Refusal> {
    let Some(text) = fields.text("onFailure", 20)? else { return Ok(None) };
    let complaint = || Refusal::field(Code::BadRequest, "onFailure", "must be 'propagate' or 'drop'");
    OnFailure::parse(&text).map(Some).ok_or_else(complaint)
}

/// The half that is not named stays what it was; what Basic auth cannot do without must be there.
fn credentials(
    username: Option<String>,
    password: Option<String>,
    present: Option<Credentials>,
    use_basic_auth: bool,
) -> Result<Option<Credentials>, Refusal> {
    let required =
        |field, with: &str| Refusal::field(Code::BadRequest, field, &format!("is required with '{with}'"));
    match (username, password, present) {
        (None, None, None) if use_basic_auth => {
            Err(required("username", "useBasicAuth").and(required("password", "useBasicAuth")))
        }
        (None, None, present) => Ok(present),
        (Some(username), Some(password), _) => Ok(Some(Credentials { username, password })),
        (Some(username), None, Some(old)) => Ok(Some(Credentials { username, ..old })),
        (None, Some(password), Some(old)) => Ok(Some(Credentials { password, ..old })),
        (Some(_), None, None) => Err(required("password", "username")),
        (None, Some(_), None) => Err(required("username", "password")),
    }
}

/// Credentials are printable ASCII without spaces; a user name holds no colon (RFC 7617).
/// The published limit says "alphanumeric"; real passwords hold more, and a header can carry it.
fn plain(fields: &Fields<'_>, field: &str, length_max: usize) -> Result<Option<String>, Refusal> {
    let Some(text) = fields.text(field, length_max)? else { return Ok(None) };
    if text.is_empty() {
        return Err(Refusal::field(Code::BadRequest, field, "must not be empty"));
    }
    let is_fit = text.bytes().all(|b| b.is_ascii_graphic()) && (field != "username" || !text.contains(':'));
    if is_fit {
        Ok(Some(text))
    } else {
        Err(Refusal::field(
            Code::BadRequest,
            field,
            "must be printable ASCII without spaces (a user name without ':')",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_read_shown_and_kept_as_the_same() {
        let cases = [
            (json!(0), Patience::None),
            (json!(1), Patience::Bounded(1)),
            (json!(86_400), Patience::Bounded(86_400)),
            (json!("unlimited"), Patience::Unlimited),
        ];
        for (given, patience) in cases {
            assert_eq!(Patience::parse(&given).expect("fit"), patience);
            assert_eq!(patience.to_json(), given);
            assert_eq!(Patience::of_stored(patience.stored()), Some(patience));
        }
        for unfit in
            [json!(-1), json!(86_401), json!(1.5), json!("60"), json!("none"), json!(true), json!([])]
        {
            let refusal = Patience::parse(&unfit).expect_err("unfit");
            assert_eq!(refusal.field.as_deref(), Some("patienceSeconds"), "{unfit}");
        }
        assert_eq!(Patience::of_stored(-2), None);
    }

    #[test]
    fn patience_is_spent_at_its_end_at_once_or_never() {
        let patiences = [Patience::None, Patience::default(), Patience::Unlimited];
        assert_eq!(patiences.map(Patience::ms), [Some(0), Some(60_000), None]);
    }
}
