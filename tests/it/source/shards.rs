//! A component source of several tasks, which share out numbers by shard: whoever reads its topic sees what was lost, repeated or out of
//! order, whichever task wrote it.

use anyhow::{Result, ensure};
use penstock_tests::connect::{Config, config};
use penstock_tests::{Connect, Kafka, eventually, unique, wait_until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::SOON;

pub(super) struct Shards {
    pub(super) name: String,
    pub(super) topic: String,
    count: i32,
}

impl Shards {
    /// A topic of so many partitions, a shard each.
    pub(super) async fn new(kafka: &Kafka, count: i32) -> Result<Self> {
        let it = Self { name: unique("shards"), topic: unique("shards"), count };
        kafka.create_topic(&it.topic, count).await?;
        Ok(it)
    }

    pub(super) fn config(&self, own: &[(&str, &str)]) -> Config {
        let count = self.count.to_string();
        let mut config = config([
            ("connector.class", "ShardsSource"),
            ("topic", &self.topic),
            ("shards", &count),
            ("tasks.max", &count),
            // Slowly enough for a busy machine to read all of it again and again.
            ("batch", "5"),
            ("pause.ms", "40"),
            ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter.schemas.enable", "false"),
        ]);
        config.extend(own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        config
    }

    /// What readers of committed records see, shard by shard.
    pub(super) async fn read(&self, kafka: &Kafka) -> Result<BTreeMap<i32, Vec<i64>>> {
        let mut shards: BTreeMap<i32, Vec<i64>> = (0..self.count).map(|shard| (shard, Vec::new())).collect();
        for message in kafka.read(&self.topic).await? {
            shards.entry(message.partition).or_default().push(message.text().parse()?);
        }
        Ok(shards)
    }

    /// Waits until each shard has so many numbers more than it has now.
    pub(super) async fn flow(&self, kafka: &Kafka, more: usize) -> Result<()> {
        // A broker that has just been killed is asked once more.
        let before = eventually("a first look at the topic", SOON * 2, async || self.read(kafka).await.map(Some)).await?;
        wait_until(&format!("{more} numbers more of each shard of {}", self.name), SOON * 2, async || {
            let now = self.read(kafka).await?;
            let slow: Vec<_> =
                now.iter().filter(|(shard, now)| now.len() < before[*shard].len() + more).map(|(s, _)| *s).collect();
            ensure!(slow.is_empty(), "shards {slow:?} have too few");
            Ok(true)
        })
        .await
    }

    /// The number to go on with of each shard, as REST shows them.
    pub(super) async fn stored(&self, connect: &Connect) -> Result<BTreeMap<i32, i64>> {
        let offsets = connect.get(&format!("/connectors/{}/offsets", self.name)).await?.ok()?;
        let entries = offsets["offsets"].as_array().into_iter().flatten();
        let pair =
            |entry: &Value| Some((i32::try_from(entry["partition"]["shard"].as_i64()?).ok()?, entry["offset"]["next"].as_i64()?));
        Ok(entries.filter_map(pair).collect())
    }

    /// How many numbers are there that were there before.
    pub(super) async fn repeated(&self, kafka: &Kafka) -> Result<usize> {
        let read = self.read(kafka).await?;
        Ok(read.values().map(|numbers| numbers.len() - numbers.iter().collect::<BTreeSet<_>>().len()).sum())
    }

    /// Stops the connector and waits until nothing of it runs.
    pub(super) async fn stop(&self, connect: &Connect) -> Result<()> {
        connect.put(&format!("/connectors/{}/stop", self.name), &Value::Null).await?.ok()?;
        wait_until(&format!("{} to stop", self.name), SOON, async || {
            let status = connect.status(&self.name).await?.ok()?;
            Ok(status["connector"]["state"] == "STOPPED" && status["tasks"].as_array().is_some_and(Vec::is_empty))
        })
        .await
    }

    /// Stops the connector; then each shard holds each number once and in order, up to what is stored.
    pub(super) async fn once_in_order(&self, kafka: &Kafka, connect: &Connect) -> Result<()> {
        self.stop(connect).await?;
        let mut outcome = Ok(true);
        wait_until("what is read to be what is stored", SOON, async || {
            let (read, stored) = (self.read(kafka).await?, self.stored(connect).await?);
            // What is there cannot go away again: no use in waiting.
            outcome = read.iter().try_for_each(|(shard, numbers)| in_order(*shard, numbers)).map(|()| true);
            let is_all = read.iter().all(|(shard, numbers)| stored.get(shard).copied().unwrap_or(0) == numbers.len() as i64);
            Ok(outcome.is_err() || is_all)
        })
        .await?;
        outcome.map(drop)
    }

    /// Stops the connector; then each shard holds all numbers up to what is stored, in order as they came first.
    pub(super) async fn none_lost(&self, kafka: &Kafka, connect: &Connect) -> Result<()> {
        self.stop(connect).await?;
        wait_until("what is read to be what is stored", SOON, async || {
            let (read, stored) = (self.read(kafka).await?, self.stored(connect).await?);
            for (shard, numbers) in read {
                let mut seen = BTreeSet::new();
                let firsts: Vec<i64> = numbers.into_iter().filter(|number| seen.insert(*number)).collect();
                in_order(shard, &firsts)?;
                let stored = stored.get(&shard).copied().unwrap_or(0);
                ensure!(
                    stored <= firsts.len() as i64,
                    "shard {shard}: {stored} is stored, and {} numbers are there",
                    firsts.len()
                );
            }
            Ok(true)
        })
        .await
    }
}

fn in_order(shard: i32, numbers: &[i64]) -> Result<()> {
    let wrong = numbers.iter().zip(0..).find(|(number, expected)| *number != expected);
    ensure!(wrong.is_none(), "shard {shard}: (there, expected) {wrong:?} in {} numbers", numbers.len());
    Ok(())
}
