//! Whether a connector's configuration is good, key by key, with Java's messages.

mod classes;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_api::config::{ConfigDef, ConfigKey, ConfigType};
use penstock_api::{Constructor, Error, ExactlyOnceSupport, Plugin, PluginKind, Props, Registry, Result, SourceConnector};

use super::common::{self, CONVERTERS, whole_match};
use super::infos::{ConfigInfo, ConfigInfos, Definition, HIDDEN};
use super::source::TOPIC_CREATION;
use super::version;
use super::worker::WorkerConfig;
use super::worker_keys;
use classes::{Alias, Class, check_predicate_names, embed_aliases, look_up};
use report::{Given, Report, judge};

/// A configuration as REST takes it: a value may be null.
pub type RawConfig = BTreeMap<String, Option<String>>;

/// The kinds of plugins that are connectors.
pub const CONNECTORS: &[PluginKind] = &[PluginKind::Sink, PluginKind::Source];

/// The prefixes of client overrides, in Java's order.
const OVERRIDES: [&str; 3] = ["producer.override.", "consumer.override.", "admin.override."];

const VERSION: &str = "connector.plugin.version";

/// Checks a configuration, and asks the connector itself.
///
/// # Errors
/// `Config` when there is no such connector class, so that nothing can be said key by key.
pub async fn validate(config: &RawConfig, registry: &Registry, worker: &WorkerConfig) -> Result<ConfigInfos> {
    let mut checked = check(config, registry, worker)?;
    let found = match &checked.plugin.construct {
        Constructor::Sink(make) => make().validate(&checked.given.props).await,
        Constructor::Source(make) => {
            let connector = make();
            check_exactly_once(&mut checked.report, &checked.given.props, &*connector, worker).await;
            connector.validate(&checked.given.props).await
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
    let (plugin, props) = (checked.plugin.clone(), checked.given.props.clone());
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
    given: Given,
    report: Report,
    class: String,
}

impl Checked {
    fn into_infos(self, config: &RawConfig) -> ConfigInfos {
        let Report { groups, undeclared, declared, embedded } = self.report;
        let mut configs: Vec<ConfigInfo> = undeclared.into_values().chain(declared).chain(embedded).collect();
        // A resolved secret is shown as little as a password: what the user wrote stands in its place.
        for info in &mut configs {
            let written = config.get(&info.value.name).and_then(Option::as_deref).filter(|written| written.contains("${"));
            let (Some(written), Some(resolved)) = (written, self.given.props.get(&info.value.name)) else { continue };
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

/// In Java's order: keys with their own checks, then what goes by several keys or none, then nulls.
fn check(config: &RawConfig, registry: &Registry, worker: &WorkerConfig) -> Result<Checked> {
    let (given, unresolved) = Given::resolved(config, worker);
    let class = given.text("connector.class").map(str::to_owned);
    let class = class.ok_or_else(|| Error::config(format!("Connector config {} contains no connector type", as_java(config))))?;
    let found = find_connector(&class, registry)?;
    let chosen = version::choose(registry, &found, given.text(VERSION));
    let plugin = chosen.as_ref().map_or(&found, |chosen| chosen).clone();

    let mut report = Report::default();
    report.define(&common::definition_for(&plugin, registry, worker), &given);
    embed_aliases(&mut report, &given, registry, Alias::TRANSFORM);
    embed_aliases(&mut report, &given, registry, Alias::PREDICATE);
    let own = plugin.config.keys().iter().filter(|key| report.position(&key.name).is_none()).cloned();
    report.define(&ConfigDef::new(own.collect::<Vec<_>>()), &given);
    check_classes(&mut report, &given, registry);
    if let Err(why) = chosen {
        report.error("connector.class", why.clone());
        report.error(VERSION, why);
    }
    check_predicate_names(&mut report, &given);
    if plugin.kind() == PluginKind::Sink {
        check_topics(&mut report, &given);
        check_group(&mut report, &given, worker);
    }
    for key in &given.nulls {
        report.error(key, "Null value can not be supplied as the configuration value.");
    }
    check_overrides(&mut report, &given, plugin.kind(), worker);
    embed_converters(&mut report, &given, registry);
    for (key, message) in unresolved {
        report.error(&key, message);
    }
    Ok(Checked { plugin, given, report, class })
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

fn check_classes(report: &mut Report, given: &Given, registry: &Registry) {
    for (key, kind) in CONVERTERS {
        let Some(class) = given.props.get(key) else { continue };
        if let Class::Missing(why) | Class::Unfit(why) = look_up(report, key, class, kind, registry) {
            report.error(key, why);
            if let Some(version) = report.value(&format!("{key}.plugin.version")) {
                (version.value, version.visible) = (None, false);
            }
        }
    }
}

/// What the two keys that say what a sink reads must not be together, and beside the topic of its dead letters.
fn check_topics(report: &mut Report, given: &Given) {
    let topics = given.list("topics");
    let regex = given.text("topics.regex").unwrap_or_default();
    let dead_letters = given.text("errors.deadletterqueue.topic.name").unwrap_or_default();
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
    if !regex.is_empty() && whole_match(regex).is_ok_and(|r| r.is_match(dead_letters).unwrap_or(false)) {
        let message = format!(
            "The DLQ topic '{dead_letters}' may not be matched by the regex for the topics ('topics.regex={regex}') consumed by the connector"
        );
        report.error("topics.regex", message);
    }
}

fn check_group(report: &mut Report, given: &Given, worker: &WorkerConfig) {
    const GROUP: &str = "consumer.override.group.id";
    if worker.standalone.is_some() {
        return;
    }
    let of_worker = &*worker.group_id;
    if given.has(GROUP) {
        let group = given.text(GROUP);
        let said = report.undeclared(GROUP, group);
        if group == Some(of_worker) {
            said.errors.push(format!("Consumer group {of_worker} conflicts with Connect worker group {of_worker}"));
        }
        return;
    }
    let name = given.text("name").unwrap_or_default();
    if format!("connect-{name}") == of_worker {
        let message = format!("Consumer group for sink connector named {name} conflicts with Connect worker group {of_worker}");
        report.error("name", message);
    }
}

/// Of the clients that the connector has: as in Java nobody looks at settings of those that it has not. A sink has a producer and an
/// admin client for dead letters only.
fn check_overrides(report: &mut Report, given: &Given, kind: PluginKind, worker: &WorkerConfig) {
    let is_given = |key: &str| given.text(key).is_some_and(|value| !value.is_empty());
    let has_dead_letters = is_given("errors.deadletterqueue.topic.name");
    let has_topics = given.props.keys().chain(&given.nulls).any(|key| key.starts_with(TOPIC_CREATION));
    let uses = |prefix: &str| match (kind, prefix) {
        (PluginKind::Sink, "consumer.override.") | (PluginKind::Source, "producer.override.") => true,
        (PluginKind::Source, "consumer.override.") => is_given("offsets.storage.topic"),
        (PluginKind::Source, _) => has_topics || has_dead_letters || is_given("offsets.storage.topic"),
        _ => has_dead_letters,
    };
    for prefix in OVERRIDES.into_iter().filter(|prefix| uses(prefix)) {
        let overrides = given.behind(prefix);
        let settings: BTreeSet<&String> = overrides.props.keys().chain(&overrides.nulls).collect();
        for setting in settings {
            let value = overrides.props.get(setting);
            let shown = value.map(|value| if is_secret(setting) { HIDDEN.to_owned() } else { value.clone() });
            let errors = worker.override_policy.violation(setting).into_iter().collect();
            report.embedded.push(ConfigInfo::undeclared(&format!("{prefix}{setting}"), shown, errors));
        }
    }
}

fn is_secret(setting: &str) -> bool {
    worker_keys::keys().any(|(key, _)| key.kind == ConfigType::Password && key.name == setting)
}

/// The keys of the converters that the connector chooses itself. As in Java, messages leave the prefix out.
fn embed_converters(report: &mut Report, given: &Given, registry: &Registry) {
    for (choice, kind) in CONVERTERS {
        let Some(plugin) = given.text(choice).and_then(|class| registry.find(&[kind], class)) else { continue };
        let prefix = format!("{choice}.");
        let chosen = [choice.to_owned(), format!("{choice}.plugin.version")];
        if chosen.iter().any(|key| report.value(key).is_some_and(|value| !value.errors.is_empty())) {
            continue;
        }
        report.group(plugin.config.groups());
        for mut info in judge(&plugin.config, &given.behind(&prefix)) {
            info.value.name.insert_str(0, &prefix);
            if let Some(definition) = &mut info.definition {
                definition.name.insert_str(0, &prefix);
            }
            report.embedded.push(info);
        }
    }
}

#[cfg(test)]
mod tests;
