//! MirrorCheckpointConnector: says where groups of the source would go on at the target, and commits it there for those that nobody is in.

mod config;
mod store;
mod task;

use penstock_api::{Connector, Props, Result, SourceConnector, SourceMap, SourceTask, async_trait};
use std::collections::BTreeSet;

pub(crate) use self::config::def;
use self::config::{Settings, TASK_GROUPS};
use crate::{keys, plan, position};

pub(crate) const CLASS: &str = "org.apache.kafka.connect.mirror.MirrorCheckpointConnector";

pub(crate) struct CheckpointConnector;

#[async_trait]
impl Connector for CheckpointConnector {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        config::problems(config)
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        let settings = Settings::parse(config)?;
        keys::tell_without_effect(config);
        if !settings.shared.enabled || settings.interval.is_none() {
            return Ok(Vec::new());
        }
        let (topic, key) = (settings.shared.policy.checkpoints_topic(), config::REPLICATION_FACTOR);
        let target = plan::admin(config, &settings.target_admin)?;
        plan::create_compacted(&target, &topic, settings.replication_factor, key).await?;
        let groups: Vec<String> = groups(config, &settings).await?.into_iter().collect();
        let with = |share: &[String]| {
            let mut task = config.clone();
            task.insert(TASK_GROUPS.into(), share.join(","));
            task
        };
        Ok(shares(&groups, tasks_max).into_iter().map(with).collect())
    }

    /// New groups are found by planning again.
    async fn watch(&self, config: &Props) -> Result<()> {
        match Settings::parse(config)?.refresh {
            Some(interval) => tokio::time::sleep(interval).await,
            None => std::future::pending().await,
        }
        Ok(())
    }
}

#[async_trait]
impl SourceConnector for CheckpointConnector {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::<task::CheckpointTask>::default()
    }

    async fn alter_offsets(&self, _config: &Props, changes: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        for (partition, offset) in changes {
            position::check_fixed(partition, offset.as_ref(), &[task::GROUP, task::TOPIC], true)?;
        }
        Ok(true)
    }
}

/// Groups that have committed for a topic that is copied.
async fn groups(config: &Props, settings: &Settings) -> Result<BTreeSet<String>> {
    let source = plan::admin(config, &settings.source_admin)?;
    let all = source.groups().await.map_err(|e| e.context("look up the groups of the source cluster"))?;
    let mut chosen = BTreeSet::new();
    for group in all.into_iter().filter(|group| settings.groups.takes(group)) {
        if source.group_offsets(&group).await?.keys().any(|partition| settings.topics.takes(&partition.topic)) {
            chosen.insert(group);
        }
    }
    Ok(chosen)
}

/// As Connect groups things: the first tasks get one more where it does not come out even.
fn shares(groups: &[String], tasks_max: u32) -> Vec<&[String]> {
    let tasks = groups.len().min(tasks_max as usize);
    let mut left = groups;
    let mut shares = Vec::with_capacity(tasks);
    for task in 0..tasks {
        let (share, rest) = left.split_at(left.len().div_ceil(tasks - task));
        shares.push(share);
        left = rest;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_dealt_out_side_by_side() {
        let groups = ["a", "b", "c", "d", "e"].map(str::to_owned);
        let shown = |tasks| shares(&groups, tasks).iter().map(|share| share.join("")).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(2), "abc de");
        assert_eq!(shown(3), "ab cd e");
        assert_eq!(shown(9), "a b c d e");
        assert!(shares(&[], 2).is_empty());
    }
}
