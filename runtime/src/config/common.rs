//! The keys that all sink or all source connectors share, as data: names, types, defaults and places on a form are Connect's.

use std::collections::BTreeSet;

use fancy_regex::Regex;
use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Default, Importance, Width, split_list};
use penstock_api::{Plugin, PluginKind, Registry};

use ConfigType::{Boolean, Class, Int, List, Long, Short, String as Text};
use Importance::{High, Low, Medium};

use super::worker::{ConverterChoice, WorkerConfig};

/// The three keys that name converters, and the kind each wants.
pub const CONVERTERS: [(&str, PluginKind); 3] = [
    ("key.converter", PluginKind::Converter),
    ("value.converter", PluginKind::Converter),
    ("header.converter", PluginKind::HeaderConverter),
];

/// The definition for a connector of that plugin on that worker: what is not given falls back to the worker's converters.
#[must_use]
pub fn definition_for(plugin: &Plugin, registry: &Registry, worker: &WorkerConfig) -> ConfigDef {
    definition(plugin.kind(), Some(plugin), registry, worker)
}

/// The same for sources or sinks of any class.
#[must_use]
pub fn definition(kind: PluginKind, plugin: Option<&Plugin>, registry: &Registry, worker: &WorkerConfig) -> ConfigDef {
    let own = if kind == PluginKind::Source { SOURCE } else { SINK };
    ConfigDef::new(COMMON.iter().chain(own).chain(DEAD_LETTERS).chain(RESTART).map(|row| {
        let mut key = row.key();
        if let Some((choice, kind)) = converter_of(&key.name, worker) {
            key.default = Default::Value(choice.class.clone());
            key.recommended = classes(registry, kind);
        }
        if key.name == "connector.plugin.version" {
            key.default = plugin.map_or(Default::Null, |p| Default::Value(p.version.clone()));
            key.recommended = plugin.iter().map(|p| p.version.clone()).collect();
        }
        let base = key.name.strip_suffix(".plugin.version").unwrap_or_default();
        if let Some((choice, kind)) = converter_of(base, worker) {
            let version = registry.find(&[kind], &choice.class).map(|p| p.version.clone());
            key.recommended = version.iter().cloned().collect();
            key.default = version.map_or(Default::Null, Default::Value);
        }
        key
    }))
}

/// The keys of `errors.restart.*`, which Connect does not have: sources and sinks have them alike.
#[must_use]
pub fn restart_definition() -> ConfigDef {
    ConfigDef::new(RESTART.iter().map(Row::key))
}

/// The classes of a kind, sorted: what a form offers.
#[must_use]
pub fn classes(registry: &Registry, kind: PluginKind) -> Vec<String> {
    let mut classes: Vec<String> = registry.plugins().iter().filter(|p| p.kind() == kind).map(|p| p.class.clone()).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

fn converter_of<'w>(key: &str, worker: &'w WorkerConfig) -> Option<(&'w ConverterChoice, PluginKind)> {
    match key {
        "key.converter" => Some((&worker.key_converter, PluginKind::Converter)),
        "value.converter" => Some((&worker.value_converter, PluginKind::Converter)),
        "header.converter" => Some((&worker.header_converter, PluginKind::HeaderConverter)),
        _ => None,
    }
}

struct Row(&'static str, ConfigType, Option<&'static str>, Importance, Place, &'static str);

/// Group, place in it, width, display name.
type Place = (&'static str, i32, Width, &'static str);

const REQUIRED: Option<&str> = None;
const NULL: Option<&str> = Some("\0null");

impl Row {
    fn key(&self) -> ConfigKey {
        let Row(name, kind, default, importance, (group, order, width, display_name), doc) = self;
        let mut key = ConfigKey::required(*name, *kind, *doc).importance(*importance).shown(group, *order, *width, display_name);
        key.default = match *default {
            REQUIRED => Default::Required,
            NULL => Default::Null,
            Some(value) => Default::Value(value.to_owned()),
        };
        key.check(match *name {
            "name" => Check::Custom(connector_name),
            "tasks.max" => Check::Min(1.0),
            "transforms" | "predicates" | "topic.creation.groups" => {
                Check::All(vec![Check::NonNull, Check::Custom(unique_aliases)])
            }
            "topics" => Check::List { of: None, may_be_empty: true },
            "topics.regex" => Check::Custom(|regex| whole_match(regex).map(drop).map_err(|why| format!("Invalid regex: {why}"))),
            "errors.restart.max.attempts" => Check::Min(-1.0),
            "errors.restart.window.ms" | "errors.restart.delay.initial.ms" | "errors.restart.delay.max.ms" => Check::Min(1.0),
            "config.action.reload" => Check::OneOf(vec!["none".into(), "restart".into()]),
            "errors.tolerance" => Check::OneOf(vec!["none".into(), "all".into()]),
            "exactly.once.support" => Check::OneOfIgnoreCase(vec!["REQUIRED".into(), "REQUESTED".into()]),
            "transaction.boundary" => Check::OneOfIgnoreCase(vec!["INTERVAL".into(), "POLL".into(), "CONNECTOR".into()]),
            // Unlike other numbers it may be null.
            "transaction.boundary.interval.ms" => Check::Custom(|text| match text.parse::<i64>() {
                Ok(..0) => Err("Value must be at least 0".into()),
                _ => Ok(()),
            }),
            "offsets.storage.topic" => Check::NonEmpty,
            _ => Check::Any,
        })
    }
}

fn connector_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("String may not be empty".into());
    }
    let control: Vec<String> = name.chars().filter(char::is_ascii_control).map(|c| u32::from(c).to_string()).collect();
    if control.is_empty() {
        return Ok(());
    }
    Err(format!("String may not contain control sequences but had the following ASCII chars: {}", control.join(", ")))
}

fn unique_aliases(list: &str) -> Result<(), String> {
    let aliases = split_list(list);
    let unique: BTreeSet<&String> = aliases.iter().collect();
    if unique.len() < aliases.len() { Err("Duplicate alias provided.".into()) } else { Ok(()) }
}

/// A regular expression that must match as a whole, as Java's `matches()`.
pub(super) fn whole_match(pattern: &str) -> Result<Regex, fancy_regex::Error> {
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

#[rustfmt::skip]
const COMMON: &[Row] = &[
    Row("name", Text, REQUIRED, High, ("Common", 1, Width::Medium, "Connector name"), "The connector's name, unique in the cluster."),
    Row("connector.class", Text, REQUIRED, High, ("Common", 2, Width::Long, "Connector class"), "The connector's class: in full, or its simple name with or without the word Connector."),
    Row("connector.plugin.version", Text, NULL, Medium, ("Common", 3, Width::Medium, "Connector version"), "Which version of the connector's plugin to use."),
    Row("tasks.max", Int, Some("1"), High, ("Common", 4, Width::Short, "Tasks max"), "The most tasks the connector may have."),
    Row("tasks.max.enforce", Boolean, Some("true"), Low, ("Common", 5, Width::Short, "Enforce tasks max"), "Without effect here: no connector is given more tasks than tasks.max."),
    Row("key.converter", Class, NULL, Low, ("Common", 6, Width::Short, "Key converter class"), "How record keys are written in Kafka."),
    Row("key.converter.plugin.version", Text, NULL, Low, ("Common", 7, Width::Short, "Key converter version"), "Which version of the key converter to use."),
    Row("value.converter", Class, NULL, Low, ("Common", 8, Width::Short, "Value converter class"), "How record values are written in Kafka."),
    Row("value.converter.plugin.version", Text, NULL, Low, ("Common", 9, Width::Short, "Value converter version"), "Which version of the value converter to use."),
    Row("header.converter", Class, NULL, Low, ("Common", 10, Width::Short, "Header converter class"), "How header values are written in Kafka."),
    Row("header.converter.plugin.version", Text, NULL, Low, ("Common", 11, Width::Short, "Header converter version"), "Which version of the header converter to use."),
    Row("transforms", List, Some(""), Low, ("Transforms", 12, Width::Long, "Transforms"), "Aliases of the transforms, in the order they are applied; each is configured behind transforms.<alias>."),
    Row("predicates", List, Some(""), Low, ("Predicates", 13, Width::Long, "Predicates"), "Aliases of the predicates that transforms refer to; each is configured behind predicates.<alias>."),
    Row("config.action.reload", Text, Some("restart"), Low, ("Common", 14, Width::Medium, "Reload Action"), "What to do when a config provider says that a value has changed; the providers here never say so."),
    Row("errors.retry.timeout", Long, Some("0"), Medium, ("Error Handling", 1, Width::Medium, "Retry Timeout for Errors"), "How long, in milliseconds, a failing operation is tried again; 0: not at all, -1: for ever."),
    Row("errors.retry.delay.max.ms", Long, Some("60000"), Medium, ("Error Handling", 2, Width::Medium, "Maximum Delay Between Retries for Errors"), "The longest wait between two tries; jitter is added beyond it."),
    Row("errors.tolerance", Text, Some("none"), Medium, ("Error Handling", 3, Width::Short, "Error Tolerance"), "none: a bad record fails its task. all: it is skipped, after the dead letter topic and the log were told."),
    Row("errors.log.enable", Boolean, Some("false"), Medium, ("Error Handling", 4, Width::Short, "Log Errors"), "Whether each failure is logged, also when it is tolerated."),
    Row("errors.log.include.messages", Boolean, Some("false"), Medium, ("Error Handling", 5, Width::Short, "Log Error Details"), "Whether such a log line says which record failed: its topic, partition, offset and timestamp."),
];

#[rustfmt::skip]
const SINK: &[Row] = &[
    Row("topics", List, Some(""), High, ("Common", 4, Width::Long, "Topics"), "The topics to read, separated by commas."),
    Row("topics.regex", Text, Some(""), High, ("Common", 4, Width::Long, "Topics regex"), "A regular expression that names of topics to read must match as a whole. Either this or topics."),
];

#[rustfmt::skip]
const SOURCE: &[Row] = &[
    Row("topic.creation.groups", List, Some(""), Low, ("Topic Creation", 1, Width::Long, "Topic Creation Groups"), "Groups of topics that are created alike, each configured behind topic.creation.<group>.; the first that matches a topic's name counts, and the group default at last."),
    Row("exactly.once.support", Text, Some("requested"), Medium, ("Exactly Once Support", 2, Width::Short, "Exactly once support"), "required: refuse the configuration unless the worker and the connector can be exactly once with it. requested: do what can be done."),
    Row("transaction.boundary", Text, Some("poll"), Medium, ("Exactly Once Support", 3, Width::Short, "Transaction Boundary"), "Where a transaction ends, when the connector is exactly once: poll, behind each batch of the connector; interval, after a time; connector, where the connector says so."),
    Row("transaction.boundary.interval.ms", Long, NULL, Low, ("Exactly Once Support", 4, Width::Short, "Transaction boundary interval"), "How long a transaction lasts with transaction.boundary=interval, in milliseconds; not given: as long as the worker's offset.flush.interval.ms."),
    Row("offsets.storage.topic", Text, NULL, Low, ("offsets.topic", 1, Width::Long, "Offsets topic"), "A topic of the connector's own for its offsets, created if it is not there; not given: the worker's. Without effect in a standalone worker."),
];

/// Of sinks in Connect, of sources here as well.
#[rustfmt::skip]
const DEAD_LETTERS: &[Row] = &[
    Row("errors.deadletterqueue.topic.name", Text, Some(""), Medium, ("Error Handling", 6, Width::Medium, "Dead Letter Queue Topic Name"), "The topic for records that fail; empty: none."),
    Row("errors.deadletterqueue.topic.replication.factor", Short, Some("3"), Medium, ("Error Handling", 7, Width::Medium, "Dead Letter Queue Topic Replication Factor"), "Its replicas, if it is created."),
    Row("errors.deadletterqueue.context.headers.enable", Boolean, Some("false"), Medium, ("Error Handling", 8, Width::Medium, "Enable Error Context Headers"), "Whether dead letters say in headers (__connect.errors.*) where they come from and why they failed."),
];

/// Ours: see `config/restart.rs`.
#[rustfmt::skip]
const RESTART: &[Row] = &[
    Row("errors.restart.max.attempts", Int, Some("0"), Low, ("Error Handling", 20, Width::Short, "Maximum Restarts"), "How many times a connector or task that failed is restarted within errors.restart.window.ms; after that it is in a crash loop, and stays FAILED until it is changed or restarted. 0: never, -1: without limit."),
    Row("errors.restart.window.ms", Long, Some("600000"), Low, ("Error Handling", 21, Width::Medium, "Window of Restarts"), "Restarts that lie back longer than this, in milliseconds, no longer count."),
    Row("errors.restart.delay.initial.ms", Long, Some("1000"), Low, ("Error Handling", 22, Width::Medium, "First Delay Before a Restart"), "The wait before the first restart; it doubles with each further one. A fifth more or less is left to chance."),
    Row("errors.restart.delay.max.ms", Long, Some("60000"), Low, ("Error Handling", 23, Width::Medium, "Maximum Delay Before a Restart"), "The longest such wait; a day at most."),
];
