//! The worker file, typed: read, layered with the environment, resolved and checked once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use penstock_api::config::Parsed;
use penstock_api::{Error, Props, Result};

use super::basic_auth;
use super::overrides::OverridePolicy;
use super::properties;
use super::provider::Providers;
use super::rest::RestConfig;
use super::tls::Store;
use super::worker_keys::{self, Effect, Mode};
use crate::metrics::Windows;

/// What the worker's own parts need to know. Made once, at the start.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// `None`: one of a cluster.
    pub standalone: Option<Standalone>,
    pub group_id: Arc<str>,
    pub config_topic: InternalTopic,
    pub offset_topic: InternalTopic,
    pub status_topic: InternalTopic,
    /// Ours: who runs what in a cluster of workers. Made as the config topic is.
    pub assignment_topic: InternalTopic,
    /// What connectors use that name no converter.
    pub key_converter: ConverterChoice,
    pub value_converter: ConverterChoice,
    pub header_converter: ConverterChoice,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub rebalance_timeout: Duration,
    /// How long the work of a lost worker waits for its return.
    pub rebalance_delay: Duration,
    pub signing: SigningConfig,
    pub offset_flush_interval: Duration,
    pub offset_flush_timeout: Duration,
    /// For all tasks together, when the worker stops.
    pub shutdown_timeout: Duration,
    /// `exactly.once.source.support=enabled`: sources write in transactions. Preparing for it takes nothing here: a leader always does.
    pub exactly_once: bool,
    /// `topic.creation.enable`: topics for sources are created as their connectors ask for it (KIP-158).
    pub topic_creation: bool,
    pub topic_tracking: bool,
    pub topic_tracking_reset: bool,
    pub rest: RestConfig,
    pub plugins: PluginConfig,
    pub override_policy: OverridePolicy,
    pub providers: Providers,
    pub clients: ClientConfig,
    pub log_format: LogFormat,
    /// `metrics.num.samples`, `metrics.sample.window.ms`.
    pub metric_windows: Windows,
    /// `penstock.task.stalled.after.ms`; zero: never.
    pub stalled_after: Duration,
    /// Threads of the runtime.
    pub threads: usize,
    /// Settings that change nothing here or are not known, each with the reason: to be logged once.
    pub remarks: Vec<String>,
    /// Everything as given, variables resolved. Holds secrets.
    pub props: Props,
}

/// What only a standalone worker has. Its group and topics have names, too, that nobody outside ever sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standalone {
    /// `offset.storage.file.filename`: for the offsets of sources.
    pub offset_file: PathBuf,
}

/// One of Connect's three topics, and how to create it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    pub name: String,
    /// -1: the broker's default.
    pub partitions: i32,
    /// -1: the broker's default.
    pub replication_factor: i32,
    /// Topic settings by Kafka's names: what the worker file says behind `config.storage.` and so on.
    pub settings: Props,
}

/// How calls between workers are signed (KIP-507).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningConfig {
    pub key_algorithm: String,
    /// `None`: as long as the algorithm's digest.
    pub key_bytes: Option<usize>,
    /// After this the leader makes a new key.
    pub key_ttl: Duration,
    pub signature_algorithm: String,
    /// Signatures that are accepted.
    pub verification_algorithms: Vec<String>,
}

/// A converter class with its own properties, prefix taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConverterChoice {
    pub class: String,
    pub props: Props,
}

/// What components may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginConfig {
    pub path: Vec<PathBuf>,
    pub memory_bytes_max: u64,
    pub call_timeout: Duration,
    pub cache_dir: Option<PathBuf>,
    /// The most that connectors may ask for: the keys `plugin.grants.*`.
    pub grants: Props,
    pub network_timeout: Duration,
    pub connections_max: usize,
    pub response_bytes_max: u64,
    /// Whom components trust beside the public authorities.
    pub truststore: Option<Store>,
}

/// Client settings by Kafka's Java names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// `bootstrap.servers`, security and the like: for the worker's own clients, and below the others.
    pub common: Props,
    /// Behind `consumer.`, prefix taken off.
    pub consumer: Props,
    /// Behind `producer.`.
    pub producer: Props,
    /// Behind `admin.`.
    pub admin: Props,
}

/// `penstock.log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl WorkerConfig {
    /// Reads a worker file; the environment's `PENSTOCK_WORKER_...` go before it.
    ///
    /// # Errors
    /// `Config`, with everything that is wrong, by key.
    pub fn load(path: &Path, mode: Mode) -> Result<Self> {
        let jaas = basic_auth::jaas_of_environment(std::env::var("KAFKA_OPTS").ok().as_deref());
        let props = properties::layered([jaas, properties::read(path)?, properties::from_environment(std::env::vars())])?;
        Self::of(mode, &props).map_err(|e| e.context(format!("the worker file {} cannot be used", path.display())))
    }

    /// Of a distributed worker. Resolves variables, checks, types.
    ///
    /// # Errors
    /// `Config`, with everything that is wrong, by key.
    pub fn new(given: &Props) -> Result<Self> {
        Self::of(Mode::Distributed, given)
    }

    /// The same for either kind of worker.
    ///
    /// # Errors
    /// `Config`, with everything that is wrong, by key.
    pub fn of(mode: Mode, given: &Props) -> Result<Self> {
        let providers = Providers::new(given)?;
        let mut props = providers.resolve(given)?;
        let remarks = remarks(mode, &props);
        if mode == Mode::Standalone {
            // Whatever they say, they are not looked at.
            props.retain(|key, _| !worker_keys::is_of_cluster(key));
        }
        let parsed = parse(mode, &props)?;
        let offset_file = || PathBuf::from(parsed.string(worker_keys::OFFSET_FILE));
        Ok(Self {
            standalone: (mode == Mode::Standalone).then(|| Standalone { offset_file: offset_file() }),
            group_id: parsed.string("group.id").into(),
            config_topic: internal_topic(&parsed, &props, "config"),
            assignment_topic: assignment_topic(&parsed, internal_topic(&parsed, &props, "config")),
            offset_topic: internal_topic(&parsed, &props, "offset"),
            status_topic: internal_topic(&parsed, &props, "status"),
            key_converter: converter(&parsed, &props, "key.converter"),
            value_converter: converter(&parsed, &props, "value.converter"),
            header_converter: converter(&parsed, &props, "header.converter"),
            session_timeout: parsed.millis("session.timeout.ms"),
            heartbeat_interval: parsed.millis("heartbeat.interval.ms"),
            rebalance_timeout: parsed.millis("rebalance.timeout.ms"),
            rebalance_delay: parsed.millis("scheduled.rebalance.max.delay.ms"),
            signing: signing(&parsed)?,
            offset_flush_interval: parsed.millis("offset.flush.interval.ms"),
            offset_flush_timeout: parsed.millis("offset.flush.timeout.ms"),
            shutdown_timeout: parsed.millis("task.shutdown.graceful.timeout.ms"),
            exactly_once: mode == Mode::Distributed
                && parsed.string("exactly.once.source.support").eq_ignore_ascii_case("enabled"),
            topic_creation: parsed.boolean("topic.creation.enable"),
            topic_tracking: parsed.boolean("topic.tracking.enable"),
            topic_tracking_reset: parsed.boolean("topic.tracking.allow.reset"),
            rest: RestConfig::new(&parsed, &props)?,
            plugins: PluginConfig {
                path: parsed.list("plugin.path").into_iter().map(PathBuf::from).collect(),
                memory_bytes_max: parsed.number("penstock.plugin.memory.max.bytes"),
                call_timeout: parsed.millis("penstock.plugin.call.timeout.ms"),
                cache_dir: parsed.text("penstock.plugin.cache.dir").map(PathBuf::from),
                grants: props
                    .iter()
                    .filter(|(key, _)| key.starts_with("plugin.grants."))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect(),
                network_timeout: parsed.millis("penstock.plugin.network.timeout.ms"),
                connections_max: parsed.number("penstock.plugin.network.connections.max"),
                response_bytes_max: parsed.number("penstock.plugin.http.response.max.bytes"),
                truststore: parsed.text("penstock.plugin.ssl.truststore.location").map(|path| Store::File {
                    path: path.into(),
                    password: parsed.text("penstock.plugin.ssl.truststore.password").map(str::to_owned),
                }),
            },
            override_policy: OverridePolicy::parse(
                parsed.string("connector.client.config.override.policy"),
                parsed.list("connector.client.config.override.allowlist"),
            )?,
            providers,
            clients: clients(&props),
            log_format: if parsed.string("penstock.log.format") == "json" { LogFormat::Json } else { LogFormat::Text },
            metric_windows: Windows {
                samples: parsed.number("metrics.num.samples"),
                window: parsed.millis("metrics.sample.window.ms"),
            },
            stalled_after: parsed.millis("penstock.task.stalled.after.ms"),
            threads: parsed
                .text("penstock.worker.threads")
                .map_or_else(default_threads, |_| parsed.number("penstock.worker.threads")),
            remarks,
            props,
        })
    }
}

fn parse(mode: Mode, props: &Props) -> Result<Parsed> {
    let definition = worker_keys::definition(mode);
    let errors: Vec<String> = definition.validate(props).into_iter().flat_map(|value| value.errors).collect();
    match errors.as_slice() {
        [] => definition.parse(props),
        _ => Err(Error::config(errors.join("\n"))),
    }
}

fn internal_topic(parsed: &Parsed, props: &Props, which: &str) -> InternalTopic {
    let prefix = format!("{which}.storage.");
    let mut settings = behind(props, &prefix);
    settings.retain(|key, _| !matches!(key.as_str(), "topic" | "partitions" | "replication.factor"));
    let partitions = match which {
        "config" => 1,
        _ => parsed.number(&format!("{prefix}partitions")),
    };
    InternalTopic {
        name: parsed.string(&format!("{prefix}topic")).to_owned(),
        partitions,
        replication_factor: parsed.number(&format!("{prefix}replication.factor")),
        settings,
    }
}

/// As the config topic, but for the name.
fn assignment_topic(parsed: &Parsed, config_topic: InternalTopic) -> InternalTopic {
    let name = parsed.text("penstock.assignment.topic").map(str::to_owned);
    InternalTopic { name: name.unwrap_or_else(|| format!("{}-assignments", config_topic.name)), ..config_topic }
}

fn signing(parsed: &Parsed) -> Result<SigningConfig> {
    let signing = SigningConfig {
        key_algorithm: parsed.string("inter.worker.key.generation.algorithm").to_owned(),
        key_bytes: parsed.text("inter.worker.key.size").map(|_| parsed.number::<usize>("inter.worker.key.size").div_ceil(8)),
        key_ttl: parsed.millis("inter.worker.key.ttl.ms"),
        signature_algorithm: parsed.string("inter.worker.signature.algorithm").to_owned(),
        verification_algorithms: parsed.list("inter.worker.verification.algorithms"),
    };
    if !signing.verification_algorithms.contains(&signing.signature_algorithm) {
        return Err(Error::config(format!(
            "Invalid value {} for configuration inter.worker.signature.algorithm: Signature algorithm must be present in \
             inter.worker.verification.algorithms list",
            signing.signature_algorithm
        )));
    }
    Ok(signing)
}

fn converter(parsed: &Parsed, props: &Props, key: &str) -> ConverterChoice {
    ConverterChoice { class: parsed.string(key).to_owned(), props: behind(props, &format!("{key}.")) }
}

fn clients(props: &Props) -> ClientConfig {
    let mut common = Props::new();
    for (key, effect) in worker_keys::keys() {
        if let (Effect::Client, Some(value)) = (effect, props.get(&key.name)) {
            common.insert(key.name, value.clone());
        }
    }
    ClientConfig {
        common,
        consumer: behind(props, "consumer."),
        producer: behind(props, "producer."),
        admin: behind(props, "admin.")
            .into_iter()
            .filter(|(key, _)| key != "listeners" && !key.starts_with("listeners."))
            .collect(),
    }
}

/// The properties behind a prefix, without it.
#[must_use]
pub fn behind(props: &Props, prefix: &str) -> Props {
    let with_prefix = props.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
    with_prefix.map(|(key, value)| (key[prefix.len()..].to_owned(), value.clone())).collect()
}

fn remarks(mode: Mode, props: &Props) -> Vec<String> {
    let keys = worker_keys::keys_of(mode).map(|(key, effect)| (key.name, effect));
    let known: std::collections::BTreeMap<String, Effect> = keys.collect();
    let of_cluster = |key: &str| mode == Mode::Standalone && worker_keys::is_of_cluster(key);
    let mut remarks = Vec::new();
    for key in props.keys() {
        match known.get(key) {
            Some(effect) => remarks.extend(without_effect(key, *effect)),
            None if of_cluster(key) => remarks.extend(without_effect(key, worker_keys::OF_CLUSTER)),
            None if worker_keys::PREFIXES.iter().any(|prefix| key.starts_with(prefix)) => {}
            None => remarks.push(format!("{key} is not a key of a worker: it is ignored; look for a typing mistake")),
        }
    }
    remarks
}

fn without_effect(key: &str, effect: Effect) -> Option<String> {
    let Effect::None(reason) = effect else { return None };
    Some(format!("{key} is known and without effect here: {reason}"))
}

/// More threads than this help no worker: tasks spend their time in Kafka's client, which has threads of its own.
const THREADS_MAX: usize = 8;

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().min(THREADS_MAX))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{Listener, Scheme};

    /// The least that a worker file must say.
    pub(crate) fn minimal() -> Props {
        [
            ("bootstrap.servers", "127.0.0.1:9092"),
            ("group.id", "test"),
            ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("config.storage.topic", "configs"),
            ("offset.storage.topic", "offsets"),
            ("status.storage.topic", "status"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn a_standalone_worker_needs_a_file_and_no_cluster() {
        let mut props = minimal();
        let of = |props: &Props| WorkerConfig::of(Mode::Standalone, props);
        let error = format!("{:#}", of(&props).expect_err("no file"));
        assert!(error.contains("Missing required configuration \"offset.storage.file.filename\""), "{error}");
        props.insert("offset.storage.file.filename".into(), "/tmp/offsets".into());
        // Wrong values of what does not count do no harm; one of these is a setting of a topic.
        props.extend([("session.timeout.ms", "soon"), ("status.storage.segment.bytes", "7")].map(|(k, v)| (k.into(), v.into())));
        let config = of(&props).expect("good");
        assert_eq!(config.standalone, Some(Standalone { offset_file: "/tmp/offsets".into() }));
        let remarked = ["group.id", "config.storage.topic", "session.timeout.ms", "status.storage.segment.bytes"];
        for key in remarked {
            let expected = format!("{key} is known and without effect here: a standalone worker");
            assert!(config.remarks.iter().any(|remark| remark.starts_with(&expected)), "{key}: {:?}", config.remarks);
        }
        let topics = [&config.config_topic, &config.status_topic, &config.offset_topic, &config.assignment_topic];
        let names: std::collections::BTreeSet<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names.len(), 4, "each topic has a name of its own: {names:?}");
        assert_eq!(with(&[]).expect("good").standalone, None);
    }

    fn with(pairs: &[(&str, &str)]) -> Result<WorkerConfig> {
        let mut props = minimal();
        props.extend(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        WorkerConfig::new(&props)
    }

    fn error(pairs: &[(&str, &str)]) -> String {
        format!("{:#}", with(pairs).expect_err("bad worker file"))
    }

    #[test]
    fn defaults_are_javas() {
        let config = with(&[]).expect("good");
        assert_eq!(config.offset_topic.partitions, 25);
        assert_eq!(config.status_topic.partitions, 5);
        assert_eq!(config.config_topic.replication_factor, 3);
        assert_eq!(config.offset_flush_interval, Duration::from_secs(60));
        assert_eq!(config.rest.listeners, [Listener { scheme: Scheme::Http, host: None, port: 8083 }]);
        assert_eq!(config.rest.admin_listeners, None);
        assert_eq!(config.header_converter.class, "org.apache.kafka.connect.storage.SimpleHeaderConverter");
        assert_eq!(config.override_policy, OverridePolicy::All);
        assert!(config.remarks.is_empty());
    }

    #[test]
    fn prefixed_settings_go_where_they_belong() {
        let config = with(&[
            ("key.converter.schemas.enable", "false"),
            ("consumer.max.poll.records", "7"),
            ("admin.listeners", ""),
            ("admin.retries", "3"),
            ("security.protocol", "SSL"),
            ("offset.storage.cleanup.policy", "compact"),
        ])
        .expect("good");
        assert_eq!(config.key_converter.props.get("schemas.enable").map(String::as_str), Some("false"));
        assert_eq!(config.clients.consumer.get("max.poll.records").map(String::as_str), Some("7"));
        assert_eq!(config.clients.admin.keys().collect::<Vec<_>>(), ["retries"]);
        assert_eq!(config.clients.common.keys().collect::<Vec<_>>(), ["bootstrap.servers", "security.protocol"]);
        assert_eq!(config.offset_topic.settings.keys().collect::<Vec<_>>(), ["cleanup.policy"]);
        assert_eq!(config.rest.admin_listeners, Some(Vec::new()));
    }

    #[test]
    fn every_missing_key_is_named_as_java_names_it() {
        let text = format!("{:#}", WorkerConfig::new(&Props::new()).expect_err("nothing given"));
        for key in minimal().keys() {
            assert!(text.contains(&format!("Missing required configuration \"{key}\" which has no default value.")), "{text}");
        }
    }

    #[test]
    fn wrong_values_are_named() {
        assert!(
            error(&[("offset.flush.interval.ms", "soon")])
                .contains("Invalid value soon for configuration offset.flush.interval.ms: Not a number of type LONG")
        );
        assert!(error(&[("status.storage.partitions", "0")]).contains("status.storage.partitions"));
        assert!(error(&[("listeners", "ftp://:1")]).contains("configuration listeners"));
        assert!(
            error(&[("connector.client.config.override.policy", "Some")]).contains("connector.client.config.override.policy")
        );
        assert!(error(&[("rest.advertised.port", "70000")]).contains("rest.advertised.port"));
    }

    #[test]
    fn keys_without_effect_and_unknown_keys_are_remarked_upon() {
        let config = with(&[("connect.protocol", "eager"), ("grup.id", "x"), ("config.providers", "")]).expect("good");
        assert_eq!(config.remarks.len(), 2, "{:?}", config.remarks);
        assert!(config.remarks[0].starts_with("connect.protocol is known and without effect"));
        assert!(config.remarks[1].starts_with("grup.id is not a key"));
    }
}
