//! How far a connector is, as others see it. Changing that is `rewind`'s.

use std::sync::Arc;

use penstock_api::Props;
use serde_json::{Value, json};

use super::error::{HerderError, Result};
use super::starter::Starter;
use super::view::{ConnectorOffset, ConnectorType};
use crate::store::Clients;
use crate::store::config::Event;

/// What it takes to look at offsets and to change them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Progress {
    pub(super) clients: Clients,
    pub(super) starter: Arc<dyn Starter>,
    pub(super) config_topic: String,
}

impl Progress {
    /// What a sink's consumer group has committed, or what a source's tasks have stored.
    pub(super) async fn offsets(&self, name: &str, props: &Props) -> Result<Vec<ConnectorOffset>> {
        let answer = match self.starter.describe(props).kind {
            ConnectorType::Sink => self.of_sink(props).await,
            ConnectorType::Source => self.of_source(name, props).await,
            ConnectorType::Unknown => return Err(self.unknown(props)),
        };
        answer.map_err(|error| HerderError::Internal(format!("Failed to retrieve offsets for connector {name}: {error:#}")))
    }

    async fn of_sink(&self, props: &Props) -> penstock_api::Result<Vec<ConnectorOffset>> {
        let sink = self.starter.sink(props)?;
        let committed = sink.admin.group_offsets(&sink.group).await?;
        let offset = |(at, offset): (penstock_api::TopicPartition, i64)| ConnectorOffset {
            partition: json!({"kafka_partition": at.partition, "kafka_topic": &*at.topic}),
            offset: json!({ "kafka_offset": offset }),
        };
        Ok(committed.into_iter().map(offset).collect())
    }

    async fn of_source(&self, name: &str, props: &Props) -> penstock_api::Result<Vec<ConnectorOffset>> {
        // Read for the occasion: nothing here needs it all the time.
        let offsets = self.starter.source(props)?.offsets.read().await?;
        let stored = offsets.of(name).map(|(partition, offset)| ConnectorOffset {
            partition: Value::Object(partition.clone()),
            offset: Value::Object(offset.clone()),
        });
        Ok(stored.collect())
    }

    /// Tells all workers of a logger's level; answers the offset of the record.
    pub(super) async fn write_logger_level(&self, namespace: &str, level: &str) -> Result<i64> {
        let event = Event::LoggerLevel { namespace: namespace.to_owned(), level: level.to_owned() };
        let write = async { self.clients.log()?.append(&self.config_topic, vec![event.record()]).await };
        let written =
            write.await.map_err(|error| HerderError::Internal(format!("Failed to write logger level to Kafka: {error:#}")))?;
        Ok(written.last().map_or(-1, |at| at.offset))
    }

    /// Where offsets are depends on the class, so nothing can be said without it.
    pub(super) fn unknown(&self, props: &Props) -> HerderError {
        let why = self.starter.sink(props).err().map_or_else(|| "its class is not known here".to_owned(), |e| format!("{e:#}"));
        HerderError::Internal(why)
    }
}
