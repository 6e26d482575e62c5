//! The keys of a worker file as data: Connect's own with its defaults, and ours.

use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Default};

use Checked::{Any, AnyCase, Count, Min, NotEmpty, OneOf};
use ConfigType::{Boolean, Class, Double, Int, List, Long, Password, Short, String as Text};
use Effect::{Client, Works};

/// What a key does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What Connect's documentation says.
    Works,
    /// A setting of Kafka clients, handed on to them.
    Client,
    /// Accepted, so that an unchanged worker file starts; it changes nothing. Holds the reason.
    None(&'static str),
}

/// Java's default of the delay is five minutes, ours is none: see `runtime/DIFFERENCES.md`.
const REBALANCE_DELAY_MS: &str = "0";

const REQUIRED: Option<&str> = None;
const NULL: Option<&str> = Some("\0null");

const JVM: Effect = Effect::None("it names a Java class or a feature of the JVM");
const OAUTH: Effect = Effect::None("librdkafka asks for tokens, and brokers alone check them");
const METRICS: Effect = Effect::None("metrics are all kept, and Prometheus reads them at /metrics");
const FOLLOWS: Effect =
    Effect::None("workers here follow the internal topics all the time: none has to catch up before it joins");
const HMAC: Checked = OneOf(&["HmacSHA224", "HmacSHA256", "HmacSHA384", "HmacSHA512"]);

struct Row(&'static str, ConfigType, Option<&'static str>, Checked, Effect, &'static str);

#[derive(Clone, Copy)]
enum Checked {
    Any,
    Min(f64),
    OneOf(&'static [&'static str]),
    AnyCase(&'static [&'static str]),
    /// A positive number, or -1.
    Count,
    NotEmpty,
}

/// What kind of worker a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One of a cluster, which keeps its state in topics.
    Distributed,
    /// Alone, with its state in memory and the offsets of sources in a file.
    Standalone,
}

/// All keys of a distributed worker without a variable part, as (definition, effect).
pub fn keys() -> impl Iterator<Item = (ConfigKey, Effect)> {
    keys_of(Mode::Distributed)
}

/// The same for either kind of worker.
pub fn keys_of(mode: Mode) -> impl Iterator<Item = (ConfigKey, Effect)> {
    let alone: &[Row] = if mode == Mode::Standalone { STANDALONE } else { &[] };
    WORKER.iter().chain(CLIENT).chain(OURS).chain(alone).map(move |row| match mode {
        Mode::Standalone if is_of_cluster(row.0) => (stand_in(row.key()), OF_CLUSTER),
        _ => (row.key(), row.4),
    })
}

/// The definition that checks a worker file.
#[must_use]
pub fn definition(mode: Mode) -> ConfigDef {
    ConfigDef::new(keys_of(mode).map(|(key, _)| key))
}

/// Whether a key says how a worker is one of a cluster: to one that is alone it says nothing.
#[must_use]
pub fn is_of_cluster(key: &str) -> bool {
    let is_offset_topic = key.starts_with("offset.storage.") && key != OFFSET_FILE;
    is_offset_topic
        || CLUSTER.contains(&key)
        || ["config.storage.", "status.storage.", "inter.worker."].iter().any(|p| key.starts_with(p))
}

/// Where a standalone worker keeps the offsets of sources.
pub const OFFSET_FILE: &str = "offset.storage.file.filename";

/// What such a key does there.
pub const OF_CLUSTER: Effect = Effect::None("a standalone worker is one of no cluster, and keeps no topics of its own");

const CLUSTER: &[&str] = &[
    "group.id",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "rebalance.timeout.ms",
    "scheduled.rebalance.max.delay.ms",
    "worker.sync.timeout.ms",
    "worker.unsync.backoff.ms",
    "connect.protocol",
    "exactly.once.source.support",
    "penstock.assignment.topic",
];

/// Keys that begin so belong to a plugin, a client or a provider, and are checked there.
pub const PREFIXES: &[&str] = &[
    "key.converter.",
    "value.converter.",
    "header.converter.",
    "internal.key.converter",
    "internal.value.converter",
    "config.providers.",
    "producer.",
    "consumer.",
    "admin.",
    "config.storage.",
    "offset.storage.",
    "status.storage.",
    "listeners.https.",
    "admin.listeners.https.",
    "rest.extension.",
    "metrics.context.",
    "metric.",
];

impl Row {
    fn key(&self) -> ConfigKey {
        let Row(name, kind, default, check, _, doc) = self;
        let mut key = ConfigKey::required(*name, *kind, *doc);
        key.default = match *default {
            REQUIRED => Default::Required,
            NULL => Default::Null,
            Some(value) => Default::Value(value.to_owned()),
        };
        let texts = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
        key.check(match check {
            Any => Check::Any,
            Min(min) => Check::Min(*min),
            OneOf(values) => Check::OneOf(texts(values)),
            AnyCase(values) => Check::OneOfIgnoreCase(texts(values)),
            Count => Check::Custom(positive_or_default),
            NotEmpty => Check::Custom(not_empty),
        })
    }
}

/// For the rooms that ask for a key of the cluster where there is none: its name stands for what is not given.
fn stand_in(mut key: ConfigKey) -> ConfigKey {
    if matches!(key.default, Default::Required) {
        key.default = Default::Value(key.name.clone());
    }
    key
}

fn positive_or_default(text: &str) -> Result<(), String> {
    match text.parse::<i64>() {
        Ok(-1 | 1..) => Ok(()),
        _ => Err("Value must be positive, or -1 to use the broker's default".to_owned()),
    }
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("String must be non-empty".to_owned()) } else { Ok(()) }
}

#[rustfmt::skip]
const WORKER: &[Row] = &[
    Row("bootstrap.servers", List, REQUIRED, Any, Client, "Brokers to begin with, as host:port."),
    Row("group.id", Text, REQUIRED, Any, Works, "The name of the cluster of workers."),
    Row("key.converter", Class, REQUIRED, Any, Works, "How record keys are written in Kafka, unless a connector says otherwise."),
    Row("value.converter", Class, REQUIRED, Any, Works, "The same for values."),
    Row("header.converter", Class, Some("org.apache.kafka.connect.storage.SimpleHeaderConverter"), Any, Works, "The same for headers."),
    Row("config.storage.topic", Text, REQUIRED, Any, Works, "The topic that holds the configurations of connectors."),
    Row("config.storage.replication.factor", Short, Some("3"), Count, Works, "Its replicas, if it is created."),
    Row("offset.storage.topic", Text, REQUIRED, Any, Works, "The topic that holds the offsets of sources."),
    Row("offset.storage.partitions", Int, Some("25"), Count, Works, "Its partitions, if it is created."),
    Row("offset.storage.replication.factor", Short, Some("3"), Count, Works, "Its replicas, if it is created."),
    Row("status.storage.topic", Text, REQUIRED, Any, Works, "The topic that holds the states of connectors and tasks."),
    Row("status.storage.partitions", Int, Some("5"), Count, Works, "Its partitions, if it is created."),
    Row("status.storage.replication.factor", Short, Some("3"), Count, Works, "Its replicas, if it is created."),
    Row("session.timeout.ms", Int, Some("10000"), Any, Works, "After this time of silence a worker counts as gone."),
    Row("heartbeat.interval.ms", Int, Some("3000"), Any, Works, "How often a worker says that it is there."),
    Row("rebalance.timeout.ms", Int, Some("60000"), Min(0.0), Works, "How long a worker may take to join a rebalance."),
    Row("scheduled.rebalance.max.delay.ms", Int, Some(REBALANCE_DELAY_MS), Min(0.0), Works, "How long the work of a lost worker waits for its return."),
    Row("offset.flush.interval.ms", Long, Some("60000"), Any, Works, "How often tasks commit."),
    Row("offset.flush.timeout.ms", Long, Some("5000"), Any, Works, "How long a commit may take."),
    Row("task.shutdown.graceful.timeout.ms", Long, Some("5000"), Any, Works, "How long all tasks together may take to stop."),
    Row("listeners", List, Some("http://:8083"), Any, Works, "Where REST is served."),
    Row("admin.listeners", List, NULL, Any, Works, "Where /admin is served; empty: nowhere; null: as everything else."),
    Row("rest.advertised.host.name", Text, NULL, Any, Works, "The host name that others reach this worker by."),
    Row("rest.advertised.port", Int, NULL, Any, Works, "The same for the port."),
    Row("rest.advertised.listener", Text, NULL, Any, Works, "Which listener others use: http or https."),
    Row("access.control.allow.origin", Text, Some(""), Any, Works, "The origin that browsers may call from (CORS)."),
    Row("access.control.allow.methods", Text, Some(""), Any, Works, "The methods they may use."),
    Row("response.http.headers.config", Text, Some(""), Any, Works, "Headers to add to responses."),
    Row("rest.extension.classes", List, Some(""), Any, Works, "Extensions of the REST server: there is the one for basic authentication."),
    Row("topic.creation.enable", Boolean, Some("true"), Any, Works, "Whether topics for sources are created."),
    Row("topic.tracking.enable", Boolean, Some("true"), Any, Works, "Whether to remember which topics a connector used."),
    Row("topic.tracking.allow.reset", Boolean, Some("true"), Any, Works, "Whether that may be forgotten by request."),
    Row("plugin.path", List, NULL, Any, Works, "Folders to load components from."),
    Row("plugin.discovery", Text, Some("hybrid_warn"), AnyCase(&["only_scan", "service_load", "hybrid_warn", "hybrid_fail"]), JVM, "How Java looks for plugins."),
    Row("config.providers", List, Some(""), Any, Works, "Aliases of those who resolve ${alias:path:key}."),
    Row("connector.client.config.override.policy", Text, Some("All"), Any, Works, "Which client settings a connector may override: All, None, Principal, Allowlist."),
    Row("connector.client.config.override.allowlist", List, Some(""), Any, Works, "The settings that the policy Allowlist allows."),
    Row("exactly.once.source.support", Text, Some("disabled"), AnyCase(&["disabled", "enabled", "preparing"]), Works, "Exactly once for sources."),
    Row("connect.protocol", Text, Some("sessioned"), OneOf(&["eager", "compatible", "sessioned"]), Effect::None("workers here are members of an ordinary consumer group"), "How Java workers agree on their work."),
    Row("worker.sync.timeout.ms", Int, Some("3000"), Any, FOLLOWS, "How long a worker waits to catch up."),
    Row("worker.unsync.backoff.ms", Int, Some("300000"), Any, FOLLOWS, "How long it stays away when it cannot."),
    Row("inter.worker.key.generation.algorithm", Text, Some("HmacSHA256"), HMAC, Works, "How session keys are made."),
    Row("inter.worker.key.size", Int, NULL, Min(1.0), Works, "How many bits session keys have; null: as the algorithm suggests."),
    Row("inter.worker.key.ttl.ms", Int, Some("3600000"), Min(0.0), Works, "How long session keys live."),
    Row("inter.worker.signature.algorithm", Text, Some("HmacSHA256"), HMAC, Works, "How requests between workers are signed."),
    Row("inter.worker.verification.algorithms", List, Some("HmacSHA256"), Any, Works, "Which signatures are accepted."),
    Row("key.converter.plugin.version", Text, NULL, Any, Effect::None("each converter is there in one version"), "The version of the key converter."),
    Row("value.converter.plugin.version", Text, NULL, Any, Effect::None("each converter is there in one version"), "The version of the value converter."),
    Row("header.converter.plugin.version", Text, NULL, Any, Effect::None("each converter is there in one version"), "The version of the header converter."),
    Row("metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter"), Any, JVM, "Who is told of metrics; Prometheus reads them at /metrics."),
    Row("metrics.num.samples", Int, Some("2"), Min(1.0), Works, "Windows of time that averages, maxima and rates are taken over."),
    Row("metrics.recording.level", Text, Some("INFO"), OneOf(&["INFO", "DEBUG", "TRACE"]), METRICS, "Which metrics are kept."),
    Row("metrics.sample.window.ms", Long, Some("30000"), Min(0.0), Works, "How long such a window is."),
    Row("ssl.client.auth", Text, Some("none"), OneOf(&["required", "requested", "none"]), Works, "Whether HTTPS clients show certificates."),
];

/// What Connect accepts for its clients. Their defaults are the clients' own, so none stands here.
#[rustfmt::skip]
const CLIENT: &[Row] = &[
    Row("client.dns.lookup", Text, NULL, Any, Client, ""),
    Row("client.id", Text, NULL, Any, Client, ""),
    Row("connections.max.idle.ms", Long, NULL, Any, Client, ""),
    Row("metadata.max.age.ms", Long, NULL, Min(0.0), Client, ""),
    Row("metadata.recovery.rebootstrap.trigger.ms", Long, NULL, Min(0.0), Client, ""),
    Row("metadata.recovery.strategy", Text, NULL, AnyCase(&["rebootstrap", "none"]), Client, ""),
    Row("receive.buffer.bytes", Int, NULL, Min(-1.0), Client, ""),
    Row("send.buffer.bytes", Int, NULL, Min(-1.0), Client, ""),
    Row("reconnect.backoff.max.ms", Long, NULL, Min(0.0), Client, ""),
    Row("reconnect.backoff.ms", Long, NULL, Min(0.0), Client, ""),
    Row("request.timeout.ms", Int, NULL, Min(0.0), Client, ""),
    Row("retry.backoff.max.ms", Long, NULL, Min(0.0), Client, ""),
    Row("retry.backoff.ms", Long, NULL, Min(0.0), Client, ""),
    Row("socket.connection.setup.timeout.max.ms", Long, NULL, Min(0.0), Client, ""),
    Row("socket.connection.setup.timeout.ms", Long, NULL, Min(0.0), Client, ""),
    Row("security.protocol", Text, NULL, AnyCase(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Client, ""),
    Row("sasl.client.callback.handler.class", Class, NULL, Any, JVM, ""),
    Row("sasl.jaas.config", Password, NULL, Any, Client, ""),
    Row("sasl.kerberos.kinit.cmd", Text, NULL, Any, Client, ""),
    Row("sasl.kerberos.min.time.before.relogin", Long, NULL, Any, Client, ""),
    Row("sasl.kerberos.service.name", Text, NULL, Any, Client, ""),
    Row("sasl.kerberos.ticket.renew.jitter", Double, NULL, Any, JVM, ""),
    Row("sasl.kerberos.ticket.renew.window.factor", Double, NULL, Any, JVM, ""),
    Row("sasl.login.callback.handler.class", Class, NULL, Any, Client, ""),
    Row("sasl.login.class", Class, NULL, Any, JVM, ""),
    Row("sasl.login.connect.timeout.ms", Int, NULL, Any, JVM, ""),
    Row("sasl.login.read.timeout.ms", Int, NULL, Any, JVM, ""),
    Row("sasl.login.refresh.buffer.seconds", Short, NULL, Any, JVM, ""),
    Row("sasl.login.refresh.min.period.seconds", Short, NULL, Any, JVM, ""),
    Row("sasl.login.refresh.window.factor", Double, NULL, Any, JVM, ""),
    Row("sasl.login.refresh.window.jitter", Double, NULL, Any, JVM, ""),
    Row("sasl.login.retry.backoff.max.ms", Long, NULL, Any, JVM, ""),
    Row("sasl.login.retry.backoff.ms", Long, NULL, Any, JVM, ""),
    Row("sasl.mechanism", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.client.credentials.client.id", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.client.credentials.client.secret", Password, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.scope", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.token.endpoint.url", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.algorithm", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.claim.aud", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.claim.exp.seconds", Int, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.claim.iss", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.claim.jti.include", Boolean, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.claim.nbf.seconds", Int, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.claim.sub", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.file", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.private.key.file", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.private.key.passphrase", Password, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.assertion.template.file", Text, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.clock.skew.seconds", Int, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.expected.audience", List, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.expected.issuer", Text, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.header.urlencode", Boolean, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.jwks.endpoint.url", Text, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.scope.claim.name", Text, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.sub.claim.name", Text, NULL, Any, OAUTH, ""),
    Row("sasl.oauthbearer.jwt.retriever.class", Class, NULL, Any, Client, ""),
    Row("sasl.oauthbearer.jwt.validator.class", Class, NULL, Any, JVM, ""),
    Row("ssl.cipher.suites", List, NULL, Any, Client, ""),
    Row("ssl.enabled.protocols", List, NULL, Any, JVM, ""),
    Row("ssl.endpoint.identification.algorithm", Text, NULL, Any, Client, ""),
    Row("ssl.engine.factory.class", Class, NULL, Any, JVM, ""),
    Row("ssl.key.password", Password, NULL, Any, Client, ""),
    Row("ssl.keymanager.algorithm", Text, NULL, Any, JVM, ""),
    Row("ssl.keystore.certificate.chain", Password, NULL, Any, Client, ""),
    Row("ssl.keystore.key", Password, NULL, Any, Client, ""),
    Row("ssl.keystore.location", Text, NULL, Any, Client, ""),
    Row("ssl.keystore.password", Password, NULL, Any, Client, ""),
    Row("ssl.keystore.type", Text, NULL, Any, Client, ""),
    Row("ssl.protocol", Text, NULL, Any, JVM, ""),
    Row("ssl.provider", Text, NULL, Any, JVM, ""),
    Row("ssl.secure.random.implementation", Text, NULL, Any, JVM, ""),
    Row("ssl.trustmanager.algorithm", Text, NULL, Any, JVM, ""),
    Row("ssl.truststore.certificates", Password, NULL, Any, Client, ""),
    Row("ssl.truststore.location", Text, NULL, Any, Client, ""),
    Row("ssl.truststore.password", Password, NULL, Any, Client, ""),
    Row("ssl.truststore.type", Text, NULL, Any, Client, ""),
];

#[rustfmt::skip]
const STANDALONE: &[Row] = &[
    Row(OFFSET_FILE, Text, REQUIRED, NotEmpty, Works, "The file that holds the offsets of sources."),
];

#[rustfmt::skip]
const OURS: &[Row] = &[
    Row("penstock.assignment.topic", Text, NULL, Any, Works, "The topic by which workers share out the work; null: config.storage.topic with -assignments behind it."),
    Row("penstock.plugin.memory.max.bytes", Long, Some("67108864"), Min(1_048_576.0), Works, "The most memory one instance of a component may hold."),
    Row("penstock.plugin.call.timeout.ms", Long, Some("1000"), Min(1.0), Works, "The longest one call into a component may take, which is mostly a batch."),
    Row("penstock.plugin.network.timeout.ms", Long, Some("30000"), Min(200.0), Works, "How long one call into a component may wait for the network in all, beside the time in which it works."),
    Row("penstock.plugin.network.connections.max", Int, Some("16"), Min(1.0), Works, "How many requests one instance of a component may have open at once."),
    Row("penstock.plugin.http.response.max.bytes", Long, Some("16777216"), Min(1.0), Works, "The largest body of a response that a component may read."),
    Row("penstock.plugin.ssl.truststore.location", Text, NULL, Any, Works, "A PEM or PKCS12 file with certificates that components trust beside the public authorities."),
    Row("penstock.plugin.ssl.truststore.password", Password, NULL, Any, Works, "Of that file, if it has one."),
    Row("plugin.grants.hosts", List, Some(""), Any, Works, "The hosts that connectors may grant components by the same key; empty: none."),
    Row("plugin.grants.secrets", List, Some(""), Any, Works, "The names that connectors may give to secrets of components by the same key; * stands for what follows."),
    Row("plugin.grants.folders", List, Some(""), Any, Works, "The folders that connectors may grant components by the same key, with what lies below; :rw allows writing."),
    Row("plugin.grants.env", List, Some(""), Any, Works, "The variables of its environment that connectors may grant components by the same key; * stands for what follows."),
    Row("penstock.plugin.cache.dir", Text, NULL, Any, Works, "Where compiled components are kept; null: in the user's cache folder."),
    Row("penstock.task.stalled.after.ms", Long, Some("60000"), Min(0.0), Works, "After this time without progress, while records wait, a task is shown as stalled; 0: never."),
    Row("penstock.rest.jaas.config", Text, NULL, Any, Works, "The JAAS file of basic authentication; null: the one in KAFKA_OPTS."),
    Row("penstock.log.format", Text, Some("text"), OneOf(&["text", "json"]), Works, "How log lines are written."),
    Row("penstock.worker.threads", Int, NULL, Min(1.0), Works, "Threads that run tasks and REST; null: one for each processor, at most 8."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check() {
        for value in definition(Mode::Distributed).validate(&penstock_api::Props::new()) {
            let required = matches!(value.name.as_str(), "bootstrap.servers" | "group.id" | "key.converter" | "value.converter")
                || value.name.ends_with(".storage.topic");
            assert_eq!(value.errors.is_empty(), !required, "{}: {:?}", value.name, value.errors);
        }
    }
}
