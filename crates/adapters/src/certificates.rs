//! Reads what a certificate says of itself. Whether it is to be trusted is TLS's question.

use chathook_domain::fitness::Certificate;
use chathook_domain::ids::Time;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Name};

/// The names and the time of a certificate.
///
/// # Errors
/// A sentence: it is no X.509 certificate.
pub fn read_certificate(der: &CertificateDer<'_>) -> Result<Certificate, String> {
    let read = X509Certificate::from_der(der);
    let (_, certificate) = read.map_err(|error| format!("it is no certificate: {error}"))?;
    let validity = certificate.validity();
    let at = |seconds: i64| Time::from_ms(seconds.saturating_mul(1_000));
    // A leaf of today names its hosts elsewhere and often leaves its subject empty.
    let names = certificate.subject_alternative_name().ok().flatten();
    let first_host = names.and_then(|names| names.value.general_names.first().map(host));
    let subject = Some(name(certificate.subject())).filter(|name| !name.is_empty());
    Ok(Certificate {
        subject: subject.or(first_host).unwrap_or_else(|| "no name".to_owned()),
        issuer: name(certificate.issuer()),
        not_before: at(validity.not_before.timestamp()),
        not_after: at(validity.not_after.timestamp()),
    })
}

/// How many root certificates the system has.
#[must_use]
pub fn system_roots() -> usize {
    rustls_native_certs::load_native_certs().certs.len()
}

fn host(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(host) => (*host).to_owned(),
        other => other.to_string(),
    }
}

/// The common name, or all of it where there is none.
fn name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|common| common.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn read(params: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().expect("a key");
        read_certificate(params.self_signed(&key).expect("made").der()).expect("read")
    }

    #[test]
    fn a_certificate_is_called_by_its_common_name_or_by_its_first_host() {
        let mut params =
            CertificateParams::new(["hook.test".to_owned(), "b.test".to_owned()]).expect("names");
        params.distinguished_name = DistinguishedName::new();
        assert_eq!(read(&params).subject, "hook.test");
        params.distinguished_name.push(DnType::CommonName, "The hook");
        params.not_after = date_time_ymd(2030, 1, 1);
        let named = read(&params);
        assert_eq!((named.subject.as_str(), named.not_after.ms), ("The hook", 1_893_456_000_000));
        assert!(read_certificate(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
