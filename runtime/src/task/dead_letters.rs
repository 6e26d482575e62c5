//! Sends dead letters: each record gets one, and knows when all are acknowledged.
//!
//! A letter is written before anything behind its record can become durable, and remembered until its offset is committed
//! (`decisions/0040-dead-letters-once.md`).

use penstock_api::{Error, ErrorKind, Offsets, RawRecord, Result, TaskId, TopicPartition};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::errors::DeadLetter;
use super::letters::Letters;
use crate::config::ConnectorConfig;
use crate::kafka::admin::{Admin, NewTopic};
use crate::kafka::consumer::Notes;
use crate::kafka::producer::{Ack, Outgoing, Producer};
use crate::kafka::settings;
use crate::metrics::TaskMetrics;

/// Letters under way at most; then sending waits for the oldest.
const UNACKNOWLEDGED_MAX: usize = 10_000;

/// The dead-letter topic of one task.
pub struct DeadLetterSender {
    topic: Arc<str>,
    producer: Producer,
    unacknowledged: VecDeque<Ack>,
    /// Of records that may be read again.
    written: Letters,
    /// Letters were written since the last commit.
    has_news: bool,
    /// The broker takes notes of the length that we write.
    takes_notes: bool,
    metrics: Arc<TaskMetrics>,
}

impl DeadLetterSender {
    /// Creates the topic if it is not there; `None` when the connector has none.
    ///
    /// # Errors
    /// What keeps the topic from being created, naming the key.
    pub async fn start(config: &ConnectorConfig, task: &TaskId, metrics: Arc<TaskMetrics>) -> Result<Option<Self>> {
        let Some(to) = &config.errors.dead_letters else { return Ok(None) };
        let who = format!("dead letters of task {task}");
        let topic = NewTopic {
            name: to.topic.clone(),
            partitions: 1,
            replication_factor: to.replication_factor,
            configs: BTreeMap::new(),
        };
        let admin = Admin::new(settings::admin(&who, &config.admin)?)?;
        admin.create_topic(&topic).await.map_err(|e| {
            e.context(format!(
                "create errors.deadletterqueue.topic.name={} with errors.deadletterqueue.topic.replication.factor={}",
                to.topic, to.replication_factor
            ))
        })?;
        Ok(Some(Self {
            topic: to.topic.as_str().into(),
            producer: Producer::new(settings::producer(&who, &config.producer)?)?,
            unacknowledged: VecDeque::new(),
            written: Letters::default(),
            has_news: false,
            takes_notes: true,
            metrics,
        }))
    }

    /// Whether the record has its letter already: it was read before, by this task or by another one.
    #[must_use]
    pub fn has(&self, raw: &RawRecord) -> bool {
        !self.written.is_empty() && self.written.contains(&raw.topic, raw.partition, raw.offset)
    }

    /// Sends the letter of a record off. It is safe only after [`acknowledged`](Self::acknowledged).
    ///
    /// # Errors
    /// `Fatal` when Kafka refuses this letter or one before it: going on would lose it.
    pub async fn send(&mut self, raw: &RawRecord, letter: DeadLetter) -> Result<()> {
        self.post(letter).await?;
        self.written.insert(TopicPartition { topic: raw.topic.clone(), partition: raw.partition }, raw.offset);
        self.has_news = true;
        Ok(())
    }

    /// The same for the record of a source, of which nothing is remembered: read again, it gets another letter.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn post(&mut self, letter: DeadLetter) -> Result<()> {
        while self.unacknowledged.len() >= UNACKNOWLEDGED_MAX {
            self.await_oldest().await?;
        }
        let record = Outgoing {
            topic: self.topic.clone(),
            partition: None,
            key: letter.key,
            value: letter.value,
            headers: letter.headers,
            timestamp: letter.timestamp,
        };
        let sent = self.producer.send(&record).await;
        self.metrics.dead_letters.add(1);
        self.unacknowledged.push_back(sent.map_err(|e| self.refused(e))?);
        Ok(())
    }

    /// Waits until every letter sent is acknowledged; `false` when that takes longer than `within`.
    ///
    /// # Errors
    /// `Fatal` when Kafka refused one.
    pub async fn acknowledged(&mut self, within: Duration) -> Result<bool> {
        if self.unacknowledged.is_empty() {
            return Ok(true);
        }
        match tokio::time::timeout(within, self.flush()).await {
            Ok(outcome) => outcome.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Waits until every letter sent is acknowledged, however long that takes.
    ///
    /// # Errors
    /// `Fatal` when Kafka refused one.
    pub async fn flush(&mut self) -> Result<()> {
        while !self.unacknowledged.is_empty() {
            self.await_oldest().await?;
        }
        Ok(())
    }

    /// Whether letters were written that no committed note tells of.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.has_news && self.takes_notes
    }

    /// The notes of what is read again when reading begins at these offsets.
    #[must_use]
    pub fn notes(&self, begins: &Offsets) -> Notes {
        if !self.takes_notes {
            return Notes::new();
        }
        let note = |(partition, offset): (&TopicPartition, &i64)| (partition.clone(), self.written.note(partition, *offset));
        begins.iter().map(note).filter(|(_, note)| !note.is_empty()).collect()
    }

    /// The notes were committed; what lies before these offsets is not read again. `all`: the notes of all open partitions.
    pub fn noted(&mut self, begins: &Offsets, all: bool) {
        begins.iter().for_each(|(partition, offset)| self.written.forget_below(partition, *offset));
        self.has_news &= !all;
    }

    /// Takes in what was noted by whoever had the partitions before.
    pub fn read_notes(&mut self, notes: &Notes) {
        notes.iter().for_each(|(partition, note)| self.written.read_note(partition, note));
    }

    /// The broker refused a commit because of its notes: from now on there are none.
    pub fn write_no_notes(&mut self) {
        self.takes_notes = false;
    }

    /// A partition has left.
    pub fn forget(&mut self, partition: &TopicPartition) {
        self.written.forget(partition);
    }

    /// The acknowledgement is waited for where it stands, so that one that was not waited for to the end is not forgotten.
    async fn await_oldest(&mut self) -> Result<()> {
        let Some(ack) = self.unacknowledged.front_mut() else { return Ok(()) };
        let outcome = ack.await;
        self.unacknowledged.pop_front();
        outcome.map(|_| ()).map_err(|e| self.refused(e))
    }

    fn refused(&self, error: Error) -> Error {
        self.metrics.dead_letter_failures.add(1);
        let what_to_do = if error.kind() == ErrorKind::Data {
            "raise max.message.bytes of that topic and producer.override.max.request.size of the connector"
        } else {
            "check the topic and the broker"
        };
        Error::fatal(format!(
            "a dead letter could not be written to topic {}: the task stops rather than lose it. To go on {what_to_do}, then restart \
             the task",
            self.topic
        ))
        .with_source(error)
    }
}

/// How long one turn of a task waits for dead letters to be acknowledged.
pub const LETTERS_WAIT: Duration = Duration::from_secs(1);

/// Whether all letters so far are acknowledged, if any are written at all; waits a turn for it.
///
/// # Errors
/// `Fatal` when Kafka refused one.
pub async fn are_safe(letters: &mut Option<DeadLetterSender>) -> Result<bool> {
    match letters {
        Some(sender) => sender.acknowledged(LETTERS_WAIT).await,
        None => Ok(true),
    }
}
