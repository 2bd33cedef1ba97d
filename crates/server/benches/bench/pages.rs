//! Every page of the dashboard, and the listings behind them, on a store with a million deliveries.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};

use crate::bench::Bench;
use crate::line::Line;
use crate::past;
use crate::server::{KEY, SECRET};
use crate::spread::Spread;
use crate::stock::Stock;

pub const DEFINITION: &str = "\
pages (--full only)
  The dashboard on 1,000,000 deliveries: from the sending of the request to the end of the page, one after
  the other on one connection. The store holds 40,000 messages, each owed to 25 webhooks of which each has
  2,000 deliveries waiting, 40,000 calls of before_message, 52,000 users and a day of counters. First looks
  are made right after the start, in the order of the list; then each page is loaded 30 times.";

const LOADS: usize = 30;
const APP: &str = "/dashboard/apps/bench";
const MANAGED: &str = "/apps/bench";

/// What is loaded, by name and path below the app's own.
const PAGES: [(&str, &str); 26] = [
    ("overview", "/overview"),
    ("overview, a day", "/overview?span=day"),
    ("webhooks", "/webhooks"),
    ("a webhook", "/webhooks/hook-07"),
    ("health", "/webhooks/hook-07/health"),
    ("health, a day", "/webhooks/hook-07/health?span=day"),
    ("deliveries", "/deliveries"),
    ("deliveries, none fits", "/deliveries?status=cancelled"),
    ("deliveries of one", "/deliveries?webhook=hook-07"),
    ("deliveries of one, failed", "/deliveries?webhook=hook-07&status=failed"),
    ("deliveries of one, none fits", "/deliveries?webhook=hook-07&status=expired"),
    ("deliveries of one, a lane", "/deliveries?webhook=hook-07&key=user-00000_user_user-00001"),
    ("a delivery", "/webhooks/hook-07/deliveries/20000"),
    ("a delivery that waits", "/webhooks/hook-07/deliveries/39000"),
    ("replays", "/webhooks/hook-07/replays"),
    ("before_message", "/before-message?webhook=hook-07"),
    ("before_message, silent", "/before-message?webhook=hook-07&verdict=silent"),
    ("messages", "/messages"),
    ("a message", "/messages/20000"),
    ("people", "/people"),
    ("people, none fits", "/people?search=nobody"),
    ("people online", "/people?online=true"),
    ("a person", "/people/user-00000"),
    ("conversations", "/conversations"),
    ("a conversation", "/conversations/user-00000_user_user-00001"),
    ("settings", "/settings"),
];

/// The same over the API.
const LISTINGS: [(&str, &str); 9] = [
    ("GET stats", "/stats?minutes=1440"),
    ("GET health", "/webhooks/hook-07/health?minutes=1440"),
    ("GET webhook stats", "/webhooks/hook-07/stats?minutes=1440"),
    ("GET deliveries", "/webhooks/hook-07/deliveries?limit=100"),
    ("GET deliveries, none fits", "/webhooks/hook-07/deliveries?status=expired&limit=100"),
    ("GET events", "/webhooks/hook-07/events?after=20000&limit=100"),
    ("GET calls", "/webhooks/hook-07/calls?limit=100"),
    ("GET timeline", "/messages/20000/timeline"),
    ("GET notices", "/notices?limit=100"),
];

/// One page's times.
pub struct Page {
    pub name: &'static str,
    pub first_us: u64,
    pub times: Spread,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Page>> {
    let home = bench.home()?;
    let stock = Arc::new(Stock::make(&home.data_dir()).await?);
    past::write(&stock).await?;
    // Closing the store takes its log into the database, as a server's stop does.
    drop(stock);
    let server = home.start().await?;
    let mut line = Line::open(server.address).await?;
    let cookie = log_in(&mut line).await?;
    let pages = PAGES.iter().map(|(name, path)| (*name, format!("{APP}{path}")));
    let all: Vec<_> = std::iter::once(("apps", "/dashboard".to_owned()))
        .chain(pages)
        .chain(LISTINGS.iter().map(|(name, path)| (*name, format!("{MANAGED}{path}"))))
        .collect();
    let mut measured = Vec::new();
    for (name, path) in &all {
        measured.push((*name, load(&mut line, &cookie, path).await?, Vec::new()));
    }
    for _ in 0..LOADS {
        for ((_, path), (.., times)) in all.iter().zip(&mut measured) {
            times.push(load(&mut line, &cookie, path).await?);
        }
    }
    let page = |(name, first_us, times)| Page { name, first_us, times: Spread::of(times) };
    Ok(measured.into_iter().map(page).collect())
}

async fn log_in(line: &mut Line) -> Result<String> {
    let form = format!("key={KEY}&secret={SECRET}&next=/dashboard");
    let request = Request::post("/dashboard/login")
        .header("host", "bench")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))?;
    let (head, _) = line.call(request).await?;
    ensure!(head.status == StatusCode::SEE_OTHER, "the log-in was answered with {}", head.status);
    let cookie = head.headers.get("set-cookie").context("a session has a cookie")?.to_str()?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

/// Microseconds.
async fn load(line: &mut Line, cookie: &str, path: &str) -> Result<u64> {
    let request = Request::get(path)
        .header("host", "bench")
        .header("cookie", cookie)
        .header("key", KEY)
        .header("secret", SECRET)
        .body(Full::default())?;
    let sent = Instant::now();
    let (head, body) = line.call(request).await?;
    let took = u64::try_from(sent.elapsed().as_micros())?;
    ensure!(head.status == StatusCode::OK, "{path} was answered with {}", head.status);
    ensure!(!body.is_empty(), "{path} is empty");
    Ok(took)
}
