//! The sink's own process: makes its certificate, says where it is, and obeys until it is left alone.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::endpoint::Endpoint;
use super::{Hello, Order};

/// How long the bench may take to come.
const ALONE_MAX: Duration = Duration::from_secs(30);

/// Returns when the bench has gone.
pub async fn run() -> Result<()> {
    let (ca_pem, config) = identity()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let hello = Hello { endpoint: listener.local_addr()?, control: control.local_addr()?, ca_pem };
    println!("{}", serde_json::to_string(&hello)?);
    std::io::stdout().flush()?;
    let endpoint = Arc::new(Endpoint::default());
    tokio::spawn(endpoint.clone().serve(listener, TlsAcceptor::from(Arc::new(config))));

    let (stream, _) = tokio::time::timeout(ALONE_MAX, control.accept()).await.context("no bench came")??;
    let (orders, mut answers) = stream.into_split();
    let mut orders = BufReader::new(orders).lines();
    while let Some(order) = orders.next_line().await? {
        let mut answer = match serde_json::from_str(&order)? {
            Order::Begin(memory) => {
                endpoint.begin(memory);
                "null".to_owned()
            }
            Order::Counts => serde_json::to_string(&endpoint.counts())?,
            Order::Sightings => serde_json::to_string(&endpoint.sightings())?,
            Order::LastPost => serde_json::to_string(&endpoint.last_post())?,
        };
        answer.push('\n');
        answers.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// A CA as PEM, and a server with a certificate that it signed.
fn identity() -> Result<(String, ServerConfig)> {
    let mut ca_params = CertificateParams::default();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca_params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_key = KeyPair::generate()?;
    let ca = ca_params.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca_params, ca_key);
    let leaf_key = KeyPair::generate()?;
    let leaf = CertificateParams::new([Ipv4Addr::LOCALHOST.to_string()])?.signed_by(&leaf_key, &issuer)?;
    let key = PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    Ok((ca.pem(), config))
}
