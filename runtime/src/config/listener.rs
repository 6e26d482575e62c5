//! A place where REST is served.

use penstock_api::{Error, Result};

/// How a listener is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// As it begins an address.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub scheme: Scheme,
    /// `None`: all addresses of this machine.
    pub host: Option<String>,
    /// 0: any free port.
    pub port: u16,
}

impl Listener {
    /// Reads one entry of `listeners` or `admin.listeners`.
    ///
    /// # Errors
    /// `Config`, with the key.
    pub fn parse(key: &str, text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::config(format!("Invalid value {text} for configuration {key}: {why}"));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("write it as http://host:port"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(wrong("the scheme must be http or https")),
        };
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let port = port.parse().map_err(|_| wrong("the port must be a number from 0 to 65535"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self { scheme, host: (!host.is_empty()).then(|| host.to_owned()), port })
    }

    /// The address to listen on.
    #[must_use]
    pub fn bind_address(&self) -> (&str, u16) {
        (self.host.as_deref().unwrap_or("0.0.0.0"), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str, u16)>) {
        match (Listener::parse("listeners", text), expected) {
            (Ok(listener), Some(expected)) => {
                assert_eq!((listener.scheme.name(), listener.host.as_deref().unwrap_or(""), listener.port), expected);
            }
            (Err(error), None) => {
                assert!(error.message().starts_with(&format!("Invalid value {text} for configuration listeners: ")));
            }
            (got, expected) => panic!("{text}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn listeners() {
        check("http://:8083", Some(("http", "", 8083)));
        check("HTTP://localhost:0", Some(("http", "localhost", 0)));
        check("http://[::1]:80/", Some(("http", "::1", 80)));
        check("https://:8443", Some(("https", "", 8443)));
        check("ftp://:21", None);
        check("http://host", None);
        check("http://host:99999", None);
        check("host:80", None);
    }
}
