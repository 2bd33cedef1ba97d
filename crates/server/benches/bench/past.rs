//! A store with a long past, written by the server's own store without a server: deliveries that ended and that
//! wait, calls, people, and a day of counters.

use std::sync::Arc;

use anyhow::Result;
use chathook_domain::delivery::Settlement;
use chathook_domain::ids::{EventId, Key, StartId, Uid};
use chathook_domain::outcome::{Answer, Failure, Outcome};
use chathook_domain::tally::{Count, Span, Step, Tally};
use chathook_domain::webhook::Webhook;
use chathook_engine::ports::endpoints::Phases;
use chathook_engine::ports::store::{
    Asked, ConnectionStore as _, DeliveryStore as _, MessageStore as _, Settled, UserStore as _,
    WebhookStore as _,
};
use chathook_engine::ports::tallies::{Tallied, TallyStore as _};
use tokio::task::JoinSet;

use crate::bench::CALLERS;
use crate::stock::{Stock, Until, fault, now, user};

pub const WEBHOOKS: usize = 25;
/// Each is owed to every webhook: a million deliveries.
pub const MESSAGES: u64 = 40_000;
/// Deliveries of each webhook that still wait.
const WAITING: i64 = 2_000;
const CALLS: usize = 40_000;
const PEOPLE: usize = 50_000;
const BATCH: usize = 500;
/// One in so many attempts fails.
const FAILS: i64 = 20;

/// Fills the store. Where the webhooks point to nobody listens, so that what waits goes on waiting.
pub async fn write(stock: &Arc<Stock>) -> Result<()> {
    for nth in 0..WEBHOOKS {
        stock.webhook(&format!("hook-{nth:02}"), "https://127.0.0.1:1/").await?;
    }
    stock.commit(Until::Count(MESSAGES)).await?;
    let start = StartId::trusted("start_of_the_past");
    stock.store.begin_start(&start, now()).await.map_err(fault)?;
    for webhook in stock.store.webhooks(&stock.app.id).await.map_err(fault)? {
        end(stock, &start, &webhook).await?;
        log_calls(stock, &webhook).await?;
        count(stock, &webhook).await?;
    }
    make_people(stock).await
}

/// All deliveries of a webhook but the last ones.
async fn end(stock: &Stock, start: &StartId, webhook: &Webhook) -> Result<()> {
    let target = stock.store.target(webhook.row).await.map_err(fault)?;
    let Some(target) = target else { anyhow::bail!("{} is not there", webhook.id) };
    let numbers: Vec<i64> = (1..=i64::try_from(MESSAGES)? - WAITING).collect();
    for batch in numbers.chunks(BATCH) {
        let settled = batch.iter().map(|sequence| settled(target.stream, webhook.row, *sequence)).collect();
        stock.store.settle(start, settled).await.map_err(fault)?;
    }
    Ok(())
}

fn settled(stream: i64, webhook_row: i64, sequence: i64) -> Settled {
    let is_failure = sequence % FAILS == 0;
    let answer = |status| Answer {
        status,
        retry_after_s: None,
        location: None,
        body: b"{\"ok\":true}".to_vec(),
        is_cut: false,
    };
    Settled {
        stream,
        sequence,
        webhook_row,
        attempt: 1,
        outcome: if is_failure { Outcome::Failed(Failure::Timeout) } else { Outcome::Answered(answer(200)) },
        phases: Phases { total_us: 1_000 + sequence.unsigned_abs() % 9_000, ..Phases::default() },
        address: Some("127.0.0.1:1".into()),
        settlement: if is_failure { Settlement::Failed } else { Settlement::Delivered },
        started_at: now(),
    }
}

/// The part of the calls that is this webhook's.
async fn log_calls(stock: &Stock, webhook: &Webhook) -> Result<()> {
    let asked = |nth: usize| Asked {
        app: stock.app.id.clone(),
        webhook: webhook.id.clone(),
        webhook_row: webhook.row,
        event: EventId::trusted(&format!("evt_{nth:032x}")),
        conversation: Key::trusted("user-00000_user_user-00001"),
        sender: Uid::trusted("user-00000"),
        verdict: if nth.is_multiple_of(9) { "drop" } else { "pass" },
        silence: nth.is_multiple_of(99).then(|| "timeout".to_owned()),
        effect: None,
        took_us: 900,
        at: now(),
    };
    let all: Vec<usize> = (0..CALLS / WEBHOOKS).collect();
    for batch in all.chunks(BATCH) {
        stock.store.log_asked(batch.iter().map(|nth| asked(*nth)).collect()).await.map_err(fault)?;
    }
    Ok(())
}

/// Every ten minutes of a day, and every minute of the last hour.
async fn count(stock: &Stock, webhook: &Webhook) -> Result<()> {
    let mut tally = Tally::default();
    for nth in 0..1_000 {
        tally.count(Count::Delivered);
        tally.count(Count::Succeeded);
        tally.measure(Span::Attempt, 900 + nth * 7);
        tally.measure(Span::ToDelivered, 1_100 + nth * 9);
    }
    let minutes = (0..144_i64).map(|ten| ten * 10).chain(1..60);
    let tallied = |ago: i64| Tallied {
        app: stock.app.id.clone(),
        webhook: Some(webhook.row),
        minute: Step::Minute.begin_of(now().plus_ms(-ago * Step::Minute.ms())),
        tally: Box::new(tally.clone()),
    };
    let of_webhook: Vec<Tallied> = minutes.map(tallied).collect();
    let of_app = of_webhook.iter().cloned().map(|tallied| Tallied { webhook: None, ..tallied }).collect();
    stock.store.add_tallies(of_webhook).await.map_err(fault)?;
    stock.store.add_tallies(of_app).await.map_err(fault)
}

async fn make_people(stock: &Arc<Stock>) -> Result<()> {
    let mut makers = JoinSet::new();
    for maker in 0..CALLERS {
        let stock = stock.clone();
        makers.spawn(async move {
            for nth in (maker..PEOPLE).step_by(CALLERS) {
                let person = user(100_000 + nth);
                stock.store.create_user(&stock.app.id, person, None).await.map_err(fault)?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(made) = makers.join_next().await {
        made??;
    }
    Ok(())
}
