//! The Standard Webhooks signature: HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::webhook::SigningSecret;

/// The value of the `webhook-signature` header for one secret.
#[must_use]
pub fn sign(secret: &SigningSecret, id: &str, timestamp_s: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_reference_library_makes_the_same_signature(
            key in proptest::collection::vec(any::<u8>(), 24..64),
            id in "[a-z0-9_]{1,40}",
            at in 0i64..4_000_000_000,
            body in ".{0,200}",
        ) {
            let secret = SigningSecret(key);
            let reference = standardwebhooks::Webhook::new(&secret.to_text()).expect("a usable secret");
            let theirs = reference.sign(&id, at, body.as_bytes()).expect("signed");
            prop_assert_eq!(sign(&secret, &id, at, &body), theirs);
        }
    }
}
