//! Several brokers, of which one is lost.

use std::time::Duration;

use anyhow::{Context, Result};
use penstock_tests::Kafka;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::flowing::{Flowing, Setup};

/// The default, and longer than it takes a controller to notice that a broker is dead: the workers keep their places.
const SESSION: Duration = Duration::from_secs(10);
const ASK_LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_survives_the_loss_of_one_of_three_brokers() -> Result<()> {
    let mut kafka = Kafka::builder().brokers(3).start().await?;
    // Three brokers on one machine take a few hundred requests in a second, and those that were lost are sent again one by one.
    let flow_interval = Duration::from_millis(250);
    let mut it = Flowing::start(&kafka, &Setup { session: SESSION, flow_interval, ..Setup::default() }).await?;
    it.survives("the start on three brokers", &[0, 1]).await?;
    // The one that workers write to.
    let lost = leader_of(&kafka, &it.cluster.builder.value("config.storage.topic")).await?;
    kafka.kill_broker(lost);
    it.survives("the loss of the broker that has the config topic", &[0, 1]).await?;
    kafka.restart_broker(lost).await?;
    it.survives("its return", &[0, 1]).await?;
    it.end().await
}

/// The broker that leads a topic's first partition.
async fn leader_of(kafka: &Kafka, topic: &str) -> Result<i32> {
    let client: BaseConsumer = kafka.client().create()?;
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || {
        let metadata = client.fetch_metadata(Some(&topic), ASK_LIMIT)?;
        let partition = metadata.topics().first().and_then(|known| known.partitions().first());
        let leader = partition.map(rdkafka::metadata::MetadataPartition::leader);
        leader.filter(|leader| *leader > 0).with_context(|| format!("{topic} has no leader"))
    })
    .await?
}
