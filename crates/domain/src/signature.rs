//! The Standard Webhooks signature: HMAC-SHA256 over `id.timestamp.body`, by one secret, or by two
//! while a secret is rotated.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::fields::Fields;
use crate::ids::Time;
use crate::refusal::Refusal;

/// How long the old secret goes on signing beside the new one, unless the customer says otherwise: a
/// day, in which a receiver can be given the new one.
const OVERLAP_S: i64 = 24 * 60 * 60;
/// The longest overlap: a week.
const OVERLAP_S_MAX: i64 = 7 * 24 * 60 * 60;
/// `v1,` and the base64 of 32 bytes.
const SIGNATURE_CHARS: usize = 47;

/// The key of a signature, shown as `whsec_` and base64.
#[derive(Clone)]
pub struct SigningSecret(Arc<Keyed>);

struct Keyed {
    bytes: Vec<u8>,
    /// The state after the key was taken in, which is the same for each signature.
    mac: Hmac<Sha256>,
}

impl SigningSecret {
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let mac = Hmac::new_from_slice(&bytes).expect("HMAC takes a key of any length");
        Self(Arc::new(Keyed { bytes, mac }))
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Reads what [`Self::to_text`] writes; a secret without `whsec_` is taken as well.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
        (!bytes.is_empty()).then(|| Self::new(bytes))
    }

    #[must_use]
    pub fn to_text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0.bytes))
    }
}

impl PartialEq for SigningSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for SigningSecret {}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

/// The secrets of a webhook: the present one, and the one before while both sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    pub present: SigningSecret,
    pub previous: Option<Previous>,
}

/// A secret that was rotated away, and the moment from which it no longer signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    pub secret: SigningSecret,
    pub until: Time,
}

impl Secrets {
    #[must_use]
    pub const fn only(present: SigningSecret) -> Self {
        Self { present, previous: None }
    }

    /// These secrets once `fresh` has taken the place of the present one. What signed until now goes on
    /// signing for the overlap; what signed beside it, from a rotation before, ends at once.
    #[must_use]
    pub fn rotated(&self, fresh: SigningSecret, overlap: Overlap, now: Time) -> Self {
        let previous = (overlap.seconds > 0)
            .then(|| Previous { secret: self.present.clone(), until: now.plus_ms(overlap.seconds * 1_000) });
        Self { present: fresh, previous }
    }

    /// The value of the `webhook-signature` header of a request made at `now`: one signature, or two
    /// with a blank between them and the present secret's first.
    #[must_use]
    pub fn sign(&self, id: &str, now: Time, body: &str) -> String {
        let at_s = now.seconds().to_string();
        let mut header = String::with_capacity(2 * SIGNATURE_CHARS + 1);
        sign(&self.present, id, &at_s, body, &mut header);
        if let Some(previous) = self.previous.as_ref().filter(|previous| now < previous.until) {
            header.push(' ');
            sign(&previous.secret, id, &at_s, body, &mut header);
        }
        header
    }
}

/// How long an old secret goes on signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    seconds: i64,
}

impl Overlap {
    /// Reads `overlapSeconds` of a rotation.
    pub fn parse(body: &Value) -> Result<Self, Refusal> {
        let seconds = Fields::of(body)?.number("overlapSeconds", 0, OVERLAP_S_MAX)?;
        Ok(Self { seconds: seconds.unwrap_or(OVERLAP_S) })
    }
}

fn sign(secret: &SigningSecret, id: &str, at_s: &str, body: &str, header: &mut String) {
    let mut mac = secret.0.mac.clone();
    for part in [id, ".", at_s, ".", body] {
        mac.update(part.as_bytes());
    }
    header.push_str("v1,");
    STANDARD.encode_string(mac.finalize().into_bytes(), header);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn reference(secret: &SigningSecret, id: &str, at_s: i64, body: &str) -> String {
        let webhook = standardwebhooks::Webhook::new(&secret.to_text()).expect("a usable secret");
        webhook.sign(id, at_s, body.as_bytes()).expect("signed")
    }

    proptest! {
        #[test]
        fn the_reference_library_makes_the_same_signature(
            key in proptest::collection::vec(any::<u8>(), 24..80),
            id in "[a-z0-9_]{1,40}",
            at in 0i64..4_000_000_000,
            body in ".{0,200}",
        ) {
            let secret = SigningSecret::new(key);
            let ours = Secrets::only(secret.clone()).sign(&id, Time::from_ms(at * 1_000 + 999), &body);
            prop_assert_eq!(ours, reference(&secret, &id, at, &body));
        }
    }

    fn secret(byte: u8) -> SigningSecret {
        SigningSecret::new(vec![byte; 32])
    }

    const NOW: Time = Time::from_ms(1_760_000_000_500);

    #[test]
    fn both_secrets_sign_during_the_overlap_and_the_new_one_alone_afterwards() {
        let overlap = Overlap::parse(&json!({"overlapSeconds": 60})).expect("fit");
        let rotated = Secrets::only(secret(1)).rotated(secret(2), overlap, NOW);
        let by = |byte: u8, at: Time| reference(&secret(byte), "evt_1", at.seconds(), "{}");
        for at in [NOW, NOW.plus_ms(59_999)] {
            assert_eq!(rotated.sign("evt_1", at, "{}"), format!("{} {}", by(2, at), by(1, at)));
        }
        let over = NOW.plus_ms(60_000);
        assert_eq!(rotated.sign("evt_1", over, "{}"), by(2, over));
    }

    #[test]
    fn a_second_rotation_ends_the_secret_of_the_first() {
        let overlap = Overlap::parse(&json!({})).expect("fit");
        assert_eq!(overlap.seconds, 86_400);
        let twice =
            Secrets::only(secret(1)).rotated(secret(2), overlap, NOW).rotated(secret(3), overlap, NOW);
        assert_eq!(twice.present, secret(3));
        assert_eq!(twice.previous.expect("the overlap").secret, secret(2));
    }

    #[test]
    fn a_rotation_without_overlap_ends_the_old_secret_at_once() {
        let overlap = Overlap::parse(&json!({"overlapSeconds": 0})).expect("fit");
        assert_eq!(Secrets::only(secret(1)).rotated(secret(2), overlap, NOW), Secrets::only(secret(2)));
    }
}
