//! What only source connectors have, typed: which topics are created for them and how, and where their offsets are.

use std::sync::Arc;
use std::time::Duration;

use fancy_regex::Regex;
use penstock_api::config::{Check, ConfigDef, ConfigKey, ConfigType, Parsed};
use penstock_api::{Error, Props, Result};

use super::common::whole_match;
use super::worker::{WorkerConfig, behind};

/// What the keys of topic creation begin with (KIP-158).
pub const TOPIC_CREATION: &str = "topic.creation.";
/// The group that comes last, and matches every topic unless it says otherwise.
const DEFAULT_GROUP: &str = "default";
/// Of a group's keys those that are no settings of the topic.
const OWN_KEYS: [&str; 4] = ["include", "exclude", "replication.factor", "partitions"];

/// A source's own settings.
#[derive(Clone)]
pub struct SourceSettings {
    /// In the order in which they are tried. Empty: topics are left to the brokers, which may create them by their own defaults.
    pub topic_groups: Vec<TopicGroup>,
    /// `offsets.storage.topic`; `None`: the worker's.
    pub offsets_topic: Option<Arc<str>>,
    /// Where transactions end, if the worker has exactly once enabled.
    pub boundary: Option<Boundary>,
}

/// `transaction.boundary`: where a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Behind what each poll gave.
    Poll,
    Interval(Duration),
    /// Where the connector says.
    Connector,
}

/// Topics that are created alike.
#[derive(Clone)]
pub struct TopicGroup {
    pub name: String,
    include: Regex,
    exclude: Option<Regex>,
    /// -1 leaves it to the broker.
    pub partitions: i32,
    /// -1 leaves it to the broker.
    pub replication_factor: i16,
    /// `cleanup.policy` and so on.
    pub configs: Props,
}

impl SourceSettings {
    /// Types them.
    ///
    /// # Errors
    /// `Config`, naming the key.
    pub(super) fn new(parsed: &Parsed, props: &Props, worker: &WorkerConfig) -> Result<Self> {
        let creates = worker.topic_creation && props.keys().any(|key| key.starts_with(TOPIC_CREATION));
        // Without effect in a standalone worker, as in Java.
        let topic = parsed.text("offsets.storage.topic").map(str::trim).filter(|topic| !topic.is_empty());
        Ok(Self {
            topic_groups: if creates { topic_groups(parsed, props)? } else { Vec::new() },
            offsets_topic: topic.filter(|_| worker.standalone.is_none()).map(Into::into),
            boundary: worker.exactly_once.then(|| boundary(parsed, worker)),
        })
    }
}

impl TopicGroup {
    /// Whether a topic is to be created as this group says.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let is_match = |regex: &Regex| regex.is_match(topic).unwrap_or(false);
        is_match(&self.include) && !self.exclude.as_ref().is_some_and(is_match)
    }
}

fn boundary(parsed: &Parsed, worker: &WorkerConfig) -> Boundary {
    match parsed.string("transaction.boundary").to_lowercase().as_str() {
        "connector" => Boundary::Connector,
        "interval" => Boundary::Interval(match parsed.text("transaction.boundary.interval.ms") {
            Some(_) => parsed.millis("transaction.boundary.interval.ms"),
            None => worker.offset_flush_interval,
        }),
        _ => Boundary::Poll,
    }
}

fn topic_groups(parsed: &Parsed, props: &Props) -> Result<Vec<TopicGroup>> {
    let default = group(DEFAULT_GROUP, props, None)?;
    let named = parsed.list("topic.creation.groups").into_iter().filter(|name| name != DEFAULT_GROUP);
    let mut groups = named.map(|name| group(&name, props, Some(&default))).collect::<Result<Vec<_>>>()?;
    groups.push(default);
    Ok(groups)
}

/// What a group does not say of partitions and replicas, the default group says.
fn group(name: &str, props: &Props, default: Option<&TopicGroup>) -> Result<TopicGroup> {
    let prefix = format!("{TOPIC_CREATION}{name}.");
    let parsed = group_definition(&prefix, default).parse(props)?;
    let patterns = |key: &str| -> Result<Option<Regex>> {
        let key = format!("{prefix}{key}");
        let patterns = parsed.list(&key);
        if patterns.is_empty() {
            return Ok(None);
        }
        let joined = patterns.join("|");
        let regex = whole_match(&joined);
        regex.map(Some).map_err(|e| Error::config(format!("Invalid value {joined} for configuration {key}: Invalid regex: {e}")))
    };
    let mut configs = behind(props, &prefix);
    configs.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
    Ok(TopicGroup {
        name: name.to_owned(),
        include: patterns("include")?.map_or_else(|| whole_match("").map_err(|e| Error::config(e.to_string())), Ok)?,
        exclude: patterns("exclude")?,
        partitions: parsed.number(&format!("{prefix}partitions")),
        replication_factor: parsed.number(&format!("{prefix}replication.factor")),
        configs,
    })
}

fn group_definition(prefix: &str, default: Option<&TopicGroup>) -> ConfigDef {
    let key = |name: &str, kind: ConfigType, fallback: Option<String>, doc: &str| {
        let name = format!("{prefix}{name}");
        match fallback {
            Some(value) => ConfigKey::optional(name, kind, value, doc),
            None => ConfigKey::required(name, kind, doc),
        }
    };
    let everything = if default.is_none() { ".*" } else { "" };
    let count = Check::Custom(positive_or_brokers);
    ConfigDef::new([
        key("include", ConfigType::List, Some(everything.into()), "Regular expressions of topics of this group."),
        key("exclude", ConfigType::List, Some(String::new()), "Regular expressions of topics that are not of this group."),
        key(
            "replication.factor",
            ConfigType::Short,
            default.map(|d| d.replication_factor.to_string()),
            "Replicas of a topic; -1: the broker's default.",
        )
        .check(count.clone()),
        key(
            "partitions",
            ConfigType::Int,
            default.map(|d| d.partitions.to_string()),
            "Partitions of a topic; -1: the broker's default.",
        )
        .check(count),
    ])
}

fn positive_or_brokers(text: &str) -> std::result::Result<(), String> {
    match text.trim().parse::<i64>() {
        Ok(-1 | 1..) => Ok(()),
        _ => Err("Value must be larger than 0, or -1 to use the broker's default".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(given: &[(&str, &str)]) -> Result<Vec<TopicGroup>> {
        let props: Props = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let list = ConfigDef::new([ConfigKey::optional("topic.creation.groups", ConfigType::List, "", "")]);
        topic_groups(&list.parse(&props)?, &props)
    }

    #[test]
    fn the_first_group_that_matches_counts_and_the_default_comes_last() {
        let groups = groups(&[
            ("topic.creation.groups", "compacted, big"),
            ("topic.creation.default.replication.factor", "3"),
            ("topic.creation.default.partitions", "5"),
            ("topic.creation.default.retention.ms", "7"),
            ("topic.creation.compacted.include", "state-.*, last"),
            ("topic.creation.compacted.exclude", "state-old"),
            ("topic.creation.compacted.cleanup.policy", "compact"),
            ("topic.creation.big.include", "state-old|big"),
            ("topic.creation.big.partitions", "50"),
        ])
        .expect("good");
        let of = |topic: &str| groups.iter().find(|group| group.matches(topic)).expect("the default matches");
        for (topic, name, partitions) in
            [("state-a", "compacted", 5), ("last", "compacted", 5), ("state-old", "big", 50), ("a-state-b", "default", 5)]
        {
            assert_eq!((of(topic).name.as_str(), of(topic).partitions), (name, partitions), "{topic}");
            assert_eq!(of(topic).replication_factor, 3);
        }
        assert_eq!(of("last").configs.iter().collect::<Vec<_>>(), [(&"cleanup.policy".to_owned(), &"compact".to_owned())]);
        assert_eq!(of("x").configs.len(), 1);
    }

    #[test]
    fn the_default_group_must_say_how_topics_are() {
        let error = |given: &[(&str, &str)]| groups(given).err().expect("an error").to_string();
        assert!(error(&[("topic.creation.default.partitions", "1")]).contains("topic.creation.default.replication.factor"));
        let zero = [("topic.creation.default.partitions", "0"), ("topic.creation.default.replication.factor", "1")];
        assert!(error(&zero).contains("topic.creation.default.partitions"));
    }
}
