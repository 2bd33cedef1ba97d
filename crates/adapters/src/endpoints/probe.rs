//! The sender of real deliveries, made to tell what it saw: heads of answers, and certificates, which it
//! judges as ever and remembers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chathook_domain::fitness::answers::{Carrier, Head, HttpVersion, Tried};
use chathook_domain::fitness::{Certificate, JudgedAddress};
use chathook_domain::outcome::Failure;
use chathook_domain::webhook::EndpointUrl;
use chathook_engine::ports::endpoints::Post;
use chathook_engine::ports::probe::{Probe, Probed};
use hyper::header::{CONTENT_TYPE, HeaderName, LOCATION};
use hyper::{Response, Version};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::time::timeout;

use super::{Heads, HttpEndpoints, HttpEndpointsConfig, Trace, tls_config, trusted_roots};
use crate::certificates::read_certificate;
use crate::resolver::{Resolver, SystemResolver};

/// As long as a delivery waits for its connection, the look-up in it.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);

/// Endpoints that are looked at closely.
pub struct HttpProbe {
    endpoints: HttpEndpoints,
    shown: Arc<Shown>,
}

impl HttpProbe {
    /// Resolves names as the operating system does.
    ///
    /// # Errors
    /// A sentence: the root certificates could not be had.
    pub fn new(config: HttpEndpointsConfig) -> Result<Self, String> {
        Self::with_resolver(config, Arc::new(SystemResolver::new()))
    }

    /// Resolves names by the given resolver.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_resolver(config: HttpEndpointsConfig, resolver: Arc<dyn Resolver>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(trusted_roots(&config)?);
        let judge = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let judge = judge.map_err(|error| format!("no certificate can be judged: {error}"))?;
        let shown = Arc::new(Shown { judge, chain: Mutex::default() });
        let mut tls = tls_config(&config)?;
        // The judge is the one that stands there unless one is set, so nothing is let through.
        tls.dangerous().set_certificate_verifier(shown.clone());
        Ok(Self { endpoints: HttpEndpoints::with_tls(config, tls, resolver), shown })
    }
}

#[async_trait]
impl Probe for HttpProbe {
    async fn addresses(&self, url: &EndpointUrl) -> Result<Vec<JudgedAddress>, Failure> {
        let judged = timeout(LOOK_UP_MAX, self.endpoints.guard.judged_addresses(url)).await;
        judged.map_err(|_| Failure::NameNotResolved("no answer in time".to_owned()))?
    }

    async fn probe(&self, post: Post) -> Probed {
        self.shown.take();
        let mut trace = Trace { heads: Heads::Kept(None), ..Trace::default() };
        let exchange = self.endpoints.post_traced(&post, &mut trace).await;
        let head = match trace.heads {
            Heads::Kept(head) => head,
            Heads::Passed => None,
        };
        // Only a new connection is resolved for.
        let is_new = exchange.phases.resolve_us.is_some();
        let carrier = if is_new { Carrier::NewConnection } else { Carrier::KeptConnection };
        let tried = Tried { outcome: exchange.outcome, head, took_us: exchange.phases.total_us, carrier };
        Probed { tried, chain: self.shown.take() }
    }
}

pub(super) fn head_of<B>(response: &Response<B>) -> Head {
    let text = |name: HeaderName| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let version =
        if response.version() == Version::HTTP_11 { HttpVersion::Http11 } else { HttpVersion::Http10 };
    Head { version, content_type: text(CONTENT_TYPE), location: text(LOCATION) }
}

/// Judges certificates as the sender does, and keeps the last chain that it judged.
#[derive(Debug)]
struct Shown {
    judge: Arc<WebPkiServerVerifier>,
    chain: Mutex<Vec<Certificate>>,
}

impl Shown {
    fn take(&self) -> Vec<Certificate> {
        std::mem::take(&mut self.chain.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        // One that cannot be read is not in the report; the judge says no to it.
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) =
            chain.filter_map(|one| read_certificate(one).ok()).collect();
        self.judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}
