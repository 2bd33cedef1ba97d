//! `/metrics`: counters in the Prometheus text format, for who holds the management credentials.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;

use super::Api;
use super::management::peer;

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// How often what was recorded is folded into its buckets, so that it does not pile up unread.
const UPKEEP: Duration = Duration::from_secs(5);

/// The recorder of the process; several servers in one process share it.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let builder =
            PrometheusBuilder::new().set_buckets(&SECONDS).expect("the list of buckets is not empty");
        builder.install_recorder().expect("nothing else in this process installs a recorder")
    })
}

/// Begins to record. Called once a server is built, so that nothing is counted in vain before.
pub fn begin() {
    describe();
    recorder().run_upkeep();
}

/// Keeps the recorder small until the stop, whether or not anyone reads the metrics.
pub async fn keep_up(mut stopped: watch::Receiver<bool>) {
    while tokio::time::timeout(UPKEEP, stopped.wait_for(|stop| *stop)).await.is_err() {
        recorder().run_upkeep();
    }
}

fn describe() {
    recorder();
    metrics::describe_counter!("chathook_messages_total", "Messages stored, by origin");
    metrics::describe_counter!("chathook_attempts_total", "Webhook requests made, by outcome");
    metrics::describe_histogram!("chathook_attempt_seconds", "How long webhook requests took");
    metrics::describe_counter!(
        "chathook_before_message_total",
        "Calls of before_message, by verdict; silent: without a usable answer"
    );
    metrics::describe_gauge!("chathook_attempts_under_way", "Attempts in flight or not settled yet");
}

/// Shows counters in the Prometheus text format
///
/// For who holds the management key and secret, as user name and password of Basic auth.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, description = "The counters", body = String, content_type = "text/plain")),
)]
pub async fn get_metrics(State(api): State<Arc<Api>>, request: Request) -> Response {
    let pair = basic_pair(&request);
    let pair = pair.as_ref().map(|(key, secret)| (key.as_str(), secret.as_str()));
    if let Err(error) = api.judge_management(peer(&request), pair) {
        let mut answer = error.into_response();
        let challenge = axum::http::HeaderValue::from_static("Basic realm=\"chathook\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return answer;
    }
    #[allow(clippy::cast_precision_loss)]
    let under_way = api.engine.dispatch.under_way() as f64;
    metrics::gauge!("chathook_attempts_under_way").set(under_way);
    let handle = recorder();
    handle.run_upkeep();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response()
}

/// Key and secret of a Basic header. One that cannot be read is wrong, not absent.
fn basic_pair(request: &Request) -> Option<(String, String)> {
    let header = request.headers().get(AUTHORIZATION)?;
    let read = || {
        let (scheme, coded) = header.to_str().ok()?.split_once(' ')?;
        let text =
            scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(coded.trim()).ok()).flatten()?;
        let text = String::from_utf8(text).ok()?;
        let (key, secret) = text.split_once(':')?;
        Some((key.to_owned(), secret.to_owned()))
    };
    Some(read().unwrap_or_default())
}
