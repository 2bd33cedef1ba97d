//! An app at a glance: which webhooks need a person, first; then how much happens and how fast.

use askama::Template;
use axum::routing::get;
use chathook_domain::delivery::Status;
use chathook_domain::tally::{Count, Span};
use chathook_engine::health::{AppHealth, Series, WebhookHealth};

use super::Routes;
use super::figures::{Chart, NeedLine, Shown, Tile, float, share, silence_tile};
use super::page::{Answer, Page, PageParams, Section, Visit, render};
use super::paths::Paths;
use super::plot::{Plot, duration, number};
use super::state::State;
use crate::api::extract::Ids;

pub fn routes() -> Routes {
    Routes::new().route("/apps/{app_id}/overview", get(show_overview))
}

#[derive(Template)]
#[template(path = "dashboard/overview.html")]
struct OverviewPage {
    page: Page,
    app_url: String,
    shown: Shown,
    needs: Vec<NeedLine>,
    tiles: Vec<Tile>,
    plots: Vec<Plot>,
    webhooks: Vec<WebhookLine>,
    /// Nothing was ever sent in this span.
    is_quiet: bool,
}

/// A webhook with what came of its last day.
struct WebhookLine {
    id: String,
    url: String,
    state: State,
    delivered: String,
    success: String,
    p90: String,
    waiting: String,
    waiting_url: String,
    something_waits: bool,
    /// How many calls of `before_message` were silent; `None` where there were none.
    silent: Option<String>,
    silent_url: String,
}

async fn show_overview(visit: Visit, Ids(app): Ids<String>, params: PageParams) -> Answer {
    let app = visit.app(&app).await?;
    let shown = Shown::of(&params);
    let health = visit.engine().app_health(&app.id, shown.window()?).await?;
    let page = visit.page_of(&app, Section::Overview, "Overview").await?;
    let app_url = page.app_url();
    let paths = Paths::of(&app);
    let needs = health.needs.iter().map(|need| NeedLine::of(need, &paths)).collect();
    let webhooks = health.webhooks.iter().map(|webhook| WebhookLine::of(webhook, &paths)).collect();
    let total = &health.series.total;
    let is_quiet = total.of(Count::Messages) == 0 && total.attempts() == 0 && total.asked() == 0;
    let (tiles, plots) = (tiles(&health, shown), plots(&health.series));
    render(&OverviewPage { page, app_url, shown, needs, tiles, plots, webhooks, is_quiet })
}

fn tiles(health: &AppHealth, shown: Shown) -> Vec<Tile> {
    let total = &health.series.total;
    let span = match shown {
        Shown::Hour => "in the last hour",
        Shown::Day => "in the last day",
    };
    let standings = || health.webhooks.iter().filter_map(|webhook| webhook.standing.as_ref());
    let waiting: u64 = standings().map(|standing| standing.waiting).sum();
    let failing = standings().filter(|standing| standing.failing_since.is_some()).count();
    let unsent = total.of(Count::Unsent);
    let failed_note = if unsent > 0 { format!("{unsent} ended unsent {span}") } else { span.to_owned() };
    let latency = total.span(Span::ToDelivered).percentiles();
    let p99 = latency.map_or_else(
        || "nothing delivered".to_owned(),
        |p| format!("p90 {}, p99 {}", duration(float(p.p90)), duration(float(p.p99))),
    );
    let mut tiles = vec![
        Tile::new("Messages", number(float(total.of(Count::Messages))), span),
        Tile::new("Delivered", number(float(total.of(Count::Delivered))), span),
        Tile::new(
            "Attempts that succeeded",
            share(total.of(Count::Succeeded), total.attempts()),
            &failed_note,
        )
        .bad_if(unsent > 0),
        Tile::new(
            "Message to delivery, half within",
            latency.map_or_else(|| "–".to_owned(), |p| duration(float(p.p50))),
            &p99,
        ),
        Tile::new(
            "Waiting",
            number(float(waiting)),
            &match failing {
                0 => "no webhook failing".to_owned(),
                1 => "one webhook failing".to_owned(),
                _ => format!("{failing} webhooks failing"),
            },
        )
        .bad_if(failing > 0),
        Tile::new("Users online", number(float(health.online)), "now"),
    ];
    tiles.extend(silence_tile(total));
    tiles
}

fn plots(series: &Series) -> Vec<Plot> {
    let chart = Chart::of(series);
    let mut plots = vec![chart.rates(), chart.attempts(), chart.latency(Span::ToDelivered), chart.online()];
    if series.total.span(Span::Asked).count() > 0 {
        plots.extend([chart.verdicts(), chart.latency(Span::Asked)]);
    }
    plots
}

impl WebhookLine {
    fn of(health: &WebhookHealth, paths: &Paths) -> Self {
        let WebhookHealth { webhook, standing, day, .. } = health;
        let id = webhook.id.as_str();
        let (asked, silent) = (day.asked(), day.of(Count::Silent));
        let waiting = standing.as_ref().map_or_else(String::new, |standing| number(float(standing.waiting)));
        let p90 = day.span(Span::ToDelivered).percentiles();
        Self {
            id: webhook.id.to_string(),
            url: paths.health(id),
            state: State::of(health),
            delivered: number(float(day.of(Count::Delivered))),
            success: share(day.of(Count::Succeeded), day.attempts()),
            p90: p90.map_or_else(|| "–".to_owned(), |p| duration(float(p.p90))),
            waiting,
            something_waits: standing.as_ref().is_some_and(|standing| standing.waiting > 0),
            waiting_url: paths.deliveries(id, Some(Status::Waiting)),
            silent: (asked > 0).then(|| format!("{} of {}", number(float(silent)), number(float(asked)))),
            silent_url: paths.silent_calls(id),
        }
    }
}
