//! Figures of a webhook over the last minutes: rates, latencies, failures by cause (design 9).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use chathook_domain::delivery::Status;
use chathook_domain::ids::Time;
use chathook_domain::stats::Percentiles;
use chathook_engine::ports::history::Figures;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Ids, Params, webhook_ids};
use super::lists::{Answer, Data, data};

const MINUTES_DEFAULT: i64 = 60;
/// A week.
const MINUTES_MAX: i64 = 7 * 24 * 60;

/// Which span the figures are of.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatsQuery {
    /// The last so many; 60 unless given.
    #[param(minimum = 1, maximum = 10_080)]
    pub minutes: Option<i64>,
}

/// Figures of a webhook.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    minutes: i64,
    /// There was more than one request looks at: these are figures of the newer part.
    is_cut: bool,
    /// Deliveries that ended in the span, by how they ended.
    deliveries: BTreeMap<&'static str, u64>,
    attempts: AttemptStats,
    waiting: WaitingStats,
    #[schema(required)]
    failing_since: Option<i64>,
    before_message: AskedStats,
}

/// Attempts that began in the span.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptStats {
    count: u64,
    per_minute: f64,
    /// By status or named failure.
    by_outcome: BTreeMap<String, u64>,
    #[schema(required)]
    total_us: Option<PercentilesShown>,
}

/// What waits now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingStats {
    count: i64,
    bytes: i64,
    #[schema(required)]
    oldest_seconds: Option<i64>,
}

/// Calls of `before_message` in the span.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AskedStats {
    /// Those that got a usable answer.
    by_verdict: BTreeMap<String, u64>,
    /// Those that got none, by cause.
    by_silence: BTreeMap<String, u64>,
    #[schema(required)]
    took_us: Option<PercentilesShown>,
}

/// Microseconds below which half, nine tenths and ninety-nine hundredths stay; `null` of nothing.
#[derive(Serialize, ToSchema)]
#[schema(as = Percentiles)]
pub struct PercentilesShown {
    p50: u64,
    p90: u64,
    p99: u64,
}

/// Shows figures of the last minutes of a webhook
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/stats", tag = "history",
    params(StatsQuery),
    responses((status = 200, description = "The figures", body = Data<Stats>)),
)]
pub async fn get_stats(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let minutes = params.number("minutes", 1, MINUTES_MAX)?.unwrap_or(MINUTES_DEFAULT);
    let (figures, now) = api.engine.figures(&app, &webhook, minutes).await?;
    Ok(data(Stats::of(figures, minutes, now)))
}

impl Stats {
    fn of(figures: Figures, minutes: i64, now: Time) -> Self {
        let ended = |status: &Status| *status != Status::Waiting;
        let count_of = |status: Status| (status.as_str(), *figures.ended.get(&status).unwrap_or(&0));
        let count: u64 = figures.attempts.values().sum();
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let per_minute = count as f64 / minutes as f64;
        Self {
            minutes,
            is_cut: figures.is_cut,
            deliveries: Status::ALL.into_iter().filter(ended).map(count_of).collect(),
            attempts: AttemptStats {
                count,
                per_minute,
                by_outcome: figures.attempts,
                total_us: percentiles(figures.attempts_us),
            },
            waiting: WaitingStats {
                count: figures.waiting,
                bytes: figures.waiting_bytes,
                oldest_seconds: figures.oldest_waiting_at.map(|at| (now.ms - at.ms).max(0) / 1_000),
            },
            failing_since: figures.failing_since.map(Time::seconds),
            before_message: AskedStats {
                by_verdict: figures.verdicts,
                by_silence: figures.silences,
                took_us: percentiles(figures.asked_us),
            },
        }
    }
}

fn percentiles(values: Vec<u64>) -> Option<PercentilesShown> {
    Percentiles::of(values).map(PercentilesShown::from)
}

impl From<Percentiles> for PercentilesShown {
    fn from(Percentiles { p50, p90, p99 }: Percentiles) -> Self {
        Self { p50, p90, p99 }
    }
}
