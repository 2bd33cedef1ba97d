//! How one endpoint fares: its success rate, how long it takes, why attempts fail, and its circuit with its history.

use askama::Template;
use axum::routing::get;
use chathook_domain::delivery::Status;
use chathook_domain::listener::place;
use chathook_domain::needs::WAITS_LONG_MS;
use chathook_domain::tally::{Cause, Count, Span, Tally};
use chathook_domain::trigger::Trigger;
use chathook_domain::turn::Party;
use chathook_domain::webhook::{OnFailure, Webhook};
use chathook_engine::health::{CircuitState, EndpointHealth};
use chathook_engine::ports::history::Figures;
use chathook_engine::ports::tallies::KeptTurn;

use super::Routes;
use super::figures::{Chart, NeedLine, Shown, Tile, float, said, share, silence_tile};
use super::moment::Moment;
use super::page::{Answer, Page, PageParams, Section, Visit, render};
use super::paths::{HookLink, HookPart, Paths};
use super::plot::{Plot, duration, number};
use super::state::State;
use super::told::Told;
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
    links: Vec<HookLink>,
    needs: Vec<NeedLine>,
    state: State,
    tiles: Vec<Tile>,
    plots: Vec<Plot>,
    /// Of what is delivered to it, where it is told of anything.
    told: Option<ToldPart>,
    /// Of `before_message`, where it is asked.
    asked: Option<AskedPart>,
    turns: Vec<TurnLine>,
    is_quiet: bool,
}

struct ToldPart {
    causes: Vec<CauseLine>,
    /// `None` where nothing was sent since the start, or what waits is still looked at.
    circuit: Option<CircuitLine>,
    something_waits: bool,
    waiting_url: String,
    failed_url: String,
}

struct AskedPart {
    silences: Vec<(Told, u64)>,
    is_cut: bool,
    drops_on_failure: bool,
    probe_at: Option<Moment>,
    silences_in_row: u32,
    silent_url: String,
}

struct CauseLine {
    name: &'static str,
    count: u64,
    share: String,
    told: Told,
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
    cause: Told,
}

async fn show_health(visit: Visit, Ids((app, webhook)): Ids<(String, String)>, params: PageParams) -> Answer {
    let app = visit.app(&app).await?;
    let (_, id) = webhook_ids(app.id.as_str(), &webhook)?;
    let shown = Shown::of(&params);
    let window = shown.window()?;
    let health = visit.engine().endpoint_health(&app.id, &id, window).await?;
    let webhook = &health.now.webhook;
    let paths = Paths::of(&app);
    let page = visit.page_of(&app, Section::Webhooks, "Health").await?;
    let page = page.under(&webhook.config.name, &paths.webhook(id.as_str()));
    let (is_told, is_asked) = (is_told(&health), is_asked(&health));
    // Its causes of silence are read call by call, so of those alone that are asked.
    let asked = if is_asked {
        let (figures, _) = visit.engine().figures(&app.id, &id, window.minutes).await?;
        Some(AskedPart::of(&health, &figures, &paths))
    } else {
        None
    };
    render(&HealthPage {
        webhook: id.to_string(),
        endpoint: place(&webhook.config.url).to_owned(),
        shown,
        links: paths.hook_links(webhook, HookPart::Health),
        needs: health.needs.iter().map(|need| NeedLine::of(need, &paths)).collect(),
        state: State::of(&health.now),
        tiles: tiles(&health, is_told),
        plots: plots(&health),
        told: is_told.then(|| ToldPart::of(&health, &paths)),
        asked,
        turns: health.turns.iter().map(TurnLine::of).collect(),
        is_quiet: health.series.total.attempts() == 0 && health.series.total.asked() == 0,
        page,
    })
}

fn listens(webhook: &Webhook, is_meant: impl Fn(Trigger) -> bool) -> bool {
    webhook.triggers.iter().any(|trigger| is_meant(*trigger))
}

/// Whether anything is delivered to it, or was, or it hears of nothing at all.
fn is_told(health: &EndpointHealth) -> bool {
    let webhook = &health.now.webhook;
    let waits = health.now.standing.as_ref().is_some_and(|standing| standing.waiting > 0);
    listens(webhook, |trigger| trigger != Trigger::BeforeMessage)
        || webhook.triggers.is_empty()
        || health.series.total.attempts() > 0
        || waits
}

fn is_asked(health: &EndpointHealth) -> bool {
    listens(&health.now.webhook, |trigger| trigger == Trigger::BeforeMessage)
        || health.series.total.asked() > 0
}

/// Those that have something to draw.
fn plots(health: &EndpointHealth) -> Vec<Plot> {
    let (chart, total) = (Chart::of(&health.series), &health.series.total);
    let mut plots = Vec::new();
    if total.asked() > 0 {
        plots.extend([chart.verdicts(), chart.latency(Span::Asked)]);
    }
    if total.attempts() > 0 {
        plots.push(chart.attempts());
        let spans = [Span::ToDelivered, Span::Attempt].into_iter();
        plots.extend(spans.filter(|span| total.span(*span).count() > 0).map(|span| chart.latency(span)));
    }
    plots
}

/// The figure below which half stay, and a note of those above.
fn took(total: &Tally, span: Span) -> (String, String) {
    total.span(span).percentiles().map_or_else(
        || ("–".to_owned(), "nothing measured".to_owned()),
        |p| {
            let note = format!("p90 {}, p99 {}", duration(float(p.p90)), duration(float(p.p99)));
            (duration(float(p.p50)), note)
        },
    )
}

fn tiles(health: &EndpointHealth, is_told: bool) -> Vec<Tile> {
    let total = &health.series.total;
    let mut tiles = Vec::new();
    if let Some(silence) = silence_tile(total) {
        let (asked, note) = took(total, Span::Asked);
        tiles.extend([silence, Tile::new("before_message, half within", asked, &note)]);
    }
    if is_told {
        tiles.extend(told_tiles(health));
    }
    tiles
}

fn told_tiles(health: &EndpointHealth) -> Vec<Tile> {
    let total = &health.series.total;
    let unsent = total.of(Count::Unsent);
    let attempts = format!("of {} attempts", number(float(total.attempts())));
    let (attempt, attempt_note) = took(total, Span::Attempt);
    let (delivered, delivered_note) = took(total, Span::ToDelivered);
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

impl ToldPart {
    fn of(health: &EndpointHealth, paths: &Paths) -> Self {
        let id = health.now.webhook.id.as_str();
        Self {
            causes: causes(health),
            circuit: circuit(health),
            something_waits: health.now.standing.as_ref().is_some_and(|standing| standing.waiting > 0),
            waiting_url: paths.deliveries(id, Some(Status::Waiting)),
            failed_url: paths.deliveries(id, Some(Status::Failed)),
        }
    }
}

impl AskedPart {
    fn of(health: &EndpointHealth, figures: &Figures, paths: &Paths) -> Self {
        let webhook = &health.now.webhook;
        Self {
            silences: Told::of_counts(&figures.silences),
            is_cut: figures.is_cut,
            drops_on_failure: webhook.config.on_failure == OnFailure::Drop,
            probe_at: health.now.hook.probe_at.map(Moment),
            silences_in_row: health.now.hook.silences_in_row,
            silent_url: paths.silent_calls(webhook.id.as_str()),
        }
    }
}

fn causes(health: &EndpointHealth) -> Vec<CauseLine> {
    let total = &health.series.total;
    let line = |(cause, count): (Cause, u64)| CauseLine {
        name: said(cause),
        count,
        share: share(count, total.failed()),
        told: Told::of(cause.name()),
    };
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
        let is_of_hook = turn.party == Party::BeforeMessage.as_str();
        let party = if is_of_hook { "before_message" } else { "deliveries" };
        let last_at = turn.last_at.map(Moment);
        Self { at: Moment(turn.at), last_at, tone, says, party, cause: Told::of(&turn.cause) }
    }
}
