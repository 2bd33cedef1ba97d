//! What happened, looked up: deliveries, events in order, figures, the timeline of a message, notices.
//! And the two things that a person may do about a delivery: now, and never.

use std::borrow::Cow;

use chathook_domain::history::{DeliveryId, Merged, Place};
use chathook_domain::ids::{AppId, MessageId, Now, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};

use crate::engine::{Engine, refuse};
use crate::ports::history::{
    CallFilter, CallPage, Delivery, DeliveryDetail, DeliveryFilter, EventsFrom, Figures, Hurried, KeptNotice,
    MessageHistory, NumberedEvents,
};
use crate::request_headers::{headers, masked};

/// A request for people.
#[derive(Debug, Clone)]
pub struct ShownRequest {
    pub url: String,
    /// Signed at this moment; secrets are masked.
    pub headers: Vec<(Cow<'static, str>, String)>,
}

impl Engine {
    /// Newest first.
    pub async fn deliveries(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        filter: DeliveryFilter,
        from: Place,
    ) -> Result<Merged<Delivery>, Refusal> {
        self.app(app).await?;
        self.store.deliveries(app, webhook, filter, from).await.map_err(refuse)
    }

    pub async fn delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        id: DeliveryId,
    ) -> Result<DeliveryDetail, Refusal> {
        self.app(app).await?;
        let found = self.store.delivery(app, webhook, id).await.map_err(refuse)?;
        found.ok_or_else(|| {
            Refusal::new(Code::DeliveryNotFound, format!("The webhook '{webhook}' has no delivery '{id}'."))
        })
    }

    /// The request of a delivery as an attempt would make it now, but for secrets; `None` where its event is no
    /// longer kept.
    pub async fn delivery_request(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        detail: &DeliveryDetail,
    ) -> Result<Option<ShownRequest>, Refusal> {
        let webhook = self.webhook(app, webhook).await?;
        let (Some(body), Some(event)) = (&detail.body, &detail.delivery.event) else { return Ok(None) };
        let mut headers = headers(&webhook, event, self.clock.now(), body);
        headers.write("chathook-attempt", detail.delivery.attempts + 1);
        match detail.delivery.id {
            DeliveryId::Numbered(sequence) => headers.write("chathook-sequence", sequence),
            DeliveryId::Test(_) => headers.write("chathook-test", true),
        }
        if let Some(key) = &detail.delivery.key {
            headers.write("chathook-key", key);
        }
        if let Some(job) = detail.delivery.replay {
            headers.write("chathook-replay", job);
        }
        let url = webhook.config.url.as_str().to_owned();
        Ok(Some(ShownRequest { url, headers: masked(&headers) }))
    }

    /// Now. What waits is due at once; what ended unsent is owed anew, which is what is answered.
    pub async fn retry_delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        id: DeliveryId,
    ) -> Result<DeliveryDetail, Refusal> {
        self.app(app).await?;
        let sequence = numbered(id, "retried; make another test")?;
        let now = self.clock.now();
        let hurried = self.store.hurry_delivery(app, webhook, sequence, now).await.map_err(refuse)?;
        let sequence = match hurried {
            Hurried::Waiting { webhook_row, lane } => {
                let now = Now { wall: now, tick: self.clock.ticks() };
                self.dispatch.hurry(webhook_row, &lane, sequence, now);
                sequence
            }
            Hurried::Again { sequence } => sequence,
        };
        self.tallies.changed(app);
        self.delivery(app, webhook, DeliveryId::Numbered(sequence)).await
    }

    /// Never. An attempt that is under way is made to its end; nothing follows from it.
    pub async fn cancel_delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        id: DeliveryId,
    ) -> Result<DeliveryDetail, Refusal> {
        self.app(app).await?;
        let sequence = numbered(id, "cancelled")?;
        let now = self.clock.now();
        let cancelled = self.store.cancel_delivery(app, webhook, sequence, now).await.map_err(refuse)?;
        self.dispatch.cancel(cancelled.webhook_row, &cancelled.lane, sequence);
        self.tallies.changed(app);
        self.delivery(app, webhook, id).await
    }

    /// The webhook's events in the order of their numbers.
    pub async fn numbered_events(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        from: EventsFrom,
        limit: i64,
    ) -> Result<NumberedEvents, Refusal> {
        self.app(app).await?;
        self.store.numbered_events(app, webhook, from, limit).await.map_err(refuse)
    }

    /// Figures of the last so many minutes, and the moment at which the span ends.
    pub async fn figures(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        minutes: i64,
    ) -> Result<(Figures, Time), Refusal> {
        self.app(app).await?;
        let now = self.clock.now();
        let since = now.plus_ms(-minutes * 60_000);
        let figures = self.store.figures(app, webhook, since).await.map_err(refuse)?;
        Ok((figures, now))
    }

    pub async fn message_history(&self, app: &AppId, id: MessageId) -> Result<MessageHistory, Refusal> {
        self.app(app).await?;
        let found = self.store.message_history(app, id).await.map_err(refuse)?;
        found.ok_or_else(|| {
            Refusal::new(Code::MessageNotFound, format!("There is no message with the id '{id}'."))
        })
    }

    /// Calls of `before_message`, newest first, below a row.
    pub async fn calls(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        filter: CallFilter,
        below: i64,
    ) -> Result<CallPage, Refusal> {
        self.app(app).await?;
        self.store.calls(app, webhook, filter, below).await.map_err(refuse)
    }

    /// The message that a call was about; `None` where it was dropped, was an edit, or is gone.
    pub async fn message_of_call(&self, app: &AppId, row: i64) -> Result<Option<MessageId>, Refusal> {
        self.app(app).await?;
        self.store.message_of_call(app, row).await.map_err(refuse)
    }

    /// Newest first, below a row.
    pub async fn notices(&self, app: &AppId, below: i64, limit: i64) -> Result<Vec<KeptNotice>, Refusal> {
        self.app(app).await?;
        self.store.notices(app, below, limit).await.map_err(refuse)
    }
}

/// A test is over when it is known, so nothing can be done about it.
fn numbered(id: DeliveryId, what: &str) -> Result<i64, Refusal> {
    match id {
        DeliveryId::Numbered(sequence) => Ok(sequence),
        DeliveryId::Test(_) => {
            Err(Refusal::new(Code::DeliveryEnded, format!("'{id}' is a test, which cannot be {what}.")))
        }
    }
}
