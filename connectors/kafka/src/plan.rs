//! Which partitions are copied, by which task; and topics for them here.

use penstock_api::{Error, Props, Result, TopicPartition};
use penstock_kafka_clients::{Admin, NewTopic, settings};
use std::collections::BTreeMap;

use crate::config::{Settings, TASK_PARTITIONS};

/// One configuration for each task.
pub(crate) async fn tasks(config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
    let who = format!("connector {}", config.get("name").map_or("", String::as_str));
    let settings = Settings::parse(config)?;
    let admin = Admin::new(settings::admin(&who, &settings.admin)?)?;
    let at_source = admin.topics().await.map_err(|e| e.context("look up the topics of the source cluster"))?;
    let chosen: BTreeMap<String, i32> = at_source
        .into_iter()
        .filter(|(topic, _)| settings.filter.takes(&settings.policy, &settings.target_alias, topic))
        .collect();
    if let Some(target) = &settings.target_admin {
        create_topics(&Admin::new(settings::admin(&who, target)?)?, &settings, &chosen).await?;
    }
    let with = |share: String| {
        let mut task = config.clone();
        task.insert(TASK_PARTITIONS.into(), share);
        task
    };
    Ok(shares(&chosen, tasks_max).into_iter().map(with).collect())
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

/// Records keep their partitions: topics here need as many.
async fn create_topics(admin: &Admin, settings: &Settings, chosen: &BTreeMap<String, i32>) -> Result<()> {
    let here = admin.topics().await.map_err(|e| e.context("look up the topics of this cluster"))?;
    for (topic, partitions) in chosen {
        let name = settings.policy.name_here(&settings.source_alias, topic);
        match here.get(&name) {
            None => {
                let (partitions, replication_factor, configs) = (*partitions, settings.replication_factor, BTreeMap::new());
                admin.create_topic(&NewTopic { name, partitions, replication_factor, configs }).await?;
            }
            Some(found) if found < partitions => admin.create_partitions(&name, *partitions).await?,
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
