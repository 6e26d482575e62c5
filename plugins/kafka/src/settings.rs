//! Client settings under Kafka's Java names, as librdkafka wants them.
//!
//! [`RULES`] says of every property what becomes of it. Where librdkafka's default differs from Java's, Java's is set; where
//! Connect's differs from both, Connect's.

use penstock_api::{Error, Props, Result};
use rdkafka::ClientConfig;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::security;

/// What a consumer is made from.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    pub(super) who: String,
    pub(super) client: ClientConfig,
    pub(super) group: String,
    /// `group.instance.id`: a static member.
    pub(super) instance: Option<String>,
    /// `max.poll.records`.
    pub(super) records_max: usize,
    /// `metadata.max.age.ms`: new topics and partitions are seen within it.
    pub(super) metadata_max_age: Duration,
    /// `default.api.timeout.ms`.
    pub(super) api_timeout: Duration,
    pub(super) max_poll_interval: Duration,
    pub(super) reset: Reset,
    pub(super) exclude_internal_topics: bool,
}

impl ConsumerSettings {
    /// The same as librdkafka wants it, for the worker's own consumers.
    #[must_use]
    pub fn librdkafka(&self) -> &ClientConfig {
        &self.client
    }
}

/// `auto.offset.reset`: where to begin without a committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    Earliest,
    Latest,
    /// The task fails.
    None,
}

/// What a producer is made from.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    pub(super) who: String,
    pub(super) client: ClientConfig,
    /// `max.block.ms`: how long a record waits for room in the queue.
    pub(super) max_block: Duration,
}

/// What an admin client is made from.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    pub(super) who: String,
    pub(super) client: ClientConfig,
    /// `default.api.timeout.ms`.
    pub(super) api_timeout: Duration,
}

/// Settings of a sink task's consumer. `who` stands in messages: `connector orders`.
///
/// # Errors
/// `Config`, naming the key and what to do.
pub fn consumer(who: &str, props: &Props) -> Result<ConsumerSettings> {
    let group = required(who, props, "group.id")?;
    let mut client = translate(Consumer, who, props)?;
    let reset = match props.get("auto.offset.reset").map_or("earliest", |v| v.trim()).to_lowercase().as_str() {
        "earliest" => Reset::Earliest,
        "latest" => Reset::Latest,
        "none" => Reset::None,
        other => return Err(wrong(who, "auto.offset.reset", other, "one of earliest, latest, none")),
    };
    client.set(
        "auto.offset.reset",
        match reset {
            Reset::Earliest => "earliest",
            Reset::Latest => "latest",
            Reset::None => "error",
        },
    );
    if props.get("group.protocol").is_some_and(|p| p.trim().eq_ignore_ascii_case("consumer")) {
        // The broker decides these in the new protocol, and librdkafka refuses them.
        for key in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"] {
            client.remove(key);
        }
    }
    Ok(ConsumerSettings {
        records_max: usize::try_from(number(who, props, "max.poll.records", 500)?.clamp(1, 1_000_000)).unwrap_or(500),
        metadata_max_age: Duration::from_millis(number(who, props, "metadata.max.age.ms", 300_000)?.max(100)),
        api_timeout: api_timeout(who, props)?,
        max_poll_interval: Duration::from_millis(number(who, props, "max.poll.interval.ms", 300_000)?),
        instance: props.get("group.instance.id").filter(|id| !id.is_empty()).cloned(),
        exclude_internal_topics: props.get("exclude.internal.topics").is_none_or(|v| v.trim() != "false"),
        reset,
        group,
        client: checked(who, client)?,
        who: who.to_owned(),
    })
}

/// Settings of a producer, with the defaults of Connect's workers: no loss, no reordering.
///
/// # Errors
/// `Config`, naming the key and what to do.
pub fn producer(who: &str, props: &Props) -> Result<ProducerSettings> {
    let client = translate(Producer, who, props)?;
    Ok(ProducerSettings {
        max_block: Duration::from_millis(number(who, props, "max.block.ms", i64::MAX.unsigned_abs())?),
        client: checked(who, client)?,
        who: who.to_owned(),
    })
}

/// Settings of an admin client.
///
/// # Errors
/// `Config`, naming the key and what to do.
pub fn admin(who: &str, props: &Props) -> Result<AdminSettings> {
    let client = translate(Admin, who, props)?;
    Ok(AdminSettings { api_timeout: api_timeout(who, props)?, client: checked(who, client)?, who: who.to_owned() })
}

/// The properties of librdkafka below ours, for what Java has no name for: `librdkafka.statistics.interval.ms`.
const OWN_PREFIX: &str = "librdkafka.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Consumer,
    Producer,
    Admin,
}

/// What becomes of a property.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// librdkafka knows it under the same name.
    Same,
    /// librdkafka knows it under these names, and takes no value outside the range.
    Number(&'static [&'static str], i64, i64),
    /// Read by us, not by librdkafka.
    Ours,
    /// Translated by [`security::apply`].
    Security,
    /// Its value is translated.
    Value(&'static str, fn(&str) -> std::result::Result<&'static str, &'static str>),
    /// Nothing: it says how Java does what is done otherwise here.
    Quiet,
    /// Nothing, and whoever set it should know: why.
    NoEffect(&'static str),
}

use Kind::{Admin, Consumer, Producer};
use Rule::{NoEffect, Number, Ours, Quiet, Same, Security, Value};

const ALL: &[Kind] = &[Consumer, Producer, Admin];
const C: &[Kind] = &[Consumer];
const P: &[Kind] = &[Producer];
const DAY_MS: i64 = 86_400_000;
const MAX: i64 = i32::MAX as i64;

/// All client properties of Kafka 4.x.
const RULES: &[(&str, &[Kind], Rule)] = &[
    // Connections.
    ("bootstrap.servers", ALL, Same),
    ("client.id", ALL, Same),
    ("client.dns.lookup", ALL, Same),
    ("client.rack", C, Same),
    ("metadata.max.age.ms", ALL, Number(&["topic.metadata.refresh.interval.ms"], 100, 3_600_000)),
    ("metadata.max.idle.ms", P, Quiet),
    ("metadata.recovery.strategy", ALL, Same),
    ("metadata.recovery.rebootstrap.trigger.ms", ALL, Same),
    ("send.buffer.bytes", ALL, Number(&["socket.send.buffer.bytes"], 0, 100_000_000)),
    ("receive.buffer.bytes", ALL, Number(&["socket.receive.buffer.bytes"], 0, 100_000_000)),
    ("reconnect.backoff.ms", ALL, Number(&["reconnect.backoff.ms"], 0, 3_600_000)),
    ("reconnect.backoff.max.ms", ALL, Number(&["reconnect.backoff.max.ms"], 0, 3_600_000)),
    ("retry.backoff.ms", ALL, Number(&["retry.backoff.ms"], 1, 300_000)),
    ("retry.backoff.max.ms", ALL, Number(&["retry.backoff.max.ms"], 1, 300_000)),
    ("connections.max.idle.ms", ALL, Number(&["connections.max.idle.ms"], 0, MAX)),
    ("socket.connection.setup.timeout.ms", ALL, Number(&["socket.connection.setup.timeout.ms"], 1_000, MAX)),
    ("socket.connection.setup.timeout.max.ms", ALL, Quiet),
    ("request.timeout.ms", &[Consumer, Admin], Number(&["socket.timeout.ms"], 1_500, 300_000)),
    ("request.timeout.ms", P, Number(&["socket.timeout.ms", "request.timeout.ms"], 10, 300_000)),
    ("default.api.timeout.ms", ALL, Ours),
    ("enable.metrics.push", ALL, Same),
    // Security.
    ("security.protocol", ALL, Security),
    ("security.providers", ALL, NoEffect("TLS comes from OpenSSL here")),
    // Consumers.
    ("group.id", C, Same),
    ("group.instance.id", C, Same),
    ("group.protocol", C, Same),
    ("group.remote.assignor", C, Same),
    ("session.timeout.ms", C, Number(&["session.timeout.ms"], 1, 3_600_000)),
    ("heartbeat.interval.ms", C, Number(&["heartbeat.interval.ms"], 1, 3_600_000)),
    ("max.poll.interval.ms", C, Number(&["max.poll.interval.ms"], 1, DAY_MS)),
    ("max.poll.records", C, Ours),
    ("auto.offset.reset", C, Ours),
    ("exclude.internal.topics", C, Ours),
    ("partition.assignment.strategy", C, Value("partition.assignment.strategy", assignor)),
    ("isolation.level", C, Same),
    ("allow.auto.create.topics", C, Same),
    ("check.crcs", C, Same),
    ("fetch.min.bytes", C, Number(&["fetch.min.bytes"], 1, 100_000_000)),
    ("fetch.max.bytes", C, Number(&["fetch.max.bytes"], 1_000, 2_147_483_135)),
    ("fetch.max.wait.ms", C, Number(&["fetch.wait.max.ms"], 0, 300_000)),
    ("max.partition.fetch.bytes", C, Number(&["max.partition.fetch.bytes"], 1, 1_000_000_000)),
    ("enable.auto.commit", C, NoEffect("offsets are committed behind the sink, never by the clock")),
    ("auto.commit.interval.ms", C, NoEffect("offsets are committed behind the sink: set offset.flush.interval.ms")),
    ("internal.leave.group.on.close", C, Quiet),
    ("key.deserializer", C, Quiet),
    ("value.deserializer", C, Quiet),
    ("share.acknowledgement.mode", C, Quiet),
    // Producers.
    ("acks", P, Same),
    ("retries", P, Number(&["retries"], 0, MAX)),
    ("delivery.timeout.ms", P, Number(&["delivery.timeout.ms"], 0, MAX)),
    ("max.in.flight.requests.per.connection", P, Same),
    ("enable.idempotence", P, Same),
    ("linger.ms", P, Number(&["linger.ms"], 0, 900_000)),
    ("batch.size", P, Number(&["batch.size"], 1, MAX)),
    ("max.request.size", P, Number(&["message.max.bytes"], 1_000, 1_000_000_000)),
    ("compression.type", P, Same),
    ("compression.gzip.level", P, Ours),
    ("compression.lz4.level", P, Ours),
    ("compression.zstd.level", P, Ours),
    ("buffer.memory", P, Ours),
    ("max.block.ms", P, Ours),
    ("partitioner.class", P, Value("partitioner", partitioner)),
    ("partitioner.ignore.keys", P, Value("partitioner", |v| Ok(if v == "true" { "random" } else { DEFAULT_PARTITIONER }))),
    ("partitioner.adaptive.partitioning.enable", P, Quiet),
    ("partitioner.availability.timeout.ms", P, Quiet),
    ("transactional.id", P, Same),
    ("transaction.timeout.ms", P, Number(&["transaction.timeout.ms"], 1_000, MAX)),
    ("transaction.two.phase.commit.enable", P, NoEffect("librdkafka has no two-phase commit")),
    ("key.serializer", P, Quiet),
    ("value.serializer", P, Quiet),
    // Administration.
    ("retries", &[Admin], NoEffect("requests are tried again until default.api.timeout.ms")),
    ("bootstrap.controllers", &[Admin], NoEffect("brokers are asked: set bootstrap.servers")),
    // What only a JVM has.
    ("interceptor.classes", ALL, NoEffect("Java classes cannot be loaded")),
    ("metric.reporters", ALL, NoEffect("Java classes cannot be loaded; metrics are at /metrics")),
    ("metrics.num.samples", ALL, Quiet),
    ("metrics.recording.level", ALL, Quiet),
    ("metrics.sample.window.ms", ALL, Quiet),
    ("auto.include.jmx.reporter", ALL, Quiet),
    ("config.providers", ALL, Quiet),
];

/// Java's defaults where librdkafka's differ, in librdkafka's names.
const JAVA_DEFAULTS: &[(&[Kind], &str, &str)] = &[
    (ALL, "connections.max.idle.ms", "540000"),
    (ALL, "reconnect.backoff.ms", "50"),
    (ALL, "reconnect.backoff.max.ms", "1000"),
    (ALL, "socket.connection.setup.timeout.ms", "10000"),
    (ALL, "socket.timeout.ms", "30000"),
    (ALL, "log.connection.close", "false"),
    (C, "isolation.level", "read_uncommitted"),
    (C, "allow.auto.create.topics", "true"),
    (C, "check.crcs", "true"),
    (P, "partitioner", DEFAULT_PARTITIONER),
    (P, "message.max.bytes", "1048576"),
    (P, "batch.size", "16384"),
    (P, "queue.buffering.max.kbytes", "32768"),
];

/// Connect's for the clients of its tasks (`Worker.baseProducerConfigs`, `Worker.baseConsumerConfigs`).
const CONNECT_DEFAULTS: &[(&[Kind], &str, &str)] = &[
    (C, "enable.auto.commit", "false"),
    (C, "enable.auto.offset.store", "false"),
    (C, "auto.offset.reset", "earliest"),
    (P, "acks", "all"),
    (P, "enable.idempotence", "false"),
    (P, "max.in.flight.requests.per.connection", "1"),
    (P, "delivery.timeout.ms", "2147483647"),
];

/// What is ours to choose: how far librdkafka reads ahead (bytes and records of all partitions together), and how soon it goes on once
/// there is room; by its own defaults a fast sink waits a second each time the queue was full.
const OUR_DEFAULTS: &[(&[Kind], &str, &str)] = &[
    (C, "queued.max.messages.kbytes", "8192"),
    (C, UNPACKED_ROOM, "8388608"),
    (C, "queued.min.messages", "30000"),
    (C, "fetch.queue.backoff.ms", "5"),
    // Java says true. For what few brokers ask for (KIP-714) each client would keep histograms, more than half of all its memory.
    (ALL, "enable.metrics.push", "false"),
    // Java's default, range and cooperative-sticky, means range to a group of equals, which stops all tasks at each change.
    (C, "partition.assignment.strategy", "cooperative-sticky"),
];

/// To consumers it is how much room librdkafka makes at once for a batch that it unpacks (four times its size, and no more than this);
/// when it needs more it copies all of it. It may not be above `fetch.max.bytes`.
const UNPACKED_ROOM: &str = "message.max.bytes";

/// As in Java: keyed records by murmur2, others anywhere.
const DEFAULT_PARTITIONER: &str = "murmur2_random";

fn translate(kind: Kind, who: &str, props: &Props) -> Result<ClientConfig> {
    required(who, props, "bootstrap.servers")?;
    let mut client = ClientConfig::new();
    for (kinds, key, value) in [JAVA_DEFAULTS, CONNECT_DEFAULTS, OUR_DEFAULTS].concat() {
        if kinds.contains(&kind) {
            client.set(key, value);
        }
    }
    for (key, value) in props.iter().map(|(k, v)| (k.as_str(), v.trim())).filter(|(_, v)| !v.is_empty()) {
        apply(kind, who, key, value, &mut client)?;
    }
    match kind {
        Producer => apply_producer(who, props, &mut client)?,
        Consumer => apply_consumer(&mut client),
        Admin => {}
    }
    security::apply(who, props, &mut client)?;
    for (key, value) in props {
        if let Some(own) = key.strip_prefix(OWN_PREFIX) {
            client.set(own, value.trim());
        }
    }
    Ok(client)
}

fn apply(kind: Kind, who: &str, key: &str, value: &str, client: &mut ClientConfig) -> Result<()> {
    if key.starts_with("ssl.") || key.starts_with("sasl.") || key.starts_with(OWN_PREFIX) {
        return Ok(());
    }
    match RULES.iter().find(|(name, kinds, _)| *name == key && kinds.contains(&kind)).map(|(_, _, rule)| *rule) {
        Some(Same) => {
            client.set(key, value);
        }
        Some(Number(names, min, max)) => {
            let given: i64 = value.parse().map_err(|_| wrong(who, key, value, "a whole number"))?;
            let taken = given.clamp(min, max);
            // Java's -1 stands for "leave it to the system", as librdkafka's 0 does.
            if taken != given && given != -1 {
                notice(key, &format!("{key}={given} is taken as {taken}, librdkafka's limit"));
            }
            for name in names {
                client.set(*name, taken.to_string());
            }
        }
        Some(Value(name, translation)) => {
            let translated = translation(value).map_err(|expected| wrong(who, key, value, expected))?;
            client.set(name, translated);
        }
        Some(Ours | Security | Quiet) => {}
        Some(NoEffect(why)) => notice(key, &format!("{key} has no effect: {why}")),
        // Clients get their worker's whole prefix, and Java's only warn, too.
        None if RULES.iter().any(|(name, _, _)| *name == key) => {}
        None => notice(key, &format!("{key} is no property of a Kafka client, and has no effect")),
    }
    Ok(())
}

fn apply_producer(who: &str, props: &Props, client: &mut ClientConfig) -> Result<()> {
    if let Some(bytes) = props.get("buffer.memory") {
        let bytes: u64 = bytes.trim().parse().map_err(|_| wrong(who, "buffer.memory", bytes, "a number of bytes"))?;
        client.set("queue.buffering.max.kbytes", (bytes / 1024).clamp(1, 2_147_483_647).to_string());
    }
    let codec = props.get("compression.type").map_or("none", |codec| codec.trim());
    if let Some(level) = props.get(&format!("compression.{codec}.level")) {
        client.set("compression.level", level.trim());
    }
    // librdkafka wants a batch's limit within the request's.
    lower_to(client, "batch.size", "message.max.bytes");
    Ok(())
}

fn apply_consumer(client: &mut ClientConfig) {
    lower_to(client, UNPACKED_ROOM, "fetch.max.bytes");
}

/// Lowers a number of bytes to another one.
fn lower_to(client: &mut ClientConfig, key: &str, limit: &str) {
    let bytes = |key: &str| client.get(key).and_then(|value| value.parse::<u64>().ok()).unwrap_or(u64::MAX);
    let limit = bytes(limit);
    if bytes(key) > limit {
        client.set(key, limit.to_string());
    }
}

/// One strategy: librdkafka does not mix eager and cooperative ones. A list with the cooperative one in it is the first half of
/// Java's rolling change, in which all members know it.
fn assignor(classes: &str) -> std::result::Result<&'static str, &'static str> {
    const KNOWN: &str = "RangeAssignor, RoundRobinAssignor, CooperativeStickyAssignor, or their full Java names";
    let simple = |class: &str| class.trim().rsplit('.').next().unwrap_or_default().to_owned();
    let classes: Vec<String> = classes.split(',').map(simple).collect();
    let names = |wanted: &[&str]| classes.iter().any(|c| wanted.contains(&c.as_str()));
    if names(&["CooperativeStickyAssignor", "cooperative-sticky"]) {
        Ok("cooperative-sticky")
    } else if names(&["RangeAssignor", "range"]) && names(&["RoundRobinAssignor", "roundrobin"]) {
        Ok("range,roundrobin")
    } else if names(&["RangeAssignor", "range"]) {
        Ok("range")
    } else if names(&["RoundRobinAssignor", "roundrobin"]) {
        Ok("roundrobin")
    } else if names(&["StickyAssignor", "sticky"]) {
        Err("CooperativeStickyAssignor: there is no eager sticky one here")
    } else {
        Err(KNOWN)
    }
}

fn partitioner(class: &str) -> std::result::Result<&'static str, &'static str> {
    match class.rsplit('.').next().unwrap_or_default() {
        "DefaultPartitioner" => Ok(DEFAULT_PARTITIONER),
        "RoundRobinPartitioner" | "UniformStickyPartitioner" => Ok("random"),
        _ => Err("DefaultPartitioner or RoundRobinPartitioner; other Java classes cannot be loaded"),
    }
}

/// Whatever librdkafka finds wrong, found before a task starts.
fn checked(who: &str, client: ClientConfig) -> Result<ClientConfig> {
    match client.create_native_config() {
        Ok(_) => Ok(client),
        Err(error) => Err(Error::config(format!("Kafka client settings of {who}")).with_source(error)),
    }
}

fn required(who: &str, props: &Props, key: &str) -> Result<String> {
    let value = props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    value.map(str::to_owned).ok_or_else(|| Error::config(format!("{key} is missing from the Kafka client settings of {who}")))
}

fn number(who: &str, props: &Props, key: &str, default: u64) -> Result<u64> {
    let Some(value) = props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty()) else { return Ok(default) };
    value.parse().map_err(|_| wrong(who, key, value, "a whole number"))
}

fn api_timeout(who: &str, props: &Props) -> Result<Duration> {
    Ok(Duration::from_millis(number(who, props, "default.api.timeout.ms", 60_000)?.max(100)))
}

pub(super) fn wrong(who: &str, key: &str, value: &str, expected: &str) -> Error {
    Error::config(format!("`{key}` of {who} is `{value}`: give {expected}"))
}

/// Tells once for each key and process: a hundred tasks share most of their settings.
pub(super) fn notice(key: &str, message: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned()) {
        tracing::warn!("{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn props(given: &[(&str, &str)]) -> Props {
        let base = [("bootstrap.servers", "b:9092"), ("group.id", "g")];
        base.iter().chain(given).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn check(kind: Kind, given: &[(&str, &str)], expected: &[(&str, Option<&str>)]) {
        let client = checked("test", translate(kind, "test", &props(given)).unwrap()).unwrap();
        for (key, value) in expected {
            assert_eq!(client.get(key), *value, "{key}");
        }
    }

    #[test]
    fn javas_defaults_hold() {
        check(
            Consumer,
            &[],
            &[
                ("isolation.level", Some("read_uncommitted")),
                ("allow.auto.create.topics", Some("true")),
                ("enable.auto.commit", Some("false")),
                ("partition.assignment.strategy", Some("cooperative-sticky")),
            ],
        );
        check(
            Producer,
            &[],
            &[
                ("acks", Some("all")),
                ("partitioner", Some("murmur2_random")),
                ("max.in.flight.requests.per.connection", Some("1")),
                ("isolation.level", None),
            ],
        );
        assert_eq!(consumer("test", &props(&[])).unwrap().reset, Reset::Earliest);
    }

    #[test]
    fn java_names_and_values_are_translated() {
        check(
            Consumer,
            &[("fetch.max.wait.ms", "7"), ("request.timeout.ms", "40000"), ("connections.max.idle.ms", "-1")],
            &[("fetch.wait.max.ms", Some("7")), ("socket.timeout.ms", Some("40000")), ("connections.max.idle.ms", Some("0"))],
        );
        check(Consumer, &[("max.poll.interval.ms", "2147483647")], &[("max.poll.interval.ms", Some("86400000"))]);
        let java = "org.apache.kafka.clients.consumer.RangeAssignor,org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
        check(
            Consumer,
            &[("partition.assignment.strategy", java)],
            &[("partition.assignment.strategy", Some("cooperative-sticky"))],
        );
        check(
            Producer,
            &[("buffer.memory", "1048576"), ("compression.type", "zstd"), ("compression.zstd.level", "3")],
            &[("queue.buffering.max.kbytes", Some("1024")), ("compression.type", Some("zstd")), ("compression.level", Some("3"))],
        );
        check(Producer, &[("max.request.size", "2000"), ("batch.size", "16384")], &[("batch.size", Some("2000"))]);
        // Java takes any number; librdkafka wants its own room within it.
        for (given, taken) in [("65536", "65536"), ("10", "1000")] {
            check(Consumer, &[("fetch.max.bytes", given)], &[("fetch.max.bytes", Some(taken)), (UNPACKED_ROOM, Some(taken))]);
        }
    }

    #[test]
    fn what_has_no_effect_stays_away_from_librdkafka() {
        let given = [("interceptor.classes", "a.B"), ("key.deserializer", "x"), ("no.such.key", "1"), ("max.poll.records", "7")];
        check(Consumer, &given, &[("interceptor.classes", None), ("no.such.key", None), ("max.poll.records", None)]);
        assert_eq!(consumer("test", &props(&given)).unwrap().records_max, 7);
    }

    #[test]
    fn own_keys_reach_librdkafka() {
        check(Consumer, &[("librdkafka.queued.min.messages", "9")], &[("queued.min.messages", Some("9"))]);
    }

    #[test]
    fn the_new_group_protocol_takes_no_session_timeout() {
        let settings = consumer("test", &props(&[("group.protocol", "consumer"), ("session.timeout.ms", "10000")])).unwrap();
        assert_eq!(settings.client.get("session.timeout.ms"), None);
        assert_eq!(settings.client.get("partition.assignment.strategy"), None);
    }

    #[test]
    fn errors_name_the_key_and_what_to_give() {
        let error = |given: &[(&str, &str)]| consumer("connector x", &props(given)).unwrap_err().to_string();
        assert_eq!(error(&[("fetch.min.bytes", "many")]), "`fetch.min.bytes` of connector x is `many`: give a whole number");
        assert!(error(&[("partition.assignment.strategy", "a.Mine")]).contains("give RangeAssignor"));
        assert!(error(&[("auto.offset.reset", "first")]).contains("earliest, latest, none"));
        assert!(format!("{:#}", consumer("x", &props(&[("isolation.level", "dirty")])).unwrap_err()).contains("isolation.level"));
        assert!(consumer("x", &Props::new()).unwrap_err().to_string().contains("group.id is missing"));
    }

    #[test]
    fn no_rule_stands_twice() {
        for kind in [Consumer, Producer, Admin] {
            let mut keys = BTreeSet::new();
            for (key, kinds, _) in RULES {
                assert!(!kinds.contains(&kind) || keys.insert(key), "{key} for {kind:?}");
            }
        }
    }
}
