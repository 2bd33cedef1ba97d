//! How an app and an endpoint fare: counters over time, circuits and their history, and who needs a person.

use std::sync::Arc;

use axum::extract::State;
use chathook_domain::ids::Time;
use chathook_domain::needs::Need;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::tally::{Count, Span, Step, Tally};
use chathook_engine::health::{AppHealth, CircuitNow, EndpointHealth, Series, Window};
use chathook_engine::ports::tallies::{KeptTurn, Standing};
use serde_json::{Map, Value, json};

use super::Api;
use super::extract::{Ids, Params, app_id, webhook_ids};
use super::lists::{Answer, data, limit, row_cursor, rows_with_cursor};

const MINUTES_DEFAULT: i64 = 60;
/// A week.
const MINUTES_MAX: i64 = 7 * 24 * 60;

pub async fn get_app_stats(State(api): State<Arc<Api>>, Ids(app): Ids<String>, params: Params) -> Answer {
    let health = api.engine.app_health(&app_id(&app)?, window(&params)?).await?;
    Ok(data(app_to_json(&health)))
}

pub async fn get_endpoint_health(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let health = api.engine.endpoint_health(&app, &webhook, window(&params)?).await?;
    Ok(data(endpoint_to_json(&health)))
}

pub async fn list_circuit_history(
    State(api): State<Arc<Api>>,
    Ids((app, webhook)): Ids<(String, String)>,
    params: Params,
) -> Answer {
    let (app, webhook) = webhook_ids(&app, &webhook)?;
    let limit = limit(&params)?;
    let turns = api.engine.circuit_history(&app, &webhook, row_cursor(&params)?, limit + 1).await?;
    Ok(rows_with_cursor(turns, limit, |turn| turn.row, turn_to_json))
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

fn app_to_json(health: &AppHealth) -> Value {
    let mut value = series_to_json(&health.series);
    let standings = || health.webhooks.iter().filter_map(|webhook| webhook.standing.as_ref());
    let sum = |of: fn(&Standing) -> u64| standings().map(of).sum::<u64>();
    value["now"] = json!({
        "online": health.online,
        "waiting": sum(|standing| standing.waiting),
        "waitingIsMore": standings().any(|standing| standing.waiting_is_cut),
        "failing": sum(|standing| u64::from(standing.failing_since.is_some())),
    });
    value["needs"] = health.needs.iter().map(need_to_json).collect();
    value
}

fn endpoint_to_json(health: &EndpointHealth) -> Value {
    let mut value = series_to_json(&health.series);
    value["circuit"] = health.now.circuit.as_ref().map_or(Value::Null, circuit_to_json);
    value["beforeMessageCircuit"] = match health.hook_probe_at {
        None => json!({"state": "closed", "probeAt": null}),
        Some(at) => json!({"state": "open", "probeAt": at.seconds()}),
    };
    value["circuitHistory"] = health.turns.iter().map(turn_to_json).collect();
    if let Some(standing) = &health.now.standing {
        value["waiting"] = json!({
            "count": standing.waiting, "isMore": standing.waiting_is_cut,
            "bytes": standing.waiting_bytes, "bytesMax": standing.waiting_bytes_max,
            "oldestAt": standing.oldest_waiting_at.map(Time::seconds),
        });
        value["failingSince"] = json!(standing.failing_since.map(Time::seconds));
    }
    value["needs"] = health.needs.iter().map(need_to_json).collect();
    value
}

fn series_to_json(series: &Series) -> Value {
    let point = |(at, tally): &(Time, Tally)| {
        let mut value = tally_to_json(tally);
        value["at"] = json!(at.seconds());
        value
    };
    json!({
        "stepSeconds": series.step.ms() / 1_000,
        "since": series.since.seconds(), "until": series.until.seconds(),
        "series": series.points.iter().map(point).collect::<Vec<_>>(),
        "total": tally_to_json(&series.total),
    })
}

fn tally_to_json(tally: &Tally) -> Value {
    let failures: Map<String, Value> =
        tally.failures().map(|(cause, count)| (cause.name().to_owned(), json!(count))).collect();
    let us = |span| {
        let percentiles = tally.span(span).percentiles();
        percentiles.map_or(Value::Null, |p| json!({"p50": p.p50, "p90": p.p90, "p99": p.p99}))
    };
    json!({
        "messages": tally.of(Count::Messages),
        "delivered": tally.of(Count::Delivered),
        "unsent": tally.of(Count::Unsent),
        "attempts": {
            "count": tally.attempts(), "succeeded": tally.of(Count::Succeeded), "failures": failures,
            "totalUs": us(Span::Attempt),
        },
        "toDeliveredUs": us(Span::ToDelivered),
        "beforeMessage": {
            "pass": tally.of(Count::Passed), "inject": tally.of(Count::Injected),
            "replace": tally.of(Count::Replaced), "drop": tally.of(Count::Dropped),
            "silent": tally.of(Count::Silent), "tookUs": us(Span::Asked),
        },
        "online": tally.online().map_or(Value::Null, |o| json!({"peak": o.peak, "last": o.last})),
    })
}

fn circuit_to_json(circuit: &CircuitNow) -> Value {
    json!({
        "state": circuit.state.as_str(),
        "probeAt": circuit.probe_at.map(Time::seconds),
        "pausedUntil": circuit.paused_until.map(Time::seconds),
        "failuresInRow": circuit.failures_in_row,
        "inFlightMax": circuit.allowed,
    })
}

fn turn_to_json(turn: &KeptTurn) -> Value {
    json!({
        "id": turn.row.to_string(), "circuit": turn.party, "turn": turn.kind, "cause": turn.cause,
        "at": turn.at.seconds(),
    })
}

fn need_to_json(need: &Need) -> Value {
    json!({
        "webhook": need.webhook.as_str(), "kind": need.kind.as_str(), "isMild": need.kind.is_mild(),
        "sentence": need.sentence, "cure": need.cure, "since": need.since.map(Time::seconds),
    })
}
