//! Deliveries of a webhook as a list, newest first. A request looks at so many rows and no more,
//! whatever it finds: the tables have no index for what may be asked.

use std::collections::VecDeque;

use chathook_domain::history::{Merged, Place, Run, merge};
use chathook_domain::ids::{AppId, Time, WebhookId};
use chathook_engine::ports::history::{Delivery, DeliveryDetail, DeliveryFilter};
use chathook_engine::ports::stored::Stored;
use rusqlite::Connection;

use super::past::{self, CLOCK_SLACK_MS, LOOKED_AT_MAX, NEWEST_FIRST, PastRow, Spot};
use super::{fault, past_events, test_deliveries};

pub(super) fn deliveries(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    filter: &DeliveryFilter,
    from: Place,
) -> Stored<Merged<Delivery>> {
    let spot = past::spot(db, app, webhook)?;
    let read = || {
        let numbered = numbered(db, spot, filter, from.sequence)?;
        let tests = test_deliveries::run(db, app, webhook, filter, from.test)?;
        Ok(merge(numbered, tests, from, filter.limit))
    };
    read().map_err(fault)
}

pub(super) fn delivery(
    db: &Connection,
    app: &AppId,
    webhook: &WebhookId,
    sequence: i64,
) -> Stored<Option<DeliveryDetail>> {
    let spot = past::spot(db, app, webhook)?;
    let read = || {
        let Some(row) = past::find(db, spot.stream, sequence)? else { return Ok(None) };
        let body = past_events::body(db, row.event, webhook)?;
        let event = past::event_name(db, row.event)?;
        let attempts = past::attempts(db, spot.stream, sequence)?;
        Ok(Some(DeliveryDetail { delivery: past::shown(db, spot, row, event)?, attempts, body }))
    };
    read().map_err(fault)
}

/// Whether the filter lets a creation time through.
pub(super) fn spans(filter: &DeliveryFilter, at: Time) -> bool {
    filter.since.is_none_or(|since| at >= since) && filter.until.is_none_or(|until| at < until)
}

/// Whether nothing that was made before this one can be in the span: rows are ordered by number, and
/// times follow but for a clock that was set back.
pub(super) fn is_before_span(filter: &DeliveryFilter, at: Time) -> bool {
    filter.since.is_some_and(|since| at < since.plus_ms(-CLOCK_SLACK_MS))
}

/// How many rows a read of this filter looks at.
pub(super) fn look_max(filter: &DeliveryFilter) -> i64 {
    filter.look_max.map_or(LOOKED_AT_MAX, |most| most.clamp(1, LOOKED_AT_MAX))
}

fn numbered(
    db: &Connection,
    spot: Spot,
    filter: &DeliveryFilter,
    below: i64,
) -> rusqlite::Result<Run<Delivery>> {
    let mut query = db.prepare_cached(NEWEST_FIRST)?;
    let look_max = look_max(filter);
    let mut rows = query.query((spot.stream, below, look_max))?;
    let mut run = Run { items: VecDeque::new(), edge: None };
    let mut looked_at = 0;
    // One more than is asked for tells that the list goes on.
    while run.items.len() <= filter.limit
        && let Some(row) = rows.next()?
    {
        let row = PastRow::from(row)?;
        let (sequence, at) = (row.sequence, row.created_at);
        if is_before_span(filter, at) {
            break;
        }
        looked_at += 1;
        if let Some(delivery) = fit(db, spot, filter, row)? {
            run.items.push_back((sequence, at, delivery));
        }
        if looked_at == look_max {
            run.edge = Some((sequence, at));
        }
    }
    Ok(run)
}

/// The delivery, where the filter lets it through. What costs a look elsewhere comes last.
fn fit(
    db: &Connection,
    spot: Spot,
    filter: &DeliveryFilter,
    row: PastRow,
) -> rusqlite::Result<Option<Delivery>> {
    let is_fit = spans(filter, row.created_at)
        && filter.status.is_none_or(|status| status == row.status)
        && filter.key.as_ref().is_none_or(|key| key.as_str() == row.lane.key());
    if !is_fit {
        return Ok(None);
    }
    let event = past::event_name(db, row.event)?;
    if filter.trigger.is_some_and(|trigger| event.as_ref().is_none_or(|event| event.trigger != trigger)) {
        return Ok(None);
    }
    past::shown(db, spot, row, event).map(Some)
}
