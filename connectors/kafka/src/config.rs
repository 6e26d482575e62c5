//! MirrorSourceConnector's keys, typed.

use penstock_api::config::Check;
use penstock_api::{ConfigDef, ConfigType, Props, Result};
use std::time::Duration;

use crate::clients::{self, Cluster};
use crate::keys::{self, Shared, low, patterns};
use crate::policy::{Filter, TopicFilter};

const PROPERTIES_EXCLUDE: &str = "config.properties.exclude";
const REFRESH: &str = "refresh.topics.enabled";
const REFRESH_INTERVAL: &str = "refresh.topics.interval.seconds";
const SYNC_CONFIGS: &str = "sync.topic.configs.enabled";
const SYNC_CONFIGS_INTERVAL: &str = "sync.topic.configs.interval.seconds";
const POLL_TIMEOUT: &str = "consumer.poll.timeout.ms";
const REPLICATION_FACTOR: &str = "replication.factor";
const SYNCS_REPLICATION_FACTOR: &str = "offset-syncs.topic.replication.factor";
const LAG_MAX: &str = "offset.lag.max";
const HEARTBEATS: &str = "heartbeats.replication.enabled";
/// Which partitions are a task's: `topic-partition`, separated by commas.
pub(crate) const TASK_PARTITIONS: &str = "task.assigned.partitions";

/// What the connector and its tasks do.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) shared: Shared,
    pub(crate) filter: TopicFilter,
    /// How often new topics and partitions are looked for; `None`: never.
    pub(crate) refresh: Option<Duration>,
    /// How often settings of topics are copied; `None`: never.
    pub(crate) sync_configs: Option<Duration>,
    /// Settings of topics that are copied.
    pub(crate) properties: Filter,
    pub(crate) poll_timeout: Duration,
    pub(crate) replication_factor: i16,
    /// `None`: nobody wants to know where records of the source are at the target.
    pub(crate) syncs: Option<Syncs>,
    /// Of the clients of the source cluster, under Java's names.
    pub(crate) consumer: Props,
    pub(crate) admin: Props,
    /// Of the client that creates topics at the target; `None`: they are left to `topic.creation.*` and the brokers.
    pub(crate) target_admin: Option<Props>,
}

/// Where offset syncs are kept, and how many of them.
#[derive(Debug)]
pub(crate) struct Syncs {
    pub(crate) topic: String,
    pub(crate) replication_factor: i16,
    /// By how many records a translated offset may be behind.
    pub(crate) lag_max: i64,
    pub(crate) producer: Props,
    pub(crate) admin: Option<Props>,
}

/// The keys.
pub(crate) fn def() -> ConfigDef {
    use ConfigType::{Boolean, Int, Long, Short};
    let own = [
        keys::source_bootstrap(),
        patterns(keys::TOPICS, keys::TOPICS_DEFAULT, "Names and patterns of the topics to copy."),
        patterns(keys::TOPICS_EXCLUDE, keys::TOPICS_EXCLUDE_DEFAULT, "Names and patterns of topics that are not copied."),
        patterns(PROPERTIES_EXCLUDE, PROPERTIES_EXCLUDE_DEFAULT, "Names and patterns of settings of topics that are not copied."),
        keys::topic_filter_class(),
        keys::filter_class("config.property.filter.class", "DefaultConfigPropertyFilter", "use config.properties.exclude"),
        low(POLL_TIMEOUT, Long, "1000", "How long a poll waits for records, in milliseconds.")
            .check(Check::Custom(|text| keys::at_least(text, 1))),
        low(REFRESH, Boolean, "true", "Whether new topics and partitions are looked for."),
        keys::interval(REFRESH_INTERVAL, "600"),
        low(
            SYNC_CONFIGS,
            Boolean,
            "true",
            "Whether settings of topics at the source are set at the target, too. It takes target.cluster.bootstrap.servers.",
        ),
        keys::interval(SYNC_CONFIGS_INTERVAL, "600"),
        low("sync.topic.acls.enabled", Boolean, "true", "Has no effect: rights are not copied, grant them at the target."),
        low("sync.topic.acls.interval.seconds", Long, "600", "Has no effect: rights are not copied."),
        low(
            REPLICATION_FACTOR,
            Int,
            "2",
            "Of topics that the connector creates at the target. It does so when it is told how to reach that cluster by \
             target.cluster.bootstrap.servers; else topic.creation.* and the brokers decide.",
        )
        .check(Check::Custom(replicas)),
        low(SYNCS_REPLICATION_FACTOR, Short, "3", "Of the topic of offset syncs."),
        low(
            LAG_MAX,
            Long,
            "100",
            "By how many records at most an offset that is translated for a group at the end of a partition is behind.",
        ),
        keys::syncs_location(),
        low(keys::EMIT_SYNCS, Boolean, "true", "Whether it is noted where records of the source are at the target."),
        low(HEARTBEATS, Boolean, "true", "Whether heartbeats are copied, whatever `topics` says."),
        keys::metric_names(),
    ];
    ConfigDef::new(keys::shared().into_iter().chain(own))
}

/// What single keys do not show, in Java's words.
pub(crate) fn problems(config: &Props) -> Vec<(String, String)> {
    const ONCE: &str = "exactly.once.support";
    let mut problems = Vec::new();
    let is_about_syncs = |key: &String| key.starts_with("offset-syncs-") || key.starts_with("offset-syncs.topic.");
    if config.get(keys::EMIT_SYNCS).is_some_and(|value| value == "false") && config.keys().any(is_about_syncs) {
        let why = "MirrorSourceConnector can't setup offset-syncs feature while emit.offset-syncs.enabled set to false";
        problems.push((keys::EMIT_SYNCS.into(), why.into()));
    }
    if config.get(ONCE).is_some_and(|value| value == "required") && !reads_committed(&clients::consumer(config, Cluster::Source))
    {
        let why = "MirrorSourceConnector can only provide exactly-once guarantees when its source consumer is configured with \
                   isolation.level set to 'read_committed'; otherwise, records from aborted and uncommitted transactions will be \
                   replicated from the source cluster to the target cluster.";
        problems.push((ONCE.into(), why.into()));
    }
    problems
}

/// Whether a consumer sees nothing that may be aborted yet.
pub(crate) fn reads_committed(consumer: &Props) -> bool {
    consumer.get("isolation.level").is_some_and(|level| level.trim() == "read_committed")
}

fn replicas(text: &str) -> std::result::Result<(), String> {
    match text.trim().parse::<i64>() {
        Ok(number) if i16::try_from(number).is_err() || number < -1 => Err("Value must be between -1 and 32767".into()),
        _ => Ok(()),
    }
}

const PROPERTIES_EXCLUDE_DEFAULT: &str = "follower.replication.throttled.replicas,leader.replication.throttled.replicas,\
     message.timestamp.difference.max.ms,log.message.timestamp.before.max.ms,log.message.timestamp.after.max.ms,\
     message.timestamp.type,unclean.leader.election.enable,min.insync.replicas";

impl Settings {
    /// # Errors
    /// `Config`, naming the key.
    pub(crate) fn parse(config: &Props) -> Result<Self> {
        let parsed = def().parse(config)?;
        let shared = Shared::of(&parsed)?;
        let seconds =
            |enabled: &str, interval: &str| parsed.boolean(enabled).then_some(Duration::from_secs(parsed.number(interval)));
        let at_source = parsed.string(keys::SYNCS_LOCATION) == "source";
        let other = if at_source { &shared.target_alias } else { &shared.source_alias };
        let kept_at = if at_source { Cluster::Source } else { Cluster::Target };
        let syncs = parsed.boolean(keys::EMIT_SYNCS).then(|| Syncs {
            topic: shared.policy.offset_syncs_topic(other),
            replication_factor: parsed.number(SYNCS_REPLICATION_FACTOR),
            lag_max: parsed.number(LAG_MAX),
            producer: clients::producer(config, kept_at),
            admin: clients::admin(config, kept_at),
        });
        let by_name = keys::filter(parsed.string(keys::TOPICS), parsed.string(keys::TOPICS_EXCLUDE))?;
        Ok(Self {
            filter: TopicFilter { by_name, heartbeats: parsed.boolean(HEARTBEATS) },
            shared,
            refresh: seconds(REFRESH, REFRESH_INTERVAL),
            sync_configs: seconds(SYNC_CONFIGS, SYNC_CONFIGS_INTERVAL),
            properties: keys::filter(".*", parsed.string(PROPERTIES_EXCLUDE))?,
            poll_timeout: parsed.millis(POLL_TIMEOUT),
            replication_factor: parsed.number(REPLICATION_FACTOR),
            syncs,
            consumer: clients::consumer(config, Cluster::Source),
            admin: clients::admin(config, Cluster::Source).unwrap_or_default(),
            target_admin: clients::admin(config, Cluster::Target),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &[(&str, &str)]) -> Result<Settings> {
        let needed = [(keys::SOURCE_ALIAS, "west"), (keys::SOURCE_BOOTSTRAP, "w:9092")];
        Settings::parse(&needed.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn what_is_not_asked_for_is_not_done() {
        let all = settings(&[("target.cluster.bootstrap.servers", "e:9092"), ("target.cluster.alias", "east")]).unwrap();
        let syncs = all.syncs.unwrap();
        assert_eq!((syncs.topic.as_str(), syncs.lag_max), ("mm2-offset-syncs.east.internal", 100));
        assert_eq!(syncs.producer["bootstrap.servers"], "w:9092");
        assert!(all.refresh.is_some() && all.target_admin.is_some());
        let none = settings(&[(REFRESH, "false"), (keys::EMIT_SYNCS, "false"), (SYNC_CONFIGS, "false")]).unwrap();
        assert!(none.refresh.is_none() && none.syncs.is_none() && none.sync_configs.is_none() && none.target_admin.is_none());
        let there = settings(&[(keys::SYNCS_LOCATION, "target"), ("target.cluster.bootstrap.servers", "e:9092")]).unwrap();
        let syncs = there.syncs.unwrap();
        assert_eq!((syncs.topic.as_str(), &*syncs.producer["bootstrap.servers"]), ("mm2-offset-syncs.west.internal", "e:9092"));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let check = |key: &str, value: &str, message: &str| {
            let error = settings(&[(key, value)]).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        };
        check(keys::POLICY, "com.example.Mine", "Only DefaultReplicationPolicy");
        check(keys::TOPICS, "a(", "a( is no regular expression");
        check(keys::SYNCS_LOCATION, "elsewhere", "elsewhere");
    }
}
