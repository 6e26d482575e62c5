//! The user's private key: what people paste into a property, made into tokens that log in.

use std::time::{SystemTime, UNIX_EPOCH};

use penstock_api::{Error, Result};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo, SecretDocument};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::EncodePublicKey;
use rsa::signature::{SignatureEncoding, Signer as _};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Snowflake takes tokens for an hour; a new one is made for each log-in.
const TOKEN_LIFE_S: u64 = 3_540;
/// How far a clock may be ahead of Snowflake's.
const CLOCK_SKEW_S: u64 = 30;

/// Makes tokens for one user.
pub struct Signer {
    key: SigningKey<Sha256>,
    /// `ACCOUNT.USER`.
    subject: String,
    /// `SHA256:` and the digest of the public key, as `DESCRIBE USER` shows it.
    fingerprint: String,
}

impl Signer {
    /// A signer with that key, in PEM.
    ///
    /// # Errors
    /// `Config` when the key cannot be read.
    pub fn new(pem: &str, account: &str, user: &str) -> Result<Self> {
        let key = RsaPrivateKey::from_pkcs8_pem(pem).map_err(|_| not_a_key("it cannot be read"))?;
        let public = key.to_public_key().to_public_key_der().map_err(|_| not_a_key("its public half cannot be written"))?;
        let fingerprint = format!("SHA256:{}", BASE64.encode(Sha256::digest(public.as_bytes())));
        let subject = format!("{}.{}", account.to_uppercase(), user.to_uppercase());
        Ok(Self { key: SigningKey::new(key), subject, fingerprint })
    }

    /// A token for a log-in now.
    #[must_use]
    pub fn token(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let issued = now.saturating_sub(CLOCK_SKEW_S);
        let header = json!({ "alg": "RS256", "typ": "JWT" });
        let issuer = format!("{}.{}", self.subject, self.fingerprint);
        let claims = json!({ "iss": issuer, "sub": self.subject, "iat": issued, "exp": issued + TOKEN_LIFE_S });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Reads a PKCS#8 key and answers it as unencrypted PEM. Accepts PEM, or its body alone, with or without line breaks.
///
/// # Errors
/// `Config`: no key, not PKCS#8, not RSA, a passphrase missing or wrong.
pub fn private_key(text: &str, passphrase: Option<&str>) -> Result<String> {
    let is_marker = |part: &&str| part.starts_with("BEGIN ") || part.starts_with("END ");
    let body: String = text.split("-----").filter(|part| !is_marker(part)).collect();
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let der = BASE64.decode(body).map_err(|_| not_a_key("its text is not base64"))?;
    let document = if PrivateKeyInfo::try_from(der.as_slice()).is_ok() {
        SecretDocument::try_from(der).map_err(|_| not_a_key("it cannot be read"))?
    } else {
        decrypt(&der, passphrase)?
    };
    let key = RsaPrivateKey::from_pkcs8_der(document.as_bytes()).map_err(|_| not_a_key("it holds no RSA key"))?;
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| not_a_key("it cannot be written as PEM"))?;
    Ok(pem.to_string())
}

fn decrypt(der: &[u8], passphrase: Option<&str>) -> Result<SecretDocument> {
    let encrypted = EncryptedPrivateKeyInfo::try_from(der)
        .map_err(|_| not_a_key("convert it with `openssl pkcs8 -topk8 -inform PEM -in rsa_key.pem`"))?;
    let passphrase = passphrase
        .ok_or_else(|| Error::config("`snowflake.private.key` is encrypted: give `snowflake.private.key.passphrase`"))?;
    encrypted.decrypt(passphrase).map_err(|_| {
        Error::config("`snowflake.private.key.passphrase` does not decrypt `snowflake.private.key` (or its cipher is not AES)")
    })
}

fn not_a_key(why: &str) -> Error {
    Error::config(format!("`snowflake.private.key` is no PKCS#8 private key: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    static KEY: LazyLock<RsaPrivateKey> =
        LazyLock::new(|| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).expect("a test key"));

    fn body(pem: &str) -> String {
        pem.lines().filter(|l| !l.starts_with('-')).collect()
    }

    #[test]
    fn a_key_is_read_however_it_is_pasted() {
        let pem = KEY.to_pkcs8_pem(LineEnding::LF).unwrap().to_string();
        for text in [pem.clone(), body(&pem), pem.replace('\n', ""), pem.replace('\n', " "), format!("\n {pem}\n")] {
            assert_eq!(private_key(&text, None).unwrap(), pem, "{text}");
        }
    }

    #[test]
    fn an_encrypted_key_needs_its_passphrase() {
        let pem = KEY.to_pkcs8_pem(LineEnding::LF).unwrap().to_string();
        let encrypted = KEY.to_pkcs8_encrypted_pem(&mut rsa::rand_core::OsRng, b"open sesame", LineEnding::LF).unwrap();
        assert_eq!(private_key(&encrypted, Some("open sesame")).unwrap(), pem);
        assert_eq!(private_key(&body(&encrypted), Some("open sesame")).unwrap(), pem);
        assert!(private_key(&encrypted, None).unwrap_err().to_string().contains("passphrase"));
        assert!(private_key(&encrypted, Some("other")).unwrap_err().to_string().contains("passphrase"));
    }

    #[test]
    fn tokens_say_who_and_for_how_long() {
        use rsa::signature::Verifier;
        let pem = KEY.to_pkcs8_pem(LineEnding::LF).unwrap();
        let token = Signer::new(&pem, "acme", "loader").unwrap().token();
        let parts: Vec<&str> = token.split('.').collect();
        let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(claims["sub"], "ACME.LOADER");
        assert!(claims["iss"].as_str().unwrap().starts_with("ACME.LOADER.SHA256:"));
        assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 3600);
        let signature = rsa::pkcs1v15::Signature::try_from(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().as_slice()).unwrap();
        let verifier = rsa::pkcs1v15::VerifyingKey::<Sha256>::new(KEY.to_public_key());
        verifier.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).unwrap();
    }

    #[test]
    fn what_is_no_key_is_named() {
        for text in ["", "AAAA", "not base64!", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"] {
            assert!(private_key(text, None).unwrap_err().to_string().contains("PKCS#8"), "{text}");
        }
    }
}
