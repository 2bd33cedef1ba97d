//! Webhooks, and an app's settings.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use super::NULL;

/// A webhook; never its password or its signing secret.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Webhook {
    #[schema(example = "mine")]
    pub id: String,
    pub name: String,
    #[schema(rename = "webhookURL")]
    pub webhook_url: String,
    pub use_basic_auth: bool,
    /// The user name of Basic auth.
    #[schema(required)]
    pub username: Option<String>,
    /// Whether it is owed anything: not where a person disabled it, or where it was switched off.
    pub enabled: bool,
    pub retry_on_failure: bool,
    pub on_failure: OnFailure,
    pub timeout_ms: i64,
    #[schema(schema_with = patience)]
    pub patience_seconds: Value,
    pub state: WebhookState,
    pub created_at: i64,
    pub updated_at: i64,
    /// Why the server switched it off, where it did.
    pub switched_off: Option<String>,
    /// Of a webhook whose endpoint is a connection (`chathook listen`).
    pub listener: Option<ListenerShown>,
}

/// How a webhook stands, the worst that is true of it: the server switched it off, a person disabled it, nothing has
/// succeeded since something failed, it gives `before_message` no usable answer, its endpoint asked for a pause, or
/// none of these.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum WebhookState {
    On,
    Paused,
    Silent,
    Failing,
    Disabled,
    SwitchedOff,
}

/// A connection that takes the place of an endpoint.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ListenerShown {
    /// Whether somebody listens now.
    pub connected: bool,
    /// Whether the webhook stays when nobody listens any more.
    pub kept: bool,
}

/// What silence of a `before_message` webhook means: the message goes on, or is refused.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    Propagate,
    Drop,
}

/// Seconds for which a delivery that keeps failing holds its lane; 0 for no order at all.
fn patience() -> Schema {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(86_400));
    let unlimited = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["unlimited"]));
    OneOfBuilder::new()
        .item(seconds)
        .item(unlimited)
        .description(Some(
            "Seconds for which a delivery that keeps failing holds its lane while others of the webhook \
             succeed; 0 for no order at all, `unlimited` for a strict one.",
        ))
        .build()
        .into()
}

/// A webhook to be made. It listens to nothing until triggers are added.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "mine", "name": "Mine", "webhookURL": "https://example.com/hook"}))]
pub struct NewWebhook {
    #[schema(pattern = "^[A-Za-z0-9_-]{1,50}$")]
    pub id: String,
    #[schema(min_length = 1, max_length = 50)]
    pub name: String,
    /// A public HTTPS URL.
    #[serde(rename = "webhookURL")]
    #[schema(max_length = 255)]
    pub webhook_url: String,
    #[serde(flatten)]
    pub policies: Policies,
}

/// What is to change of a webhook.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"name": "Mine", "timeoutMs": 5000}))]
pub struct WebhookChange {
    #[schema(min_length = 1, max_length = 50)]
    pub name: Option<String>,
    /// A public HTTPS URL.
    #[serde(rename = "webhookURL")]
    #[schema(max_length = 255)]
    pub webhook_url: Option<String>,
    #[serde(flatten)]
    pub policies: Policies,
}

/// How a webhook is called, and what its silence means.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policies {
    /// Send `Authorization: Basic`; needs `username` and `password`.
    pub use_basic_auth: Option<bool>,
    #[schema(max_length = 50, pattern = "^[!-9;-~]+$")]
    pub username: Option<String>,
    #[schema(max_length = 100, pattern = "^[!-~]+$")]
    pub password: Option<String>,
    /// `true` also brings back what a 410 switched off.
    pub enabled: Option<bool>,
    /// Try failed deliveries again: `true` unless set.
    pub retry_on_failure: Option<bool>,
    pub on_failure: Option<OnFailure>,
    /// How long one attempt may take.
    #[schema(minimum = 1000, maximum = 30000)]
    pub timeout_ms: Option<i64>,
    #[schema(schema_with = patience, required = false)]
    pub patience_seconds: Option<Value>,
}

/// Settings of an app.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Settings {
    /// What all `before_message` webhooks of one message may take together.
    pub before_message_budget_ms: i64,
    /// Ask `before_message` for edits too.
    pub before_message_on_edit: bool,
    /// Tell `after_message` of edits and deletions, as action messages.
    pub edits_through_after_message: bool,
    /// Origins whose pages may call REST and open sockets; `*` is any.
    pub allowed_origins: Vec<String>,
    pub retention: Retention,
}

/// Days for which the app's past is kept; `null` is for ever.
#[derive(ToSchema)]
pub struct Retention {
    /// Events with their deliveries and attempts.
    #[schema(required)]
    pub events: Option<i64>,
    /// Attempts, where they are to go before their events.
    #[schema(required)]
    pub attempts: Option<i64>,
    #[schema(required)]
    pub messages: Option<i64>,
}

/// Settings to change; a name that is none of these is refused.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "beforeMessageBudgetMs": 1500, "retention": {"events": 30, "messages": null}
}))]
pub struct SettingsChange {
    #[schema(minimum = 100, maximum = 5000)]
    pub before_message_budget_ms: Option<i64>,
    pub before_message_on_edit: Option<bool>,
    pub edits_through_after_message: Option<bool>,
    #[schema(max_items = 100)]
    pub allowed_origins: Option<Vec<String>>,
    pub retention: Option<RetentionChange>,
}

/// Days to change; `null` is for ever.
#[derive(ToSchema)]
pub struct RetentionChange {
    #[schema(schema_with = days, required = false)]
    pub events: Option<i64>,
    #[schema(schema_with = days, required = false)]
    pub attempts: Option<i64>,
    #[schema(schema_with = days, required = false)]
    pub messages: Option<i64>,
}

/// A number of days, or `null` for ever.
fn days() -> Schema {
    let days = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(36_500));
    let ever = ObjectBuilder::new().schema_type(Type::Null);
    let kept = ExtensionsBuilder::new().add(NULL, true).build();
    OneOfBuilder::new().item(days).item(ever).extensions(Some(kept)).build().into()
}

/// The id of a trigger.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Trigger {
    BeforeMessage,
    AfterMessage,
    MessageDeliveryReceipt,
    MessageReadReceipt,
    UserConnectionStatusChange,
}
