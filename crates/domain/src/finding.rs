//! One line of a report on an endpoint, a machine or a file: what was seen, how grave it is, and the cure.

use serde_json::{Value, json};

/// How grave a finding is. Only failures make a report's subject unfit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Ok,
    /// Worth knowing, and nothing to mend.
    Note,
    Warning,
    Failure,
}

impl Grade {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warn",
            Self::Failure => "fail",
        }
    }
}

/// What a look at one thing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub about: String,
    pub grade: Grade,
    pub seen: String,
    pub cure: Option<String>,
}

impl Finding {
    #[must_use]
    pub fn ok(about: &str, seen: impl Into<String>) -> Self {
        Self { about: about.to_owned(), grade: Grade::Ok, seen: seen.into(), cure: None }
    }

    #[must_use]
    pub fn note(about: &str, seen: impl Into<String>) -> Self {
        Self { grade: Grade::Note, ..Self::ok(about, seen) }
    }

    #[must_use]
    pub fn warning(about: &str, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { grade: Grade::Warning, cure: Some(cure.into()), ..Self::ok(about, seen) }
    }

    #[must_use]
    pub fn failure(about: &str, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { grade: Grade::Failure, cure: Some(cure.into()), ..Self::ok(about, seen) }
    }

    #[must_use]
    pub fn with_cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"about": self.about, "grade": self.grade.as_str(), "seen": self.seen, "cure": self.cure})
    }
}

/// Whether nothing in the report is a failure.
#[must_use]
pub fn is_fit(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| match finding.grade {
        Grade::Ok | Grade::Note | Grade::Warning => true,
        Grade::Failure => false,
    })
}
