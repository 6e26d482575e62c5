//! Secrets that a plugin may send and not read: it holds a placeholder, and the host puts the value into the headers of requests.
//!
//! `plugin.grants.secrets` names them; `plugin.grants.secrets.NAME.value` is the value, mostly a variable of a configuration provider,
//! and `plugin.grants.secrets.NAME.hosts` says which hosts it may be sent to, as `plugin.grants.hosts` is written.

use std::fmt;

use http::HeaderValue;
use penstock_api::Props;

use super::SECRETS;
use super::hosts::{Asked, Hosts};
use super::names::Names;

/// The secrets of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<Secret>);

pub(crate) struct Secret {
    pub name: String,
    value: Vec<u8>,
    hosts: Hosts,
}

impl Secrets {
    /// Reads the names with what belongs to each.
    ///
    /// # Errors
    /// The key that is wrong, and why; never a value.
    pub(crate) fn parse(names: &Names, props: &Props) -> Result<Self, (String, String)> {
        names.iter().map(|name| Secret::parse(name, props)).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Secret> {
        self.0.iter().find(|secret| secret.name == name)
    }

    /// Their names, for people.
    pub(crate) fn names(&self) -> String {
        self.0.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl Secret {
    fn parse(name: &str, props: &Props) -> Result<Self, (String, String)> {
        let (value_key, hosts_key) = (format!("{SECRETS}.{name}.value"), format!("{SECRETS}.{name}.hosts"));
        let given = |key: &String, what: &str| {
            let value = props.get(key).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
            value.ok_or_else(|| (key.clone(), format!("secret {name} has no {what}: set {key}")))
        };
        // Files of secrets often end with a line's end, which is no part of them.
        let value = given(&value_key, "value")?.into_bytes();
        if HeaderValue::from_bytes(&value).is_err() {
            return Err((
                value_key,
                format!("the value of secret {name} cannot stand in a header: it has more than one line, or the like"),
            ));
        }
        let hosts = Hosts::parse(&given(&hosts_key, "hosts that it may be sent to")?).map_err(|why| (hosts_key, why))?;
        Ok(Self { name: name.to_owned(), value, hosts })
    }

    /// What may be sent to this host, if it may.
    pub(crate) fn for_host(&self, asked: &Asked, port: u16) -> Option<&[u8]> {
        self.hosts.allow(asked, port).then_some(&self.value)
    }

    /// Where it may be sent, for people.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }
}

/// Without the value.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.name, self.hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_secret_is_asked_for_by_its_key_and_never_shown() {
        let parse = |pairs: &[(&str, &str)]| {
            let props = pairs.iter().map(|(key, value)| (format!("{SECRETS}.token.{key}"), (*value).to_owned())).collect();
            Secrets::parse(&Names::parse("token", false).expect("a name"), &props)
        };
        let (key, why) = parse(&[("hosts", "a.b")]).expect_err("no value");
        assert_eq!(key, "plugin.grants.secrets.token.value");
        assert!(why.contains("no value: set plugin.grants.secrets.token.value"), "{why}");
        assert_eq!(parse(&[("value", "s3cret")]).expect_err("no hosts").0, "plugin.grants.secrets.token.hosts");
        let (_, why) = parse(&[("value", "s3cret\nmore"), ("hosts", "a.b")]).expect_err("two lines");
        assert!(!why.contains("s3cret"), "{why}");
        let secrets = parse(&[("value", "s3cret\n"), ("hosts", "a.b:443")]).expect("good");
        assert!(!format!("{secrets:?}").contains("s3cret"));
        let token = secrets.get("token").expect("there");
        assert_eq!(token.for_host(&Asked::new("a.b"), 443), Some(&b"s3cret"[..]));
        assert_eq!(token.for_host(&Asked::new("a.b"), 80), None);
    }
}
