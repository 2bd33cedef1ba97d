//! How an app and an endpoint fare: counters over time, circuits and their history, and who needs a person.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use chathook_domain::ids::Time;
use chathook_domain::needs::Need;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::tally::{Count, Span, Step, Tally};
use chathook_engine::health::{AppHealth, CircuitNow, EndpointHealth, Series, Window};
use chathook_engine::ports::tallies::{KeptTurn, Standing};
use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Ids, Params, app_id, webhook_ids};
use super::lists::{Answer, Data, ListQuery, Listed, data, limit, row_cursor, rows_with_cursor};
use super::stats::PercentilesShown;

const MINUTES_DEFAULT: i64 = 60;
/// A week.
const MINUTES_MAX: i64 = 7 * 24 * 60;

/// Which span is shown, and in which steps.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// The last so many; 60 unless given.
    #[param(minimum = 1, maximum = 10_080)]
    pub minutes: Option<i64>,
    /// The length of a step in seconds; by the minute for up to three hours unless given. Minutes are kept for 25
    /// hours.
    #[param(schema_with = steps, required = false)]
    pub step: Option<i64>,
}

fn steps() -> Schema {
    ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([60, 600])).build().into()
}

/// How an app fares.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppStats {
    #[serde(flatten)]
    series: SeriesShown,
    now: AppNow,
    /// The webhooks that need a person, the worst first.
    needs: Vec<NeedShown>,
}

/// How an app stands at this moment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppNow {
    /// Users.
    online: u64,
    /// Deliveries.
    waiting: u64,
    /// Webhooks.
    failing: u64,
}

/// How a webhook and its endpoint fare.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndpointHealth)]
pub struct HealthShown {
    #[serde(flatten)]
    series: SeriesShown,
    /// The circuit of deliveries; `null` for a moment after a start.
    #[schema(required)]
    circuit: Option<CircuitShown>,
    before_message_circuit: HookCircuitShown,
    /// The newest 50 turns; all of them are a list of their own.
    circuit_history: Vec<TurnShown>,
    #[schema(required)]
    waiting: Option<BacklogShown>,
    /// Since when nothing has succeeded, where something has failed.
    #[schema(required)]
    failing_since: Option<i64>,
    needs: Vec<NeedShown>,
}

/// What was counted, step by step.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeriesShown {
    step_seconds: i64,
    /// The beginning of the first step, and now.
    since: i64,
    until: i64,
    /// Steps in which nothing happened are left out.
    series: Vec<PointShown>,
    total: TallyShown,
}

/// What was counted in one step.
#[derive(Serialize, ToSchema)]
pub struct PointShown {
    at: i64,
    #[serde(flatten)]
    tally: TallyShown,
}

/// What was counted. Percentiles are off by at most 6 in 100.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tally)]
pub struct TallyShown {
    /// Messages stored; of an app only.
    messages: u64,
    delivered: u64,
    /// Deliveries whose schedule ended.
    unsent: u64,
    attempts: AttemptsCounted,
    /// From the coming in of what happened to the answer that took the delivery; replays do not count.
    #[schema(required)]
    to_delivered_us: Option<PercentilesShown>,
    before_message: AskedCounted,
    /// Of an app only.
    #[schema(required)]
    online: Option<OnlineShown>,
}

/// Attempts that ended in the step.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptsCounted {
    count: u64,
    succeeded: u64,
    /// By cause: a named failure, or `3xx`, `401_403`, `404`, `410`, `429`, `4xx` (the rest of them), `5xx`, `other`.
    failures: BTreeMap<&'static str, u64>,
    #[schema(required)]
    total_us: Option<PercentilesShown>,
}

/// Calls of `before_message`, by the verdict of their answer; `silent` are those without a usable one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AskedCounted {
    pass: u64,
    inject: u64,
    replace: u64,
    drop: u64,
    silent: u64,
    #[schema(required)]
    took_us: Option<PercentilesShown>,
}

/// Users online: at most, and at the end of the step.
#[derive(Serialize, ToSchema)]
pub struct OnlineShown {
    peak: u64,
    last: u64,
}

/// How the circuit of a webhook's deliveries stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Circuit)]
pub struct CircuitShown {
    /// `closed`, `open` or `probing`.
    state: &'static str,
    /// When the next attempt goes out, where it is open.
    #[schema(required)]
    probe_at: Option<i64>,
    /// Until when the endpoint asked to be left alone.
    #[schema(required)]
    paused_until: Option<i64>,
    failures_in_row: u32,
    in_flight_max: usize,
}

/// How the circuit of `before_message` stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookCircuitShown {
    /// `closed` or `open`.
    state: &'static str,
    /// From when on a message asks it again, where it is open.
    #[schema(required)]
    probe_at: Option<i64>,
}

/// A turn of a circuit.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Turn)]
pub struct TurnShown {
    id: String,
    /// `deliveries` or `before_message`.
    circuit: String,
    /// `opened`, `probe_failed`, `closed`, `paused` or `switched_off`.
    turn: String,
    /// The outcome that made it, or `patience`, `changed`, `gone`, `failing`, `backlog`.
    cause: String,
    at: i64,
    /// Probes that failed one after the other are one turn: how many they are.
    times: u64,
    /// When the last of several failed; its outcome is the cause.
    #[schema(required)]
    last_at: Option<i64>,
}

/// What waits for a webhook now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BacklogShown {
    count: u64,
    bytes: i64,
    /// With more it is switched off.
    bytes_max: i64,
    #[schema(required)]
    oldest_at: Option<i64>,
}

/// Why a webhook needs a person.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Need)]
pub struct NeedShown {
    webhook: String,
    /// `switched_off`, `backlog`, `failing`, `circuit_open`, `before_message`, `unsent`, `waits_long`,
    /// `waits_while_disabled` or `rotation`.
    kind: &'static str,
    /// Nothing is wrong; it is only not finished.
    is_mild: bool,
    sentence: String,
    cure: String,
    /// The outcome of an attempt, or the cause of a silence, that is behind it, where one is known.
    #[schema(required)]
    cause: Option<String>,
    /// Since when, or of a rotation until when, where that is known.
    #[schema(required)]
    since: Option<i64>,
}

/// Shows how an app fares, step by step
#[utoipa::path(
    get, path = "/apps/{appId}/stats", tag = "history",
    params(SeriesQuery),
    responses((status = 200, description = "What was counted", body = Data<AppStats>)),
)]
pub async fn get_app_stats(State(api): State<Arc<Api>>, Ids(app): Ids<String>, params: Params) -> Answer {
    let health = api.engine.app_health(&app_id(&app)?, window(&params)?).await?;
    Ok(data(AppStats::of(&health)))
}

/// Shows how a webhook and its endpoint fare
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/health", tag = "history",
    params(SeriesQuery),
    responses((status = 200, description = "What was counted, and how its circuits stand", body = Data<HealthShown>)),
)]
pub async fn get_endpoint_health(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let health = api.engine.endpoint_health(&app, &webhook, window(&params)?).await?;
    Ok(data(HealthShown::of(&health)))
}

/// Lists how the circuits of a webhook turned
#[utoipa::path(
    get, path = "/apps/{appId}/webhooks/{webhookId}/circuit", tag = "history",
    params(ListQuery),
    responses(
        (status = 200, description = "A part of the turns, the newest first", body = Listed<TurnShown>)
    ),
)]
pub async fn list_circuit_history(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let limit = limit(&params)?;
    let turns = api.engine.circuit_history(&app, &webhook, row_cursor(&params)?, limit + 1).await?;
    Ok(rows_with_cursor(turns, limit, |turn| turn.row, TurnShown::of))
}

fn window(params: &Params) -> Result<Window, Refusal> {
    let minutes = params.number("minutes", 1, MINUTES_MAX)?.unwrap_or(MINUTES_DEFAULT);
    let step = match params.text("step") {
        None => None,
        Some("60") => Some(Step::Minute),
        Some("600") => Some(Step::TenMinutes),
        Some(_) => {
            return Err(Refusal::field(Code::BadRequest, "step", "must be 60 or 600, in seconds"));
        }
    };
    Window::of(minutes, step)
}

impl AppStats {
    fn of(health: &AppHealth) -> Self {
        let standings = || health.webhooks.iter().filter_map(|webhook| webhook.standing.as_ref());
        let sum = |of: fn(&Standing) -> u64| standings().map(of).sum::<u64>();
        Self {
            series: SeriesShown::of(&health.series),
            now: AppNow {
                online: health.online,
                waiting: sum(|standing| standing.waiting),
                failing: sum(|standing| u64::from(standing.failing_since.is_some())),
            },
            needs: health.needs.iter().map(NeedShown::of).collect(),
        }
    }
}

impl HealthShown {
    fn of(health: &EndpointHealth) -> Self {
        let standing = health.now.standing.as_ref();
        Self {
            series: SeriesShown::of(&health.series),
            circuit: health.now.circuit.as_ref().map(CircuitShown::of),
            before_message_circuit: HookCircuitShown {
                state: if health.now.hook.probe_at.is_some() { "open" } else { "closed" },
                probe_at: health.now.hook.probe_at.map(Time::seconds),
            },
            circuit_history: health.turns.iter().map(TurnShown::of).collect(),
            waiting: standing.map(|standing| BacklogShown {
                count: standing.waiting,
                bytes: standing.waiting_bytes,
                bytes_max: standing.waiting_bytes_max,
                oldest_at: standing.oldest_waiting_at.map(Time::seconds),
            }),
            failing_since: standing.and_then(|standing| standing.failing_since).map(Time::seconds),
            needs: health.needs.iter().map(NeedShown::of).collect(),
        }
    }
}

impl SeriesShown {
    fn of(series: &Series) -> Self {
        let point =
            |(at, tally): &(Time, Tally)| PointShown { at: at.seconds(), tally: TallyShown::of(tally) };
        Self {
            step_seconds: series.step.ms() / 1_000,
            since: series.since.seconds(),
            until: series.until.seconds(),
            series: series.points.iter().map(point).collect(),
            total: TallyShown::of(&series.total),
        }
    }
}

impl TallyShown {
    fn of(tally: &Tally) -> Self {
        let us = |span| tally.span(span).percentiles().map(PercentilesShown::from);
        Self {
            messages: tally.of(Count::Messages),
            delivered: tally.of(Count::Delivered),
            unsent: tally.of(Count::Unsent),
            attempts: AttemptsCounted {
                count: tally.attempts(),
                succeeded: tally.of(Count::Succeeded),
                failures: tally.failures().map(|(cause, count)| (cause.name(), count)).collect(),
                total_us: us(Span::Attempt),
            },
            to_delivered_us: us(Span::ToDelivered),
            before_message: AskedCounted {
                pass: tally.of(Count::Passed),
                inject: tally.of(Count::Injected),
                replace: tally.of(Count::Replaced),
                drop: tally.of(Count::Dropped),
                silent: tally.of(Count::Silent),
                took_us: us(Span::Asked),
            },
            online: tally.online().map(|online| OnlineShown { peak: online.peak, last: online.last }),
        }
    }
}

impl CircuitShown {
    fn of(circuit: &CircuitNow) -> Self {
        Self {
            state: circuit.state.as_str(),
            probe_at: circuit.probe_at.map(Time::seconds),
            paused_until: circuit.paused_until.map(Time::seconds),
            failures_in_row: circuit.failures_in_row,
            in_flight_max: circuit.allowed,
        }
    }
}

impl TurnShown {
    fn of(turn: &KeptTurn) -> Self {
        Self {
            id: turn.row.to_string(),
            circuit: turn.party.clone(),
            turn: turn.kind.clone(),
            cause: turn.cause.clone(),
            at: turn.at.seconds(),
            times: turn.times,
            last_at: turn.last_at.map(Time::seconds),
        }
    }
}

impl NeedShown {
    fn of(need: &Need) -> Self {
        Self {
            webhook: need.webhook.to_string(),
            kind: need.kind.as_str(),
            is_mild: need.kind.is_mild(),
            sentence: need.sentence.clone(),
            cure: need.cure.clone(),
            cause: need.cause.clone(),
            since: need.since.map(Time::seconds),
        }
    }
}
