//! Which partitions are copied, by which task; and topics for them at the target.

use penstock_api::{Error, ErrorKind, Props, Result, TopicPartition};
use penstock_kafka_clients::{Admin, NewTopic, settings};
use std::collections::BTreeMap;

use crate::config::{Settings, Syncs, TASK_PARTITIONS};
use crate::keys::{self, Shared};
use crate::topic_settings;

/// One configuration for each task.
pub(crate) async fn tasks(config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
    let settings = Settings::parse(config)?;
    keys::tell_without_effect(config);
    if !settings.shared.enabled {
        return Ok(Vec::new());
    }
    if let Some(syncs) = &settings.syncs {
        create_syncs_topic(config, syncs).await?;
    }
    let source = admin(config, &settings.admin)?;
    let chosen = chosen(&source, &settings).await?;
    if let Some(target) = &settings.target_admin {
        create_topics(&source, &admin(config, target)?, &settings, &chosen).await?;
    }
    let with = |share: String| {
        let mut task = config.clone();
        task.insert(TASK_PARTITIONS.into(), share);
        task
    };
    Ok(shares(&chosen, tasks_max).into_iter().map(with).collect())
}

/// An admin client of the connector's.
pub(crate) fn admin(config: &Props, settings: &Props) -> Result<Admin> {
    let who = format!("connector {}", config.get("name").map_or("", String::as_str));
    let mut settings = settings.clone();
    if let Some(timeout) = config.get(keys::ADMIN_TIMEOUT) {
        settings.entry("default.api.timeout.ms".into()).or_insert_with(|| timeout.clone());
    }
    Admin::new(settings::admin(&who, &settings)?)
}

/// Creates one of MirrorMaker's own topics where it is not there.
pub(crate) async fn create_compacted(admin: &Admin, topic: &str, replication_factor: i16, key: &str) -> Result<()> {
    if admin.topics().await?.contains_key(topic) {
        return Ok(());
    }
    let configs = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    let topic = NewTopic { name: topic.to_owned(), partitions: 1, replication_factor, configs };
    admin.create_topic(&topic).await.map(drop).map_err(|error| error.context(format!("with {key}={replication_factor}")))
}

/// Without it records are copied all the same: whoever wants to know where they went is told why that is not known.
async fn create_syncs_topic(config: &Props, syncs: &Syncs) -> Result<()> {
    let Some(settings) = &syncs.admin else { return Ok(()) };
    let key = "offset-syncs.topic.replication.factor";
    match create_compacted(&admin(config, settings)?, &syncs.topic, syncs.replication_factor, key).await {
        Err(error) if error.kind() == ErrorKind::Retriable => Err(error),
        Err(error) => {
            let (topic, error) = (&syncs.topic, format!("{error:#}"));
            tracing::warn!(topic, error, "no topic for offset syncs: create it, or set emit.offset-syncs.enabled=false");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Copies the settings of topics that are copied.
pub(crate) async fn sync_topic_settings(config: &Props, settings: &Settings) -> Result<()> {
    let Some(target) = &settings.target_admin else { return Ok(()) };
    let (source, target) = (admin(config, &settings.admin)?, admin(config, target)?);
    let topics: Vec<String> = chosen(&source, settings).await?.into_keys().collect();
    topic_settings::sync(&source, &target, &settings.shared.policy, &topics, &settings.properties).await
}

async fn chosen(source: &Admin, settings: &Settings) -> Result<BTreeMap<String, i32>> {
    let all = source.topics().await.map_err(|e| e.context("look up the topics of the source cluster"))?;
    let Shared { policy, target_alias, .. } = &settings.shared;
    Ok(all.into_iter().filter(|(topic, _)| settings.filter.takes(policy, target_alias, topic)).collect())
}

/// Partitions are dealt out in turn, so that each task gets some of each large topic.
fn shares(topics: &BTreeMap<String, i32>, tasks_max: u32) -> Vec<String> {
    let all: Vec<String> = topics.iter().flat_map(|(topic, count)| (0..*count).map(move |n| format!("{topic}-{n}"))).collect();
    let count = all.len().min(tasks_max as usize);
    let share = |task: usize| all.iter().skip(task).step_by(count).cloned().collect::<Vec<_>>().join(",");
    (0..count).map(share).collect()
}

/// What is a task's share.
pub(crate) fn partitions_of(share: &str) -> Result<Vec<TopicPartition>> {
    let read = |text: &str| {
        let (topic, partition) = text.rsplit_once('-')?;
        Some(TopicPartition { topic: topic.into(), partition: partition.parse().ok()? })
    };
    let parts = share.split(',').filter(|text| !text.is_empty());
    parts.map(|text| read(text).ok_or_else(|| Error::config(format!("{text} in {TASK_PARTITIONS} is no partition")))).collect()
}

/// Records keep their partitions: topics at the target need as many.
async fn create_topics(source: &Admin, target: &Admin, settings: &Settings, chosen: &BTreeMap<String, i32>) -> Result<()> {
    let there = target.topics().await.map_err(|e| e.context("look up the topics of the target cluster"))?;
    for (topic, partitions) in chosen {
        let name = settings.shared.policy.name_here(topic);
        match there.get(&name) {
            None => {
                let configs = match source.topic_settings(topic).await {
                    Ok(at_source) => topic_settings::of_new(&at_source, &settings.properties),
                    // Whoever does not want settings to follow may not be allowed to see them.
                    Err(error) if settings.sync_configs.is_none() && error.kind() == ErrorKind::Config => BTreeMap::new(),
                    Err(error) => return Err(error.context("copy its settings (sync.topic.configs.enabled)")),
                };
                let (partitions, replication_factor) = (*partitions, settings.replication_factor);
                target.create_topic(&NewTopic { name, partitions, replication_factor, configs }).await?;
            }
            Some(found) if found < partitions => target.create_partitions(&name, *partitions).await?,
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_dealt_out_in_turn() {
        let topics = [("a-b", 3), ("c", 2)].map(|(topic, count)| (topic.to_owned(), count)).into();
        assert_eq!(shares(&topics, 2), ["a-b-0,a-b-2,c-1", "a-b-1,c-0"]);
        assert_eq!(shares(&topics, 9).len(), 5);
        assert!(shares(&BTreeMap::new(), 3).is_empty());
        let own = partitions_of("a-b-0,c-1").unwrap();
        assert_eq!(own.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a-b-0", "c-1"]);
        assert!(partitions_of("a").is_err());
    }
}
