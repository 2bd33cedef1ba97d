//! Figures of a webhook over the last minutes: rates, latencies, failures by cause (design 9).

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::delivery::Status;
use chathook_domain::ids::Time;
use chathook_domain::stats::Percentiles;
use chathook_engine::ports::history::Figures;
use serde_json::{Map, Value, json};

use super::Api;
use super::extract::{Ids, Params, webhook_ids};
use super::lists::{Answer, data};

const MINUTES_DEFAULT: i64 = 60;
/// A week.
const MINUTES_MAX: i64 = 7 * 24 * 60;

pub async fn get_stats(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let minutes = params.number("minutes", 1, MINUTES_MAX)?.unwrap_or(MINUTES_DEFAULT);
    let (figures, now) = api.engine.figures(&app, &webhook, minutes).await?;
    Ok(data(to_json(figures, minutes, now)))
}

fn to_json(figures: Figures, minutes: i64, now: Time) -> Value {
    let ended: Map<String, Value> = Status::ALL
        .into_iter()
        .filter(|status| *status != Status::Waiting)
        .map(|status| (status.as_str().to_owned(), json!(figures.ended.get(&status).unwrap_or(&0))))
        .collect();
    let age_s = figures.oldest_waiting_at.map(|at| (now.ms - at.ms).max(0) / 1_000);
    let count: u64 = figures.attempts.values().sum();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_minute = count as f64 / minutes as f64;
    json!({
        "minutes": minutes,
        "isCut": figures.is_cut,
        "deliveries": ended,
        "attempts": {
            "count": count, "perMinute": per_minute, "byOutcome": figures.attempts,
            "totalUs": percentiles(figures.attempts_us),
        },
        "waiting": {
            "count": figures.waiting, "isMore": figures.waiting_is_cut, "bytes": figures.waiting_bytes,
            "oldestSeconds": age_s,
        },
        "failingSince": figures.failing_since.map(Time::seconds),
        "beforeMessage": {
            "byVerdict": figures.verdicts, "bySilence": figures.silences,
            "tookUs": percentiles(figures.asked_us),
        },
    })
}

fn percentiles(values: Vec<u64>) -> Value {
    Percentiles::of(values).map_or(Value::Null, |p| json!({"p50": p.p50, "p90": p.p90, "p99": p.p99}))
}
