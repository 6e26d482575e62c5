//! Reads the first partition of one of MirrorMaker's own topics, and knows when it has read all of it.

use penstock_api::{Props, RawRecord, Result, TopicPartition};
use penstock_kafka_clients::{Consumer, Polled, settings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct TopicReader {
    consumer: Consumer,
    partition: TopicPartition,
}

impl TopicReader {
    /// From its beginning.
    ///
    /// # Errors
    /// `Config`, when no such consumer can be made.
    pub(crate) fn new(who: &str, topic: &str, client: &Props) -> Result<Self> {
        let mut client = client.clone();
        for (key, value) in [("auto.offset.reset", "earliest"), ("librdkafka.enable.partition.eof", "true")] {
            client.insert(key.into(), value.into());
        }
        // It is no member of a group and commits nothing; librdkafka asks for a name all the same.
        client.insert("group.id".into(), format!("penstock-{topic}"));
        let partition = TopicPartition { topic: topic.into(), partition: 0 };
        let starts = BTreeMap::from([(partition.clone(), None)]);
        let consumer = Consumer::of_partitions(settings::consumer(&format!("{topic} of {who}"), &client)?, &starts)?;
        Ok(Self { consumer, partition })
    }

    /// What has come since; waits a while for something, and not at all for more once all was read. May be dropped while waiting.
    ///
    /// # Errors
    /// `Config` or `Fatal`: it may not be read.
    pub(crate) async fn read(&mut self, wait: Duration) -> Result<Vec<RawRecord>> {
        match self.consumer.poll(wait).await? {
            Polled::Records(records) => Ok(Arc::unwrap_or_clone(records)),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether all that was there has been given.
    pub(crate) fn is_at_end(&self) -> bool {
        self.consumer.is_at_end(&self.partition)
    }
}
