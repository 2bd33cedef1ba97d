//! The colour of the word that says how a webhook stands.

use chathook_engine::condition::Condition;

/// The tone of its badge.
#[must_use]
pub const fn tone_of(condition: Condition) -> &'static str {
    match condition {
        Condition::On => "good",
        Condition::Failing | Condition::CircuitOpen | Condition::SwitchedOff => "bad",
        Condition::Paused => "warn",
        Condition::Disabled => "plain",
    }
}
