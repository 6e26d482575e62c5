//! Keys and certificates, read from PEM or PKCS #12 files.

use openssl::ec::EcKey;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use penstock_api::{Error, Result};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::config::{Store, TlsConfig};

/// The worker's own, if it has any.
pub(super) fn of(tls: &TlsConfig) -> Result<Option<Keys>> {
    let setting = format!("{}ssl.keystore", tls.prefix);
    tls.keystore.as_ref().map(|store| read(store, tls.key_password.as_deref(), &setting)).transpose()
}

/// The certificates of a trust store.
pub(super) fn trusted(store: &Store, setting: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(read(store, None, setting)?.certificates);
    if added == 0 {
        return Err(Error::config(format!("{setting} holds no certificate")));
    }
    Ok(roots)
}

/// The certificates of a trust store, in DER.
///
/// # Errors
/// `Config`, with the file, when it cannot be used or holds none.
pub fn trusted_certificates(store: &Store, setting: &str) -> Result<Vec<Vec<u8>>> {
    let certificates = read(store, None, setting)?.certificates;
    if certificates.is_empty() {
        return Err(Error::config(format!("{setting} holds no certificate")));
    }
    Ok(certificates.iter().map(|certificate| certificate.to_vec()).collect())
}

/// What a store holds.
pub(super) struct Keys {
    pub(super) key: Option<PrivateKeyDer<'static>>,
    /// That of the key first.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

pub(super) fn read(store: &Store, key_password: Option<&str>, setting: &str) -> Result<Keys> {
    let (bytes, password, place) = match store {
        Store::Inline(pem) => (pem.clone().into_bytes(), None, setting.to_owned()),
        Store::File { path, password } => {
            let place = format!("{setting}.location={}", path.display());
            let bytes = std::fs::read(path).map_err(|e| Error::config(format!("cannot read {place}")).with_source(e))?;
            (bytes, password.as_deref(), place)
        }
    };
    let password = key_password.or(password);
    let keys = match bytes.as_slice() {
        // Both formats that only Java reads, told by their first bytes.
        [0xFE, 0xED, 0xFE, 0xED, ..] | [0xCE, 0xCE, 0xCE, 0xCE, ..] => return Err(only_java(store, &place)),
        // What `keytool` writes since Java 9, whatever the file is called.
        [0x30, ..] => pkcs12(&bytes, password.unwrap_or_default()),
        _ => pem(&bytes, password.unwrap_or_default()),
    };
    keys.map_err(|e| {
        Error::config(format!("{place} cannot be used: it is no PEM or PKCS12 file, or its password is wrong")).with_source(e)
    })
}

fn only_java(store: &Store, place: &str) -> Error {
    let path = match store {
        Store::File { path, .. } => path.display().to_string(),
        Store::Inline(_) => "store.jks".to_owned(),
    };
    Error::config(format!(
        "{place} is a JKS store, which only Java reads: convert it with `keytool -importkeystore -srckeystore {path} -destkeystore \
         store.p12 -deststoretype PKCS12`, then name store.p12 instead"
    ))
}

fn pkcs12(bytes: &[u8], password: &str) -> std::result::Result<Keys, openssl::error::ErrorStack> {
    let parsed = Pkcs12::from_der(bytes)?.parse2(password)?;
    let mut chain: Vec<X509> = parsed.cert.into_iter().collect();
    // The certificates stand in the file's order, their issuers behind them in most.
    chain.extend(parsed.ca.into_iter().flatten());
    Ok(Keys { key: parsed.pkey.map(|key| key_der(&key)).transpose()?, certificates: certificates(&chain)? })
}

fn pem(bytes: &[u8], password: &str) -> std::result::Result<Keys, openssl::error::ErrorStack> {
    let has_key = bytes.windows(PRIVATE_KEY.len()).any(|window| window == PRIVATE_KEY);
    let key = has_key.then(|| PKey::private_key_from_pem_passphrase(bytes, password.as_bytes()));
    Ok(Keys {
        key: key.transpose()?.map(|key| key_der(&key)).transpose()?,
        certificates: certificates(&X509::stack_from_pem(bytes)?)?,
    })
}

const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";

fn key_der(key: &PKey<Private>) -> std::result::Result<PrivateKeyDer<'static>, openssl::error::ErrorStack> {
    // Java keeps EC keys without their public half, and OpenSSL writes them so again; rustls wants both halves.
    if let Ok(half) = key.ec_key() {
        let whole = EcKey::from_private_components(half.group(), half.private_key(), half.public_key())?;
        return Ok(PrivatePkcs8KeyDer::from(PKey::from_ec_key(whole)?.private_key_to_pkcs8()?).into());
    }
    Ok(PrivatePkcs8KeyDer::from(key.private_key_to_pkcs8()?).into())
}

fn certificates(chain: &[X509]) -> std::result::Result<Vec<CertificateDer<'static>>, openssl::error::ErrorStack> {
    chain.iter().map(|certificate| certificate.to_der().map(CertificateDer::from)).collect()
}
