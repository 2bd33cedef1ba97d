//! Whether an endpoint is fit to receive webhooks: what was seen of it becomes findings with their cures.
//! Where it is and whether it can be reached and trusted; what it answers is judged in `answers`.

pub mod answers;

use std::net::IpAddr;

use crate::address::{AddressClass, Refused};
use crate::finding::Finding;
use crate::ids::Time;
use crate::outcome::{Failure, Outcome};
use crate::webhook::EndpointUrl;

/// A certificate with fewer days left is worth a warning: common authorities renew with 30 days left, so
/// that at 21 the renewal has failed for more than a week.
pub const DAYS_LEFT_MIN: i64 = 21;
/// A name may stand for hundreds.
const ADDRESSES_TOLD_MAX: usize = 8;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// An address behind the endpoint's name, as the guard of real deliveries judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedAddress {
    pub address: IpAddr,
    pub judgement: Result<Reach, Refused>,
}

/// Why an address may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Public,
    /// The operator opened its network.
    Opened,
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    pub not_before: Time,
    pub not_after: Time,
}

impl Certificate {
    /// Whole days until it is over; negative once it is.
    #[must_use]
    pub fn days_left(&self, now: Time) -> i64 {
        (self.not_after.ms - now.ms).div_euclid(DAY_MS)
    }

    fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

/// The addresses that the endpoint's host stands for.
#[must_use]
pub fn addresses(url: &EndpointUrl, judged: &[JudgedAddress]) -> Finding {
    const ABOUT: &str = "address";
    let is_open = |one: &&JudgedAddress| one.judgement.is_ok();
    let mut told: Vec<String> = judged.iter().take(ADDRESSES_TOLD_MAX).map(told).collect();
    if judged.len() > told.len() {
        told.push(format!("and {} more", judged.len() - told.len()));
    }
    let (seen, open) = (told.join("; "), judged.iter().filter(is_open).count());
    let host = url.host();
    if judged.is_empty() {
        return Finding::failure(
            ABOUT,
            format!("{host} has no address"),
            "Give the name an A or AAAA record.",
        );
    }
    if open == 0 {
        return Finding::failure(ABOUT, seen, refused_cure(judged));
    }
    if open < judged.len() {
        let cure = format!(
            "Deliveries go to the addresses that may be called. Take the others out of the records of {host}."
        );
        return Finding::warning(ABOUT, seen, cure);
    }
    Finding::ok(ABOUT, seen)
}

fn told(judged: &JudgedAddress) -> String {
    match &judged.judgement {
        Ok(Reach::Public) => format!("{} is public", judged.address),
        Ok(Reach::Opened) => format!("{} is in an allowed network", judged.address),
        Err(refused) => refused.to_string(),
    }
}

fn refused_cure(judged: &[JudgedAddress]) -> String {
    let first = judged.iter().find_map(|one| one.judgement.as_ref().err());
    let can_be_opened = first.filter(|refused| match refused.class {
        AddressClass::Private | AddressClass::Embedding => true,
        AddressClass::Public | AddressClass::LinkLocalOrMetadata | AddressClass::NotUnicast => false,
    });
    match can_be_opened {
        Some(refused) => format!(
            "Let the endpoint have a public address; or, if it is to be inside, start the server (and this check) \
             with --allow-network {}.",
            refused.address
        ),
        None => "No setting opens this address: let the endpoint have another.".to_owned(),
    }
}

/// Why the guard let nothing through, where the addresses alone do not say it.
#[must_use]
pub fn not_called(failure: &Failure) -> Finding {
    match failure {
        Failure::SchemeRefused => Finding::failure(
            "scheme",
            "plain http is not called",
            "Serve the endpoint over https; or, inside a network opened with --allow-network, add \
             --allow-http-endpoints to the server (and to this check).",
        ),
        Failure::NameNotResolved(why) => Finding::failure(
            "address",
            format!("the name does not resolve: {why}"),
            "Check the spelling, the name's A and AAAA records, and this machine's resolver.",
        ),
        Failure::AddressRefused(why) => Finding::failure("address", why.clone(), "Use a public address."),
        Failure::NotConnected(_)
        | Failure::ConnectTimeout
        | Failure::Tls(_)
        | Failure::Timeout
        | Failure::Broken(_)
        | Failure::Internal => connection(failure),
    }
}

/// Why there was no answer, and what helps.
#[must_use]
pub fn connection(failure: &Failure) -> Finding {
    const ABOUT: &str = "connection";
    match failure {
        Failure::SchemeRefused | Failure::NameNotResolved(_) | Failure::AddressRefused(_) => {
            not_called(failure)
        }
        Failure::NotConnected(why) => Finding::failure(
            ABOUT,
            format!("no TCP connection: {why}"),
            "Start the server behind this address, check the port, and let the firewall pass it.",
        ),
        Failure::ConnectTimeout => Finding::failure(
            ABOUT,
            "no TCP connection in time",
            "Check that the address is right and that no firewall drops the packets.",
        ),
        Failure::Tls(why) => Finding::failure(
            ABOUT,
            format!("the TLS handshake failed: {why}"),
            "Serve TLS 1.2 or 1.3 on this port, with a certificate that is trusted and names the host.",
        ),
        Failure::Timeout => Finding::failure(
            ABOUT,
            "connected, and no whole answer in time",
            "Answer at once, and do what takes time after the answer.",
        ),
        Failure::Broken(why) => Finding::failure(
            ABOUT,
            format!("the connection ended or spoke no HTTP/1.1: {why}"),
            "Let an HTTP/1.1 server listen on this port; HTTP/2 alone is not spoken.",
        ),
        Failure::Internal => Finding::failure(ABOUT, "the attempt died on our side", "Report this as a bug."),
    }
}

/// The certificates that the endpoint showed, and whether the handshake took them.
#[must_use]
pub fn certificate(url: &EndpointUrl, chain: &[Certificate], outcome: &Outcome, now: Time) -> Finding {
    const ABOUT: &str = "certificate";
    if !url.is_https() {
        return Finding::warning(
            ABOUT,
            "plain http: what people wrote and the credentials go over the network in the clear",
            "Serve the endpoint over https.",
        );
    }
    let refusal = match outcome {
        Outcome::Failed(Failure::Tls(why)) => Some(why),
        Outcome::Failed(_) | Outcome::Answered(_) => None,
    };
    let Some(leaf) = chain.first() else {
        let why = refusal.map_or("the handshake did not come to a certificate", String::as_str);
        return Finding::failure(
            ABOUT,
            why.to_owned(),
            "Let a TLS server with a certificate listen on this port.",
        );
    };
    let shown = format!("{}, by {}", leaf.subject, leaf.issuer);
    if let Some(why) = refusal {
        return refused_certificate(ABOUT, leaf, &shown, why, now);
    }
    let soonest = chain.iter().min_by_key(|one| one.not_after).unwrap_or(leaf);
    let days = soonest.days_left(now);
    let of = if soonest == leaf { String::new() } else { format!(" ({} in its chain)", soonest.subject) };
    if days < DAYS_LEFT_MIN {
        let seen = format!("{shown}: ends in {}{of}", days_text(days));
        return Finding::warning(ABOUT, seen, "Renew it now, and find out why it was not renewed by itself.");
    }
    Finding::ok(ABOUT, format!("{shown}: trusted, {} left{of}", days_text(days)))
}

fn refused_certificate(about: &str, leaf: &Certificate, shown: &str, why: &str, now: Time) -> Finding {
    if leaf.not_after <= now {
        let seen = format!("{shown}: expired {} ago", days_text(-leaf.days_left(now)));
        return Finding::failure(about, seen, "Renew the certificate and restart what serves it.");
    }
    if leaf.not_before > now {
        let seen = format!("{shown}: not valid yet ({why})");
        return Finding::failure(
            about,
            seen,
            "Check the clocks of both machines, or wait until it is valid.",
        );
    }
    if leaf.is_self_signed() {
        let seen = format!("{shown}: signed by itself, and not trusted ({why})");
        let cure = "Use a certificate of a public authority; or make this one for its host alone \
                    (basicConstraints=CA:FALSE), and give it to the server (and this check) with --endpoint-ca FILE.";
        return Finding::failure(about, seen, cure);
    }
    let cure = "Serve the whole chain, with a certificate that names this host, of a public authority; for an \
                authority of your own give its root with --endpoint-ca FILE.";
    Finding::failure(about, format!("{shown}: refused ({why})"), cure)
}

fn days_text(days: i64) -> String {
    match days {
        1 => "1 day".to_owned(),
        other => format!("{other} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::OpenNetworks;
    use crate::finding::Grade;
    use crate::outcome::Answer;

    const NOW: Time = Time::from_ms(1_760_000_000_000);

    fn url(text: &str) -> EndpointUrl {
        EndpointUrl::parse("url", text).expect("the test wrote a URL")
    }

    fn judged(address: &str) -> JudgedAddress {
        let address = address.parse().expect("the test wrote an address");
        let judgement = OpenNetworks::default().may_call(address).map(|()| Reach::Public);
        JudgedAddress { address, judgement }
    }

    fn one(subject: &str, issuer: &str, days: i64) -> Certificate {
        Certificate {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            not_before: NOW.plus_ms(-90 * DAY_MS),
            not_after: NOW.plus_ms(days * DAY_MS),
        }
    }

    fn answered() -> Outcome {
        Outcome::Answered(Answer {
            status: 200,
            retry_after_s: None,
            body: Vec::new(),
            is_cut: false,
            location: None,
        })
    }

    #[test]
    fn an_address_is_judged_as_the_guard_judges_it() {
        let of = |list: &[&str]| {
            let list: Vec<_> = list.iter().map(|address| judged(address)).collect();
            addresses(&url("https://hook.test/"), &list)
        };
        assert_eq!(of(&["1.1.1.1"]).grade, Grade::Ok);
        assert_eq!(of(&["1.1.1.1", "10.0.0.1"]).grade, Grade::Warning);
        assert_eq!(of(&[]).grade, Grade::Failure);
        let inside = of(&["10.0.0.1"]);
        assert_eq!(inside.grade, Grade::Failure);
        assert!(inside.cure.expect("a cure").contains("--allow-network 10.0.0.1"));
        let many = of(&["1.1.1.1"; 10]);
        assert!(many.grade == Grade::Ok && many.seen.ends_with("and 2 more"), "{many:?}");
        let metadata = of(&["169.254.169.254"]).cure.expect("a cure");
        assert!(!metadata.contains("--allow-network"), "nothing opens it: {metadata}");
    }

    #[test]
    fn a_certificate_warns_under_21_days_also_for_its_chain() {
        let of = |chain: &[Certificate]| certificate(&url("https://hook.test/"), chain, &answered(), NOW);
        assert_eq!(of(&[one("a", "b", 21), one("b", "c", 900)]).grade, Grade::Ok);
        assert_eq!(of(&[one("a", "b", 20), one("b", "c", 900)]).grade, Grade::Warning);
        let chain = of(&[one("a", "b", 60), one("b", "c", 3)]);
        assert!(chain.grade == Grade::Warning && chain.seen.contains("3 days (b in its chain)"), "{chain:?}");
    }

    #[test]
    fn a_refused_certificate_says_what_is_wrong_with_it() {
        let refused = Outcome::Failed(Failure::Tls("invalid peer certificate".to_owned()));
        let of = |leaf: Certificate| certificate(&url("https://hook.test/"), &[leaf], &refused, NOW);
        assert!(of(one("a", "b", -12)).seen.contains("expired 12 days ago"));
        assert!(of(one("a", "a", 60)).seen.contains("signed by itself"));
        assert!(of(one("a", "b", 60)).seen.contains("refused"));
        let early = Certificate { not_before: NOW.plus_ms(DAY_MS), ..one("a", "b", 60) };
        assert!(of(early).seen.contains("not valid yet"));
    }
}
