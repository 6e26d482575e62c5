//! MirrorMaker's keys, typed, as far as they make sense here.

use penstock_api::config::Check;
use penstock_api::{ConfigDef, ConfigKey, ConfigType, Error, Importance, Props, Result};
use std::time::Duration;

use crate::policy::{self, Policy, TopicFilter};

const SOURCE_ALIAS: &str = "source.cluster.alias";
const TARGET_ALIAS: &str = "target.cluster.alias";
const BOOTSTRAP: &str = "source.cluster.bootstrap.servers";
const TOPICS: &str = "topics";
const EXCLUDE: &str = "topics.exclude";
const POLICY: &str = "replication.policy.class";
const SEPARATOR: &str = "replication.policy.separator";
const REFRESH: &str = "refresh.topics.enabled";
const REFRESH_INTERVAL: &str = "refresh.topics.interval.seconds";
const POLL_TIMEOUT: &str = "consumer.poll.timeout.ms";
const REPLICATION_FACTOR: &str = "replication.factor";
/// Which partitions are a task's: `topic-partition`, separated by commas.
pub(crate) const TASK_PARTITIONS: &str = "task.assigned.partitions";

/// What the connector and its tasks do.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) source_alias: String,
    pub(crate) target_alias: String,
    pub(crate) filter: TopicFilter,
    pub(crate) policy: Policy,
    /// How often new topics and partitions are looked for; `None`: never.
    pub(crate) refresh: Option<Duration>,
    pub(crate) poll_timeout: Duration,
    pub(crate) replication_factor: i16,
    /// Of the clients of the source cluster, under Java's names.
    pub(crate) consumer: Props,
    pub(crate) admin: Props,
    /// Of the client that creates topics here; `None`: they are left to `topic.creation.*` and the brokers.
    pub(crate) target_admin: Option<Props>,
}

/// The keys.
pub(crate) fn def() -> ConfigDef {
    let low = |key: ConfigKey| key.importance(Importance::Low);
    let optional = |name, kind, default, doc| ConfigKey::optional(name, kind, default, doc);
    ConfigDef::new([
        ConfigKey::required(
            SOURCE_ALIAS,
            ConfigType::String,
            "What the source cluster is called: in names of topics and in offsets.",
        ),
        optional(
            TARGET_ALIAS,
            ConfigType::String,
            "target",
            "What this cluster is called: topics that came from it are not copied back.",
        )
        .importance(Importance::High),
        ConfigKey::required(
            BOOTSTRAP,
            ConfigType::String,
            "The source cluster's brokers. Other settings of its clients stand behind source.cluster. too, or for one kind of \
             client behind source.consumer. and source.admin.",
        )
        .check(Check::NonEmpty),
        optional(TOPICS, ConfigType::List, ".*", "Names and patterns of the topics to copy.")
            .check(Check::Custom(readable))
            .importance(Importance::High),
        optional(
            EXCLUDE,
            ConfigType::List,
            "mm2.*\\.internal,.*\\.replica,__.*",
            "Names and patterns of topics that are not copied.",
        )
        .check(Check::Custom(readable))
        .importance(Importance::High),
        low(optional(
            POLICY,
            ConfigType::Class,
            "org.apache.kafka.connect.mirror.DefaultReplicationPolicy",
            "How topics are called here: DefaultReplicationPolicy puts the source's alias before them, IdentityReplicationPolicy \
             leaves their names.",
        )
        .check(Check::Custom(|class| Policy::of_class(class, ".").map(drop).ok_or_else(|| NO_POLICY.into())))),
        low(optional(SEPARATOR, ConfigType::String, ".", "What stands between alias and topic.")),
        low(optional(REFRESH, ConfigType::Boolean, "true", "Whether new topics and partitions are looked for.")),
        low(optional(REFRESH_INTERVAL, ConfigType::Long, "600", "How often, in seconds.").check(Check::Min(1.0))),
        low(optional(POLL_TIMEOUT, ConfigType::Long, "1000", "How long a poll waits for records, in milliseconds.")
            .check(Check::Min(1.0))),
        low(optional(
            REPLICATION_FACTOR,
            ConfigType::Int,
            "2",
            "Of topics that the connector creates here. It does so when it is told how to reach this cluster by \
             target.cluster.bootstrap.servers; else topic.creation.* and the brokers decide.",
        )
        .check(Check::Range(-1.0, 32_767.0))),
    ])
}

const NO_POLICY: &str = "Only DefaultReplicationPolicy and IdentityReplicationPolicy are known: Java classes cannot be loaded";

fn readable(list: &str) -> std::result::Result<(), String> {
    policy::patterns(list).map(drop).map_err(|(pattern, why)| format!("{pattern} is no regular expression: {why}"))
}

/// Keys of MirrorMaker that would do something there and do nothing here, with what to do instead.
const REFUSED: [(&str, &str); 2] = [
    ("topic.filter.class", "Java classes cannot be loaded: use topics and topics.exclude"),
    ("forwarding.admin.class", "Java classes cannot be loaded: create the topics by hand, or leave it to this connector"),
];

/// What single keys do not show.
pub(crate) fn problems(config: &Props) -> Vec<(String, String)> {
    let refused = REFUSED.iter().filter(|(key, _)| config.get(*key).is_some_and(|class| !class.starts_with("org.apache.kafka.")));
    refused.map(|(key, why)| ((*key).to_owned(), (*why).to_owned())).collect()
}

impl Settings {
    /// # Errors
    /// `Config`, naming the key.
    pub(crate) fn parse(config: &Props) -> Result<Self> {
        let parsed = def().parse(config)?;
        let unreadable = |(pattern, why): (String, String)| Error::config(format!("{pattern} is no regular expression: {why}"));
        let refresh = Duration::from_secs(parsed.number(REFRESH_INTERVAL));
        let target_admin = client(config, &["target.cluster.", "target.admin."]);
        Ok(Self {
            source_alias: parsed.string(SOURCE_ALIAS).to_owned(),
            target_alias: parsed.string(TARGET_ALIAS).to_owned(),
            filter: TopicFilter::new(parsed.string(TOPICS), parsed.string(EXCLUDE)).map_err(unreadable)?,
            policy: Policy::of_class(parsed.string(POLICY), parsed.string(SEPARATOR)).ok_or_else(|| Error::config(NO_POLICY))?,
            refresh: parsed.boolean(REFRESH).then_some(refresh),
            poll_timeout: parsed.millis(POLL_TIMEOUT),
            replication_factor: parsed.number(REPLICATION_FACTOR),
            consumer: client(config, &["source.cluster.", "consumer.", "source.consumer."]),
            admin: client(config, &["source.cluster.", "admin.", "source.admin."]),
            target_admin: Some(target_admin).filter(|props| props.contains_key("bootstrap.servers")),
        })
    }
}

/// The settings behind these prefixes, the later ones winning.
fn client(config: &Props, prefixes: &[&str]) -> Props {
    /// These stand behind the prefix of the cluster and are none of its clients' settings.
    const NO_SETTING: [&str; 2] = ["alias", "poll.timeout.ms"];
    let mut found = Props::new();
    for prefix in prefixes {
        for (key, value) in config {
            if let Some(key) = key.strip_prefix(prefix).filter(|key| !NO_SETTING.contains(key) && !key.starts_with("override.")) {
                found.insert(key.to_owned(), value.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn props(more: &[(&str, &str)]) -> Props {
        let needed = [(SOURCE_ALIAS, "west"), (BOOTSTRAP, "w:9092")];
        needed.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn settings_of_clients_stand_behind_mirrormakers_prefixes() {
        let settings = Settings::parse(&props(&[
            ("source.cluster.security.protocol", "SSL"),
            ("source.consumer.max.poll.records", "10"),
            ("consumer.max.poll.records", "20"),
            ("consumer.override.fetch.min.bytes", "1"),
        ]))
        .unwrap();
        let consumer: Vec<_> = settings.consumer.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(consumer, ["bootstrap.servers=w:9092", "max.poll.records=10", "security.protocol=SSL"]);
        assert!(settings.target_admin.is_none());
        let settings = Settings::parse(&props(&[("target.cluster.bootstrap.servers", "e:9092"), (REFRESH, "false")])).unwrap();
        assert_eq!((settings.target_admin.unwrap()["bootstrap.servers"].as_str(), settings.refresh), ("e:9092", None));
    }

    #[test]
    fn what_only_java_can_load_is_refused() {
        let check = |key: &str, value: &str, message: &str| {
            let error = Settings::parse(&props(&[(key, value)])).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        };
        check(POLICY, "com.example.Mine", NO_POLICY);
        check(TOPICS, "a(", "a( is no regular expression");
        let found = problems(&props(&[("topic.filter.class", "com.example.Mine")]));
        assert_eq!(found[0].0, "topic.filter.class");
        assert!(problems(&props(&[("topic.filter.class", "org.apache.kafka.connect.mirror.DefaultTopicFilter")])).is_empty());
    }
}
