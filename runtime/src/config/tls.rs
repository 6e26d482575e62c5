//! What https listeners, and calls to those of other workers, are made from, by Java's `ssl.*` keys.

use std::path::PathBuf;

use penstock_api::config::split_list;
use penstock_api::{Error, Props, Result};

use super::worker::behind;

/// The settings of whoever speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// What stands before `ssl.` in the worker file, for messages.
    pub prefix: &'static str,
    /// The key and its certificates. A listener has one.
    pub keystore: Option<Store>,
    /// Of the key, when it has another than the store.
    pub key_password: Option<String>,
    /// Who may sign certificates of clients, and of the workers that are called.
    pub truststore: Option<Store>,
    pub client_auth: ClientAuth,
    /// `TLSv1.2`, `TLSv1.3`; empty: both.
    pub protocols: Vec<String>,
    /// By their IANA names; empty: all that are safe.
    pub cipher_suites: Vec<String>,
    /// Whether a called worker's certificate must be for the host that is called.
    pub checks_host: bool,
}

/// Keys and certificates. What kind of file it is, is seen by what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// PEM in the worker file itself.
    Inline(String),
    /// PEM or PKCS #12.
    File { path: PathBuf, password: Option<String> },
}

/// `ssl.client.auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    /// Clients may show a certificate; one that is shown must be good.
    Requested,
    Required,
}

impl TlsConfig {
    /// For listeners.
    ///
    /// # Errors
    /// `Config`, with the key.
    pub fn of_listeners(props: &Props, prefix: &'static str) -> Result<Self> {
        let tls = Self::new(props, prefix)?;
        let prefix = tls.prefix;
        if tls.keystore.is_none() {
            return Err(Error::config(format!(
                "an https listener needs a key: set {prefix}ssl.keystore.location to a PEM or PKCS12 file with a key and its \
                 certificates, or give both in {prefix}ssl.keystore.key and {prefix}ssl.keystore.certificate.chain"
            )));
        }
        if tls.client_auth != ClientAuth::None && tls.truststore.is_none() {
            return Err(Error::config(format!(
                "{prefix}ssl.client.auth asks clients for certificates, so set {prefix}ssl.truststore.location to a PEM file with the \
                 certificates that may have signed them"
            )));
        }
        Ok(tls)
    }

    /// Reads the keys behind `prefix` (`listeners.https.`); when there are none, those without a prefix, as Java does.
    ///
    /// # Errors
    /// `Config`, with the key.
    pub fn new(props: &Props, prefix: &'static str) -> Result<Self> {
        let own = behind(props, prefix);
        let (prefix, props) = if own.is_empty() { ("", props) } else { (prefix, &own) };
        let given = |key: &str| props.get(key).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let keystore = match (given("ssl.keystore.certificate.chain"), given("ssl.keystore.key")) {
            (Some(chain), Some(key)) => Some(Store::Inline(format!("{key}\n{chain}"))),
            _ => file(given("ssl.keystore.location"), given("ssl.keystore.password")),
        };
        let truststore = given("ssl.truststore.certificates").map(Store::Inline);
        let truststore = truststore.or_else(|| file(given("ssl.truststore.location"), given("ssl.truststore.password")));
        let client_auth = match given("ssl.client.auth").as_deref() {
            None | Some("none") => ClientAuth::None,
            Some("requested") => ClientAuth::Requested,
            Some("required") => ClientAuth::Required,
            Some(other) => {
                return Err(Error::config(format!(
                    "Invalid value {other} for configuration {prefix}ssl.client.auth: String must be one of: required, requested, none"
                )));
            }
        };
        let list = |key: &str| given(key).map(|v| split_list(&v)).unwrap_or_default();
        Ok(Self {
            prefix,
            keystore,
            key_password: given("ssl.key.password"),
            truststore,
            client_auth,
            protocols: list("ssl.enabled.protocols"),
            cipher_suites: list("ssl.cipher.suites"),
            checks_host: props.get("ssl.endpoint.identification.algorithm").is_none_or(|v| !v.trim().is_empty()),
        })
    }
}

fn file(path: Option<String>, password: Option<String>) -> Option<Store> {
    path.map(|path| Store::File { path: path.into(), password })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<TlsConfig> {
        let props = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        TlsConfig::of_listeners(&props, "listeners.https.")
    }

    #[test]
    fn prefixed_keys_take_the_place_of_all_others() {
        let others = [("ssl.keystore.location", "/a"), ("ssl.keystore.password", "p"), ("ssl.client.auth", "none")];
        let file =
            |path: &str, password: Option<&str>| Some(Store::File { path: path.into(), password: password.map(str::to_owned) });
        assert_eq!(config(&others).expect("good").keystore, file("/a", Some("p")));
        let own = [others.as_slice(), &[("listeners.https.ssl.keystore.location", "/b")]].concat();
        assert_eq!(config(&own).expect("good").keystore, file("/b", None));
    }

    #[test]
    fn what_is_missing_is_named_with_its_prefix() {
        let check = |pairs: &[(&str, &str)], says: &str| {
            let error = config(pairs).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        };
        check(&[], "set ssl.keystore.location");
        check(&[("listeners.https.ssl.client.auth", "none")], "set listeners.https.ssl.keystore.location");
        let key = ("ssl.keystore.location", "/a");
        check(&[key, ("ssl.client.auth", "required")], "set ssl.truststore.location");
        check(&[key, ("ssl.client.auth", "maybe")], "Invalid value maybe for configuration ssl.client.auth");
    }
}
