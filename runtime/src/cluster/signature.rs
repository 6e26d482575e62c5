//! Signatures of calls between workers (KIP-507): an HMAC of the body, by the session key that the leader writes to the config
//! topic, which only workers can read.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::Utc;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use penstock_api::{Error, Result};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::error::HerderError;
use crate::config::SigningConfig;
use crate::store::config::SessionKey;

/// The header that holds the signature, in base64.
pub const SIGNATURE_HEADER: &str = "X-Connect-Authorization";
/// The header that names the algorithm.
pub const ALGORITHM_HEADER: &str = "X-Connect-Request-Signature-Algorithm";

/// What a call was signed with; a header that is missing is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signature<'s> {
    pub signature: Option<&'s str>,
    pub algorithm: Option<&'s str>,
}

impl SessionKey {
    /// How long ago it was made.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(u64::try_from(Utc::now().timestamp_millis() - self.created_ms).unwrap_or(0))
    }
}

/// A new session key.
///
/// # Errors
/// `Config` when the algorithm is not known.
pub(super) fn new_key(signing: &SigningConfig) -> Result<SessionKey> {
    let algorithm = &signing.key_algorithm;
    let unknown = || Error::config(format!("inter.worker.key.generation.algorithm={algorithm} is not known here"));
    let length = Algorithm::named(algorithm).ok_or_else(unknown)?.digest_bytes;
    let length = signing.key_bytes.unwrap_or(length);
    let mut key = vec![0; length];
    rand::fill(&mut key[..]);
    Ok(SessionKey { key, algorithm: algorithm.clone(), created_ms: Utc::now().timestamp_millis() })
}

/// The value of [`SIGNATURE_HEADER`].
///
/// # Errors
/// `Config` when the algorithm is not known.
pub(super) fn sign(key: &SessionKey, algorithm: &str, body: &[u8]) -> Result<String> {
    let unknown = || Error::config(format!("inter.worker.signature.algorithm={algorithm} is not known here"));
    let signed = Algorithm::named(algorithm).and_then(|algorithm| (algorithm.sign)(&key.key, body));
    Ok(BASE64.encode(signed.ok_or_else(unknown)?))
}

/// Whether a call comes from a worker of this cluster.
///
/// # Errors
/// 400 when it is not signed, or in a way that is not accepted; 403 when the signature is wrong.
pub(super) fn verify(
    key: Option<&SessionKey>,
    signing: &SigningConfig,
    signature: Signature<'_>,
    body: &[u8],
) -> std::result::Result<(), HerderError> {
    let (Some(given), Some(name)) = (signature.signature, signature.algorithm) else {
        return Err(HerderError::BadRequest("Internal request missing required signature".into()));
    };
    let unknown = || HerderError::BadRequest(format!("Algorithm {name} not available"));
    let algorithm = Algorithm::named(name).ok_or_else(unknown)?;
    let given = BASE64.decode(given).map_err(|e| HerderError::BadRequest(format!("The signature is not base64: {e}")))?;
    if !signing.verification_algorithms.iter().any(|accepted| accepted == name) {
        return Err(HerderError::BadRequest(format!(
            "This worker does not support the '{name}' key signing algorithm used by other workers. This worker is currently \
             configured to use: [{}]. Check that all workers' configuration files permit the same set of signature algorithms, and \
             correct any misconfigured worker and restart it.",
            signing.verification_algorithms.join(", ")
        )));
    }
    if key.is_some_and(|key| (algorithm.verify)(&key.key, body, &given)) {
        return Ok(());
    }
    Err(HerderError::Forbidden("Internal request contained invalid signature.".into()))
}

/// What an algorithm does: sign(key, body), and verify(key, body, signature) in constant time.
struct Algorithm {
    digest_bytes: usize,
    sign: fn(&[u8], &[u8]) -> Option<Vec<u8>>,
    verify: fn(&[u8], &[u8], &[u8]) -> bool,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "hmacsha224" => Some(Self::of::<Hmac<Sha224>>()),
            "hmacsha256" => Some(Self::of::<Hmac<Sha256>>()),
            "hmacsha384" => Some(Self::of::<Hmac<Sha384>>()),
            "hmacsha512" => Some(Self::of::<Hmac<Sha512>>()),
            _ => None,
        }
    }

    fn of<M: Mac + KeyInit>() -> Self {
        fn mac<M: Mac + KeyInit>(key: &[u8], body: &[u8]) -> Option<M> {
            Some(<M as Mac>::new_from_slice(key).ok()?.chain_update(body))
        }
        Self {
            digest_bytes: M::output_size(),
            sign: |key, body| Some(mac::<M>(key, body)?.finalize().into_bytes().to_vec()),
            verify: |key, body, given| mac::<M>(key, body).is_some_and(|mac| mac.verify_slice(given).is_ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signing() -> SigningConfig {
        SigningConfig {
            key_algorithm: "HmacSHA256".into(),
            key_bytes: None,
            key_ttl: Duration::from_secs(1),
            signature_algorithm: "HmacSHA256".into(),
            verification_algorithms: vec!["HmacSHA256".into(), "HmacSHA384".into()],
        }
    }

    fn check(key: Option<&SessionKey>, signature: Option<&str>, algorithm: Option<&str>, body: &str, expected: (u16, &str)) {
        let error = verify(key, &signing(), Signature { signature, algorithm }, body.as_bytes()).unwrap_err();
        assert_eq!(error.status(), expected.0);
        assert!(error.to_string().contains(expected.1), "{error}");
    }

    #[test]
    fn a_signature_is_javas() {
        // RFC 4231, test case 2.
        let key = SessionKey { key: b"Jefe".to_vec(), algorithm: "HmacSHA256".into(), created_ms: 0 };
        let signature = sign(&key, "HmacSHA256", b"what do ya want for nothing?").unwrap();
        assert_eq!(signature, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
    }

    #[test]
    fn what_is_signed_passes_and_nothing_else() {
        let key = new_key(&signing()).unwrap();
        assert_eq!(key.key.len(), 32);
        assert_ne!(key.key, new_key(&signing()).unwrap().key);
        for algorithm in ["HmacSHA256", "HmacSHA384"] {
            let good = sign(&key, algorithm, b"[]").unwrap();
            let signature = Signature { signature: Some(&good), algorithm: Some(algorithm) };
            verify(Some(&key), &signing(), signature, b"[]").unwrap();
            check(Some(&key), Some(&good), Some(algorithm), "[{}]", (403, "invalid signature"));
            check(None, Some(&good), Some(algorithm), "[]", (403, "invalid signature"));
            check(Some(&key), Some(&good[..4]), Some(algorithm), "[]", (403, "invalid signature"));
            check(Some(&key), Some(&good), None, "[]", (400, "missing required signature"));
        }
        check(Some(&key), None, Some("HmacSHA256"), "[]", (400, "missing required signature"));
        check(Some(&key), Some("%"), Some("HmacSHA256"), "[]", (400, "base64"));
        check(Some(&key), Some("AAAA"), Some("HmacMD5"), "[]", (400, "HmacMD5 not available"));
        check(Some(&key), Some("AAAA"), Some("HmacSHA512"), "[]", (400, "'HmacSHA512' key signing algorithm"));
    }
}
