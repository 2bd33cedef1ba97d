//! What a person does about one delivery: now, or never.

use chathook_domain::delivery::Status;
use chathook_domain::ids::{AppId, LaneKey, Time, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::replay::Wanted;
use chathook_engine::ports::history::{CancelledDelivery, Hurried};
use chathook_engine::ports::stored::Stored;
use rusqlite::Connection;

use super::past::{self, PastRow, Spot};
use super::settlements::{Ending, Ends};
use super::{Writing, fault, replays};

/// What waits is due; the waits of its schedule that it has used stay used. What ended unsent is owed
/// anew by a replay of one event.
pub(super) fn hurry(
    w: &mut Writing<'_>,
    app: &AppId,
    webhook: &WebhookId,
    sequence: i64,
    at: Time,
) -> Stored<Hurried> {
    let spot = past::spot(w.db, app, webhook)?;
    let found = present(w.db, spot, webhook, sequence)?;
    match found.status {
        Status::Waiting => {
            // One that was never tried has no due time, and needs none.
            w.db.prepare_cached(
                "UPDATE waiting SET due = ?3 WHERE stream = ?1 AND sequence = ?2 AND due > 0",
            )
            .and_then(|mut update| update.execute((spot.stream, sequence, at.ms)))
            .map_err(fault)?;
            Ok(Hurried::Waiting { webhook_row: spot.row, lane: found.lane })
        }
        Status::Failed | Status::Cancelled | Status::Expired => {
            replays::check_is_on(spot, webhook)?;
            let job =
                replays::insert_done(w.db, app, webhook, &Wanted::One { sequence }, at).map_err(fault)?;
            let again = replays::owe_again(w, spot, found.event, job, at).map_err(fault)?;
            match again {
                Some(sequence) => Ok(Hurried::Again { sequence }),
                None => {
                    let sentence = format!("The event of the delivery '{sequence}' is no longer kept.");
                    Err(Refusal::new(Code::EventsGone, sentence).into())
                }
            }
        }
        Status::Delivered => Err(Refusal::new(
            Code::DeliveryEnded,
            format!("The delivery '{sequence}' was delivered. To send its event again, replay it."),
        )
        .into()),
    }
}

/// It ends here, and the settled number goes on.
pub(super) fn cancel(
    w: &mut Writing<'_>,
    app: &AppId,
    webhook: &WebhookId,
    sequence: i64,
    at: Time,
) -> Stored<CancelledDelivery> {
    let spot = past::spot(w.db, app, webhook)?;
    let found = present(w.db, spot, webhook, sequence)?;
    match found.status {
        Status::Waiting => {}
        Status::Delivered | Status::Failed | Status::Cancelled | Status::Expired => {
            let sentence = format!("The delivery '{sequence}' has ended: it is {}.", found.status.as_str());
            return Err(Refusal::new(Code::DeliveryEnded, sentence).into());
        }
    }
    end_as_cancelled(w, spot.stream, sequence, at).map_err(fault)?;
    Ok(CancelledDelivery { webhook_row: spot.row, lane: LaneKey::trusted(found.lane.as_str()) })
}

fn present(db: &Connection, spot: Spot, webhook: &WebhookId, sequence: i64) -> Stored<PastRow> {
    past::find(db, spot.stream, sequence).map_err(fault)?.ok_or_else(|| {
        let sentence = format!("The webhook '{webhook}' has no delivery '{sequence}'.");
        Refusal::new(Code::DeliveryNotFound, sentence).into()
    })
}

fn end_as_cancelled(w: &mut Writing<'_>, stream: i64, sequence: i64, at: Time) -> rusqlite::Result<()> {
    let mut ends = Ends::of(w.db)?;
    let ending = Ending { stream, sequence, status: Status::Cancelled, attempts: None, at };
    ends.end(w.ledger, &ending)?;
    ends.advance(w.ledger)
}
