//! The message that a deed leaves for the next page.

/// What came of the last deed, shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flash {
    pub tone: Tone,
    pub text: String,
    /// Something that no page shows again, under its name.
    pub secret: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    Bad,
}

impl Flash {
    #[must_use]
    pub fn good(text: impl Into<String>) -> Self {
        Self { tone: Tone::Good, text: text.into(), secret: None }
    }

    #[must_use]
    pub fn bad(text: impl Into<String>) -> Self {
        Self { tone: Tone::Bad, text: text.into(), secret: None }
    }

    /// The same with a secret that is shown this once.
    #[must_use]
    pub fn with_secret(self, name: &str, value: String) -> Self {
        Self { secret: Some((name.to_owned(), value)), ..self }
    }

    #[must_use]
    pub const fn is_bad(&self) -> bool {
        matches!(self.tone, Tone::Bad)
    }
}
