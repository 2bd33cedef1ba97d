//! What the codes of outcomes, of silences of `before_message` and of turns of circuits say to a person, and what
//! helps: the one table. Codes are stable and searched for; their sentences may change.

/// A code in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// A clause about the endpoint: "it gave no answer in time".
    pub says: String,
    /// A sentence; empty where nothing needs to be done.
    pub cure: &'static str,
}

/// Named failures of an attempt, as [`crate::outcome::Failure::name`] gives them.
const FAILURES: &[(&str, &str, &str)] = &[
    (
        "address_refused",
        "its address is not public, nor in a network that this server allows",
        "Give the URL a public address, or have the operator allow its network with --allow-network.",
    ),
    (
        "scheme_refused",
        "its URL is not https",
        "Give an https URL, or have the operator allow plain http with --allow-http-endpoints.",
    ),
    ("name_not_resolved", "its host name was not found", "Check the host in the URL and its DNS records."),
    (
        "not_connected",
        "it took no connection",
        "See that it runs, that it listens at that port, and that no firewall stands between.",
    ),
    (
        "connect_timeout",
        "connecting to it took too long",
        "See that it runs, and that no firewall drops what comes from this server.",
    ),
    (
        "tls",
        "its certificate or its TLS handshake failed",
        "Let it send a certificate for its name that is in date, with the chain to a known authority; one of your own \
         the operator names with --endpoint-ca.",
    ),
    (
        "timeout",
        "it gave no answer in time",
        "Let it answer first and work afterwards, or give it more time.",
    ),
    (
        "broken",
        "the connection broke before its answer was complete",
        "See its log, and that of a proxy before it: something ends connections early.",
    ),
    (
        "internal",
        "the attempt failed on the side of this server",
        "It is made again by itself; the server's log has the error.",
    ),
];

/// Silences of `before_message` beside those that are outcomes.
const SILENCES: &[(&str, &str, &str)] = &[
    ("answer_too_long", "its answer has more than 1 MiB", "Let it answer with the verdict alone."),
    ("answer_too_deep", "its answer is nested too deeply", "Let it answer with a flat object."),
    (
        "replacement_without_data",
        "its answer asks to replace and has no object 'data'",
        "Let it name the fields: {\"action\":\"replace\",\"data\":{\"text\":\"…\"}}.",
    ),
    (
        "inject_not_an_object",
        "the 'inject' of its answer is no object",
        "Let it answer with an object there, or leave it out.",
    ),
    ("injected_too_large", "it adds more than 16 KiB", "Let it add less."),
    (
        "circuit_open",
        "it was not asked: it had kept silent five times in a row",
        "One message every 5 s asks it again; the calls before tell the cause.",
    ),
    ("no_place", "it was not asked: too many calls to it were under way", "Let it answer faster."),
    (
        "no_time",
        "it was not asked: the webhooks before it left nothing of the budget",
        "Make those faster, or raise the budget in the app's settings.",
    ),
    ("sender_gone", "the sender hung up before it answered", ""),
];

/// Causes of turns of a circuit that are no outcomes.
const CAUSES: &[(&str, &str, &str)] = &[
    ("patience", "a delivery failed for as long as the patience lasts", ""),
    ("changed", "a person changed the webhook, or switched it on", ""),
    ("gone", "it answered 410", "Correct the URL, and enable the webhook again."),
    ("failing", "nothing reached it for five days", "Mend it, test it, and enable the webhook again."),
    ("backlog", "more waited for it than the server keeps", "Make it faster, and enable the webhook again."),
];

/// Statuses that are counted together (`Cause::name` of tallies), with one of them and how they are told.
const CLASSES: &[(&str, u16, &str)] = &[
    ("3xx", 300, "3xx"),
    ("401_403", 401, "401 or 403"),
    ("4xx", 400, "another 4xx"),
    ("5xx", 500, "5xx"),
    ("other", 999, "below 200 or above 599"),
];

/// Every code that has a sentence of its own. Statuses beside them are told by their class.
pub fn codes() -> impl Iterator<Item = &'static str> {
    [FAILURES, SILENCES, CAUSES].into_iter().flatten().map(|(code, ..)| *code)
}

/// A code that is not known, as of a later version, says itself.
#[must_use]
pub fn meaning(code: &str) -> Meaning {
    let status = code.strip_prefix("status_").unwrap_or(code);
    if let Some(number) = status.parse().ok().filter(|status| (100..1_000).contains(status)) {
        return of_status(number, status);
    }
    if let Some((_, status, text)) = CLASSES.iter().find(|(class, ..)| *class == code) {
        return of_status(*status, text);
    }
    let known = [FAILURES, SILENCES, CAUSES].into_iter().flatten().find(|(known, ..)| *known == code);
    known.map_or_else(
        || Meaning { says: code.replace('_', " "), cure: "" },
        |(_, says, cure)| Meaning { says: (*says).to_owned(), cure },
    )
}

/// `text`: the status as it is told.
fn of_status(status: u16, text: &str) -> Meaning {
    let (what, cure) = match status {
        200..=299 => ("", ""),
        300..=399 => (", a redirect, and those are never followed", "Give the URL to which it leads."),
        401 | 403 => (
            ": it does not let this server in",
            "Compare the webhook's Basic auth and signing secret with those that it expects.",
        ),
        404 => (": there is nothing at this path", "Correct the path of the URL."),
        405 => (": it takes no POST at this path", "Correct the path of the URL, or let it take POST."),
        408 => (": the request came too slowly for it", "See its log, and that of a proxy before it."),
        410 => (": it is gone for good", "Correct the URL, and enable the webhook again."),
        429 => (": it is sent too much at once", "Let it take more; its Retry-After is kept, up to an hour."),
        400..=499 => (" and does not want this one", "Its answer may say why; see its log."),
        500..=599 => (", a failure of its own", "See its log."),
        _ => (", which is no success", "Let it answer 2xx."),
    };
    Meaning { says: format!("it answered {text}{what}"), cure }
}

impl Meaning {
    /// As a sentence of its own.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut letters = self.says.chars();
        let first = letters.next().map(|letter| letter.to_uppercase().to_string());
        format!("{}{}.", first.unwrap_or_default(), letters.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Failure;

    #[test]
    fn every_named_failure_has_a_sentence_and_a_cure() {
        let text = String::new;
        for failure in [
            Failure::AddressRefused(text()),
            Failure::SchemeRefused,
            Failure::NameNotResolved(text()),
            Failure::NotConnected(text()),
            Failure::ConnectTimeout,
            Failure::Tls(text()),
            Failure::Timeout,
            Failure::Broken(text()),
            Failure::Internal,
        ] {
            let meaning = meaning(failure.name());
            assert!(codes().any(|code| code == failure.name()), "{failure:?}");
            assert!(!meaning.cure.is_empty() && !meaning.says.contains('_'), "{meaning:?}");
        }
    }

    #[test]
    fn a_status_is_told_by_its_class_also_as_a_silence() {
        assert_eq!(meaning("503").sentence(), "It answered 503, a failure of its own.");
        assert_eq!(meaning("status_503"), meaning("503"));
        assert_eq!(meaning("302").cure, "Give the URL to which it leads.");
        assert_eq!(meaning("200").sentence(), "It answered 200.");
        assert_eq!(meaning("401_403").says, "it answered 401 or 403: it does not let this server in");
    }

    #[test]
    fn the_document_has_every_code_with_its_sentence_and_cure() {
        let document = include_str!("../../../docs/history.md");
        for code in codes() {
            let Meaning { says, cure } = meaning(code);
            assert!(document.contains(&format!("| `{code}` | {says} | {cure} |\n")), "{code}");
        }
    }

    #[test]
    fn what_is_not_known_says_itself() {
        let refused = "the replacement was refused: The field 'text' must not be empty.";
        assert_eq!(meaning(refused).says, refused);
        assert_eq!(meaning("sun_spots").sentence(), "Sun spots.");
    }
}
