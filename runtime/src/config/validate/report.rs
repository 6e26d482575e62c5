//! What is given, and what is said of it key by key.

use std::collections::{BTreeMap, BTreeSet};

use penstock_api::Props;
use penstock_api::config::{ConfigDef, split_list};

use super::super::infos::{ConfigInfo, Value};
use super::super::worker::{WorkerConfig, behind};
use super::RawConfig;

/// A configuration with its variables resolved.
#[derive(Default)]
pub(super) struct Given {
    /// Without what is null.
    pub(super) props: Props,
    /// The keys that are there as null.
    pub(super) nulls: BTreeSet<String>,
}

impl Given {
    /// What cannot be resolved is left out, and told by its key.
    pub(super) fn resolved(config: &RawConfig, worker: &WorkerConfig) -> (Self, Vec<(String, String)>) {
        let (mut given, mut unresolved) = (Self::default(), Vec::new());
        for (key, value) in config {
            match value.as_deref().map(|value| worker.providers.resolve_value(key, value)) {
                None => drop(given.nulls.insert(key.clone())),
                Some(Ok(resolved)) => drop(given.props.insert(key.clone(), resolved)),
                Some(Err(error)) => unresolved.push((key.clone(), error.message().to_owned())),
            }
        }
        (given, unresolved)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.props.get(key).map(|text| text.trim())
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        split_list(self.text(key).unwrap_or_default())
    }

    /// Whether it is there, be it as null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.props.contains_key(key) || self.nulls.contains(key)
    }

    /// What stands behind a prefix, without it.
    pub(super) fn behind(&self, prefix: &str) -> Self {
        let nulls = self.nulls.iter().filter_map(|key| key.strip_prefix(prefix)).map(str::to_owned).collect();
        Self { props: behind(&self.props, prefix), nulls }
    }
}

/// What is said, in the order in which it is shown.
#[derive(Default)]
pub(super) struct Report {
    pub(super) groups: Vec<String>,
    /// Keys that nobody declared and that something is to be said of.
    pub(super) undeclared: BTreeMap<String, ConfigInfo>,
    pub(super) declared: Vec<ConfigInfo>,
    /// Keys of clients and converters, which are another's.
    pub(super) embedded: Vec<ConfigInfo>,
}

impl Report {
    pub(super) fn position(&self, key: &str) -> Option<usize> {
        self.declared.iter().position(|c| c.value.name == key)
    }

    /// Of a declared key.
    pub(super) fn value(&mut self, key: &str) -> Option<&mut Value> {
        let at = self.position(key)?;
        Some(&mut self.declared[at].value)
    }

    pub(super) fn error(&mut self, key: &str, message: impl Into<String>) {
        let value = match self.position(key) {
            Some(at) => &mut self.declared[at].value,
            None => self.undeclared(key, None),
        };
        value.errors.push(message.into());
    }

    pub(super) fn undeclared(&mut self, key: &str, value: Option<&str>) -> &mut Value {
        let new = || ConfigInfo::undeclared(key, value.map(str::to_owned), Vec::new());
        &mut self.undeclared.entry(key.to_owned()).or_insert_with(new).value
    }

    pub(super) fn define(&mut self, definition: &ConfigDef, given: &Given) {
        self.group(definition.groups());
        self.declared.extend(judge(definition, given));
    }

    pub(super) fn group<'g>(&mut self, groups: impl IntoIterator<Item = &'g str>) {
        for group in groups {
            if !self.groups.iter().any(|known| known == group) {
                self.groups.push(group.to_owned());
            }
        }
    }
}

/// Each key by itself.
pub(super) fn judge(definition: &ConfigDef, given: &Given) -> impl Iterator<Item = ConfigInfo> {
    definition.keys().iter().filter(|key| !key.internal).map(|key| {
        let is_null = given.nulls.contains(&key.name);
        let found = if is_null { key.validate_null() } else { key.validate(given.props.get(&key.name).map(String::as_str)) };
        ConfigInfo::new(key, found)
    })
}
