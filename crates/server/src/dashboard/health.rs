//! How one endpoint fares: its success rate, how long it takes, why attempts fail, and its circuit with its history.

use askama::Template;
use axum::routing::get;
use chathook_domain::listener::place;
use chathook_domain::needs::WAITS_LONG_MS;
use chathook_domain::tally::{Count, Span};
use chathook_engine::health::{CircuitState, EndpointHealth};
use chathook_engine::ports::tallies::KeptTurn;

use super::Routes;
use super::figures::{Chart, NeedLine, Shown, Tile, float, said, share};
use super::moment::Moment;
use super::overview::state_of;
use super::page::{Answer, Page, PageParams, Section, Visit, render};
use super::plot::{Plot, duration, number};
use crate::api::extract::{Ids, webhook_ids};

pub fn routes() -> Routes {
    Routes::new().route("/apps/{app_id}/webhooks/{webhook_id}/health", get(show_health))
}

#[derive(Template)]
#[template(path = "dashboard/health.html")]
struct HealthPage {
    page: Page,
    webhook: String,
    endpoint: String,
    shown: Shown,
    needs: Vec<NeedLine>,
    tone: &'static str,
    state: &'static str,
    tiles: Vec<Tile>,
    plots: Vec<Plot>,
    causes: Vec<CauseLine>,
    circuit: Option<CircuitLine>,
    /// When the next message asks it, where the circuit of `before_message` is open.
    hook_probe_at: Option<Moment>,
    turns: Vec<TurnLine>,
    is_quiet: bool,
}

struct CauseLine {
    name: &'static str,
    count: u64,
    share: String,
}

struct CircuitLine {
    state: &'static str,
    tone: &'static str,
    says: &'static str,
    probe_at: Option<Moment>,
    paused_until: Option<Moment>,
    failures_in_row: u32,
    allowed: usize,
}

struct TurnLine {
    at: Moment,
    /// Where it is several, when the last was.
    last_at: Option<Moment>,
    tone: &'static str,
    says: String,
    party: &'static str,
    cause: String,
}

async fn show_health(visit: Visit, Ids((app, webhook)): Ids<(String, String)>, params: PageParams) -> Answer {
    let app = visit.app(&app).await?;
    let (_, id) = webhook_ids(app.id.as_str(), &webhook)?;
    let shown = Shown::of(&params);
    let health = visit.engine().endpoint_health(&app.id, &id, shown.window()?).await?;
    let title = format!("Health of {id}");
    let page = visit.page_of(&app, Section::Webhooks, &title).await?;
    let app_url = page.app_url();
    let (tone, state) = state_of(&health.now);
    let total = &health.series.total;
    let chart = Chart::of(&health.series);
    let mut plots = vec![chart.attempts(), chart.latency(Span::ToDelivered), chart.latency(Span::Attempt)];
    let is_asked = total.span(Span::Asked).count() > 0;
    if is_asked {
        plots.extend([chart.verdicts(), chart.latency(Span::Asked)]);
    }
    render(&HealthPage {
        webhook: id.to_string(),
        endpoint: place(&health.now.webhook.config.url).to_owned(),
        shown,
        needs: health.needs.iter().map(|need| NeedLine::of(need, &app_url)).collect(),
        tone,
        state,
        tiles: tiles(&health),
        plots,
        causes: causes(&health),
        circuit: circuit(&health),
        hook_probe_at: health.hook_probe_at.map(Moment),
        turns: health.turns.iter().map(TurnLine::of).collect(),
        is_quiet: total.attempts() == 0 && !is_asked,
        page,
    })
}

fn tiles(health: &EndpointHealth) -> Vec<Tile> {
    let total = &health.series.total;
    let unsent = total.of(Count::Unsent);
    let attempts = format!("of {} attempts", number(float(total.attempts())));
    let took = |span| {
        total.span(span).percentiles().map_or_else(
            || ("–".to_owned(), "nothing measured".to_owned()),
            |p| {
                (
                    duration(float(p.p50)),
                    format!("p90 {}, p99 {}", duration(float(p.p90)), duration(float(p.p99))),
                )
            },
        )
    };
    let (attempt, attempt_note) = took(Span::Attempt);
    let (delivered, delivered_note) = took(Span::ToDelivered);
    let mut tiles = vec![
        Tile::new("Success rate", share(total.of(Count::Succeeded), total.attempts()), &attempts)
            .bad_if(total.failed() * 20 > total.attempts()),
        Tile::new("Delivered", number(float(total.of(Count::Delivered))), &format!("{unsent} ended unsent"))
            .bad_if(unsent > 0),
        Tile::new("An attempt, half within", attempt, &attempt_note),
        Tile::new("Message to delivery, half within", delivered, &delivered_note),
    ];
    if let Some(standing) = &health.now.standing {
        let waiting = number(float(standing.waiting));
        let oldest = standing.oldest_waiting_at.map(|at| (health.series.until.ms - at.ms).max(0));
        let note = oldest.map_or_else(
            || "nothing waits".to_owned(),
            |ms| format!("the oldest for {}", duration(float(ms.cast_unsigned()) * 1e3)),
        );
        tiles.push(Tile::new("Waiting", waiting, &note).bad_if(oldest.is_some_and(|ms| ms > WAITS_LONG_MS)));
    }
    tiles
}

fn causes(health: &EndpointHealth) -> Vec<CauseLine> {
    let total = &health.series.total;
    let line = |(cause, count)| CauseLine { name: said(cause), count, share: share(count, total.failed()) };
    let mut lines: Vec<CauseLine> = total.failures().map(line).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.count));
    lines
}

fn circuit(health: &EndpointHealth) -> Option<CircuitLine> {
    let circuit = health.now.circuit?;
    let (state, tone, says) = match circuit.state {
        CircuitState::Closed => ("closed", "good", "Deliveries go out."),
        CircuitState::Open => {
            ("open", "bad", "Deliveries wait, in order; nothing is lost. One is tried from time to time.")
        }
        CircuitState::Probing => {
            ("probing", "warn", "One delivery is on its way to see whether it works again.")
        }
    };
    Some(CircuitLine {
        state,
        tone,
        says,
        probe_at: circuit.probe_at.map(Moment),
        paused_until: circuit.paused_until.map(Moment),
        failures_in_row: circuit.failures_in_row,
        allowed: circuit.allowed,
    })
}

impl TurnLine {
    fn of(turn: &KeptTurn) -> Self {
        let (tone, says) = match (turn.kind.as_str(), turn.times) {
            ("opened", _) => ("bad", "opened".to_owned()),
            ("probe_failed", 1) => ("warn", "probe failed".to_owned()),
            ("probe_failed", times) => ("warn", format!("{times} probes failed")),
            ("closed", _) => ("good", "closed".to_owned()),
            ("paused", _) => ("warn", "paused".to_owned()),
            _ => ("bad", "switched off".to_owned()),
        };
        let party = if turn.party == "before_message" { "before_message" } else { "deliveries" };
        let cause = match turn.cause.as_str() {
            "patience" => "a delivery failed for as long as the patience".to_owned(),
            "changed" => "a person changed the webhook".to_owned(),
            other => other.replace('_', " "),
        };
        Self { at: Moment(turn.at), last_at: turn.last_at.map(Moment), tone, says, party, cause }
    }
}
