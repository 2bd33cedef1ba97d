//! The port of the check: the sender of real deliveries, which tells more of what it saw.

use async_trait::async_trait;
use chathook_domain::fitness::answers::Tried;
use chathook_domain::fitness::{Certificate, JudgedAddress};
use chathook_domain::outcome::Failure;
use chathook_domain::webhook::EndpointUrl;

use super::endpoints::Post;

/// What one POST showed.
#[derive(Debug, Clone)]
pub struct Probed {
    pub tried: Tried,
    /// What the endpoint showed at the handshake, the leaf first, also where it was refused; empty over a
    /// connection that was kept open.
    pub chain: Vec<Certificate>,
}

/// Looks closely at endpoints, by the guard, the resolver and the sender of real deliveries.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Every address of the URL's host, judged by the guard, whether it may be called or not.
    async fn addresses(&self, url: &EndpointUrl) -> Result<Vec<JudgedAddress>, Failure>;

    async fn probe(&self, post: Post) -> Probed;
}
