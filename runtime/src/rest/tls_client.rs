//! Calls to workers that speak https: what they trust and what they show, by the keys of this worker's own https listeners.

use std::sync::Arc;

use penstock_api::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::keys::{self, Keys};
use super::tls::{provider, versions};
use crate::config::TlsConfig;

/// Reads the trust store and the key. As in Java's client the key store is the trust store if there is no other, and the key is
/// shown to workers that ask for one. `None`: there is neither, so what the public trusts is trusted.
///
/// # Errors
/// `Config`: which file or setting cannot be used, and what to do.
pub fn client_config(tls: &TlsConfig) -> Result<Option<ClientConfig>> {
    let setting = |key: &str| format!("{}{key}", tls.prefix);
    let own = keys::of(tls)?;
    let (known, place) = match (&tls.truststore, &own) {
        (Some(store), _) => (keys::read(store, None, &setting("ssl.truststore"))?.certificates, setting("ssl.truststore")),
        (None, Some(own)) => (own.certificates.clone(), setting("ssl.keystore")),
        (None, None) => return Ok(None),
    };
    if known.is_empty() {
        return Err(Error::config(format!("{place} holds no certificate")));
    }
    let wrong = |error: rustls::Error| {
        Error::config(format!("{} cannot be used for calls to other workers", setting("ssl.*"))).with_source(error)
    };
    let provider = Arc::new(provider(tls)?);
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions(tls)?).map_err(wrong)?;
    let verifier = Verifier::new(known, provider, tls.checks_host);
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let config = match own {
        Some(Keys { key: Some(key), certificates }) if !certificates.is_empty() => {
            builder.with_client_auth_cert(certificates, key).map_err(wrong)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Some(config))
}

/// Trusts what a known certificate has signed and, as Java does, a known certificate itself: `keytool` makes such that sign
/// nothing but themselves.
#[derive(Debug)]
struct Verifier {
    known: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
    checks_host: bool,
}

impl Verifier {
    fn new(known: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>, checks_host: bool) -> Self {
        let mut roots = RootCertStore::empty();
        let (_added, _ignored) = roots.add_parsable_certificates(known.iter().cloned());
        Self { known, roots, provider, checks_host }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.known.contains(end_entity) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        }
        if self.checks_host {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
