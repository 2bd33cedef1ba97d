//! The domain's words on the command line, so that help and completion know them.

use chathook_domain::delivery::Status;
use chathook_domain::trigger::Trigger;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// A trigger, by its id.
pub fn triggers() -> PossibleValuesParser {
    let value = |trigger: Trigger| {
        let value = PossibleValue::new(trigger.id()).help(trigger.description());
        // Payloads spell the connection trigger otherwise, and people copy from them.
        if trigger.payload_name() == trigger.id() { value } else { value.alias(trigger.payload_name()) }
    };
    PossibleValuesParser::new(Trigger::ALL.map(value))
}

/// The same, understood.
pub fn trigger() -> impl TypedValueParser<Value = Trigger> {
    triggers().map(|id| Trigger::parse(&id).expect("clap lets only known ones through"))
}

/// How a delivery stands.
pub fn statuses() -> PossibleValuesParser {
    PossibleValuesParser::new(Status::ALL.map(Status::as_str))
}

/// How a delivery may have ended.
pub fn endings() -> PossibleValuesParser {
    let ended = Status::ALL.into_iter().filter(|status| *status != Status::Waiting);
    PossibleValuesParser::new(ended.map(Status::as_str))
}
