//! A listener: a webhook whose endpoint is a connection that its receiver holds open. Its URL names that
//! connection and no place on the network, so nothing but the connection can ever be called by it.

use serde_json::json;

use crate::ids::{AppId, WebhookId};
use crate::refusal::{Code, Refusal};
use crate::trigger::Trigger;
use crate::webhook::{Config, EndpointUrl, WebhookDraft};

/// No name below `.invalid` is ever found (RFC 2606).
const HOST: &str = "listener.invalid";
/// What the ids of listeners begin with, before their names.
const ID_PREFIX: &str = "listen-";
/// A passing listener whose connection has been gone for so long is removed.
pub const ABSENT_MS_MAX: i64 = 60 * 60 * 1_000;

/// What becomes of a listener that is not listened to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keep {
    /// It goes on as any webhook: what happens waits for the next connection.
    Kept,
    /// It goes with its connection, at once or after an hour.
    Passing,
}

impl Keep {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Passing => "passing",
        }
    }
}

/// Which listener; the same one for all its connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listener {
    pub app: AppId,
    pub webhook: WebhookId,
    pub keep: Keep,
}

/// What its receiver wants of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub triggers: Vec<Trigger>,
    /// Basic auth of the requests, where there is to be any.
    pub username: Option<String>,
    pub password: Option<String>,
}

/// Where deliveries to this URL go, for people: of a listener its URL would say nothing.
#[must_use]
pub fn place(url: &EndpointUrl) -> &str {
    if is_of_listener(url) { "chathook listen" } else { url.as_str() }
}

impl Listener {
    /// A listener of this name: 1 to 43 of `[A-Za-z0-9_-]`.
    pub fn named(app: &AppId, name: &str, keep: Keep) -> Result<Self, Refusal> {
        let complaint = "must be 1 to 43 letters, digits, '_' or '-'";
        let unfit = || Refusal::field(Code::BadRequest, "name", complaint);
        if name.is_empty() {
            return Err(unfit());
        }
        let webhook = WebhookId::parse("name", &format!("{ID_PREFIX}{name}")).map_err(|_| unfit())?;
        Ok(Self { app: app.clone(), webhook, keep })
    }

    /// What it was named.
    #[must_use]
    pub fn name(&self) -> &str {
        self.webhook.as_str().strip_prefix(ID_PREFIX).unwrap_or_default()
    }

    /// The listener that a URL speaks of, if it is one of ours.
    #[must_use]
    pub fn of(url: &EndpointUrl) -> Option<Self> {
        if !is_of_listener(url) {
            return None;
        }
        let mut parts = url.url().path_segments()?;
        let keep = match parts.next()? {
            "kept" => Keep::Kept,
            "passing" => Keep::Passing,
            _ => return None,
        };
        let (app, webhook) = (AppId::trusted(parts.next()?), WebhookId::trusted(parts.next()?));
        Some(Self { app, webhook, keep })
    }

    /// The endpoint of one of its connections. Each has another, so that a new one is to the webhook what
    /// a changed endpoint is: what waits is tried at once.
    #[must_use]
    pub fn url(&self, connection: u128) -> EndpointUrl {
        let Self { app, webhook, keep } = self;
        let text = format!("https://{HOST}/{}/{app}/{webhook}/{connection:032x}", keep.as_str());
        EndpointUrl::parse("webhookURL", &text).expect("ids need no escaping, and this is short enough")
    }

    /// The webhook of a listener that is new.
    pub fn draft(&self, wish: &Wish, connection: u128) -> Result<WebhookDraft, Refusal> {
        let (id, url) = (self.webhook.as_str(), self.url(connection));
        let body = json!({"id": id, "name": id, "webhookURL": url.as_str()});
        let WebhookDraft { id, config } = WebhookDraft::parse(&body)?;
        Ok(WebhookDraft { id, config: with_wish(&config, wish)? })
    }

    /// The webhook's configuration for another connection: what a person has set otherwise is kept.
    pub fn resumed(&self, config: &Config, wish: &Wish, connection: u128) -> Result<Config, Refusal> {
        let on = config.changed_by(&json!({"enabled": true, "webhookURL": self.url(connection).as_str()}))?;
        with_wish(&on, wish)
    }
}

/// Whether nothing but a listener's connection may have this URL.
#[must_use]
pub fn is_of_listener(url: &EndpointUrl) -> bool {
    match url.host() {
        url::Host::Domain(name) => name.trim_end_matches('.') == HOST,
        url::Host::Ipv4(_) | url::Host::Ipv6(_) => false,
    }
}

fn with_wish(config: &Config, wish: &Wish) -> Result<Config, Refusal> {
    let bare = Config { use_basic_auth: false, credentials: None, ..config.clone() };
    let mut body = json!({"useBasicAuth": wish.username.is_some() || wish.password.is_some()});
    for (field, value) in [("username", &wish.username), ("password", &wish.password)] {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    bare.changed_by(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(keep: Keep) -> Listener {
        Listener::named(&AppId::trusted("app_1"), "ana", keep).expect("a fit name")
    }

    fn parsed(text: &str) -> EndpointUrl {
        EndpointUrl::parse("webhookURL", text).expect("a URL")
    }

    #[test]
    fn a_listener_is_found_in_the_url_of_each_of_its_connections() {
        for keep in [Keep::Kept, Keep::Passing] {
            let listener = listener(keep);
            let (first, second) = (listener.url(1), listener.url(2));
            assert_ne!(first, second);
            assert_eq!(Listener::of(&first).as_ref(), Some(&listener));
            assert_eq!(Listener::of(&second), Some(listener));
        }
    }

    #[test]
    fn every_spelling_of_the_host_is_a_listeners() {
        for host in ["listener.invalid", "LISTENER.invalid", "listener.invalid.", "l%69stener.invalid:8443"] {
            assert!(is_of_listener(&parsed(&format!("http://{host}/kept/app_1/listen-ana/1"))), "{host}");
        }
        for other in ["https://listener.example/", "https://a.listener.invalid/", "https://192.0.2.1/"] {
            assert!(!is_of_listener(&parsed(other)), "{other}");
        }
    }

    #[test]
    fn the_longest_ids_make_a_url_that_is_short_enough() {
        let listener = Listener {
            app: AppId::trusted(&"a".repeat(100)),
            webhook: WebhookId::trusted(&"w".repeat(50)),
            keep: Keep::Passing,
        };
        assert_eq!(Listener::of(&listener.url(u128::MAX)), Some(listener));
    }

    #[test]
    fn another_connection_keeps_what_a_person_has_set_and_takes_the_credentials_of_now() {
        let listener = listener(Keep::Kept);
        let wish = Wish {
            triggers: Vec::new(),
            username: Some("ana".to_owned()),
            password: Some("s3cret".to_owned()),
        };
        let drafted = listener.draft(&wish, 1).expect("fit").config;
        assert_eq!(drafted.credentials.as_ref().map(|c| c.password.as_str()), Some("s3cret"));
        let changed = drafted.changed_by(&json!({"timeoutMs": 20_000, "enabled": false})).expect("fit");
        let none = Wish { username: None, password: None, ..wish };
        let resumed = listener.resumed(&changed, &none, 2).expect("fit");
        assert_eq!((resumed.timeout_ms, resumed.enabled), (20_000, true));
        assert_eq!((resumed.use_basic_auth, resumed.credentials), (false, None));
        assert_eq!(resumed.url, listener.url(2));
    }

    #[test]
    fn half_a_pair_of_credentials_is_refused() {
        let wish = Wish { triggers: Vec::new(), username: Some("ana".to_owned()), password: None };
        let refusal = listener(Keep::Kept).draft(&wish, 1).expect_err("half");
        assert_eq!(refusal.field.as_deref(), Some("password"));
    }

    #[test]
    fn a_name_that_no_webhook_can_have_is_refused() {
        for name in ["", "a b", "ä", &"n".repeat(44)] {
            let named = Listener::named(&AppId::trusted("app_1"), name, Keep::Kept);
            assert!(named.is_err(), "{name}");
        }
    }
}
