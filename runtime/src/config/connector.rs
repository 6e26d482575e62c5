//! What all connectors share, typed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use penstock_api::{Error, Parsed, Plugin, PluginKind, Props, Registry, Result};
use penstock_kafka_clients::TopicSelection;

use super::common::{self, CONVERTERS, whole_match};
use super::source::SourceSettings;
use super::validate::check_keys;
use super::version;
use super::worker::{ConverterChoice, WorkerConfig, behind};

/// A connector's configuration as the worker's own parts need it. Made once from checked properties, variables resolved.
#[derive(Clone)]
pub struct ConnectorConfig {
    pub name: Arc<str>,
    /// The connector's plugin.
    pub plugin: Arc<Plugin>,
    pub tasks_max: u32,
    /// What a sink reads; an empty list for a source.
    pub topics: TopicSelection,
    /// What only sources have.
    pub source: Option<SourceSettings>,
    pub key_converter: PluginUse,
    pub value_converter: PluginUse,
    pub header_converter: PluginUse,
    /// In the order of `transforms=`.
    pub transforms: Vec<TransformStep>,
    pub predicates: Vec<PredicateStep>,
    pub errors: ErrorPolicy,
    /// Client settings by Kafka's Java names, worker's `consumer.` prefix and the connector's `consumer.override.` applied in
    /// this order; the connection settings of the worker stand below both.
    pub consumer: Props,
    /// The same for a source's producer, and for that of dead letters.
    pub producer: Props,
    /// The same for the admin client.
    pub admin: Props,
    /// Everything, as given to the connector and its tasks.
    pub props: Props,
}

/// A plugin with its own properties, prefix taken off.
#[derive(Clone)]
pub struct PluginUse {
    /// As the configuration names it; it stands in dead letters.
    pub class: Arc<str>,
    pub plugin: Arc<Plugin>,
    pub props: Props,
}

/// One entry of `transforms=`.
#[derive(Clone)]
pub struct TransformStep {
    pub alias: Arc<str>,
    pub used: PluginUse,
    /// Index into [`ConnectorConfig::predicates`].
    pub predicate: Option<usize>,
    pub negate: bool,
}

/// One entry of `predicates=`.
#[derive(Clone)]
pub struct PredicateStep {
    pub alias: Arc<str>,
    pub used: PluginUse,
}

/// `errors.*`.
#[derive(Clone, Debug)]
pub struct ErrorPolicy {
    pub tolerance: Tolerance,
    /// How long a failing operation is tried again; zero: not at all; `None`: for ever.
    pub retry_timeout: Option<Duration>,
    pub retry_delay_max: Duration,
    pub log: bool,
    pub log_messages: bool,
    pub dead_letters: Option<DeadLetters>,
}

/// `errors.tolerance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    None,
    All,
}

/// `errors.deadletterqueue.*`.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    pub topic: String,
    pub replication_factor: i16,
    pub context_headers: bool,
}

impl ConnectorConfig {
    /// Types a connector's configuration: variables are resolved here, on the worker that runs the task.
    ///
    /// # Errors
    /// `Config`, with all that is wrong, each by its key.
    pub fn new(config: &Props, registry: &Registry, worker: &WorkerConfig) -> Result<Self> {
        let (plugin, props) = check_keys(config, registry, worker)?;
        let parsed = common::definition_for(&plugin, registry, worker).parse(&props)?;
        let name: Arc<str> = parsed.string("name").into();
        let predicates = predicates(&parsed, &props, registry)?;
        let [key_converter, value_converter, header_converter] = converters(&props, registry, worker)?;
        let is_source = plugin.kind() == PluginKind::Source;
        Ok(Self {
            plugin,
            tasks_max: parsed.number("tasks.max"),
            topics: if is_source { TopicSelection::List(Vec::new()) } else { topics(&parsed)? },
            source: is_source.then(|| SourceSettings::new(&parsed, &props, worker)).transpose()?,
            key_converter,
            value_converter,
            header_converter,
            transforms: transforms(&parsed, &props, registry, &predicates)?,
            predicates,
            errors: errors(&parsed),
            consumer: consumer(&name, &props, worker),
            producer: client("producer.override.", &worker.clients.producer, &props, worker),
            admin: client("admin.override.", &worker.clients.admin, &props, worker),
            name,
            props,
        })
    }
}

fn topics(parsed: &Parsed) -> Result<TopicSelection> {
    match parsed.string("topics.regex") {
        "" => Ok(TopicSelection::List(parsed.list("topics").iter().map(|t| t.as_str().into()).collect())),
        pattern => {
            let regex = whole_match(pattern).map_err(|e| Error::config(format!("read topics.regex: {e}")))?;
            Ok(TopicSelection::Regex(pattern.to_owned(), Arc::new(regex)))
        }
    }
}

/// The connector's own choice with its own properties, or the worker's with the worker's: never a mixture.
fn converters(props: &Props, registry: &Registry, worker: &WorkerConfig) -> Result<[PluginUse; 3]> {
    let choose = |i: usize, fallback: &ConverterChoice| {
        let (key, kind) = CONVERTERS[i];
        match props.get(key) {
            Some(class) => plugin_use(registry, kind, key, class.trim(), behind(props, &format!("{key}."))),
            None => plugin_use(registry, kind, key, &fallback.class, fallback.props.clone()),
        }
    };
    Ok([choose(0, &worker.key_converter)?, choose(1, &worker.value_converter)?, choose(2, &worker.header_converter)?])
}

fn plugin_use(registry: &Registry, kind: PluginKind, key: &str, class: &str, props: Props) -> Result<PluginUse> {
    let plugin = registry.find(&[kind], class).ok_or_else(|| {
        Error::config(format!("Invalid value {class} for configuration {key}: Class {class} could not be found."))
    })?;
    Ok(PluginUse { class: plugin.class.as_str().into(), plugin: plugin.clone(), props })
}

fn predicates(parsed: &Parsed, props: &Props, registry: &Registry) -> Result<Vec<PredicateStep>> {
    let step = |alias: &String| {
        let used = aliased(props, registry, PluginKind::Predicate, &format!("predicates.{alias}."))?;
        Ok(PredicateStep { alias: alias.as_str().into(), used })
    };
    parsed.list("predicates").iter().map(step).collect()
}

fn transforms(parsed: &Parsed, props: &Props, registry: &Registry, predicates: &[PredicateStep]) -> Result<Vec<TransformStep>> {
    let step = |alias: &String| {
        let prefix = format!("transforms.{alias}.");
        let predicate = props.get(&format!("{prefix}predicate")).map(|wanted| {
            predicates.iter().position(|p| &*p.alias == wanted.trim()).ok_or_else(|| {
                Error::config(format!(
                    "Invalid value {wanted} for configuration {prefix}predicate: there is no such alias in predicates"
                ))
            })
        });
        Ok(TransformStep {
            alias: alias.as_str().into(),
            used: aliased(props, registry, PluginKind::Transformation, &prefix)?,
            predicate: predicate.transpose()?,
            negate: props.get(&format!("{prefix}negate")).is_some_and(|n| n.trim().eq_ignore_ascii_case("true")),
        })
    };
    parsed.list("transforms").iter().map(step).collect()
}

/// The plugin behind `transforms.a.` or `predicates.p.`, without the keys that are the worker's.
fn aliased(props: &Props, registry: &Registry, kind: PluginKind, prefix: &str) -> Result<PluginUse> {
    let mut own = behind(props, prefix);
    let class = own.remove("type").unwrap_or_default();
    let version = own.remove("plugin.version");
    for key in ["predicate", "negate"] {
        own.remove(key);
    }
    let used = plugin_use(registry, kind, &format!("{prefix}type"), class.trim(), own)?;
    let plugin = version::choose(registry, &used.plugin, version.as_deref()).map_err(Error::config)?.clone();
    Ok(PluginUse { plugin, ..used })
}

fn errors(parsed: &Parsed) -> ErrorPolicy {
    let retry_timeout_ms: i64 = parsed.number("errors.retry.timeout");
    let dead_letters = match parsed.string("errors.deadletterqueue.topic.name") {
        "" => None,
        topic => Some(DeadLetters {
            topic: topic.to_owned(),
            replication_factor: parsed.number("errors.deadletterqueue.topic.replication.factor"),
            context_headers: parsed.boolean("errors.deadletterqueue.context.headers.enable"),
        }),
    };
    ErrorPolicy {
        tolerance: if parsed.string("errors.tolerance") == "all" { Tolerance::All } else { Tolerance::None },
        retry_timeout: u64::try_from(retry_timeout_ms).ok().map(Duration::from_millis),
        retry_delay_max: parsed.millis("errors.retry.delay.max.ms"),
        log: parsed.boolean("errors.log.enable"),
        log_messages: parsed.boolean("errors.log.include.messages"),
        dead_letters,
    }
}

fn consumer(name: &str, props: &Props, worker: &WorkerConfig) -> Props {
    let mut settings = client("consumer.override.", &worker.clients.consumer, props, worker);
    settings.entry("group.id".to_owned()).or_insert_with(|| format!("connect-{name}"));
    settings
}

/// The worker's connection settings, its settings for this kind of client, the connector's: later ones win.
///
/// A client sent to other brokers does not inherit how to log in to the worker's.
fn client(prefix: &str, of_worker: &Props, props: &Props, worker: &WorkerConfig) -> Props {
    let mut own: BTreeMap<String, String> = of_worker.clone();
    own.extend(behind(props, prefix));
    let mut settings = worker.clients.common.clone();
    if own.contains_key("bootstrap.servers") {
        settings.retain(|key, _| !["security.", "sasl.", "ssl."].iter().any(|secure| key.starts_with(secure)));
    }
    settings.extend(own);
    settings
}
