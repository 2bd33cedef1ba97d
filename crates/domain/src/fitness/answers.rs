//! What an endpoint's answers to samples say of it: status, time, form, verdicts, repeats, and whom it lets in.

use crate::finding::Finding;
use crate::ids::{Time, WebhookId};
use crate::outcome::{Answer, Outcome};
use crate::sample;
use crate::trigger::Trigger;
use crate::verdict::{ACTIONS, Fate, Judgement, Verdict, apply, judge};
use crate::webhook::OnFailure;

/// What the head of an answer says, beside its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub version: HttpVersion,
    pub content_type: Option<String>,
    pub location: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    Http10,
    Http11,
}

/// What carried a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    NewConnection,
    KeptConnection,
}

/// One request, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub outcome: Outcome,
    /// `None` where no head of an answer came.
    pub head: Option<Head>,
    pub took_us: u64,
    pub carrier: Carrier,
}

/// Whether the check was given the credentials, or the signing secret, that the endpoint knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Given,
    NotGiven,
}

/// What the check sends along; decides how a refusal reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secrets {
    pub credentials: Known,
    pub signature: Known,
}

/// The answer to one sample.
#[must_use]
pub fn sample_answer(trigger: Trigger, tried: &Tried, secrets: Secrets, answer_ms_max: u64) -> Finding {
    let about = trigger.id();
    let answer = match &tried.outcome {
        Outcome::Failed(failure) => {
            return Finding { about: about.to_owned(), ..super::connection(failure) };
        }
        Outcome::Answered(answer) => answer,
    };
    let took = took_text(tried.took_us);
    if !tried.outcome.is_success() {
        return refused_sample(about, answer, tried.head.as_ref(), secrets);
    }
    let seen = format!("answers {} after {took}", answer.status);
    if tried.took_us <= answer_ms_max * 1_000 {
        return Finding::ok(about, seen);
    }
    let late = format!("{seen}, and {answer_ms_max} ms is the bound");
    match trigger {
        Trigger::BeforeMessage => Finding::failure(
            about,
            late,
            "Answer sooner: when the budget of before_message is over, its answer is not heard any more.",
        ),
        Trigger::AfterMessage
        | Trigger::MessageDeliveryReceipt
        | Trigger::MessageReadReceipt
        | Trigger::UserConnectionStatusChange => {
            Finding::warning(about, late, "Answer at once, and do what takes time after the answer.")
        }
    }
}

fn refused_sample(about: &str, answer: &Answer, head: Option<&Head>, secrets: Secrets) -> Finding {
    let status = answer.status;
    let seen = format!("answers {status}");
    match status {
        300..=399 => redirected(about, status, head),
        401 | 403 => {
            let cure = match (secrets.credentials, secrets.signature) {
                (Known::NotGiven, _) => {
                    "It wants credentials: set CHATHOOK_CHECK_USERNAME and CHATHOOK_CHECK_PASSWORD to those of \
                     the webhook."
                }
                (Known::Given, Known::NotGiven) => {
                    "Check the credentials; if it verifies signatures, set CHATHOOK_CHECK_SECRET to its signing \
                     secret."
                }
                (Known::Given, Known::Given) => {
                    "Check the credentials and the signing secret: one of them is not the endpoint's."
                }
            };
            Finding::failure(about, seen, cure)
        }
        400 if secrets.signature == Known::NotGiven => Finding::failure(
            about,
            seen,
            "If it verifies signatures, set CHATHOOK_CHECK_SECRET to its signing secret; else let it take the \
             documented payload of this trigger.",
        ),
        404 => Finding::failure(about, seen, "Check the path of the URL."),
        405 => Finding::failure(about, seen, "Let this path take POST."),
        410 => Finding::failure(
            about,
            seen,
            "410 switches a webhook off for good: answer it only to be left alone.",
        ),
        411 | 413 | 415 | 422 | 400 => {
            Finding::failure(about, seen, "Let it take a JSON body of up to a mebibyte, as POST sends it.")
        }
        429 => {
            Finding::failure(about, seen, "Raise the limit of requests: bursts of 64 at a time are usual.")
        }
        500..=599 => Finding::failure(about, seen, "Look into the endpoint's own log: it failed."),
        _ => Finding::failure(about, seen, "Answer 200, or any other 2xx, when the request was received."),
    }
}

fn redirected(about: &str, status: u16, head: Option<&Head>) -> Finding {
    let location = head.and_then(|head| head.location.as_deref());
    let seen = match location {
        Some(to) => format!("answers {status}, a redirect to {to}: redirects are never followed"),
        None => format!("answers {status}, a redirect: redirects are never followed"),
    };
    let cure = match location {
        Some(to) => format!("If {to} is the right place, make it the webhook's URL."),
        None => "Answer 2xx at this very URL.".to_owned(),
    };
    Finding::failure(about, seen, cure)
}

/// The form of a successful answer: that of `before_message` is read as JSON whatever it calls itself, and
/// a wrong name is most often the sign of an error page.
#[must_use]
pub fn content_type(tried: &Tried) -> Finding {
    const ABOUT: &str = "content type";
    let body_is_empty = match &tried.outcome {
        Outcome::Answered(answer) => answer.body.is_empty(),
        Outcome::Failed(_) => true,
    };
    let given = tried.head.as_ref().and_then(|head| head.content_type.as_deref());
    let cure = "Send Content-Type: application/json, and {} where there is nothing to say.";
    match given {
        None if body_is_empty => Finding::ok(ABOUT, "an empty answer, which needs none"),
        None => Finding::warning(ABOUT, "the answer has a body and no Content-Type", cure),
        Some(named) if is_json(named) => Finding::ok(ABOUT, named.to_owned()),
        Some(named) if body_is_empty => Finding::ok(ABOUT, format!("{named}, of an empty answer")),
        Some(named) => Finding::warning(ABOUT, format!("the answer is {named}, not JSON"), cure),
    }
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

#[must_use]
pub fn http_version(head: &Head) -> Finding {
    match head.version {
        HttpVersion::Http11 => Finding::ok("protocol", "HTTP/1.1"),
        HttpVersion::Http10 => Finding::warning(
            "protocol",
            "answers in HTTP/1.0, which ends the connection after each answer",
            "Let the server, or the proxy before it, speak HTTP/1.1.",
        ),
    }
}

/// Whether the request after another one went over the same connection.
#[must_use]
pub fn kept_open(later: &Tried) -> Finding {
    const ABOUT: &str = "kept-open connection";
    match (later.carrier, later.head.is_some()) {
        (Carrier::KeptConnection, true) => {
            Finding::ok(ABOUT, "a second request went over the first connection")
        }
        (Carrier::KeptConnection, false) => Finding::failure(
            ABOUT,
            "a second request over the first connection was not answered",
            "Answer each request of a connection, or close it with 'Connection: close'.",
        ),
        (Carrier::NewConnection, _) => Finding::warning(
            ABOUT,
            "the connection was closed after an answer: each delivery costs a new one",
            "Keep connections open for at least 5 s between two requests (keep-alive).",
        ),
    }
}

/// What the answer to `before_message` would do to the sample message.
#[must_use]
pub fn verdict(outcome: &Outcome, now: Time) -> Finding {
    const ABOUT: &str = "before_message verdict";
    let Judgement { verdict, silence } = judge(outcome, OnFailure::Propagate);
    if let Some(cause) = silence {
        return unusable(ABOUT, &cause);
    }
    let mut draft = sample::message(now).draft;
    match apply(&mut draft, &WebhookId::trusted("check"), &verdict) {
        Err(cause) => unusable(ABOUT, &cause),
        Ok(Fate::GoesOn | Fate::Dropped) => match verdict {
            Verdict::Pass => Finding::ok(ABOUT, "the message goes on as it is"),
            Verdict::Inject(ref object) => {
                let seen = format!(
                    "the message goes on, annotated with {}",
                    names(object.keys().map(String::as_str))
                );
                match verdict.unknown_action() {
                    None => Finding::ok(ABOUT, seen),
                    Some(action) => {
                        Finding::warning(ABOUT, format!("{seen}: its action '{action}' is unknown"), ACTIONS)
                    }
                }
            }
            Verdict::Replace { data, .. } => Finding::ok(
                ABOUT,
                format!("the message goes on, with {} replaced", names(data.keys().map(String::as_str))),
            ),
            Verdict::Drop { reason } => Finding::warning(
                ABOUT,
                match reason {
                    Some(reason) => format!("the sample message is dropped, for the reason '{reason}'"),
                    None => "the sample message is dropped, without a reason".to_owned(),
                },
                "If the endpoint is not meant to drop a harmless text, look at its rule.",
            ),
        },
    }
}

fn unusable(about: &str, cause: &str) -> Finding {
    Finding::failure(
        about,
        format!(
            "the answer cannot be used ({cause}): it counts as silence, and the webhook's onFailure applies"
        ),
        "Answer {} to let a message pass; docs/errors.md and the README list the other answers.",
    )
}

fn names<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 5;
    let keys: Vec<&str> = keys.collect();
    let shown = keys.iter().take(SHOWN_MAX).map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
    match keys.len().checked_sub(SHOWN_MAX) {
        None | Some(0) if keys.is_empty() => "nothing".to_owned(),
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

/// The same `webhook-id` and the same body a second time.
#[must_use]
pub fn repeat(second: &Outcome) -> Finding {
    const ABOUT: &str = "repeat";
    let cure = "Deliveries come at least once: remember the webhook-id, and answer 2xx to one seen before.";
    match second {
        Outcome::Answered(answer) if second.is_success() => {
            Finding::ok(ABOUT, format!("the same webhook-id and body again: {}", answer.status))
        }
        Outcome::Answered(answer) => {
            let seen = format!("the same webhook-id and body again: {}", answer.status);
            Finding::failure(ABOUT, seen, cure)
        }
        Outcome::Failed(failure) => {
            let seen = format!("the same webhook-id and body again: no answer ({})", failure.name());
            Finding::failure(ABOUT, seen, cure)
        }
    }
}

/// What came of requests that nobody should be let in with.
#[derive(Debug, Clone, Copy)]
pub struct Intrusions<'a> {
    pub without_credentials: &'a Outcome,
    /// With a password that is not the one.
    pub wrong_credentials: &'a Outcome,
    /// With a signature that is not one of this body.
    pub wrong_signature: &'a Outcome,
}

/// Whether credentials are asked for. An endpoint that verifies signatures instead is as safe.
#[must_use]
pub fn credentials(intrusions: Intrusions<'_>) -> Finding {
    const ABOUT: &str = "credentials";
    let without = intrusions.without_credentials;
    let wrong = intrusions.wrong_credentials;
    let is_safe_by_signature = is_refused(intrusions.wrong_signature);
    if without.is_success() && is_safe_by_signature {
        return Finding::note(
            ABOUT,
            "not asked for; the signature is verified, which keeps strangers out as well",
        );
    }
    if without.is_success() {
        return Finding::failure(
            ABOUT,
            "not asked for: whoever knows the URL can make up events",
            "Answer 401 to a request without the webhook's credentials, or verify webhook-signature.",
        );
    }
    if wrong.is_success() {
        return Finding::failure(
            ABOUT,
            "asked for, and any will do: a wrong password was taken",
            "Compare the whole Authorization header with the expected one.",
        );
    }
    let told = (told_refusal(without), told_refusal(wrong));
    if is_refused(without) && is_refused(wrong) {
        return Finding::ok(ABOUT, format!("{} without, {} with wrong ones", told.0, told.1));
    }
    Finding::warning(
        ABOUT,
        format!("{} without, {} with wrong ones", told.0, told.1),
        "Answer 401, so that a mistake in the credentials can be told from a failure.",
    )
}

/// Whether a wrong signature is noticed. Nobody has to verify it.
#[must_use]
pub fn signature(intrusions: Intrusions<'_>) -> Finding {
    const ABOUT: &str = "signature";
    let forged = intrusions.wrong_signature;
    if forged.is_success() {
        let seen = "not verified: a request with a wrong webhook-signature was taken";
        return Finding::note(ABOUT, seen)
            .with_cure("Verifying it is optional; a library of Standard Webhooks does it in a few lines.");
    }
    let seen = told_refusal(forged);
    if is_refused(forged) {
        return Finding::ok(ABOUT, format!("verified: {seen} to a wrong one"));
    }
    Finding::warning(
        ABOUT,
        format!("not known: {seen} to a wrong one"),
        "Answer 401 to a wrong signature, so that a forgery can be told from a failure.",
    )
}

/// Said no to who asks, with a status that says so: not that it is busy, nor that it gave up waiting.
fn is_refused(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answered(answer) => {
            (400..500).contains(&answer.status) && ![408, 425, 429].contains(&answer.status)
        }
        Outcome::Failed(_) => false,
    }
}

fn told_refusal(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(answer) => answer.status.to_string(),
        Outcome::Failed(failure) => format!("no answer ({})", failure.name()),
    }
}

/// Milliseconds, or tenths of them where it was quick.
fn took_text(us: u64) -> String {
    if us < 10_000 { format!("{}.{} ms", us / 1_000, us % 1_000 / 100) } else { format!("{} ms", us / 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Grade;
    use crate::outcome::Failure;

    const GIVEN: Secrets = Secrets { credentials: Known::Given, signature: Known::Given };

    fn answered(status: u16, body: &str) -> Outcome {
        let body = body.as_bytes().to_vec();
        Outcome::Answered(Answer { status, retry_after_s: None, body, is_cut: false, location: None })
    }

    fn tried(status: u16, body: &str, content_type: Option<&str>, location: Option<&str>) -> Tried {
        let head = Head {
            version: HttpVersion::Http11,
            content_type: content_type.map(str::to_owned),
            location: location.map(str::to_owned),
        };
        let (took_us, carrier) = (1_500, Carrier::NewConnection);
        Tried { outcome: answered(status, body), head: Some(head), took_us, carrier }
    }

    #[test]
    fn a_late_answer_is_a_failure_where_somebody_waits_for_it() {
        let late = Tried { took_us: 2_000_001, ..tried(200, "", None, None) };
        let in_time = Tried { took_us: 2_000_000, ..late.clone() };
        let grade = |trigger, tried: &Tried| sample_answer(trigger, tried, GIVEN, 2_000).grade;
        assert_eq!(grade(Trigger::BeforeMessage, &late), Grade::Failure);
        assert_eq!(grade(Trigger::AfterMessage, &late), Grade::Warning);
        assert_eq!(grade(Trigger::BeforeMessage, &in_time), Grade::Ok);
    }

    #[test]
    fn every_status_but_2xx_is_a_failure_with_a_cure() {
        for status in (100..600).filter(|status| !(200..300).contains(status)) {
            for signature in [Known::Given, Known::NotGiven] {
                let secrets = Secrets { signature, ..GIVEN };
                let finding =
                    sample_answer(Trigger::AfterMessage, &tried(status, "", None, None), secrets, 2_000);
                assert!(finding.grade == Grade::Failure && finding.cure.is_some(), "{finding:?}");
            }
        }
    }

    #[test]
    fn a_redirect_tells_where_it_leads_and_that_nobody_goes_there() {
        let to = "https://elsewhere.test/hook";
        let finding = sample_answer(Trigger::AfterMessage, &tried(301, "", None, Some(to)), GIVEN, 2_000);
        assert!(finding.seen.contains(to) && finding.seen.contains("never followed"), "{finding:?}");
        assert!(finding.cure.expect("a cure").contains(to));
    }

    #[test]
    fn a_body_that_calls_itself_something_else_than_json_is_warned_of() {
        let grade = |body, named| content_type(&tried(200, body, named, None)).grade;
        for named in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert_eq!(grade("{}", Some(named)), Grade::Ok, "{named}");
        }
        for named in ["text/html", "application/jsonp", "text/json"] {
            assert_eq!(grade("<html>", Some(named)), Grade::Warning, "{named}");
        }
        assert_eq!((grade("{}", None), grade("", None)), (Grade::Warning, Grade::Ok));
    }

    #[test]
    fn a_verdict_is_said_in_words() {
        let of = |status, body| verdict(&answered(status, body), Time::from_ms(0));
        let says = |body, grade, words: &str| {
            let finding = of(200, body);
            assert!(finding.grade == grade && finding.seen.contains(words), "{body}: {finding:?}");
        };
        says("", Grade::Ok, "goes on as it is");
        says("<html>", Grade::Ok, "goes on as it is");
        says(r#"{"label":"spam"}"#, Grade::Ok, "annotated with 'label'");
        says(r#"{"action":"dropp"}"#, Grade::Warning, "its action 'dropp' is unknown");
        says(r#"{"action":"replace","data":{"text":"hi"}}"#, Grade::Ok, "with 'text' replaced");
        says(r#"{"action":"do_not_propagate","reason":"rude"}"#, Grade::Warning, "'rude'");
        says(r#"{"action":"replace"}"#, Grade::Failure, "replacement_without_data");
        says(r#"{"action":"replace","data":{"text":""}}"#, Grade::Failure, "cannot be used");
        assert!(of(500, "").seen.contains("status_500"));
    }

    #[test]
    fn what_ends_each_connection_is_warned_of() {
        let head = |version| Head { version, content_type: None, location: None };
        assert_eq!(http_version(&head(HttpVersion::Http11)).grade, Grade::Ok);
        assert_eq!(http_version(&head(HttpVersion::Http10)).grade, Grade::Warning);
        let first = tried(200, "", None, None);
        assert_eq!(kept_open(&first).grade, Grade::Warning);
        let kept = Tried { carrier: Carrier::KeptConnection, ..first };
        assert_eq!(kept_open(&kept).grade, Grade::Ok);
        assert_eq!(kept_open(&Tried { head: None, ..kept }).grade, Grade::Failure);
    }

    #[test]
    fn names_of_many_fields_are_counted() {
        assert_eq!(names(["a", "b"].into_iter()), "'a', 'b'");
        assert_eq!(names(["a", "b", "c", "d", "e"].into_iter()), "'a', 'b', 'c', 'd', 'e'");
        assert_eq!(names(["a", "b", "c", "d", "e", "f"].into_iter()), "'a', 'b', 'c', 'd', 'e' and 1 more");
        assert_eq!(names([].into_iter()), "nothing");
    }

    #[test]
    fn strangers_are_kept_out_by_credentials_or_by_a_signature() {
        let (yes, no, broken) = (answered(200, ""), answered(401, ""), answered(500, ""));
        let dead = Outcome::Failed(Failure::Timeout);
        let of = |without, wrong, forged| {
            credentials(Intrusions {
                without_credentials: without,
                wrong_credentials: wrong,
                wrong_signature: forged,
            })
            .grade
        };
        assert_eq!(of(&no, &no, &yes), Grade::Ok);
        assert_eq!(of(&yes, &yes, &no), Grade::Note, "the signature stands in");
        assert_eq!(of(&yes, &yes, &yes), Grade::Failure);
        assert_eq!(of(&no, &yes, &no), Grade::Failure, "any password will do");
        assert_eq!(of(&broken, &no, &yes), Grade::Warning);
        assert_eq!(of(&dead, &no, &yes), Grade::Warning);
        let busy = answered(429, "");
        assert_eq!(of(&busy, &busy, &yes), Grade::Warning, "busy is not a refusal");
        assert_eq!(of(&yes, &yes, &busy), Grade::Failure, "nor does it verify a signature");
    }

    #[test]
    fn only_a_refusal_says_that_a_signature_is_verified() {
        let of = |forged: &Outcome| {
            let no = answered(401, "");
            let intrusions =
                Intrusions { without_credentials: &no, wrong_credentials: &no, wrong_signature: forged };
            signature(intrusions).grade
        };
        assert_eq!([401, 403, 400].map(|status| of(&answered(status, ""))), [Grade::Ok; 3]);
        assert_eq!(of(&answered(200, "")), Grade::Note);
        for broken in [answered(500, ""), answered(429, ""), Outcome::Failed(Failure::Timeout)] {
            assert_eq!(of(&broken), Grade::Warning, "{broken:?}");
        }
    }

    #[test]
    fn a_repeat_that_is_refused_is_a_failure() {
        assert_eq!(repeat(&answered(204, "")).grade, Grade::Ok);
        assert_eq!(repeat(&answered(409, "")).grade, Grade::Failure);
    }
}
