//! Which webhooks need a person, why, and what cures it: the worst first.

use crate::ids::{Time, WebhookId};
use crate::meaning::meaning;
use crate::webhook::OnFailure;

/// What waits longer than this is worth a look, though nothing has failed (design 6: the circuit's longest pause).
pub const WAITS_LONG_MS: i64 = 15 * 60_000;
/// A backlog of this part of its bound is near it: one in so many.
const NEAR_SHARE: i64 = 5;
const HOUR_MS: i64 = 60 * 60_000;

/// What is known of a webhook now.
#[derive(Debug, Clone)]
pub struct Facts {
    pub webhook: WebhookId,
    pub is_enabled: bool,
    pub switched_off: Option<String>,
    /// Since when nothing has succeeded, where something has failed.
    pub failing_since: Option<Time>,
    /// The status or named failure of the last attempt that failed, where it is failing.
    pub last_failure: Option<String>,
    /// The circuit of its deliveries, and that of `before_message`.
    pub is_circuit_open: bool,
    pub is_hook_circuit_open: bool,
    /// How often `before_message` asked it of late, and how often it gave no usable answer.
    pub asked: u64,
    pub silent: u64,
    /// Why it is silent, where it is, and since when, where that is known.
    pub silence: Option<(String, Option<Time>)>,
    /// What becomes of messages about which it keeps silent.
    pub on_failure: OnFailure,
    pub waiting: u64,
    pub waiting_bytes: i64,
    pub waiting_bytes_max: i64,
    pub oldest_waiting_at: Option<Time>,
    /// Until when the secret before the last rotation signs as well.
    pub rotation_until: Option<Time>,
    /// Deliveries whose schedule ended in the last day.
    pub unsent_in_a_day: u64,
}

/// Why a person is needed. The order is that of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeedKind {
    SwitchedOff,
    Backlog,
    Failing,
    CircuitOpen,
    BeforeMessage,
    Unsent,
    WaitsLong,
    WaitsWhileDisabled,
    Rotation,
}

impl NeedKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SwitchedOff => "switched_off",
            Self::Backlog => "backlog",
            Self::Failing => "failing",
            Self::CircuitOpen => "circuit_open",
            Self::BeforeMessage => "before_message",
            Self::Unsent => "unsent",
            Self::WaitsLong => "waits_long",
            Self::WaitsWhileDisabled => "waits_while_disabled",
            Self::Rotation => "rotation",
        }
    }

    /// Nothing is wrong; it is only not finished.
    #[must_use]
    pub const fn is_mild(self) -> bool {
        match self {
            Self::SwitchedOff
            | Self::Backlog
            | Self::Failing
            | Self::CircuitOpen
            | Self::BeforeMessage
            | Self::Unsent
            | Self::WaitsLong => false,
            Self::WaitsWhileDisabled | Self::Rotation => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub webhook: WebhookId,
    pub kind: NeedKind,
    pub sentence: String,
    pub cure: String,
    /// The outcome, or the cause of a silence, that is behind it, where one is known.
    pub cause: Option<String>,
    /// Since when, or until when, where that is known.
    pub since: Option<Time>,
}

impl Need {
    /// One whose cause is in its sentence, or not known.
    fn of(facts: &Facts, kind: NeedKind, sentence: String, cure: &str, since: Option<Time>) -> Self {
        Self { webhook: facts.webhook.clone(), kind, sentence, cure: cure.to_owned(), cause: None, since }
    }
}

/// All that these webhooks need, the worst first, and of one weight the older first.
#[must_use]
pub fn needs(all: &[Facts], now: Time) -> Vec<Need> {
    let mut needs: Vec<Need> = all.iter().flat_map(|facts| needs_of(facts, now)).collect();
    needs.sort_by_key(|need| (need.kind, need.since.map_or(i64::MAX, |since| since.ms)));
    needs
}

fn needs_of(facts: &Facts, now: Time) -> Vec<Need> {
    let need = |kind, sentence, cure, since| Need::of(facts, kind, sentence, cure, since);
    let mut found = Vec::new();
    if let Some(why) = &facts.switched_off {
        let (sentence, cure) = switched_off(why);
        found.push(need(NeedKind::SwitchedOff, sentence.to_owned(), cure, None));
    } else if !facts.is_enabled {
        if facts.waiting > 0 {
            let sentence = "It is disabled, and deliveries wait for it. They expire after 7 days.".to_owned();
            let cure = "Enable the webhook to let them out, or cancel them.";
            found.push(need(NeedKind::WaitsWhileDisabled, sentence, cure, facts.oldest_waiting_at));
        }
    } else {
        found.extend(troubles(facts, now));
    }
    if facts.unsent_in_a_day > 0 {
        let sentence = format!("{} ended unsent in the last day.", deliveries(facts.unsent_in_a_day));
        let cure = "Look at their last answers, mend the endpoint, and replay what failed.";
        found.push(need(NeedKind::Unsent, sentence, cure, None));
    }
    if let Some(until) = facts.rotation_until.filter(|until| until.ms > now.ms) {
        let sentence =
            format!("Its old secret signs beside the new one for {} more.", span(until.ms - now.ms));
        let cure = "Give the endpoint the new secret before that time is over.";
        found.push(need(NeedKind::Rotation, sentence, cure, Some(until)));
    }
    found
}

fn switched_off(why: &str) -> (&'static str, &'static str) {
    match why {
        "gone" => (
            "It is switched off: the endpoint answered 410 Gone.",
            "Correct its URL, or make the endpoint answer 2xx, and enable the webhook again.",
        ),
        "backlog" => (
            "It is switched off: more waits for it than the server keeps.",
            "Mend the endpoint and enable the webhook again; what waits then goes out in order.",
        ),
        _ => (
            "It is switched off: nothing has reached the endpoint for five days.",
            "Mend the endpoint, test it, and enable the webhook again; what waits goes out in order.",
        ),
    }
}

/// What is wrong with one that is on.
fn troubles(facts: &Facts, now: Time) -> Vec<Need> {
    let mut found = Vec::new();
    let need = |kind, sentence, cure, since| Need::of(facts, kind, sentence, cure, since);
    if facts.waiting_bytes > facts.waiting_bytes_max - facts.waiting_bytes_max / NEAR_SHARE {
        let sentence = "Its backlog is near the bound at which it is switched off.".to_owned();
        let cure = "Mend the endpoint or make it faster, or allow more with --webhook-backlog-max.";
        found.push(need(NeedKind::Backlog, sentence, cure, facts.oldest_waiting_at));
    }
    if let Some(since) = facts.failing_since {
        found.push(failing(facts, since, now));
    } else if facts.is_circuit_open {
        let sentence = "Its circuit is open: deliveries wait, and one is tried from time to time.".to_owned();
        let cure = "See the failures by cause. It closes by itself once the endpoint answers.";
        found.push(need(NeedKind::CircuitOpen, sentence, cure, None));
    }
    if facts.is_hook_circuit_open || is_mostly_silent(facts) {
        found.push(silent(facts));
    }
    let oldest = facts.oldest_waiting_at.filter(|at| now.ms - at.ms > WAITS_LONG_MS);
    if let Some(oldest) = oldest.filter(|_| facts.failing_since.is_none()) {
        let sentence = format!("The oldest delivery has waited for {}.", span(now.ms - oldest.ms));
        let cure = "Look at what waits and at its last answers; try it now, or cancel it.";
        found.push(need(NeedKind::WaitsLong, sentence, cure, Some(oldest)));
    }
    found
}

fn failing(facts: &Facts, since: Time, now: Time) -> Need {
    let why = facts.last_failure.as_deref().map(meaning);
    let (says, cure) = match &why {
        Some(why) => (format!(": {}", why.says), why.cure),
        None => (String::new(), "See the last answers for the cause."),
    };
    Need {
        webhook: facts.webhook.clone(),
        kind: NeedKind::Failing,
        sentence: format!("Nothing has succeeded for {}{says}.", span(now.ms - since.ms)),
        cure: format!("{cure} After five days it is switched off."),
        cause: facts.last_failure.clone(),
        since: Some(since),
    }
}

/// An endpoint that answers what cannot be used keeps its circuit closed, and is no moderator all the same.
#[must_use]
pub const fn is_mostly_silent(facts: &Facts) -> bool {
    facts.silent > facts.asked / 2
}

fn silent(facts: &Facts) -> Need {
    let (cause, since) = facts.silence.clone().unzip();
    let why = cause.as_deref().map(meaning);
    let says = why.as_ref().map(|why| format!(": {}", why.says)).unwrap_or_default();
    let cure = why.as_ref().map_or("Make the endpoint answer in time.", |why| why.cure);
    let (sentence, cure) = if facts.is_hook_circuit_open {
        let (fate, or) = match facts.on_failure {
            OnFailure::Propagate => ("messages go on without it", ""),
            OnFailure::Drop => ("all messages are refused", " Or let messages go on when it fails."),
        };
        (
            format!("It keeps silent to before_message, so {fate}{says}."),
            format!("{cure} One message every 5 s asks it again.{or}"),
        )
    } else {
        let Facts { silent, asked, .. } = facts;
        (
            format!(
                "It gave no usable answer to {silent} of the last {asked} calls of before_message{says}."
            ),
            cure.to_owned(),
        )
    };
    Need {
        webhook: facts.webhook.clone(),
        kind: NeedKind::BeforeMessage,
        sentence,
        cure,
        cause,
        since: since.flatten(),
    }
}

fn deliveries(count: u64) -> String {
    if count == 1 { "One delivery".to_owned() } else { format!("{count} deliveries") }
}

/// As a person would say it.
fn span(ms: i64) -> String {
    let (count, unit) = match ms.max(0) {
        ms if ms < 2 * 60_000 => (ms / 1_000, "second"),
        ms if ms < 2 * HOUR_MS => (ms / 60_000, "minute"),
        ms if ms < 48 * HOUR_MS => (ms / HOUR_MS, "hour"),
        ms => (ms / (24 * HOUR_MS), "day"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_ms(100 * HOUR_MS);

    fn well(name: &str) -> Facts {
        Facts {
            webhook: WebhookId::trusted(name),
            is_enabled: true,
            switched_off: None,
            failing_since: None,
            last_failure: None,
            is_circuit_open: false,
            is_hook_circuit_open: false,
            asked: 0,
            silent: 0,
            silence: None,
            on_failure: OnFailure::Propagate,
            waiting: 0,
            waiting_bytes: 0,
            waiting_bytes_max: 1_000,
            oldest_waiting_at: None,
            rotation_until: None,
            unsent_in_a_day: 0,
        }
    }

    fn kinds(all: &[Facts]) -> Vec<(String, NeedKind)> {
        needs(all, NOW).into_iter().map(|need| (need.webhook.as_str().to_owned(), need.kind)).collect()
    }

    #[test]
    fn a_webhook_that_is_well_needs_nobody() {
        let young = NOW.plus_ms(-WAITS_LONG_MS);
        let busy = Facts { waiting: 9, waiting_bytes: 800, oldest_waiting_at: Some(young), ..well("a") };
        let rotated = Facts { rotation_until: Some(NOW), ..well("b") };
        assert_eq!(kinds(&[busy, rotated, Facts { is_enabled: false, ..well("c") }]), []);
    }

    #[test]
    fn the_worst_comes_first_and_of_one_weight_the_older() {
        let ago = |hours: i64| Some(NOW.plus_ms(-hours * HOUR_MS));
        let all = [
            Facts { rotation_until: ago(-1), ..well("rotated") },
            Facts { is_circuit_open: true, is_hook_circuit_open: true, ..well("open") },
            Facts { failing_since: ago(1), ..well("failing an hour") },
            Facts { failing_since: ago(3), oldest_waiting_at: ago(3), ..well("failing three hours") },
            Facts { waiting_bytes: 801, ..well("full") },
            Facts { switched_off: Some("gone".to_owned()), failing_since: ago(9), ..well("off") },
            Facts { unsent_in_a_day: 2, oldest_waiting_at: ago(1), ..well("old") },
            Facts { is_enabled: false, waiting: 1, ..well("disabled") },
        ];
        let expected = [
            ("off", NeedKind::SwitchedOff),
            ("full", NeedKind::Backlog),
            ("failing three hours", NeedKind::Failing),
            ("failing an hour", NeedKind::Failing),
            ("open", NeedKind::CircuitOpen),
            ("open", NeedKind::BeforeMessage),
            ("old", NeedKind::Unsent),
            ("old", NeedKind::WaitsLong),
            ("disabled", NeedKind::WaitsWhileDisabled),
            ("rotated", NeedKind::Rotation),
        ];
        assert_eq!(kinds(&all), expected.map(|(name, kind)| (name.to_owned(), kind)));
    }

    #[test]
    fn a_need_says_how_long_and_how_many() {
        let sentence = |facts: Facts| needs(&[facts], NOW).remove(0).sentence;
        let failing = Facts { failing_since: Some(NOW.plus_ms(-90 * 60_000)), ..well("a") };
        assert_eq!(sentence(failing), "Nothing has succeeded for 90 minutes.");
        let unsent = Facts { unsent_in_a_day: 1, ..well("a") };
        assert_eq!(sentence(unsent), "One delivery ended unsent in the last day.");
    }

    #[test]
    fn a_silent_gate_that_lets_nothing_through_says_so() {
        let silent = |on_failure| Facts { is_hook_circuit_open: true, on_failure, ..well("gate") };
        let sentence = |on_failure| needs(&[silent(on_failure)], NOW).remove(0).sentence;
        assert!(sentence(OnFailure::Propagate).ends_with("so messages go on without it."));
        assert!(sentence(OnFailure::Drop).ends_with("so all messages are refused."));
    }

    #[test]
    fn a_need_names_the_cause_that_is_known_and_its_cure() {
        let need = |facts: Facts| needs(&[facts], NOW).remove(0);
        let since = Some(NOW.plus_ms(-HOUR_MS));
        let failing = need(Facts { failing_since: since, last_failure: Some("tls".to_owned()), ..well("a") });
        let sentence = "Nothing has succeeded for 60 minutes: its certificate or its TLS handshake failed.";
        assert_eq!(failing.sentence, sentence);
        assert!(failing.cure.contains("--endpoint-ca"), "{}", failing.cure);
        assert_eq!(failing.cause.as_deref(), Some("tls"));
        let silence = Some(("timeout".to_owned(), since));
        let silent = need(Facts { is_hook_circuit_open: true, silence, ..well("a") });
        assert!(silent.sentence.ends_with(": it gave no answer in time."), "{}", silent.sentence);
        assert_eq!((silent.cause.as_deref(), silent.since), (Some("timeout"), since));
    }

    #[test]
    fn a_hook_that_answers_what_cannot_be_used_needs_a_person_though_its_circuit_is_closed() {
        let asked = |asked, silent| Facts { asked, silent, ..well("a") };
        assert_eq!(kinds(&[asked(4, 2), asked(0, 0)]), []);
        let silence = Some(("status_500".to_owned(), None));
        let need = needs(&[Facts { silence, ..asked(4, 3) }], NOW).remove(0);
        assert_eq!(need.kind, NeedKind::BeforeMessage);
        let sentence = "It gave no usable answer to 3 of the last 4 calls of before_message: it answered 500, a \
                        failure of its own.";
        assert_eq!(need.sentence, sentence);
    }
}
