//! MirrorCheckpointConnector's keys, typed.

use penstock_api::{ConfigDef, ConfigType, Error, Props, Result};
use std::time::Duration;

use crate::clients::{self, Cluster};
use crate::keys::{self, Shared, low, patterns};
use crate::policy::Filter;

const GROUPS: &str = "groups";
const GROUPS_EXCLUDE: &str = "groups.exclude";
const REFRESH: &str = "refresh.groups.enabled";
const REFRESH_INTERVAL: &str = "refresh.groups.interval.seconds";
const EMIT: &str = "emit.checkpoints.enabled";
const EMIT_INTERVAL: &str = "emit.checkpoints.interval.seconds";
const SYNC: &str = "sync.group.offsets.enabled";
const SYNC_INTERVAL: &str = "sync.group.offsets.interval.seconds";
const TARGET_BOOTSTRAP: &str = "target.cluster.bootstrap.servers";
pub(super) const REPLICATION_FACTOR: &str = "checkpoints.topic.replication.factor";
/// Which groups are a task's, separated by commas.
pub(super) const TASK_GROUPS: &str = "task.assigned.groups";

pub(super) struct Settings {
    pub(super) shared: Shared,
    /// Which topics groups are followed in.
    pub(super) topics: Filter,
    pub(super) groups: Filter,
    /// How often new groups are looked for; `None`: never.
    pub(super) refresh: Option<Duration>,
    /// How often checkpoints are written; `None`: never.
    pub(super) interval: Option<Duration>,
    /// How often groups at the target are moved on; `None`: never.
    pub(super) sync: Option<Duration>,
    pub(super) replication_factor: i16,
    pub(super) syncs_topic: String,
    pub(super) syncs_consumer: Props,
    pub(super) source_admin: Props,
    pub(super) target_admin: Props,
    pub(super) target_consumer: Props,
}

pub(crate) fn def() -> ConfigDef {
    use ConfigType::{Boolean, Long, Short};
    let own = [
        keys::source_bootstrap(),
        low("consumer.poll.timeout.ms", Long, "1000", "Has no effect: what is to be done is done when it is time."),
        patterns(GROUPS, ".*", "Names and patterns of the groups to follow."),
        patterns(GROUPS_EXCLUDE, "console-consumer-.*,connect-.*,__.*", "Names and patterns of groups that are not followed."),
        keys::filter_class("group.filter.class", "DefaultGroupFilter", "use groups and groups.exclude"),
        low(REFRESH, Boolean, "true", "Whether new groups are looked for."),
        keys::interval(REFRESH_INTERVAL, "600"),
        low(EMIT, Boolean, "true", "Whether checkpoints are written."),
        low(EMIT_INTERVAL, Long, "60", "How often, in seconds."),
        low(
            SYNC,
            Boolean,
            "false",
            "Whether translated offsets are committed at the target, for groups that nobody is in there, and never backwards.",
        ),
        low(SYNC_INTERVAL, Long, "60", "How often, in seconds."),
        low(REPLICATION_FACTOR, Short, "3", "Of the topic of checkpoints, which the connector creates."),
        keys::syncs_location(),
        keys::topic_filter_class(),
        keys::metric_names(),
    ];
    ConfigDef::new(keys::shared().into_iter().chain(own))
}

/// What single keys do not show, in Java's words.
pub(super) fn problems(config: &Props) -> Vec<(String, String)> {
    let is_off = |key: &str| config.get(key).is_some_and(|value| value == "false");
    if is_off(keys::ENABLED) {
        return Vec::new();
    }
    let problems = [
        (EMIT, "MirrorCheckpointConnector can't run with emit.checkpoints.enabled set to false"),
        (keys::EMIT_SYNCS, "MirrorCheckpointConnector can't run without offset syncs"),
    ];
    problems.iter().filter(|(key, _)| is_off(key)).map(|(key, why)| ((*key).to_owned(), (*why).to_owned())).collect()
}

impl Settings {
    /// # Errors
    /// `Config`, naming the key.
    pub(super) fn parse(config: &Props) -> Result<Self> {
        let parsed = def().parse(config)?;
        let shared = Shared::of(&parsed)?;
        // As in Java a negative one is none.
        let seconds = |enabled: &str, interval: &str| {
            u64::try_from(parsed.number::<i64>(interval)).ok().filter(|_| parsed.boolean(enabled)).map(Duration::from_secs)
        };
        let at_source = parsed.string(keys::SYNCS_LOCATION) == "source";
        let other = if at_source { &shared.target_alias } else { &shared.source_alias };
        let text = |key: &str, default: &str| config.get(key).map_or(default.to_owned(), |text| text.trim().to_owned());
        let nowhere = || Error::config(format!("{TARGET_BOOTSTRAP} is missing: it says where groups are to go on"));
        Ok(Self {
            // Not among the keys of this connector in Java either.
            topics: keys::filter(
                &text(keys::TOPICS, keys::TOPICS_DEFAULT),
                &text(keys::TOPICS_EXCLUDE, keys::TOPICS_EXCLUDE_DEFAULT),
            )?,
            groups: keys::filter(parsed.string(GROUPS), parsed.string(GROUPS_EXCLUDE))?,
            refresh: seconds(REFRESH, REFRESH_INTERVAL),
            interval: seconds(EMIT, EMIT_INTERVAL),
            sync: seconds(SYNC, SYNC_INTERVAL),
            replication_factor: parsed.number(REPLICATION_FACTOR),
            syncs_topic: shared.policy.offset_syncs_topic(other),
            syncs_consumer: clients::consumer(config, if at_source { Cluster::Source } else { Cluster::Target }),
            source_admin: clients::admin(config, Cluster::Source).unwrap_or_default(),
            target_admin: clients::admin(config, Cluster::Target).ok_or_else(nowhere)?,
            target_consumer: clients::consumer(config, Cluster::Target),
            shared,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_checkpoints_or_syncs_there_is_nothing_to_do() {
        let found = |pairs: &[(&str, &str)]| {
            let config = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            problems(&config).into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert!(found(&[]).is_empty());
        assert_eq!(found(&[(EMIT, "false"), (SYNC, "true")]), [EMIT]);
        assert_eq!(found(&[(keys::EMIT_SYNCS, "false")]), [keys::EMIT_SYNCS]);
        assert!(found(&[(EMIT, "false"), (keys::ENABLED, "false")]).is_empty());
    }
}
