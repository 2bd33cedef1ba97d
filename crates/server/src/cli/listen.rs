//! `chathook listen`: the app's events come down a connection that this machine opens, and are POSTed to a
//! server of its own exactly as they would be; the answers go back up.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use chathook_adapters::api_client::{ApiError, ApiStream, Refused, Target};
use chathook_adapters::listen_client::{self, Ear, Ended, Heard, Mouth, NotOpened, Opening};
use chathook_adapters::listen_wire::{Request, Told, Welcome, Word, close};
use chathook_adapters::system::RealDice;
use chathook_domain::delivery::outcome_detail;
use chathook_domain::outcome::{Failure, Outcome};
use chathook_domain::trigger::Trigger;
use chathook_engine::ports::clock::Dice as _;
use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::ask::webhook_password;
use super::exit::of_error;
use super::forward::Local;
use super::output::{Cell, Reader, Tone, remark};
use super::profile::ReachFlags;
use super::remote::Remote;
use super::words::trigger;
use crate::serve::until_told_to_stop;

/// The first wait before a lost connection is opened again; each failure doubles it.
const WAIT_MS: f64 = 250.0;
const WAIT_MS_MAX: f64 = 15_000.0;
/// How often a server of this machine that is down is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
#[command(
    after_help = "Without --name the webhook lives as long as the command, or an hour longer where the \
    connection was lost. With before_message among the triggers, messages wait for your server's answer."
)]
pub struct ListenFlags {
    /// Where to POST each request: a server that this machine reaches, http or https
    #[arg(long, value_name = "URL")]
    forward: String,
    /// What to listen to; repeatable [default: all five]
    #[arg(long = "trigger", value_name = "TRIGGER", value_parser = trigger(), value_delimiter = ',')]
    triggers: Vec<Trigger>,
    /// Keep the webhook under this name: what happens meanwhile waits for the next time
    #[arg(long)]
    name: Option<String>,
    /// The user of the requests' Basic auth; the password is asked for, or taken from CHATHOOK_WEBHOOK_PASSWORD
    #[arg(long, value_name = "USER")]
    username: Option<String>,
    #[command(flatten)]
    reach: ReachFlags,
}

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Listen {
    remote: Remote,
    local: Arc<Local>,
    app: String,
    flags: ListenFlags,
    password: Option<String>,
    /// Of the first connection: names the listener when it is opened again.
    known: Option<Welcome>,
    is_local_down: bool,
}

/// One request that was made here.
struct Done {
    request: Request,
    told: Told,
    took_us: u64,
}

/// How a connection ended.
enum Over {
    /// The person wants no more.
    Told,
    Lost(Ended),
}

pub async fn run(flags: ListenFlags) -> anyhow::Result<()> {
    let password = flags.username.as_ref().map(|_| webhook_password("")).transpose()?;
    let local = Arc::new(Local::at("--forward", &flags.forward, flags.reach.ca.as_deref())?);
    let remote = Remote::find(&flags.reach)?;
    let app = remote.app().await?;
    let listen = Listen { remote, local, app, flags, password, known: None, is_local_down: false };
    listen.run(Box::pin(until_told_to_stop())).await
}

impl Listen {
    async fn run(mut self, mut signal: Signal) -> anyhow::Result<()> {
        let mut wait_ms = WAIT_MS;
        loop {
            let opened = tokio::select! {
                opened = self.open() => opened,
                () = &mut signal => {
                    self.leave().await;
                    return Ok(());
                }
            };
            match opened {
                Ok((ear, mouth)) => match self.serve(ear, mouth, &mut signal).await? {
                    Over::Told => return Ok(()),
                    Over::Lost(ended) => {
                        if let Some(error) = for_good(&ended) {
                            return Err(error);
                        }
                        remark(&format!(
                            "The connection to the server was lost ({ended}); opening it again."
                        ));
                        wait_ms = WAIT_MS;
                    }
                },
                // What the server could not do the first time is told at once.
                Err(error) if self.known.is_none() || !of_error(&error).passes() => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, "the server is not there yet");
                    wait_ms = (wait_ms * 2.0).min(WAIT_MS_MAX);
                }
            }
            // Many who lost the same server do not come back at the same moment.
            let wait = Duration::from_secs_f64(wait_ms * (1.0 + RealDice.roll()) / 1_000.0);
            tokio::select! {
                () = sleep(wait) => {}
                () = &mut signal => {
                    self.leave().await;
                    return Ok(());
                }
            }
        }
    }

    async fn open(&mut self) -> anyhow::Result<(Ear<ApiStream>, Mouth<ApiStream>)> {
        let stream = self.remote.api.open_stream().await?;
        let mut target = Target::of(&["apps", &self.app, "listen"]);
        for trigger in &self.flags.triggers {
            target = target.with("triggers", trigger.id());
        }
        let name = self.flags.name.as_deref().or(self.known.as_ref().map(|known| known.name.as_str()));
        target = target.with_any("name", name);
        if self.flags.name.is_some() {
            target = target.with("keep", "true");
        }
        let mut headers = self.remote.api.access().headers();
        if let (Some(username), Some(password)) = (&self.flags.username, &self.password) {
            headers
                .extend([("webhook-username", username.as_str()), ("webhook-password", password.as_str())]);
        }
        let (authority, request_target) =
            (self.remote.api.authority(), self.remote.api.request_target(&target));
        let opening = Opening { authority: &authority, request_target: &request_target, headers };
        let opened = listen_client::open(stream, &opening).await;
        let (welcome, ear, mouth) = opened.map_err(|error| self.not_opened(error))?;
        self.greet(&welcome)?;
        self.known = Some(welcome);
        Ok((ear, mouth))
    }

    fn not_opened(&self, error: NotOpened) -> anyhow::Error {
        let server = self.remote.api.server().to_owned();
        let error = match error {
            NotOpened::Broken(why) => ApiError::Unreachable { server, why },
            NotOpened::Refused { status, body } => {
                let error = serde_json::from_slice::<Value>(&body).unwrap_or_default()["error"].take();
                match (error["code"].as_str(), error["message"].as_str()) {
                    (Some(code), Some(message)) => {
                        let (code, message) = (code.to_owned(), message.to_owned());
                        ApiError::Refused(Box::new(Refused { status, code, message, error }))
                    }
                    _ => {
                        ApiError::NotUnderstood { server, why: format!("its answer {status} has no 'error'") }
                    }
                }
            }
        };
        error.into()
    }

    /// Says what there is to know of a connection, the first time and where it is news.
    fn greet(&self, welcome: &Welcome) -> anyhow::Result<()> {
        let out = &self.remote.out;
        match out.reader {
            Reader::Program => {
                let mut object = serde_json::to_value(welcome).context("a welcome is JSON")?;
                object["type"] = json!("connected");
                out.json_line(&object)?;
            }
            Reader::Person => {
                if let Some(secret) = &welcome.signing_secret {
                    out.say(&format!("Signing secret: {secret} (shown this once)"))?;
                }
                let (webhook, url) = (&welcome.webhook, self.local.url());
                match &self.known {
                    None => {
                        let triggers = welcome.triggers.join(", ");
                        out.say(&format!(
                            "The webhook '{webhook}' hears of {triggers}, and forwards to {url}"
                        ))?;
                    }
                    Some(_) => out.say("Connected again.")?,
                }
            }
        }
        if self.known.is_some() && !welcome.resumed {
            remark(
                "The webhook was removed meanwhile, and was made again with another secret: what happened in \
                 between is not sent.",
            );
        }
        Ok(())
    }

    async fn serve(
        &mut self,
        mut ear: Ear<ApiStream>,
        mut mouth: Mouth<ApiStream>,
        signal: &mut Signal,
    ) -> anyhow::Result<Over> {
        let mut under_way = JoinSet::new();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let said = tokio::select! {
                heard = ear.next() => match heard {
                    Heard::Request(request) => {
                        under_way.spawn(forward(self.local.clone(), request));
                        Ok(())
                    }
                    Heard::Ended(ended) => return Ok(Over::Lost(ended)),
                },
                Some(done) = under_way.join_next() => {
                    let done = done.context("a request was not made")?;
                    if let Err(error) = self.show(&done) {
                        // Nobody reads any more, so nobody is to be told any more.
                        let _ = mouth.say(Word::Goodbye).await;
                        return Err(error.into());
                    }
                    let answered = mouth.answer(&done.told).await;
                    if self.note(&done.told.outcome) && answered.is_ok() {
                        mouth.say(Word::Again).await
                    } else {
                        answered
                    }
                },
                _ = look.tick(), if self.is_local_down => {
                    if self.local.is_there().await {
                        self.is_local_down = false;
                        remark(&format!("{} is back.", self.local.url()));
                        mouth.say(Word::Again).await
                    } else {
                        Ok(())
                    }
                },
                () = &mut *signal => {
                    if !is_goodbye_heard(&mut ear, &mut mouth).await {
                        self.leave().await;
                    }
                    return Ok(Over::Told);
                },
            };
            if let Err(ended) = said {
                return Ok(Over::Lost(ended));
            }
        }
    }

    /// Takes note of how the local server does. Whether it is back.
    fn note(&mut self, outcome: &Outcome) -> bool {
        let is_down = match outcome {
            Outcome::Failed(
                Failure::NotConnected(_) | Failure::ConnectTimeout | Failure::NameNotResolved(_),
            ) => true,
            Outcome::Answered(_) | Outcome::Failed(_) => false,
        };
        if is_down && !self.is_local_down {
            let url = self.local.url();
            remark(&format!("{url} takes no connections; what waits is sent as soon as it does."));
        }
        std::mem::replace(&mut self.is_local_down, is_down) && !is_down
    }

    fn show(&self, done: &Done) -> std::io::Result<()> {
        let Done { request, told, took_us } = done;
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let named = body["trigger"].as_str().unwrap_or_default();
        let trigger = Trigger::parse(named).map_or(named, |trigger| trigger.id());
        let number = |name: &str| request.header(name).and_then(|text| text.parse::<i64>().ok());
        let (sequence, attempt) = (number("chathook-sequence"), number("chathook-attempt"));
        let key = request.header("chathook-key");
        let out = &self.remote.out;
        match out.reader {
            Reader::Program => {
                let mut object = json!({
                    "type": "request", "trigger": trigger, "key": key, "sequence": sequence,
                    "attempt": attempt, "webhookId": request.header("webhook-id"), "ms": took_us / 1_000,
                });
                match &told.outcome {
                    Outcome::Answered(answer) => object["status"] = json!(answer.status),
                    Outcome::Failed(failure) => {
                        object["failure"] = json!(failure.name());
                        object["detail"] = json!(outcome_detail(&told.outcome));
                    }
                }
                out.json_line(&object)
            }
            Reader::Person => {
                let tone = if told.outcome.is_success() { Tone::Good } else { Tone::Bad };
                let answer = match &told.outcome {
                    Outcome::Answered(answer) => answer.status.to_string(),
                    Outcome::Failed(failure) => failure.name().to_owned(),
                };
                let numbered = sequence.map_or_else(|| "-".to_owned(), |sequence| format!("#{sequence}"));
                let mut cells = vec![
                    Cell::toned(tone, &answer),
                    Cell::new(trigger),
                    Cell::toned(Tone::Faint, &numbered),
                    Cell::new(key.unwrap_or("-")),
                    Cell::toned(Tone::Faint, &format!("{} ms", took_us / 1_000)),
                ];
                if let Some(attempt) = attempt.filter(|attempt| *attempt > 1) {
                    cells.push(Cell::toned(Tone::Open, &format!("attempt {attempt}")));
                }
                out.line(&cells)
            }
        }
    }

    /// The person leaves while there is no connection to say goodbye on. Where the server does not hear
    /// of it this way either, it removes the webhook in an hour.
    async fn leave(&self) {
        let (Some(known), None) = (&self.known, &self.flags.name) else { return };
        let target = Target::of(&["apps", &self.app, "webhooks", &known.webhook]);
        // What broke the connection may have broken the one that the client keeps for its calls.
        for _ in 0..2 {
            let deleted = timeout(GOODBYE_MAX, self.remote.api.delete(&target, None)).await;
            if !matches!(deleted, Ok(Err(ApiError::Unreachable { .. }))) {
                return;
            }
        }
    }
}

/// Makes one request to the local server.
async fn forward(local: Arc<Local>, request: Request) -> Done {
    let exchange = local.post(request.to_post(local.to.clone())).await;
    let told = Told { id: request.head.id, outcome: exchange.outcome };
    Done { request, told, took_us: exchange.phases.total_us }
}

/// The server closes the connection when it has done what follows from a goodbye.
async fn is_goodbye_heard(ear: &mut Ear<ApiStream>, mouth: &mut Mouth<ApiStream>) -> bool {
    let goodbye = async {
        mouth.say(Word::Goodbye).await?;
        loop {
            if let Heard::Ended(ended) = ear.next().await {
                return Ok::<_, Ended>(ended);
            }
        }
    };
    matches!(timeout(GOODBYE_MAX, goodbye).await, Ok(Ok(ended)) if ended.code == Some(close::GOODBYE))
}

/// Ends after which opening the connection again would help nobody.
fn for_good(ended: &Ended) -> Option<anyhow::Error> {
    match ended.code? {
        close::REPLACED | close::REMOVED | close::SWITCHED_OFF => {
            Some(anyhow!("The server has ended the connection: {ended}."))
        }
        _ => None,
    }
}
