//! The user's private key: what people paste into a property, made into what signs tokens.

use penstock_api::{Error, Result};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo, SecretDocument};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

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
    fn what_is_no_key_is_named() {
        for text in ["", "AAAA", "not base64!", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"] {
            assert!(private_key(text, None).unwrap_err().to_string().contains("PKCS#8"), "{text}");
        }
    }
}
