//! `chathook stats`: a webhook's figures over the last minutes.

use clap::Args;
use serde_json::{Map, Value};

use super::attempts::{outcome, took};
use super::output::{Cell, Output, Table, Tone};
use super::profile::ReachFlags;
use super::remote::Remote;

#[derive(Debug, Args)]
pub struct StatsFlags {
    /// The webhook's id
    webhook: String,
    /// How far back; up to a week
    #[arg(long, value_name = "COUNT", default_value_t = 60)]
    minutes: u32,
    #[command(flatten)]
    reach: ReachFlags,
}

pub async fn run(flags: StatsFlags) -> anyhow::Result<()> {
    let remote = Remote::find(&flags.reach)?;
    let target = remote.of_app(&["webhooks", &flags.webhook, "stats"]).await?;
    let stats = remote.api.get(&target.with("minutes", &flags.minutes.to_string())).await?.data;
    remote.out.show(&stats, |out| draw(out, &stats))?;
    Ok(())
}

fn draw(out: &Output, stats: &Value) -> std::io::Result<()> {
    let (attempts, waiting, asked) = (&stats["attempts"], &stats["waiting"], &stats["beforeMessage"]);
    let rate = attempts["perMinute"].as_f64().unwrap_or_default();
    let mut fields = vec![
        ("minutes", Cell::of(&stats["minutes"])),
        ("waiting", Cell::new(&format!("{}, {} bytes", waiting["count"], waiting["bytes"]))),
    ];
    if let Some(age) = waiting["oldestSeconds"].as_i64() {
        fields.push(("oldest", Cell::new(&format!("{age} s"))));
    }
    if !stats["failingSince"].is_null() {
        fields.push(("failing since", Cell::toned(Tone::Bad, &out.time(&stats["failingSince"]).into_text())));
    }
    for (name, count) in pairs(&stats["deliveries"]) {
        fields.push((name, Cell::of(count)));
    }
    fields.push(("attempts", Cell::new(&format!("{}, {rate:.1} a minute", attempts["count"]))));
    fields.push(("time taken", percentiles(&attempts["totalUs"])));
    if !asked["tookUs"].is_null() {
        fields.push(("before_message", percentiles(&asked["tookUs"])));
    }
    out.fields(&fields)?;
    let counts = [
        ("OUTCOME", &attempts["byOutcome"]),
        ("VERDICT", &asked["byVerdict"]),
        ("SILENCE", &asked["bySilence"]),
    ];
    for (heading, counted) in counts {
        let mut table = Table::new(&[heading, "COUNT"], "");
        for (name, count) in pairs(counted) {
            let name = if heading == "OUTCOME" { outcome(&Value::from(name)) } else { Cell::new(name) };
            table.row(vec![name, Cell::of(count)]);
        }
        if !table.is_empty() {
            out.gap()?;
            out.table(&table)?;
        }
    }
    if stats["isCut"] == true {
        out.line(&[Cell::toned(
            Tone::Open,
            "There was more than one look takes in: figures of the newer part.",
        )])?;
    }
    Ok(())
}

fn pairs(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn percentiles(values: &Value) -> Cell {
    if values.is_null() {
        return Cell::of(&Value::Null);
    }
    let of = |name: &str| took(&values[name]).into_text();
    Cell::new(&format!("half within {}, 90 % {}, 99 % {}", of("p50"), of("p90"), of("p99")))
}
