//! What happens to topics of the source: made anew, grown, cut off, settings changed.

use anyhow::{Result, ensure};
use penstock_tests::{Kafka, wait_until};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use super::{Copied, SOON, resume, stop, worker};

fn admin(kafka: &Kafka) -> Result<AdminClient<DefaultClientContext>> {
    Ok(kafka.client().create()?)
}

/// Deletes all records before an offset, as retention does.
async fn cut_off(kafka: &Kafka, topic: &str, before: i64) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(before))?;
    admin(kafka)?.delete_records(&list, &AdminOptions::new()).await?;
    wait_until("the records to go", SOON, async || Ok(kafka.read(topic).await?.first().is_none_or(|m| m.offset >= before))).await
}

/// The topic behind the task's back: what it holds then is copied from its beginning, as by Java's consumer.
#[tokio::test]
async fn a_topic_that_is_made_anew_is_copied_from_its_beginning() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let copied = Copied::new(kafka, 1).await?;
    let worker = worker(kafka).await?;
    worker.connect().create(&copied.name, &copied.config(kafka, kafka, &[])).await?;
    copied.produce(kafka, 0..500).await?;
    copied.wait_for(kafka, 0..500, true).await?;
    for round in 1..=2 {
        kafka.delete_topic(&copied.topic).await?;
        wait_until("the topic to go", SOON, async || Ok(!kafka.has_topic(&copied.topic).await?)).await?;
        if round == 2 {
            // Long enough to be noticed: the task is taken away and comes back.
            let path = format!("/connectors/{}/tasks", copied.name);
            wait_until("the task to go", SOON, async || Ok(worker.connect().get(&path).await?.ok()? == Value::Array(Vec::new())))
                .await?;
        }
        kafka.create_topic(&copied.topic, 1).await?;
        // Fewer each time: whoever goes on behind as many as there were cannot know that the topic is another one.
        let numbers = round * 500..round * 500 + 300 - round * 100;
        copied.produce(kafka, numbers.clone()).await?;
        wait_until("the new records", SOON, async || {
            let found = copied.numbers(kafka).await?.remove(&0).unwrap_or_default();
            let new: Vec<_> = found.iter().copied().filter(|number| *number >= round * 500).collect();
            ensure!(super::first_appearances(&new) == numbers.clone().collect::<Vec<_>>(), "{} came", new.len());
            Ok(true)
        })
        .await?;
    }
    worker.connect().wait_running(&copied.name, 1).await
}

#[tokio::test]
async fn what_retention_has_taken_is_passed_over() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let copied = Copied::new(kafka, 1).await?;
    let worker = worker(kafka).await?;
    worker.connect().create(&copied.name, &copied.config(kafka, kafka, &[])).await?;
    copied.produce(kafka, 0..100).await?;
    copied.wait_for(kafka, 0..100, true).await?;
    stop(worker.connect(), &copied.name).await?;
    copied.produce(kafka, 100..300).await?;
    cut_off(kafka, &copied.topic, 250).await?;
    resume(worker.connect(), &copied.name).await?;
    let expected: Vec<usize> = (0..100).chain(250..300).collect();
    wait_until("what is left", SOON, async || {
        let numbers = copied.numbers(kafka).await?.remove(&0).unwrap_or_default();
        ensure!(numbers == expected, "there are {} numbers, the last {:?}", numbers.len(), numbers.last());
        Ok(true)
    })
    .await?;
    worker.connect().wait_running(&copied.name, 1).await
}

#[tokio::test]
async fn new_partitions_are_copied_into_as_many_at_the_target() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let mut copied = Copied::new(kafka, 1).await?;
    let worker = worker(kafka).await?;
    worker.connect().create(&copied.name, &copied.config(kafka, kafka, &[("tasks.max", "3")])).await?;
    copied.produce(kafka, 0..100).await?;
    copied.wait_for(kafka, 0..100, true).await?;
    admin(kafka)?.create_partitions([&NewPartitions::new(&copied.topic, 3)], &AdminOptions::new()).await?;
    copied.partitions = 3;
    wait_until("the new partitions", SOON, async || Ok(kafka.partitions(&copied.topic).await?.len() == 3)).await?;
    let record = |partition, n: usize| super::record(partition, &n.to_string());
    kafka.produce(&copied.topic, (1..3).flat_map(|partition| (0..100).map(move |n| record(partition, n)))).await?;
    copied.wait_for(kafka, 0..100, false).await?;
    worker.connect().wait_running(&copied.name, 3).await
}

/// A topic is made as it is at the source, and follows it; what brokers or users keep for themselves is left alone.
#[tokio::test]
async fn settings_of_topics_are_copied() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let copied = Copied::new(kafka, 1).await?;
    let set = async |topic: &str, settings: &[(&str, &str)]| -> Result<()> {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (key, value) in settings {
            change = change.set(key, value);
        }
        for outcome in admin(kafka)?.alter_configs([&change], &AdminOptions::new()).await? {
            outcome.map_err(|(_, code)| anyhow::anyhow!("alter settings: {code}"))?;
        }
        Ok(())
    };
    set(&copied.topic, &[("cleanup.policy", "compact"), ("min.insync.replicas", "1"), ("retention.ms", "7000000")]).await?;
    let worker = worker(kafka).await?;
    let often = [("sync.topic.configs.interval.seconds", "1"), ("config.properties.exclude", "min.insync.replicas,segment.*")];
    worker.connect().create(&copied.name, &copied.config(kafka, kafka, &often)).await?;
    let own = async || -> Result<Vec<String>> {
        ensure!(kafka.has_topic(&copied.copy()).await?, "no topic yet");
        let answer = admin(kafka)?.describe_configs([&ResourceSpecifier::Topic(&copied.copy())], &AdminOptions::new()).await?;
        let entries = answer.into_iter().next().expect("one was asked for").map_err(|code| anyhow::anyhow!("{code}"))?.entries;
        let own = entries.into_iter().filter(|entry| entry.source == rdkafka::admin::ConfigSource::DynamicTopic);
        Ok(own.map(|entry| format!("{}={}", entry.name, entry.value.unwrap_or_default())).collect())
    };
    let wait = async |expected: &[&str]| {
        wait_until(&format!("{expected:?}"), SOON, async || {
            let mut found = own().await?;
            found.sort();
            ensure!(found == expected, "found {found:?}");
            Ok(true)
        })
        .await
    };
    wait(&["cleanup.policy=compact", "retention.ms=7000000"]).await?;
    // What is not set at the source any more is not at the target; what is excluded there stays.
    set(&copied.copy(), &[("cleanup.policy", "compact"), ("segment.bytes", "5000000"), ("max.message.bytes", "99999")]).await?;
    set(&copied.topic, &[("retention.ms", "8000000")]).await?;
    wait(&["retention.ms=8000000", "segment.bytes=5000000"]).await
}
