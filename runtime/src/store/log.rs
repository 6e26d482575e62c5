//! A compacted topic as a log: read to its end, append, follow.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use futures::future::join_all;
use penstock_api::{Error, ErrorKind, Result};
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::event::Record;
use super::topic::{self, TopicSpec};

/// How clients for the internal topics are made: connection and security are set, the rest is set here.
#[derive(Clone)]
pub struct Clients {
    pub consumer: ClientConfig,
    pub producer: ClientConfig,
    pub admin: ClientConfig,
    /// The worker's `group.id`.
    pub group: String,
}

/// An append that takes longer has failed, though the records may still get in. Java's `READ_WRITE_TOTAL_TIMEOUT_MS`.
const APPEND_TIMEOUT_MS: u32 = 30_000;
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Appends to the internal topics. One for all of a worker; cheap to clone.
#[derive(Clone)]
pub struct Log {
    producer: FutureProducer,
}

/// Where an appended record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// One topic from its beginning, for ever.
pub struct Reader {
    topic: String,
    consumer: StreamConsumer,
    /// Partitions whose end was not seen yet.
    unread: BTreeSet<i32>,
    end_told: bool,
}

/// What a [`Reader`] comes upon.
#[derive(Debug)]
pub enum Read {
    Record {
        at: Position,
        key: String,
        value: Option<Vec<u8>>,
    },
    /// All that was in the topic when it was opened has been read; comes once.
    End,
}

impl Clients {
    /// Where the brokers are, for messages.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        self.admin.get("bootstrap.servers").unwrap_or_default()
    }

    /// Makes the topics or checks them, waiting for the broker as long as it takes. Says in the log what it waits for.
    ///
    /// # Errors
    /// `Config` when a topic is not fit; a person must act.
    pub async fn ensure_topics(&self, topics: &[&TopicSpec]) -> Result<()> {
        let mut wait = RETRY_MIN;
        loop {
            match self.try_ensure_topics(topics).await {
                Err(error) if error.kind() == ErrorKind::Retriable => {
                    tracing::warn!(
                        "cannot reach Kafka at bootstrap.servers={} ({error:#}); trying again in {} s",
                        self.bootstrap_servers(),
                        wait.as_secs()
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
                ended => return ended,
            }
        }
    }

    async fn try_ensure_topics(&self, topics: &[&TopicSpec]) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.admin.create().map_err(cannot("make an admin client"))?;
        for topic in topics {
            topic::ensure(&admin, topic).await?;
        }
        Ok(())
    }

    /// Opens what appends.
    ///
    /// # Errors
    /// `Config` when the client settings are wrong.
    pub fn log(&self) -> Result<Log> {
        let mut settings = self.producer.clone();
        settings.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "0");
        settings.set("message.timeout.ms", APPEND_TIMEOUT_MS.to_string());
        // As Java, so that a key stays in its partition whoever writes it.
        settings.set("partitioner", "murmur2_random");
        Ok(Log { producer: settings.create().map_err(cannot("make a producer for the internal topics"))? })
    }

    /// Opens a topic that exists, from its beginning.
    ///
    /// # Errors
    /// `Config` when the client settings are wrong, `Retriable` when the broker cannot be asked for the partitions.
    pub async fn reader(&self, topic: &str) -> Result<Reader> {
        let mut settings = self.consumer.clone();
        // No group is joined: librdkafka only wants one to be named.
        settings.set("group.id", &self.group).set("enable.auto.commit", "false");
        settings.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
        let consumer: StreamConsumer = settings.create().map_err(cannot("make a consumer for the internal topics"))?;
        let read = tokio::task::block_in_place(|| consumer.fetch_metadata(Some(topic), Duration::from_secs(10)));
        let metadata = read.map_err(|e| Error::retriable(format!("describe topic {topic}: {e}")))?;
        let partitions: BTreeSet<i32> = metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
        if partitions.is_empty() {
            return Err(Error::retriable(format!("describe topic {topic}: it has no partitions yet")));
        }
        let mut from = TopicPartitionList::with_capacity(partitions.len());
        for partition in &partitions {
            from.add_partition_offset(topic, *partition, Offset::Beginning).map_err(cannot("read a partition"))?;
        }
        consumer.assign(&from).map_err(cannot("read the internal topics"))?;
        Ok(Reader { topic: topic.to_owned(), consumer, unread: partitions, end_told: false })
    }
}

fn cannot(what: &'static str) -> impl Fn(KafkaError) -> Error {
    move |error| Error::config(format!("{what}: {error}"))
}

impl Log {
    /// Appends records in this order; answers when all are acknowledged by all in-sync replicas.
    ///
    /// # Errors
    /// `Retriable` when one of them was not acknowledged in time; it and the others may be there nevertheless.
    pub async fn append(&self, topic: &str, records: &[Record]) -> Result<Vec<Position>> {
        let failed =
            |record: &Record, error: KafkaError| Error::retriable(format!("append {} to topic {topic}: {error}", record.key));
        let mut sent = Vec::with_capacity(records.len());
        for record in records {
            let key = Some(record.key.as_bytes());
            let out =
                FutureRecord { topic, partition: None, payload: record.value.as_deref(), key, timestamp: None, headers: None };
            sent.push(self.producer.send_result(out).map_err(|(error, _)| failed(record, error))?);
        }
        let mut positions = Vec::with_capacity(records.len());
        for (delivery, record) in join_all(sent).await.into_iter().zip(records) {
            let delivery = delivery.map_err(|_| Error::fatal("the producer for the internal topics is gone"))?;
            let delivery = delivery.map_err(|(error, _)| failed(record, error))?;
            positions.push(Position { partition: delivery.partition, offset: delivery.offset });
        }
        Ok(positions)
    }

    /// Ends: what is under way gets `within` to be acknowledged.
    pub async fn close(self, within: Duration) {
        let flushed = tokio::task::spawn_blocking(move || self.producer.flush(within)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!("the last records for the internal topics were not acknowledged: {error}");
        }
    }
}

impl Reader {
    /// The next record, waiting for it. Broken connections are waited out.
    ///
    /// A record whose key is not text is logged and skipped. May be dropped while waiting.
    pub async fn next(&mut self) -> Read {
        loop {
            if self.unread.is_empty() && !self.end_told {
                self.end_told = true;
                return Read::End;
            }
            match self.consumer.recv().await {
                Ok(message) => {
                    let at = Position { partition: message.partition(), offset: message.offset() };
                    match message.key().map(std::str::from_utf8) {
                        Some(Ok(key)) => {
                            return Read::Record { at, key: key.to_owned(), value: message.payload().map(<[u8]>::to_vec) };
                        }
                        _ => tracing::error!(topic = %self.topic, %at, "skipped a record without a readable key"),
                    }
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    self.unread.remove(&partition);
                }
                Err(error) => {
                    tracing::warn!(topic = %self.topic, "reading an internal topic: {error}; trying again");
                    tokio::time::sleep(RETRY_MIN).await;
                }
            }
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}
