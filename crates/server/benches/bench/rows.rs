//! What was measured, held against what is to be reached. Plain values in, rows of the table out.

use serde::Serialize;

use crate::asks::Asks;
use crate::bare_client::Bare;
use crate::bare_loop::BareLoop;
use crate::crowd::Crowd;
use crate::deliveries::Deliveries;
use crate::kill::{self, Kill};
use crate::latency::Latency;
use crate::load::Sent;
use crate::neighbour::{self, Pair};
use crate::pages::Page;
use crate::sockets::Sockets;
use crate::spread::Spread;
use crate::start::Start;
use crate::waiting::Waiting;

/// Everything that a run may measure; `None` was not asked for, or could not be measured.
#[derive(Default)]
pub struct Measured {
    pub bare_before: Option<Bare>,
    pub bare_after: Option<Bare>,
    pub bare_loop: Option<BareLoop>,
    pub sends: Option<Sent>,
    pub one: Option<Deliveries>,
    pub ten: Option<Deliveries>,
    pub latency: Option<Latency>,
    pub asks_instant: Option<Asks>,
    pub asks_waiting: Option<Asks>,
    pub pairs: Option<Vec<Pair>>,
    pub crowd: Option<Crowd>,
    pub sockets: Option<Sockets>,
    pub start: Option<Start>,
    pub waiting: Option<Waiting>,
    pub pages: Option<Vec<Page>>,
    pub kills: Option<Vec<Kill>>,
}

/// One row of the table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub figure: String,
    pub measured: String,
    pub bar: String,
    /// The figure as a part of the limit, where it has one.
    pub ratio: Option<f64>,
    /// `None` where nothing is to be reached, or nothing is known.
    pub is_reached: Option<bool>,
}

impl Measured {
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        rows.extend(self.one.as_ref().map(|one| self.one_row(one)));
        rows.extend(self.ten.as_ref().map(|ten| self.ten_row(ten)));
        rows.extend(self.sends.as_ref().map(|sends| self.sends_row(sends)));
        rows.extend(self.latency.iter().flat_map(latency_rows));
        rows.extend(self.asks_instant.iter().map(instant_row));
        rows.extend(self.asks_waiting.iter().flat_map(waiting_rows));
        rows.extend(self.pairs.as_deref().map(neighbour_row));
        rows.extend(self.crowd.iter().flat_map(crowd_rows));
        rows.extend(self.one.as_ref().map(|one| cpu_row(one, "one webhook, with ingest", 0.8)));
        rows.extend(self.ten.as_ref().map(|ten| cpu_row(ten, "ten webhooks", 0.35)));
        rows.extend(self.sockets.as_ref().map(socket_row));
        rows.extend(self.start.iter().flat_map(start_rows));
        rows.extend(self.waiting.as_ref().map(waiting_row));
        rows.extend(self.pages.as_deref().and_then(pages_row));
        rows.extend(self.kills.iter().flat_map(|kills| kill_rows(kills)));
        rows
    }

    /// POST/s of the bare client, the mean of before and after.
    pub fn bare_per_s(&self) -> Option<f64> {
        let both: Vec<f64> =
            [&self.bare_before, &self.bare_after].into_iter().flatten().map(|bare| bare.per_s).collect();
        let count = u32::try_from(both.len()).expect("at most two");
        (count > 0).then(|| both.iter().sum::<f64>() / f64::from(count))
    }

    fn one_row(&self, one: &Deliveries) -> Row {
        let ratio = self.bare_per_s().map(|limit| one.per_s() / limit);
        let by_client = self.bare_per_s().map(|limit| limit * 0.2);
        let by_loop = self.bare_loop.as_ref().map(|bare| bare.per_s * 0.6);
        let bar = match (by_client, by_loop) {
            (Some(client), Some(commits)) => Some(client.min(commits)),
            (client, commits) => client.or(commits),
        };
        Row {
            figure: "deliveries/s, one webhook".to_owned(),
            measured: format!("{:.0}/s", one.per_s()),
            bar: bar.map_or_else(unknown, |bar| format!("≥ {bar:.0}/s (20 % of client or 60 % of loop)")),
            ratio,
            is_reached: bar.map(|bar| one.per_s() >= bar),
        }
    }

    fn ten_row(&self, ten: &Deliveries) -> Row {
        let ratio = self.bare_per_s().map(|limit| ten.per_s() / limit);
        Row {
            figure: "deliveries/s, ten webhooks".to_owned(),
            measured: format!("{:.0}/s", ten.per_s()),
            bar: "≥ 40 % of the bare client".to_owned(),
            ratio,
            is_reached: ratio.map(|ratio| ratio >= 0.4),
        }
    }

    fn sends_row(&self, sends: &Sent) -> Row {
        let ratio = self.bare_loop.as_ref().map(|bare| sends.per_s() / bare.per_s);
        Row {
            figure: "durable sends/s, no webhook".to_owned(),
            measured: format!("{:.0}/s", sends.per_s()),
            bar: "≥ 60 % of the bare loop".to_owned(),
            ratio,
            is_reached: ratio.map(|ratio| ratio >= 0.6),
        }
    }
}

fn latency_rows(latency: &Latency) -> Vec<Row> {
    let whole = format!("p50 {}, p99 {}", ms(latency.whole.p50()), ms(latency.whole.p99()));
    let outside = latency.outside_fsync.as_ref();
    let text = |spread: &Spread| format!("p50 {}, p99 {}", ms(spread.p50()), ms(spread.p99()));
    vec![
        Row {
            figure: "send → POST at 100/s, outside fsync".to_owned(),
            measured: outside.map_or_else(not_recorded, text),
            bar: "p50 < 1 ms, p99 < 3 ms".to_owned(),
            ratio: None,
            is_reached: outside.map(|spread| spread.p50() < 1_000 && spread.p99() < 3_000),
        },
        plain("  whole", whole),
        plain("  the sender's answer", text(&latency.answer)),
        plain("  POST after the sender's answer", text(&latency.after_answer)),
    ]
}

fn instant_row(asks: &Asks) -> Row {
    let bare = asks.bare.times.p50();
    let over = asks.recorded.map(|recorded| recorded.p50_us.saturating_sub(bare));
    let measured = match (asks.recorded, over) {
        (Some(recorded), Some(over)) => {
            format!("p50 {}, {over} µs over {}", ms(recorded.p50_us), ms(bare))
        }
        _ => format!("{}; bare p50 {}, sends p50 {}", not_recorded(), ms(bare), ms(asks.sends.p50())),
    };
    Row {
        figure: "before_message, instant sink, 8 callers".to_owned(),
        measured,
        bar: "p50 ≤ 60 µs over the bare client".to_owned(),
        ratio: asks.recorded.map(|recorded| part(recorded.p50_us, bare)),
        is_reached: over.map(|over| over <= 60),
    }
}

fn waiting_rows(asks: &Asks) -> Vec<Row> {
    let bare = &asks.bare.times;
    let row = |name: &str, recorded: Option<u64>, bare: u64, sends: u64, most: f64| {
        let ratio = recorded.map(|recorded| part(recorded, bare));
        Row {
            figure: format!("before_message, sink waits 5 ms, {name}"),
            measured: match recorded {
                Some(recorded) => format!("{} to {}", ms(recorded), ms(bare)),
                None => format!("{}; bare {}, sends {}", not_recorded(), ms(bare), ms(sends)),
            },
            bar: format!("≤ {most} × the bare client"),
            ratio,
            is_reached: ratio.map(|ratio| ratio <= most),
        }
    };
    let p50 = asks.recorded.map(|recorded| recorded.p50_us);
    let p99 = asks.recorded.map(|recorded| recorded.p99_us);
    vec![
        row("p50", p50, bare.p50(), asks.sends.p50(), 1.05),
        row("p99", p99, bare.p99(), asks.sends.p99(), 1.3),
    ]
}

fn neighbour_row(pairs: &[Pair]) -> Row {
    let median = neighbour::median_ratio(pairs);
    let each: Vec<String> = pairs.iter().map(|pair| format!("{:.2}", pair.ratio())).collect();
    let worst = pairs.iter().map(|pair| pair.beside.p99()).max().unwrap_or(0);
    Row {
        figure: "hanging neighbour, healthy p99 beside / alone".to_owned(),
        measured: format!("{median:.2} of {} (worst p99 {})", each.join(" "), ms(worst)),
        bar: "median ≤ 1.25".to_owned(),
        ratio: None,
        is_reached: Some(median <= 1.25),
    }
}

fn crowd_rows(crowd: &Crowd) -> Vec<Row> {
    let each: Vec<String> = crowd
        .pairs
        .iter()
        .map(|pair| format!("{} / {}", ms(pair.beside.p99()), ms(pair.alone.p99())))
        .collect();
    vec![
        plain(
            "answers beside a group of 5,000 online, p99 beside / alone",
            format!("{:.2} ({})", crowd.median_ratio(), each.join(", ")),
        ),
        plain(
            "  a group's message to all 5,000",
            format!("p50 {}, worst {}", ms(crowd.to_all.p50()), ms(crowd.to_all.max())),
        ),
    ]
}

fn cpu_row(deliveries: &Deliveries, name: &str, under: f64) -> Row {
    let cpu = deliveries.cpu_s_per_10000();
    Row {
        figure: format!("CPU s of the server per 10,000, {name}"),
        measured: format!("{cpu:.2} s"),
        bar: format!("< {under} s"),
        ratio: None,
        is_reached: Some(cpu < under),
    }
}

fn socket_row(sockets: &Sockets) -> Row {
    let each = sockets.kib_each();
    Row {
        figure: "resident memory per idle socket at 10,000".to_owned(),
        measured: format!("{each:.1} KiB (from {} to {})", mb(sockets.before_kib), mb(sockets.after_kib)),
        bar: "< 6 KiB".to_owned(),
        ratio: None,
        is_reached: Some(each < 6.0),
    }
}

fn start_rows(start: &Start) -> Vec<Row> {
    vec![
        Row {
            figure: "resident memory idle".to_owned(),
            measured: mb(start.idle_kib),
            bar: "< 30 MB".to_owned(),
            ratio: None,
            is_reached: Some(start.idle_kib * 1_024 < 30_000_000),
        },
        Row {
            figure: "start to ready, empty store".to_owned(),
            measured: ms(start.ready_us),
            bar: "< 300 ms".to_owned(),
            ratio: None,
            is_reached: Some(start.ready_us < 300_000),
        },
    ]
}

fn waiting_row(waiting: &Waiting) -> Row {
    let first = waiting.first_delivery_us;
    let memory = mb(waiting.resident_kib);
    Row {
        figure: "start to first delivery, 1,000,000 waiting".to_owned(),
        measured: format!("{} (ready {}, {memory})", ms(first), ms(waiting.ready_us)),
        bar: "< 3 s".to_owned(),
        ratio: None,
        is_reached: Some(first < 3_000_000),
    }
}

/// The slowest of all pages; each has a line of its own below the table.
fn pages_row(pages: &[Page]) -> Option<Row> {
    let usual = pages.iter().max_by_key(|page| page.times.p50())?;
    let worst = pages.iter().max_by_key(|page| page.times.max().max(page.first_us))?;
    let worst_us = worst.times.max().max(worst.first_us);
    Some(Row {
        figure: "a page of the dashboard, 1,000,000 deliveries".to_owned(),
        measured: format!(
            "slowest p50 {} ({}), worst {} ({})",
            ms(usual.times.p50()),
            usual.name,
            ms(worst_us),
            worst.name
        ),
        bar: "< 100 ms".to_owned(),
        ratio: None,
        is_reached: Some(worst_us < 100_000),
    })
}

fn kill_rows(kills: &[Kill]) -> Vec<Row> {
    let acknowledged: usize = kills.iter().map(|kill| kill.acknowledged).sum();
    let missing: usize = kills.iter().map(|kill| kill.missing).sum();
    let repeats = kills.iter().map(|kill| kill.repeats).max().unwrap_or(0);
    vec![
        Row {
            figure: "kill -9 under load, missing".to_owned(),
            measured: format!("{missing} of {acknowledged} in {} kills", kills.len()),
            bar: "0".to_owned(),
            ratio: None,
            is_reached: Some(missing == 0),
        },
        Row {
            figure: "kill -9 under load, repeats".to_owned(),
            measured: format!("{repeats} at most"),
            bar: format!("≤ {}", kill::REPEATS_MAX),
            ratio: None,
            is_reached: Some(repeats <= kill::REPEATS_MAX),
        },
    ]
}

fn plain(figure: &str, measured: String) -> Row {
    Row { figure: figure.to_owned(), measured, bar: String::new(), ratio: None, is_reached: None }
}

/// Microseconds as milliseconds.
pub fn ms(us: u64) -> String {
    format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10)
}

fn mb(kib: u64) -> String {
    format!("{} MB", (kib * 1_024).div_ceil(1_000_000))
}

#[allow(clippy::cast_precision_loss, reason = "times of a bench are far below 2^52 µs")]
fn part(us: u64, of_us: u64) -> f64 {
    us as f64 / of_us.max(1) as f64
}

fn not_recorded() -> String {
    "not recorded by the server".to_owned()
}

fn unknown() -> String {
    "its limit was not measured".to_owned()
}
