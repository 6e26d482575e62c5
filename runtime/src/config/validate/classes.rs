//! Keys that name classes, and the keys that come with transforms and predicates.

use std::collections::BTreeSet;
use std::sync::Arc;

use penstock_api::config::{ConfigDef, ConfigKey, ConfigType, Default, Importance, Width};
use penstock_api::{Plugin, PluginKind, Registry};

use super::super::{common, version};
use super::report::{Given, Report};

/// What a class that a configuration names is.
pub(super) enum Class<'r> {
    Found(&'r Arc<Plugin>),
    /// There is none; the message says so.
    Missing(String),
    /// There is, and it is of no use; the message says why.
    Unfit(String),
}

/// Looks a class up, and shows what is known of it as the key's value.
pub(super) fn look_up<'r>(report: &mut Report, key: &str, written: &str, kind: PluginKind, registry: &'r Registry) -> Class<'r> {
    let found = find(key, written, kind, registry);
    if let Some(value) = report.value(key) {
        match &found {
            Class::Found(plugin) => value.value = Some(plugin.class.clone()),
            Class::Missing(_) => value.value = None,
            Class::Unfit(_) => {}
        }
    }
    found
}

fn find<'r>(key: &str, written: &str, kind: PluginKind, registry: &'r Registry) -> Class<'r> {
    let class = written.trim();
    if let Some(plugin) = registry.find(&[kind], class) {
        return Class::Found(plugin);
    }
    let inner = format!("{class}$");
    let children: Vec<String> = common::classes(registry, kind).into_iter().filter(|c| c.starts_with(&inner)).collect();
    if !children.is_empty() {
        return Class::Unfit(format!("This class is abstract and cannot be created. Did you mean {}?", children.join(", ")));
    }
    let names_it = |p: &Plugin| p.class == class || p.class.starts_with(&inner) || p.aliases.iter().any(|a| a == class);
    if registry.plugins().iter().any(|plugin| names_it(plugin)) {
        return Class::Unfit(format!("Class class {class} does not implement the {} interface", interface(kind)));
    }
    let hint = registry.missing_hint();
    Class::Missing(format!("Invalid value {written} for configuration {key}: Class {written} could not be found.{hint}"))
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

/// What transforms and predicates have in common, as texts.
#[derive(Clone, Copy)]
pub(super) struct Alias {
    key: &'static str,
    kind: PluginKind,
    /// `Transformation type for m`.
    display: &'static str,
    /// `Class for the 'm' transformation.`
    word: &'static str,
    group: &'static str,
}

impl Alias {
    pub(super) const TRANSFORM: Self = Self {
        key: "transforms",
        kind: PluginKind::Transformation,
        display: "Transformation",
        word: "transformation",
        group: "Transforms",
    };
    pub(super) const PREDICATE: Self =
        Self { key: "predicates", kind: PluginKind::Predicate, display: "Predicate", word: "predicate", group: "Predicates" };
}

/// Puts the keys of each alias behind its prefix.
pub(super) fn embed_aliases(report: &mut Report, given: &Given, registry: &Registry, what: Alias) {
    let mut seen = BTreeSet::new();
    for alias in given.list(what.key) {
        if seen.insert(alias.clone()) {
            embed_alias(report, given, registry, what, &alias);
        }
    }
}

fn embed_alias(report: &mut Report, given: &Given, registry: &Registry, what: Alias, alias: &str) {
    let prefix = format!("{}.{alias}.", what.key);
    let group = format!("{}: {alias}", what.group);
    let mut kind_key = ConfigKey::required(
        format!("{prefix}type"),
        ConfigType::Class,
        format!("Class for the '{alias}' {}.", what.word),
    )
    .shown(&group, 0, Width::Long, &format!("{} type for {alias}", what.display));
    kind_key.recommended = common::classes(registry, what.kind);
    report.define(&ConfigDef::new([kind_key.clone()]), given);
    let plugin = plugin_of(report, given, registry, what, &prefix);

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
    report.define(&ConfigDef::new([version]), given);
    let Some(plugin) = plugin else { return };
    let plugin = version::choose(registry, plugin, given.text(&version_key)).unwrap_or_else(|why| {
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
    report.define(&ConfigDef::new(embedded), given);
}

/// The plugin behind a prefix; what is wrong with its type is noted there.
fn plugin_of<'r>(
    report: &mut Report,
    given: &Given,
    registry: &'r Registry,
    what: Alias,
    prefix: &str,
) -> Option<&'r Arc<Plugin>> {
    let key = format!("{prefix}type");
    let [negate, predicate] = ["negate", "predicate"].map(|key| format!("{prefix}{key}"));
    let negates_nothing = what.kind == PluginKind::Transformation && given.has(&negate) && !given.has(&predicate);
    let problem = negates_nothing.then(|| {
        format!("Config '{negate}' was provided but there is no config '{predicate}' defining a predicate to be negated.")
    });
    let (plugin, problems) = match given.props.get(&key).map(|class| look_up(report, &key, class, what.kind, registry)) {
        None => (None, [None, problem]),
        Some(Class::Found(plugin)) => (Some(plugin), [None, problem]),
        Some(Class::Missing(why)) => (None, [Some(why), problem]),
        // As in Java one of the two is said.
        Some(Class::Unfit(why)) => (None, [None, problem.or(Some(why))]),
    };
    for message in problems.into_iter().flatten() {
        report.error(&key, message);
    }
    plugin
}

/// Java lets the task fail with a null pointer instead; see `runtime/DIFFERENCES.md`.
pub(super) fn check_predicate_names(report: &mut Report, given: &Given) {
    let predicates = given.list("predicates");
    for alias in given.list("transforms") {
        let key = format!("transforms.{alias}.predicate");
        if let Some(predicate) = given.props.get(&key).filter(|p| !predicates.iter().any(|known| known == p.trim())) {
            report
                .error(&key, format!("Invalid value {predicate} for configuration {key}: there is no such alias in predicates"));
        }
    }
}
