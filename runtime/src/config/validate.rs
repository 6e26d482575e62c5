//! Whether a connector's configuration is good, key by key, with Java's messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fancy_regex::Regex;
use penstock_api::config::{ConfigDef, ConfigKey, ConfigType, Default, Importance, Width, split_list};
use penstock_api::{Constructor, Error, ExactlyOnceSupport, Plugin, PluginKind, Props, Registry, Result, SourceConnector};

use super::common::{self, CONVERTERS};
use super::infos::{ConfigInfo, ConfigInfos, Definition, HIDDEN};
use super::source::TOPIC_CREATION;
use super::version;
use super::worker::{WorkerConfig, behind};
use super::worker_keys;

/// A configuration as REST takes it: a value may be null.
pub type RawConfig = BTreeMap<String, Option<String>>;

/// The kinds of plugins that are connectors.
pub const CONNECTORS: &[PluginKind] = &[PluginKind::Sink, PluginKind::Source];

/// The prefixes of client overrides, and the client's name in the worker file.
pub const OVERRIDES: [&str; 3] = ["consumer.override.", "producer.override.", "admin.override."];

/// Checks a configuration, and asks the connector itself.
///
/// # Errors
/// `Config` when there is no such connector class, so that nothing can be said key by key.
pub async fn validate(config: &RawConfig, registry: &Registry, worker: &WorkerConfig) -> Result<ConfigInfos> {
    let mut checked = check(config, registry, worker)?;
    let found = match &checked.plugin.construct {
        Constructor::Sink(make) => make().validate(&checked.props).await,
        Constructor::Source(make) => {
            let connector = make();
            check_exactly_once(&mut checked.report, &checked.props, &*connector, worker).await;
            connector.validate(&checked.props).await
        }
        _ => Vec::new(),
    };
    for (key, message) in found {
        checked.report.error(&key, message);
    }
    Ok(checked.into_infos(config))
}

// In Java's words.
const ONCE_DISABLED: &str = "This worker does not have exactly-once source support enabled.";
const ONCE_UNSUPPORTED: &str = "The connector does not support exactly-once semantics with the provided configuration.";
const ONCE_UNKNOWN: &str = "The connector does not implement the API required for preflight validation of exactly-once source support. \
     Please consult the documentation for the connector to determine whether it supports exactly-once semantics, and then consider \
     reconfiguring the connector to use the value \"requested\" for this property (which will disable this preflight check and allow the \
     connector to be created).";
const BOUNDARIES_UNSUPPORTED: &str = "The connector does not support connector-defined transaction boundaries with the given configuration. \
     Please reconfigure it to use a different transaction boundary definition.";

/// Whether the worker and the connector can do what is asked of them (KIP-618).
async fn check_exactly_once(report: &mut Report, props: &Props, connector: &dyn SourceConnector, worker: &WorkerConfig) {
    let says = |key: &str, value: &str| props.get(key).is_some_and(|given| given.trim().eq_ignore_ascii_case(value));
    let failed = |error: Error| format!("An unexpected error occurred during validation: {error:#}");
    if says("exactly.once.support", "required") {
        if !worker.exactly_once {
            report.error("exactly.once.support", ONCE_DISABLED);
        }
        let problem = match connector.exactly_once_support(props).await {
            Ok(Some(ExactlyOnceSupport::Supported)) => None,
            Ok(Some(ExactlyOnceSupport::Unsupported)) => Some(ONCE_UNSUPPORTED.to_owned()),
            Ok(None) => Some(ONCE_UNKNOWN.to_owned()),
            Err(error) => Some(failed(error)),
        };
        problem.into_iter().for_each(|problem| report.error("exactly.once.support", problem));
    }
    if says("transaction.boundary", "connector") {
        let problem = match connector.can_define_transaction_boundaries(props).await {
            Ok(true) => None,
            Ok(false) => Some(BOUNDARIES_UNSUPPORTED.to_owned()),
            Err(error) => Some(failed(error)),
        };
        problem.into_iter().for_each(|problem| report.error("transaction.boundary", problem));
    }
}

/// Checks a configuration without asking the connector itself: `Err` with the text that refuses it.
///
/// # Errors
/// `Config`, with all that is wrong.
pub fn check_keys(config: &Props, registry: &Registry, worker: &WorkerConfig) -> Result<(Arc<Plugin>, Props)> {
    let raw = config.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    let checked = check(&raw, registry, worker)?;
    let (plugin, props) = (checked.plugin.clone(), checked.props.clone());
    match checked.into_infos(&raw).refusal() {
        Some(refusal) => Err(Error::config(refusal)),
        None => Ok((plugin, props)),
    }
}

/// All keys of a plugin, for `GET /connector-plugins/{class}/config`.
#[must_use]
pub fn plugin_keys(plugin: &Plugin, registry: &Registry, worker: &WorkerConfig) -> Vec<Definition> {
    let common = common::definition_for(plugin, registry, worker);
    let shared: &[ConfigKey] = if CONNECTORS.contains(&plugin.kind()) { common.keys() } else { &[] };
    let own = plugin.config.keys().iter().filter(|key| !key.internal && !shared.iter().any(|s| s.name == key.name));
    let mut definitions: Vec<Definition> = own.chain(shared).map(Definition::of).collect();
    // What the worker file chooses holds when a configuration is validated; as in Java the definitions themselves name none.
    let chosen = |key: &&mut Definition| key.name.ends_with(".converter") || key.name.ends_with(".converter.plugin.version");
    for key in definitions.iter_mut().filter(chosen) {
        key.default_value = None;
    }
    definitions
}

struct Checked {
    plugin: Arc<Plugin>,
    /// Variables resolved, nulls left out.
    props: Props,
    report: Report,
    class: String,
}

impl Checked {
    fn into_infos(self, config: &RawConfig) -> ConfigInfos {
        let Report { groups, mut configs } = self.report;
        // A resolved secret is shown as little as a password: what the user wrote stands in its place.
        for info in &mut configs {
            let written = config.get(&info.value.name).and_then(Option::as_deref).filter(|written| written.contains("${"));
            let (Some(written), Some(resolved)) = (written, self.props.get(&info.value.name)) else { continue };
            if let Some(value) = info.value.value.as_mut().filter(|value| *value != HIDDEN) {
                written.clone_into(value);
            }
            for error in info.value.errors.iter_mut().filter(|_| !resolved.is_empty()) {
                *error = error.replace(resolved.as_str(), written);
            }
        }
        let error_count = configs.iter().map(|c| c.value.errors.len()).sum();
        ConfigInfos { name: self.class, error_count, groups, configs }
    }
}

fn check(config: &RawConfig, registry: &Registry, worker: &WorkerConfig) -> Result<Checked> {
    let mut unresolved = Vec::new();
    let mut props = Props::new();
    for (key, value) in config {
        let Some(value) = value else { continue };
        match worker.providers.resolve_value(key, value) {
            Ok(resolved) => drop(props.insert(key.clone(), resolved)),
            Err(error) => unresolved.push((key.clone(), error.message().to_owned())),
        }
    }
    let class = props.get("connector.class").map(|c| c.trim().to_owned());
    let class = class.ok_or_else(|| Error::config(format!("Connector config {} contains no connector type", as_java(config))))?;
    let plugin = find_connector(&class, registry)?;

    let mut report = Report::default();
    let common = common::definition_for(&plugin, registry, worker);
    report.define(&common, &props);
    report.nulls(&common, config);
    check_classes(&mut report, &props, registry);
    check_versions(&mut report, &props, &plugin);
    embed_aliases(&mut report, &props, registry, Alias::TRANSFORM);
    embed_aliases(&mut report, &props, registry, Alias::PREDICATE);
    check_predicate_names(&mut report, &props);
    if plugin.kind() == PluginKind::Sink {
        check_topics(&mut report, &props);
        check_group(&mut report, &props, worker);
    } else {
        check_unique(&mut report, &props, "topic.creation.groups");
    }
    let own = plugin.config.keys().iter().filter(|key| !report.declares(&key.name)).cloned();
    report.define(&ConfigDef::new(own), &props);
    check_overrides(&mut report, &props, plugin.kind(), worker);
    embed_converters(&mut report, &props, registry);
    for (key, message) in unresolved {
        report.error(&key, message);
    }
    Ok(Checked { plugin, props, report, class })
}

/// The connector a configuration means.
///
/// # Errors
/// `Config`, with the classes there are.
pub fn find_connector(class: &str, registry: &Registry) -> Result<Arc<Plugin>> {
    registry.find(CONNECTORS, class).cloned().ok_or_else(|| {
        let mut available: Vec<&str> =
            registry.plugins().iter().filter(|p| CONNECTORS.contains(&p.kind())).map(|p| p.class.as_str()).collect();
        available.sort_unstable();
        Error::config(format!(
            "Failed to find any class that implements Connector and which name matches {class}, available connectors are: {}{}",
            available.join(", "),
            registry.missing_hint()
        ))
    })
}

/// As Java prints a map.
fn as_java(config: &RawConfig) -> String {
    let entries: Vec<String> =
        config.iter().map(|(key, value)| format!("{key}={}", value.as_deref().unwrap_or("null"))).collect();
    format!("{{{}}}", entries.join(", "))
}

#[derive(Default)]
struct Report {
    groups: Vec<String>,
    configs: Vec<ConfigInfo>,
}

impl Report {
    fn position(&self, key: &str) -> Option<usize> {
        self.configs.iter().position(|c| c.value.name == key)
    }

    fn declares(&self, key: &str) -> bool {
        self.position(key).is_some_and(|at| self.configs[at].definition.is_some())
    }

    fn value(&mut self, key: &str) -> Option<&mut super::infos::Value> {
        let at = self.position(key)?;
        Some(&mut self.configs[at].value)
    }

    fn error(&mut self, key: &str, message: impl Into<String>) {
        match self.value(key) {
            Some(value) => value.errors.push(message.into()),
            None => self.configs.push(ConfigInfo::undeclared(key, None, vec![message.into()])),
        }
    }

    fn define(&mut self, definition: &ConfigDef, props: &Props) {
        for group in definition.groups() {
            if !self.groups.iter().any(|g| g == group) {
                self.groups.push(group.to_owned());
            }
        }
        for key in definition.keys().iter().filter(|key| !key.internal) {
            let mut info = ConfigInfo::new(key, key.validate(props.get(&key.name).map(String::as_str)));
            match self.position(&key.name) {
                // It was found to be null before anybody knew what it is.
                Some(at) if self.configs[at].definition.is_none() => {
                    info.value.value = None;
                    info.value.errors = key.null_error().into_iter().chain(self.configs[at].value.errors.drain(..)).collect();
                    self.configs[at] = info;
                }
                _ => self.configs.push(info),
            }
        }
    }

    /// A key that is given as null has no default, and no other error than that.
    fn nulls(&mut self, definition: &ConfigDef, config: &RawConfig) {
        for (key, _) in config.iter().filter(|(_, value)| value.is_none()) {
            if let Some(value) = self.value(key) {
                value.value = None;
                value.errors = definition.get(key).and_then(ConfigKey::null_error).into_iter().collect();
            }
            self.error(key, "Null value can not be supplied as the configuration value.");
        }
    }
}

fn check_classes(report: &mut Report, props: &Props, registry: &Registry) {
    for (key, kind) in CONVERTERS {
        let Some(class) = props.get(key) else { continue };
        if resolve_class(report, key, class.trim(), kind, registry).is_none()
            && let Some(version) = report.value(&format!("{key}.plugin.version"))
        {
            (version.value, version.visible) = (None, false);
        }
    }
}

/// Looks a class up; what is wrong with it is noted at the key.
fn resolve_class<'r>(
    report: &mut Report,
    key: &str,
    class: &str,
    kind: PluginKind,
    registry: &'r Registry,
) -> Option<&'r Arc<Plugin>> {
    if let Some(plugin) = registry.find(&[kind], class) {
        if let Some(value) = report.value(key) {
            value.value = Some(plugin.class.clone());
        }
        return Some(plugin);
    }
    let inner = format!("{class}$");
    let children: Vec<String> = common::classes(registry, kind).into_iter().filter(|c| c.starts_with(&inner)).collect();
    let is_other_kind = registry.plugins().iter().any(|p| p.class == class || p.aliases.iter().any(|a| a == class));
    let message = if !children.is_empty() {
        format!("This class is abstract and cannot be created. Did you mean {}?", children.join(", "))
    } else if is_other_kind {
        format!("Class class {class} does not implement the {} interface", interface(kind))
    } else {
        if let Some(value) = report.value(key) {
            value.value = None;
        }
        format!("Invalid value {class} for configuration {key}: Class {class} could not be found.{}", registry.missing_hint())
    };
    report.error(key, message);
    None
}

fn interface(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Sink => "SinkConnector",
        PluginKind::Source => "SourceConnector",
        PluginKind::Converter => "Converter",
        PluginKind::HeaderConverter => "HeaderConverter",
        PluginKind::Transformation => "Transformation",
        PluginKind::Predicate => "Predicate",
    }
}

fn check_versions(report: &mut Report, props: &Props, plugin: &Plugin) {
    let Some(wanted) = props.get("connector.plugin.version").map(|v| v.trim()) else { return };
    if let Err(range) = version::satisfies(&plugin.version, wanted) {
        let message = format!(
            "Plugin {} has version {} which does not match the required version range {range}",
            plugin.class, plugin.version
        );
        report.error("connector.class", message.clone());
        report.error("connector.plugin.version", message);
    }
}

/// What transforms and predicates have in common, as texts.
#[derive(Clone, Copy)]
struct Alias {
    key: &'static str,
    kind: PluginKind,
    /// `Transformation type for m`.
    display: &'static str,
    /// `Class for the 'm' transformation.`
    word: &'static str,
    group: &'static str,
}

impl Alias {
    const TRANSFORM: Self = Self {
        key: "transforms",
        kind: PluginKind::Transformation,
        display: "Transformation",
        word: "transformation",
        group: "Transforms",
    };
    const PREDICATE: Self =
        Self { key: "predicates", kind: PluginKind::Predicate, display: "Predicate", word: "predicate", group: "Predicates" };
}

/// Puts the keys of each alias behind its prefix.
fn embed_aliases(report: &mut Report, props: &Props, registry: &Registry, what: Alias) {
    check_unique(report, props, what.key);
    let aliases = split_list(props.get(what.key).map_or("", String::as_str));
    let mut seen = BTreeSet::new();
    for alias in aliases.iter().filter(|alias| seen.insert(*alias)) {
        embed_alias(report, props, registry, what, alias);
    }
}

fn check_unique(report: &mut Report, props: &Props, key: &str) {
    let aliases = split_list(props.get(key).map_or("", String::as_str));
    let unique: BTreeSet<&String> = aliases.iter().collect();
    if unique.len() < aliases.len() {
        let shown = aliases.join(", ");
        report.error(key, format!("Invalid value [{shown}] for configuration {key}: Duplicate alias provided."));
    }
}

fn embed_alias(report: &mut Report, props: &Props, registry: &Registry, what: Alias, alias: &str) {
    let prefix = format!("{}.{alias}.", what.key);
    let group = format!("{}: {alias}", what.group);
    let mut kind_key = ConfigKey::required(
        format!("{prefix}type"),
        ConfigType::Class,
        format!("Class for the '{alias}' {}.", what.word),
    )
    .shown(&group, 0, Width::Long, &format!("{} type for {alias}", what.display));
    kind_key.recommended = common::classes(registry, what.kind);
    report.define(&ConfigDef::new([kind_key.clone()]), props);
    let class = props.get(&kind_key.name).map(|class| class.trim());
    let plugin = class.and_then(|class| resolve_class(report, &kind_key.name, class, what.kind, registry));

    let mut version = ConfigKey::nullable(
        format!("{prefix}plugin.version"),
        ConfigType::String,
        format!("Version of the '{alias}' {}.", what.word),
    )
    .importance(Importance::High)
    .shown(&group, 1, Width::Long, &format!("{} version for {alias}", what.display));
    let version_key = version.name.clone();
    version.default = plugin.map_or(Default::Null, |plugin| Default::Value(plugin.version.clone()));
    version.recommended =
        plugin.iter().flat_map(|plugin| registry.versions(plugin)).map(|plugin| plugin.version.clone()).collect();
    report.define(&ConfigDef::new([version]), props);
    let Some(plugin) = plugin else { return };
    let plugin = version::choose(registry, plugin, props.get(&version_key).map(String::as_str)).unwrap_or_else(|why| {
        report.error(&version_key, why);
        plugin
    });

    let mut keys: Vec<ConfigKey> = plugin.config.keys().to_vec();
    if what.kind == PluginKind::Transformation {
        keys.push(ConfigKey::nullable(
            "predicate",
            ConfigType::String,
            "The alias of a predicate used to determine whether to apply this transformation.",
        ));
        keys.push(ConfigKey::optional(
            "negate",
            ConfigType::Boolean,
            "false",
            "Whether the configured predicate should be negated.",
        ));
    }
    // Connect's order for embedded keys: what must be given, then by importance, then by name.
    keys.sort_by_key(|k| (k.default != Default::Required, k.importance as u8, k.name.clone()));
    let embedded = keys.into_iter().enumerate().map(|(i, key)| ConfigKey {
        name: format!("{prefix}{}", key.name),
        group: Some(group.clone()),
        order: i32::try_from(i).unwrap_or(i32::MAX).saturating_add(2),
        dependents: key.dependents.iter().map(|d| format!("{prefix}{d}")).collect(),
        ..key
    });
    report.define(&ConfigDef::new(embedded), props);

    if props.contains_key(&format!("{prefix}negate")) && !props.contains_key(&format!("{prefix}predicate")) {
        let message = format!(
            "Config '{prefix}negate' was provided but there is no config '{prefix}predicate' defining a predicate to be negated."
        );
        report.error(&kind_key.name, message);
    }
}

/// Java lets the task fail with a null pointer instead; see `runtime/DIFFERENCES.md`.
fn check_predicate_names(report: &mut Report, props: &Props) {
    let predicates = split_list(props.get("predicates").map_or("", String::as_str));
    for alias in split_list(props.get("transforms").map_or("", String::as_str)) {
        let key = format!("transforms.{alias}.predicate");
        if let Some(predicate) = props.get(&key).filter(|p| !predicates.iter().any(|known| known == p.trim())) {
            report
                .error(&key, format!("Invalid value {predicate} for configuration {key}: there is no such alias in predicates"));
        }
    }
}

fn check_topics(report: &mut Report, props: &Props) {
    let topics = split_list(props.get("topics").map_or("", String::as_str));
    let regex = props.get("topics.regex").map_or("", |r| r.trim());
    let dead_letters = props.get("errors.deadletterqueue.topic.name").map_or("", |t| t.trim());

    let unique: BTreeSet<&String> = topics.iter().collect();
    if unique.len() < topics.len() {
        report.error("topics", "Configuration 'topics' values must not be duplicated.");
    } else if topics.iter().any(String::is_empty) {
        report.error("topics", "Configuration 'topics' values must not be empty.");
    }
    let compiled = whole_match(regex);
    if let Err(why) = &compiled {
        report.error("topics.regex", format!("Invalid value {regex} for configuration topics.regex: Invalid regex: {why}"));
    }

    let both_or_none = match (topics.is_empty(), regex.is_empty()) {
        (true, true) => Some("Must configure one of topics or topics.regex"),
        (false, false) => Some("topics and topics.regex are mutually exclusive options, but both are set."),
        _ => None,
    };
    if let Some(message) = both_or_none {
        report.error("topics", message);
        report.error("topics.regex", message);
    }

    if dead_letters.is_empty() {
        return;
    }
    if topics.iter().any(|t| t == dead_letters) {
        let list = topics.join(", ");
        let message = format!(
            "The DLQ topic '{dead_letters}' may not be included in the list of topics ('topics=[{list}]') consumed by the connector"
        );
        report.error("topics", message);
    }
    if !regex.is_empty() && compiled.is_ok_and(|r| r.is_match(dead_letters).unwrap_or(false)) {
        let message = format!(
            "The DLQ topic '{dead_letters}' may not be matched by the regex for the topics ('topics.regex={regex}') consumed by the connector"
        );
        report.error("topics.regex", message);
    }
}

/// A regular expression that must match as a whole, as Java's `matches()`.
pub(super) fn whole_match(pattern: &str) -> std::result::Result<Regex, fancy_regex::Error> {
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

fn check_group(report: &mut Report, props: &Props, worker: &WorkerConfig) {
    if worker.standalone.is_some() {
        return;
    }
    let overridden = props.get("consumer.override.group.id").map(|id| id.trim());
    let name = props.get("name").map_or("", |n| n.trim());
    match overridden {
        Some(group) if group == &*worker.group_id => {
            let message = format!("Consumer group {group} conflicts with Connect worker group {}", worker.group_id);
            report.error("consumer.override.group.id", message);
        }
        None if format!("connect-{name}") == *worker.group_id => {
            let message =
                format!("Consumer group for sink connector named {name} conflicts with Connect worker group {}", worker.group_id);
            report.error("name", message);
        }
        _ => {}
    }
}

/// Of the clients that the connector has: as in Java nobody looks at settings of those that it has not. A sink has a producer and an
/// admin client for dead letters only.
fn check_overrides(report: &mut Report, props: &Props, kind: PluginKind, worker: &WorkerConfig) {
    let is_given = |key: &str| props.get(key).is_some_and(|value| !value.trim().is_empty());
    let has_dead_letters = is_given("errors.deadletterqueue.topic.name");
    let has_topics = props.keys().any(|key| key.starts_with(TOPIC_CREATION));
    let uses = |prefix: &str| match (kind, prefix) {
        (PluginKind::Sink, "consumer.override.") | (PluginKind::Source, "producer.override.") => true,
        (PluginKind::Source, "consumer.override.") => is_given("offsets.storage.topic"),
        (PluginKind::Source, _) => has_topics || has_dead_letters || is_given("offsets.storage.topic"),
        _ => has_dead_letters,
    };
    for prefix in OVERRIDES.into_iter().filter(|prefix| uses(prefix)) {
        let overrides = behind(props, prefix);
        let violations: BTreeMap<&str, String> = worker.override_policy.violations(&overrides).collect();
        for (setting, value) in &overrides {
            let key = format!("{prefix}{setting}");
            let shown = if is_secret(setting) { HIDDEN.to_owned() } else { value.clone() };
            match report.value(&key) {
                Some(known) => known.value = Some(shown),
                None => report.configs.push(ConfigInfo::undeclared(&key, Some(shown), Vec::new())),
            }
            if let Some(message) = violations.get(setting.as_str()) {
                report.error(&key, message.clone());
            }
        }
    }
}

fn is_secret(setting: &str) -> bool {
    worker_keys::keys().any(|(key, _)| key.kind == ConfigType::Password && key.name == setting)
}

/// The keys of the converters that the connector chooses itself. As in Java, messages leave the prefix out.
fn embed_converters(report: &mut Report, props: &Props, registry: &Registry) {
    for (choice, kind) in CONVERTERS {
        let Some(plugin) = props.get(choice).and_then(|class| registry.find(&[kind], class.trim())) else { continue };
        let prefix = format!("{choice}.");
        let mut own = Report::default();
        own.define(&plugin.config, &behind(props, &prefix));
        for group in own.groups {
            if !report.groups.contains(&group) {
                report.groups.push(group);
            }
        }
        for mut info in own.configs {
            info.value.name.insert_str(0, &prefix);
            if let Some(definition) = &mut info.definition {
                definition.name.insert_str(0, &prefix);
            }
            report.configs.push(info);
        }
    }
}

#[cfg(test)]
mod tests;
