//! The headers that every webhook request carries, whether it is a delivery or asks before a message.

use chathook_domain::ids::{EventId, Time};
use chathook_domain::webhook::Webhook;

const USER_AGENT: &str = concat!("chathook/", env!("CARGO_PKG_VERSION"));

/// What the request is and who sends it, Basic auth where set, and Standard Webhooks' three: `now` is
/// the timestamp, and decides which secrets sign.
pub(crate) fn headers(webhook: &Webhook, id: &EventId, now: Time, body: &str) -> Vec<(&'static str, String)> {
    let mut headers = Vec::with_capacity(HEADERS);
    headers.extend([
        ("content-type", "application/json".to_owned()),
        ("user-agent", USER_AGENT.to_owned()),
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", now.seconds().to_string()),
        ("webhook-signature", webhook.secrets.sign(id.as_str(), now, body)),
    ]);
    if webhook.config.use_basic_auth
        && let Some(credentials) = &webhook.config.credentials
    {
        headers.push(("authorization", credentials.to_header()));
    }
    headers
}

/// Room for these and for those that a delivery adds.
const HEADERS: usize = 12;
