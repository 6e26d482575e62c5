//! Where and how REST is served, and to whom.

use penstock_api::config::{Parsed, split_list};
use penstock_api::{Error, Props, Result};

use super::basic_auth::{JAAS_KEY, Users};
use super::headers::{self, HeaderRule};
use super::listener::{Listener, Scheme};
use super::origins::Origins;
use super::tls::TlsConfig;

/// Where and how REST is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestConfig {
    pub listeners: Vec<Listener>,
    /// `None`: together with everything else; empty: nowhere.
    pub admin_listeners: Option<Vec<Listener>>,
    /// Of `listeners` that are https.
    pub tls: Option<TlsConfig>,
    /// Of `admin_listeners` that are https.
    pub admin_tls: Option<TlsConfig>,
    /// Of calls to other workers whose listeners are https.
    pub peers_tls: TlsConfig,
    pub advertised_host: Option<String>,
    pub advertised_port: Option<u16>,
    /// Which of the listeners others use.
    pub advertised_scheme: Scheme,
    /// `None`: no cross-origin requests.
    pub cors_origins: Option<Origins>,
    pub cors_methods: Vec<String>,
    /// What every answer gets.
    pub response_headers: Vec<HeaderRule>,
    /// `None`: everybody may call.
    pub users: Option<Users>,
}

impl RestConfig {
    /// From the worker file.
    ///
    /// # Errors
    /// `Config`, with the key.
    pub fn new(parsed: &Parsed, props: &Props) -> Result<Self> {
        let read = |key: &str| parsed.list(key).iter().map(|text| Listener::parse(key, text)).collect::<Result<Vec<_>>>();
        let listeners = read("listeners")?;
        let admin_listeners = parsed.text("admin.listeners").map(|_| read("admin.listeners")).transpose()?;
        if listeners.is_empty() {
            return Err(Error::config("Invalid value  for configuration listeners: give at least one, such as http://:8083"));
        }
        let tls = |listeners: &[Listener], prefix: &'static str| {
            listeners.iter().any(|l| l.scheme == Scheme::Https).then(|| TlsConfig::of_listeners(props, prefix)).transpose()
        };
        Ok(Self {
            tls: tls(&listeners, "listeners.https.")?,
            admin_tls: tls(admin_listeners.as_deref().unwrap_or_default(), "admin.listeners.https.")?,
            peers_tls: TlsConfig::new(props, "listeners.https.")?,
            advertised_host: parsed.text("rest.advertised.host.name").filter(|host| !host.is_empty()).map(str::to_owned),
            advertised_port: parsed.text("rest.advertised.port").map(advertised_port).transpose()?,
            advertised_scheme: advertised_scheme(parsed.text("rest.advertised.listener"), &listeners)?,
            cors_origins: Origins::parse(parsed.string("access.control.allow.origin")).map_err(|why| {
                Error::config(format!("Invalid value for configuration access.control.allow.origin: not a pattern: {why}"))
            })?,
            cors_methods: split_list(parsed.string("access.control.allow.methods")),
            response_headers: headers::parse(parsed.string("response.http.headers.config"))
                .map_err(|why| Error::config(format!("{why} (response.http.headers.config)")))?,
            users: Users::of_extensions(&parsed.list("rest.extension.classes"), parsed.text(JAAS_KEY))?,
            listeners,
            admin_listeners,
        })
    }

    /// The listener that others use.
    #[must_use]
    pub fn advertised(&self) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.scheme == self.advertised_scheme)
    }
}

fn advertised_port(text: &str) -> Result<u16> {
    text.parse().map_err(|_| {
        Error::config(format!("Invalid value {text} for configuration rest.advertised.port: not a port; give 1 to 65535"))
    })
}

/// As Java: http if there is such a listener, unless the worker file says otherwise.
fn advertised_scheme(wanted: Option<&str>, listeners: &[Listener]) -> Result<Scheme> {
    let has = |scheme: Scheme| listeners.iter().any(|listener| listener.scheme == scheme);
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Ok(if has(Scheme::Http) { Scheme::Http } else { Scheme::Https });
    };
    let scheme = match wanted.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => {
            return Err(Error::config(format!(
                "Invalid value {wanted} for configuration rest.advertised.listener: give http or https"
            )));
        }
    };
    if has(scheme) {
        return Ok(scheme);
    }
    Err(Error::config(format!(
        "Invalid value {wanted} for configuration rest.advertised.listener: there is no such listener in listeners"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WorkerConfig;
    use crate::config::worker::tests::minimal;

    fn rest(pairs: &[(&str, &str)]) -> Result<RestConfig> {
        let mut props = minimal();
        props.extend(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        WorkerConfig::new(&props).map(|worker| worker.rest)
    }

    #[test]
    fn which_listener_others_use() {
        let both = ("listeners", "https://a:1,http://b:2");
        let key = ("ssl.keystore.location", "/k.pem");
        let check = |more: &[(&str, &str)], expected: &str| {
            let pairs = [&[both, key], more].concat();
            let rest = rest(&pairs).expect("good");
            assert_eq!(rest.advertised().and_then(|l| l.host.clone()).as_deref(), Some(expected));
        };
        check(&[], "b");
        check(&[("rest.advertised.listener", "HTTPS")], "a");
        assert!(rest(&[("rest.advertised.listener", "https")]).is_err());
        assert!(rest(&[("rest.advertised.listener", "ftp")]).is_err());
    }

    #[test]
    fn a_key_is_asked_for_where_it_is_needed() {
        let text = |pairs: &[(&str, &str)]| rest(pairs).expect_err("no key").to_string();
        assert!(text(&[("listeners", "https://:1")]).contains("an https listener needs a key"));
        let admin = [("admin.listeners", "https://:1"), ("admin.listeners.https.ssl.client.auth", "none")];
        assert!(text(&admin).contains("set admin.listeners.https.ssl.keystore.location"));
        assert!(rest(&[("admin.listeners", "")]).expect("good").admin_tls.is_none());
    }

    #[test]
    fn headers_and_extensions_are_checked_at_the_start() {
        let text = |pairs: &[(&str, &str)]| rest(pairs).expect_err("bad").to_string();
        assert!(text(&[("response.http.headers.config", "put X:1")]).contains("Invalid header config action: 'put'"));
        assert!(text(&[("rest.extension.classes", "com.example.Sso")]).contains("Java classes cannot be loaded"));
    }
}
