//! One thing that happened, with the payload that its deliveries carry (spec 1.2).

use serde::Serialize;

use crate::app::App;
use crate::ids::{EventId, Key, Time, WebhookId};
use crate::trigger::Trigger;

/// What payloads carry as `chatAPIVersion` (spec 1.2).
const CHAT_API_VERSION: &str = "3.0";

/// Where the cause came from: `origin.platform` of payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Rest,
    Socket,
}

impl Origin {
    #[must_use]
    pub const fn platform(self) -> &'static str {
        match self {
            Self::Rest => "API",
            Self::Socket => "WEBSOCKET",
        }
    }
}

/// An event with its payload, before the store has made deliveries of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub trigger: Trigger,
    pub key: Key,
    /// The payload without its last member, `webhook`, which differs by receiver.
    pub body: String,
    pub created_at: Time,
}

impl Event {
    #[must_use]
    pub fn new(
        id: EventId,
        trigger: Trigger,
        key: Key,
        data: &impl Serialize,
        origin: Origin,
        app: &App,
        at: Time,
    ) -> Self {
        let body = envelope(trigger, data, origin, app);
        Self { id, trigger, key, body, created_at: at }
    }
}

/// Room for the payload of a short message, so that its text is seldom moved while it grows.
const USUAL_BYTES: usize = 2_048;

/// The payload without `webhook`, as JSON.
#[must_use]
pub fn envelope(trigger: Trigger, data: &impl Serialize, origin: Origin, app: &App) -> String {
    let envelope = Envelope {
        trigger: trigger.payload_name(),
        data,
        app_id: app.id.as_str(),
        origin: OriginShown { platform: origin.platform() },
        chat_api_version: CHAT_API_VERSION,
        region: &app.region,
    };
    let mut text = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut text, &envelope).expect("what happened can always be written");
    String::from_utf8(text).expect("JSON is UTF-8")
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    trigger: &'a str,
    data: &'a D,
    #[serde(rename = "appId")]
    app_id: &'a str,
    origin: OriginShown,
    #[serde(rename = "chatAPIVersion")]
    chat_api_version: &'a str,
    region: &'a str,
}

#[derive(Serialize)]
struct OriginShown {
    platform: &'static str,
}

/// The documented payload for one webhook: the same bytes each time it is asked for.
#[must_use]
pub fn body_for(event_body: &str, webhook: &WebhookId) -> String {
    let open = event_body.strip_suffix('}').expect("an event's body is a JSON object");
    // A webhook id holds only [A-Za-z0-9_-], so it needs no escaping.
    format!("{open},\"webhook\":\"{webhook}\"}}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::app::Settings;
    use crate::ids::AppId;

    proptest! {
        #[test]
        fn a_body_is_json_that_reads_back_as_it_was_made(text in ".{0,80}", id in "[A-Za-z0-9_-]{1,50}") {
            let app = App {
                id: AppId::trusted("app1"),
                name: "App".to_owned(),
                region: "us".to_owned(),
                settings: Settings::default(),
                created_at: Time::from_ms(0),
            };
            let data = json!({"data": {"text": text}});
            let key = Key::trusted("ana_user_ben");
            let at = Time::from_ms(0);
            let event = Event::new(EventId::trusted("e"), Trigger::AfterMessage, key, &data, Origin::Rest, &app, at);
            let body = body_for(&event.body, &WebhookId::trusted(&id));
            let mut expected: Value =
                serde_json::from_str(&envelope(Trigger::AfterMessage, &data, Origin::Rest, &app)).expect("JSON");
            expected["webhook"] = json!(id);
            prop_assert_eq!(serde_json::from_str::<Value>(&body).expect("JSON"), expected);
            prop_assert_eq!(body, body_for(&event.body, &WebhookId::trusted(&id)));
        }
    }
}
