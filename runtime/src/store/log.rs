//! A compacted topic as a log: read to its end, append, follow.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use penstock_api::{Error, ErrorKind, Props, Result};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::event::Record;
use super::memory::{Memory, MemoryReader};
use super::offset_file::OffsetFile;
use super::topic::{self, TopicSpec};
use crate::config::WorkerConfig;
use crate::kafka::{Admin, End, Outgoing, Producer, settings};

/// Makes the worker's own clients, by the connection settings of the worker file.
#[derive(Clone)]
pub struct Clients {
    common: Props,
    /// Where the internal topics of a standalone worker are.
    pub(super) memory: Option<Memory>,
    /// Where it keeps the offsets of sources beyond its end.
    offset_file: Option<OffsetFile>,
    /// The worker's `group.id`.
    pub group: Arc<str>,
}

/// An append that takes longer has failed, though the records may still get in. Java's `READ_WRITE_TOTAL_TIMEOUT_MS`.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How soon it is looked again whether transactions have ended, and after which time people are told.
const SETTLE_STEP: Duration = Duration::from_millis(50);
const SETTLE_TELL: Duration = Duration::from_secs(5);
/// Beyond the `transaction.timeout.ms` of source tasks and the time that brokers take to notice.
const SETTLE_TELL_AGAIN: Duration = Duration::from_secs(75);
const LEADERS_TIMEOUT: Duration = Duration::from_secs(5);
const ENDS_TIMEOUT: Duration = LEADERS_TIMEOUT;
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Appends to the internal topics. One for all of a worker; cheap to clone.
#[derive(Clone)]
pub struct Log {
    target: Target,
}

#[derive(Clone)]
enum Target {
    Kafka(Producer),
    Memory(Memory, Option<OffsetFile>),
}

/// Where an appended record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// One topic from its beginning, for ever.
pub struct Reader {
    source: Source,
    end_told: bool,
}

enum Source {
    Kafka(TopicReader),
    Memory(MemoryReader),
}

struct TopicReader {
    topic: String,
    consumer: StreamConsumer,
    /// Partitions of which not all was seen yet that was there when reading began: where they ended then.
    unread: BTreeMap<i32, i64>,
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
    /// The clients of this worker.
    #[must_use]
    pub fn new(worker: &WorkerConfig) -> Self {
        let memory = worker.standalone.as_ref().map(|_| Memory::default());
        let file = worker.standalone.as_ref().map(|own| OffsetFile::new(&own.offset_file, &worker.offset_topic.name));
        Self { common: worker.clients.common.clone(), memory, offset_file: file, group: worker.group_id.clone() }
    }

    /// The same with a connector's settings: where its offsets are kept in a topic of its own.
    #[must_use]
    pub fn of_connector(&self, settings: Props) -> Self {
        Self { common: settings, ..self.clone() }
    }

    /// Whether the internal topics are this worker's alone: then it is no member of a group, either.
    #[must_use]
    pub fn is_standalone(&self) -> bool {
        self.memory.is_some()
    }

    /// Where the brokers are, for messages.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        self.common.get("bootstrap.servers").map_or("localhost:9092", String::as_str)
    }

    /// Settings of the worker's own consumers: by Java's names what the worker file says, then `own`.
    ///
    /// # Errors
    /// `Config`, naming the key.
    pub fn consumer(&self, who: &str, own: &[(&str, &str)]) -> Result<rdkafka::ClientConfig> {
        let mut props = self.with(own);
        props.insert("group.id".into(), self.group.to_string());
        Ok(settings::consumer(who, &props)?.librdkafka().clone())
    }

    /// An admin client.
    ///
    /// # Errors
    /// `Config`, naming the key.
    pub fn admin(&self) -> Result<Admin> {
        Admin::new(settings::admin("the worker", &self.common)?)
    }

    /// Makes the topics or checks them, waiting for the broker as long as it takes. Says in the log what it waits for.
    ///
    /// # Errors
    /// `Config` when a topic is not fit; a person must act.
    pub async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<()> {
        if let (Some(memory), Some(file)) = (&self.memory, &self.offset_file) {
            let is_wanted = topics.iter().any(|topic| file.is_of(&topic.topic.name));
            return if is_wanted { file.load(memory) } else { Ok(()) };
        }
        let admin = self.admin()?;
        let mut wait = RETRY_MIN;
        for topic in topics {
            while let Err(error) = topic::ensure(&admin, topic).await {
                self.unreached(error, &mut wait).await?;
            }
        }
        Ok(())
    }

    /// Opens what appends.
    ///
    /// # Errors
    /// `Config` when the client settings are wrong.
    pub fn log(&self) -> Result<Log> {
        if let Some(memory) = &self.memory {
            return Ok(Log { target: Target::Memory(memory.clone(), self.offset_file.clone()) });
        }
        let timeout_ms = APPEND_TIMEOUT.as_millis().to_string();
        let own = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("linger.ms", "0"),
            ("delivery.timeout.ms", timeout_ms.as_str()),
            ("request.timeout.ms", "10000"),
        ];
        let producer = Producer::new(settings::producer("the internal topics", &self.with(&own))?)?;
        Ok(Log { target: Target::Kafka(producer) })
    }

    /// Opens a topic that exists, from its beginning, waiting for the broker.
    ///
    /// # Errors
    /// `Config` when the client settings are wrong.
    pub async fn reader(&self, topic: &str) -> Result<Reader> {
        if let Some(memory) = &self.memory {
            return Ok(Reader { source: Source::Memory(memory.reader(topic)), end_told: false });
        }
        let admin = self.admin()?;
        let mut wait = RETRY_MIN;
        let partitions = loop {
            let missing = || Error::retriable(format!("the topic {topic} is not there yet"));
            match admin.partitions(topic).await.and_then(|found| found.ok_or_else(missing)) {
                Ok(partitions) => break partitions,
                Err(error) => self.unreached(error, &mut wait).await?,
            }
        };
        // No group is joined, for nothing is subscribed to or committed.
        let mut settings = self.consumer("the internal topics", &[])?;
        settings.set("enable.auto.commit", "false");
        settings.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
        // What a leader could not finish was never said.
        settings.set("isolation.level", "read_committed");
        let consumer: StreamConsumer = settings.create().map_err(cannot("make a consumer for the internal topics"))?;
        let ends = tokio::time::timeout(ENDS_TIMEOUT, admin.topic_ends(topic, End::Settled));
        let (consumer, ends) = tokio::join!(knowing_leaders(consumer, topic), ends);
        let ends = ends.unwrap_or_else(|_| Err(Error::retriable("brokers do not answer")));
        let (consumer, unread) = (consumer?, unread(topic, partitions, ends));
        let mut from = TopicPartitionList::with_capacity(partitions.max(0) as usize);
        for partition in 0..partitions {
            from.add_partition_offset(topic, partition, Offset::Beginning).map_err(cannot("read a partition"))?;
        }
        consumer.assign(&from).map_err(cannot("read the internal topics"))?;
        Ok(Reader { source: Source::Kafka(TopicReader { topic: topic.to_owned(), consumer, unread }), end_told: false })
    }

    /// Waits until every record that is in a topic now is either committed or aborted: a reader does not see what lies behind the first
    /// that is neither, though it be committed. Brokers end what nobody ends within its `transaction.timeout.ms`.
    ///
    /// # Errors
    /// `Config` when the client settings are wrong.
    pub async fn until_settled(&self, topic: &str) -> Result<()> {
        if self.is_standalone() {
            return Ok(());
        }
        let admin = self.admin()?;
        let mut wait = RETRY_MIN;
        let wanted = loop {
            match admin.topic_ends(topic, End::Written).await {
                Ok(wanted) => break wanted,
                Err(error) => self.unreached(error, &mut wait).await?,
            }
        };
        let began = Instant::now();
        let (mut told, mut told_again) = (false, false);
        loop {
            let seen = match admin.topic_ends(topic, End::Settled).await {
                Ok(seen) => seen,
                Err(error) => {
                    self.unreached(error, &mut wait).await?;
                    continue;
                }
            };
            let is_open = |(partition, end): &(&i32, &i64)| seen.get(*partition).is_none_or(|seen| seen < *end);
            let open: Vec<i32> = wanted.iter().filter(is_open).map(|(partition, _)| *partition).collect();
            if open.is_empty() {
                return Ok(());
            }
            if began.elapsed() >= SETTLE_TELL && !std::mem::replace(&mut told, true) {
                tracing::warn!(topic, partitions = ?open, "a transaction is open; waiting until it is committed or aborted");
            }
            if began.elapsed() >= SETTLE_TELL_AGAIN && !std::mem::replace(&mut told_again, true) {
                tracing::error!(
                    topic, partitions = ?open,
                    "a transaction has been open for longer than transaction.timeout.ms lets brokers leave it: it hangs, and no source task \
                     of this topic starts before it has ended. kafka-transactions.sh find-hanging shows it, and its abort ends it (KIP-664)"
                );
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
    }

    /// Says what is waited for, and waits before the next attempt; passes on what waiting does not mend.
    async fn unreached(&self, error: Error, wait: &mut Duration) -> Result<()> {
        if error.kind() != ErrorKind::Retriable {
            return Err(error);
        }
        let (servers, seconds) = (self.bootstrap_servers(), wait.as_secs());
        tracing::warn!("cannot reach Kafka at bootstrap.servers={servers} ({error:#}); trying again in {seconds} s");
        tokio::time::sleep(*wait).await;
        *wait = (*wait * 2).min(RETRY_MAX);
        Ok(())
    }

    pub(super) fn with(&self, own: &[(&str, &str)]) -> Props {
        let mut props = self.common.clone();
        props.extend(own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        props
    }
}

/// What is to be read of each partition before all of them have been, by where they end now. The consumer's own sign of the end is not
/// enough: of a partition that somebody writes to every half second it gives none, and where all are empty it comes after half a second.
fn unread(topic: &str, partitions: i32, ends: Result<BTreeMap<i32, i64>>) -> BTreeMap<i32, i64> {
    let ends = ends.unwrap_or_else(|error| {
        // Then only that sign counts.
        tracing::debug!(%topic, "where the partitions end is not known yet: {error:#}");
        BTreeMap::new()
    });
    let end_of = |partition| (partition, ends.get(&partition).copied().unwrap_or(i64::MAX));
    (0..partitions).map(end_of).filter(|(_, end)| *end > 0).collect()
}

/// Lets a consumer ask for the topic's leaders now, which left to itself it does with its next look around, a second later.
async fn knowing_leaders(consumer: StreamConsumer, topic: &str) -> Result<StreamConsumer> {
    let name = topic.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        if let Err(error) = consumer.fetch_metadata(Some(&name), LEADERS_TIMEOUT) {
            tracing::debug!(topic = name, "the leaders are not known yet: {error}");
        }
        consumer
    });
    asked.await.map_err(|panicked| Error::fatal("ask for the leaders of a topic").with_source(panicked))
}

fn cannot(what: &'static str) -> impl Fn(KafkaError) -> Error {
    move |error| Error::config(what).with_source(error)
}

impl Log {
    /// Appends records in this order; answers when all are acknowledged by all in-sync replicas.
    ///
    /// # Errors
    /// `Retriable` when one of them was not acknowledged within 30 s; it and the others may be there nevertheless.
    pub async fn append(&self, topic: &str, records: Vec<Record>) -> Result<Vec<Position>> {
        let producer = match &self.target {
            Target::Kafka(producer) => producer,
            Target::Memory(memory, file) => return append_to_memory(memory, file.as_ref(), topic, records).await,
        };
        let topic: Arc<str> = topic.into();
        let outgoing = |record: Record| Outgoing {
            topic: topic.clone(),
            partition: None,
            key: Some(Bytes::from(record.key)),
            value: record.value.map(Bytes::from),
            headers: Vec::new(),
            timestamp: None,
        };
        let records: Vec<_> = records.into_iter().map(outgoing).collect();
        let placed = producer.send_all(&records).await.into_iter();
        placed.map(|ack| ack.map(|at| Position { partition: at.partition, offset: at.offset })).collect()
    }

    /// Ends: what is under way gets `within` to be acknowledged.
    pub async fn close(self, within: Duration) {
        let Target::Kafka(producer) = self.target else { return };
        if let Err(error) = producer.flush(within).await {
            tracing::warn!("the last records for the internal topics were not acknowledged: {error:#}");
        }
    }
}

/// Offsets of sources are stored when they are in the file.
async fn append_to_memory(
    memory: &Memory,
    file: Option<&OffsetFile>,
    topic: &str,
    records: Vec<Record>,
) -> Result<Vec<Position>> {
    let positions = memory.append(topic, records);
    if let Some(file) = file.filter(|file| file.is_of(topic)) {
        let (file, memory) = (file.clone(), memory.clone());
        let saved = tokio::task::spawn_blocking(move || file.save(&memory)).await;
        saved.map_err(|panicked| Error::fatal("write offsets of sources").with_source(panicked))??;
    }
    Ok(positions)
}

impl Reader {
    /// The next record, waiting for it. Broken connections are waited out.
    ///
    /// A record whose key is not text is logged and skipped. May be dropped while waiting.
    pub async fn next(&mut self) -> Read {
        if self.source.is_at_end() && !self.end_told {
            self.end_told = true;
            return Read::End;
        }
        match &mut self.source {
            Source::Memory(reader) => reader.next().await,
            Source::Kafka(reader) => loop {
                if let Some(read) = reader.next().await {
                    return read;
                }
                if reader.unread.is_empty() && !self.end_told {
                    self.end_told = true;
                    return Read::End;
                }
            },
        }
    }
}

impl Source {
    fn is_at_end(&self) -> bool {
        match self {
            Source::Kafka(reader) => reader.unread.is_empty(),
            Source::Memory(reader) => reader.is_at_end(),
        }
    }
}

impl TopicReader {
    /// The next record; `None` when something else happened.
    async fn next(&mut self) -> Option<Read> {
        match self.consumer.recv().await {
            Ok(message) => {
                let at = Position { partition: message.partition(), offset: message.offset() };
                if self.unread.get(&at.partition).is_some_and(|end| at.offset + 1 >= *end) {
                    self.unread.remove(&at.partition);
                }
                match message.key().map(std::str::from_utf8) {
                    Some(Ok(key)) => {
                        return Some(Read::Record { at, key: key.to_owned(), value: message.payload().map(<[u8]>::to_vec) });
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
        None
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_partitions_are_read_before_anything_came_and_unknown_ones_when_their_end_is_seen() {
        let ends = BTreeMap::from([(0, 0), (1, 7)]);
        assert_eq!(unread("offsets", 3, Ok(ends)), BTreeMap::from([(1, 7), (2, i64::MAX)]));
        assert_eq!(unread("offsets", 1, Err(Error::retriable("away"))), BTreeMap::from([(0, i64::MAX)]));
    }
}
