//! MirrorMaker's connectors: what becomes of records, offsets and groups whatever happens to clusters and workers, and beside Java's.

mod failure;
mod heartbeats;
mod offsets;
mod topics;
mod translation;
mod validation;

use anyhow::{Result, ensure};
use penstock_tests::connect::Config;
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Connect, Kafka, Worker, unique, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::natives::Pair;

const SOON: Duration = Duration::from_secs(60);
const BYTES: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const SOURCE: &str = "org.apache.kafka.connect.mirror.MirrorSourceConnector";

/// A topic of numbered records that is copied as `west.<topic>`.
struct Copied {
    name: String,
    topic: String,
    partitions: i32,
}

impl Copied {
    async fn new(source: &Kafka, partitions: i32) -> Result<Self> {
        let topic = unique("copied");
        source.create_topic(&topic, partitions).await?;
        Ok(Self { name: unique("mirror"), topic, partitions })
    }

    fn copy(&self) -> String {
        format!("west.{}", self.topic)
    }

    fn config(&self, source: &Kafka, target: &Kafka, own: &[(&str, &str)]) -> Config {
        let mut config = between(source, target, "west", "east");
        config.extend([("connector.class", SOURCE), ("topics", &self.topic), ("refresh.topics.interval.seconds", "1")].map(pair));
        config.extend(own.iter().copied().map(pair));
        config
    }

    /// The numbers of a range for each partition, in order.
    async fn produce(&self, source: &Kafka, range: Range<usize>) -> Result<()> {
        let of = |partition| range.clone().map(move |n| record(partition, &n.to_string()));
        source.produce(&self.topic, (0..self.partitions).flat_map(of)).await
    }

    /// The numbers at the target, by partition, committed ones only.
    async fn numbers(&self, target: &Kafka) -> Result<BTreeMap<i32, Vec<usize>>> {
        let mut found = BTreeMap::<i32, Vec<usize>>::new();
        if target.has_topic(&self.copy()).await? {
            for message in target.read(&self.copy()).await? {
                found.entry(message.partition).or_default().push(message.text().parse()?);
            }
        }
        Ok(found)
    }

    /// Waits until the numbers of the range are all there; `once`: each exactly once. Their first appearances are in order either way.
    async fn wait_for(&self, target: &Kafka, range: Range<usize>, once: bool) -> Result<()> {
        let expected: Vec<usize> = range.collect();
        wait_until(&format!("{} numbers in each partition of {}", expected.len(), self.copy()), SOON * 2, async || {
            let found = self.numbers(target).await?;
            ensure!(found.len() == usize::try_from(self.partitions)?, "partitions {:?} have records", found.keys());
            for (partition, numbers) in found {
                let firsts = first_appearances(&numbers);
                ensure!(firsts.len() >= expected.len(), "partition {partition} has {} numbers", firsts.len());
            }
            Ok(true)
        })
        .await?;
        for (partition, numbers) in self.numbers(target).await? {
            ensure!(first_appearances(&numbers) == expected, "partition {partition}: {:?}", odd_one(&numbers, &expected));
            ensure!(!once || numbers == expected, "partition {partition} holds {} records", numbers.len());
        }
        Ok(())
    }
}

fn first_appearances(numbers: &[usize]) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    numbers.iter().copied().filter(|number| seen.insert(*number)).collect()
}

fn odd_one(numbers: &[usize], expected: &[usize]) -> Option<(usize, usize)> {
    first_appearances(numbers).into_iter().zip(expected.iter().copied()).find(|(found, expected)| found != expected)
}

fn record(partition: i32, value: &str) -> NewRecord {
    NewRecord { partition: Some(partition), value: Some(value.as_bytes().to_vec()), ..NewRecord::default() }
}

fn pair((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// What all connectors between two clusters are told.
fn between(source: &Kafka, target: &Kafka, alias: &str, target_alias: &str) -> Config {
    [
        ("source.cluster.alias", alias),
        ("target.cluster.alias", target_alias),
        ("source.cluster.bootstrap.servers", source.bootstrap()),
        ("target.cluster.bootstrap.servers", target.bootstrap()),
        ("replication.factor", "1"),
        ("offset-syncs.topic.replication.factor", "1"),
        ("checkpoints.topic.replication.factor", "1"),
        ("heartbeats.topic.replication.factor", "1"),
        ("heartbeats.replication.enabled", "false"),
        ("sync.topic.acls.enabled", "false"),
        ("key.converter", BYTES),
        ("value.converter", BYTES),
        ("header.converter", BYTES),
    ]
    .map(pair)
    .into()
}

async fn worker(target: &Kafka) -> Result<Worker> {
    Worker::builder(target).property("offset.flush.interval.ms", 200).start().await
}

/// Stops a connector and answers its offsets.
async fn stop(connect: &Connect, name: &str) -> Result<Value> {
    connect.put(&format!("/connectors/{name}/stop"), &Value::Null).await?.ok()?;
    wait_until(&format!("{name} to stop"), SOON, async || {
        let status = connect.status(name).await?.ok()?;
        let is_idle = status["tasks"].as_array().is_none_or(Vec::is_empty);
        Ok(status["connector"]["state"] == "STOPPED" && is_idle)
    })
    .await?;
    connect.get(&format!("/connectors/{name}/offsets")).await?.ok()
}

async fn resume(connect: &Connect, name: &str) -> Result<()> {
    connect.put(&format!("/connectors/{name}/resume"), &Value::Null).await?.ok().map(drop)
}
