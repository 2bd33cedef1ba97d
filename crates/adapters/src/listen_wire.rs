//! What goes over a listener's connection. Requests and answers are binary messages: a line of JSON, then
//! the body as it is, byte by byte. What is said about the connection itself is JSON in a text message.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chathook_domain::delivery::outcome_detail;
use chathook_domain::outcome::{Answer, Failure, Outcome};
use chathook_domain::webhook::IN_FLIGHT_MAX;
use chathook_engine::ports::endpoints::{Destination, Headers, Post};
use serde::{Deserialize, Serialize};

/// The largest message from a receiver: the largest answer that is asked for, and its head.
pub const ANSWER_MESSAGE_BYTES_MAX: usize = 1024 * 1024 + HEAD_BYTES_MAX;
/// A head is much shorter.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What is kept of a receiver's own words.
const DETAIL_CHARS_MAX: usize = 300;

/// How the server ends a connection, beside what the protocol knows.
pub mod close {
    pub const GOODBYE: u16 = 1000;
    pub const GOING_AWAY: u16 = 1001;
    /// Another connection has taken this listener.
    pub const REPLACED: u16 = 4003;
    /// The webhook was deleted, or is no listener any more.
    pub const REMOVED: u16 = 4004;
    /// The webhook was switched off.
    pub const SWITCHED_OFF: u16 = 4005;
    pub const TOO_SLOW: u16 = 4008;
    pub const BAD_FRAME: u16 = 4009;
}

/// The server's first words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The id of the listener's webhook.
    pub webhook: String,
    /// What names it when the connection is to be opened again.
    pub name: String,
    /// The webhook was there before: what waited for it comes now.
    pub resumed: bool,
    pub triggers: Vec<String>,
    /// Shown once, when the webhook is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
}

/// What a receiver says beside its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Said {
    pub say: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    /// It listens no more; what is not to be kept is removed.
    Goodbye,
    /// What failed is to be tried at once: the receiver works again.
    Again,
}

/// One request, as the receiver is to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub head: RequestHead,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestHead {
    /// The answer names it.
    pub id: u64,
    pub headers: Vec<(String, String)>,
    pub connect_timeout_ms: u64,
    /// After that nobody waits for the answer.
    pub timeout_ms: u64,
    /// What is read of the answer's body.
    pub answer_bytes_max: usize,
}

/// What a request came to at the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub id: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerHead {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(default)]
    is_cut: bool,
    /// A failure's name, in the place of a status.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Request {
    /// `None` where a header's value is no text, which none of ours is.
    #[must_use]
    pub fn of(id: u64, post: &Post) -> Option<Self> {
        let text = |value: &Bytes| std::str::from_utf8(value).ok().map(str::to_owned);
        let headers: Option<Vec<_>> =
            post.headers.lines().iter().map(|(name, value)| Some((name.to_string(), text(value)?))).collect();
        let head = RequestHead {
            id,
            headers: headers?,
            connect_timeout_ms: millis(post.connect_timeout),
            timeout_ms: millis(post.timeout),
            answer_bytes_max: post.answer_bytes_max,
        };
        Some(Self { head, body: post.body.clone() })
    }

    #[must_use]
    pub fn to_message(&self) -> Bytes {
        message(&self.head, &self.body)
    }

    /// # Errors
    /// What is wrong with it.
    pub fn parse(message: &Bytes) -> Result<Self, &'static str> {
        let (head, body) = split(message)?;
        let head = serde_json::from_slice(&head).map_err(|_| "the head of a request cannot be read")?;
        Ok(Self { head, body })
    }

    /// The request to be made in its place.
    #[must_use]
    pub fn to_post(&self, to: Arc<Destination>) -> Post {
        let mut headers = Headers::new();
        for (name, value) in &self.head.headers {
            headers.share(name.clone(), Bytes::copy_from_slice(value.as_bytes()));
        }
        Post {
            to,
            headers,
            body: self.body.clone(),
            connect_timeout: Duration::from_millis(self.head.connect_timeout_ms),
            timeout: Duration::from_millis(self.head.timeout_ms),
            answer_bytes_max: self.head.answer_bytes_max,
            idle_connections_max: IN_FLIGHT_MAX,
        }
    }

    /// A header's value, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Told {
    #[must_use]
    pub fn to_message(&self) -> Bytes {
        let blank = AnswerHead {
            id: self.id,
            status: None,
            retry_after_s: None,
            location: None,
            is_cut: false,
            failed: None,
            detail: None,
        };
        match &self.outcome {
            Outcome::Answered(Answer { status, retry_after_s, body, is_cut, location }) => {
                let head = AnswerHead {
                    status: Some(*status),
                    retry_after_s: *retry_after_s,
                    location: location.clone(),
                    is_cut: *is_cut,
                    ..blank
                };
                message(&head, body)
            }
            Outcome::Failed(failure) => {
                let detail = outcome_detail(&self.outcome);
                message(&AnswerHead { failed: Some(failure.name().to_owned()), detail, ..blank }, &[])
            }
        }
    }

    /// # Errors
    /// What is wrong with it.
    pub fn parse(message: &Bytes) -> Result<Self, &'static str> {
        let (head, body) = split(message)?;
        let head: AnswerHead =
            serde_json::from_slice(&head).map_err(|_| "the head of an answer cannot be read")?;
        let outcome = match (head.status, head.failed) {
            (Some(status @ 100..=999), None) => Outcome::Answered(Answer {
                status,
                retry_after_s: head.retry_after_s,
                location: head.location.map(|to| plain(&to)),
                body: body.to_vec(),
                is_cut: head.is_cut,
            }),
            (None, Some(name)) => Outcome::Failed(failure(&name, &head.detail.unwrap_or_default())),
            (Some(_), _) | (None, None) => return Err("an answer has a status, or else says what failed"),
        };
        Ok(Self { id: head.id, outcome })
    }
}

/// A failure in a receiver's words, which are shown to people and so are short and plain.
fn failure(name: &str, detail: &str) -> Failure {
    let detail = format!("at the listener: {}", plain(detail));
    match name {
        "name_not_resolved" => Failure::NameNotResolved(detail),
        "not_connected" => Failure::NotConnected(detail),
        "connect_timeout" => Failure::ConnectTimeout,
        "tls" => Failure::Tls(detail),
        "timeout" => Failure::Timeout,
        _ => Failure::Broken(detail),
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect()
}

fn message(head: &impl Serialize, body: &[u8]) -> Bytes {
    let mut bytes = serde_json::to_vec(head).expect("a head is numbers and texts");
    bytes.reserve_exact(1 + body.len());
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    bytes.into()
}

fn split(message: &Bytes) -> Result<(Bytes, Bytes), &'static str> {
    let end = message.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n');
    let end = end.ok_or("a message begins with a line of JSON")?;
    Ok((message.slice(..end), message.slice(end + 1..)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(outcome: Outcome) -> Outcome {
        Told::parse(&Told { id: 7, outcome }.to_message()).expect("our own").outcome
    }

    #[test]
    fn an_answer_comes_back_as_it_was_byte_by_byte() {
        let answer = Answer {
            status: 503,
            retry_after_s: Some(9),
            body: b"\xff\n{\n".to_vec(),
            is_cut: true,
            location: None,
        };
        assert_eq!(there_and_back(Outcome::Answered(answer.clone())), Outcome::Answered(answer));
    }

    #[test]
    fn a_failure_comes_back_by_its_name_and_its_words_are_plain() {
        let told = there_and_back(Outcome::Failed(Failure::NotConnected("no\u{1b}[31m way".to_owned())));
        assert_eq!(told, Outcome::Failed(Failure::NotConnected("at the listener: no[31m way".to_owned())));
        let long = Failure::Broken("x".repeat(10_000));
        let Outcome::Failed(Failure::Broken(words)) = there_and_back(Outcome::Failed(long)) else {
            panic!("a failure")
        };
        assert!(words.len() < 400);
        assert_eq!(there_and_back(Outcome::Failed(Failure::Timeout)), Outcome::Failed(Failure::Timeout));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let bad = [
            &b""[..],
            b"{}\n",
            b"{\"id\":1,\"status\":200}",
            b"{\"id\":1}\n",
            b"{\"id\":1,\"status\":20}\n",
            b"{\"id\":1,\"status\":70000}\n",
            b"{\"id\":-1,\"status\":200}\n",
            b"{\"id\":1,\"status\":200,\"failed\":\"tls\"}\n",
            b"nonsense\n",
        ];
        for message in bad {
            assert!(Told::parse(&Bytes::from_static(message)).is_err(), "{message:?}");
        }
        let headless = vec![b' '; HEAD_BYTES_MAX + 1];
        assert!(Told::parse(&headless.into()).is_err());
    }
}
