//! Why a TLS handshake failed, as a sentence with its cure. The library's own words are for who writes programs.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// What is wrong, and what helps.
pub fn sentence(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => certificate(why),
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        Some(Error::InvalidMessage(_)) => {
            "What answered does not speak TLS. Serve https on this port, or correct the port.".to_owned()
        }
        Some(Error::PeerIncompatible(_)) => {
            "The endpoint offers no TLS that is taken here. Let it speak TLS 1.2 or 1.3.".to_owned()
        }
        Some(other) => format!("The TLS handshake failed: {other}."),
        None => format!("The connection ended in the TLS handshake: {error}."),
    }
}

/// `rustls` will know more reasons one day, so this one match has a rest.
fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "The endpoint's certificate has expired. Renew it, and let the server read it anew.".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "The endpoint's certificate is not valid yet. Look at its dates, and at the clocks of both machines."
                .to_owned()
        }
        CertificateError::NotValidForName => wrong_name("this host"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let named = presented.iter().take(NAMES_SHOWN).map(|name| bare(name)).collect::<Vec<_>>();
            let named = if named.is_empty() { "nobody".to_owned() } else { named.join(", ") };
            wrong_name(&format!("'{}' but {named}", expected.to_str()))
        }
        // One that bears the name of a trusted authority and is not signed by it is the second.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "The endpoint's certificate is signed by nobody who is trusted here: it is self-signed, its issuer is private, \
             or intermediate certificates are missing. Send the whole chain, or give the issuer's certificate to this \
             server with --endpoint-ca."
                .to_owned()
        }
        // The check of certificates says this of one that is its own authority, in no type of its own.
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            "The endpoint's certificate is self-signed and made as that of an authority, so it is not trusted. Use one of a \
             public authority; or sign one for this host with your own, and give that to this server with --endpoint-ca."
                .to_owned()
        }
        CertificateError::Revoked => "The endpoint's certificate was revoked. Use another.".to_owned(),
        CertificateError::BadEncoding => {
            "The endpoint's certificate is broken and cannot be read. Issue it anew.".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "The endpoint's certificate is not made for servers. Use one whose purpose is serverAuth.".to_owned()
        }
        other => format!("The endpoint's certificate is not taken: {other}."),
    }
}

/// Names of a certificate that a sentence holds.
const NAMES_SHOWN: usize = 5;

/// A name as it comes stands in its kind and quotes: `DnsName("hook.test")`.
fn bare(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

fn wrong_name(names: &str) -> String {
    format!("The endpoint's certificate does not name {names}. Use one that names the host of the URL.")
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::BadCertificate => {
            "The endpoint asks for a client's certificate, and none is sent. Use Basic auth and the signature instead."
                .to_owned()
        }
        AlertDescription::ProtocolVersion => {
            "The endpoint speaks no TLS that is taken here. Let it speak TLS 1.2 or 1.3.".to_owned()
        }
        AlertDescription::UnrecognisedName => {
            "The endpoint serves no host of this name. Correct the URL, or its server's configuration.".to_owned()
        }
        other => format!("The endpoint refused the TLS handshake: {other:?}."),
    }
}
