//! Listeners: webhooks whose endpoint is a connection that somebody holds open. What goes down the
//! connection is the affair of the port to endpoints; here the webhook is made, goes on and goes.

use std::collections::HashMap;

use chathook_domain::ids::AppId;
use chathook_domain::listener::{ABSENT_MS_MAX, Keep, Listener, Wish};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::{Config, Webhook};

use crate::engine::{Engine, refuse};
use crate::ports::store::SwitchedOff;

/// A listener's webhook, as a new connection finds it.
#[derive(Debug, Clone)]
pub struct OpenedListener {
    pub webhook: Webhook,
    pub found: Found,
}

/// Whether the webhook was there before the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was made now: what happened before is not owed to it.
    Nothing,
    /// What waited goes on.
    Webhook,
}

/// How the webhook of an open connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Listening,
    /// Its endpoint wanted no more, failed for too long, or a person has switched it off.
    Off,
    /// It was deleted, or is now another kind of webhook.
    Gone,
}

/// Since when passing listeners have been without a connection, by the URL of their last one.
#[derive(Debug, Default)]
pub struct AbsentListeners {
    since: HashMap<String, i64>,
}

impl Engine {
    /// The listener of this name, or of one that nobody has. A wish that is not fit is refused here, before
    /// a connection takes the place of another.
    pub async fn listener(
        &self,
        app: &AppId,
        name: Option<&str>,
        keep: Keep,
        wish: &Wish,
    ) -> Result<Listener, Refusal> {
        self.app(app).await?;
        let listener = match name {
            Some(name) => Listener::named(app, name, keep)?,
            None => Listener::named(app, &format!("{:012x}", self.dice.bits() >> 80), keep)?,
        };
        listener.draft(wish, 0)?;
        Ok(listener)
    }

    /// Makes the webhook of a listener, or lets it go on. The connection is there already: what waits is
    /// tried at once, in order.
    pub async fn open_listener(&self, listener: &Listener, wish: &Wish) -> Result<OpenedListener, Refusal> {
        let Listener { app, webhook: id, .. } = listener;
        self.app(app).await?;
        let connection = self.dice.bits();
        let present = self.store.webhook(app, id).await.map_err(refuse)?;
        let (webhook, found) = match present {
            None => (self.make_webhook(app, listener.draft(wish, connection)?).await?, Found::Nothing),
            Some(webhook) if Listener::of(&webhook.config.url).is_none() => {
                let complaint = format!("is taken: the webhook '{id}' is no listener");
                return Err(Refusal::field(Code::WebhookAlreadyExists, "name", &complaint));
            }
            Some(webhook) => {
                let config = listener.resumed(&webhook.config, wish, connection)?;
                let at = self.clock.now();
                let set = self.store.set_config(app, id, config, SwitchedOff::Clear, at).await;
                (set.map_err(refuse)?, Found::Webhook)
            }
        };
        let webhook = self.listen_to(listener, webhook, &wish.triggers).await?;
        self.begin_anew(webhook.row);
        Ok(OpenedListener { webhook, found })
    }

    /// Its receiver works again after it failed: what waits is tried at once, in order.
    pub async fn hurry_listener(&self, listener: &Listener) -> Result<(), Refusal> {
        let Listener { app, webhook: id, .. } = listener;
        let present = self.store.webhook(app, id).await.map_err(refuse)?;
        let Some(webhook) = present.filter(|webhook| Listener::of(&webhook.config.url).is_some()) else {
            return Ok(());
        };
        let config = Config { url: listener.url(self.dice.bits()), ..webhook.config };
        let set = self.store.set_config(app, id, config, SwitchedOff::Keep, self.clock.now()).await;
        let webhook = set.map_err(refuse)?;
        self.begin_anew(webhook.row);
        Ok(())
    }

    /// How the webhook of a connection stands now.
    pub async fn standing_of(&self, listener: &Listener) -> Result<Standing, Refusal> {
        let present = self.store.webhook(&listener.app, &listener.webhook).await.map_err(refuse)?;
        Ok(match present {
            Some(webhook) if Listener::of(&webhook.config.url).is_none() => Standing::Gone,
            Some(webhook) if webhook.is_on() => Standing::Listening,
            Some(_) => Standing::Off,
            None => Standing::Gone,
        })
    }

    /// Its receiver has said goodbye: a passing one goes, with what waits for it.
    pub async fn close_listener(&self, listener: &Listener) -> Result<(), Refusal> {
        match (listener.keep, self.standing_of(listener).await?) {
            (Keep::Passing, Standing::Listening | Standing::Off) => {
                self.delete_webhook(&listener.app, &listener.webhook).await
            }
            (Keep::Passing, Standing::Gone) | (Keep::Kept, _) => Ok(()),
        }
    }

    /// Removes the passing listeners that have been without a connection for too long. It counts from the
    /// first look that finds them so, which after a start is that start's.
    pub(crate) async fn remove_absent_listeners(&self, absent: &mut AbsentListeners) -> Result<(), Refusal> {
        let now = self.clock.ticks();
        let mut seen = HashMap::new();
        for app in self.store.apps().await.map_err(refuse)? {
            for webhook in self.store.webhooks(&app.id).await.map_err(refuse)? {
                let Some(listener) = Listener::of(&webhook.config.url) else { continue };
                if listener.keep == Keep::Kept || self.endpoints.is_listening(&listener) {
                    continue;
                }
                let url = webhook.config.url.as_str().to_owned();
                let since = absent.since.get(&url).copied().unwrap_or(now);
                if now - since < ABSENT_MS_MAX {
                    seen.insert(url, since);
                    continue;
                }
                tracing::info!(webhook.id = %listener.webhook, "nobody listens any more; the listener is removed");
                self.delete_webhook(&listener.app, &listener.webhook).await?;
            }
        }
        absent.since = seen;
        Ok(())
    }

    /// Lets it hear of these triggers and no others.
    async fn listen_to(
        &self,
        listener: &Listener,
        webhook: Webhook,
        wanted: &[Trigger],
    ) -> Result<Webhook, Refusal> {
        let Listener { app, webhook: id, .. } = listener;
        let of = |all: &[Trigger], without: &[Trigger]| -> Vec<Trigger> {
            all.iter().filter(|trigger| !without.contains(trigger)).copied().collect()
        };
        let (lacking, too_many) = (of(wanted, &webhook.triggers), of(&webhook.triggers, wanted));
        let mut webhook = webhook;
        if !lacking.is_empty() {
            webhook = self.store.add_triggers(app, id, lacking).await.map_err(refuse)?;
        }
        if !too_many.is_empty() {
            webhook = self.store.remove_triggers(app, id, too_many).await.map_err(refuse)?;
        }
        Ok(webhook)
    }
}
