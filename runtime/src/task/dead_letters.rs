//! Sends dead letters, and knows when all are acknowledged.

use penstock_api::{Error, Result, TaskId};
use std::collections::VecDeque;
use std::sync::Arc;

use super::errors::DeadLetter;
use crate::config::ConnectorConfig;
use crate::kafka::admin::{Admin, NewTopic};
use crate::kafka::producer::{Ack, Outgoing, Producer};
use crate::kafka::settings;

/// Letters under way at most; then sending waits for the oldest.
const UNACKNOWLEDGED_MAX: usize = 10_000;

/// The dead-letter topic of one task.
pub struct DeadLetterSender {
    topic: Arc<str>,
    producer: Producer,
    unacknowledged: VecDeque<Ack>,
}

impl DeadLetterSender {
    /// Creates the topic if it is not there; `None` when the connector has none.
    ///
    /// # Errors
    /// What keeps the topic from being created, naming the key.
    pub async fn start(config: &ConnectorConfig, task: &TaskId) -> Result<Option<Self>> {
        let Some(to) = &config.errors.dead_letters else { return Ok(None) };
        let who = format!("dead letters of task {task}");
        let topic = NewTopic {
            name: to.topic.clone(),
            partitions: 1,
            replication_factor: to.replication_factor,
            configs: std::collections::BTreeMap::new(),
        };
        let admin = Admin::new(settings::admin(&who, &config.admin)?)?;
        admin.create_topic(&topic).await.map_err(|e| {
            e.context(format!(
                "create errors.deadletterqueue.topic.name={} with errors.deadletterqueue.topic.replication.factor={}",
                to.topic, to.replication_factor
            ))
        })?;
        let producer = Producer::new(settings::producer(&who, &config.producer)?)?;
        Ok(Some(Self { topic: to.topic.as_str().into(), producer, unacknowledged: VecDeque::new() }))
    }

    /// Sends a letter off. It is safe only after [`flush`](Self::flush).
    ///
    /// # Errors
    /// `Fatal` when Kafka refuses this letter or one before it: going on would lose it.
    pub async fn send(&mut self, letter: DeadLetter) -> Result<()> {
        if self.unacknowledged.len() >= UNACKNOWLEDGED_MAX {
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
        let ack = self.producer.send(&record).await.map_err(|e| self.refused(e))?;
        self.unacknowledged.push_back(ack);
        Ok(())
    }

    /// Waits until every letter sent is acknowledged.
    ///
    /// # Errors
    /// `Fatal` when Kafka refused one.
    pub async fn flush(&mut self) -> Result<()> {
        while !self.unacknowledged.is_empty() {
            self.await_oldest().await?;
        }
        Ok(())
    }

    async fn await_oldest(&mut self) -> Result<()> {
        let Some(ack) = self.unacknowledged.pop_front() else { return Ok(()) };
        ack.await.map_err(|e| self.refused(e))?;
        Ok(())
    }

    fn refused(&self, error: Error) -> Error {
        Error::fatal(format!(
            "a dead letter could not be written to topic {}: the task stops rather than lose it. Check the topic and the broker, then restart the task",
            self.topic
        ))
        .with_source(error)
    }
}
