//! The case `mirror`: the topic is copied on the same broker, by Java's MirrorSourceConnector and by ours, told the same.
//!
//! A run ends when the copy holds as many records as the topic, and each partition as many as its original. Both begin with an empty
//! copy of the same partitions, and write offset syncs as they do by default.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock_tests::connect::{Config, Connect};
use penstock_tests::{Kafka, unique};
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::systems::until_reached;

pub(crate) const CLASS: &str = "org.apache.kafka.connect.mirror.MirrorSourceConnector";

/// Batches as large as throughput wants them.
pub(crate) const LARGE_BATCHES: [(&str, &str); 2] =
    [("producer.override.batch.size", "262144"), ("producer.override.linger.ms", "20")];

/// What both are tuned by: large fetches and batches, compressed once more as they came.
const TUNED: [(&str, &str); 9] = [
    ("source.consumer.max.poll.records", "5000"),
    ("source.consumer.fetch.min.bytes", "65536"),
    ("source.consumer.fetch.max.bytes", "52428800"),
    ("source.consumer.max.partition.fetch.bytes", "4194304"),
    ("producer.override.compression.type", "lz4"),
    LARGE_BATCHES[0],
    LARGE_BATCHES[1],
    ("producer.override.buffer.memory", "67108864"),
    ("producer.override.acks", "all"),
];

/// A copy of a topic.
pub(crate) struct Copy {
    source: String,
    alias: String,
}

impl Copy {
    pub(crate) fn of(source: &str) -> Self {
        Self { source: source.to_owned(), alias: unique("west") }
    }

    fn topic(&self) -> String {
        format!("{}.{}", self.alias, self.source)
    }

    pub(crate) fn config(&self, kafka: &Kafka) -> Config {
        let bytes = "org.apache.kafka.connect.converters.ByteArrayConverter";
        let told = [
            ("connector.class", CLASS),
            ("tasks.max", "1"),
            ("topics", &self.source),
            ("source.cluster.alias", &self.alias),
            ("target.cluster.alias", "east"),
            ("source.cluster.bootstrap.servers", kafka.bootstrap()),
            ("target.cluster.bootstrap.servers", kafka.bootstrap()),
            ("replication.factor", "1"),
            ("offset-syncs.topic.replication.factor", "1"),
            ("heartbeats.replication.enabled", "false"),
            ("sync.topic.acls.enabled", "false"),
            ("sync.topic.configs.enabled", "false"),
            ("key.converter", bytes),
            ("value.converter", bytes),
            ("header.converter", bytes),
        ];
        told.iter().chain(&TUNED).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Watches the copy until it is complete; records a second, as seen from outside.
    pub(crate) async fn until_complete(&self, kafka: &Kafka, name: &str, records: u64, connect: &Connect) -> Result<f64> {
        let mut watch = Some(EndWatch { client: kafka.client().create()?, topic: self.topic(), partitions: Vec::new() });
        until_reached(name, records, connect, async || {
            let (back, copied) = watch.take().context("a look came back before")?.look(kafka).await?;
            watch = Some(back);
            Ok(copied)
        })
        .await
    }

    /// Compares the partitions' counts, and removes the copy.
    pub(crate) async fn verify_and_remove(&self, kafka: &Kafka) -> Result<()> {
        let (original, copy) = (kafka.end_offsets(&self.source).await?, kafka.end_offsets(&self.topic()).await?);
        ensure!(original == copy, "the copy's partitions hold {copy:?} records, the original's {original:?}");
        kafka.delete_topic(&self.topic()).await
    }
}

/// For whoever reads the figures.
pub(crate) fn print_tuning() {
    let settings = TUNED.map(|(key, value)| format!("{key}={value}"));
    println!("\nThe case mirror, on both sides: {}.", settings.join(", "));
}

/// Asks for the ends of a topic's partitions again and again over one connection.
struct EndWatch {
    client: BaseConsumer,
    topic: String,
    /// Empty until the topic is there.
    partitions: Vec<i32>,
}

impl EndWatch {
    async fn look(mut self, kafka: &Kafka) -> Result<(Self, u64)> {
        if self.partitions.is_empty() {
            if !kafka.has_topic(&self.topic).await? {
                return Ok((self, 0));
            }
            self.partitions = kafka.partitions(&self.topic).await.unwrap_or_default();
        }
        tokio::task::spawn_blocking(move || {
            let mut sum = 0;
            for partition in &self.partitions {
                // Right after a topic of that name was made anew, it may be asked for at the leader of the one before: not yet, then.
                let ends = self.client.fetch_watermarks(&self.topic, *partition, Duration::from_secs(20));
                let Ok((_, end)) = ends.inspect_err(|why| eprintln!("bench:   look at {}: {why}", self.topic)) else {
                    return Ok((self, 0));
                };
                sum += u64::try_from(end).context("an end is no negative number")?;
            }
            Ok((self, sum))
        })
        .await?
    }
}
