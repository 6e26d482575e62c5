//! Certificates for tests: an authority, and keys that it has signed.

use anyhow::Result;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

/// Signs certificates; good for a day.
pub struct Authority {
    key: PKey<Private>,
    certificate: X509,
}

/// A key with its certificate, for `localhost` and 127.0.0.1.
pub struct Identity {
    key: PKey<Private>,
    certificate: X509,
    issuer: X509,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self> {
        let key = new_key()?;
        let certificate = certificate(name, &key, None)?;
        Ok(Self { key, certificate })
    }

    /// What trusts it.
    pub fn pem(&self) -> Result<String> {
        Ok(String::from_utf8(self.certificate.to_pem()?)?)
    }

    pub fn der(&self) -> Result<Vec<u8>> {
        Ok(self.certificate.to_der()?)
    }

    pub fn sign(&self, name: &str) -> Result<Identity> {
        let key = new_key()?;
        let certificate = certificate(name, &key, Some(self))?;
        Ok(Identity { key, certificate, issuer: self.certificate.clone() })
    }
}

impl Identity {
    pub fn certificate_pem(&self) -> Result<String> {
        Ok(String::from_utf8(self.certificate.to_pem()?)?)
    }

    /// The certificate, then its issuer's.
    pub fn chain_pem(&self) -> Result<String> {
        Ok(String::from_utf8([self.certificate.to_pem()?, self.issuer.to_pem()?].concat())?)
    }

    pub fn key_pem(&self) -> Result<String> {
        Ok(String::from_utf8(self.key.private_key_to_pem_pkcs8()?)?)
    }

    pub fn encrypted_key_pem(&self, password: &str) -> Result<String> {
        let pem = self.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), password.as_bytes())?;
        Ok(String::from_utf8(pem)?)
    }

    pub fn pkcs12(&self, password: &str) -> Result<Vec<u8>> {
        let mut issuers = Stack::new()?;
        issuers.push(self.issuer.clone())?;
        let store = Pkcs12::builder().name("worker").pkey(&self.key).cert(&self.certificate).ca(issuers).build2(password)?;
        Ok(store.to_der()?)
    }
}

fn new_key() -> Result<PKey<Private>> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(EcKey::generate(&curve)?)?)
}

/// Signed by `issuer`, or by itself as an authority's.
fn certificate(name: &str, key: &PKey<Private>, issuer: Option<&Authority>) -> Result<X509> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_text("CN", name)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(120, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name()))?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(1)?)?;
    let mut constraints = BasicConstraints::new();
    match issuer {
        None => builder.append_extension(constraints.critical().ca().build()?)?,
        Some(issuer) => {
            builder.append_extension(constraints.build()?)?;
            let names = SubjectAlternativeName::new()
                .dns("localhost")
                .ip("127.0.0.1")
                .build(&builder.x509v3_context(Some(&issuer.certificate), None))?;
            builder.append_extension(names)?;
        }
    }
    builder.sign(issuer.map_or(key, |issuer| &issuer.key), MessageDigest::sha256())?;
    Ok(builder.build())
}
