//! Stands between a URL and the network: resolves the host once and lets through only socket
//! addresses that may be called. Whoever connects goes to these very addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use chathook_domain::address::{AddressClass, Host, OpenNetworks, Refused, canonical, class_of};
use chathook_domain::fitness::{JudgedAddress, Reach};
use chathook_domain::outcome::Failure;
use chathook_domain::webhook::EndpointUrl;

use crate::resolver::Resolver;

/// A name with hundreds of addresses is no reason to try them all.
const ADDRESSES_MAX: usize = 8;

/// Resolves and judges. Names are asked afresh at each connection and never cached here.
pub struct AddressGuard {
    open_networks: OpenNetworks,
    allow_http: bool,
    resolver: Arc<dyn Resolver>,
}

impl AddressGuard {
    /// `allow_http` lets plain `http` reach addresses inside `open_networks`, and only those.
    #[must_use]
    pub fn new(open_networks: OpenNetworks, allow_http: bool, resolver: Arc<dyn Resolver>) -> Self {
        Self { open_networks, allow_http, resolver }
    }

    /// The addresses behind the URL's host that may be connected to, in the resolver's order;
    /// never empty.
    ///
    /// # Errors
    /// `SchemeRefused`, `NameNotResolved` or `AddressRefused`.
    pub async fn callable_addresses(&self, url: &EndpointUrl) -> Result<Vec<SocketAddr>, Failure> {
        if !url.is_https() && !self.allow_http {
            return Err(Failure::SchemeRefused);
        }
        let found = self.addresses(url).await?;
        self.judge(url, &found)
    }

    /// Every address behind the URL's host and the judgement on it, for a report.
    ///
    /// # Errors
    /// `NameNotResolved`.
    pub async fn judged_addresses(&self, url: &EndpointUrl) -> Result<Vec<JudgedAddress>, Failure> {
        let found = self.addresses(url).await?;
        let judged = |address| {
            let reach = if class_of(address) == AddressClass::Public { Reach::Public } else { Reach::Opened };
            let judgement = self.open_networks.may_call(address).map(|()| reach);
            JudgedAddress { address: canonical(address), judgement }
        };
        Ok(found.into_iter().map(judged).collect())
    }

    async fn addresses(&self, url: &EndpointUrl) -> Result<Vec<IpAddr>, Failure> {
        match url.host() {
            Host::Ipv4(address) => Ok(vec![IpAddr::V4(address)]),
            Host::Ipv6(address) => Ok(vec![IpAddr::V6(address)]),
            Host::Domain(name) => {
                let resolved = self.resolver.resolve(name).await;
                Ok(resolved.map_err(Failure::NameNotResolved)?.to_vec())
            }
        }
    }

    /// A name that leads to public and private addresses keeps the public ones: dropping the
    /// rest is as safe as refusing all, and split-horizon names go on working.
    fn judge(&self, url: &EndpointUrl, found: &[IpAddr]) -> Result<Vec<SocketAddr>, Failure> {
        let mut refused: Option<Refused> = None;
        let mut callable = Vec::new();
        for &address in found {
            match self.open_networks.may_call(address) {
                Ok(()) => callable.push(address),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        if callable.is_empty() {
            return Err(refused.map_or_else(
                || Failure::NameNotResolved("no addresses".to_owned()),
                |why| Failure::AddressRefused(why.to_string()),
            ));
        }
        if !url.is_https() {
            callable.retain(|&address| self.open_networks.is_opened(address));
        }
        if callable.is_empty() {
            return Err(Failure::SchemeRefused);
        }
        callable.truncate(ADDRESSES_MAX);
        // Built anew from the judged address: no zone id or flow label comes along.
        let port = url.port();
        Ok(callable.into_iter().map(|a| SocketAddr::new(canonical(a), port)).collect())
    }
}
