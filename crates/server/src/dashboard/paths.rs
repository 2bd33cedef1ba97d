//! Where the pages of an app's things are, so that each page leads to the others; and the row of links that every
//! page about one webhook has.

use chathook_domain::app::App;
use chathook_domain::delivery::Status;
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::Webhook;

use super::ROOT;

/// Paths of one app's pages.
#[derive(Debug, Clone)]
pub struct Paths {
    app: String,
}

/// What a page about one webhook shows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPart {
    About,
    Health,
    Deliveries,
    Replays,
    BeforeMessage,
}

/// A link in the row of a webhook's pages.
pub struct HookLink {
    pub label: &'static str,
    pub url: String,
    pub is_here: bool,
}

impl Paths {
    #[must_use]
    pub fn of(app: &App) -> Self {
        Self { app: format!("{ROOT}/apps/{}", app.id) }
    }

    #[must_use]
    pub fn webhook(&self, id: &str) -> String {
        format!("{}/webhooks/{id}", self.app)
    }

    #[must_use]
    pub fn health(&self, id: &str) -> String {
        format!("{}/health", self.webhook(id))
    }

    #[must_use]
    pub fn replays(&self, id: &str) -> String {
        format!("{}/replays", self.webhook(id))
    }

    /// A webhook's deliveries, all or those of one status.
    #[must_use]
    pub fn deliveries(&self, id: &str, status: Option<Status>) -> String {
        let status = status.map(|status| format!("&status={}", status.as_str())).unwrap_or_default();
        format!("{}/deliveries?webhook={id}{status}", self.app)
    }

    /// Calls of `before_message`.
    #[must_use]
    pub fn calls(&self, id: &str) -> String {
        format!("{}/before-message?webhook={id}", self.app)
    }

    #[must_use]
    pub fn silent_calls(&self, id: &str) -> String {
        format!("{}&verdict=silent", self.calls(id))
    }

    /// Leads to the message that a call was about.
    #[must_use]
    pub fn message_of_call(&self, row: i64) -> String {
        format!("{}/before-message/{row}/message", self.app)
    }

    #[must_use]
    pub fn person(&self, uid: &str) -> String {
        format!("{}/people/{uid}", self.app)
    }

    #[must_use]
    pub fn conversation(&self, key: &str) -> String {
        format!("{}/conversations/{key}", self.app)
    }

    #[must_use]
    pub fn message(&self, id: &str) -> String {
        format!("{}/messages/{id}", self.app)
    }

    /// The pages about a webhook that have something to show of it.
    #[must_use]
    pub fn hook_links(&self, webhook: &Webhook, here: HookPart) -> Vec<HookLink> {
        let id = webhook.id.as_str();
        let is_told = webhook.triggers.iter().any(|trigger| *trigger != Trigger::BeforeMessage);
        let is_asked = webhook.triggers.contains(&Trigger::BeforeMessage);
        let all = [
            (HookPart::About, "Webhook", self.webhook(id), true),
            (HookPart::Health, "Health", self.health(id), true),
            (HookPart::Deliveries, "Deliveries", self.deliveries(id, None), true),
            (HookPart::Replays, "Replay", self.replays(id), is_told),
            (HookPart::BeforeMessage, "before_message", self.calls(id), is_asked),
        ];
        let shown = all.into_iter().filter(|(part, .., is_fit)| *is_fit || *part == here);
        shown.map(|(part, label, url, _)| HookLink { label, url, is_here: part == here }).collect()
    }
}
