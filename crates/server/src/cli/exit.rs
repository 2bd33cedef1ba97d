//! What a command's end says to the script that ran it: the exit codes of `docs/cli.md`.

use std::fmt;
use std::io;
use std::process::ExitCode;

use chathook_adapters::api_client::{ApiError, Refused};
use chathook_adapters::sqlite::OpenError;
use chathook_adapters::sqlite::backup::BackupError;
use chathook_adapters::sqlite::restore::RestoreError;

/// How a command ended. The numbers are a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// It was tried, and did not come out well; nothing more telling is known.
    Failed = 1,
    /// The command line, the profile or the environment is not right.
    Usage = 2,
    /// No server answers, or what answers is not chathook.
    Unreachable = 3,
    NotFound = 4,
    /// The credentials are missing, wrong, or not enough.
    NoAccess = 5,
    /// What is there already does not allow it.
    Conflict = 6,
    /// The server finds a value unfit.
    Unfit = 7,
    /// Not now: too many calls, or the store cannot write.
    Later = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// Whether the same may come out well later, with nothing changed on this side.
    #[must_use]
    pub const fn passes(self) -> bool {
        match self {
            Self::Unreachable | Self::Later | Self::Failed => true,
            Self::Done | Self::Usage | Self::NotFound | Self::NoAccess | Self::Conflict | Self::Unfit => {
                false
            }
        }
    }
}

/// An end whose code is known where it comes about, with a sentence that says why and the cure.
#[derive(Debug)]
struct Ending {
    exit: Exit,
    sentence: String,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Ending {}

/// A command that cannot be done as it was given: [`Exit::Usage`].
pub fn usage(sentence: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Ending { exit: Exit::Usage, sentence: sentence.into() })
}

/// A command that what is there does not allow: [`Exit::Conflict`].
pub fn conflict(sentence: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Ending { exit: Exit::Conflict, sentence: sentence.into() })
}

/// What an error means for the exit code.
#[must_use]
pub fn of_error(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Failed)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(ending) = cause.downcast_ref::<Ending>() {
        return Some(ending.exit);
    }
    if let Some(error) = cause.downcast_ref::<ApiError>() {
        return Some(of_api_error(error));
    }
    if let Some(OpenError::InUse(_)) = cause.downcast_ref::<OpenError>() {
        return Some(Exit::Conflict);
    }
    if let Some(error) = cause.downcast_ref::<BackupError>() {
        return match error {
            BackupError::NoDatabase(_) => Some(Exit::NotFound),
            BackupError::Exists(_) => Some(Exit::Conflict),
            BackupError::File(..) | BackupError::Database(_) => None,
        };
    }
    match cause.downcast_ref::<RestoreError>()? {
        RestoreError::NoFile(_) => Some(Exit::NotFound),
        RestoreError::Exists(_) | RestoreError::Directory(OpenError::InUse(_)) => Some(Exit::Conflict),
        RestoreError::Directory(_)
        | RestoreError::HasLog(_)
        | RestoreError::Unfit(_)
        | RestoreError::Key
        | RestoreError::File(..) => None,
    }
}

/// The same of a call.
#[must_use]
pub fn of_api_error(error: &ApiError) -> Exit {
    match error {
        ApiError::Unfit(_) => Exit::Usage,
        ApiError::Unreachable { .. } | ApiError::NotUnderstood { .. } => Exit::Unreachable,
        ApiError::Refused(refused) => of_refusal(refused),
    }
}

/// What helps, where the server's own sentence cannot know it.
#[must_use]
pub fn cure_of(error: &anyhow::Error) -> Option<&'static str> {
    match error.chain().find_map(|cause| cause.downcast_ref::<ApiError>())? {
        ApiError::Refused(refused) if refused.code == "AUTH_ERR_NO_ACCESS" => Some(
            "Name the right ones: CHATHOOK_MANAGEMENT_KEY and CHATHOOK_MANAGEMENT_SECRET, a --profile, or on the \
             server's machine its --data-dir.",
        ),
        ApiError::Refused(refused) if refused.code == "ERR_API_NOT_FOUND" => Some(
            "Where the server takes management calls at a door of their own, name that one: the address of its \
             --admin-listen.",
        ),
        ApiError::Refused(_)
        | ApiError::Unfit(_)
        | ApiError::Unreachable { .. }
        | ApiError::NotUnderstood { .. } => None,
    }
}

/// Whether the reader of our output has gone, as `head` does: no failure of ours.
#[must_use]
pub fn is_hung_up(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}

/// Codes that say that the present state is in the way come with status 400.
const CONFLICTS: [&str; 4] =
    ["ERR_ALREADY_JOINED", "ERR_PLAN_QUOTA_RESTRICTION", "ERR_WEBHOOK_OFF", "ERR_DELIVERY_ENDED"];

/// How the code ends that says of any noun that its id is taken.
const TAKEN: &str = "_ALREADY_EXISTS";

fn of_refusal(refused: &Refused) -> Exit {
    if refused.code.ends_with(TAKEN) || CONFLICTS.contains(&refused.code.as_str()) {
        return Exit::Conflict;
    }
    match refused.status {
        401 | 403 => Exit::NoAccess,
        404 | 410 => Exit::NotFound,
        409 => Exit::Conflict,
        429 | 503 => Exit::Later,
        400..=499 => Exit::Unfit,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use chathook_domain::refusal::Code;
    use serde_json::Value;

    use super::*;
    use crate::api::error::status_of;

    fn exit_of(code: Code) -> Exit {
        let (status, code) = (status_of(code).as_u16(), code.as_str().to_owned());
        let refused = Refused { status, code, message: String::new(), error: Value::Null };
        of_error(&anyhow::Error::new(ApiError::Refused(Box::new(refused))).context("while trying"))
    }

    #[test]
    fn a_refusal_has_the_exit_code_of_its_kind() {
        let cases = [
            (Code::WebhookNotFound, Exit::NotFound),
            (Code::EventsGone, Exit::NotFound),
            (Code::NoAccess, Exit::NoAccess),
            (Code::EmptyAuthHeader, Exit::NoAccess),
            (Code::UidAlreadyExists, Exit::Conflict),
            (Code::WebhookAlreadyExists, Exit::Conflict),
            (Code::WebhookOff, Exit::Conflict),
            (Code::DeliveryEnded, Exit::Conflict),
            (Code::WebhookLimit, Exit::Conflict),
            (Code::BadRequest, Exit::Unfit),
            (Code::PayloadTooLarge, Exit::Unfit),
            (Code::TooManyRequests, Exit::Later),
            (Code::StoreUnavailable, Exit::Later),
            (Code::Internal, Exit::Failed),
        ];
        for (code, exit) in cases {
            assert_eq!(exit_of(code), exit, "{}", code.as_str());
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let gone = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("while writing");
        assert!(is_hung_up(&gone));
        assert!(!is_hung_up(&usage("wrong")));
    }
}
