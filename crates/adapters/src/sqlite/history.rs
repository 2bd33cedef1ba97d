//! The port to what happened, each method in a file of its own noun.

use async_trait::async_trait;
use chathook_domain::history::{DeliveryId, Merged, Place};
use chathook_domain::ids::{AppId, MessageId, Time, WebhookId};
use chathook_domain::replay::{Job, Wanted};
use chathook_engine::ports::history::{
    CallFilter, CallPage, CancelledDelivery, Delivery, DeliveryDetail, DeliveryFilter, EventsFrom, Figures,
    HistoryStore, Hurried, KeptNotice, MessageHistory, NumberedEvents, ReplayStore, Step, TestDelivery,
};
use chathook_engine::ports::stored::Stored;

use super::{
    Sqlite, calls, fault, figures, interventions, listing, message_history, notices, past, past_events,
    replays, test_deliveries,
};

#[async_trait]
impl HistoryStore for Sqlite {
    async fn deliveries(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        filter: DeliveryFilter,
        from: Place,
    ) -> Stored<Merged<Delivery>> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.read(move |db, _| listing::deliveries(db, &app, &webhook, &filter, from)).await
    }

    async fn delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        id: DeliveryId,
    ) -> Stored<Option<DeliveryDetail>> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.read(move |db, _| match id {
            DeliveryId::Numbered(sequence) => listing::delivery(db, &app, &webhook, sequence),
            DeliveryId::Test(row) => test_deliveries::find(db, &app, &webhook, row),
        })
        .await
    }

    async fn hurry_delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        sequence: i64,
        at: Time,
    ) -> Stored<Hurried> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.write(move |w| interventions::hurry(w, &app, &webhook, sequence, at)).await
    }

    async fn cancel_delivery(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        sequence: i64,
        at: Time,
    ) -> Stored<CancelledDelivery> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.write(move |w| interventions::cancel(w, &app, &webhook, sequence, at)).await
    }

    async fn numbered_events(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        from: EventsFrom,
        limit: i64,
    ) -> Stored<NumberedEvents> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.read(move |db, _| past_events::numbered_events(db, &app, &webhook, from, limit)).await
    }

    async fn keep_test(&self, app: &AppId, webhook: &WebhookId, test: TestDelivery) -> Stored<i64> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.write(move |w| test_deliveries::keep(w.db, &app, &webhook, &test)).await
    }

    async fn figures(&self, app: &AppId, webhook: &WebhookId, since: Time) -> Stored<Figures> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.read(move |db, _| figures::figures(db, &app, &webhook, since)).await
    }

    async fn message_history(&self, app: &AppId, id: MessageId) -> Stored<Option<MessageHistory>> {
        let app = app.clone();
        self.read(move |db, _| message_history::message_history(db, &app, id).map_err(fault)).await
    }

    async fn calls(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        filter: CallFilter,
        below: i64,
    ) -> Stored<CallPage> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.read(move |db, _| {
            past::spot(db, &app, &webhook)?;
            calls::list(db, &app, &webhook, &filter, below).map_err(fault)
        })
        .await
    }

    async fn message_of_call(&self, app: &AppId, row: i64) -> Stored<Option<MessageId>> {
        let app = app.clone();
        self.read(move |db, _| calls::message_of(db, &app, row).map_err(fault)).await
    }

    async fn notices(&self, app: &AppId, below: i64, limit: i64) -> Stored<Vec<KeptNotice>> {
        let app = app.clone();
        self.read(move |db, _| notices::list(db, &app, below, limit).map_err(fault)).await
    }
}

#[async_trait]
impl ReplayStore for Sqlite {
    async fn begin_replay(&self, app: &AppId, webhook: &WebhookId, wanted: Wanted, at: Time) -> Stored<Job> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.write(move |w| replays::begin(w, &app, &webhook, &wanted, at)).await
    }

    async fn replay(&self, app: &AppId, webhook: &WebhookId, row: i64) -> Stored<Option<Job>> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.read(move |db, _| {
            past::spot(db, &app, &webhook)?;
            replays::find(db, &app, &webhook, row).map_err(fault)
        })
        .await
    }

    async fn replays(&self, app: &AppId, webhook: &WebhookId, below: i64, limit: i64) -> Stored<Vec<Job>> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.read(move |db, _| {
            past::spot(db, &app, &webhook)?;
            replays::list(db, &app, &webhook, below, limit).map_err(fault)
        })
        .await
    }

    async fn cancel_replay(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        row: i64,
        at: Time,
    ) -> Stored<Option<Job>> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.write(move |w| {
            past::spot(w.db, &app, &webhook)?;
            if replays::find(w.db, &app, &webhook, row).map_err(fault)?.is_none() {
                return Ok(None);
            }
            replays::cancel(w.db, row, at).map_err(fault)?;
            replays::find(w.db, &app, &webhook, row).map_err(fault)
        })
        .await
    }

    async fn running_replays(&self) -> Stored<Vec<i64>> {
        self.read(|db, _| replays::running(db).map_err(fault)).await
    }

    async fn step_replay(&self, row: i64, at: Time) -> Stored<Step> {
        let plan = self.read(move |db, _| replays::plan(db, row).map_err(fault)).await?;
        match plan {
            replays::Plan::Ended => Ok(Step::Ended),
            replays::Plan::Held => Ok(Step::Held),
            plan @ (replays::Plan::Cancel | replays::Plan::Make { .. }) => {
                self.write(move |w| replays::carry_out(w, row, plan, at).map_err(fault)).await
            }
        }
    }
}
