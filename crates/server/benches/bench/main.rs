//! The bench: measures the real server against the limits of the machine, and prints a table of ratios.
//! `scripts/bench --help` says what each figure means. It asserts no times.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

mod asks;
mod bare_client;
mod bare_loop;
mod bench;
mod crowd;
mod deliveries;
mod kill;
mod latency;
mod line;
mod load;
mod machine;
mod neighbour;
mod pages;
mod past;
mod report;
mod rows;
mod scenario;
mod sends;
mod server;
mod sink;
mod sockets;
mod spread;
mod start;
mod stock;
mod tenant;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, ValueEnum as _};
use tokio::signal::unix::{SignalKind, signal};

use bench::{Bench, Lengths};
use report::Report;
use rows::Measured;
use scenario::Scenario;

/// Measures chathook on this machine, in about two minutes
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Flags {
    /// Longer runs, and what is measured with a million deliveries: under eleven minutes
    #[arg(long)]
    full: bool,
    /// Where to write the table as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these scenarios, with the limits that they need
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<Scenario>,
    /// Another chathook binary to measure, such as one of an earlier commit
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_chathook"), hide_default_value = true)]
    server: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Cargo adds `--bench` to what the caller wrote.
    let words: Vec<String> = std::env::args().filter(|word| word != "--bench").collect();
    let ended = match words.get(1).map(String::as_str) {
        Some(sink::WORD) => sink::run().await.map(|()| ExitCode::SUCCESS),
        _ => measure(&flags(words)).await,
    };
    ended.unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn flags(words: Vec<String>) -> Flags {
    let command = Flags::command().after_help(scenario::definitions());
    let matches = command.get_matches_from(words);
    Flags::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Runs to the end, or to a signal; either way what was started is stopped.
async fn measure(flags: &Flags) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = run(flags) => ended,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}

async fn run(flags: &Flags) -> Result<ExitCode> {
    let began = Instant::now();
    std::fs::create_dir_all(server::disk())?;
    let machine = machine::describe(server::disk());
    println!("machine: {machine}");
    let scenarios = scenarios(flags);
    let lengths = if flags.full { Lengths::FULL } else { Lengths::SHORT };
    let bench = Bench { sink: sink::Sink::start().await?, binary: from_caller(&flags.server), lengths };
    let caught = bare_client::catch(&bench).await.context("no POST of the server could be caught")?;
    println!("POST of after_message: {} bytes", caught.after_message.body.len());

    let mut measured = Measured::default();
    let mut failures = Vec::new();
    let needs_bare_client = scenarios.iter().any(|scenario| scenario.needs_bare_client());
    if needs_bare_client {
        println!("[{:3} s] bare client", began.elapsed().as_secs());
        measured.bare_before = Some(scenario::bare_client(&bench, &caught).await?);
    }
    for scenario in scenarios {
        println!("[{:3} s] {scenario}", began.elapsed().as_secs());
        if let Err(error) = scenario.run(&bench, &caught, &mut measured).await {
            println!("        failed: {error:#}");
            failures.push(format!("{scenario}: {error:#}"));
        }
    }
    if needs_bare_client {
        println!("[{:3} s] bare client", began.elapsed().as_secs());
        measured.bare_after = Some(scenario::bare_client(&bench, &caught).await?);
    }
    let report = Report {
        machine: &machine,
        measured: &measured,
        failures: &failures,
        took_s: began.elapsed().as_secs(),
    };
    report.print();
    if let Some(path) = &flags.json {
        report.write_json(&from_caller(path))?;
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A path as the caller of `scripts/bench` means it: cargo runs a bench in the package's directory.
fn from_caller(path: &Path) -> PathBuf {
    std::env::var_os("BENCH_CALLED_FROM").map(PathBuf::from).unwrap_or_default().join(path)
}

/// Those that were asked for; else all, in the short run without those that need a million.
fn scenarios(flags: &Flags) -> Vec<Scenario> {
    let all = Scenario::value_variants().iter().copied();
    match (flags.only.is_empty(), flags.full) {
        (false, _) => all.filter(|scenario| flags.only.contains(scenario)).collect(),
        (true, true) => all.collect(),
        (true, false) => all.filter(|scenario| !scenario.needs_a_million()).collect(),
    }
}
