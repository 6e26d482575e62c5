//! What a plugin may reach beyond its records: nothing, unless its connector asks for it and the worker file allows it.
//!
//! A connector's configuration asks by `plugin.grants.*`, for a transform or predicate behind its prefix
//! (`transforms.mask.plugin.grants.hosts`). The same keys in the worker file are the ceiling; without them it grants nothing. A
//! configuration that asks for more is refused when it is validated, and again where a task starts.

mod address;
mod hosts;

use std::sync::Arc;

use penstock_api::config::{Check, Width};
use penstock_api::{ConfigDef, ConfigKey, ConfigType, Error, Importance, Props, Result};

pub(crate) use hosts::{Asked, Hosts};

/// What stands before the keys. Plugins do not get to see them.
const PREFIX: &str = "plugin.grants.";
pub(crate) const HOSTS: &str = "plugin.grants.hosts";
pub(crate) const SECRETS: &str = "plugin.grants.secrets";
pub(crate) const FOLDERS: &str = "plugin.grants.folders";
pub(crate) const ENVIRONMENT: &str = "plugin.grants.env";
/// The heading under which forms show the keys.
const GROUP: &str = "Grants";

/// The most that the worker grants any plugin.
#[derive(Clone, Debug, Default)]
pub struct Ceiling {
    hosts: Hosts,
}

/// What one plugin of one connector may reach.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    pub hosts: Hosts,
}

/// Something that a class says it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The key that would grant it.
    pub key: &'static str,
    /// An entry as the key takes it; empty where it depends on the configuration.
    pub entry: String,
    /// What for.
    pub doc: String,
}

impl Ceiling {
    /// Reads the keys `plugin.grants.*` of a worker file.
    ///
    /// # Errors
    /// `Config`, with the key and the entry that is wrong.
    pub fn new(props: &Props) -> Result<Self> {
        let list = props.get(HOSTS).map_or("", String::as_str);
        let hosts = Hosts::parse(list).map_err(|why| Error::config(format!("{HOSTS} in the worker file: {why}")))?;
        Ok(Self { hosts })
    }

    fn check_hosts(&self, list: &str) -> std::result::Result<(), String> {
        let Some(beyond) = Hosts::parse(list)?.beyond(&self.hosts) else { return Ok(()) };
        Err(match self.hosts.is_empty() {
            true => format!("{beyond} is beyond what this worker grants: its worker file has no {HOSTS}, so it grants no host"),
            false => format!("{beyond} is beyond what this worker grants: {HOSTS} in its worker file is {}", self.hosts),
        })
    }
}

impl Grants {
    /// What a configuration asks for, within the ceiling. It need not have been validated.
    ///
    /// # Errors
    /// `Config`, with the key, the entry and the ceiling.
    pub(crate) fn new(props: &Props, ceiling: &Ceiling) -> Result<Self> {
        let list = props.get(HOSTS).map_or("", String::as_str);
        ceiling.check_hosts(list).map_err(|why| Error::config(format!("{HOSTS}: {why}")))?;
        let hosts = Hosts::parse(list).map_err(Error::config)?;
        Ok(Self { hosts })
    }
}

/// Whether a key asks for grants.
pub(crate) fn is_grant(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// The properties that a plugin gets to see.
pub(crate) fn shown(props: &Props) -> Props {
    props.iter().filter(|(key, _)| !is_grant(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The keys of a class together with those by which grants are asked for.
pub(crate) fn with_keys(mut config: ConfigDef, wanted: &[Wanted], ceiling: &Arc<Ceiling>) -> ConfigDef {
    let ceiling = ceiling.clone();
    let doc = "Hosts that the plugin may reach: names (api.example.com, *.example.org), addresses and networks, each with a port \
               (:443) or for all. Private addresses of a name need the name in full; loopback, link-local and metadata addresses must \
               be listed as addresses. The worker file sets the limit.";
    let mut hosts = ConfigKey::optional(HOSTS, ConfigType::List, "", with_wishes(doc, HOSTS, wanted))
        .check(Check::Within(Arc::new(move |list| ceiling.check_hosts(list))))
        .importance(Importance::Medium)
        .shown(GROUP, 1, Width::Long, "Hosts");
    hosts.recommended = wanted.iter().filter(|w| w.key == HOSTS && !w.entry.is_empty()).map(|w| w.entry.clone()).collect();
    config.add(hosts);
    config
}

/// The text of a key, with what the class says it needs.
fn with_wishes(doc: &str, key: &str, wanted: &[Wanted]) -> String {
    let wishes: Vec<String> = wanted.iter().filter(|w| w.key == key).map(Wanted::told).collect();
    if wishes.is_empty() { doc.to_owned() } else { format!("{doc} This plugin asks for: {}", wishes.join("; ")) }
}

impl Wanted {
    fn told(&self) -> String {
        match (self.entry.as_str(), self.doc.as_str()) {
            ("", doc) => doc.to_owned(),
            (entry, "") => entry.to_owned(),
            (entry, doc) => format!("{entry} ({doc})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_ceiling_is_named_with_key_entry_and_ceiling() {
        let props = |hosts: &str| Props::from([(HOSTS.to_owned(), hosts.to_owned())]);
        let ceiling = Ceiling::new(&props("*.example.org")).expect("good");
        let why = Grants::new(&props("api.example.org, 127.0.0.1:9"), &ceiling).expect_err("beyond").to_string();
        for part in ["plugin.grants.hosts: 127.0.0.1:9 is beyond", "is *.example.org"] {
            assert!(why.contains(part), "{why}");
        }
        let why = Grants::new(&props("a.b"), &Ceiling::default()).expect_err("beyond").to_string();
        assert!(why.contains("it grants no host"), "{why}");
        assert!(Grants::new(&Props::new(), &Ceiling::default()).expect("nothing").hosts.is_empty());
    }

    #[test]
    fn wishes_are_offered_and_told() {
        let wanted = |entry: &str, doc: &str| Wanted { key: HOSTS, entry: entry.into(), doc: doc.into() };
        let wishes = [wanted("api.example.com:443", "tickets"), wanted("", "the host of http.url")];
        let config = with_keys(ConfigDef::default(), &wishes, &Arc::default());
        let key = config.get(HOSTS).expect("added");
        assert_eq!(key.recommended, ["api.example.com:443"]);
        assert!(key.doc.ends_with("asks for: api.example.com:443 (tickets); the host of http.url"), "{}", key.doc);
    }
}
