//! What comes of asking the store.

use chathook_domain::refusal::Refusal;

/// Why the store did not do as asked.
#[derive(Debug)]
pub enum StoreError {
    /// The disk is full or the database is locked: refused for now, nothing was written.
    Unavailable(String),
    /// The request itself cannot be: not found, exists already, no longer allowed.
    Refused(Refusal),
    /// Our own mistake.
    Fault(String),
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

pub type Stored<T> = Result<T, StoreError>;
