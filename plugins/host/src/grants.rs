//! What a plugin may reach beyond its records: nothing, unless its connector asks for it and the worker file allows it.
//!
//! A connector's configuration asks by `plugin.grants.*`, for a transform or predicate behind its prefix
//! (`transforms.mask.plugin.grants.hosts`). The same keys in the worker file are the ceiling; without them it grants nothing. A
//! configuration that asks for more is refused when it is validated, and again where a task starts.

mod address;
mod folders;
mod hosts;
mod names;
mod secrets;

use std::path::PathBuf;
use std::sync::Arc;

use penstock_api::config::{Check, Width};
use penstock_api::{ConfigDef, ConfigKey, ConfigType, Error, Importance, Props, Result};

use folders::{Folder, Folders};
pub(crate) use hosts::Asked;
use hosts::Hosts;
use names::Names;
use secrets::Secrets;

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
    /// Which names connectors may give to secrets.
    secrets: Names,
    folders: Folders,
    environment: Names,
}

/// What one plugin of one connector may reach.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    pub hosts: Hosts,
    pub secrets: Secrets,
    /// Where each lies in truth.
    pub folders: Vec<(PathBuf, Folder)>,
    /// Variables with their values.
    pub environment: Vec<(String, String)>,
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

fn list<'p>(props: &'p Props, key: &str) -> &'p str {
    props.get(key).map_or("", String::as_str)
}

impl Ceiling {
    /// Reads the keys `plugin.grants.*` of a worker file.
    ///
    /// # Errors
    /// `Config`, with the key and the entry that is wrong.
    pub fn new(props: &Props) -> Result<Self> {
        let wrong = |key: &'static str| move |why: String| Error::config(format!("{key} in the worker file: {why}"));
        Ok(Self {
            hosts: Hosts::parse(list(props, HOSTS)).map_err(wrong(HOSTS))?,
            secrets: Names::parse(list(props, SECRETS), true).map_err(wrong(SECRETS))?,
            folders: Folders::parse(list(props, FOLDERS)).map_err(wrong(FOLDERS))?,
            environment: Names::parse(list(props, ENVIRONMENT), true).map_err(wrong(ENVIRONMENT))?,
        })
    }

    /// What is wrong with the value of one of the keys.
    fn check(&self, key: &str, list: &str) -> std::result::Result<(), String> {
        let (beyond, is_empty, own) = match key {
            HOSTS => (Hosts::parse(list)?.beyond(&self.hosts), self.hosts.is_empty(), self.hosts.to_string()),
            SECRETS => (Names::parse(list, false)?.beyond(&self.secrets), self.secrets.is_empty(), self.secrets.to_string()),
            FOLDERS => (Folders::parse(list)?.beyond(&self.folders), self.folders.is_empty(), self.folders.to_string()),
            _ => {
                let beyond = Names::parse(list, false)?.beyond(&self.environment);
                (beyond, self.environment.is_empty(), self.environment.to_string())
            }
        };
        let Some(beyond) = beyond else { return Ok(()) };
        Err(match is_empty {
            true => format!("{beyond} is beyond what this worker grants: its worker file has no {key}, so it grants none"),
            false => format!("{beyond} is beyond what this worker grants: {key} in its worker file is {own}"),
        })
    }
}

impl Grants {
    /// What a configuration asks for, within the ceiling. It need not have been validated.
    ///
    /// # Errors
    /// `Config`, with the key, the entry and the ceiling.
    pub(crate) fn new(props: &Props, ceiling: &Ceiling) -> Result<Self> {
        let wrong = |key: &str, why: String| Error::config(format!("{key}: {why}"));
        for key in [HOSTS, SECRETS, FOLDERS, ENVIRONMENT] {
            ceiling.check(key, list(props, key)).map_err(|why| wrong(key, why))?;
        }
        let parse = |key: &str| Names::parse(list(props, key), false).map_err(|why| wrong(key, why));
        let folders = Folders::parse(list(props, FOLDERS)).and_then(|folders| folders.resolved(&ceiling.folders));
        let variable = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        Ok(Self {
            hosts: Hosts::parse(list(props, HOSTS)).map_err(|why| wrong(HOSTS, why))?,
            secrets: Secrets::parse(&parse(SECRETS)?, props).map_err(|(key, why)| wrong(&key, why))?,
            folders: folders.map_err(|why| wrong(FOLDERS, why))?,
            environment: parse(ENVIRONMENT)?.iter().filter_map(variable).collect(),
        })
    }
}

/// What is wrong with keys that belong to others: pairs of key and message.
pub(crate) fn problems(props: &Props) -> Vec<(String, String)> {
    let names = Names::parse(list(props, SECRETS), false).unwrap_or_default();
    Secrets::parse(&names, props).err().into_iter().collect()
}

/// Whether a key asks for grants, of the connector itself or of a transform or predicate.
pub(crate) fn is_grant(key: &str) -> bool {
    key.starts_with(PREFIX) || key.contains(".plugin.grants.")
}

/// The properties that a plugin gets to see.
pub(crate) fn shown(props: &Props) -> Props {
    props.iter().filter(|(key, _)| !is_grant(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

const DOCS: [(&str, &str, &str); 4] = [
    (
        HOSTS,
        "Hosts",
        "Hosts that the plugin may reach: names (api.example.com, *.example.org), addresses and networks, each with a port (:443) or for \
         all. Private addresses of a name need the name in full; loopback, link-local and metadata addresses must be listed as \
         addresses. The worker file sets the limit.",
    ),
    (
        SECRETS,
        "Secrets",
        "Names of secrets that the plugin may send in headers of requests and cannot read. For each, plugin.grants.secrets.NAME.value is \
         its value, which should be a variable of a configuration provider, and plugin.grants.secrets.NAME.hosts the hosts that it may be \
         sent to. The worker file sets the limit.",
    ),
    (
        FOLDERS,
        "Folders",
        "Folders that the plugin may read, as absolute paths on the worker; with :rw behind one it may write there, too. The worker file \
         sets the limit.",
    ),
    (
        ENVIRONMENT,
        "Environment",
        "Variables of the worker's environment that the plugin may see. The worker file sets the limit.",
    ),
];

/// The keys of a class together with those by which grants are asked for.
pub(crate) fn with_keys(mut config: ConfigDef, wanted: &[Wanted], ceiling: &Arc<Ceiling>) -> ConfigDef {
    for (place, (key, display_name, doc)) in (1..).zip(DOCS) {
        let ceiling = ceiling.clone();
        let mut granting = ConfigKey::optional(key, ConfigType::List, "", with_wishes(doc, key, wanted))
            .check(Check::Within(Arc::new(move |list| ceiling.check(key, list))))
            .importance(Importance::Medium)
            .shown(GROUP, place, Width::Long, display_name);
        granting.recommended = wanted.iter().filter(|w| w.key == key && !w.entry.is_empty()).map(|w| w.entry.clone()).collect();
        config.add(granting);
    }
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
        let props = |key: &str, list: &str| Props::from([(key.to_owned(), list.to_owned())]);
        for (key, ceiling, wanted, beyond) in [
            (HOSTS, "*.example.org", "api.example.org, 127.0.0.1:9", "127.0.0.1:9"),
            (SECRETS, "api-*", "api-token, other", "other"),
            (FOLDERS, "/data", "/data/in, /etc:rw", "/etc:rw"),
            (ENVIRONMENT, "TZ", "TZ, HOME", "HOME"),
        ] {
            let own = Ceiling::new(&props(key, ceiling)).expect("good");
            let why = Grants::new(&props(key, wanted), &own).expect_err("beyond").to_string();
            assert!(why.contains(&format!("{key}: {beyond} is beyond")) && why.contains(&format!("is {ceiling}")), "{why}");
            let why = Grants::new(&props(key, wanted), &Ceiling::default()).expect_err("beyond").to_string();
            assert!(why.contains("so it grants none"), "{why}");
        }
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

    #[test]
    fn plugins_see_no_key_that_grants() {
        let keys = ["a", "plugin.grants.hosts", "transforms.t.plugin.grants.secrets.token.value", "transforms.t.type"];
        let props = keys.iter().map(|key| ((*key).to_owned(), String::new())).collect();
        assert_eq!(shown(&props).into_keys().collect::<Vec<_>>(), ["a", "transforms.t.type"]);
    }
}
