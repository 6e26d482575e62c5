//! The keys that MirrorMaker's connectors share, and what can be said of all of them.

use penstock_api::config::{Check, Parsed};
use penstock_api::{ConfigKey, ConfigType, Error, Importance, Props, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::policy::{self, Filter, Policy};

pub(crate) const ENABLED: &str = "enabled";
pub(crate) const SOURCE_ALIAS: &str = "source.cluster.alias";
pub(crate) const TARGET_ALIAS: &str = "target.cluster.alias";
pub(crate) const SOURCE_BOOTSTRAP: &str = "source.cluster.bootstrap.servers";
pub(crate) const ADMIN_TIMEOUT: &str = "admin.timeout.ms";
pub(crate) const POLICY: &str = "replication.policy.class";
pub(crate) const SEPARATOR: &str = "replication.policy.separator";
const INTERNAL_SEPARATOR: &str = "replication.policy.internal.topic.separator.enabled";
pub(crate) const TOPICS: &str = "topics";
pub(crate) const TOPICS_EXCLUDE: &str = "topics.exclude";
pub(crate) const TOPICS_DEFAULT: &str = ".*";
pub(crate) const TOPICS_EXCLUDE_DEFAULT: &str = "mm2.*\\.internal,.*\\.replica,__.*";
pub(crate) const SYNCS_LOCATION: &str = "offset-syncs.topic.location";
pub(crate) const EMIT_SYNCS: &str = "emit.offset-syncs.enabled";
const METRIC_NAMES: &str = "metric.names.formats";
const MIRROR: &str = "org.apache.kafka.connect.mirror";

/// What all of them ask which clusters they are between.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) enabled: bool,
    pub(crate) source_alias: String,
    pub(crate) target_alias: String,
    pub(crate) policy: Policy,
}

impl Shared {
    pub(crate) fn of(parsed: &Parsed) -> Result<Self> {
        let (class, separator) = (parsed.string(POLICY), parsed.string(SEPARATOR));
        let source_alias = parsed.string(SOURCE_ALIAS).to_owned();
        let policy = Policy::of_class(class, separator, &source_alias).ok_or_else(|| Error::config(NO_POLICY))?;
        Ok(Self {
            enabled: parsed.boolean(ENABLED),
            policy: if parsed.boolean(INTERNAL_SEPARATOR) { policy } else { policy.with_dots_in_internal_topics() },
            source_alias,
            target_alias: parsed.string(TARGET_ALIAS).to_owned(),
        })
    }
}

/// The keys of all of them.
pub(crate) fn shared() -> Vec<ConfigKey> {
    use ConfigType::{Boolean, Class, List, Long, String};
    let alias = "What the source cluster is called: in names of topics and in offsets.";
    vec![
        low(ENABLED, Boolean, "true", "Without it the connector has no tasks."),
        ConfigKey::required(SOURCE_ALIAS, String, alias),
        high(TARGET_ALIAS, String, "target", "What the target cluster is called: topics that came from it are not copied back."),
        low(ADMIN_TIMEOUT, Long, "60000", "How long a request about topics, groups and the like may take, in milliseconds."),
        low(
            POLICY,
            Class,
            &format!("{MIRROR}.DefaultReplicationPolicy"),
            "How topics are called at the target: DefaultReplicationPolicy puts the source's alias before them, \
             IdentityReplicationPolicy leaves their names.",
        )
        .check(Check::Custom(|class| Policy::of_class(class, ".", "").map(drop).ok_or_else(|| NO_POLICY.into()))),
        low(SEPARATOR, String, ".", "What stands between alias and topic."),
        low(
            INTERNAL_SEPARATOR,
            Boolean,
            "true",
            "Whether it stands in the names of MirrorMaker's own topics, too; else dots do.",
        ),
        java_class(
            "forwarding.admin.class",
            "org.apache.kafka.clients.admin.ForwardingAdmin",
            "create the topics by hand, or leave it to this connector",
        ),
        low("metric.reporters", List, "org.apache.kafka.common.metrics.JmxReporter", "Has no effect: metrics are at /metrics.")
            .check(any_names()),
    ]
}

/// A key that most leave alone.
pub(crate) fn low(name: &str, kind: ConfigType, default: &str, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, kind, default, doc).importance(Importance::Low)
}

/// A key that most set.
pub(crate) fn high(name: &str, kind: ConfigType, default: &str, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, kind, default, doc).importance(Importance::High)
}

/// A number of seconds between two times that something is done. What is no number is no second error, as in Java.
pub(crate) fn interval(name: &str, default: &str) -> ConfigKey {
    low(name, ConfigType::Long, default, "How often, in seconds.").check(Check::Custom(|text| at_least(text, 1)))
}

/// For checks.
pub(crate) fn at_least(text: &str, least: i64) -> std::result::Result<(), String> {
    match text.trim().parse::<i64>() {
        Ok(number) if number < least => Err(format!("Value must be at least {least}")),
        _ => Ok(()),
    }
}

/// Names and patterns.
pub(crate) fn patterns(name: &str, default: &str, doc: &str) -> ConfigKey {
    high(name, ConfigType::List, default, doc).check(Check::All(vec![any_names(), Check::Custom(readable)]))
}

/// Of those who read the source cluster.
pub(crate) fn source_bootstrap() -> ConfigKey {
    let doc = "The source cluster's brokers. Other settings of its clients stand behind source.cluster. too, or for one kind of \
               client behind source.consumer., source.producer. and source.admin.";
    ConfigKey::required(SOURCE_BOOTSTRAP, ConfigType::String, doc).check(Check::NonEmpty)
}

pub(crate) fn syncs_location() -> ConfigKey {
    let doc = "Which of the two clusters keeps the offset syncs.";
    low(SYNCS_LOCATION, ConfigType::String, "source", doc).check(Check::OneOf(vec!["source".into(), "target".into()]))
}

pub(crate) fn metric_names() -> ConfigKey {
    let doc = "Has no effect: metrics have the names of `legacy`.";
    let known = ["legacy", "new"].map(str::to_owned).into();
    low(METRIC_NAMES, ConfigType::List, "legacy", doc).check(Check::List { of: Some(known), may_be_empty: false })
}

fn any_names() -> Check {
    Check::List { of: None, may_be_empty: true }
}

pub(crate) fn topic_filter_class() -> ConfigKey {
    filter_class("topic.filter.class", "DefaultTopicFilter", "use topics and topics.exclude")
}

pub(crate) fn filter_class(name: &str, default: &str, instead: &'static str) -> ConfigKey {
    java_class(name, &format!("{MIRROR}.{default}"), instead)
}

/// A key of Java classes: another one than Kafka's would do something there that it cannot do here.
fn java_class(name: &str, default: &str, instead: &'static str) -> ConfigKey {
    let check = move |class: &str| match class.starts_with("org.apache.kafka.") {
        true => Ok(()),
        false => Err(format!("Java classes cannot be loaded: {instead}")),
    };
    low(name, ConfigType::Class, default, "Java classes cannot be loaded: nothing but the default is taken.")
        .check(Check::Within(Arc::new(check)))
}

/// The filter of a list and what it excludes.
pub(crate) fn filter(include: &str, exclude: &str) -> Result<Filter> {
    let unreadable = |(pattern, why): (String, String)| Error::config(format!("{pattern} is no regular expression: {why}"));
    Filter::new(include, exclude).map_err(unreadable)
}

const NO_POLICY: &str = "Only DefaultReplicationPolicy and IdentityReplicationPolicy are known: Java classes cannot be loaded";

fn readable(list: &str) -> std::result::Result<(), String> {
    policy::patterns(list).map(drop).map_err(|(pattern, why)| format!("{pattern} is no regular expression: {why}"))
}

/// Keys that are known and do nothing here, and why.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    ("metric.reporters", "Java classes cannot be loaded; metrics are at /metrics"),
    (METRIC_NAMES, "metrics have one set of names"),
    ("sync.topic.acls.enabled", "rights are not copied: grant them at the target"),
    ("sync.topic.acls.interval.seconds", "rights are not copied: grant them at the target"),
];

/// Says once of each key that does nothing here why that is so.
pub(crate) fn tell_without_effect(config: &Props) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let connector = config.get("name").map_or("", String::as_str);
    for (key, why) in WITHOUT_EFFECT.iter().filter(|(key, _)| config.contains_key(*key)) {
        // What is switched off is not missed.
        let is_off = config.get(*key).is_some_and(|value| value.trim() == "false");
        if !is_off && TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{connector} {key}")) {
            tracing::info!(connector, key, "known and without effect here: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_java_can_load_is_refused() {
        let found = |class: &str| topic_filter_class().validate(Some(class)).errors;
        assert!(found("com.example.Mine")[0].ends_with("Java classes cannot be loaded: use topics and topics.exclude"));
        assert!(found("org.apache.kafka.connect.mirror.DefaultTopicFilter").is_empty());
        assert!(readable("a(").unwrap_err().starts_with("a( is no regular expression"));
    }
}
