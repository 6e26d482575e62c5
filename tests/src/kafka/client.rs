//! What a test does with a broker: topics, records in, records out, offsets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::stream::{FuturesUnordered, StreamExt};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::Kafka;
use crate::wait::wait_until;

const REQUEST_LIMIT: Duration = Duration::from_secs(20);
const READ_LIMIT: Duration = Duration::from_secs(120);
const IN_FLIGHT_MAX: usize = 50_000;

/// A record to produce. `NewRecord::default()` is a tombstone without a key.
#[derive(Clone, Debug, Default)]
pub struct NewRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// `None`: the client's partitioner decides.
    pub partition: Option<i32>,
    /// `None`: now.
    pub timestamp_ms: Option<i64>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Message {
    /// The value as text; empty for a tombstone.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// The value as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(self.value.as_deref().unwrap_or_default()).with_context(|| format!("parse {:?}", self.text()))
    }

    /// The last header of this name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().rev().find(|(key, _)| key == name)?;
        value.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

impl Kafka {
    /// Creates a topic and waits until the broker leads all of it. One that exists is an error.
    pub async fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        self.create_topic_with(topic, partitions, &[]).await
    }

    pub async fn create_topic_with(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) -> Result<()> {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(self.replication()));
        for (key, value) in config {
            new = new.set(key, value);
        }
        let admin: AdminClient<_> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT));
        for result in admin.create_topics([&new], &options).await? {
            if let Err((topic, code)) = result {
                bail!("could not create topic {topic}: {code}");
            }
        }
        let ready = async || Ok(self.partitions(topic).await?.len() == usize::try_from(partitions)?);
        wait_until(&format!("topic {topic}"), REQUEST_LIMIT, ready).await
    }

    pub async fn delete_topic(&self, topic: &str) -> Result<()> {
        let admin: AdminClient<_> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT));
        for result in admin.delete_topics(&[topic], &options).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("could not delete topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// Produces values without keys, and waits until all are acknowledged.
    pub async fn produce_values(&self, topic: &str, values: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<()> {
        let records = values.into_iter().map(|value| NewRecord { value: Some(value.as_ref().to_vec()), ..NewRecord::default() });
        self.produce(topic, records).await
    }

    /// Produces records, and waits until all are acknowledged.
    pub async fn produce(&self, topic: &str, records: impl IntoIterator<Item = NewRecord>) -> Result<()> {
        self.produce_with(&[("linger.ms", "5")], topic, records).await
    }

    /// As [`Kafka::produce`], with settings of the producer (`compression.type`, ...).
    pub async fn produce_with(
        &self,
        settings: &[(&str, &str)],
        topic: &str,
        records: impl IntoIterator<Item = NewRecord>,
    ) -> Result<()> {
        let mut config = self.client();
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let producer: FutureProducer = config.create()?;
        let mut in_flight = FuturesUnordered::new();
        for record in records {
            in_flight.push(send(&producer, topic, record));
            // The producer's queue is as long: what is taken off it here has been delivered.
            while in_flight.len() >= IN_FLIGHT_MAX {
                in_flight.next().await.transpose()?;
            }
            // Futures do nothing before they are polled: this one now enters the producer's queue.
            if let Some(Some(done)) = futures::FutureExt::now_or_never(in_flight.next()) {
                done?;
            }
        }
        while let Some(done) = in_flight.next().await {
            done?;
        }
        Ok(())
    }

    /// Reads a topic from its beginning to its present end, committed records only, in order of partition and offset.
    pub async fn read(&self, topic: &str) -> Result<Vec<Message>> {
        let mut config = self.client();
        config
            .set("group.id", "penstock-tests-read")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create()?;
        let partitions = self.partitions(topic).await?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || read_to_end(&consumer, &topic, &partitions)).await?
    }

    /// The numbers of a topic's partitions; an error if there is no such topic or it has no leader yet.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<i32>> {
        let client: BaseConsumer = self.client().create()?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || {
            let metadata = client.fetch_metadata(Some(&topic), REQUEST_LIMIT)?;
            let known = metadata.topics().iter().find(|known| known.name() == topic).context("hear of the topic")?;
            if let Some(error) = known.error() {
                bail!("topic {topic}: {}", RDKafkaErrorCode::from(error));
            }
            if known.partitions().iter().any(|partition| partition.leader() < 0) {
                bail!("topic {topic} has no leader yet");
            }
            Ok(known.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
        })
        .await?
    }

    /// Whether there is such a topic.
    pub async fn has_topic(&self, topic: &str) -> Result<bool> {
        let client: BaseConsumer = self.client().create()?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || {
            let metadata = client.fetch_metadata(None, REQUEST_LIMIT)?;
            Ok(metadata.topics().iter().any(|known| known.name() == topic))
        })
        .await?
    }

    /// The end offset of each partition: how many records were ever produced to it, transaction marks and what is not committed
    /// included.
    pub async fn end_offsets(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let client: BaseConsumer = self.client().set("isolation.level", "read_uncommitted").create()?;
        let partitions = self.partitions(topic).await?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || {
            let end = |partition| Ok((partition, client.fetch_watermarks(&topic, partition, REQUEST_LIMIT)?.1));
            partitions.into_iter().map(end).collect()
        })
        .await?
    }

    /// What a group has committed for each partition of a topic; a partition without a commit is absent.
    pub async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let client: BaseConsumer = self.client().set("group.id", group).create()?;
        let mut wanted = TopicPartitionList::new();
        for partition in self.partitions(topic).await? {
            wanted.add_partition(topic, partition);
        }
        tokio::task::spawn_blocking(move || {
            let committed = client.committed_offsets(wanted, REQUEST_LIMIT)?;
            let offset = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            };
            Ok(committed.elements().into_iter().filter_map(offset).collect())
        })
        .await?
    }

    /// How many records a group still has to commit in a topic.
    pub async fn lag(&self, group: &str, topic: &str) -> Result<i64> {
        let committed = self.committed(group, topic).await?;
        let ends = self.end_offsets(topic).await?;
        Ok(ends.iter().map(|(partition, end)| end - committed.get(partition).copied().unwrap_or(0)).sum())
    }
}

async fn send(producer: &FutureProducer, topic: &str, record: NewRecord) -> Result<()> {
    let mut headers = OwnedHeaders::new();
    for (key, value) in &record.headers {
        headers = headers.insert(Header { key, value: value.as_deref() });
    }
    let mut new = FutureRecord::<[u8], [u8]>::to(topic).headers(headers);
    new.key = record.key.as_deref();
    new.payload = record.value.as_deref();
    new.partition = record.partition;
    new.timestamp = record.timestamp_ms;
    producer.send(new, REQUEST_LIMIT).await.map(|_| ()).map_err(|(error, _)| error).with_context(|| format!("produce to {topic}"))
}

/// Up to where the topic ends now: the consumer's own sign of the end never comes while somebody goes on writing.
fn read_to_end(consumer: &BaseConsumer, topic: &str, partitions: &[i32]) -> Result<Vec<Message>> {
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in partitions {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
        ends.insert(*partition, consumer.fetch_watermarks(topic, *partition, REQUEST_LIMIT)?.1);
    }
    consumer.assign(&assignment)?;
    let began = Instant::now();
    let mut messages = Vec::new();
    while !ends.is_empty() {
        if began.elapsed() > READ_LIMIT {
            bail!("could not read {topic} to its end within {READ_LIMIT:?}");
        }
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                    ends.remove(&message.partition());
                }
                messages.push(owned(&message));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ends.remove(&partition)),
            Some(Err(error)) => return Err(error).with_context(|| format!("read {topic}")),
            None => {}
        }
    }
    messages.sort_by_key(|message| (message.partition, message.offset));
    Ok(messages)
}

fn owned(message: &rdkafka::message::BorrowedMessage<'_>) -> Message {
    let header = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    Message {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(|headers| headers.iter().map(header).collect()).unwrap_or_default(),
    }
}
