//! What all sink connectors share, typed.

use fancy_regex::Regex;
use penstock_api::{Plugin, Props};
use std::sync::Arc;
use std::time::Duration;

/// A connector's configuration as the worker's own parts need it. Made once from checked properties, variables resolved.
#[derive(Clone)]
pub struct ConnectorConfig {
    pub name: Arc<str>,
    /// The connector's plugin.
    pub plugin: Arc<Plugin>,
    pub tasks_max: u32,
    pub topics: TopicSelection,
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
    /// The same for the producer of dead letters.
    pub producer: Props,
    /// The same for the admin client.
    pub admin: Props,
    /// Everything, as given to the connector and its tasks.
    pub props: Props,
}

/// `topics` or `topics.regex`.
#[derive(Clone)]
pub enum TopicSelection {
    List(Vec<Arc<str>>),
    /// The pattern as written, and ready to use; it must match the whole topic name.
    Regex(String, Arc<Regex>),
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
