//! TLS of the doors: a certificate chain and its key, read again when their files change, so that a
//! renewed certificate needs no restart and breaks no connection.

use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context as _, bail};
use chathook_engine::ports::clock::Clock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// How often the files are looked at.
const LOOK_EVERY_MS: i64 = 60_000;

/// What the doors show, and where it is from.
pub struct Tls {
    files: TlsFiles,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
    /// What the files held at the last look, fit or not, so that each change is judged once.
    seen: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Speaks TLS with these files, which must fit together.
    pub fn read(files: &TlsFiles) -> anyhow::Result<Self> {
        let seen = contents(files);
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certified(files)?))));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        Ok(Self { files: files.clone(), shown, acceptor: TlsAcceptor::from(Arc::new(config)), seen })
    }

    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Looks at the files every minute, and whenever `asked` says so, for ever.
    pub async fn keep_up(mut self, clock: Arc<dyn Clock>, mut asked: impl AsyncFnMut()) {
        loop {
            let next = clock.ticks() + LOOK_EVERY_MS;
            tokio::select! {
                () = clock.sleep_until(next) => {}
                () = asked() => {}
            }
            self.look();
        }
    }

    /// Shows what the files hold now, if that is fit. A chain that is there before its key is taken at a
    /// later look; until then the doors show what they showed.
    fn look(&mut self) {
        let now = contents(&self.files);
        if now == self.seen {
            return;
        }
        self.seen = now;
        let cert = self.files.cert.display();
        match certified(&self.files) {
            Ok(renewed) => {
                *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
                tracing::info!(%cert, "the TLS certificate was read again and is shown from now on");
            }
            Err(error) => tracing::error!(
                error = %format!("{error:#}"),
                "the TLS files changed and are not fit: the certificate of before is still shown"
            ),
        }
    }
}

/// Of the chain and of the key; a file that cannot be read is empty here, and told of when it is used.
fn contents(files: &TlsFiles) -> Vec<Vec<u8>> {
    [&files.cert, &files.key].map(|path| std::fs::read(path).unwrap_or_default()).into()
}

fn certified(files: &TlsFiles) -> anyhow::Result<CertifiedKey> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("tls_key {} holds no private key in PEM", files.key.display()))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .context("tls_cert and tls_key do not fit together")
}

/// The certificates of a PEM file, at least one.
pub fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let file = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(BufReader::new(file)).collect();
    let found = found.with_context(|| format!("{} is not PEM", path.display()))?;
    if found.is_empty() {
        bail!("{} holds no certificate in PEM.", path.display());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use chathook_adapters::system::ManualClock;
    use chathook_domain::ids::Time;
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
    use tempfile::TempDir;
    use tokio::sync::Notify;

    use super::*;

    struct Bench {
        files: TlsFiles,
        clock: ManualClock,
        shown: Arc<Shown>,
        _dir: TempDir,
    }

    fn made() -> Made<rcgen::KeyPair> {
        generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made")
    }

    fn write(files: &TlsFiles, made: &Made<rcgen::KeyPair>) {
        fs::write(&files.cert, made.cert.pem()).expect("written");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    }

    impl Bench {
        /// A server that shows the first of these and looks when it is told to, or each minute.
        fn start(first: &Made<rcgen::KeyPair>, asked: &Arc<Notify>) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
            write(&files, first);
            let clock = ManualClock::at(Time::from_ms(0));
            let tls = Tls::read(&files).expect("fit");
            let (shown, asked) = (tls.shown.clone(), asked.clone());
            tokio::spawn(tls.keep_up(Arc::new(clock.clone()), async move || asked.notified().await));
            Self { files, clock, shown, _dir: dir }
        }

        fn shows(&self, made: &Made<rcgen::KeyPair>) -> bool {
            self.shown.0.read().expect("no panic").cert[0] == *made.cert.der()
        }

        async fn after_a_minute(&self) {
            // The task waits before the clock moves, and looks before it waits again.
            tokio::task::yield_now().await;
            self.clock.advance(LOOK_EVERY_MS);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_shown_within_a_minute() {
        let (first, renewed) = (made(), made());
        let bench = Bench::start(&first, &Arc::default());
        write(&bench.files, &renewed);
        assert!(bench.shows(&first));
        bench.after_a_minute().await;
        assert!(bench.shows(&renewed));
    }

    #[tokio::test]
    async fn files_that_do_not_fit_change_nothing_until_they_do() {
        let (first, renewed) = (made(), made());
        let bench = Bench::start(&first, &Arc::default());
        fs::write(&bench.files.cert, renewed.cert.pem()).expect("written");
        bench.after_a_minute().await;
        assert!(bench.shows(&first), "the key is still the old one");
        fs::remove_file(&bench.files.key).expect("removed");
        bench.after_a_minute().await;
        assert!(bench.shows(&first), "there is no key");
        write(&bench.files, &renewed);
        bench.after_a_minute().await;
        assert!(bench.shows(&renewed));
    }
}
