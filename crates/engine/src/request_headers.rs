//! The headers that every webhook request carries, whether it is a delivery or asks before a message.

use std::borrow::Cow;

use bytes::Bytes;
use chathook_domain::ids::{EventId, Time};
use chathook_domain::webhook::Webhook;

use crate::ports::endpoints::Headers;

/// What stands in the place of a secret.
const MASK: &str = "***";
const USER_AGENT: &str = concat!("chathook/", env!("CARGO_PKG_VERSION"));

/// What the request is and who sends it, Basic auth where set, and Standard Webhooks' three: `now` is
/// the timestamp, and decides which secrets sign.
pub(crate) fn headers(webhook: &Webhook, id: &EventId, now: Time, body: &str) -> Headers {
    let mut headers = Headers::new();
    headers.share("content-type", Bytes::from_static(b"application/json"));
    headers.share("user-agent", Bytes::from_static(USER_AGENT.as_bytes()));
    headers.write("webhook-id", id);
    headers.write("webhook-timestamp", now.seconds());
    headers.write("webhook-signature", webhook.secrets.sign(id.as_str(), now, body));
    if webhook.config.use_basic_auth
        && let Some(credentials) = &webhook.config.credentials
    {
        headers.write("authorization", credentials.to_header());
    }
    headers
}

/// The headers for people: as they are sent, but for secrets.
#[must_use]
pub fn masked(headers: &Headers) -> Vec<(Cow<'static, str>, String)> {
    let shown = |(name, value): &(Cow<'static, str>, Bytes)| {
        let value = String::from_utf8_lossy(value);
        let scheme = value.split_once(' ').map_or("", |(scheme, _)| scheme);
        (name.clone(), if name == "authorization" { format!("{scheme} {MASK}") } else { value.into_owned() })
    };
    headers.lines().iter().map(shown).collect()
}
