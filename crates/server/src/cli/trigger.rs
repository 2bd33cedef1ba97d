//! `chathook trigger`: a sample event of any trigger, signed, sent from this machine to any URL. It needs no
//! server.

use std::path::PathBuf;

use anyhow::bail;
use chathook_adapters::system::{RealClock, RealDice};
use chathook_domain::app::{App, Settings};
use chathook_domain::delivery::outcome_name;
use chathook_domain::ids::{AppId, EventId, Time};
use chathook_domain::outcome::Outcome;
use chathook_domain::sample;
use chathook_domain::signature::{Secrets, SigningSecret};
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::{Webhook, WebhookDraft};
use chathook_engine::ports::clock::{Clock as _, Dice as _};
use chathook_engine::ports::endpoints::{Exchange, Phases};
use chathook_engine::request_headers::masked;
use chathook_engine::test_event::{judged, post, sample_request};
use clap::{Args, ValueHint};
use serde_json::{Map, Value, json};

use super::ask::{text_of_env, webhook_password};
use super::attempts::verdict_fields;
use super::exit::usage;
use super::forward::Local;
use super::output::{Cell, Output, Reader, Tone};
use super::profile::path;
use super::words::trigger;
use crate::api::test_events::VerdictShown;

/// The webhook, and the app, that the sample speaks of where nothing else is said.
const SAMPLE: &str = "sample";
const SECRET_VARIABLE: &str = "CHATHOOK_SIGNING_SECRET";
/// What is shown of an answer.
const SHOWN_CHARS_MAX: usize = 4_096;

#[derive(Debug, Args)]
#[command(
    after_help = "The signature is made with CHATHOOK_SIGNING_SECRET (whsec_…); without it, with a fresh \
    secret that is printed. The exit code is 0 only where the answer is 2xx."
)]
pub struct TriggerFlags {
    /// What the event is
    #[arg(value_parser = trigger())]
    trigger: Trigger,
    /// Where to send it, http or https
    #[arg(long, value_name = "URL")]
    to: String,
    /// A field of the event's data, such as data.text=lunch; JSON, or else a text; repeatable
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// The id of the webhook that the event names
    #[arg(long, value_name = "ID", default_value = SAMPLE)]
    webhook: String,
    /// The user of Basic auth; the password is asked for, or taken from CHATHOOK_WEBHOOK_PASSWORD
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// A root certificate to trust, PEM, beside the system's
    #[arg(long, env = "CHATHOOK_CA", value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    ca: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// What was sent.
struct Sent {
    trigger: Trigger,
    url: String,
    headers: Map<String, Value>,
    body: String,
    /// Where it was made for this one event.
    fresh_secret: Option<String>,
}

pub async fn run(flags: TriggerFlags) -> anyhow::Result<()> {
    let local = Local::at("--to", &flags.to, flags.ca.as_deref())?;
    let at = RealClock::new().now();
    let given = text_of_env(SECRET_VARIABLE);
    let (webhook, fresh_secret) = webhook(&flags, given.as_deref(), at)?;
    let mut sample = sample::sample(flags.trigger, at);
    for field in &flags.set {
        let wrong = |why: &str| usage(format!("--set '{field}' is not right: {why}."));
        let (path, value) = field.split_once('=').ok_or_else(|| wrong("it is written PATH=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        sample::set(&mut sample.data, path, value).map_err(|why| wrong(&why))?;
    }
    let app = App {
        id: AppId::trusted(SAMPLE),
        name: SAMPLE.to_owned(),
        region: "us".to_owned(),
        settings: Settings::default(),
        created_at: at,
    };
    let id = EventId::trusted(&format!("evt_{:032x}", RealDice.bits()));
    let request = sample_request(&app, &webhook, flags.trigger, &sample, &id, at);
    let budget_ms = app.settings.before_message_budget_ms;
    let headers = masked(&request.headers);
    let post = post(flags.trigger, &webhook, request.headers, &request.body, budget_ms);
    let exchange = local.post(post).await;
    let sent = Sent {
        trigger: flags.trigger,
        url: local.url().to_owned(),
        headers: headers.into_iter().map(|(name, value)| (name.into_owned(), json!(value))).collect(),
        body: request.body,
        fresh_secret,
    };
    let verdict = match flags.trigger {
        Trigger::BeforeMessage => json!(VerdictShown::of(judged(&webhook, &exchange.outcome, at))),
        Trigger::AfterMessage
        | Trigger::MessageDeliveryReceipt
        | Trigger::MessageReadReceipt
        | Trigger::UserConnectionStatusChange => Value::Null,
    };
    let out = Output::for_reader(if flags.json { Reader::Program } else { Reader::Person });
    out.show(&to_json(&sent, &exchange, &verdict), |out| draw(out, &sent, &exchange, &verdict))?;
    match &exchange.outcome {
        outcome if outcome.is_success() => Ok(()),
        Outcome::Answered(answer) => bail!("The endpoint answered {}, which is not 2xx.", answer.status),
        Outcome::Failed(failure) => bail!("The endpoint gave no answer: {}.", failure.name()),
    }
}

/// A webhook as the person describes it, and its secret where that was made up.
fn webhook(
    flags: &TriggerFlags,
    secret: Option<&str>,
    at: Time,
) -> anyhow::Result<(Webhook, Option<String>)> {
    let (secret, fresh) = match secret {
        Some(text) => {
            let wrong = || usage(format!("{SECRET_VARIABLE} holds no secret: it is whsec_ and base64."));
            (SigningSecret::parse(text).ok_or_else(wrong)?, None)
        }
        None => {
            let halves = [RealDice.bits(), RealDice.bits()];
            let secret = SigningSecret::new(halves.into_iter().flat_map(u128::to_be_bytes).collect());
            let text = secret.to_text();
            (secret, Some(text))
        }
    };
    let mut body = json!({"id": flags.webhook, "name": SAMPLE, "webhookURL": flags.to});
    if let Some(username) = &flags.username {
        body["useBasicAuth"] = json!(true);
        body["username"] = json!(username);
        body["password"] = json!(webhook_password("")?);
    }
    let WebhookDraft { id, config } = WebhookDraft::parse(&body).map_err(|refusal| usage(refusal.message))?;
    let webhook = Webhook {
        row: 0,
        id,
        config,
        triggers: vec![flags.trigger],
        secrets: Secrets::only(secret),
        switched_off: None,
        created_at: at,
        updated_at: at,
    };
    Ok((webhook, fresh))
}

fn to_json(sent: &Sent, exchange: &Exchange, verdict: &Value) -> Value {
    let Phases { resolve_us, connect_us, tls_us, first_byte_us, total_us } = exchange.phases;
    let mut attempt = json!({
        "outcome": outcome_name(&exchange.outcome), "address": exchange.address.as_deref(),
        "resolveUs": resolve_us, "connectUs": connect_us, "tlsUs": tls_us,
        "firstByteUs": first_byte_us, "totalUs": total_us,
    });
    match &exchange.outcome {
        Outcome::Answered(answer) => {
            attempt["status"] = json!(answer.status);
            attempt["answer"] = json!(String::from_utf8_lossy(&answer.body));
        }
        Outcome::Failed(_) => {}
    }
    if let Some(detail) = exchange.phases.detail_of(&exchange.outcome) {
        attempt["detail"] = json!(detail);
    }
    let mut object = json!({
        "trigger": sent.trigger.id(), "success": exchange.outcome.is_success(),
        "request": {"url": sent.url, "headers": sent.headers, "body": sent.body},
        "attempt": attempt,
    });
    if let Some(secret) = &sent.fresh_secret {
        object["signingSecret"] = json!(secret);
    }
    if !verdict.is_null() {
        object["verdict"] = verdict.clone();
    }
    object
}

fn draw(out: &Output, sent: &Sent, exchange: &Exchange, verdict: &Value) -> std::io::Result<()> {
    let tone = if exchange.outcome.is_success() { Tone::Good } else { Tone::Bad };
    let mut fields = vec![("sent", Cell::new(&format!("{} to {}", sent.trigger.id(), sent.url)))];
    fields.push(("webhook-id", Cell::of(&sent.headers["webhook-id"])));
    if let Some(secret) = &sent.fresh_secret {
        fields.push(("signed with", Cell::new(secret)));
    }
    let detail =
        exchange.phases.detail_of(&exchange.outcome).map_or_else(String::new, |text| format!(": {text}"));
    let answer = format!("{}{detail}", outcome_name(&exchange.outcome));
    let body = match &exchange.outcome {
        Outcome::Answered(answer) => Some(String::from_utf8_lossy(&answer.body).into_owned()),
        Outcome::Failed(_) => None,
    };
    fields.push(("answer", Cell::toned(tone, &answer)));
    fields.push(("time", Cell::new(&times(&exchange.phases))));
    fields.extend(verdict_fields(verdict));
    if let Some(body) = body.filter(|body| !body.is_empty()) {
        fields.push(("body", Cell::new(&body.chars().take(SHOWN_CHARS_MAX).collect::<String>())));
    }
    out.fields(&fields)
}

fn times(phases: &Phases) -> String {
    let ms = |us: u64| format!("{}.{} ms", us / 1_000, us % 1_000 / 100);
    let parts = [
        ("look-up", phases.resolve_us),
        ("connect", phases.connect_us),
        ("TLS", phases.tls_us),
        ("first byte", phases.first_byte_us),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter_map(|(name, us)| Some(format!("{name} {}", ms(us?)))).collect();
    format!("{} ({})", ms(phases.total_us), parts.join(", "))
}
