//! A server that dies at a step of a message's way: `chathook serve` in a process of this test's binary, with a
//! log that aborts the process at the line of that step. The binary that ships knows nothing of it.

use std::process::Command;

use chathook_server::cli::{Cli, Command as Called};
use chathook_server::config::Config;
use chathook_server::serve;
use clap::Parser as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

const STEP: &str = "CRASH_DIES_AT";
const TEST: &str = "doomed::a_server_dies_at_its_step";

/// Starts this binary as the server that dies.
pub fn command(step: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test has a file"));
    command.args(["--exact", TEST, "--ignored", "--nocapture"]).env(STEP, step);
    command
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "other tests start this one in a process of its own, and it dies"]
async fn a_server_dies_at_its_step() {
    // Who runs all ignored tests has named no step.
    let Ok(step) = std::env::var(STEP) else { return };
    tracing_subscriber::registry().with(DiesAt { step }).init();
    let Called::Serve(flags) = Cli::parse_from(["chathook", "serve"]).command else {
        panic!("this is a call of serve");
    };
    serve::serve(Config::merge(flags).expect("a configuration")).await.expect("it serves");
}

struct DiesAt {
    step: String,
}

impl<S: Subscriber> Layer<S> for DiesAt {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Looks { step: &self.step });
    }
}

/// Looks through the fields of one line.
struct Looks<'a> {
    step: &'a str,
}

impl Visit for Looks<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "step" && value == self.step {
            std::process::abort();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
