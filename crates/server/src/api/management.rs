//! Management credentials: compared in constant time, and not to be guessed at leisure (design 7).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chathook_domain::refusal::{Code, Refusal};
use subtle::ConstantTimeEq;

use super::Api;
use super::error::ApiError;
use super::extract::header_text;

const FAILURES_MAX: u32 = 10;
const WINDOW_MS: i64 = 60_000;
/// Addresses remembered at once; beyond it those whose minute is over are forgotten, else the oldest.
const ADDRESSES_MAX: usize = 10_000;

/// The pair that opens the management API.
#[derive(Clone)]
pub struct ManagementCredentials {
    pub key: String,
    pub secret: String,
}

impl std::fmt::Debug for ManagementCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ManagementCredentials(..)")
    }
}

impl ManagementCredentials {
    /// Takes the same time wherever the difference lies.
    #[must_use]
    pub fn matches(&self, key: &str, secret: &str) -> bool {
        let is_key = self.key.as_bytes().ct_eq(key.as_bytes());
        let is_secret = self.secret.as_bytes().ct_eq(secret.as_bytes());
        (is_key & is_secret).into()
    }
}

/// Who failed lately, and how often in the minute that began with their first failure.
#[derive(Default)]
pub struct Failures {
    by_address: Mutex<HashMap<IpAddr, Minute>>,
}

struct Minute {
    began: i64,
    failures: u32,
}

impl Failures {
    /// Milliseconds for which this address is still kept out.
    fn wait_ms(&self, address: IpAddr, tick: i64) -> Option<i64> {
        let by_address = self.by_address.lock().expect("no one panics while holding this lock");
        let minute = by_address.get(&household(address))?;
        let left = minute.began + WINDOW_MS - tick;
        (minute.failures >= FAILURES_MAX && left > 0).then_some(left)
    }

    fn count(&self, address: IpAddr, tick: i64) {
        let mut by_address = self.by_address.lock().expect("no one panics while holding this lock");
        let address = household(address);
        if by_address.len() >= ADDRESSES_MAX && !by_address.contains_key(&address) {
            by_address.retain(|_, minute| minute.began + WINDOW_MS > tick);
            if by_address.len() >= ADDRESSES_MAX {
                let oldest = by_address.iter().min_by_key(|(_, minute)| minute.began);
                let oldest = oldest.map(|(address, _)| *address);
                oldest.and_then(|address| by_address.remove(&address));
            }
        }
        let minute = by_address.entry(address).or_insert(Minute { began: tick, failures: 0 });
        if minute.began + WINDOW_MS <= tick {
            *minute = Minute { began: tick, failures: 0 };
        }
        minute.failures += 1;
    }
}

/// Whom an address stands for: with IPv6 one client has a whole /64 to choose from.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

impl Api {
    /// Judges a pair of credentials; `None` where none were sent.
    pub fn judge_management(&self, address: IpAddr, pair: Option<(&str, &str)>) -> Result<(), ApiError> {
        let tick = self.engine.clock.ticks();
        if let Some(wait_ms) = self.failures.wait_ms(address, tick) {
            let seconds = wait_ms.div_euclid(1_000) + 1;
            let sentence = "Too many failed attempts from this address. Wait, then check the credentials.";
            return Err(ApiError::too_many_requests(sentence, seconds));
        }
        let Some((key, secret)) = pair else {
            let sentence = "The headers 'key' and 'secret' are required.";
            return Err(Refusal::new(Code::EmptyAuthHeader, sentence).into());
        };
        if self.management.matches(key, secret) {
            return Ok(());
        }
        self.failures.count(address, tick);
        let refusal = Refusal::new(Code::NoAccess, "The management credentials are wrong.");
        Err(ApiError::with_status(refusal, StatusCode::UNAUTHORIZED))
    }
}

/// Lets only those in who hold the management credentials.
pub async fn require_management(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match api.judge_management(peer(&request), credentials(request.headers())) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// The address that the connection came from.
#[must_use]
pub fn peer(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip().to_canonical())
}

/// A pair of which one half is missing is wrong, not absent.
fn credentials(headers: &HeaderMap) -> Option<(&str, &str)> {
    match (header_text(headers, "key"), header_text(headers, "secret")) {
        (None, None) => None,
        (key, secret) => Some((key.unwrap_or_default(), secret.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn ten_failures_keep_an_address_out_for_the_rest_of_the_minute() {
        let failures = Failures::default();
        for tick in 0..10 {
            assert_eq!(failures.wait_ms(ADDRESS, tick), None);
            failures.count(ADDRESS, tick);
        }
        assert_eq!(failures.wait_ms(ADDRESS, 20_000), Some(40_000));
        assert_eq!(failures.wait_ms(ADDRESS, 60_000), None);
        failures.count(ADDRESS, 60_000);
        assert_eq!(failures.wait_ms(ADDRESS, 60_001), None);
    }

    #[test]
    fn the_addresses_of_a_64_count_as_one() {
        let failures = Failures::default();
        let address =
            |subnet: u16, host: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, host, 0, 0, host));
        for host in 0..10 {
            failures.count(address(1, host), 0);
        }
        assert_eq!(failures.wait_ms(address(1, 99), 0), Some(WINDOW_MS));
        assert_eq!(failures.wait_ms(address(2, 0), 0), None);
    }

    #[test]
    fn at_the_bound_the_oldest_minute_is_forgotten() {
        let failures = Failures::default();
        let address = |n: usize| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(n).expect("a small number")));
        for n in 0..ADDRESSES_MAX + 5 {
            failures.count(address(n), i64::try_from(n).expect("a small number"));
        }
        let by_address = failures.by_address.lock().expect("no one panicked");
        assert_eq!(by_address.len(), ADDRESSES_MAX);
        assert!(!by_address.contains_key(&address(4)));
        assert!(by_address.contains_key(&address(5)));
    }

    #[test]
    fn only_the_very_pair_matches() {
        let pair = ManagementCredentials { key: "mk".to_owned(), secret: "ms".to_owned() };
        assert!(pair.matches("mk", "ms"));
        assert!(!pair.matches("mk", "m"));
        assert!(!pair.matches("", ""));
    }
}
