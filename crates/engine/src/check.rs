//! Is this endpoint fit to receive webhooks? Sends it samples as real deliveries are sent, and some that it
//! should refuse. What the answers mean is the domain's to say.

use chathook_domain::app::{App, Settings};
use chathook_domain::event::{Origin, body_for, envelope};
use chathook_domain::finding::{Finding, Grade};
use chathook_domain::fitness::answers::{self, Intrusions, Known, Secrets as Given};
use chathook_domain::fitness::{self};
use chathook_domain::ids::{AppId, EventId, Time, WebhookId};
use chathook_domain::outcome::{Failure, Outcome};
use chathook_domain::sample;
use chathook_domain::signature::{Secrets, SigningSecret};
use chathook_domain::trigger::Trigger;
use chathook_domain::webhook::{Config, Credentials, EndpointUrl, OnFailure, Patience, Webhook};

use crate::engine::fresh_event_id;
use crate::ports::clock::{Clock, Dice};
use crate::ports::probe::{Probe, Probed};
use crate::request_headers::headers;
use crate::test_event::post;

/// What the samples say of their app and webhook, neither of which is there.
const APP: &str = "check";
const REGION: &str = "us";
const WEBHOOK: &str = "check";
/// How many times its bound an answer is waited for, so that a late one is told from none.
const WAIT_FACTOR: i64 = 5;

/// The endpoint, and what its webhook would be configured with.
#[derive(Debug, Clone)]
pub struct Subject {
    pub url: EndpointUrl,
    /// At least one.
    pub triggers: Vec<Trigger>,
    pub credentials: Option<Credentials>,
    pub secret: Option<SigningSecret>,
    pub answer_ms_max: u32,
}

/// By what the check is done.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    pub probe: &'a dyn Probe,
    pub clock: &'a dyn Clock,
    pub dice: &'a dyn Dice,
}

/// Looks at everything that can be looked at; ends early where nothing more can be.
pub async fn check(means: Means<'_>, subject: &Subject) -> Vec<Finding> {
    let judged = match means.probe.addresses(&subject.url).await {
        Ok(judged) => judged,
        Err(failure) => return vec![fitness::not_called(&failure)],
    };
    let mut findings = vec![fitness::addresses(&subject.url, &judged)];
    if findings[0].grade == Grade::Failure {
        return findings;
    }
    let check = Check::new(means, subject);
    let taken = check.send_samples(&mut findings).await;
    match taken {
        Samples::NotReached => {}
        Samples::NoneTaken => {
            let seen = "repeats, kept-open connections, credentials and signature were not tried: \
                        the endpoint takes no sample";
            findings.push(Finding::note("not looked at", seen));
        }
        Samples::Taken(letter) => check.send_variants(&letter, &mut findings).await,
    }
    findings
}

/// One sample: what is sent again is the same.
struct Letter {
    trigger: Trigger,
    id: EventId,
    body: String,
    key: String,
}

/// What became of the samples.
enum Samples {
    NotReached,
    NoneTaken,
    /// One that was answered with 2xx.
    Taken(Letter),
}

/// What a request shows of the webhook's secrets.
#[derive(Clone, Copy)]
enum Shows {
    TheRightOnes,
    NoCredentials,
    WrongCredentials,
    WrongSignature,
}

struct Check<'a> {
    means: Means<'a>,
    subject: &'a Subject,
    app: App,
    /// The one given, or one that nobody knows.
    secret: SigningSecret,
    wrong_secret: SigningSecret,
}

impl<'a> Check<'a> {
    fn new(means: Means<'a>, subject: &'a Subject) -> Self {
        let fresh =
            || SigningSecret::new([means.dice.bits(), means.dice.bits()].map(u128::to_be_bytes).concat());
        let app = App {
            id: AppId::trusted(APP),
            name: String::new(),
            region: REGION.to_owned(),
            settings: Settings::default(),
            created_at: means.clock.now(),
        };
        let secret = subject.secret.clone().unwrap_or_else(fresh);
        Self { means, subject, app, secret, wrong_secret: fresh() }
    }

    async fn send_samples(&self, findings: &mut Vec<Finding>) -> Samples {
        let (mut samples, mut form) = (Samples::NotReached, None::<Finding>);
        for &trigger in &self.subject.triggers {
            let letter = self.letter(trigger);
            let probed = self.send(&letter, Shows::TheRightOnes).await;
            if matches!(samples, Samples::NotReached) {
                if !self.note_way(&probed, findings) {
                    return Samples::NotReached;
                }
                samples = Samples::NoneTaken;
            }
            let tried = &probed.tried;
            let bound = u64::from(self.subject.answer_ms_max);
            findings.push(answers::sample_answer(trigger, tried, self.given(), bound));
            if !tried.outcome.is_success() {
                continue;
            }
            if trigger == Trigger::BeforeMessage {
                findings.push(answers::verdict(&tried.outcome, self.means.clock.now()));
            }
            // The worst of them is told.
            let own = answers::content_type(tried);
            form = Some(form.filter(|worst| worst.grade >= own.grade).unwrap_or(own));
            if matches!(samples, Samples::NoneTaken) {
                samples = Samples::Taken(letter);
            }
        }
        findings.extend(form);
        samples
    }

    /// What the first request showed of the way to the endpoint; false where the way does not lead there.
    fn note_way(&self, probed: &Probed, findings: &mut Vec<Finding>) -> bool {
        let (outcome, now) = (&probed.tried.outcome, self.means.clock.now());
        let has_met_tls = !probed.chain.is_empty() || matches!(outcome, Outcome::Failed(Failure::Tls(_)));
        if has_met_tls || matches!(outcome, Outcome::Answered(_)) {
            findings.push(fitness::certificate(&self.subject.url, &probed.chain, outcome, now));
        }
        match outcome {
            Outcome::Failed(Failure::Tls(_)) => false,
            Outcome::Failed(failure) => {
                findings.push(fitness::connection(failure));
                false
            }
            Outcome::Answered(_) => {
                findings.extend(probed.tried.head.as_ref().map(answers::http_version));
                true
            }
        }
    }

    /// The sample again, and with secrets that should not be taken.
    async fn send_variants(&self, letter: &Letter, findings: &mut Vec<Finding>) {
        let repeated = self.send(letter, Shows::TheRightOnes).await.tried;
        findings.push(answers::kept_open(&repeated));
        findings.push(answers::repeat(&repeated.outcome));
        let mut outcomes = Vec::new();
        for shows in [Shows::NoCredentials, Shows::WrongCredentials, Shows::WrongSignature] {
            // One of its own, so that no memory of what came before answers for it.
            outcomes.push(self.send(&self.letter(letter.trigger), shows).await.tried.outcome);
        }
        let intrusions = Intrusions {
            without_credentials: &outcomes[0],
            wrong_credentials: &outcomes[1],
            wrong_signature: &outcomes[2],
        };
        findings.push(answers::credentials(intrusions));
        findings.push(answers::signature(intrusions));
    }

    fn letter(&self, trigger: Trigger) -> Letter {
        let sample = sample::sample(trigger, self.means.clock.now());
        let open = envelope(trigger, &sample.data, Origin::Rest, &self.app);
        let body = body_for(&open, &WebhookId::trusted(WEBHOOK));
        let id = fresh_event_id(self.means.clock, self.means.dice);
        Letter { trigger, id, body, key: sample.key.to_string() }
    }

    async fn send(&self, letter: &Letter, shows: Shows) -> Probed {
        let (now, wait_ms) = (self.means.clock.now(), i64::from(self.subject.answer_ms_max) * WAIT_FACTOR);
        let webhook = self.webhook(shows, now, wait_ms);
        let mut headers = headers(&webhook, &letter.id, now, &letter.body);
        headers.write("chathook-test", true);
        headers.write("chathook-key", &letter.key);
        self.means.probe.probe(post(letter.trigger, &webhook, headers, &letter.body, wait_ms)).await
    }

    fn webhook(&self, shows: Shows, now: Time, timeout_ms: i64) -> Webhook {
        let given = &self.subject.credentials;
        let wrong = || {
            let username = given.as_ref().map_or("chathook", |right| right.username.as_str()).to_owned();
            Some(Credentials { username, password: format!("wrong-{:032x}", self.means.dice.bits()) })
        };
        let (credentials, secret) = match shows {
            Shows::TheRightOnes => (given.clone(), &self.secret),
            Shows::NoCredentials => (None, &self.secret),
            Shows::WrongCredentials => (wrong(), &self.secret),
            Shows::WrongSignature => (given.clone(), &self.wrong_secret),
        };
        let config = Config {
            name: String::new(),
            url: self.subject.url.clone(),
            use_basic_auth: credentials.is_some(),
            credentials,
            enabled: true,
            retry_on_failure: false,
            on_failure: OnFailure::Propagate,
            timeout_ms,
            patience: Patience::None,
        };
        Webhook {
            row: 0,
            id: WebhookId::trusted(WEBHOOK),
            config,
            triggers: self.subject.triggers.clone(),
            secrets: Secrets::only(secret.clone()),
            switched_off: None,
            created_at: now,
            updated_at: now,
        }
    }

    fn given(&self) -> Given {
        let known = |is_given| if is_given { Known::Given } else { Known::NotGiven };
        Given {
            credentials: known(self.subject.credentials.is_some()),
            signature: known(self.subject.secret.is_some()),
        }
    }
}
