//! What happened, looked up: deliveries, events in order, figures, the timeline of a message, notices.
//! And the two things that a person may do about a delivery: now, and never.

use std::borrow::Cow;

use chathook_domain::history::{DeliveryId, Merged, Part, Place, Places, merge_all};
use chathook_domain::ids::{AppId, MessageId, Now, Time, WebhookId};
use chathook_domain::line::Hurry;
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

/// What came of asking for an attempt now, and the delivery that it was asked for, or that was made.
#[derive(Debug, Clone)]
pub struct Retried {
    pub did: Did,
    pub detail: DeliveryDetail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    TriedNow,
    /// An attempt was under way.
    NothingMore,
    OwedAnew,
    /// Something stands before it that a person's order does not move.
    WaitsOn,
}

impl Did {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TriedNow => "tried_now",
            Self::NothingMore => "under_way",
            Self::OwedAnew => "owed_anew",
            Self::WaitsOn => "waits_on",
        }
    }
}

impl Retried {
    /// For people.
    #[must_use]
    pub fn sentence(&self) -> String {
        let delivery = &self.detail.delivery;
        match (self.did, &delivery.waiting) {
            (Did::TriedNow, _) => "It is tried now.".to_owned(),
            (Did::NothingMore, _) => "An attempt was under way already; no other is made.".to_owned(),
            (Did::OwedAnew, _) => format!("Its event is owed again, as delivery {}.", delivery.id),
            (Did::WaitsOn, Some(waiting)) => format!("It cannot go yet. {}", waiting.sentence()),
            (Did::WaitsOn, None) => "It has ended meanwhile.".to_owned(),
        }
    }
}

/// Rows that a listing of all webhooks looks at, over all of them: what that of one may.
const LOOK_OVER_ALL_MAX: i64 = 5_000;

/// Deliveries of all webhooks of an app.
#[derive(Debug, Clone)]
pub struct DeliveriesOfApp {
    pub items: Vec<(WebhookId, Delivery)>,
    /// Where the list goes on, where it does.
    pub next: Option<Places>,
}

impl Engine {
    /// Newest first, from the beginning or where a page before ended.
    pub async fn deliveries_of_app(
        &self,
        app: &AppId,
        filter: DeliveryFilter,
        from: Option<Places>,
    ) -> Result<DeliveriesOfApp, Refusal> {
        let webhooks = self.webhooks(app).await?;
        let place_of = |row: i64| match &from {
            None => Some(Place::START),
            Some(places) => places.0.iter().find(|(of, _)| *of == row).map(|(_, place)| *place),
        };
        let asked: Vec<_> =
            webhooks.iter().filter_map(|webhook| Some((webhook, place_of(webhook.row)?))).collect();
        let count = i64::try_from(asked.len()).expect("at most 25 webhooks").max(1);
        let filter = DeliveryFilter { look_max: Some(LOOK_OVER_ALL_MAX / count), ..filter };
        let mut parts = Vec::new();
        for (webhook, from) in asked {
            let page = self.deliveries(app, &webhook.id, filter.clone(), from).await?;
            parts.push(Part { of: webhook.row, from, page });
        }
        let (items, places) = merge_all(parts, filter.limit, |delivery| (delivery.id, delivery.created_at));
        let id_of =
            |row: i64| webhooks.iter().find(|webhook| webhook.row == row).map(|found| found.id.clone());
        let items = items.into_iter().filter_map(|(row, delivery)| Some((id_of(row)?, delivery))).collect();
        Ok(DeliveriesOfApp { items, next: (!places.0.is_empty()).then_some(places) })
    }

    /// Newest first.
    pub async fn deliveries(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        filter: DeliveryFilter,
        from: Place,
    ) -> Result<Merged<Delivery>, Refusal> {
        self.app(app).await?;
        let mut found = self.store.deliveries(app, webhook, filter, from).await.map_err(refuse)?;
        found.items.iter_mut().for_each(|delivery| self.see(delivery));
        Ok(found)
    }

    pub async fn delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        id: DeliveryId,
    ) -> Result<DeliveryDetail, Refusal> {
        self.app(app).await?;
        let found = self.store.delivery(app, webhook, id).await.map_err(refuse)?;
        let mut detail = found.ok_or_else(|| {
            Refusal::new(Code::DeliveryNotFound, format!("The webhook '{webhook}' has no delivery '{id}'."))
        })?;
        self.see(&mut detail.delivery);
        Ok(detail)
    }

    /// What memory knows of a delivery that waits, which the store does not.
    fn see(&self, delivery: &mut Delivery) {
        let (Some(waiting), DeliveryId::Numbered(sequence)) = (&mut delivery.waiting, delivery.id) else {
            return;
        };
        let now = self.both_clocks();
        waiting.seen = self.dispatch.see(waiting.webhook_row, &waiting.lane, sequence, now);
        if waiting.seen.is_none() {
            waiting.due = waiting.due.filter(|due| *due > now.wall);
        }
    }

    fn both_clocks(&self) -> Now {
        Now { wall: self.clock.now(), tick: self.clock.ticks() }
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

    /// Now, where nothing of its lane goes before it; what ended unsent is owed anew, which is what is answered.
    pub async fn retry_delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        id: DeliveryId,
    ) -> Result<Retried, Refusal> {
        self.app(app).await?;
        let sequence = numbered(id, "retried; make another test")?;
        let now = self.both_clocks();
        let hurried = self.store.hurry_delivery(app, webhook, sequence, now.wall).await.map_err(refuse)?;
        let (sequence, did) = match hurried {
            Hurried::Waiting { webhook_row, lane } => {
                let did = match self.dispatch.hurry(webhook_row, &lane, sequence, now) {
                    Hurry::Goes => Did::TriedNow,
                    Hurry::IsOut => Did::NothingMore,
                    Hurry::Stays => Did::WaitsOn,
                };
                (sequence, did)
            }
            Hurried::Again { sequence } => (sequence, Did::OwedAnew),
        };
        self.tallies.changed(app);
        let detail = self.delivery(app, webhook, DeliveryId::Numbered(sequence)).await?;
        Ok(Retried { did, detail })
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
        let mut history = found.ok_or_else(|| {
            Refusal::new(Code::MessageNotFound, format!("There is no message with the id '{id}'."))
        })?;
        let deliveries = history.owed.iter_mut().flat_map(|owed| &mut owed.deliveries);
        deliveries.for_each(|(delivery, _)| self.see(delivery));
        Ok(history)
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
