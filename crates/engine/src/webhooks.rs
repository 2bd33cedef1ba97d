//! The webhooks of an app: the eight operations of the management API (spec 2.2).

use chathook_domain::fields::Fields;
use chathook_domain::ids::{AppId, WebhookId};
use chathook_domain::listener::is_of_listener;
use chathook_domain::refusal::{Code, Complaints, Refusal};
use chathook_domain::signature::Overlap;
use chathook_domain::trigger::Trigger;
use chathook_domain::turn::{Party, TurnKind, Turned, cause};
use chathook_domain::webhook::{EndpointUrl, Webhook, WebhookDraft};
use serde_json::Value;

use crate::engine::{Engine, refuse};
use crate::ports::store::SwitchedOff;
use crate::ports::upkeep::Doomed;

impl Engine {
    /// Reads a new webhook. A refusal says all that is wrong with it, and with its URL's address too.
    pub fn draft_webhook(&self, body: &Value) -> Result<WebhookDraft, Refusal> {
        let mut wrong = Complaints::default();
        let draft = wrong.of(WebhookDraft::parse(body));
        if let Some(url) = named_url(body) {
            wrong.of(self.judge_url(&url));
        }
        wrong.end()?;
        Ok(draft.expect("nothing is wrong with it"))
    }

    /// Makes a webhook with a fresh signing secret, which the answer alone shows.
    pub async fn create_webhook(&self, app: &AppId, draft: WebhookDraft) -> Result<Webhook, Refusal> {
        self.app(app).await?;
        self.judge_url(&draft.config.url)?;
        self.make_webhook(app, draft).await
    }

    /// Makes a webhook whose URL is known to be fit.
    pub(crate) async fn make_webhook(&self, app: &AppId, draft: WebhookDraft) -> Result<Webhook, Refusal> {
        self.finish_removal(Doomed::Webhook(app.clone(), draft.id.clone())).await?;
        let made = self.store.create_webhook(app, draft, self.fresh_secret(), self.clock.now()).await;
        self.tallies.changed(app);
        made.map_err(refuse)
    }

    /// In the order in which they were created.
    pub async fn webhooks(&self, app: &AppId) -> Result<Vec<Webhook>, Refusal> {
        self.app(app).await?;
        self.store.webhooks(app).await.map_err(refuse)
    }

    pub async fn webhook(&self, app: &AppId, id: &WebhookId) -> Result<Webhook, Refusal> {
        self.app(app).await?;
        self.store.webhook(app, id).await.map_err(refuse)?.ok_or_else(|| not_found(id))
    }

    pub async fn update_webhook(
        &self,
        app: &AppId,
        id: &WebhookId,
        body: &Value,
    ) -> Result<Webhook, Refusal> {
        if body.get("id").is_some_and(|given| given.as_str() != Some(id.as_str())) {
            return Err(Refusal::field(Code::BadRequest, "id", "cannot be changed"));
        }
        let present = self.webhook(app, id).await?.config;
        let mut wrong = Complaints::default();
        let config = wrong.of(present.changed_by(body));
        let url = config.as_ref().map(|config| config.url.clone()).or_else(|| named_url(body));
        if let Some(url) = url
            && (url != present.url || !is_of_listener(&url))
        {
            wrong.of(self.judge_url(&url));
        }
        wrong.end()?;
        let config = config.expect("nothing is wrong with it");
        // Only a person who says so revives what a 410 switched off.
        let switched_off = match Fields::of(body)?.flag("enabled")? {
            Some(true) => SwitchedOff::Clear,
            Some(false) | None => SwitchedOff::Keep,
        };
        let at = self.clock.now();
        let webhook = self.store.set_config(app, id, config, switched_off, at).await.map_err(refuse)?;
        self.begin_anew(webhook.row);
        self.tallies.changed(app);
        Ok(webhook)
    }

    /// A webhook's endpoint is another, or works again: its circuits begin closed, and what waits is due.
    pub(crate) fn begin_anew(&self, webhook_row: i64) {
        if self.hooks.renew(webhook_row).is_open() {
            let cause = cause::CHANGED.to_owned();
            let turned = Turned { party: Party::BeforeMessage, kind: TurnKind::Closed, cause };
            self.tallies.turned(webhook_row, turned, self.clock.now());
        }
        self.dispatch.changed(webhook_row);
    }

    /// Gives a webhook a fresh signing secret, which the answer alone shows. The one that it had goes on
    /// signing beside it for the overlap; one that did so from an earlier rotation ends now.
    pub async fn rotate_secret(
        &self,
        app: &AppId,
        id: &WebhookId,
        overlap: Overlap,
    ) -> Result<Webhook, Refusal> {
        self.webhook(app, id).await?;
        let at = self.clock.now();
        let rotated = self.store.rotate_secret(app, id, self.fresh_secret(), overlap, at).await;
        let webhook = rotated.map_err(refuse)?;
        self.dispatch.changed(webhook.row);
        self.tallies.changed(app);
        Ok(webhook)
    }

    pub async fn delete_webhook(&self, app: &AppId, id: &WebhookId) -> Result<(), Refusal> {
        let webhook = self.webhook(app, id).await?;
        self.store.delete_webhook(app, id, self.clock.now()).await.map_err(refuse)?;
        self.hooks.forget([webhook.row]);
        self.tallies.forget(app, Some(webhook.row));
        self.tallies.changed(app);
        self.dispatch.changed(webhook.row);
        Ok(())
    }

    pub async fn add_triggers(
        &self,
        app: &AppId,
        id: &WebhookId,
        triggers: Vec<Trigger>,
    ) -> Result<Webhook, Refusal> {
        self.webhook(app, id).await?;
        let webhook = self.store.add_triggers(app, id, triggers).await.map_err(refuse)?;
        self.tallies.changed(app);
        Ok(webhook)
    }

    pub async fn remove_triggers(
        &self,
        app: &AppId,
        id: &WebhookId,
        triggers: Vec<Trigger>,
    ) -> Result<Webhook, Refusal> {
        let webhook = self.webhook(app, id).await?;
        if let Some(absent) = triggers.iter().find(|t| !webhook.triggers.contains(t)) {
            let complaint = format!("names a trigger that this webhook does not have: '{}'", absent.id());
            return Err(Refusal::field(Code::TriggerNotFound, "triggerIds", &complaint));
        }
        let webhook = self.store.remove_triggers(app, id, triggers).await.map_err(refuse)?;
        self.tallies.changed(app);
        Ok(webhook)
    }

    /// 256 bits that nobody can guess.
    fn fresh_secret(&self) -> Vec<u8> {
        let halves = [self.dice.bits(), self.dice.bits()];
        halves.into_iter().flat_map(u128::to_be_bytes).collect()
    }

    /// What can be told of a URL without a look-up: its scheme, and a literal address.
    fn judge_url(&self, url: &EndpointUrl) -> Result<(), Refusal> {
        if is_of_listener(url) {
            let complaint = "is that of a listener, which only 'chathook listen' makes";
            return Err(Refusal::field(Code::BadRequest, "webhookURL", complaint));
        }
        if !url.is_https() && !self.rules.allow_http {
            return Err(Refusal::field(Code::BadRequest, "webhookURL", "must be a valid HTTPS URL"));
        }
        let Some(address) = url.literal_address() else { return Ok(()) };
        (self.rules.judge_literal)(&address)
            .map_err(|why| Refusal::field(Code::BadRequest, "webhookURL", &format!("is refused: {why}")))
    }
}

/// The URL that a body names, where it is one; where it is none, its parser says so.
fn named_url(body: &Value) -> Option<EndpointUrl> {
    let text = body.get("webhookURL").and_then(Value::as_str)?;
    EndpointUrl::parse("webhookURL", text).ok()
}

fn not_found(id: &WebhookId) -> Refusal {
    Refusal::new(Code::WebhookNotFound, format!("There is no webhook with the id '{id}'."))
}
